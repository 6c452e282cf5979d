// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {Pausing} from "../../src/access/Pausing.sol";
import {AttributionLog} from "../../src/payments/AttributionLog.sol";
import {Tree} from "./Tree.sol";
import {World} from "./World.sol";

contract AttributionLogTest is World {
    bytes32 private constant ROOT = keccak256("root");

    event BatchLogged(
        address indexed node, bytes32 indexed model, bytes32 indexed root, uint64 epoch, bytes32 body, uint40 receipts
    );

    function entry(bytes32 root) private view returns (AttributionLog.Entry memory e) {
        (e.loggedAt, e.finalAt, e.receipts, e.status, e.openChallenges) = batches.entries(NODE, root);
    }

    function hold() private {
        vm.prank(DISPUTES_ACCOUNT);
        batches.hold(NODE, ROOT);
    }

    function release() private {
        vm.prank(DISPUTES_ACCOUNT);
        batches.release(NODE, ROOT);
    }

    function reject() private {
        vm.prank(DISPUTES_ACCOUNT);
        batches.reject(NODE, ROOT);
    }

    function test_a_batch_is_final_when_its_window_has_passed_and_not_before() public {
        vm.expectEmit(address(batches));
        emit BatchLogged(NODE, bytes32("model"), ROOT, 1, bytes32("body"), 3);
        logBatch(ROOT);
        AttributionLog.Entry memory e = entry(ROOT);
        assertEq(e.loggedAt, START, "logged at");
        assertEq(e.finalAt, START + WINDOW, "final at");
        assertEq(e.receipts, 3, "receipts");
        later(WINDOW - 1);
        assertFalse(batches.isFinal(NODE, ROOT), "a second early");
        later(1);
        assertTrue(batches.isFinal(NODE, ROOT), "in time");
        assertFalse(batches.isFinal(STRANGER, ROOT), "another node's");
    }

    function test_a_batch_can_be_logged_once_by_each_node() public {
        logBatch(ROOT);
        vm.expectRevert(abi.encodeWithSelector(AttributionLog.BatchExists.selector, NODE, ROOT));
        logBatch(ROOT);
        vm.prank(ADMIN_ACCOUNT);
        batches.admit(STRANGER);
        vm.prank(STRANGER);
        batches.log(1, bytes32("model"), ROOT, bytes32("body"), 1);
    }

    function test_only_admitted_nodes_log() public {
        vm.expectRevert(abi.encodeWithSelector(AttributionLog.NodeNotAdmitted.selector, STRANGER));
        vm.prank(STRANGER);
        batches.log(1, bytes32("model"), ROOT, bytes32("body"), 1);
        vm.prank(ADMIN_ACCOUNT);
        batches.expel(NODE);
        vm.expectRevert(abi.encodeWithSelector(AttributionLog.NodeNotAdmitted.selector, NODE));
        logBatch(ROOT);
    }

    function test_an_empty_batch_is_refused() public {
        vm.expectRevert(AttributionLog.BatchEmpty.selector);
        logBatch(bytes32(0));
        vm.expectRevert(AttributionLog.BatchEmpty.selector);
        vm.prank(NODE);
        batches.log(1, bytes32("model"), ROOT, bytes32("body"), 0);
    }

    function test_a_held_batch_is_not_final_until_every_challenge_ends() public {
        logBatch(ROOT);
        hold();
        hold();
        later(WINDOW);
        assertFalse(batches.isFinal(NODE, ROOT), "two open");
        release();
        assertFalse(batches.isFinal(NODE, ROOT), "one open");
        release();
        assertTrue(batches.isFinal(NODE, ROOT), "none open");
        vm.expectRevert(abi.encodeWithSelector(AttributionLog.BatchNotHeld.selector, NODE, ROOT));
        release();
    }

    function test_a_rejected_batch_is_never_final_though_other_challenges_fail() public {
        logBatch(ROOT);
        hold();
        hold();
        reject();
        vm.expectRevert(abi.encodeWithSelector(AttributionLog.BatchIsRejected.selector, NODE, ROOT));
        hold();
        release();
        later(WINDOW);
        assertFalse(batches.isFinal(NODE, ROOT), "rejected");
        vm.expectRevert(abi.encodeWithSelector(AttributionLog.BatchExists.selector, NODE, ROOT));
        logBatch(ROOT);
        vm.expectRevert(abi.encodeWithSelector(AttributionLog.BatchNotHeld.selector, NODE, ROOT));
        reject();
    }

    function test_two_challenges_can_both_succeed() public {
        logBatch(ROOT);
        hold();
        hold();
        reject();
        reject();
        assertEq(entry(ROOT).openChallenges, 0, "none open");
        assertTrue(entry(ROOT).status == AttributionLog.Status.Rejected, "rejected");
    }

    function test_a_batch_cannot_be_challenged_when_final_or_unknown() public {
        logBatch(ROOT);
        later(WINDOW);
        vm.expectRevert(abi.encodeWithSelector(AttributionLog.BatchFinal.selector, NODE, ROOT, START + WINDOW));
        hold();
        vm.prank(DISPUTES_ACCOUNT);
        vm.expectRevert(abi.encodeWithSelector(AttributionLog.BatchUnknown.selector, NODE, bytes32("other")));
        batches.hold(NODE, bytes32("other"));
    }

    function test_a_batch_that_nobody_holds_cannot_be_rejected() public {
        logBatch(ROOT);
        vm.expectRevert(abi.encodeWithSelector(AttributionLog.BatchNotHeld.selector, NODE, ROOT));
        reject();
    }

    function test_a_new_window_counts_for_nodes_synced_and_leaves_batches_alone() public {
        logBatch(ROOT);
        vm.prank(ADMIN_ACCOUNT);
        batches.setWindow(2 days);
        logBatch(keccak256("before sync"));
        batches.sync(NODE);
        logBatch(keccak256("after sync"));
        assertEq(entry(ROOT).finalAt, START + WINDOW, "as logged");
        assertEq(entry(keccak256("before sync")).finalAt, START + WINDOW, "node's window");
        assertEq(entry(keccak256("after sync")).finalAt, START + 2 days, "new window");
        vm.expectRevert(abi.encodeWithSelector(AttributionLog.NodeNotAdmitted.selector, STRANGER));
        batches.sync(STRANGER);
    }

    function test_a_window_has_a_bound() public {
        vm.prank(ADMIN_ACCOUNT);
        vm.expectRevert(abi.encodeWithSelector(AttributionLog.WindowTooLong.selector, 30 days + 1, 30 days));
        batches.setWindow(30 days + 1);
    }

    function test_nodes_are_admitted_once_and_up_to_a_number() public {
        vm.startPrank(ADMIN_ACCOUNT);
        vm.expectRevert(AttributionLog.NodeEmpty.selector);
        batches.admit(address(0));
        vm.expectRevert(abi.encodeWithSelector(AttributionLog.NodeIsAdmitted.selector, NODE));
        batches.admit(NODE);
        vm.expectRevert(abi.encodeWithSelector(AttributionLog.NodeNotAdmitted.selector, STRANGER));
        batches.expel(STRANGER);
        for (uint160 i = 1; i < 256; ++i) {
            batches.admit(address(0x1000 + i));
        }
        vm.expectRevert(abi.encodeWithSelector(AttributionLog.NodesFull.selector, 256));
        batches.admit(STRANGER);
        vm.stopPrank();
        vm.prank(GUARDIAN_ACCOUNT);
        uint256 before = gasleft();
        batches.pause(1);
        assertLe(before - gasleft(), 3_000_000, "pausing the most nodes there can be");
        (, bool paused,,) = batches.nodes(address(0x10FF));
        assertTrue(paused, "the last one too");
    }

    function test_a_node_admitted_while_paused_is_paused() public {
        vm.prank(GUARDIAN_ACCOUNT);
        batches.pause(1);
        vm.prank(ADMIN_ACCOUNT);
        batches.admit(STRANGER);
        vm.expectRevert(abi.encodeWithSelector(Pausing.FunctionPaused.selector, 0));
        vm.prank(STRANGER);
        batches.log(1, bytes32("model"), ROOT, bytes32("body"), 1);
        vm.prank(ADMIN_ACCOUNT);
        batches.unpause(1);
        vm.prank(STRANGER);
        batches.log(1, bytes32("model"), ROOT, bytes32("body"), 1);
    }

    function testFuzz_the_list_of_nodes_is_those_admitted(uint8[32] calldata moves) public {
        for (uint256 i = 0; i < moves.length; ++i) {
            address node = address(uint160(0x1000 + moves[i] % 8));
            (bool in_,,,) = batches.nodes(node);
            vm.prank(ADMIN_ACCOUNT);
            if (in_) batches.expel(node);
            else batches.admit(node);
        }
        address[] memory listed = batches.admitted();
        uint256 count = 1; // NODE
        for (uint160 i = 0; i < 8; ++i) {
            (bool in_,,,) = batches.nodes(address(0x1000 + i));
            if (in_) ++count;
        }
        assertEq(listed.length, count, "as many");
        for (uint256 i = 0; i < listed.length; ++i) {
            (bool in_,,, uint16 place) = batches.nodes(listed[i]);
            assertTrue(in_, "admitted");
            assertEq(place, i, "place");
        }
    }

    function test_a_receipt_is_shown_to_be_in_a_batch() public {
        bytes32[] memory leaves = new bytes32[](5);
        for (uint256 i = 0; i < 5; ++i) {
            leaves[i] = Tree.leaf(bytes32(i + 1));
        }
        bytes32 root = Tree.root(leaves);
        bytes32[] memory proof = Tree.proof(leaves, 3);
        assertFalse(batches.contains(NODE, root, bytes32(uint256(4)), proof), "not logged");
        logBatch(root);
        assertTrue(batches.contains(NODE, root, bytes32(uint256(4)), proof), "in it");
        assertFalse(batches.contains(NODE, root, bytes32(uint256(5)), proof), "another leaf");
        assertFalse(batches.contains(STRANGER, root, bytes32(uint256(4)), proof), "another node");
        vm.expectRevert(abi.encodeWithSelector(AttributionLog.ProofTooLong.selector, 33));
        batches.contains(NODE, root, bytes32(uint256(4)), new bytes32[](33));
    }
}
