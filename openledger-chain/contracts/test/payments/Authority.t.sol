// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {FeePolicy} from "../../src/payments/FeePolicy.sol";
import {World} from "./World.sol";

/// Restricted calls of all payment contracts, by everybody who is not the one for them.
contract AuthorityTest is World {
    struct Call {
        address target;
        address by;
        bytes data;
    }

    Call[] private calls;

    function setUp() public override {
        super.setUp();
        FeePolicy.Split memory split = FeePolicy.Split(1, 2, 3, 9_994);
        push(address(fees), ADMIN_ACCOUNT, abi.encodeCall(fees.setSplit, (split)));
        push(address(fees), ADMIN_ACCOUNT, abi.encodeCall(fees.setAccounts, (address(1), address(2))));
        push(address(batches), ADMIN_ACCOUNT, abi.encodeCall(batches.admit, (STRANGER)));
        push(address(batches), ADMIN_ACCOUNT, abi.encodeCall(batches.expel, (NODE)));
        push(address(batches), ADMIN_ACCOUNT, abi.encodeCall(batches.setWindow, (1)));
        push(address(batches), GUARDIAN_ACCOUNT, abi.encodeCall(batches.pause, (1)));
        push(address(batches), ADMIN_ACCOUNT, abi.encodeCall(batches.unpause, (1)));
        push(address(batches), DISPUTES_ACCOUNT, abi.encodeCall(batches.hold, (NODE, "r")));
        push(address(batches), DISPUTES_ACCOUNT, abi.encodeCall(batches.release, (NODE, "r")));
        push(address(batches), DISPUTES_ACCOUNT, abi.encodeCall(batches.reject, (NODE, "r")));
        push(address(escrow), ADMIN_ACCOUNT, abi.encodeCall(escrow.setWithdrawalDelay, (1)));
        push(address(escrow), GUARDIAN_ACCOUNT, abi.encodeCall(escrow.pause, (1)));
        push(address(escrow), ADMIN_ACCOUNT, abi.encodeCall(escrow.unpause, (1)));
        push(address(distributor), UPDATER_ACCOUNT, abi.encodeCall(distributor.submitRoot, ("r", "b", 0)));
        push(address(distributor), GUARDIAN_ACCOUNT, abi.encodeCall(distributor.veto, (0)));
        push(address(distributor), ADMIN_ACCOUNT, abi.encodeCall(distributor.disable, (0)));
        push(address(distributor), ADMIN_ACCOUNT, abi.encodeCall(distributor.setActivationDelay, (1)));
        push(address(distributor), GUARDIAN_ACCOUNT, abi.encodeCall(distributor.pause, (1)));
        push(address(distributor), ADMIN_ACCOUNT, abi.encodeCall(distributor.unpause, (1)));
    }

    function push(address target, address by, bytes memory data) private {
        calls.push(Call(target, by, data));
    }

    function test_restricted_calls_are_for_their_role_alone() public {
        address[7] memory everybody = [
            ADMIN_ACCOUNT, GUARDIAN_ACCOUNT, UPDATER_ACCOUNT, DISPUTES_ACCOUNT, NODE, STRANGER, address(this)
        ];
        for (uint256 i = 0; i < calls.length; ++i) {
            for (uint256 j = 0; j < everybody.length; ++j) {
                if (everybody[j] == calls[i].by) continue;
                vm.prank(everybody[j]);
                (bool done, bytes memory data) = calls[i].target.call(calls[i].data);
                assertFalse(done, "refused");
                assertEq(keccak256(data), keccak256(denied(everybody[j])), "for want of the role");
            }
            vm.prank(calls[i].by);
            (bool allowed, bytes memory reason) = calls[i].target.call(calls[i].data);
            bool unauthorized = bytes4(reason) == bytes4(keccak256("AccessManagedUnauthorized(address)"));
            assertTrue(allowed || !unauthorized, "open to its role");
        }
    }
}
