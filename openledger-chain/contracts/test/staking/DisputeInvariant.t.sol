// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {Case, Ground, Phase, Verdict} from "../../src/staking/Case.sol";
import {Dispute} from "../../src/staking/Dispute.sol";
import {Role} from "../../src/staking/Role.sol";
import {Staking} from "../../src/staking/Staking.sol";
import {Test} from "../Test.sol";
import {Contributions, DisputeBase, Receipts} from "./DisputeBase.sol";
import {Coin} from "./StakingBase.sol";

/// Disputes batches and contributions of two accused before three validators, in any order, while
/// stake comes and goes.
contract DisputeHandler is Test {
    Dispute private immutable DISPUTE;
    Staking private immutable STAKING;
    Receipts private immutable RECEIPTS;
    Contributions private immutable CONTRIBUTIONS;
    bytes32 private constant SALT = keccak256("salt");
    uint256 private _time = block.timestamp;
    /// Cases not closed; few at a time, so that steps meet.
    uint256[] private _open = [0];

    address[7] public people = [
        address(0xC1), address(0xC2), address(0xD1), address(0xD2), address(0x50), address(0x30), address(0x20)
    ];
    mapping(bytes4 step => uint256) public done;
    mapping(uint256 id => Verdict) public closedAs;
    mapping(uint256 id => uint256) public claimed;
    mapping(uint256 id => mapping(address voter => bool)) public choice;
    uint256 public paidIn;
    uint256 public paidOut;
    bool public votedAgain;

    constructor(Dispute dispute, Staking staking, Receipts receipts, Contributions contributions, Coin coin) {
        (DISPUTE, STAKING, RECEIPTS, CONTRIBUTIONS) = (dispute, staking, receipts, contributions);
        for (uint256 i = 0; i < people.length; ++i) {
            coin.mint(people[i], 1e27);
            vm.prank(people[i]);
            coin.approve(address(dispute), type(uint256).max);
            vm.prank(people[i]);
            coin.approve(address(staking), type(uint256).max);
        }
    }

    modifier later(uint256 seed) {
        _time += seed % 6 hours;
        vm.warp(_time);
        _;
    }

    function openReceipt(uint256 seed, uint8 who, uint8 node, uint8 n) external later(seed) {
        if (_open.length == 3) return;
        bytes32 receipt = receiptOf(n);
        (address challenger, address accused) = (people[who % 7], people[2 + node % 2]);
        (uint40 finalAt,,) = RECEIPTS.batches(accused, rootOf(n));
        if (finalAt == 0) RECEIPTS.log(accused, rootOf(n), uint40(block.timestamp + 2 days));
        vm.prank(challenger);
        try DISPUTE.openReceipt(accused, rootOf(n), receipt, new bytes32[](0), "") returns (uint256 id) {
            ++done[msg.sig];
            _open.push(id);
            paidIn += DISPUTE.caseOf(id).terms.bond;
        } catch {}
    }

    function openContribution(uint256 seed, uint8 who, uint8 owner, uint8 n) external later(seed) {
        if (_open.length == 3) return;
        (address challenger, address accused) = (people[who % 7], people[2 + owner % 2]);
        CONTRIBUTIONS.contribute("datanet", accused, rootOf(n));
        vm.prank(challenger);
        try DISPUTE.openContribution("datanet", accused, rootOf(n), Ground.Biased, "") returns (uint256 id) {
            ++done[msg.sig];
            _open.push(id);
            paidIn += DISPUTE.caseOf(id).terms.bond;
        } catch {}
    }

    function defend(uint256 seed, uint256 which) external later(seed) {
        (uint256 id, Case memory c) = _case(which);
        vm.prank(c.subject.accused);
        try DISPUTE.defend(id) {
            ++done[msg.sig];
            paidIn += c.terms.bond;
        } catch {}
    }

    /// Votes of 0 and 3 are none.
    function commit(uint256 seed, uint256 which, uint8[3] calldata votes) external later(seed) {
        (uint256 id,) = _case(which);
        for (uint256 i = 0; i < 3; ++i) {
            (address voter, bool upheld) = (people[4 + i], votes[i] % 4 == 1);
            if (votes[i] % 4 == 0 || votes[i] % 4 == 3) continue;
            bytes32 commitment = DISPUTE.commitmentOf(id, voter, upheld, SALT);
            vm.prank(voter);
            try DISPUTE.commit(id, commitment) {
                ++done[msg.sig];
                choice[id][voter] = upheld;
            } catch {}
        }
    }

    function reveal(uint256 seed, uint256 which) external later(seed) {
        (uint256 id,) = _case(which);
        for (uint256 i = 4; i < 7; ++i) {
            (, uint120 before,,,) = DISPUTE.ballots(id, people[i]);
            try DISPUTE.reveal(id, people[i], choice[id][people[i]], SALT) {
                ++done[msg.sig];
                if (before != 0) votedAgain = true;
            } catch {}
        }
    }

    /// Whatever waits only for somebody to call it can be called: this must not revert.
    function proceed(uint256 seed, uint256 which) external later(seed) {
        (uint256 id,) = _case(which);
        Phase phase = DISPUTE.phaseOf(id);
        if (phase == Phase.Tally) DISPUTE.tally(id);
        if (phase != Phase.Decided) return;
        DISPUTE.finalise(id);
        ++done[msg.sig];
        _closed(id);
        closedAs[id] = DISPUTE.caseOf(id).progress.verdict;
    }

    function appeal(uint256 seed, uint256 which, bool byAccused) external later(seed) {
        (uint256 id, Case memory c) = _case(which);
        vm.prank(byAccused ? c.subject.accused : c.subject.challenger);
        try DISPUTE.appeal(id) {
            ++done[msg.sig];
            paidIn += 2 * uint256(c.terms.bond);
        } catch {}
    }

    function rule(uint256 seed, uint256 which, bool upheld) external later(seed) {
        (uint256 id,) = _case(which);
        try DISPUTE.rule(id, upheld) {
            ++done[msg.sig];
            _closed(id);
            closedAs[id] = upheld ? Verdict.Upheld : Verdict.Dismissed;
        } catch {}
    }

    function claim(uint256 seed, uint256 which) external later(seed) {
        uint256 id = which % DISPUTE.caseCount();
        for (uint256 i = 4; i < 7; ++i) {
            try DISPUTE.claim(id, people[i]) returns (uint256 amount) {
                ++done[msg.sig];
                claimed[id] += amount;
            } catch {}
        }
    }

    function withdraw(uint256 seed, uint8 who) external later(seed) {
        try DISPUTE.withdraw(who % 8 == 7 ? STAKING.INSURANCE() : people[who % 8]) returns (uint256 amount) {
            ++done[msg.sig];
            paidOut += amount;
        } catch {}
    }

    function stakeOrLeave(uint256 seed, uint8 who, uint128 amount) external later(seed) {
        address owner = people[2 + who % 5];
        Role role = who % 5 < 2 ? Role.Agent : Role.Validator;
        (uint128 shares,) = STAKING.positions(role, owner, owner);
        vm.prank(owner);
        if (amount % 2 == 0) try STAKING.stake(role, owner, uint128(bound(amount, 1, 1e20))) {} catch {}
        else try STAKING.unbond(role, owner, shares / 2) {} catch {}
    }

    function rootOf(uint8 n) public pure returns (bytes32) {
        return keccak256(bytes.concat(keccak256(abi.encode(receiptOf(n)))));
    }

    function receiptOf(uint8 n) public pure returns (bytes32) {
        return keccak256(abi.encode(n));
    }

    /// A case that is not closed, or the last one.
    function _case(uint256 which) private view returns (uint256 id, Case memory c) {
        id = _open.length == 0 ? DISPUTE.caseCount() - 1 : _open[which % _open.length];
        c = DISPUTE.caseOf(id);
    }

    function _closed(uint256 id) private {
        for (uint256 i = 0; i < _open.length; ++i) {
            if (_open[i] != id) continue;
            _open[i] = _open[_open.length - 1];
            _open.pop();
            return;
        }
    }
}

