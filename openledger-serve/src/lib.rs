#![doc = include_str!("../README.md")]

mod adapters;
mod citations;
mod engine;
mod fingerprint;
mod flights;
mod layer;
mod lease;
mod request;
mod sampling;
mod stream;

#[cfg(any(test, feature = "testing"))]
pub use adapters::conformance;
pub use adapters::{
    AdapterCounts, AdapterName, AdapterOptions, AdapterSource, Adapters, Budget, Compose,
    Directory, FileLimits, ListAdapters, Objects, Only, Origin, Residency, Resident, Sources, Tier,
};
pub use citations::{Citations, Mark, Source};
pub use engine::{Embed, Engine, EngineOptions, Pooling, Stats};
#[cfg(feature = "trace")]
pub use layer::TraceLayer;
pub use layer::{
    Account, Accounts, Answer, Around, Asked, AttributeLayer, GroundLayer, GroundOptions, Hold,
    LimitLayer, Limits, MeterLayer, Next, Outcome, Overflow, PayLayer, PaymentRequired, PinLayer,
    Policy, QueueOptions, QueueStats, ReceiptLayer, Terms, Till, Total, Totals, Usage, Watch, pay,
};
pub use lease::{AdapterPrecision, Lease};
pub use request::{Begun, Credential, Generate, Question};
pub use sampling::{Constraint, Lookup, Part, Sampling};
pub use stream::{Completion, End, Event, Finish, Logprobs, TokenStream};

use openledger_core::Error;
use tower::Service;

/// What answers: an [`Engine`], or one behind layers.
///
/// Implement [`tower::Service`] with these types and this is implemented for you.
pub trait Inference: Service<Generate, Response = TokenStream, Error = Error> {}

impl<S: Service<Generate, Response = TokenStream, Error = Error>> Inference for S {}
