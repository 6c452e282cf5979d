// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

// What people sign for the registries, and the EIP-712 hash of each. The same types are in the Rust
// crate `openledger-core`. Every field is one word, so a struct's encoding is its fields' encoding.

/// "I contribute these rows to this Datanet under these terms." Signed by the contributor.
struct Contribution {
    bytes32 datanet;
    bytes32 root;
    uint64 rows;
    uint64 size;
    bytes32 terms;
    address contributor;
    uint256 nonce;
    uint64 deadline;
}

/// "I take back my consent for these rows." Signed by the contributor.
struct Withdrawal {
    bytes32 datanet;
    bytes32 root;
    uint64 rows;
    address contributor;
    uint256 nonce;
    uint64 deadline;
}

/// "This account may use this Datanet so, from then to then." Signed by the Datanet's owner.
struct Grant {
    bytes32 datanet;
    uint64 version;
    uint8 scope;
    bytes32 purpose;
    address grantee;
    uint64 notBefore;
    uint64 notAfter;
    address owner;
    uint256 nonce;
    uint64 deadline;
}

/// "I am this agent's wallet." Signed by the wallet.
struct AgentWallet {
    bytes32 agent;
    address wallet;
    uint256 nonce;
    uint64 deadline;
}

bytes32 constant CONTRIBUTION_TYPEHASH = keccak256(
    "Contribution(bytes32 datanet,bytes32 root,uint64 rows,uint64 size,bytes32 terms,address contributor,uint256 nonce,uint64 deadline)"
);
bytes32 constant WITHDRAWAL_TYPEHASH = keccak256(
    "Withdrawal(bytes32 datanet,bytes32 root,uint64 rows,address contributor,uint256 nonce,uint64 deadline)"
);
bytes32 constant GRANT_TYPEHASH = keccak256(
    "Grant(bytes32 datanet,uint64 version,uint8 scope,bytes32 purpose,address grantee,uint64 notBefore,uint64 notAfter,address owner,uint256 nonce,uint64 deadline)"
);
bytes32 constant AGENT_WALLET_TYPEHASH =
    keccak256("AgentWallet(bytes32 agent,address wallet,uint256 nonce,uint64 deadline)");

function hashOf(Contribution calldata c) pure returns (bytes32) {
    return keccak256(abi.encode(CONTRIBUTION_TYPEHASH, c));
}

function hashOf(Withdrawal calldata w) pure returns (bytes32) {
    return keccak256(abi.encode(WITHDRAWAL_TYPEHASH, w));
}

function hashOf(Grant calldata g) pure returns (bytes32) {
    return keccak256(abi.encode(GRANT_TYPEHASH, g));
}

function hashOf(AgentWallet calldata a) pure returns (bytes32) {
    return keccak256(abi.encode(AGENT_WALLET_TYPEHASH, a));
}