contract DisputeInvariantTest is DisputeBase {
    DisputeHandler private handler;

    function setUp() public override {
        super.setUp();
        handler = new DisputeHandler(dispute, staking, receipts, contributions, coin);
        roles.grantRole(0, address(handler), 0);
        _openReceipt();
        targetContract(address(handler));
    }

    /// The invariants below would hold of a contract that refuses everything.
    function test_the_steps_reach_what_they_are_for() public {
        for (uint256 i = 0; i < 2_000; ++i) {
            uint256 x = uint256(keccak256(abi.encode(i)));
            (uint256 step, uint256 seed, uint256 which, uint8 a) = (x % 14, x >> 16, x >> 64, uint8(x >> 128));
            if (step == 0) handler.openReceipt(seed, a, uint8(x >> 136), uint8(x >> 144));
            else if (step == 1) handler.openContribution(seed, a, uint8(x >> 136), uint8(x >> 144));
            else if (step == 2) handler.defend(seed, which);
            else if (step < 6) handler.commit(seed, which, [a, uint8(x >> 136), uint8(x >> 144)]);
            else if (step < 9) handler.reveal(seed, which);
            else if (step == 9) handler.proceed(seed, which);
            else if (step == 10) handler.appeal(seed, which, a % 2 == 0);
            else if (step == 11) handler.rule(seed, which, a % 2 == 0);
            else if (step == 12) handler.claim(seed, which);
            else handler.withdraw(seed, a);
            if (i % 200 == 0) {
                invariant_bonds_in_are_bonds_out();
                invariant_verdicts_and_weights_stand();
            }
        }
        bytes4[10] memory steps = [
            DisputeHandler.openReceipt.selector,
            DisputeHandler.openContribution.selector,
            DisputeHandler.defend.selector,
            DisputeHandler.commit.selector,
            DisputeHandler.reveal.selector,
            DisputeHandler.proceed.selector,
            DisputeHandler.appeal.selector,
            DisputeHandler.rule.selector,
            DisputeHandler.claim.selector,
            DisputeHandler.withdraw.selector
        ];
        for (uint256 i = 0; i < steps.length; ++i) assertLe(5, handler.done(steps[i]), "hardly ever done");
    }

    function invariant_bonds_in_are_bonds_out() public view {
        uint256 held;
        for (uint256 id = 0; id < dispute.caseCount(); ++id) {
            Case memory c = dispute.caseOf(id);
            if (c.progress.reached == Phase.Closed) held += c.progress.pot - handler.claimed(id);
            else held += uint256(c.progress.challengerBond) + c.progress.accusedBond;
        }
        for (uint256 i = 0; i < 7; ++i) held += dispute.credits(handler.people(i));
        held += dispute.credits(INSURANCE) + dispute.credits(CHALLENGER) + dispute.credits(NODE);
        assertEq(held, coin.balanceOf(address(dispute)), "bonds, parts and credits are the tokens");
        // The one case that the set-up opens pays for itself.
        assertEq(handler.paidIn() + BOND, handler.paidOut() + held, "in and out");
    }

    function invariant_verdicts_and_weights_stand() public view {
        for (uint256 id = 0; id < dispute.caseCount(); ++id) {
            Case memory c = dispute.caseOf(id);
            bool closed = c.progress.reached == Phase.Closed;
            assertTrue(closed == (handler.closedAs(id) != Verdict.None), "closed once");
            if (closed) assertTrue(handler.closedAs(id) == c.progress.verdict, "one outcome");
            (uint120 upheld, uint120 dismissed) = dispute.sides(id);
            uint256 sum;
            for (uint256 i = 4; i < 7; ++i) {
                address voter = handler.people(i);
                (, uint120 weight,,,) = dispute.ballots(id, voter);
                sum += weight;
                if (weight != 0) {
                    assertEq(weight, staking.getPastStake(V, voter, c.subject.snapshot), "the weight at opening");
                }
            }
            assertEq(sum, uint256(upheld) + dismissed, "each counts once");
            assertLe(sum, staking.getPastTotalStake(V, c.subject.snapshot), "within the role");
        }
        assertFalse(handler.votedAgain(), "nobody twice");
    }

    function invariant_a_batch_is_held_exactly_while_a_case_about_it_is_open() public view {
        for (uint256 id = 0; id < dispute.caseCount(); ++id) {
            Case memory c = dispute.caseOf(id);
            if (c.subject.ground != Ground.Shares) continue;
            (, uint16 open, bool rejected) = receipts.batches(c.subject.accused, c.subject.root);
            bytes32 subject =
                dispute.subjectOf(c.subject.accused, c.subject.datanet, c.subject.root, c.subject.receipt);
            uint256 last = dispute.openAbout(subject);
            bool isOpen = last != 0 && dispute.caseOf(last - 1).progress.reached != Phase.Closed;
            assertEq(open, isOpen ? 1 : 0, "held");
            if (c.progress.reached == Phase.Closed && c.progress.verdict == Verdict.Upheld) {
                assertTrue(rejected, "rejected");
            }
            assertEq(c.progress.reached == Phase.Closed ? c.progress.due : 0, 0, "nothing left to enforce");
        }
    }
}
