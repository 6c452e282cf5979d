// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {Role} from "../../src/staking/Role.sol";
import {Staking} from "../../src/staking/Staking.sol";
import {Exit, SlashStatus} from "../../src/staking/Vault.sol";
import {Test} from "../Test.sol";
import {Coin, StakingBase} from "./StakingBase.sol";

/// Does to staking, in any order, what people, judges and governance can do, and remembers what
/// must never have happened.
contract StakingHandler is Test {
    Staking private immutable STAKING;
    Coin private immutable COIN;
    address[3] public owners = [address(0xA1), address(0xA2), address(0xA3)];
    address[2] public operators = [address(0xB1), address(0xB2)];
    uint256 private _time = block.timestamp;
    uint256 private _undecided;

    uint256 public putIn;
    uint256 public takenOut;
    uint256 public slashed;
    /// How often each step did something, so that a test can see that none is in vain.
    mapping(bytes4 step => uint256) public done;
    bool public leftEarly;
    bool public leftWhileSlashed;
    bool public slashUnfair;
    bool public capBroken;
    bool public accrualChangedValue;

    constructor(Staking staking, Coin coin) {
        (STAKING, COIN) = (staking, coin);
        for (uint256 i = 0; i < owners.length; ++i) {
            coin.mint(owners[i], 1e27);
            vm.prank(owners[i]);
            coin.approve(address(staking), type(uint256).max);
        }
        coin.mint(address(this), 1e28);
        coin.approve(address(staking), type(uint256).max);
    }

    modifier later(uint256 seed) {
        // Forge may forget a warp between the calls of a run.
        _time += seed % 10 days;
        vm.warp(_time);
        _;
    }

    function stake(uint256 seed, uint8 role, uint8 operator, uint8 owner, uint128 amount) external later(seed) {
        (Role r, address o, address who) = _names(role, operator, owner);
        amount = uint128(bound(amount, 1, 1e24));
        vm.prank(who);
        try STAKING.stake(r, o, amount) {
            putIn += amount;
            ++done[msg.sig];
            (uint128 roleCap, uint128 operatorCap) = STAKING.caps(r);
            if (STAKING.totalStake(r) > roleCap || STAKING.stakeOf(r, o) > operatorCap) capBroken = true;
        } catch {}
    }

    function unbond(uint256 seed, uint8 role, uint8 operator, uint8 owner, uint16 part) external later(seed) {
        (Role r, address o, address who) = _names(role, operator, owner);
        (uint128 shares, uint40 lockedUntil) = STAKING.positions(r, o, who);
        shares = uint128(uint256(shares) * bound(part, 1, 10_000) / 10_000);
        vm.prank(who);
        try STAKING.unbond(r, o, shares) {
            ++done[msg.sig];
            if (block.timestamp < lockedUntil) leftEarly = true;
        } catch {}
    }

    function withdraw(uint256 seed, uint8 role, uint8 operator, uint8 owner) external later(seed) {
        (Role r, address o, address who) = _names(role, operator, owner);
        Exit[] memory exits = STAKING.exitsOf(r, o, who);
        uint256 exit;
        while (exit < exits.length && exits[exit].shares == 0) ++exit;
        if (exit == exits.length) return;
        vm.prank(who);
        try STAKING.withdraw(r, o, exit) returns (uint256 amount) {
            takenOut += amount;
            ++done[msg.sig];
            if (block.timestamp < exits[exit].availableAt) leftEarly = true;
            if (STAKING.vaultOf(r, o).slashes != 0) leftWhileSlashed = true;
        } catch {}
    }

    function fund(uint256 seed, uint8 role, uint128 amount) external later(seed) {
        amount = uint128(bound(amount, 1, 1e22));
        STAKING.fundRewards(Role(role % 3), amount);
        putIn += amount;
    }

    function accrue(uint256 seed, uint8 role, uint8 operator) external later(seed) {
        (Role r, address o,) = _names(role, operator, 0);
        uint256 before = STAKING.stakeOf(r, o);
        STAKING.accrue(r, o);
        if (STAKING.stakeOf(r, o) != before) accrualChangedValue = true;
    }

    function propose(uint256 seed, uint8 role, uint8 operator, uint16 bps) external later(seed) {
        (Role r, address o,) = _names(role, operator, 0);
        if (STAKING.vaultOf(r, o).slashes < 2) STAKING.proposeSlash(r, o, uint16(bound(bps, 1, 10_000)), "");
    }

    function decide(uint256 seed, bool veto) external later(seed) {
        if (_undecided == STAKING.slashCount()) return;
        uint256 id = _undecided;
        (address o, Role r, SlashStatus status, uint16 bps,,) = STAKING.slashes(id);
        if (status != SlashStatus.Pending) {
            ++_undecided;
            return;
        }
        if (veto) return STAKING.vetoSlash(id);
        (uint256 active, uint256 queued) = (STAKING.stakeOf(r, o), STAKING.queuedOf(r, o));
        try STAKING.executeSlash(id) returns (uint256 fromActive, uint256 fromQueue) {
            if (fromActive != 0 && fromQueue != 0) ++done[msg.sig];
            slashed += fromActive + fromQueue;
            uint256 want = active * bps / 10_000;
            // One unit of the pool, which growth has made worth a few tokens' smallest units.
            uint256 margin = 2 + STAKING.indexOf(r) / 1e27;
            if (fromActive > want + margin || fromActive + margin < want) slashUnfair = true;
            if (fromQueue != queued * bps / 10_000) slashUnfair = true;
        } catch {}
    }

    function penalise(uint256 seed, uint8 role, uint8 operator, uint64 points, bool back) external later(seed) {
        (Role r, address o,) = _names(role, operator, 0);
        if (back) STAKING.forgive(r, o, points % 200);
        else STAKING.addPenalty(r, o, points % 200);
    }

    function govern(uint256 seed, uint8 role, uint64 rate, uint40 term, uint128 cap) external later(seed) {
        Role r = Role(role % 3);
        STAKING.setRate(r, rate % 1e18);
        STAKING.setTerms(r, term % 5 days, term % 20 days);
        STAKING.setCaps(r, uint128(bound(cap, 1e24, 1e26)), uint128(bound(cap, 1e23, 1e26)));
        STAKING.setSlashDelay(term % 4 days);
    }

    function _names(uint8 role, uint8 operator, uint8 owner) private view returns (Role, address, address) {
        return (Role(role % 3), operators[operator % 2], owners[owner % 3]);
    }
}

