// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

/// What a proposal in the ballot box is decided by; each keeps the rules it was opened under.
/// Times are seconds, each less than 2^25; money is in units of the bonds' token.
struct BallotRules {
    /// Votes that a proposer needs.
    uint256 threshold;
    /// What a tally puts at stake.
    uint128 bond;
    /// What a demand to show a leaf puts at stake; it should pay for the calldata of the answer.
    uint128 demandBond;
    /// From opening to the snapshot.
    uint40 votingDelay;
    /// From the snapshot to the deadline, after which tallies are taken.
    uint40 votingPeriod;
    /// From the deadline, or from the loss of a tally, to the last moment for another.
    uint40 submissionWindow;
    /// From a tally to the end of its window: of challenges, demands, replacements and inclusions.
    uint40 challengeWindow;
    /// From a demand to the last answer, and from an answer to the earliest end of the window.
    uint40 answerWindow;
    /// For and abstaining votes that a proposal needs, of the supply at its snapshot.
    uint16 quorumBps;
    /// How often in a row a standing tally can be replaced by one of more weight.
    uint8 maxReplacements;
}
