// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

/// What model proposals ask of the registry of models.
interface IModels {
    /// When `owner` registered `model`, zero for never.
    function registeredAt(address owner, bytes32 model) external view returns (uint40);
}
