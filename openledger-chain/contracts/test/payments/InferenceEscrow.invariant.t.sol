// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {Market} from "./Market.sol";
import {World} from "./World.sol";

contract InferenceEscrowInvariants is World {
    Market private market;

    function setUp() public override {
        super.setUp();
        market = new Market(escrow, ADMIN_ACCOUNT, DISPUTES_ACCOUNT);
        vm.startPrank(ADMIN_ACCOUNT);
        batches.setWindow(1 hours);
        batches.admit(market.node(0));
        batches.admit(market.node(1));
        vm.stopPrank();
        targetContract(address(market));
    }

    function held() private view returns (uint256 sum) {
        for (uint256 i = 0; i < 4; ++i) {
            sum += escrow.balances(market.account(i));
            for (uint256 j = 0; j < 2; ++j) {
                (uint128 amount,) = escrow.locks(market.account(i), market.node(j));
                sum += amount;
            }
        }
    }

    function invariant_balances_and_locks_are_the_tokens_held() public view {
        assertEq(token.balanceOf(address(escrow)), held() + market.strays(), "tokens held");
    }

    function invariant_what_came_in_is_there_or_settled_or_withdrawn() public view {
        uint256 in_ = market.deposited() + market.collected();
        assertEq(in_, held() + market.settled() + market.withdrawn(), "in and out");
    }

    function invariant_what_was_settled_funds_the_distributor() public view {
        assertEq(distributor.funded(), market.settled(), "funded");
        assertEq(token.balanceOf(address(distributor)), market.settled(), "and there");
    }

    function invariant_nothing_went_wrong() public view {
        assertEq(bytes(market.broken()).length, 0, market.broken());
    }
}
