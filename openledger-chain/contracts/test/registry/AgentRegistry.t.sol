// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {IERC721} from "@openzeppelin/contracts/token/ERC721/IERC721.sol";
import {IAccessManaged} from "@openzeppelin/contracts/access/manager/IAccessManaged.sol";
import {AgentRegistry} from "../../src/registry/AgentRegistry.sol";
import {AgentWallet} from "../../src/registry/Statements.sol";
import {ContractWallet, Identities, RegistryTest} from "./RegistryTest.sol";

contract AgentRegistryTest is RegistryTest {
    bytes32 private constant CARD = keccak256("card");
    bytes32 private id;
    Identities private identities;

    function setUp() public override {
        super.setUp();
        id = register(owner, "baker");
        identities = new Identities();
        identities.mint(owner, 8004);
    }

    function test_an_agent_is_registered_once_under_an_id_of_its_owner() public {
        bytes32 expected = keccak256(abi.encode(block.chainid, address(agents), other, "baker"));
        vm.expectEmit(address(agents));
        emit AgentRegistry.AgentRegistered(expected, other, "baker", CARD);
        assertEq(register(other, "baker"), expected, "id");
        assertEq(agents.agentId(other, "baker"), expected, "view");
        assertTrue(expected != id, "another owner, another agent");
        AgentRegistry.Agent memory a = agents.agents(expected);
        assertEq(a.owner, other, "owner");
        assertEq(a.registeredAt, block.timestamp, "time");
        assertEq(a.wallet, address(0), "no wallet");
        assertTrue(a.status == AgentRegistry.Status.Active, "active");
        vm.expectRevert(abi.encodeWithSelector(AgentRegistry.AgentExists.selector, id));
        register(owner, "baker");
        vm.expectRevert(AgentRegistry.NameEmpty.selector);
        register(owner, "");
    }

    function test_only_the_owner_acts() public {
        (AgentWallet memory w, bytes memory consent) = walletOf(id, signer);
        bytes4 notOwner = AgentRegistry.NotOwner.selector;
        vm.startPrank(other);
        expect(notOwner, id, other);
        agents.setCard(id, CARD);
        expect(notOwner, id, other);
        agents.setWallet(w, consent);
        expect(notOwner, id, other);
        agents.link(id, 8004);
        expect(notOwner, id, other);
        agents.unlink(id);
        expect(notOwner, id, other);
        agents.retire(id);
        vm.stopPrank();
    }

    function test_a_new_card_is_an_event() public {
        vm.expectEmit(address(agents));
        emit AgentRegistry.CardChanged(id, CARD);
        vm.prank(owner);
        agents.setCard(id, CARD);
    }

    function test_a_wallet_becomes_an_agents_by_its_own_signature() public {
        (AgentWallet memory w, bytes memory consent) = walletOf(id, signer);
        vm.startPrank(owner);
        vm.expectEmit(address(agents));
        emit AgentRegistry.WalletChanged(id, signer);
        agents.setWallet(w, consent);
        assertEq(agents.agents(id).wallet, signer, "wallet");
        assertEq(agents.agentOf(signer), id, "agent");
        expectSpent(w);
        agents.setWallet(w, consent);
        vm.stopPrank();
    }

    function test_a_wallet_signs_for_one_agent_until_a_deadline() public {
        (AgentWallet memory w, bytes memory consent) = walletOf(id, signer);
        vm.startPrank(owner);
        w.nonce += 1;
        vm.expectRevert(abi.encodeWithSelector(AgentRegistry.SignatureInvalid.selector, signer));
        agents.setWallet(w, consent);
        w.nonce -= 1;
        w.wallet = other;
        vm.expectRevert(abi.encodeWithSelector(AgentRegistry.SignatureInvalid.selector, other));
        agents.setWallet(w, consent);
        w.wallet = signer;
        vm.warp(uint256(w.deadline) + 1);
        vm.expectRevert(abi.encodeWithSelector(AgentRegistry.StatementExpired.selector, w.deadline));
        agents.setWallet(w, consent);
        vm.stopPrank();
    }

    function test_a_contract_is_a_wallet_by_erc_1271() public {
        address wallet = address(new ContractWallet(signer));
        (AgentWallet memory w, bytes memory consent) = walletOf(id, wallet);
        vm.prank(owner);
        agents.setWallet(w, consent);
        assertEq(agents.agentOf(wallet), id, "agent");
        // The next wallet sets the first one free.
        (w, consent) = walletOf(id, signer);
        vm.prank(owner);
        agents.setWallet(w, consent);
        assertEq(agents.agentOf(wallet), bytes32(0), "free");
        assertEq(agents.agentOf(signer), id, "taken");
    }

    function test_a_wallet_is_one_agents_and_may_leave_and_never_returns_by_the_same_words() public {
        (AgentWallet memory w, bytes memory consent) = walletOf(id, signer);
        vm.prank(owner);
        agents.setWallet(w, consent);
        bytes32 second = register(owner, "miller");
        (AgentWallet memory v, bytes memory again) = walletOf(second, signer);
        vm.expectRevert(abi.encodeWithSelector(AgentRegistry.WalletTaken.selector, signer, id));
        vm.prank(owner);
        agents.setWallet(v, again);
        expect(AgentRegistry.NotOwner.selector, id, other);
        vm.prank(other);
        agents.dropWallet(signer);
        vm.expectEmit(address(agents));
        emit AgentRegistry.WalletChanged(id, address(0));
        vm.prank(signer);
        agents.dropWallet(signer);
        assertEq(agents.agents(id).wallet, address(0), "none");
        vm.expectRevert(abi.encodeWithSelector(AgentRegistry.WalletUnknown.selector, signer));
        agents.dropWallet(signer);
        expectSpent(w);
        vm.prank(owner);
        agents.setWallet(w, consent);
        vm.startPrank(owner);
        agents.setWallet(v, again);
        agents.dropWallet(signer);
        vm.stopPrank();
        assertEq(agents.agentOf(signer), bytes32(0), "the owner ends it too");
    }

    function test_an_identity_is_linked_by_who_holds_it() public {
        vm.prank(owner);
        vm.expectRevert(AgentRegistry.NoIdentityRegistry.selector);
        agents.link(id, 8004);
        allow();
        bytes32 theirs = register(other, "thief");
        vm.expectRevert(
            abi.encodeWithSelector(AgentRegistry.IdentityNotOwned.selector, address(identities), 8004, other)
        );
        vm.prank(other);
        agents.link(theirs, 8004);
        vm.expectEmit(address(agents));
        emit AgentRegistry.IdentityLinked(id, address(identities), 8004);
        vm.prank(owner);
        agents.link(id, 8004);
        assertIdentity(id, 8004, true);
    }

    function test_an_identity_that_changed_hands_leaves_the_former_agent() public {
        allow();
        vm.prank(owner);
        agents.link(id, 8004);
        vm.prank(owner);
        identities.transferFrom(owner, other, 8004);
        assertIdentity(id, 8004, false);
        bytes32 theirs = register(other, "buyer");
        vm.expectEmit(address(agents));
        emit AgentRegistry.IdentityUnlinked(id, address(identities), 8004);
        vm.prank(other);
        agents.link(theirs, 8004);
        assertIdentity(theirs, 8004, true);
        (IERC721 registry,, bool held) = agents.identityOf(id);
        assertTrue(address(registry) == address(0) && !held, "left");
    }

    function test_an_agent_changes_and_drops_its_identity() public {
        allow();
        identities.mint(owner, 1);
        vm.startPrank(owner);
        vm.expectRevert(abi.encodeWithSelector(AgentRegistry.IdentityNotLinked.selector, id));
        agents.unlink(id);
        agents.link(id, 8004);
        agents.link(id, 8004);
        assertIdentity(id, 8004, true);
        agents.link(id, 1);
        assertIdentity(id, 1, true);
        agents.unlink(id);
        agents.link(id, 8004);
        vm.stopPrank();
        assertIdentity(id, 8004, true);
    }

    function test_another_identity_registry_leaves_old_links() public {
        allow();
        vm.prank(owner);
        agents.link(id, 8004);
        vm.expectEmit(address(agents));
        emit AgentRegistry.IdentityRegistryChanged(address(0));
        agents.setIdentityRegistry(IERC721(address(0)));
        assertIdentity(id, 8004, true);
        vm.expectRevert(abi.encodeWithSelector(IAccessManaged.AccessManagedUnauthorized.selector, owner));
        vm.prank(owner);
        agents.setIdentityRegistry(identities);
    }

    function test_an_identity_that_cannot_be_read_is_not_held() public {
        allow();
        vm.prank(owner);
        agents.link(id, 8004);
        vm.etch(address(identities), hex"5f5ffd");
        assertIdentity(id, 8004, false);
        vm.etch(address(identities), "");
        assertIdentity(id, 8004, false);
    }

    function test_status_only_moves_on() public {
        vm.expectEmit(address(agents));
        emit AgentRegistry.AgentRetired(id);
        vm.prank(owner);
        agents.retire(id);
        expectInactive(AgentRegistry.Status.Retired);
        vm.prank(owner);
        agents.retire(id);
        vm.expectEmit(address(agents));
        emit AgentRegistry.AgentRevoked(id, address(this));
        agents.revoke(id);
        assertTrue(agents.statusOf(id) == AgentRegistry.Status.Revoked, "revoked");
        vm.expectRevert(abi.encodeWithSelector(AgentRegistry.AgentIsRevoked.selector, id));
        agents.revoke(id);
        vm.expectRevert(abi.encodeWithSelector(AgentRegistry.AgentUnknown.selector, bytes32(0)));
        agents.revoke(0);
        vm.expectRevert(abi.encodeWithSelector(IAccessManaged.AccessManagedUnauthorized.selector, owner));
        vm.prank(owner);
        agents.revoke(id);
        (AgentWallet memory w, bytes memory consent) = walletOf(id, signer);
        vm.startPrank(owner);
        expectInactive(AgentRegistry.Status.Revoked);
        agents.setCard(id, CARD);
        expectInactive(AgentRegistry.Status.Revoked);
        agents.setWallet(w, consent);
        expectInactive(AgentRegistry.Status.Revoked);
        agents.link(id, 8004);
        vm.stopPrank();
        vm.expectRevert(abi.encodeWithSelector(AgentRegistry.AgentExists.selector, id));
        register(owner, "baker");
    }

    function register(address by, string memory name) private returns (bytes32) {
        vm.prank(by);
        return agents.register(name, CARD);
    }

    function allow() private {
        agents.setIdentityRegistry(identities);
        assertEq(address(agents.identityRegistry()), address(identities), "registry");
    }

    function walletOf(bytes32 agent, address wallet) private view returns (AgentWallet memory w, bytes memory) {
        w = AgentWallet({agent: agent, wallet: wallet, nonce: 1, deadline: uint64(block.timestamp + 600)});
        return (w, signature(KEY, digest(address(agents), hashAgain(w))));
    }

    function hashAgain(AgentWallet memory w) private pure returns (bytes32) {
        bytes32 typehash = keccak256("AgentWallet(bytes32 agent,address wallet,uint256 nonce,uint64 deadline)");
        return keccak256(abi.encode(typehash, w.agent, w.wallet, w.nonce, w.deadline));
    }

    function assertIdentity(bytes32 agent, uint256 token, bool held) private view {
        (IERC721 registry, uint256 linked, bool holds) = agents.identityOf(agent);
        assertEq(address(registry), address(identities), "registry");
        assertEq(linked, token, "token");
        assertTrue(holds == held, "held");
    }

    function expectSpent(AgentWallet memory w) private {
        vm.expectRevert(abi.encodeWithSelector(AgentRegistry.StatementSpent.selector, hashAgain(w)));
    }

    function expectInactive(AgentRegistry.Status status) private {
        vm.expectRevert(abi.encodeWithSelector(AgentRegistry.AgentNotActive.selector, id, status));
    }
}
