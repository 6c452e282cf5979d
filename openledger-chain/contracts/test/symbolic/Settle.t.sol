// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {AttributionLog} from "../../src/payments/AttributionLog.sol";
import {InferenceEscrow} from "../../src/payments/InferenceEscrow.sol";
import {RewardDistributor} from "../../src/payments/RewardDistributor.sol";
import {OpenToken} from "../../src/tokens/OpenToken.sol";
import {Test} from "../Test.sol";
import {OpenAuthority} from "./OpenAuthority.sol";

/// Proved by `halmos --contract SettleProof`.
contract SettleProof is Test {
    address private constant PAYER = address(0xACC);
    bytes32 private constant ROOT = bytes32(uint256(1));
    uint256 private constant DEPOSIT = 1_000_000 ether;
    OpenToken private token;
    AttributionLog private batches;
    InferenceEscrow private escrow;

    function setUp() public {
        vm.warp(1_800_000_000);
        address authority = address(new OpenAuthority());
        token = new OpenToken(PAYER);
        batches = new AttributionLog(authority);
        RewardDistributor distributor = new RewardDistributor(authority, token, 0);
        escrow = new InferenceEscrow(token, batches, distributor, 0, authority);
        batches.setWindow(0);
        batches.admit(address(this));
        batches.log(1, ROOT, ROOT, ROOT, 1);
        vm.startPrank(PAYER);
        token.approve(address(escrow), DEPOSIT);
        escrow.deposit(DEPOSIT);
        vm.stopPrank();
    }

    /// Two charges of one payer take their sum out of its lock, which is no more than the lock, and
    /// nothing out of its balance.
    function check_charges_take_no_more_than_the_lock(uint128 locked, uint256 first, uint256 second) public {
        vm.assume(locked > 0 && locked <= DEPOSIT);
        vm.prank(PAYER);
        escrow.authorize(address(this), locked, 1_800_000_001);
        InferenceEscrow.Charge[] memory charges = new InferenceEscrow.Charge[](2);
        charges[0] = InferenceEscrow.Charge(PAYER, first);
        charges[1] = InferenceEscrow.Charge(PAYER, second);
        (bool settled,) = address(escrow).call(abi.encodeCall(escrow.settle, (ROOT, charges)));
        (uint128 left,) = escrow.locks(PAYER, address(this));
        uint256 held = token.balanceOf(address(escrow));
        assert(escrow.balances(PAYER) == DEPOSIT - locked);
        assert(held == DEPOSIT - locked + left);
        if (settled) {
            assert(first <= locked && second <= locked - first);
            assert(left == locked - first - second);
        } else {
            assert(left == locked);
        }
    }
}
