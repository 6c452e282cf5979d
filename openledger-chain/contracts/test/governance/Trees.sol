// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {Hashes} from "@openzeppelin/contracts/utils/cryptography/Hashes.sol";

/// Merkle trees as OpenZeppelin's StandardMerkleTree lays them out: leaves by hash, from the end of
/// the array backwards, the children of `i` at `2i + 1` and `2i + 2`.
library Trees {
    /// The nodes of the tree over `leaves` (their double hashes), the root first.
    function build(bytes32[] memory leaves) internal pure returns (bytes32[] memory nodes) {
        uint256 n = leaves.length;
        nodes = new bytes32[](2 * n - 1);
        bytes32[] memory sorted = sort(leaves);
        for (uint256 i = 0; i < n; ++i) nodes[nodes.length - 1 - i] = sorted[i];
        for (uint256 i = n - 1; i > 0; --i) {
            nodes[i - 1] = Hashes.commutativeKeccak256(nodes[2 * i - 1], nodes[2 * i]);
        }
    }

    /// What leads from `leaf` to the root; empty if it is not there.
    function proof(bytes32[] memory nodes, bytes32 leaf) internal pure returns (bytes32[] memory path) {
        uint256 place = nodes.length;
        for (uint256 i = nodes.length / 2; i < nodes.length; ++i) if (nodes[i] == leaf) place = i;
        if (place == nodes.length) return path;
        uint256 depth;
        for (uint256 i = place; i > 0; i = (i - 1) / 2) ++depth;
        path = new bytes32[](depth);
        for (uint256 k = 0; k < depth; ++k) {
            path[k] = nodes[place % 2 == 1 ? place + 1 : place - 1];
            place = (place - 1) / 2;
        }
    }

    function sort(bytes32[] memory leaves) private pure returns (bytes32[] memory sorted) {
        sorted = new bytes32[](leaves.length);
        for (uint256 i = 0; i < leaves.length; ++i) {
            uint256 k = i;
            for (; k > 0 && sorted[k - 1] > leaves[i]; --k) sorted[k] = sorted[k - 1];
            sorted[k] = leaves[i];
        }
    }
}
