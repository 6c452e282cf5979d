//! Decentralised training: workers that do not trust each other train one adapter on data they keep.
//!
//! ```text
//!               ┌── the round's matrices ──▶ Worker: local steps on its own rows
//! Coordinator ──┤                              │ signed update
//!      ▲        └── … ──▶ Worker ──┐           │
//!      └────────── Exchange ◀───────┴───────────┘     checked, judged, combined, recorded
//! ```
//!
//! A round: every worker takes some steps from the shared matrices with an optimiser of its own, whose state
//! it keeps, and sends the difference to where it began. The coordinator combines the differences and takes
//! one step of an outer optimiser with them ([`Outer`]: averaging, or Nesterov's momentum as `DiLoCo`,
//! Douillard et al., 2023). Rows never leave the worker.
//!
//! | what a worker may do | what stands against it |
//! |---|---|
//! | pretend to be another, replay, change its mind | signature over run, round, start and digest; one update each |
//! | send bytes that are no update | the file's head and length are known; every element must be finite |
//! | claim more work than it did | bounds on steps and tokens; weights within a multiple of the median |
//! | do nothing, or a hundredfold | the norm must be near the median of all norms |
//! | point the wrong way | each update alone is tried on rows the coordinator holds |
//! | many small lies | [`Combine`]: trimmed mean, median, geometric median; the result is tried as well |
//! | die | the round closes at its deadline with a quorum, the next ones without waiting |
//! | kill the coordinator | [`Coordinator::with_folder`]: it goes on with all it had said it took |
//! | come back | it takes the newest matrices, and after one update that is late is waited for again |
//!
//! What nothing here stands against: a majority of liars; updates that look useful on the held-out rows and
//! harm elsewhere (a backdoor), for which the held-out rows should be kept secret; and lies too small to be
//! seen, such as a wrong direction at the end of a schedule, where steps are next to nothing: they do no harm,
//! and count as work.
//!
//! The same updates give the same bytes, in whatever order they arrive. Time comes in as an argument.

mod combine;
#[cfg(any(test, feature = "testing"))]
pub mod conformance;
mod coordinator;
mod exchange;
mod folder;
mod held_out;
mod judge;
mod matrices;
mod outer;
mod record;
mod terms;
mod worker;

pub use combine::Combine;
pub use coordinator::Coordinator;
pub use exchange::{Exchange, Host};
pub use held_out::{HeldOut, HeldOutRows};
pub use matrices::Matrices;
pub use outer::Outer;
pub use record::{FederationRecord, Outcome, Reason, RoundRecord, UpdateRecord, WorkShare};
pub use terms::{Defence, Federation, Gate, Round};
pub use worker::{Turn, Worker};
