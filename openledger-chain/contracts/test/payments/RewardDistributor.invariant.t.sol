// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {Claimants} from "./Claimants.sol";
import {World} from "./World.sol";

contract RewardDistributorInvariants is World {
    Claimants private claimants;

    function setUp() public override {
        super.setUp();
        claimants = new Claimants(distributor, ADMIN_ACCOUNT, GUARDIAN_ACCOUNT, UPDATER_ACCOUNT);
        targetContract(address(claimants));
    }

    function invariant_claims_are_no_more_than_was_funded() public view {
        uint256 sum;
        for (uint256 i = 0; i < 4; ++i) {
            sum += distributor.claimed(claimants.account(i));
        }
        assertLe(sum, distributor.funded(), "claims");
        assertEq(distributor.funded(), claimants.funded(), "funded");
        assertEq(token.balanceOf(address(distributor)), distributor.funded() - sum, "the rest is there");
    }

    function invariant_what_was_claimed_is_what_was_paid() public view {
        for (uint256 i = 0; i < 4; ++i) {
            assertEq(distributor.claimed(claimants.account(i)), claimants.paid(i), "claimed");
        }
    }

    function invariant_no_claim_went_wrong() public view {
        assertEq(bytes(claimants.broken()).length, 0, claimants.broken());
    }
}
