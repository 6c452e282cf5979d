// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {IAccessManaged} from "@openzeppelin/contracts/access/manager/IAccessManaged.sol";
import {CrosschainLinked} from "@openzeppelin/contracts/crosschain/CrosschainLinked.sol";
import {ERC7786Recipient} from "@openzeppelin/contracts/crosschain/ERC7786Recipient.sol";
import {InteroperableAddress} from "@openzeppelin/contracts/utils/draft-InteroperableAddress.sol";

import {AttestedGateway} from "../../src/bridge/AttestedGateway.sol";
import {MeshAdapter} from "../../src/bridge/MeshAdapter.sol";
import {Attestation, Message} from "../../src/bridge/Message.sol";
import {Mesh} from "./Mesh.sol";
import {RemoteToken} from "./RemoteToken.sol";

contract MeshAdapterTest is Mesh {
    function testFuzz_there_and_back_nothing_is_lost(uint256 amount, address to) public {
        amount = bound(amount, 1, DAILY);
        vm.assume(to != address(0) && to != address(adapters[SIDE]) && to != address(adapters[HOME]));
        vm.assume(to != alice);
        uint256 before = open.balanceOf(alice);
        deliver(SIDE, send(alice, HOME, SIDE, to, amount));
        assertEq(tokens[SIDE].balanceOf(to), amount, "minted");
        assertEq(open.balanceOf(address(adapters[HOME])), amount, "locked");
        deliver(HOME, send(to, SIDE, HOME, alice, amount));
        assertEq(tokens[SIDE].totalSupply(), 0, "burnt");
        assertEq(open.balanceOf(alice), before, "released");
    }

    function test_tokens_go_from_one_remote_chain_to_another_without_the_home() public {
        deliver(SIDE, send(alice, HOME, SIDE, bob, 7 ether));
        deliver(FAR, send(bob, SIDE, FAR, bob, 4 ether));
        assertEq(tokens[SIDE].totalSupply(), 3 ether, "what stayed");
        assertEq(tokens[FAR].totalSupply(), 4 ether, "what went on");
        deliver(HOME, send(bob, FAR, HOME, bob, 4 ether));
        assertEq(open.balanceOf(bob), 4 ether, "out by another way than in");
        assertEq(open.balanceOf(address(adapters[HOME])), 3 ether, "still backed");
    }

    function test_only_the_gateway_with_a_linked_adapters_message_moves_tokens() public {
        deliver(SIDE, send(alice, HOME, SIDE, bob, 7 ether));
        bytes memory payload = abi.encode(interop(SIDE, alice), abi.encodePacked(alice), uint256(7 ether));
        bytes memory linked = interop(SIDE, address(adapters[SIDE]));
        on(HOME);
        MeshAdapter home = adapters[HOME];
        vm.expectRevert(
            abi.encodeWithSelector(
                ERC7786Recipient.ERC7786RecipientUnauthorizedGateway.selector, address(this), linked
            )
        );
        home.receiveMessage(0, linked, payload);
        bytes memory stranger = interop(SIDE, alice);
        vm.prank(address(gateways[HOME]));
        vm.expectRevert(
            abi.encodeWithSelector(
                ERC7786Recipient.ERC7786RecipientUnauthorizedGateway.selector, address(gateways[HOME]), stranger
            )
        );
        home.receiveMessage(0, stranger, payload);
        vm.expectRevert(abi.encodeWithSelector(RemoteToken.OnlyBridge.selector, address(this)));
        tokens[SIDE].crosschainMint(address(this), 1);
    }

    function test_anybodys_message_through_the_gateway_moves_no_tokens() public {
        deliver(SIDE, send(alice, HOME, SIDE, bob, 7 ether));
        on(SIDE);
        bytes memory payload = abi.encode(interop(SIDE, alice), abi.encodePacked(alice), uint256(7 ether));
        Message memory forged = Message({
            sourceChain: SIDE,
            sourceGateway: address(gateways[SIDE]),
            nonce: gateways[SIDE].sent(),
            sender: alice,
            recipient: address(adapters[HOME]),
            payload: payload
        });
        vm.prank(alice);
        gateways[SIDE].sendMessage(interop(HOME, address(adapters[HOME])), payload, new bytes[](0));
        on(HOME);
        Attestation[] memory signed = attest(gateways[HOME], forged, THRESHOLD);
        vm.expectRevert(
            abi.encodeWithSelector(
                ERC7786Recipient.ERC7786RecipientUnauthorizedGateway.selector,
                address(gateways[HOME]),
                interop(SIDE, alice)
            )
        );
        gateways[HOME].deliver(forged, signed);
    }

    function test_what_leaves_in_a_day_is_limited_and_refills() public {
        send(alice, HOME, SIDE, bob, DAILY);
        on(HOME);
        vm.startPrank(alice);
        open.approve(address(adapters[HOME]), type(uint256).max);
        vm.expectRevert(abi.encodeWithSelector(MeshAdapter.OverLimit.selector, 1, 0));
        adapters[HOME].crosschainTransfer(interop(FAR, bob), 1);
        vm.warp(block.timestamp + 12 hours);
        vm.expectRevert(abi.encodeWithSelector(MeshAdapter.OverLimit.selector, DAILY / 2 + 1, DAILY / 2));
        adapters[HOME].crosschainTransfer(interop(FAR, bob), DAILY / 2 + 1);
        adapters[HOME].crosschainTransfer(interop(FAR, bob), DAILY / 2);
        vm.stopPrank();
    }

    function test_what_arrives_over_the_limit_arrives_later() public {
        adapters[SIDE].setLimits(DAILY, 10 ether);
        Message memory first = send(alice, HOME, SIDE, bob, 10 ether);
        Message memory second = send(alice, HOME, SIDE, bob, 5 ether);
        deliver(SIDE, first);
        Attestation[] memory signed = attest(gateways[SIDE], second, THRESHOLD);
        vm.expectRevert(abi.encodeWithSelector(MeshAdapter.OverLimit.selector, 5 ether, 0));
        gateways[SIDE].deliver(second, signed);
        vm.warp(block.timestamp + 12 hours);
        gateways[SIDE].deliver(second, signed);
        assertEq(tokens[SIDE].balanceOf(bob), 15 ether, "late, not lost");
    }

    function test_new_limits_do_not_give_back_what_was_used() public {
        send(alice, HOME, SIDE, bob, DAILY);
        adapters[HOME].setLimits(2 * DAILY, DAILY);
        (uint256 outgoing, uint256 incoming) = adapters[HOME].available();
        assertEq(outgoing, DAILY, "the difference only");
        assertEq(incoming, DAILY, "untouched");
    }

    function test_a_transfer_that_could_not_be_delivered_is_refused() public {
        on(HOME);
        MeshAdapter home = adapters[HOME];
        vm.startPrank(alice);
        open.approve(address(home), type(uint256).max);
        vm.expectRevert(MeshAdapter.AmountZero.selector);
        home.crosschainTransfer(interop(SIDE, bob), 0);
        vm.expectRevert(abi.encodeWithSelector(MeshAdapter.ChainNotLinked.selector, 7));
        home.crosschainTransfer(interop(7, bob), 1);
        vm.expectRevert(abi.encodeWithSelector(MeshAdapter.RecipientInvalid.selector, address(0)));
        home.crosschainTransfer(interop(SIDE, address(0)), 1);
        vm.expectRevert(abi.encodeWithSelector(MeshAdapter.RecipientInvalid.selector, address(adapters[SIDE])));
        home.crosschainTransfer(interop(SIDE, address(adapters[SIDE])), 1);
        // A recipient of 32 bytes, as chains of another kind have.
        bytes memory foreign = InteroperableAddress.formatV1(0x0000, hex"064c", abi.encode(bob));
        vm.expectRevert(
            abi.encodeWithSelector(InteroperableAddress.InteroperableAddressParsingError.selector, foreign)
        );
        home.crosschainTransfer(foreign, 1);
        vm.stopPrank();
        assertEq(open.balanceOf(address(home)), 0, "nothing was taken");
    }

    function test_an_adapter_is_linked_once_by_the_authority() public {
        on(HOME);
        MeshAdapter home = adapters[HOME];
        bytes memory chain = InteroperableAddress.formatEvmV1(SIDE);
        vm.expectRevert(abi.encodeWithSelector(CrosschainLinked.LinkAlreadyRegistered.selector, chain));
        home.link(SIDE, address(this));
        vm.expectRevert(abi.encodeWithSelector(MeshAdapter.RecipientInvalid.selector, address(0)));
        home.link(7, address(0));
        vm.expectRevert(abi.encodeWithSelector(MeshAdapter.RecipientInvalid.selector, alice));
        home.link(HOME, alice);
        vm.startPrank(alice);
        bytes memory denied = abi.encodeWithSelector(IAccessManaged.AccessManagedUnauthorized.selector, alice);
        vm.expectRevert(denied);
        home.link(7, alice);
        vm.expectRevert(denied);
        home.setLimits(1, 1);
        vm.stopPrank();
    }
}
