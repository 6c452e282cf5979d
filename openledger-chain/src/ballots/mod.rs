//! Votes without gas: ballots are signed and gathered off chain, and one transaction brings the outcome.
//!
//! ```text
//! voter ── SignedBallot ──▶ BallotBox::add ── count ──▶ Tally ── root, totals, bond ──▶ chain
//!                                                          │
//!                            anybody: Tally::faults ── one wrong ballot ──▶ Ballots::challenge, bond lost
//! ```
//!
//! The chain sees a Merkle root of the ballots and the totals, believes them for a window, and gives up
//! the belief when somebody shows one wrong step. Every ballot in the tree carries the running totals, so
//! a wrong sum is a wrong step between two neighbours, and one leaf or two prove any fraud.

mod ballot;
mod on_chain;
mod tally;

pub use ballot::{Ballot, SignedBallot, Support};
pub use on_chain::{Ballots, Fate, Poll, PollState, Submitted};
pub use tally::{BallotBox, CountedBallot, Fault, Tally, Totals};
