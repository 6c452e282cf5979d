// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {RewardDistributor} from "../../src/payments/RewardDistributor.sol";
import {OpenToken} from "../../src/tokens/OpenToken.sol";
import {Test} from "../Test.sol";
import {Tree} from "../payments/Tree.sol";
import {OpenAuthority} from "./OpenAuthority.sol";

/// Proved by `halmos --contract ClaimsProof`.
contract ClaimsProof is Test {
    address private constant ACCOUNT = address(0xACC);
    OpenToken private token;
    RewardDistributor private distributor;

    function setUp() public {
        vm.warp(1_800_000_000);
        token = new OpenToken(address(this));
        distributor = new RewardDistributor(address(new OpenAuthority()), token, 0);
        token.approve(address(distributor), type(uint256).max);
        distributor.fund(1_000_000 ether);
    }

    function claim(uint256 index, uint256 cumulative) private {
        try distributor.claim(index, ACCOUNT, cumulative, new bytes32[](0)) {} catch {}
    }

    /// Two roots that say anything, claimed three times in any order, pay the larger at most and
    /// never more than was funded.
    function check_two_roots_pay_the_larger_once(uint128 first, uint128 second, bool a, bool b, bool c) public {
        distributor.submitRoot(
            Tree.leaf(block.chainid, address(distributor), ACCOUNT, address(token), first), bytes32(0), 0
        );
        distributor.submitRoot(
            Tree.leaf(block.chainid, address(distributor), ACCOUNT, address(token), second), bytes32(0), 0
        );
        claim(a ? 1 : 0, a ? second : first);
        uint256 before = distributor.claimed(ACCOUNT);
        claim(b ? 1 : 0, b ? second : first);
        claim(c ? 1 : 0, c ? second : first);
        uint256 paid = token.balanceOf(ACCOUNT);
        assert(paid == distributor.claimed(ACCOUNT));
        assert(paid >= before);
        assert(paid <= (first > second ? first : second));
        assert(paid <= 1_000_000 ether);
    }

    /// Whatever a root says, it pays nothing before its time, and nothing once it is disabled.
    function check_a_root_pays_only_while_it_is_active(uint40 delay, uint40 passed, bool stopped, uint128 amount)
        public
    {
        vm.assume(delay <= 30 days);
        distributor.setActivationDelay(delay);
        distributor.submitRoot(
            Tree.leaf(block.chainid, address(distributor), ACCOUNT, address(token), amount), bytes32(0), 0
        );
        if (stopped) distributor.disable(0);
        vm.warp(block.timestamp + passed);
        claim(0, amount);
        assert(token.balanceOf(ACCOUNT) == 0 || (!stopped && passed >= delay));
    }

    /// A leaf for another chain, contract or token pays nothing here.
    function check_a_foreign_leaf_pays_nothing(uint256 chain, address contract_, address token_, uint128 amount) public {
        vm.assume(chain != block.chainid || contract_ != address(distributor) || token_ != address(token));
        distributor.submitRoot(Tree.leaf(chain, contract_, ACCOUNT, token_, amount), bytes32(0), 0);
        claim(0, amount);
        assert(token.balanceOf(ACCOUNT) == 0);
    }
}
