// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {Pausing} from "../../src/access/Pausing.sol";
import {InferenceEscrow} from "../../src/payments/InferenceEscrow.sol";
import {RewardDistributor} from "../../src/payments/RewardDistributor.sol";
import {World} from "./World.sol";

/// Every switch of the payment contracts, against every function there is a switch for.
contract PausingTest is World {
    struct Call {
        address sender;
        uint8 flag;
        bytes data;
    }

    Call[] private calls;

    function tried(Pausing target, Call memory call) private returns (bytes4 reason, uint8 flag) {
        vm.prank(call.sender);
        (bool done, bytes memory data) = address(target).call(call.data);
        if (done) return (0, 0);
        reason = bytes4(data);
        if (reason == Pausing.FunctionPaused.selector) {
            assembly {
                flag := mload(add(data, 0x24))
            }
        }
    }

    /// With only `flags` paused, calls with those flags say so and no other call does.
    function assertBlocked(Pausing target, uint128 flags) private {
        for (uint256 i = 0; i < calls.length; ++i) {
            (bytes4 reason, uint8 flag) = tried(target, calls[i]);
            if (flags & (uint128(1) << calls[i].flag) != 0) {
                assertTrue(reason == Pausing.FunctionPaused.selector, "blocked");
                assertEq(flag, calls[i].flag, "by its own flag");
            } else {
                assertTrue(reason != Pausing.FunctionPaused.selector, "open");
            }
        }
    }

    function assertEachFlagBlocksItsFunctions(Pausing target) private {
        (uint128 all, uint128 exits) = target.pausable();
        uint128 used;
        for (uint256 i = 0; i < calls.length; ++i) {
            used |= uint128(1) << calls[i].flag;
        }
        assertEq(used, all, "a call for each flag");
        assertBlocked(target, 0);
        for (uint8 f = 0; f < 128; ++f) {
            uint128 flag = uint128(1) << f;
            vm.prank(GUARDIAN_ACCOUNT);
            if (all & flag == 0) {
                vm.expectRevert(abi.encodeWithSelector(Pausing.FlagsUnknown.selector, flag));
                target.pause(flag);
                continue;
            }
            if (exits & flag != 0) {
                vm.expectRevert(abi.encodeWithSelector(Pausing.ExitsPausedBeforeTheRest.selector, flag));
                target.pause(flag);
                flag |= all & ~exits;
                vm.prank(GUARDIAN_ACCOUNT);
            }
            target.pause(flag);
            assertBlocked(target, flag);
            vm.prank(ADMIN_ACCOUNT);
            target.unpause(flag);
            assertBlocked(target, 0);
            later(target.EXIT_PAUSE() + target.EXIT_GAP());
        }
    }

    function test_the_switch_of_the_log_blocks_exactly_its_function() public {
        calls.push(Call(NODE, batches.LOG(), abi.encodeCall(batches.log, (1, "m", "r", "b", 1))));
        assertEachFlagBlocksItsFunctions(batches);
    }

    function test_each_switch_of_the_distributor_blocks_exactly_its_functions() public {
        RewardDistributor d = distributor;
        calls.push(Call(UPDATER_ACCOUNT, d.SUBMIT(), abi.encodeCall(d.submitRoot, ("r", "b", 0))));
        calls.push(Call(STRANGER, d.FUND(), abi.encodeCall(d.fund, (1))));
        calls.push(Call(STRANGER, d.CLAIM(), abi.encodeCall(d.claim, (0, STRANGER, 1, new bytes32[](0)))));
        calls.push(Call(STRANGER, d.CLAIM(), abi.encodeCall(d.claimMany, (0, new RewardDistributor.Claim[](0)))));
        assertEachFlagBlocksItsFunctions(d);
    }

    function test_each_switch_of_the_escrow_blocks_exactly_its_function() public {
        InferenceEscrow e = escrow;
        deposit(PAYER, 1_000);
        calls.push(Call(PAYER, e.DEPOSIT(), abi.encodeCall(e.deposit, (1))));
        calls.push(
            Call(
                PAYER,
                e.DEPOSIT_WITH_AUTHORIZATION(),
                abi.encodeCall(e.depositWithAuthorization, (PAYER, 1, 0, 1, "n", 27, "r", "s"))
            )
        );
        calls.push(Call(PAYER, e.AUTHORIZE(), abi.encodeCall(e.authorize, (NODE, 1, START + 360 days))));
        calls.push(Call(PAYER, e.COLLECT(), abi.encodeCall(e.collect, (NODE))));
        calls.push(Call(NODE, e.SETTLE(), abi.encodeCall(e.settle, ("r", new InferenceEscrow.Charge[](0)))));
        calls.push(Call(PAYER, e.RELEASE(), abi.encodeCall(e.release, (PAYER, NODE))));
        calls.push(Call(PAYER, e.REQUEST_WITHDRAWAL(), abi.encodeCall(e.requestWithdrawal, (1))));
        calls.push(Call(PAYER, e.WITHDRAW(), abi.encodeCall(e.withdraw, ())));
        assertEachFlagBlocksItsFunctions(e);
    }

    function test_exits_open_by_themselves_and_not_shut_again_soon() public {
        (uint128 all, uint128 exits) = escrow.pausable();
        uint8 flag = escrow.WITHDRAW();
        vm.prank(GUARDIAN_ACCOUNT);
        escrow.pause(all);
        later(7 days - 1);
        assertTrue(escrow.isPaused(flag), "shut");
        later(1);
        assertFalse(escrow.isPaused(flag), "open");
        assertTrue(escrow.isPaused(escrow.SETTLE()), "the rest is shut still");
        later(30 days - 1);
        vm.expectRevert(abi.encodeWithSelector(Pausing.ExitsPausedLately.selector, START + 7 days));
        vm.prank(GUARDIAN_ACCOUNT);
        escrow.pause(exits);
        later(1);
        vm.prank(GUARDIAN_ACCOUNT);
        escrow.pause(exits);
        assertTrue(escrow.isPaused(flag), "shut again");
    }

    function test_opening_anything_opens_the_exits() public {
        (uint128 all,) = escrow.pausable();
        vm.prank(GUARDIAN_ACCOUNT);
        escrow.pause(all);
        vm.prank(ADMIN_ACCOUNT);
        escrow.unpause(1);
        assertFalse(escrow.isPaused(escrow.WITHDRAW()), "an exit");
        assertFalse(escrow.isPaused(escrow.DEPOSIT()), "what was opened");
        assertTrue(escrow.isPaused(escrow.SETTLE()), "what was not");
    }

    function test_no_or_unknown_flags_are_refused() public {
        vm.startPrank(GUARDIAN_ACCOUNT);
        vm.expectRevert(abi.encodeWithSelector(Pausing.FlagsUnknown.selector, 0));
        escrow.pause(0);
        vm.stopPrank();
        vm.startPrank(ADMIN_ACCOUNT);
        vm.expectRevert(abi.encodeWithSelector(Pausing.FlagsUnknown.selector, 0));
        escrow.unpause(0);
        vm.expectRevert(abi.encodeWithSelector(Pausing.FlagsUnknown.selector, 1 << 100));
        escrow.unpause(1 << 100);
    }
}
