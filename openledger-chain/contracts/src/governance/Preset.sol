// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

/// What a governor starts with; all but `extension` can be changed by vote later. Times are seconds.
struct Preset {
    /// Votes that a proposer needs.
    uint256 proposalThreshold;
    /// From a proposal to its snapshot.
    uint48 votingDelay;
    /// From the snapshot to the deadline.
    uint32 votingPeriod;
    /// What is left to vote, at least, once quorum is reached.
    uint48 extension;
    /// For and abstaining votes that a proposal needs, of the supply at its snapshot.
    uint16 quorumBps;
}
