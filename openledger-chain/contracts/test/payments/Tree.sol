// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {Hashes} from "@openzeppelin/contracts/utils/cryptography/Hashes.sol";

/// Merkle trees with sorted pairs; a node without a sibling goes up as it is.
library Tree {
    function leaf(uint256 chain, address distributor, address account, address token, uint256 cumulative)
        internal
        pure
        returns (bytes32)
    {
        return keccak256(bytes.concat(keccak256(abi.encode(chain, distributor, account, token, cumulative))));
    }

    function leaf(bytes32 value) internal pure returns (bytes32) {
        return keccak256(bytes.concat(keccak256(abi.encode(value))));
    }

    function root(bytes32[] memory leaves) internal pure returns (bytes32) {
        while (leaves.length > 1) leaves = _above(leaves);
        return leaves[0];
    }

    function proof(bytes32[] memory leaves, uint256 place) internal pure returns (bytes32[] memory path) {
        bytes32[] memory longest = new bytes32[](32);
        uint256 length;
        while (leaves.length > 1) {
            uint256 sibling = place ^ 1;
            if (sibling < leaves.length) longest[length++] = leaves[sibling];
            (leaves, place) = (_above(leaves), place / 2);
        }
        path = new bytes32[](length);
        for (uint256 i = 0; i < length; ++i) {
            path[i] = longest[i];
        }
    }

    /// The root over `leaf` if its siblings on the way up are `path`.
    function climb(bytes32 node, bytes32[] memory path) internal pure returns (bytes32) {
        for (uint256 i = 0; i < path.length; ++i) {
            node = Hashes.commutativeKeccak256(node, path[i]);
        }
        return node;
    }

    function _above(bytes32[] memory nodes) private pure returns (bytes32[] memory up) {
        up = new bytes32[]((nodes.length + 1) / 2);
        for (uint256 i = 0; i < up.length; ++i) {
            up[i] = 2 * i + 1 < nodes.length
                ? Hashes.commutativeKeccak256(nodes[2 * i], nodes[2 * i + 1])
                : nodes[2 * i];
        }
    }
}