contract StakingInvariantTest is StakingBase {
    StakingHandler private handler;

    function setUp() public override {
        super.setUp();
        handler = new StakingHandler(staking, coin);
        roles.grantRole(0, address(handler), 0);
        roles.grantRole(DISPUTES, address(handler), 0);
        roles.grantRole(GUARDIAN, address(handler), 0);
        for (uint8 r = 0; r < 3; ++r) staking.setRate(Role(r), 0.3e18);
        targetContract(address(handler));
    }

    /// The invariants above would hold of a contract that refuses everything.
    function test_the_steps_reach_what_they_are_for() public {
        for (uint256 i = 0; i < 2_000; ++i) {
            uint256 x = uint256(keccak256(abi.encode(i)));
            (uint8 role, uint8 operator, uint8 owner) = (uint8(x >> 8), uint8(x >> 16), uint8(x >> 24));
            uint256 step = x % 7;
            if (step == 0) handler.stake(x >> 32, role, operator, owner, uint128(x));
            else if (step == 1) handler.unbond(x >> 32, role, operator, owner, uint16(x >> 64));
            else if (step == 2) handler.withdraw(x >> 32, role, operator, owner);
            else if (step == 3) handler.propose(x >> 32, role, operator, uint16(x >> 64));
            else if (step == 4) handler.decide(x >> 32, x >> 255 == 0);
            else if (step == 5) handler.penalise(x >> 32, role, operator, uint64(x >> 64), x >> 255 == 0);
            else handler.fund(x >> 32, role, uint128(x));
        }
        bytes4[4] memory steps = [
            StakingHandler.stake.selector,
            StakingHandler.unbond.selector,
            StakingHandler.withdraw.selector,
            StakingHandler.decide.selector
        ];
        for (uint256 i = 0; i < steps.length; ++i) assertLe(20, handler.done(steps[i]), "hardly ever done");
    }

    function invariant_what_is_owed_is_there() public view {
        uint256 owed;
        for (uint8 r = 0; r < 3; ++r) {
            owed += staking.totalStake(Role(r)) + staking.reserveOf(Role(r));
            for (uint256 i = 0; i < 2; ++i) owed += staking.queuedOf(Role(r), handler.operators(i));
        }
        assertEq(owed, coin.balanceOf(address(staking)), "stake, queue and reserve are the tokens, to the unit");
        assertEq(
            handler.putIn(), handler.takenOut() + handler.slashed() + coin.balanceOf(address(staking)), "none made or lost"
        );
        assertEq(coin.balanceOf(INSURANCE), handler.slashed(), "slashes go to the insurance");
    }

    function invariant_positions_are_worth_no_more_than_their_vault() public view {
        for (uint8 r = 0; r < 3; ++r) {
            uint256 vaults;
            for (uint256 i = 0; i < 2; ++i) {
                address operator = handler.operators(i);
                (uint256 worth, uint256 shares, uint256 queueShares) = (0, 0, 0);
                for (uint256 k = 0; k < 3; ++k) {
                    address owner = handler.owners(k);
                    worth += staking.assetsOf(Role(r), operator, owner);
                    shares += _sharesOf(owner, Role(r), operator);
                    Exit[] memory exits = staking.exitsOf(Role(r), operator, owner);
                    for (uint256 e = 0; e < exits.length; ++e) queueShares += exits[e].shares;
                }
                // The virtual unit beside the vault's.
                assertLe(worth, staking.stakeOf(Role(r), operator) + staking.indexOf(Role(r)) / 1e27 + 1, "worth");
                assertEq(shares, staking.vaultOf(Role(r), operator).shares, "shares");
                assertEq(queueShares, staking.vaultOf(Role(r), operator).queueShares, "queue shares");
                vaults += staking.stakeOf(Role(r), operator);
            }
            assertLe(vaults, staking.totalStake(Role(r)), "vaults within the role");
        }
    }

    function invariant_nobody_leaves_early_and_slashes_are_fair() public view {
        assertFalse(handler.leftEarly(), "before lock or cooldown");
        assertFalse(handler.leftWhileSlashed(), "while a slash waits");
        assertFalse(handler.slashUnfair(), "stake and queue alike");
        assertFalse(handler.capBroken(), "caps");
        assertFalse(handler.accrualChangedValue(), "writing growth down moves no value");
    }

    function invariant_weights_of_operators_are_the_weight_of_the_role() public {
        vm.warp(block.timestamp + 1);
        uint48 past = uint48(block.timestamp - 1);
        for (uint8 r = 0; r < 3; ++r) {
            uint256 sum;
            for (uint256 i = 0; i < 2; ++i) sum += staking.getPastStake(Role(r), handler.operators(i), past);
            uint256 total = staking.getPastTotalStake(Role(r), past);
            assertLe(sum, total, "no more");
            assertLe(total, sum + 2, "no less");
        }
    }
}
