// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

/// What a dispute needs of the log of receipts; a batch is named by its node and its root.
interface IReceipts {
    /// Keeps a batch from becoming final; only before it is.
    function hold(address node, bytes32 root) external;

    /// Ends a hold in the node's favour.
    function release(address node, bytes32 root) external;

    /// Ends a hold against the node: the batch never becomes final.
    function reject(address node, bytes32 root) external;

    function isFinal(address node, bytes32 root) external view returns (bool);

    function contains(address node, bytes32 root, bytes32 receipt, bytes32[] calldata proof)
        external
        view
        returns (bool);
}
