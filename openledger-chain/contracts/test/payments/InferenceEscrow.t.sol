// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {InferenceEscrow} from "../../src/payments/InferenceEscrow.sol";
import {Authorization} from "../tokens/Authorization.sol";
import {World} from "./World.sol";

contract InferenceEscrowTest is World {
    bytes32 private constant ROOT = keccak256("root");
    uint40 private constant EXPIRY = START + 3 days;

    event Authorized(address indexed payer, address indexed payee, uint128 amount, uint128 locked, uint40 expiresAt);
    event Charged(address indexed node, bytes32 indexed root, address indexed payer, uint256 amount);
    event Settled(address indexed node, bytes32 indexed root, uint256 total);

    function setUp() public override {
        super.setUp();
        deposit(PAYER, 100);
    }

    function authorize(uint128 amount, uint40 expiresAt) private {
        vm.prank(PAYER);
        escrow.authorize(NODE, amount, expiresAt);
    }

    function locked(address payer, address payee) private view returns (uint256 amount) {
        (amount,) = escrow.locks(payer, payee);
    }

    function finalBatch() private {
        logBatch(ROOT);
        later(WINDOW);
    }

    function settle(address payer, uint256 amount) private {
        InferenceEscrow.Charge[] memory charges = new InferenceEscrow.Charge[](1);
        charges[0] = InferenceEscrow.Charge(payer, amount);
        vm.prank(NODE);
        escrow.settle(ROOT, charges);
    }

    function test_what_is_locked_leaves_the_balance() public {
        vm.expectEmit(address(escrow));
        emit Authorized(PAYER, NODE, 40, 40, EXPIRY);
        authorize(40, EXPIRY);
        assertEq(escrow.balances(PAYER), 60, "free");
        assertEq(locked(PAYER, NODE), 40, "locked");
        vm.expectRevert(abi.encodeWithSelector(InferenceEscrow.BalanceTooLow.selector, PAYER, 60, 61));
        authorize(61, EXPIRY);
    }

    function test_a_lock_grows_and_lengthens_and_never_shortens() public {
        authorize(40, EXPIRY);
        authorize(10, EXPIRY + 1);
        assertEq(locked(PAYER, NODE), 50, "grown");
        authorize(0, EXPIRY + 2);
        (, uint40 expiresAt) = escrow.locks(PAYER, NODE);
        assertEq(expiresAt, EXPIRY + 2, "lengthened");
        vm.expectRevert(abi.encodeWithSelector(InferenceEscrow.ExpiryFalls.selector, EXPIRY + 1, EXPIRY + 2));
        authorize(10, EXPIRY + 1);
    }

    function test_a_lock_can_be_made_anew_when_it_is_used_up() public {
        authorize(40, EXPIRY);
        finalBatch();
        settle(PAYER, 40);
        authorize(10, EXPIRY - 1);
        assertEq(locked(PAYER, NODE), 10, "anew");
    }

    function test_an_expired_lock_returns_before_a_new_one_is_made() public {
        authorize(90, EXPIRY);
        vm.warp(EXPIRY + 1);
        authorize(20, EXPIRY + 100);
        assertEq(escrow.balances(PAYER), 80, "free");
        assertEq(locked(PAYER, NODE), 20, "locked");
    }

    function test_a_lock_needs_a_payee_an_amount_and_a_time_not_too_far() public {
        vm.expectRevert(InferenceEscrow.NothingToLock.selector);
        authorize(0, EXPIRY);
        vm.expectRevert(abi.encodeWithSelector(InferenceEscrow.ExpiryPast.selector, START));
        authorize(1, START);
        vm.expectRevert(
            abi.encodeWithSelector(InferenceEscrow.ExpiryTooFar.selector, START + 366 days + 1, START + 366 days)
        );
        authorize(1, START + 366 days + 1);
        vm.startPrank(PAYER);
        vm.expectRevert(abi.encodeWithSelector(InferenceEscrow.PayeeInvalid.selector, PAYER));
        escrow.authorize(PAYER, 1, EXPIRY);
        vm.expectRevert(abi.encodeWithSelector(InferenceEscrow.PayeeInvalid.selector, address(0)));
        escrow.authorize(address(0), 1, EXPIRY);
    }

    function test_an_expired_lock_returns_to_the_payer_whoever_calls() public {
        authorize(40, EXPIRY);
        vm.warp(EXPIRY);
        vm.expectRevert(abi.encodeWithSelector(InferenceEscrow.LockLive.selector, PAYER, NODE, EXPIRY));
        escrow.release(PAYER, NODE);
        vm.warp(EXPIRY + 1);
        vm.prank(STRANGER);
        escrow.release(PAYER, NODE);
        assertEq(escrow.balances(PAYER), 100, "free again");
        vm.expectRevert(abi.encodeWithSelector(InferenceEscrow.NothingToRelease.selector, PAYER, NODE));
        escrow.release(PAYER, NODE);
    }

    function test_a_settled_batch_funds_the_distributor_and_nobody_else() public {
        authorize(40, EXPIRY);
        finalBatch();
        vm.expectEmit(address(escrow));
        emit Charged(NODE, ROOT, PAYER, 30);
        vm.expectEmit(address(escrow));
        emit Settled(NODE, ROOT, 30);
        settle(PAYER, 30);
        assertEq(token.balanceOf(address(distributor)), 30, "the distributor");
        assertEq(distributor.funded(), 30, "funded");
        assertEq(token.balanceOf(NODE), 0, "the node");
        assertEq(locked(PAYER, NODE), 10, "left");
        assertTrue(escrow.settled(NODE, ROOT), "settled");
    }

    function test_a_batch_is_settled_once() public {
        authorize(40, EXPIRY);
        finalBatch();
        settle(PAYER, 30);
        vm.expectRevert(abi.encodeWithSelector(InferenceEscrow.BatchSettled.selector, NODE, ROOT));
        settle(PAYER, 1);
    }

    function test_a_batch_is_settled_only_when_final() public {
        authorize(40, EXPIRY);
        bytes memory notFinal = abi.encodeWithSelector(InferenceEscrow.BatchNotFinal.selector, NODE, ROOT);
        vm.expectRevert(notFinal);
        settle(PAYER, 30);
        logBatch(ROOT);
        vm.expectRevert(notFinal);
        settle(PAYER, 30);
        vm.prank(DISPUTES_ACCOUNT);
        batches.hold(NODE, ROOT);
        later(WINDOW);
        vm.expectRevert(notFinal);
        settle(PAYER, 30);
        vm.prank(DISPUTES_ACCOUNT);
        batches.reject(NODE, ROOT);
        vm.expectRevert(notFinal);
        settle(PAYER, 30);
    }

    function test_a_node_settles_only_its_own_batches_and_locks() public {
        authorize(40, EXPIRY);
        finalBatch();
        InferenceEscrow.Charge[] memory charges = new InferenceEscrow.Charge[](1);
        charges[0] = InferenceEscrow.Charge(PAYER, 30);
        vm.prank(STRANGER);
        vm.expectRevert(abi.encodeWithSelector(InferenceEscrow.BatchNotFinal.selector, STRANGER, ROOT));
        escrow.settle(ROOT, charges);
        vm.prank(ADMIN_ACCOUNT);
        batches.admit(STRANGER);
        vm.prank(STRANGER);
        batches.log(1, bytes32("model"), ROOT, bytes32("body"), 1);
        later(WINDOW);
        vm.prank(STRANGER);
        vm.expectRevert(abi.encodeWithSelector(InferenceEscrow.LockTooLow.selector, PAYER, STRANGER, 0, 30));
        escrow.settle(ROOT, charges);
    }

    function test_a_charge_takes_no_more_than_the_lock_even_when_named_twice() public {
        authorize(40, EXPIRY);
        finalBatch();
        vm.expectRevert(abi.encodeWithSelector(InferenceEscrow.LockTooLow.selector, PAYER, NODE, 40, 41));
        settle(PAYER, 41);
        InferenceEscrow.Charge[] memory charges = new InferenceEscrow.Charge[](2);
        charges[0] = InferenceEscrow.Charge(PAYER, 30);
        charges[1] = InferenceEscrow.Charge(PAYER, 11);
        vm.expectRevert(abi.encodeWithSelector(InferenceEscrow.LockTooLow.selector, PAYER, NODE, 10, 11));
        vm.prank(NODE);
        escrow.settle(ROOT, charges);
    }

    function test_an_expired_lock_is_not_charged() public {
        authorize(40, EXPIRY);
        finalBatch();
        vm.warp(EXPIRY + 1);
        vm.expectRevert(abi.encodeWithSelector(InferenceEscrow.LockExpired.selector, PAYER, NODE, EXPIRY));
        settle(PAYER, 1);
        vm.warp(EXPIRY);
        settle(PAYER, 1);
    }

    function test_a_batch_is_not_used_up_by_settling_nothing() public {
        authorize(40, EXPIRY);
        finalBatch();
        vm.expectRevert(abi.encodeWithSelector(InferenceEscrow.NothingToSettle.selector, NODE, ROOT));
        settle(PAYER, 0);
        settle(PAYER, 40);
    }

    function test_the_balance_is_withdrawn_after_a_delay_and_the_lock_is_not() public {
        authorize(40, EXPIRY);
        vm.startPrank(PAYER);
        escrow.requestWithdrawal(100);
        vm.expectRevert(abi.encodeWithSelector(InferenceEscrow.WithdrawalPending.selector, PAYER, START + DELAY));
        escrow.withdraw();
        later(DELAY);
        assertEq(escrow.withdraw(), 60, "what is free");
        assertEq(token.balanceOf(PAYER), 60, "paid");
        vm.expectRevert(abi.encodeWithSelector(InferenceEscrow.NothingToWithdraw.selector, PAYER));
        escrow.withdraw();
    }

    function test_no_more_is_withdrawn_than_was_announced() public {
        vm.startPrank(PAYER);
        escrow.requestWithdrawal(30);
        later(DELAY);
        assertEq(escrow.withdraw(), 30, "as announced");
        assertEq(escrow.balances(PAYER), 70, "the rest");
    }

    function test_a_new_delay_counts_for_withdrawals_announced_after() public {
        vm.prank(PAYER);
        escrow.requestWithdrawal(30);
        vm.startPrank(ADMIN_ACCOUNT);
        escrow.setWithdrawalDelay(30 days);
        vm.expectRevert(abi.encodeWithSelector(InferenceEscrow.DelayTooLong.selector, 30 days + 1, 30 days));
        escrow.setWithdrawalDelay(30 days + 1);
        vm.stopPrank();
        later(DELAY);
        vm.startPrank(PAYER);
        escrow.withdraw();
        escrow.requestWithdrawal(30);
        (, uint40 availableAt) = escrow.withdrawals(PAYER);
        assertEq(availableAt, START + DELAY + 30 days, "the new delay");
    }

    function test_nothing_is_no_deposit() public {
        vm.expectRevert(InferenceEscrow.NothingToDeposit.selector);
        escrow.deposit(0);
    }

    function test_a_deposit_can_be_signed_and_brought_by_anyone_once() public {
        give(PAYER, 50);
        Authorization.Terms memory terms = Authorization.Terms({
            from: PAYER, to: address(escrow), value: 50, validAfter: 0, validBefore: START + 1, nonce: keccak256("n")
        });
        (uint8 v, bytes32 r, bytes32 s) =
            vm.sign(PAYER_KEY, Authorization.digest(address(token), Authorization.RECEIVE, terms));
        vm.prank(STRANGER);
        escrow.depositWithAuthorization(PAYER, 50, 0, START + 1, terms.nonce, v, r, s);
        assertEq(escrow.balances(PAYER), 150, "the signer's balance");
        vm.expectRevert(abi.encodeWithSignature("ERC3009UsedAuthorization(address,bytes32)", PAYER, terms.nonce));
        escrow.depositWithAuthorization(PAYER, 50, 0, START + 1, terms.nonce, v, r, s);
        vm.expectRevert(abi.encodeWithSignature("ERC3009InvalidSignature()"));
        escrow.depositWithAuthorization(STRANGER, 50, 0, START + 1, terms.nonce, v, r, s);
        vm.expectRevert(InferenceEscrow.NothingToDeposit.selector);
        escrow.depositWithAuthorization(PAYER, 0, 0, START + 1, terms.nonce, v, r, s);
    }

    /// What an x402 client does: it signs a transfer to a plain address, which the node relays.
    function test_what_a_client_signs_to_a_till_is_charged_by_its_payee() public {
        address till = escrow.till(NODE);
        assertEq(till.code.length, 0, "not there yet");
        vm.expectRevert(abi.encodeWithSelector(InferenceEscrow.NothingToCollect.selector, till));
        escrow.collect(NODE);
        give(PAYER, 30);
        Authorization.Terms memory terms = Authorization.Terms({
            from: PAYER, to: till, value: 30, validAfter: 0, validBefore: START + 1, nonce: keccak256("n")
        });
        (uint8 v, bytes32 r, bytes32 s) =
            vm.sign(PAYER_KEY, Authorization.digest(address(token), Authorization.TRANSFER, terms));
        token.transferWithAuthorization(PAYER, till, 30, 0, START + 1, terms.nonce, v, r, s);
        vm.prank(STRANGER);
        assertEq(escrow.collect(NODE), 30, "collected");
        assertTrue(till.code.length > 0, "there now");
        assertEq(locked(NODE, NODE), 30, "locked for the payee");
        vm.expectRevert(abi.encodeWithSelector(InferenceEscrow.LockLive.selector, NODE, NODE, type(uint40).max));
        escrow.release(NODE, NODE);
        finalBatch();
        settle(NODE, 30);
        assertEq(distributor.funded(), 30, "settled");
    }

    function test_a_till_is_collected_again_and_again() public {
        give(escrow.till(NODE), 30);
        escrow.collect(NODE);
        give(escrow.till(NODE), 12);
        escrow.collect(NODE);
        assertEq(locked(NODE, NODE), 42, "both");
    }

    function test_each_payee_has_its_own_till() public {
        give(escrow.till(NODE), 30);
        assertTrue(escrow.till(NODE) != escrow.till(STRANGER), "another address");
        vm.expectRevert(abi.encodeWithSelector(InferenceEscrow.NothingToCollect.selector, escrow.till(STRANGER)));
        escrow.collect(STRANGER);
    }

    function testFuzz_whatever_is_charged_is_what_the_locks_lose(uint96[8] calldata amounts) public {
        InferenceEscrow.Charge[] memory charges = new InferenceEscrow.Charge[](8);
        uint256 total;
        for (uint160 i = 0; i < 8; ++i) {
            address payer = address(0x9000 + i);
            uint256 amount = bound(amounts[i], 1, 1e6 ether);
            deposit(payer, amount + 5);
            vm.prank(payer);
            escrow.authorize(NODE, uint128(amount + 5), EXPIRY);
            charges[i] = InferenceEscrow.Charge(payer, amount);
            total += amount;
        }
        finalBatch();
        vm.prank(NODE);
        assertEq(escrow.settle(ROOT, charges), total, "total");
        for (uint160 i = 0; i < 8; ++i) {
            assertEq(locked(address(0x9000 + i), NODE), 5, "left");
        }
        assertEq(token.balanceOf(address(distributor)), total, "the distributor's");
    }
}
