//! Policies around an engine, each usable alone in anybody's tower stack.
//!
//! ```text
//! TraceLayer ─▶ PinLayer ─▶ LimitLayer ─▶ GroundLayer ─▶ PayLayer ─▶ MeterLayer ─▶ ReceiptLayer ─▶ Engine
//!                choose        refuse       prompt         reserve      count          record
//! ```
//!
//! Each is a `Policy`; what it has to see through to the end, however that comes, it does as a `Watch`.

mod attribute;
mod ground;
mod limit;
mod meter;
pub mod pay;
mod pin;
mod policy;
mod receipt;
mod totals;
#[cfg(feature = "trace")]
mod trace;
mod watch;

pub use attribute::{Answer, AttributeLayer, Overflow, QueueOptions, QueueStats};
pub use ground::{GroundLayer, GroundOptions};
pub use limit::{LimitLayer, Limits};
pub use meter::MeterLayer;
pub use pay::{Account, Accounts, Hold, PayLayer, PaymentRequired, Till};
pub use pin::PinLayer;
pub use policy::{Around, Next, Policy};
pub use receipt::{ReceiptLayer, Terms};
pub use totals::{Total, Totals};
#[cfg(feature = "trace")]
pub use trace::TraceLayer;
pub use watch::{Asked, Outcome, Usage, Watch};
