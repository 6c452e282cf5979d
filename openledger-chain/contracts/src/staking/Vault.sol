// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

/// The stake behind one operator in one role: what works, and what is on its way out.
struct Vault {
    /// Units of the role's pool; only growth of the pool's index raises what a share is worth.
    uint128 units;
    /// Shares in those units.
    uint128 shares;
    /// Tokens in the queue. They earn nothing and can be slashed like the rest.
    uint128 queued;
    uint64 penalty;
    /// The part of its growth that the vault loses, in basis points.
    uint16 cut;
    /// Slashes that are proposed and not decided.
    uint16 slashes;
    /// Shares in the tokens of the queue.
    uint216 queueShares;
    /// The pool's index up to which `cut` has been taken.
    uint256 cutAt;
}

/// One owner's part of a vault.
struct Position {
    uint128 shares;
    uint40 lockedUntil;
}

/// One owner's part of a vault's queue, gone when `shares` is zero.
struct Exit {
    uint216 shares;
    uint40 availableAt;
}

enum SlashStatus {
    None,
    Pending,
    Vetoed,
    Executed
}
