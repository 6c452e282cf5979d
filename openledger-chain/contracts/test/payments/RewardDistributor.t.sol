// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {RewardDistributor} from "../../src/payments/RewardDistributor.sol";
import {Tree} from "./Tree.sol";
import {Wallet1271} from "./Wallet1271.sol";
import {World} from "./World.sol";

contract RewardDistributorTest is World {
    address private constant ANN = address(0xA1);
    address private constant BOB = address(0xB0);

    bytes32[] private leaves;

    event Claimed(uint256 indexed index, address indexed account, uint256 amount, uint256 cumulative);
    event RootSubmitted(uint256 indexed index, bytes32 root, bytes32 body, uint128 total, uint40 activatesAt);

    function setUp() public override {
        super.setUp();
        fund(1_000);
    }

    /// A root by which Ann has earned `ann` and Bob `bob`; the next claims prove against it.
    function submitFor(uint256 ann, uint256 bob) private returns (uint256) {
        delete leaves;
        leaves.push(leaf(ANN, ann));
        leaves.push(leaf(BOB, bob));
        leaves.push(leaf(PAYER, 7));
        return submit(Tree.root(leaves), uint128(ann + bob + 7));
    }

    function claim(uint256 index, address account, uint256 cumulative) private returns (uint256) {
        return distributor.claim(index, account, cumulative, Tree.proof(leaves, account == ANN ? 0 : 1));
    }

    function setClaimerBySig(uint256 key, address account, address claimer, uint256 nonce, uint64 deadline) private {
        bytes32 domain = keccak256(
            abi.encode(
                keccak256("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"),
                keccak256("OpenLedger"),
                keccak256("1"),
                block.chainid,
                address(distributor)
            )
        );
        bytes32 message = keccak256(
            abi.encode(
                keccak256("SetClaimer(address account,address claimer,uint256 nonce,uint64 deadline)"),
                account,
                claimer,
                nonce,
                deadline
            )
        );
        bytes memory signed = signature(key, keccak256(abi.encodePacked("\x19\x01", domain, message)));
        distributor.setClaimerBySig(account, claimer, nonce, deadline, signed);
    }

    function test_one_claim_pays_what_was_earned_in_many_epochs() public {
        submitFor(10, 20);
        submitFor(30, 20);
        uint256 index = submitFor(60, 50);
        later(DELAY);
        vm.expectEmit(address(distributor));
        emit Claimed(index, ANN, 60, 60);
        assertEq(claim(index, ANN, 60), 60, "amount");
        assertEq(token.balanceOf(ANN), 60, "paid");
        assertEq(distributor.claimed(ANN), 60, "counted");
    }

    function test_a_claim_pays_the_difference_once() public {
        uint256 first = submitFor(10, 20);
        later(DELAY);
        claim(first, ANN, 10);
        vm.expectRevert(abi.encodeWithSelector(RewardDistributor.NothingToClaim.selector, ANN, 10));
        claim(first, ANN, 10);
        uint256 second = submitFor(25, 20);
        later(DELAY);
        assertEq(claim(second, ANN, 25), 15, "the difference");
        assertEq(token.balanceOf(ANN), 25, "all");
    }

    function test_an_older_root_pays_no_more_after_a_newer_one() public {
        uint256 first = submitFor(10, 20);
        bytes32[] memory proof = Tree.proof(leaves, 0);
        uint256 second = submitFor(25, 20);
        later(DELAY);
        claim(second, ANN, 25);
        vm.expectRevert(abi.encodeWithSelector(RewardDistributor.NothingToClaim.selector, ANN, 10));
        distributor.claim(first, ANN, 10, proof);
    }

    function test_nothing_is_paid_before_activation() public {
        uint256 index = submitFor(10, 20);
        later(DELAY - 1);
        vm.expectRevert(abi.encodeWithSelector(RewardDistributor.RootPending.selector, index, START + DELAY));
        claim(index, ANN, 10);
        later(1);
        claim(index, ANN, 10);
    }

    function test_nothing_is_paid_by_a_vetoed_root() public {
        uint256 index = submitFor(10, 20);
        vm.prank(GUARDIAN_ACCOUNT);
        distributor.veto(index);
        later(DELAY);
        vm.expectRevert(abi.encodeWithSelector(RewardDistributor.RootIsDisabled.selector, index));
        claim(index, ANN, 10);
        vm.prank(ADMIN_ACCOUNT);
        vm.expectRevert(abi.encodeWithSelector(RewardDistributor.RootIsDisabled.selector, index));
        distributor.disable(index);
    }

    function test_an_active_root_is_beyond_the_guardian_and_not_beyond_the_admin() public {
        uint256 index = submitFor(10, 20);
        later(DELAY);
        vm.prank(GUARDIAN_ACCOUNT);
        vm.expectRevert(abi.encodeWithSelector(RewardDistributor.RootActive.selector, index, START + DELAY));
        distributor.veto(index);
        vm.prank(ADMIN_ACCOUNT);
        distributor.disable(index);
        vm.expectRevert(abi.encodeWithSelector(RewardDistributor.RootIsDisabled.selector, index));
        claim(index, ANN, 10);
    }

    function test_an_unknown_root_pays_and_does_nothing() public {
        bytes memory unknown = abi.encodeWithSelector(RewardDistributor.RootUnknown.selector, 0);
        vm.expectRevert(unknown);
        distributor.claim(0, ANN, 10, new bytes32[](0));
        vm.expectRevert(unknown);
        distributor.claimMany(0, new RewardDistributor.Claim[](0));
        vm.prank(GUARDIAN_ACCOUNT);
        vm.expectRevert(unknown);
        distributor.veto(0);
        vm.prank(ADMIN_ACCOUNT);
        vm.expectRevert(unknown);
        distributor.disable(0);
    }

    function test_a_root_says_when_it_activates_and_keeps_that_time() public {
        vm.expectEmit(address(distributor));
        emit RootSubmitted(0, keccak256("r"), bytes32("body"), 5, START + DELAY);
        submit(keccak256("r"), 5);
        vm.prank(ADMIN_ACCOUNT);
        distributor.setActivationDelay(2 days);
        (,, uint40 activatesAt,) = distributor.roots(0);
        assertEq(activatesAt, START + DELAY, "as submitted");
        submit(keccak256("s"), 5);
        (,, activatesAt,) = distributor.roots(1);
        assertEq(activatesAt, START + 2 days, "the new delay");
    }

    function test_a_delay_has_a_bound() public {
        vm.prank(ADMIN_ACCOUNT);
        vm.expectRevert(abi.encodeWithSelector(RewardDistributor.DelayTooLong.selector, 30 days + 1, 30 days));
        distributor.setActivationDelay(30 days + 1);
    }

    function test_a_root_is_neither_empty_nor_unfunded_nor_less_than_the_last() public {
        vm.expectRevert(RewardDistributor.RootEmpty.selector);
        submit(bytes32(0), 5);
        vm.expectRevert(abi.encodeWithSelector(RewardDistributor.TotalNotFunded.selector, 1_001, 1_000));
        submit(keccak256("r"), 1_001);
        submit(keccak256("r"), 500);
        vm.expectRevert(abi.encodeWithSelector(RewardDistributor.TotalFalls.selector, 499, 500));
        submit(keccak256("s"), 499);
    }

    function test_after_a_veto_the_total_is_the_last_standing() public {
        submit(keccak256("r"), 100);
        submit(keccak256("s"), 900);
        vm.prank(GUARDIAN_ACCOUNT);
        distributor.veto(1);
        assertEq(distributor.lastTotal(), 100, "that of the first");
        submit(keccak256("t"), 150);
        assertEq(distributor.lastTotal(), 150, "that of the third");
        assertEq(distributor.length(), 3, "three in all");
    }

    function test_funding_with_nothing_is_refused() public {
        vm.expectRevert(RewardDistributor.NothingToFund.selector);
        distributor.fund(0);
    }

    function test_a_wrong_amount_or_account_or_path_proves_nothing() public {
        uint256 index = submitFor(10, 20);
        later(DELAY);
        vm.expectRevert(abi.encodeWithSelector(RewardDistributor.ProofInvalid.selector, ANN, 11));
        claim(index, ANN, 11);
        bytes32[] memory proof = Tree.proof(leaves, 0);
        vm.expectRevert(abi.encodeWithSelector(RewardDistributor.ProofInvalid.selector, STRANGER, 10));
        distributor.claim(index, STRANGER, 10, proof);
        proof[0] ^= bytes32(uint256(1));
        vm.expectRevert(abi.encodeWithSelector(RewardDistributor.ProofInvalid.selector, ANN, 10));
        distributor.claim(index, ANN, 10, proof);
        vm.expectRevert(abi.encodeWithSelector(RewardDistributor.ProofTooLong.selector, 33));
        distributor.claim(index, ANN, 10, new bytes32[](33));
    }

    function test_a_leaf_for_another_chain_contract_or_token_proves_nothing() public {
        bytes32[] memory empty = new bytes32[](0);
        bytes32[3] memory foreign = [
            Tree.leaf(block.chainid + 1, address(distributor), ANN, address(token), 10),
            Tree.leaf(block.chainid, address(escrow), ANN, address(token), 10),
            Tree.leaf(block.chainid, address(distributor), ANN, address(escrow), 10)
        ];
        for (uint256 i = 0; i < 3; ++i) {
            submit(foreign[i], 10);
        }
        submit(leaf(ANN, 10), 10);
        later(DELAY);
        for (uint256 i = 0; i < 3; ++i) {
            vm.expectRevert(abi.encodeWithSelector(RewardDistributor.ProofInvalid.selector, ANN, 10));
            distributor.claim(i, ANN, 10, empty);
        }
        vm.chainId(block.chainid + 1);
        vm.expectRevert(abi.encodeWithSelector(RewardDistributor.ProofInvalid.selector, ANN, 10));
        distributor.claim(3, ANN, 10, empty);
        assertEq(distributor.claim(0, ANN, 10, empty), 10, "the first is for that chain");
    }

    function test_anyone_claims_for_another_and_pays_the_other() public {
        uint256 index = submitFor(10, 20);
        later(DELAY);
        vm.prank(STRANGER);
        claim(index, ANN, 10);
        assertEq(token.balanceOf(ANN), 10, "the account");
        assertEq(token.balanceOf(STRANGER), 0, "not the caller");
    }

    function test_a_claimer_gets_the_money_until_it_is_unset() public {
        uint256 index = submitFor(10, 20);
        vm.prank(ANN);
        distributor.setClaimer(STRANGER);
        later(DELAY);
        claim(index, ANN, 10);
        assertEq(token.balanceOf(STRANGER), 10, "the claimer");
        vm.prank(ANN);
        distributor.setClaimer(address(0));
        index = submitFor(30, 20);
        later(DELAY);
        claim(index, ANN, 30);
        assertEq(token.balanceOf(ANN), 20, "the account again");
    }

    function test_a_claimer_is_set_by_signature_once() public {
        setClaimerBySig(PAYER_KEY, PAYER, STRANGER, 0, START);
        assertEq(distributor.claimers(PAYER), STRANGER, "claimer");
        vm.expectRevert(abi.encodeWithSignature("InvalidAccountNonce(address,uint256)", PAYER, 1));
        setClaimerBySig(PAYER_KEY, PAYER, STRANGER, 0, START);
    }

    function test_a_late_or_forged_signature_sets_no_claimer() public {
        vm.expectRevert(abi.encodeWithSelector(RewardDistributor.SignatureExpired.selector, START - 1));
        setClaimerBySig(PAYER_KEY, PAYER, STRANGER, 0, START - 1);
        vm.expectRevert(abi.encodeWithSelector(RewardDistributor.SignatureInvalid.selector, PAYER));
        setClaimerBySig(PAYER_KEY + 1, PAYER, STRANGER, 0, START);
    }

    function test_what_was_signed_before_does_not_undo_what_was_sent_after() public {
        vm.prank(PAYER);
        distributor.setClaimer(ANN);
        vm.expectRevert(abi.encodeWithSignature("InvalidAccountNonce(address,uint256)", PAYER, 1));
        setClaimerBySig(PAYER_KEY, PAYER, STRANGER, 0, START);
        assertEq(distributor.claimers(PAYER), ANN, "as sent");
    }

    function test_a_contract_sets_its_claimer_by_its_own_signature() public {
        address wallet = address(new Wallet1271(PAYER));
        setClaimerBySig(PAYER_KEY, wallet, STRANGER, 0, START);
        assertEq(distributor.claimers(wallet), STRANGER, "claimer");
        vm.expectRevert(abi.encodeWithSelector(RewardDistributor.SignatureInvalid.selector, wallet));
        setClaimerBySig(PAYER_KEY + 1, wallet, ANN, 1, START);
    }

    function test_many_claims_pay_all_but_those_paid_already() public {
        uint256 index = submitFor(10, 20);
        later(DELAY);
        claim(index, ANN, 10);
        RewardDistributor.Claim[] memory claims = new RewardDistributor.Claim[](3);
        claims[0] = RewardDistributor.Claim(ANN, 10, Tree.proof(leaves, 0));
        claims[1] = RewardDistributor.Claim(BOB, 20, Tree.proof(leaves, 1));
        claims[2] = claims[1];
        assertEq(distributor.claimMany(index, claims), 20, "Bob's, once");
        assertEq(token.balanceOf(ANN), 10, "Ann's, once");
        claims[2].cumulative = 21;
        vm.expectRevert(abi.encodeWithSelector(RewardDistributor.ProofInvalid.selector, BOB, 21));
        distributor.claimMany(index, claims);
    }

    /// Roots whose leaves say anything at all, claimed in any order, any number of times.
    function testFuzz_any_order_and_repetition_pays_the_most_once(
        uint128[6] calldata cumulatives,
        uint8[24] calldata order
    ) public {
        bytes32[] memory proof = new bytes32[](0);
        uint256 most;
        fund(6 * 1_000_000);
        for (uint256 i = 0; i < 6; ++i) {
            submit(leaf(ANN, cumulatives[i] % 1_000_000), 0);
        }
        later(DELAY);
        for (uint256 i = 0; i < order.length; ++i) {
            uint256 index = order[i] % 6;
            uint256 cumulative = cumulatives[index] % 1_000_000;
            if (cumulative <= most) {
                vm.expectRevert(abi.encodeWithSelector(RewardDistributor.NothingToClaim.selector, ANN, cumulative));
            } else {
                most = cumulative;
            }
            distributor.claim(index, ANN, cumulative, proof);
        }
        assertEq(token.balanceOf(ANN), most, "the most, once");
    }
}
