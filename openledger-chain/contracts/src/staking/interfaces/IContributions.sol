// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

/// What a dispute needs of the registry of contributions, where a contribution is named by its
/// Datanet, its contributor and its root.
interface IContributions {
    /// Revokes a contribution for good.
    function revokeDisputed(bytes32 datanet, address contributor, bytes32 root) external;

    /// Zero when there is none.
    function statusOf(bytes32 datanet, address contributor, bytes32 root) external view returns (uint8);
}
