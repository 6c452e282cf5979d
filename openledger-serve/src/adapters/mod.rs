//! Adapters by name, loaded when they are asked for.
//!
//! ```text
//!  name ─▶ alias ─▶ content ─▶ ready? ───────────────────────────────▶ Lease
//!            │                   │ no                                    ▲
//!            │                in memory? ────────────▶ parsed, packed ───┤ on a thread of its own
//!            │                   │ no                        ▲           │
//!            └─ source ─▶ fetched, hashed ───────────────────┘           │
//!                        one flight a name        one flight a content ──┘
//! ```
//!
//! Two tiers keep what is used, each within its bytes: `memory` what files hold, `ready` what the engine
//! multiplies by. What is leased never leaves. Everything is kept by content, so new weights under an
//! old name are never mixed up with the old. Beside them are the merged copies that were asked for (`merge.rs`).

mod compose;
#[cfg(any(test, feature = "testing"))]
pub mod conformance;
mod directory;
mod failures;
mod gate;
mod give;
mod handle;
mod load;
mod merge;
mod name;
mod objects;
mod options;
mod prepare;
mod recipe;
mod residency;
mod source;
mod sources;
mod state;
#[cfg(test)]
mod tests;
mod thread;
mod tier;

pub use compose::Compose;
pub use directory::Directory;
pub(crate) use failures::again;
pub use give::Origin;
pub use handle::Adapters;
pub use name::AdapterName;
pub use objects::Objects;
pub use options::AdapterOptions;
pub use residency::{AdapterCounts, Budget, Residency, Resident, Tier};
pub use source::{AdapterSource, FileLimits, ListAdapters};
pub use sources::{Only, Sources};
