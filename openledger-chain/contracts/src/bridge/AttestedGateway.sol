// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {AccessManaged} from "@openzeppelin/contracts/access/manager/AccessManaged.sol";
import {IERC7786GatewaySource, IERC7786Recipient} from "@openzeppelin/contracts/interfaces/draft-IERC7786.sol";
import {InteroperableAddress} from "@openzeppelin/contracts/utils/draft-InteroperableAddress.sol";
import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";
import {SignatureChecker} from "@openzeppelin/contracts/utils/cryptography/SignatureChecker.sol";

import {Pausing} from "../access/Pausing.sol";
import {Attestation, Message} from "./Message.sol";

/// An ERC-7786 gateway between EVM chains that believes `threshold` of its attestors.
///
/// A message's id is the EIP-712 digest that attestors sign for the gateway that delivers it. So the
/// id, which both chains compute, names source and destination chain and gateway, sender, recipient,
/// payload and number, and a signature is good for one delivery in one place.
///
/// What counts is who attests at the time of delivery: an attestor found to be bad is of no use the
/// moment it is removed, and the others can always sign again, since the source's log stays. Removal
/// may leave fewer attestors than the threshold, and then nothing is delivered until one is added.
/// Gateways of other chains are set once and for all: what was sent to them or by them stays good.
contract AttestedGateway is IERC7786GatewaySource, EIP712, Pausing {
    using InteroperableAddress for bytes;

    uint8 public constant SEND = 0;
    uint8 public constant DELIVER = 1;
    bytes32 public constant MESSAGE_TYPEHASH = keccak256(
        "Message(uint256 sourceChain,address sourceGateway,uint256 nonce,address sender,address recipient,bytes payload)"
    );
    bytes32 private constant DOMAIN_TYPEHASH =
        keccak256("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)");
    string private constant NAME = "OpenLedger";
    string private constant VERSION = "1";

    /// The gateway of each other chain.
    mapping(uint256 chain => address gateway) public peers;
    mapping(address account => bool) public isAttestor;
    /// Messages delivered here.
    mapping(bytes32 id => bool) public delivered;
    /// Messages sent from here.
    uint256 public sent;
    uint32 public attestors;
    uint32 public threshold;

    /// Gives the number of a message, which with `MessageSent` is all that its id is made of.
    event MessageNumbered(bytes32 indexed sendId, uint256 indexed destinationChain, uint256 nonce);
    event MessageDelivered(bytes32 indexed receiveId, uint256 indexed sourceChain, uint256 nonce);
    event PeerSet(uint256 indexed chain, address gateway);
    event AttestorAdded(address indexed attestor);
    event AttestorRemoved(address indexed attestor);
    event ThresholdChanged(uint32 threshold);

    error ValueNotCarried(uint256 value);
    error ChainUnknown(uint256 chain);
    error PeerInvalid(uint256 chain, address gateway);
    error PeerIsSet(uint256 chain, address gateway);
    error PeerUnknown(uint256 chain, address gateway);
    error AttestorInvalid(address attestor);
    error ThresholdInvalid(uint32 threshold, uint32 attestors);
    error AlreadyDelivered(bytes32 id);
    error AttestationsTooFew(uint256 given, uint32 threshold);
    error AttestorsUnsorted(address before, address attestor);
    error NotAttestor(address attestor);
    error SignatureInvalid(address attestor);
    error RecipientRefused(address recipient, bytes4 answer);

    constructor(address authority, address[] memory attestors_, uint32 threshold_)
        AccessManaged(authority)
        EIP712(NAME, VERSION)
    {
        for (uint256 i = 0; i < attestors_.length; ++i) {
            _addAttestor(attestors_[i]);
        }
        _setThreshold(threshold_);
    }

    /// Sends `payload` to a contract on another chain; no value and no attributes are carried.
    function sendMessage(bytes calldata recipient, bytes calldata payload, bytes[] calldata attributes)
        external
        payable
        whenOpen(SEND)
        returns (bytes32 sendId)
    {
        if (msg.value != 0) revert ValueNotCarried(msg.value);
        if (attributes.length != 0) revert UnsupportedAttribute(bytes4(attributes[0]));
        sendId = _number(recipient, payload);
        bytes memory sender = InteroperableAddress.formatEvmV1(block.chainid, msg.sender);
        emit MessageSent(sendId, sender, recipient, payload, 0, attributes);
    }

    /// Delivers a message of another chain's gateway, once, if enough attestors say that it was sent.
    /// Anybody may call. Attestors in ascending order, so that none counts twice. If the recipient
    /// refuses, nothing happened, and the message can be delivered later.
    function deliver(Message calldata message, Attestation[] calldata attestations) external whenOpen(DELIVER) {
        address peer = peers[message.sourceChain];
        if (peer == address(0) || peer != message.sourceGateway) {
            revert PeerUnknown(message.sourceChain, message.sourceGateway);
        }
        bytes32 id = messageId(message);
        if (delivered[id]) revert AlreadyDelivered(id);
        _check(id, attestations);
        delivered[id] = true;
        emit MessageDelivered(id, message.sourceChain, message.nonce);
        bytes memory sender = InteroperableAddress.formatEvmV1(message.sourceChain, message.sender);
        bytes4 answer = IERC7786Recipient(message.recipient).receiveMessage(id, sender, message.payload);
        if (answer != IERC7786Recipient.receiveMessage.selector) revert RecipientRefused(message.recipient, answer);
    }

    /// Names the gateway of another chain, once and for all.
    function setPeer(uint256 chain, address gateway) external restricted {
        if (gateway == address(0) || chain == block.chainid) revert PeerInvalid(chain, gateway);
        if (peers[chain] != address(0)) revert PeerIsSet(chain, peers[chain]);
        peers[chain] = gateway;
        emit PeerSet(chain, gateway);
    }

    function addAttestor(address attestor) external restricted {
        _addAttestor(attestor);
    }

    function removeAttestor(address attestor) external restricted {
        if (!isAttestor[attestor]) revert NotAttestor(attestor);
        isAttestor[attestor] = false;
        --attestors;
        emit AttestorRemoved(attestor);
    }

    function setThreshold(uint32 threshold_) external restricted {
        _setThreshold(threshold_);
    }

    /// The id of a message that is to be delivered here.
    function messageId(Message calldata message) public view returns (bytes32) {
        return _id(_domainSeparatorV4(), message);
    }

    /// ERC-7786: no attribute is supported.
    function supportsAttribute(bytes4) external pure returns (bool) {
        return false;
    }

    function pausable() public pure override returns (uint128 all, uint128 exits) {
        return (uint128(1 << SEND | 1 << DELIVER), uint128(1 << DELIVER));
    }

    /// Gives the next message of the caller its number and id.
    function _number(bytes calldata recipient, bytes calldata payload) private returns (bytes32 id) {
        (uint256 chain, address to) = recipient.parseEvmV1Calldata();
        address gateway = peers[chain];
        if (gateway == address(0)) revert ChainUnknown(chain);
        Message memory message = Message({
            sourceChain: block.chainid,
            sourceGateway: address(this),
            nonce: sent++,
            sender: msg.sender,
            recipient: to,
            payload: payload
        });
        id = _id(_domain(chain, gateway), message);
        emit MessageNumbered(id, chain, message.nonce);
    }

    function _check(bytes32 id, Attestation[] calldata attestations) private view {
        if (attestations.length < threshold) revert AttestationsTooFew(attestations.length, threshold);
        address before = address(0);
        for (uint256 i = 0; i < attestations.length; ++i) {
            address attestor = attestations[i].attestor;
            if (attestor <= before) revert AttestorsUnsorted(before, attestor);
            if (!isAttestor[attestor]) revert NotAttestor(attestor);
            if (!SignatureChecker.isValidSignatureNowCalldata(attestor, id, attestations[i].signature)) {
                revert SignatureInvalid(attestor);
            }
            before = attestor;
        }
    }

    function _id(bytes32 domain, Message memory message) private pure returns (bytes32) {
        bytes32 content = keccak256(
            abi.encode(
                MESSAGE_TYPEHASH,
                message.sourceChain,
                message.sourceGateway,
                message.nonce,
                message.sender,
                message.recipient,
                keccak256(message.payload)
            )
        );
        return keccak256(abi.encodePacked(hex"1901", domain, content));
    }

    function _domain(uint256 chain, address gateway) private pure returns (bytes32) {
        return keccak256(
            abi.encode(DOMAIN_TYPEHASH, keccak256(bytes(NAME)), keccak256(bytes(VERSION)), chain, gateway)
        );
    }

    function _addAttestor(address attestor) private {
        if (attestor == address(0) || isAttestor[attestor]) revert AttestorInvalid(attestor);
        isAttestor[attestor] = true;
        ++attestors;
        emit AttestorAdded(attestor);
    }

    function _setThreshold(uint32 threshold_) private {
        if (threshold_ == 0 || threshold_ > attestors) revert ThresholdInvalid(threshold_, attestors);
        threshold = threshold_;
        emit ThresholdChanged(threshold_);
    }
}
