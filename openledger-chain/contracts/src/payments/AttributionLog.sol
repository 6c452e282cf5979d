// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {AccessManaged} from "@openzeppelin/contracts/access/manager/AccessManaged.sol";
import {MerkleProof} from "@openzeppelin/contracts/utils/cryptography/MerkleProof.sol";

/// Batches of receipts: a Merkle root on chain, the receipts themselves where anyone can fetch them.
contract AttributionLog is AccessManaged {
    struct Batch {
        bytes32 root;
        bytes32 body;
        address node;
        uint40 loggedAt;
        uint40 receipts;
    }

    Batch[] public batches;

    event BatchLogged(uint256 indexed index, address indexed node, bytes32 root, bytes32 body, uint40 receipts);

    error BatchEmpty();

    constructor(address authority) AccessManaged(authority) {}

    function length() external view returns (uint256) {
        return batches.length;
    }

    /// Logs a batch of the caller's receipts; `body` is the keccak-256 of their published encoding.
    function log(bytes32 root, bytes32 body, uint40 receipts) external restricted returns (uint256 index) {
        if (root == bytes32(0) || receipts == 0) revert BatchEmpty();
        index = batches.length;
        batches.push(
            Batch({root: root, body: body, node: msg.sender, loggedAt: uint40(block.timestamp), receipts: receipts})
        );
        emit BatchLogged(index, msg.sender, root, body, receipts);
    }

    /// Whether a receipt is in a batch: `proof` as OpenZeppelin's StandardMerkleTree makes it for
    /// leaves (bytes32).
    function contains(uint256 index, bytes32 receipt, bytes32[] calldata proof) external view returns (bool) {
        bytes32 leaf = keccak256(bytes.concat(keccak256(abi.encode(receipt))));
        return MerkleProof.verifyCalldata(proof, batches[index].root, leaf);
    }
}
