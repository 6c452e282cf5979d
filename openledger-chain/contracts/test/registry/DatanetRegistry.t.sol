// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {DatanetRegistry} from "../../src/registry/DatanetRegistry.sol";
import {RegistryTest} from "./RegistryTest.sol";

contract DatanetRegistryTest is RegistryTest {
    bytes32 private id;

    function setUp() public override {
        super.setUp();
        id = create("bread");
    }

    function test_an_id_is_bound_to_chain_proxy_and_creator() public view {
        assertEq(id, keccak256(abi.encode(block.chainid, address(datanets), owner, "bread")), "id");
        assertEq(id, datanets.datanetId(owner, "bread"), "view");
    }

    function testFuzz_ids_never_collide(address a, string calldata m, address b, string calldata n) public view {
        bool same = a == b && keccak256(bytes(m)) == keccak256(bytes(n));
        assertTrue((datanets.datanetId(a, m) == datanets.datanetId(b, n)) == same, "collision");
    }

    function test_creating_says_so_and_fixes_the_kind() public {
        bytes32 expected = datanets.datanetId(other, "birds");
        vm.expectEmit(address(datanets));
        emit DatanetRegistry.DatanetCreated(expected, other, "birds", bytes32(uint256(7)), DatanetRegistry.Kind.Audio, true);
        vm.prank(other);
        datanets.create("birds", bytes32(uint256(7)), DatanetRegistry.Kind.Audio, true);
        DatanetRegistry.Datanet memory d = datanets.datanets(expected);
        assertEq(d.owner, other, "owner");
        assertEq(d.createdAt, block.timestamp, "time");
        assertEq(uint8(d.kind), uint8(DatanetRegistry.Kind.Audio), "kind");
        assertTrue(d.isPrivate && !d.closed && d.versions == 0, "fresh");
    }

    function test_a_name_is_created_once_by_one_owner_and_freely_by_another() public {
        vm.expectRevert(abi.encodeWithSelector(DatanetRegistry.DatanetExists.selector, id));
        create("bread");
        vm.prank(other);
        bytes32 theirs = datanets.create("bread", 0, DatanetRegistry.Kind.Text, false);
        assertTrue(theirs != id, "another id");
    }

    function test_a_name_is_not_empty() public {
        vm.expectRevert(DatanetRegistry.NameEmpty.selector);
        datanets.create("", 0, DatanetRegistry.Kind.Text, false);
    }

    function test_a_handed_over_name_cannot_be_created_again() public {
        hand(other);
        vm.expectRevert(abi.encodeWithSelector(DatanetRegistry.DatanetExists.selector, id));
        create("bread");
    }

    function test_only_the_owner_acts() public {
        bytes4 notOwner = DatanetRegistry.NotOwner.selector;
        vm.startPrank(other);
        expect(notOwner, id, other);
        datanets.setMetadata(id, 0);
        expect(notOwner, id, other);
        datanets.setPrivate(id, true);
        expect(notOwner, id, other);
        datanets.setContributor(id, other, true);
        expect(notOwner, id, other);
        datanets.offerOwnership(id, other);
        expect(notOwner, id, other);
        datanets.publish(id, bytes32(uint256(1)), 1);
        expect(notOwner, id, other);
        datanets.close(id);
        vm.stopPrank();
    }

    function test_nobody_owns_what_does_not_exist() public {
        expect(DatanetRegistry.NotOwner.selector, bytes32(0), address(this));
        datanets.close(0);
        assertEq(datanets.ownerOf(0), address(0), "no owner");
        expect(DatanetRegistry.NotPendingOwner.selector, bytes32(0), address(this));
        datanets.acceptOwnership(0);
    }

    function test_ownership_moves_in_two_steps() public {
        vm.expectEmit(address(datanets));
        emit DatanetRegistry.OwnershipOffered(id, owner, other);
        vm.prank(owner);
        datanets.offerOwnership(id, other);
        assertEq(datanets.ownerOf(id), owner, "an offer moves nothing");
        assertEq(datanets.pendingOwnerOf(id), other, "pending");
        expect(DatanetRegistry.NotPendingOwner.selector, id, address(this));
        datanets.acceptOwnership(id);
        vm.expectEmit(address(datanets));
        emit DatanetRegistry.OwnershipTransferred(id, owner, other);
        vm.prank(other);
        datanets.acceptOwnership(id);
        assertEq(datanets.ownerOf(id), other, "taken");
        assertEq(datanets.pendingOwnerOf(id), address(0), "the offer is used up");
        expect(DatanetRegistry.NotOwner.selector, id, owner);
        vm.prank(owner);
        datanets.setMetadata(id, 0);
    }

    function test_an_offer_can_be_taken_back() public {
        vm.startPrank(owner);
        datanets.offerOwnership(id, other);
        datanets.offerOwnership(id, address(0));
        vm.stopPrank();
        expect(DatanetRegistry.NotPendingOwner.selector, id, other);
        vm.prank(other);
        datanets.acceptOwnership(id);
    }

    function test_a_new_description_is_an_event() public {
        vm.expectEmit(address(datanets));
        emit DatanetRegistry.MetadataChanged(id, bytes32(uint256(5)));
        vm.prank(owner);
        datanets.setMetadata(id, bytes32(uint256(5)));
    }

    function test_a_private_datanet_takes_from_whom_the_owner_approves() public {
        assertIntake(other, true);
        vm.startPrank(owner);
        vm.expectEmit(address(datanets));
        emit DatanetRegistry.PrivacyChanged(id, true);
        datanets.setPrivate(id, true);
        assertIntake(other, false);
        vm.expectEmit(address(datanets));
        emit DatanetRegistry.ContributorApproval(id, other, true);
        datanets.setContributor(id, other, true);
        assertIntake(other, true);
        assertTrue(datanets.isApproved(id, other), "approved");
        assertIntake(signer, false);
        datanets.setContributor(id, other, false);
        assertIntake(other, false);
        datanets.setPrivate(id, false);
        assertIntake(signer, true);
        vm.stopPrank();
    }

    function test_an_unknown_datanet_takes_nothing() public view {
        (address who, bool open) = datanets.intake(bytes32(uint256(1)), other);
        assertTrue(who == address(0) && !open, "unknown");
    }

    function testFuzz_versions_count_up_and_keep_their_roots(bytes32[3] calldata given) public {
        for (uint64 i = 0; i < 3; ++i) {
            vm.assume(given[i] != 0);
            vm.expectEmit(address(datanets));
            emit DatanetRegistry.VersionPublished(id, i + 1, given[i], 9);
            vm.prank(owner);
            assertEq(datanets.publish(id, given[i], 9), i + 1, "version");
        }
        for (uint64 i = 0; i < 3; ++i) assertEq(datanets.roots(id, i + 1), given[i], "root");
        assertEq(datanets.roots(id, 4), bytes32(0), "not yet");
    }

    function test_a_version_has_a_root() public {
        vm.expectRevert(DatanetRegistry.RootEmpty.selector);
        vm.prank(owner);
        datanets.publish(id, 0, 1);
    }

    function test_a_closed_datanet_takes_nothing_and_stays_closed() public {
        vm.startPrank(owner);
        datanets.publish(id, bytes32(uint256(3)), 1);
        vm.expectEmit(address(datanets));
        emit DatanetRegistry.DatanetClosed(id);
        datanets.close(id);
        vm.expectRevert(abi.encodeWithSelector(DatanetRegistry.DatanetIsClosed.selector, id));
        datanets.publish(id, bytes32(uint256(4)), 1);
        vm.expectRevert(abi.encodeWithSelector(DatanetRegistry.DatanetIsClosed.selector, id));
        datanets.close(id);
        vm.stopPrank();
        assertIntake(other, false);
        assertEq(datanets.roots(id, 1), bytes32(uint256(3)), "what it had stays");
    }

    function testFuzz_a_row_is_proven_with_its_contributor_only(bytes32 row, address who, bytes32 sibling, address wrong)
        public
    {
        vm.assume(who != wrong);
        bytes32 leaf = keccak256(bytes.concat(keccak256(abi.encode(row, who))));
        bytes32 root = leaf < sibling ? keccak256(abi.encode(leaf, sibling)) : keccak256(abi.encode(sibling, leaf));
        vm.prank(owner);
        datanets.publish(id, root, 2);
        bytes32[] memory proof = new bytes32[](1);
        proof[0] = sibling;
        assertTrue(datanets.contains(id, 1, row, who, proof), "row and contributor");
        assertFalse(datanets.contains(id, 1, row, wrong, proof), "another contributor");
        assertFalse(datanets.contains(id, 2, row, who, proof), "another version");
        assertFalse(datanets.contains(id, 1, row, who, new bytes32[](0)), "no proof");
    }

    function test_a_version_that_does_not_exist_contains_nothing() public view {
        assertFalse(datanets.contains(id, 99, 0, address(0), new bytes32[](0)), "nothing");
    }

    function assertIntake(address contributor, bool expected) private view {
        (address who, bool open) = datanets.intake(id, contributor);
        assertEq(who, owner, "owner");
        assertTrue(open == expected, "open");
    }

    function hand(address to) private {
        vm.prank(owner);
        datanets.offerOwnership(id, to);
        vm.prank(to);
        datanets.acceptOwnership(id);
    }
}
