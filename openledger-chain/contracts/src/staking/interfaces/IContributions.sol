// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

/// What a dispute needs of the registry of contributions.
interface IContributions {
    /// Revokes a contribution for good.
    function revokeDisputed(bytes32 datanet, bytes32 root) external;

    function statusOf(bytes32 datanet, bytes32 root) external view returns (uint8);

    /// Whose it is; zero when there is none.
    function contributorOf(bytes32 datanet, bytes32 root) external view returns (address);
}
