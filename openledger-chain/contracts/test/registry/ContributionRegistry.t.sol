// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {IAccessManaged} from "@openzeppelin/contracts/access/manager/IAccessManaged.sol";
import {ContributionRegistry} from "../../src/registry/ContributionRegistry.sol";
import {Contribution, Withdrawal} from "../../src/registry/Statements.sol";
import {ContractWallet, RegistryTest} from "./RegistryTest.sol";

contract ContributionRegistryTest is RegistryTest {
    bytes32 private constant ROOT = keccak256("root");
    bytes32 private constant DA = keccak256("where it lies");
    bytes32 private id;

    function setUp() public override {
        super.setUp();
        id = create("bread");
    }

    function test_a_contribution_waits_for_the_owner() public {
        vm.expectEmit(address(contributions));
        emit ContributionRegistry.Submitted(id, other, ROOT, DA);
        submit();
        ContributionRegistry.Entry memory e = contributions.contributions(id, other, ROOT);
        assertEq(e.recordedAt, block.timestamp, "time");
        assertEq(e.rows, 1, "rows");
        assertStatus(ContributionRegistry.Status.Pending);
    }

    function testFuzz_a_batch_is_one_contribution_of_many_rows(uint64 rows) public {
        vm.assume(rows != 0);
        vm.expectEmit(address(contributions));
        emit ContributionRegistry.SubmittedBatch(id, other, ROOT, rows, DA);
        vm.prank(other);
        contributions.contributeBatch(id, ROOT, rows, DA);
        assertEq(contributions.contributions(id, other, ROOT).rows, rows, "rows");
        vm.prank(owner);
        contributions.accept(id, other, ROOT);
        ContributionRegistry.Entry memory e = contributions.contributions(id, other, ROOT);
        assertEq(e.rows, rows, "rows stay when the status moves");
        assertEq(e.recordedAt, block.timestamp, "time stays");
        assertStatus(ContributionRegistry.Status.Accepted);
    }

    function test_nothing_empty_is_contributed() public {
        vm.expectRevert(ContributionRegistry.RootEmpty.selector);
        contributions.contribute(id, 0, DA);
        vm.expectRevert(ContributionRegistry.RootEmpty.selector);
        contributions.contributeBatch(id, 0, 1, DA);
        vm.expectRevert(ContributionRegistry.ContributionEmpty.selector);
        contributions.contributeBatch(id, ROOT, 0, DA);
    }

    function test_a_contribution_is_made_once() public {
        submit();
        expectNamed(ContributionRegistry.ContributionExists.selector, other);
        submit();
        expectNamed(ContributionRegistry.ContributionExists.selector, other);
        vm.prank(other);
        contributions.contributeBatch(id, ROOT, 5, DA);
    }

    /// Somebody who copies a root first neither blocks nor robs the one whose rows these are.
    function test_who_copies_a_root_blocks_nobody() public {
        vm.prank(address(0xBAD));
        contributions.contribute(id, ROOT, DA);
        submit();
        vm.prank(owner);
        contributions.accept(id, other, ROOT);
        assertStatus(ContributionRegistry.Status.Accepted);
        (Contribution memory c, bytes memory signature) = signed();
        vm.prank(owner);
        contributions.record(c, signature);
        vm.prank(address(0xBAD));
        contributions.revoke(id, ROOT);
        assertStatus(ContributionRegistry.Status.Accepted);
    }

    function test_the_owner_accepts_and_rejects_what_is_pending_and_nobody_else() public {
        submit();
        expect(ContributionRegistry.NotOwner.selector, id, other);
        vm.prank(other);
        contributions.accept(id, other, ROOT);
        expect(ContributionRegistry.NotOwner.selector, id, other);
        vm.prank(other);
        contributions.reject(id, other, ROOT);
        vm.startPrank(owner);
        vm.expectEmit(address(contributions));
        emit ContributionRegistry.Rejected(id, other, ROOT);
        contributions.reject(id, other, ROOT);
        assertStatus(ContributionRegistry.Status.Rejected);
        expectNotPending(ContributionRegistry.Status.Rejected);
        contributions.accept(id, other, ROOT);
        expectNotPending(ContributionRegistry.Status.Rejected);
        contributions.reject(id, other, ROOT);
        vm.stopPrank();
    }

    function test_what_was_not_offered_is_not_decided() public {
        vm.startPrank(owner);
        expectNotPending(ContributionRegistry.Status.None);
        contributions.accept(id, other, ROOT);
        expectNotPending(ContributionRegistry.Status.None);
        contributions.reject(id, other, ROOT);
        vm.stopPrank();
    }

    function test_nothing_is_accepted_into_a_closed_or_unapproving_datanet() public {
        submit();
        vm.startPrank(owner);
        datanets.setPrivate(id, true);
        expect(ContributionRegistry.ContributorRefused.selector, id, other);
        contributions.accept(id, other, ROOT);
        datanets.setContributor(id, other, true);
        datanets.close(id);
        expect(ContributionRegistry.ContributorRefused.selector, id, other);
        contributions.accept(id, other, ROOT);
        contributions.reject(id, other, ROOT);
        vm.stopPrank();
    }

    function test_a_signed_contribution_is_accepted_at_once_and_once() public {
        (Contribution memory c, bytes memory signature) = signed();
        bytes32 expected = hashAgain(c);
        vm.expectEmit(address(contributions));
        emit ContributionRegistry.Contributed(id, signer, expected, ROOT, c.rows, c.terms);
        vm.startPrank(owner);
        assertEq(contributions.record(c, signature), expected, "name");
        assertTrue(contributions.statusOf(id, signer, ROOT) == ContributionRegistry.Status.Accepted, "accepted");
        assertEq(contributions.contributions(id, signer, ROOT).rows, c.rows, "rows");
        expectNamed(ContributionRegistry.ContributionExists.selector, signer);
        contributions.record(c, signature);
        vm.stopPrank();
    }

    function test_a_contract_signs_by_erc_1271() public {
        address wallet = address(new ContractWallet(signer));
        (Contribution memory c,) = signed();
        c.contributor = wallet;
        bytes memory signature = signature(KEY, digest(address(contributions), hashAgain(c)));
        vm.prank(owner);
        contributions.record(c, signature);
        assertTrue(contributions.statusOf(id, wallet, ROOT) == ContributionRegistry.Status.Accepted, "accepted");
        Withdrawal memory w = withdrawal(wallet);
        contributions.revokeBySig(w, signature_(w));
        assertTrue(contributions.statusOf(id, wallet, ROOT) == ContributionRegistry.Status.Revoked, "revoked");
    }

    function test_the_owner_records_and_only_what_is_whole_and_in_time() public {
        (Contribution memory c, bytes memory signature) = signed();
        expect(ContributionRegistry.NotOwner.selector, id, address(this));
        contributions.record(c, signature);
        vm.startPrank(owner);
        datanets.setPrivate(id, true);
        expect(ContributionRegistry.ContributorRefused.selector, id, signer);
        contributions.record(c, signature);
        datanets.setPrivate(id, false);
        c.rows = 0;
        vm.expectRevert(ContributionRegistry.ContributionEmpty.selector);
        contributions.record(c, signature);
        (c.rows, c.root) = (3, 0);
        vm.expectRevert(ContributionRegistry.RootEmpty.selector);
        contributions.record(c, signature);
        c.root = ROOT;
        vm.warp(uint256(c.deadline) + 1);
        vm.expectRevert(abi.encodeWithSelector(ContributionRegistry.ContributionExpired.selector, c.deadline));
        contributions.record(c, signature);
        vm.warp(c.deadline);
        contributions.record(c, signature);
        vm.stopPrank();
    }

    /// Any field that differs from what was signed voids the signature.
    function testFuzz_every_field_is_signed(uint8 field, uint64 by) public {
        vm.assume(by != 0);
        (Contribution memory c, bytes memory signature) = signed();
        if (field % 6 == 0) c.root = bytes32(uint256(c.root) ^ by);
        if (field % 6 == 1) c.rows ^= by;
        if (field % 6 == 2) c.size ^= by;
        if (field % 6 == 3) c.terms = bytes32(uint256(c.terms) ^ by);
        if (field % 6 == 4) c.contributor = address(uint160(c.contributor) ^ by);
        if (field % 6 == 5) c.nonce ^= by;
        vm.assume(c.rows != 0);
        vm.expectRevert(abi.encodeWithSelector(ContributionRegistry.SignatureInvalid.selector, c.contributor));
        vm.prank(owner);
        contributions.record(c, signature);
    }

    function testFuzz_a_signature_counts_on_one_chain_and_contract(uint64 chain, address verifier) public {
        vm.assume(chain != 0 && chain != block.chainid && verifier != address(contributions));
        (Contribution memory c,) = signed();
        bytes memory elsewhere = signature(KEY, digest(verifier, hashAgain(c)));
        vm.expectRevert(abi.encodeWithSelector(ContributionRegistry.SignatureInvalid.selector, signer));
        vm.prank(owner);
        contributions.record(c, elsewhere);
        (Contribution memory good, bytes memory here) = signed();
        vm.chainId(chain);
        vm.expectRevert(abi.encodeWithSelector(ContributionRegistry.SignatureInvalid.selector, signer));
        vm.prank(owner);
        contributions.record(good, here);
    }

    function test_consent_is_taken_back_for_good_from_every_status() public {
        for (uint8 s = 0; s < 4; ++s) {
            bytes32 root = keccak256(abi.encode(s));
            if (s > 0) {
                vm.prank(other);
                contributions.contribute(id, root, DA);
            }
            vm.startPrank(owner);
            if (s == 2) contributions.accept(id, other, root);
            if (s == 3) contributions.reject(id, other, root);
            vm.stopPrank();
            assertEq(uint8(contributions.statusOf(id, other, root)), s, "before");
            vm.expectEmit(address(contributions));
            emit ContributionRegistry.Revoked(id, other, root, other);
            vm.prank(other);
            contributions.revoke(id, root);
            assertEq(uint8(contributions.statusOf(id, other, root)), 4, "after");
            vm.expectRevert(abi.encodeWithSelector(ContributionRegistry.ContributionIsRevoked.selector, id, other, root));
            vm.prank(other);
            contributions.revoke(id, root);
            vm.expectRevert(abi.encodeWithSelector(ContributionRegistry.ContributionExists.selector, id, other, root));
            vm.prank(other);
            contributions.contribute(id, root, DA);
        }
    }

    function test_a_signed_contribution_is_called_back_before_it_is_recorded() public {
        (Contribution memory c, bytes memory signature) = signed();
        vm.prank(signer);
        contributions.revoke(id, ROOT);
        expectNamed(ContributionRegistry.ContributionExists.selector, signer);
        vm.prank(owner);
        contributions.record(c, signature);
    }

    function test_a_signed_withdrawal_is_brought_by_anybody_once_and_in_time() public {
        (Contribution memory c, bytes memory signature) = signed();
        vm.prank(owner);
        contributions.record(c, signature);
        Withdrawal memory w = withdrawal(signer);
        bytes memory consent = signature_(w);
        vm.warp(uint256(w.deadline) + 1);
        vm.expectRevert(abi.encodeWithSelector(ContributionRegistry.WithdrawalExpired.selector, w.deadline));
        contributions.revokeBySig(w, consent);
        vm.warp(w.deadline);
        w.rows += 1;
        vm.expectRevert(abi.encodeWithSelector(ContributionRegistry.SignatureInvalid.selector, signer));
        contributions.revokeBySig(w, consent);
        w.rows -= 1;
        vm.expectEmit(address(contributions));
        emit ContributionRegistry.Revoked(id, signer, ROOT, signer);
        contributions.revokeBySig(w, consent);
        assertTrue(contributions.statusOf(id, signer, ROOT) == ContributionRegistry.Status.Revoked, "revoked");
        expectNamed(ContributionRegistry.ContributionIsRevoked.selector, signer);
        contributions.revokeBySig(w, consent);
    }

    function test_nobodys_consent_needs_a_signature_too() public {
        Withdrawal memory w = withdrawal(address(0));
        vm.expectRevert(abi.encodeWithSelector(ContributionRegistry.SignatureInvalid.selector, address(0)));
        contributions.revokeBySig(w, new bytes(65));
    }

    function test_a_lost_dispute_revokes_what_exists() public {
        vm.prank(disputes);
        expectNamed(ContributionRegistry.ContributionUnknown.selector, other);
        contributions.revokeDisputed(id, other, ROOT);
        submit();
        vm.expectRevert(abi.encodeWithSelector(IAccessManaged.AccessManagedUnauthorized.selector, owner));
        vm.prank(owner);
        contributions.revokeDisputed(id, other, ROOT);
        vm.startPrank(disputes);
        vm.expectEmit(address(contributions));
        emit ContributionRegistry.Revoked(id, other, ROOT, disputes);
        contributions.revokeDisputed(id, other, ROOT);
        expectNamed(ContributionRegistry.ContributionIsRevoked.selector, other);
        contributions.revokeDisputed(id, other, ROOT);
        vm.stopPrank();
        assertStatus(ContributionRegistry.Status.Revoked);
    }

    function submit() private {
        vm.prank(other);
        contributions.contribute(id, ROOT, DA);
    }

    function signed() private view returns (Contribution memory c, bytes memory) {
        c = Contribution({
            datanet: id,
            root: ROOT,
            rows: 3,
            size: 100,
            terms: keccak256("terms"),
            contributor: signer,
            nonce: 1,
            deadline: uint64(block.timestamp + 600)
        });
        return (c, signature(KEY, digest(address(contributions), hashAgain(c))));
    }

    function withdrawal(address contributor) private view returns (Withdrawal memory) {
        return Withdrawal({
            datanet: id,
            root: ROOT,
            rows: 3,
            contributor: contributor,
            nonce: 2,
            deadline: uint64(block.timestamp + 600)
        });
    }

    function signature_(Withdrawal memory w) private view returns (bytes memory) {
        bytes32 typehash = keccak256(
            "Withdrawal(bytes32 datanet,bytes32 root,uint64 rows,address contributor,uint256 nonce,uint64 deadline)"
        );
        bytes32 hash = keccak256(abi.encode(typehash, w.datanet, w.root, w.rows, w.contributor, w.nonce, w.deadline));
        return signature(KEY, digest(address(contributions), hash));
    }

    function hashAgain(Contribution memory c) private pure returns (bytes32) {
        bytes32 typehash = keccak256(
            "Contribution(bytes32 datanet,bytes32 root,uint64 rows,uint64 size,bytes32 terms,address contributor,uint256 nonce,uint64 deadline)"
        );
        return keccak256(
            abi.encode(typehash, c.datanet, c.root, c.rows, c.size, c.terms, c.contributor, c.nonce, c.deadline)
        );
    }

    function assertStatus(ContributionRegistry.Status status) private view {
        assertEq(uint8(contributions.statusOf(id, other, ROOT)), uint8(status), "status");
    }

    function expectNamed(bytes4 selector, address contributor) private {
        vm.expectRevert(abi.encodeWithSelector(selector, id, contributor, ROOT));
    }

    function expectNotPending(ContributionRegistry.Status status) private {
        vm.expectRevert(
            abi.encodeWithSelector(ContributionRegistry.ContributionNotPending.selector, id, other, ROOT, status)
        );
    }
}
