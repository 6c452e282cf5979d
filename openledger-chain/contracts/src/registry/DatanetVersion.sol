// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

/// A published state of a Datanet, as receipts name it.
struct DatanetVersion {
    bytes32 datanet;
    uint64 version;
    bytes32 root;
}
