// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

/// A message between two gateways. Where it goes is not in it but in the EIP-712 domain it is
/// signed for: the chain and the gateway that deliver it.
struct Message {
    uint256 sourceChain;
    address sourceGateway;
    uint256 nonce;
    address sender;
    address recipient;
    bytes payload;
}

/// An attestor's word that a message was sent: its signature of the message's id.
struct Attestation {
    address attestor;
    bytes signature;
}
