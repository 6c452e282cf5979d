// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

/// What a proposal for a model is under; each keeps the terms it was made under. Times are seconds, of four
/// years at the most; stakes are in units of OPEN.
struct ModelTerms {
    uint128 minStake;
    /// What of the stake a rejected or abandoned proposal loses.
    uint16 forfeitBps;
    /// From a proposal to the last moment for a decision: long enough for a vote and its timelock.
    uint40 decisionPeriod;
    /// From an approval to the last moment for a model.
    uint40 deploymentPeriod;
}
