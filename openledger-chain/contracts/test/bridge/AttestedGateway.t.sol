// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {IAccessManaged} from "@openzeppelin/contracts/access/manager/IAccessManaged.sol";
import {IERC7786GatewaySource, IERC7786Recipient} from "@openzeppelin/contracts/interfaces/draft-IERC7786.sol";

import {Pausing} from "../../src/access/Pausing.sol";
import {AttestedGateway} from "../../src/bridge/AttestedGateway.sol";
import {Attestation, Message} from "../../src/bridge/Message.sol";
import {Mesh} from "./Mesh.sol";

/// Answers with something else than ERC-7786 says.
contract RudeRecipient is IERC7786Recipient {
    function receiveMessage(bytes32, bytes calldata, bytes calldata) external payable returns (bytes4) {
        return 0xdeadbeef;
    }
}

/// A wallet that signs as its owner does.
contract Wallet {
    address private immutable OWNER;

    constructor(address owner) {
        OWNER = owner;
    }

    function isValidSignature(bytes32 hash, bytes calldata signature) external view returns (bytes4) {
        (bytes32 r, bytes32 s, uint8 v) = abi.decode(signature, (bytes32, bytes32, uint8));
        return ecrecover(hash, v, r, s) == OWNER ? this.isValidSignature.selector : bytes4(0);
    }
}

