// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {Roles} from "../../src/access/Roles.sol";
import {RewardDistributor} from "../../src/payments/RewardDistributor.sol";
import {OpenToken} from "../../src/tokens/OpenToken.sol";
import {Test} from "../Test.sol";
import {Tree} from "./Tree.sol";

/// Funders, updaters honest and not, guardians, an admin and claimants, who do anything in any order.
///
/// Beside the distributor it keeps its own account of what must be so. What is not so is noted in
/// `broken`, because a revert in here would only look like a call that failed.
contract Claimants is Test {
    struct Submitted {
        uint256[4] cumulatives;
        uint40 activatesAt;
        bool disabled;
        bool foreign;
    }

    RewardDistributor public immutable DISTRIBUTOR;
    OpenToken public immutable TOKEN;
    address public immutable FUNDER = address(0x77);
    address public immutable GUARDIAN;
    address public immutable UPDATER;
    address public immutable ADMIN;

    Submitted[] private _roots;
    uint256[4] private _honest;
    uint256[4] public paid;
    uint256 public funded;
    uint256 public claims;
    string public broken;
    mapping(address account => address) private _claimers;

    constructor(RewardDistributor distributor, address admin, address guardian, address updater) {
        DISTRIBUTOR = distributor;
        TOKEN = OpenToken(address(distributor.TOKEN()));
        (ADMIN, GUARDIAN, UPDATER) = (admin, guardian, updater);
    }

    function account(uint256 seed) public pure returns (address) {
        return address(uint160(0xC1A0 + seed % 4));
    }

    function fund(uint96 amount) external {
        // One prank for each call: one that a revert leaves open would spoil the calls to come.
        vm.prank(FUNDER);
        TOKEN.approve(address(DISTRIBUTOR), amount);
        vm.prank(FUNDER);
        DISTRIBUTOR.fund(amount);
        funded += amount;
    }

    /// What everybody has earned rises, and no more than was put in.
    function submit(uint64[4] calldata earned) external {
        uint256[4] memory next = _honest;
        uint256 total;
        for (uint256 i = 0; i < 4; ++i) {
            next[i] += earned[i];
            total += next[i];
        }
        _submit(next, total, false);
        _honest = next;
    }

    /// An updater that lies: leaves that fall, or promise what was never put in.
    function lie(uint128[4] calldata cumulatives) external {
        uint256[4] memory any = [uint256(cumulatives[0]), cumulatives[1], cumulatives[2], cumulatives[3]];
        _submit(any, DISTRIBUTOR.lastTotal(), false);
    }

    /// Leaves made for another chain.
    function submitForeign(uint64[4] calldata earned) external {
        uint256[4] memory any = [uint256(earned[0]), earned[1], earned[2], earned[3]];
        _submit(any, DISTRIBUTOR.lastTotal(), true);
    }

    function submitZero() external {
        uint256 total = DISTRIBUTOR.lastTotal();
        vm.prank(UPDATER);
        try DISTRIBUTOR.submitRoot(bytes32(0), "b", uint128(total)) {
            _break("a zero root");
        } catch {}
    }

    function veto(uint8 seed) external {
        if (_roots.length == 0) return;
        uint256 index = seed % _roots.length;
        Submitted storage r = _roots[index];
        bool may = !r.disabled && block.timestamp < r.activatesAt;
        vm.prank(GUARDIAN);
        try DISTRIBUTOR.veto(index) {
            if (!may) _break("a veto of an active root");
            r.disabled = true;
        } catch {
            if (may) _break("no veto of a pending root");
        }
    }

    function disable(uint8 seed) external {
        if (_roots.length == 0) return;
        uint256 index = seed % _roots.length;
        vm.prank(ADMIN);
        DISTRIBUTOR.disable(index);
        _roots[index].disabled = true;
    }

    function setDelay(uint16 delay) external {
        vm.prank(ADMIN);
        DISTRIBUTOR.setActivationDelay(delay);
    }

    function pass(uint16 time) external {
        vm.warp(block.timestamp + time);
    }

    function setClaimer(uint8 seed, uint8 to) external {
        address claimer = to % 2 == 0 ? address(0) : address(uint160(0xF000 + uint256(to)));
        vm.prank(account(seed));
        DISTRIBUTOR.setClaimer(claimer);
        _claimers[account(seed)] = claimer;
    }

    function claim(uint8 seed, uint8 who, uint8 caller) external {
        if (_roots.length == 0) return;
        (uint256 index, uint256 place) = (seed % _roots.length, who % 4);
        Submitted memory r = _roots[index];
        uint256 new_ = r.cumulatives[place];
        bool may = _claimable(r) && new_ > paid[place]
            && new_ - paid[place] <= TOKEN.balanceOf(address(DISTRIBUTOR));
        address to = _payee(place);
        uint256 before = TOKEN.balanceOf(to);
        bytes32[] memory proof = Tree.proof(_leaves(r), place);
        vm.prank(account(caller));
        try DISTRIBUTOR.claim(index, account(place), new_, proof) returns (uint256 amount) {
            if (!may) _break("a claim that must not be paid");
            if (amount != new_ - paid[place]) _break("a claim of another amount");
            if (TOKEN.balanceOf(to) != before + amount) _break("a claim paid to somebody else");
            paid[place] = new_;
            ++claims;
        } catch {
            if (may) _break("no claim though there is one");
        }
    }

    function claimAll(uint8 seed) external {
        if (_roots.length == 0) return;
        uint256 index = seed % _roots.length;
        Submitted memory r = _roots[index];
        RewardDistributor.Claim[] memory all = new RewardDistributor.Claim[](4);
        bytes32[] memory leaves = _leaves(r);
        uint256 due;
        for (uint256 i = 0; i < 4; ++i) {
            all[i] = RewardDistributor.Claim(account(i), r.cumulatives[i], Tree.proof(leaves, i));
            if (r.cumulatives[i] > paid[i]) due += r.cumulatives[i] - paid[i];
        }
        bool may = _claimable(r) && due <= TOKEN.balanceOf(address(DISTRIBUTOR));
        try DISTRIBUTOR.claimMany(index, all) returns (uint256 total) {
            if (!may) _break("claims that must not be paid");
            if (total != due) _break("claims of another amount");
            for (uint256 i = 0; i < 4; ++i) {
                if (r.cumulatives[i] > paid[i]) paid[i] = r.cumulatives[i];
            }
            ++claims;
        } catch {
            if (may) _break("no claims though there are");
        }
    }

    /// A total that falls or is not funded is refused; the time of activation is the delay of now.
    function _submit(uint256[4] memory cumulatives, uint256 total, bool foreign) private {
        Submitted memory r =
            Submitted(cumulatives, uint40(block.timestamp) + DISTRIBUTOR.activationDelay(), false, foreign);
        bool may = total >= DISTRIBUTOR.lastTotal() && total <= funded;
        bytes32 root = Tree.root(_leaves(r));
        vm.prank(UPDATER);
        try DISTRIBUTOR.submitRoot(root, "b", uint128(total)) {
            if (!may) _break("a total that falls or is not funded");
            _roots.push(r);
        } catch {
            revert("refused");
        }
    }

    function _claimable(Submitted memory r) private view returns (bool) {
        return !r.disabled && !r.foreign && block.timestamp >= r.activatesAt;
    }

    function _payee(uint256 place) private view returns (address) {
        address claimer = _claimers[account(place)];
        return claimer == address(0) ? account(place) : claimer;
    }

    function _leaves(Submitted memory r) private view returns (bytes32[] memory leaves) {
        uint256 chain = r.foreign ? block.chainid + 1 : block.chainid;
        leaves = new bytes32[](4);
        for (uint256 i = 0; i < 4; ++i) {
            leaves[i] = Tree.leaf(chain, address(DISTRIBUTOR), account(i), address(TOKEN), r.cumulatives[i]);
        }
    }

    function _break(string memory what) private {
        broken = what;
    }
}
