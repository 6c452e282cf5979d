// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {AccessGrants} from "../../src/registry/AccessGrants.sol";
import {DatanetRegistry} from "../../src/registry/DatanetRegistry.sol";
import {Grant} from "../../src/registry/Statements.sol";
import {ContractWallet, RegistryTest} from "./RegistryTest.sol";

contract AccessGrantsTest is RegistryTest {
    uint8 private constant TRAIN = 3;
    bytes32 private constant PURPOSE = keccak256("purpose");
    bytes32 private id;

    function setUp() public override {
        super.setUp();
        vm.prank(signer);
        id = datanets.create("bread", 0, DatanetRegistry.Kind.Image, false);
    }

    function test_access_is_asked_for_once_of_a_datanet_that_exists() public {
        vm.expectRevert(abi.encodeWithSelector(AccessGrants.DatanetUnknown.selector, bytes32(uint256(1))));
        access.request(bytes32(uint256(1)), PURPOSE);
        vm.expectEmit(address(access));
        emit AccessGrants.AccessRequested(id, other, PURPOSE);
        ask();
        assertRequest(AccessGrants.RequestStatus.Requested);
        vm.expectRevert(abi.encodeWithSelector(AccessGrants.RequestExists.selector, id, other, PURPOSE));
        ask();
    }

    function test_the_owner_denies_what_is_asked() public {
        vm.expectRevert(abi.encodeWithSelector(AccessGrants.RequestNotOpen.selector, id, other, PURPOSE));
        vm.prank(signer);
        access.deny(id, other, PURPOSE);
        ask();
        expect(AccessGrants.NotOwner.selector, id, owner);
        vm.prank(owner);
        access.deny(id, other, PURPOSE);
        vm.expectEmit(address(access));
        emit AccessGrants.AccessDenied(id, other, PURPOSE);
        vm.prank(signer);
        access.deny(id, other, PURPOSE);
        assertRequest(AccessGrants.RequestStatus.Denied);
        vm.expectRevert(abi.encodeWithSelector(AccessGrants.RequestExists.selector, id, other, PURPOSE));
        ask();
    }

    function test_a_grant_holds_from_its_first_second_to_its_last() public {
        ask();
        Grant memory g = grantFor(0, 1);
        assertAllowed(g.notBefore, false);
        bytes32 name = hashAgain(g);
        vm.expectEmit(address(access));
        emit AccessGrants.AccessGranted(name, id, other, 0, TRAIN, PURPOSE, g.notBefore, g.notAfter);
        give(g);
        assertRequest(AccessGrants.RequestStatus.Granted);
        assertAllowed(g.notBefore - 1, false);
        assertAllowed(g.notBefore, true);
        assertAllowed(g.notAfter, true);
        assertAllowed(g.notAfter + 1, false);
        assertFalse(access.allowed(id, 5, TRAIN - 1, other, g.notBefore), "another scope");
        assertFalse(access.allowed(id, 5, TRAIN, owner, g.notBefore), "another grantee");
        assertFalse(access.allowed(bytes32(uint256(1)), 5, TRAIN, other, g.notBefore), "another Datanet");
        assertTrue(access.grants(name).status == AccessGrants.GrantStatus.Granted, "stored");
    }

    function test_a_grant_of_one_version_is_of_no_other() public {
        Grant memory g = grantFor(7, 1);
        give(g);
        assertTrue(access.allowed(id, 7, TRAIN, other, g.notBefore), "version 7");
        assertFalse(access.allowed(id, 8, TRAIN, other, g.notBefore), "version 8");
        assertFalse(access.allowed(id, 0, TRAIN, other, g.notBefore), "every version");
    }

    function test_only_the_datanets_owner_grants() public {
        Grant memory g = grantFor(0, 1);
        expect(AccessGrants.NotOwner.selector, id, other);
        vm.prank(other);
        access.grant(g);
        g.owner = other;
        expect(AccessGrants.NotOwner.selector, id, other);
        vm.prank(other);
        access.grant(g);
        g.owner = address(0);
        g.datanet = 0;
        expect(AccessGrants.NotOwner.selector, bytes32(0), address(0));
        access.grantBySig(g, "");
    }

    function test_a_signed_grant_is_brought_by_anybody_once() public {
        Grant memory g = grantFor(0, 1);
        bytes memory consent = signatureOf(g);
        bytes32 name = access.grantBySig(g, consent);
        assertEq(name, hashAgain(g), "name");
        assertAllowed(g.notBefore, true);
        vm.expectRevert(abi.encodeWithSelector(AccessGrants.GrantExists.selector, name));
        access.grantBySig(g, consent);
        vm.prank(signer);
        vm.expectRevert(abi.encodeWithSelector(AccessGrants.GrantExists.selector, name));
        access.grant(g);
    }

    function test_a_contract_that_owns_a_datanet_grants_by_erc_1271() public {
        address wallet = address(new ContractWallet(signer));
        vm.prank(signer);
        datanets.offerOwnership(id, wallet);
        vm.prank(wallet);
        datanets.acceptOwnership(id);
        Grant memory g = grantFor(0, 1);
        g.owner = wallet;
        access.grantBySig(g, signatureOf(g));
        assertAllowed(g.notBefore, true);
    }

    function testFuzz_every_field_of_a_grant_is_signed(uint8 field) public {
        Grant memory g = grantFor(2, 1);
        bytes memory consent = signatureOf(g);
        if (field % 7 == 0) g.version += 1;
        if (field % 7 == 1) g.scope += 1;
        if (field % 7 == 2) g.purpose = 0;
        if (field % 7 == 3) g.grantee = owner;
        if (field % 7 == 4) g.notBefore -= 1;
        if (field % 7 == 5) g.notAfter += 1;
        if (field % 7 == 6) g.nonce += 1;
        vm.expectRevert(abi.encodeWithSelector(AccessGrants.SignatureInvalid.selector, signer));
        access.grantBySig(g, consent);
    }

    function test_a_grant_names_a_scope_a_window_and_comes_in_time() public {
        Grant memory g = grantFor(0, 1);
        g.scope = 0;
        vm.expectRevert(abi.encodeWithSelector(AccessGrants.ScopeUnknown.selector, 0));
        give(g);
        g.scope = 5;
        vm.expectRevert(abi.encodeWithSelector(AccessGrants.ScopeUnknown.selector, 5));
        give(g);
        g.scope = 4;
        uint64 late = g.notAfter;
        g.notAfter = g.notBefore - 1;
        vm.expectRevert(abi.encodeWithSelector(AccessGrants.WindowEmpty.selector, g.notBefore, g.notAfter));
        give(g);
        g.notAfter = late;
        vm.warp(uint256(late) + 1);
        g.deadline = late + 1;
        vm.expectRevert(abi.encodeWithSelector(AccessGrants.WindowEmpty.selector, g.notBefore, late));
        give(g);
        g.deadline = late;
        vm.expectRevert(abi.encodeWithSelector(AccessGrants.GrantExpired.selector, late));
        give(g);
        vm.warp(late);
        give(g);
    }

    function test_a_revoked_grant_never_comes_back_but_another_may_be_given() public {
        Grant memory g = grantFor(0, 1);
        bytes memory consent = signatureOf(g);
        bytes32 name = access.grantBySig(g, consent);
        expect(AccessGrants.NotOwner.selector, id, other);
        vm.prank(other);
        access.revoke(g);
        vm.expectEmit(address(access));
        emit AccessGrants.AccessRevoked(name, id, other);
        vm.prank(signer);
        access.revoke(g);
        assertAllowed(g.notBefore, false);
        vm.expectRevert(abi.encodeWithSelector(AccessGrants.GrantIsRevoked.selector, name));
        access.grantBySig(g, consent);
        vm.expectRevert(abi.encodeWithSelector(AccessGrants.GrantIsRevoked.selector, name));
        vm.prank(signer);
        access.revoke(g);
        give(grantFor(0, 2));
        assertAllowed(g.notBefore, true);
    }

    function test_a_signed_grant_is_called_back_before_it_is_brought() public {
        Grant memory g = grantFor(0, 1);
        bytes memory consent = signatureOf(g);
        vm.prank(signer);
        access.revoke(g);
        vm.expectRevert(abi.encodeWithSelector(AccessGrants.GrantIsRevoked.selector, hashAgain(g)));
        access.grantBySig(g, consent);
    }

    function test_the_next_owner_revokes_what_the_last_one_granted_and_the_last_one_does_not() public {
        Grant memory g = grantFor(0, 1);
        give(g);
        vm.prank(signer);
        datanets.offerOwnership(id, owner);
        vm.prank(owner);
        datanets.acceptOwnership(id);
        expect(AccessGrants.NotOwner.selector, id, signer);
        vm.prank(signer);
        access.revoke(g);
        assertAllowed(g.notBefore, true);
        vm.prank(owner);
        access.revoke(g);
        assertAllowed(g.notBefore, false);
        // What the last owner signed and nobody brought counts no more.
        Grant memory stale = grantFor(0, 2);
        bytes memory consent = signatureOf(stale);
        expect(AccessGrants.NotOwner.selector, id, signer);
        access.grantBySig(stale, consent);
    }

    /// A renewal given ahead of time does not end the grant that runs.
    function test_grants_for_one_use_stand_beside_each_other() public {
        Grant memory now_ = grantFor(0, 1);
        Grant memory next = grantFor(0, 2);
        next.notBefore = now_.notAfter + 100;
        next.notAfter = next.notBefore + 10;
        give(now_);
        give(next);
        assertAllowed(now_.notBefore, true);
        assertAllowed(now_.notAfter + 50, false);
        assertAllowed(next.notBefore, true);
    }

    function test_grants_for_one_use_are_bounded_and_those_that_are_over_make_room() public {
        for (uint256 i = 0; i < access.MAX_GRANTS(); ++i) give(grantFor(0, i));
        Grant memory more = grantFor(0, 100);
        expect(AccessGrants.GrantsFull.selector, id, other);
        give(more);
        Grant memory fifth = grantFor(0, 5);
        vm.prank(signer);
        access.revoke(fifth);
        give(more);
        Grant memory another = grantFor(0, 101);
        expect(AccessGrants.GrantsFull.selector, id, other);
        give(another);
        vm.warp(uint256(another.notAfter) + 1);
        another = grantFor(0, 102);
        give(another);
        assertAllowed(another.notBefore, true);
    }

    function testFuzz_only_windows_that_were_granted_are_allowed(uint64[4] calldata from, uint32[4] calldata for_, uint64 time)
        public
    {
        bool expected;
        for (uint256 i = 0; i < 4; ++i) {
            Grant memory g = grantFor(0, i);
            g.notBefore = uint64(bound(from[i], block.timestamp, block.timestamp + 1000));
            g.notAfter = g.notBefore + for_[i] % 100;
            give(g);
            uint64 at_ = uint64(bound(time, block.timestamp, block.timestamp + 1100));
            expected = expected || (g.notBefore <= at_ && at_ <= g.notAfter);
        }
        assertAllowed(uint64(bound(time, block.timestamp, block.timestamp + 1100)), expected);
    }

    function ask() private {
        vm.prank(other);
        access.request(id, PURPOSE);
    }

    function give(Grant memory g) private {
        vm.prank(g.owner);
        access.grant(g);
    }

    function grantFor(uint64 version, uint256 nonce) private view returns (Grant memory) {
        return Grant({
            datanet: id,
            version: version,
            scope: TRAIN,
            purpose: PURPOSE,
            grantee: other,
            notBefore: uint64(block.timestamp + 10),
            notAfter: uint64(block.timestamp + 20),
            owner: signer,
            nonce: nonce,
            deadline: uint64(block.timestamp + 600)
        });
    }

    function signatureOf(Grant memory g) private view returns (bytes memory) {
        return signature(KEY, digest(address(access), hashAgain(g)));
    }

    function hashAgain(Grant memory g) private pure returns (bytes32) {
        bytes32 typehash = keccak256(
            "Grant(bytes32 datanet,uint64 version,uint8 scope,bytes32 purpose,address grantee,uint64 notBefore,uint64 notAfter,address owner,uint256 nonce,uint64 deadline)"
        );
        bytes memory head = abi.encode(typehash, g.datanet, g.version, g.scope, g.purpose, g.grantee);
        return keccak256(bytes.concat(head, abi.encode(g.notBefore, g.notAfter, g.owner, g.nonce, g.deadline)));
    }

    function assertAllowed(uint64 time, bool expected) private view {
        assertTrue(access.allowed(id, 5, TRAIN, other, time) == expected, "allowed");
    }

    function assertRequest(AccessGrants.RequestStatus expected) private view {
        assertEq(uint8(access.requestOf(id, other, PURPOSE)), uint8(expected), "request");
    }
}