contract AttestedGatewayTest is Mesh {
    uint256 private constant AMOUNT = 5 ether;

    function test_a_message_is_delivered_once() public {
        Message memory message = send(alice, HOME, SIDE, bob, AMOUNT);
        bytes32 id = gateways[SIDE].messageId(message);
        assertFalse(gateways[SIDE].delivered(id), "not yet");
        deliver(SIDE, message);
        assertTrue(gateways[SIDE].delivered(id), "delivered");
        Attestation[] memory more = attest(gateways[SIDE], message, 3);
        vm.expectRevert(abi.encodeWithSelector(AttestedGateway.AlreadyDelivered.selector, id));
        gateways[SIDE].deliver(message, more);
        assertEq(tokens[SIDE].balanceOf(bob), AMOUNT, "once");
    }

    function test_messages_of_the_same_content_have_different_ids() public {
        Message memory first = send(alice, HOME, SIDE, bob, AMOUNT);
        Message memory second = send(alice, HOME, SIDE, bob, AMOUNT);
        deliver(SIDE, second);
        deliver(SIDE, first);
        assertEq(tokens[SIDE].balanceOf(bob), 2 * AMOUNT, "both, in any order");
    }

    function test_one_signature_less_than_the_threshold_is_too_few() public {
        Message memory message = send(alice, HOME, SIDE, bob, AMOUNT);
        Attestation[] memory few = attest(gateways[SIDE], message, THRESHOLD - 1);
        vm.expectRevert(abi.encodeWithSelector(AttestedGateway.AttestationsTooFew.selector, 1, THRESHOLD));
        gateways[SIDE].deliver(message, few);
    }

    function test_no_attestor_counts_twice() public {
        Message memory message = send(alice, HOME, SIDE, bob, AMOUNT);
        Attestation[] memory twice = attest(gateways[SIDE], message, 2);
        twice[1] = twice[0];
        vm.expectRevert(
            abi.encodeWithSelector(AttestedGateway.AttestorsUnsorted.selector, attestors[0], attestors[0])
        );
        gateways[SIDE].deliver(message, twice);
    }

    function test_a_stranger_does_not_count() public {
        Message memory message = send(alice, HOME, SIDE, bob, AMOUNT);
        uint256 key = 0x5712A46E;
        address stranger = vm.addr(key);
        bytes32 id = gateways[SIDE].messageId(message);
        Attestation[] memory two = attest(gateways[SIDE], message, 2);
        uint256 place = stranger < attestors[0] ? 0 : 1;
        two[place] = Attestation({attestor: stranger, signature: signature(key, id)});
        vm.expectRevert(abi.encodeWithSelector(AttestedGateway.NotAttestor.selector, stranger));
        gateways[SIDE].deliver(message, two);
    }

    function test_an_attestors_name_without_its_signature_does_not_count() public {
        Message memory message = send(alice, HOME, SIDE, bob, AMOUNT);
        Attestation[] memory two = attest(gateways[SIDE], message, 2);
        two[1].signature = two[0].signature;
        vm.expectRevert(abi.encodeWithSelector(AttestedGateway.SignatureInvalid.selector, attestors[1]));
        gateways[SIDE].deliver(message, two);
    }

    function testFuzz_a_changed_message_has_no_signatures(uint8 field, uint256 change) public {
        Message memory message = send(alice, HOME, SIDE, bob, AMOUNT);
        Attestation[] memory signed = attest(gateways[SIDE], message, 2);
        bytes32 before = gateways[SIDE].messageId(message);
        field = uint8(bound(field, 0, 3));
        if (field == 0) message.nonce = change;
        if (field == 1) message.sender = address(uint160(change));
        if (field == 2) message.recipient = address(uint160(change));
        if (field == 3) message.payload = abi.encode(interop(HOME, alice), abi.encodePacked(bob), change);
        if (gateways[SIDE].messageId(message) == before) return;
        vm.expectRevert(abi.encodeWithSelector(AttestedGateway.SignatureInvalid.selector, attestors[0]));
        gateways[SIDE].deliver(message, signed);
    }

    function test_signatures_for_one_chain_are_no_good_on_another() public {
        Message memory message = send(alice, HOME, SIDE, bob, AMOUNT);
        Attestation[] memory signed = attest(gateways[SIDE], message, 2);
        on(FAR);
        vm.expectRevert(abi.encodeWithSelector(AttestedGateway.SignatureInvalid.selector, attestors[0]));
        gateways[FAR].deliver(message, signed);
        on(SIDE + 1); // the same gateway after a fork of its chain
        vm.expectRevert(abi.encodeWithSelector(AttestedGateway.SignatureInvalid.selector, attestors[0]));
        gateways[SIDE].deliver(message, signed);
    }

    function test_only_the_known_gateway_of_a_chain_is_believed() public {
        Message memory message = send(alice, HOME, SIDE, bob, AMOUNT);
        message.sourceGateway = address(this);
        Attestation[] memory signed = attest(gateways[SIDE], message, 2);
        vm.expectRevert(abi.encodeWithSelector(AttestedGateway.PeerUnknown.selector, HOME, address(this)));
        gateways[SIDE].deliver(message, signed);
        message.sourceChain = 999;
        message.sourceGateway = address(0);
        signed = attest(gateways[SIDE], message, 2);
        vm.expectRevert(abi.encodeWithSelector(AttestedGateway.PeerUnknown.selector, 999, address(0)));
        gateways[SIDE].deliver(message, signed);
    }

    function test_a_removed_attestor_is_of_no_use_at_once() public {
        Message memory message = send(alice, HOME, SIDE, bob, AMOUNT);
        Attestation[] memory signed = attest(gateways[SIDE], message, 2);
        gateways[SIDE].removeAttestor(attestors[0]);
        vm.expectRevert(abi.encodeWithSelector(AttestedGateway.NotAttestor.selector, attestors[0]));
        gateways[SIDE].deliver(message, signed);
        // The others sign again.
        bytes32 id = gateways[SIDE].messageId(message);
        for (uint256 i = 0; i < 2; ++i) {
            signed[i] = Attestation({attestor: attestors[i + 1], signature: signature(keys[i + 1], id)});
        }
        gateways[SIDE].deliver(message, signed);
        assertEq(tokens[SIDE].balanceOf(bob), AMOUNT, "delivered");
    }

    function test_a_contract_can_attest() public {
        uint256 key = 0xC0472AC7;
        Wallet wallet = new Wallet(vm.addr(key));
        gateways[SIDE].addAttestor(address(wallet));
        gateways[SIDE].setThreshold(1);
        Message memory message = send(alice, HOME, SIDE, bob, AMOUNT);
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(key, gateways[SIDE].messageId(message));
        Attestation[] memory one = new Attestation[](1);
        one[0] = Attestation({attestor: address(wallet), signature: abi.encode(r, s, v)});
        gateways[SIDE].deliver(message, one);
        assertEq(tokens[SIDE].balanceOf(bob), AMOUNT, "delivered");
    }

    function test_the_threshold_stays_between_one_and_the_attestors() public {
        AttestedGateway gateway = gateways[SIDE];
        vm.expectRevert(abi.encodeWithSelector(AttestedGateway.ThresholdInvalid.selector, 0, 3));
        gateway.setThreshold(0);
        vm.expectRevert(abi.encodeWithSelector(AttestedGateway.ThresholdInvalid.selector, 4, 3));
        gateway.setThreshold(4);
        gateway.setThreshold(3);
        assertEq(gateway.threshold(), 3, "all of them");
        // Removal is always possible, and too few attestors deliver nothing.
        gateway.removeAttestor(attestors[2]);
        Message memory message = send(alice, HOME, SIDE, bob, AMOUNT);
        Attestation[] memory two = attest(gateway, message, 2);
        vm.expectRevert(abi.encodeWithSelector(AttestedGateway.AttestationsTooFew.selector, 2, 3));
        gateway.deliver(message, two);
    }

    function test_attestors_are_accounts_and_each_is_one() public {
        AttestedGateway gateway = gateways[SIDE];
        vm.expectRevert(abi.encodeWithSelector(AttestedGateway.AttestorInvalid.selector, address(0)));
        gateway.addAttestor(address(0));
        vm.expectRevert(abi.encodeWithSelector(AttestedGateway.AttestorInvalid.selector, attestors[0]));
        gateway.addAttestor(attestors[0]);
        vm.expectRevert(abi.encodeWithSelector(AttestedGateway.NotAttestor.selector, alice));
        gateway.removeAttestor(alice);
        assertEq(gateway.attestors(), 3, "unchanged");
    }

    function test_a_chains_gateway_is_set_once() public {
        on(SIDE);
        AttestedGateway gateway = gateways[SIDE];
        vm.expectRevert(
            abi.encodeWithSelector(AttestedGateway.PeerIsSet.selector, HOME, address(gateways[HOME]))
        );
        gateway.setPeer(HOME, address(this));
        vm.expectRevert(abi.encodeWithSelector(AttestedGateway.PeerInvalid.selector, 7, address(0)));
        gateway.setPeer(7, address(0));
        vm.expectRevert(abi.encodeWithSelector(AttestedGateway.PeerInvalid.selector, SIDE, address(this)));
        gateway.setPeer(SIDE, address(this));
    }

    function test_only_the_authority_changes_a_gateway() public {
        AttestedGateway gateway = gateways[SIDE];
        bytes memory denied = abi.encodeWithSelector(IAccessManaged.AccessManagedUnauthorized.selector, alice);
        vm.startPrank(alice);
        vm.expectRevert(denied);
        gateway.setPeer(7, alice);
        vm.expectRevert(denied);
        gateway.addAttestor(alice);
        vm.expectRevert(denied);
        gateway.removeAttestor(attestors[0]);
        vm.expectRevert(denied);
        gateway.setThreshold(1);
        vm.expectRevert(denied);
        gateway.pause(1);
        vm.stopPrank();
    }

    function test_what_cannot_arrive_is_not_sent() public {
        on(HOME);
        AttestedGateway gateway = gateways[HOME];
        bytes[] memory none = new bytes[](0);
        bytes[] memory one = new bytes[](1);
        one[0] = hex"11223344";
        vm.expectRevert(abi.encodeWithSelector(AttestedGateway.ChainUnknown.selector, 7));
        gateway.sendMessage(interop(7, bob), "", none);
        vm.expectRevert(abi.encodeWithSelector(IERC7786GatewaySource.UnsupportedAttribute.selector, bytes4(0x11223344)));
        gateway.sendMessage(interop(SIDE, bob), "", one);
        vm.deal(address(this), 1);
        vm.expectRevert(abi.encodeWithSelector(AttestedGateway.ValueNotCarried.selector, 1));
        gateway.sendMessage{value: 1}(interop(SIDE, bob), "", none);
        assertFalse(gateway.supportsAttribute(0x11223344), "none are supported");
        assertEq(gateway.sent(), 0, "nothing was sent");
    }

    function test_a_recipient_that_refuses_can_be_tried_again() public {
        RudeRecipient rude = new RudeRecipient();
        on(HOME);
        Message memory message = Message({
            sourceChain: HOME,
            sourceGateway: address(gateways[HOME]),
            nonce: gateways[HOME].sent(),
            sender: address(this),
            recipient: address(rude),
            payload: "hello"
        });
        bytes32 id = gateways[HOME].sendMessage(interop(SIDE, address(rude)), "hello", new bytes[](0));
        on(SIDE);
        Attestation[] memory signed = attest(gateways[SIDE], message, 2);
        vm.expectRevert(
            abi.encodeWithSelector(AttestedGateway.RecipientRefused.selector, address(rude), bytes4(0xdeadbeef))
        );
        gateways[SIDE].deliver(message, signed);
        assertFalse(gateways[SIDE].delivered(id), "still to be delivered");
    }

    function test_a_pause_stops_exactly_its_function() public {
        Message memory before = send(alice, HOME, SIDE, bob, AMOUNT);
        on(HOME);
        AttestedGateway home = gateways[HOME];
        home.pause(uint128(1 << home.SEND()));
        vm.startPrank(alice);
        open.approve(address(adapters[HOME]), AMOUNT);
        vm.expectRevert(abi.encodeWithSelector(Pausing.FunctionPaused.selector, home.SEND()));
        adapters[HOME].crosschainTransfer(interop(SIDE, bob), AMOUNT);
        vm.stopPrank();
        deliver(SIDE, before); // the other chain goes on
        Message memory back = send(bob, SIDE, HOME, bob, AMOUNT);
        deliver(HOME, back); // and so does delivery here
        assertEq(open.balanceOf(bob), AMOUNT, "out while sending is paused");
    }

    function test_delivery_is_an_exit_and_its_pause_ends() public {
        AttestedGateway gateway = gateways[SIDE];
        Message memory message = send(alice, HOME, SIDE, bob, AMOUNT);
        Attestation[] memory signed = attest(gateway, message, 2);
        uint128 deliverFlag = uint128(1 << gateway.DELIVER());
        vm.expectRevert(abi.encodeWithSelector(Pausing.ExitsPausedBeforeTheRest.selector, deliverFlag));
        gateway.pause(deliverFlag);
        gateway.pause(uint128(deliverFlag | uint128(1 << gateway.SEND())));
        vm.expectRevert(abi.encodeWithSelector(Pausing.FunctionPaused.selector, gateway.DELIVER()));
        gateway.deliver(message, signed);
        vm.warp(block.timestamp + gateway.EXIT_PAUSE());
        gateway.deliver(message, signed);
        assertEq(tokens[SIDE].balanceOf(bob), AMOUNT, "delayed, not held");
    }
}
