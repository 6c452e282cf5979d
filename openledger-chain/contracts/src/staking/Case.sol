// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

/// Why something is disputed: the shares of a receipt are wrong, or a contribution is bad.
enum Ground {
    Shares,
    Redundant,
    Biased,
    Adversarial
}

/// What a case was decided to be. An undecided one is dismissed too, but costs nobody a bond.
enum Verdict {
    None,
    Upheld,
    Dismissed,
    Undecided
}

/// Where a case stands; time alone moves it up to `Tally` and to `Decided`.
enum Phase {
    None,
    Defence,
    Commit,
    Reveal,
    Tally,
    Appeal,
    Ruling,
    Decided,
    Closed
}

/// Who disputes what, and whose it is.
struct Subject {
    address challenger;
    uint48 snapshot;
    Ground ground;
    address accused;
    /// The Datanet, for a contribution.
    bytes32 datanet;
    /// The root of the batch, or of the contribution.
    bytes32 root;
    /// The receipt, for a batch.
    bytes32 receipt;
    bytes32 evidence;
}

/// How a dispute goes and what it costs: copied into each case when it opens.
struct Terms {
    /// What a challenge puts down, in units of OPEN; an appeal puts down twice as much.
    uint96 bond;
    /// Seconds that each phase lasts.
    uint40 defence;
    uint40 commit;
    uint40 reveal;
    uint40 appeal;
    uint40 ruling;
    /// Stake that must have voted, of all that validators had, in basis points.
    uint16 quorumBps;
    /// What of its stake the accused loses, in basis points.
    uint16 slashBps;
    /// Points on the accused's penalty score.
    uint64 penalty;
}

/// How far a case has come.
struct Progress {
    Phase reached;
    Verdict verdict;
    bool appealed;
    /// Consequences that are due and not carried out, one bit each.
    uint8 due;
    /// When the phase `reached` ends: Defence, Appeal and Ruling have one.
    uint40 until;
    uint128 challengerBond;
    uint128 accusedBond;
    /// What the voters on the side of the verdict share.
    uint128 pot;
}

struct Case {
    Subject subject;
    Terms terms;
    Progress progress;
}
