//! All that answering a request needs.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, SystemTime},
};

use futures::future::BoxFuture;
use http::StatusCode;
use openledger_core::Result;
use openledger_model::{ChatTemplate, Model};
use openledger_serve::{Engine, Generate, TokenStream};
use tokio::{sync::Semaphore, task::spawn_blocking};

use crate::{
    ApiLimits, ToolFormat, door::Door, error::Failure, ids::Ids, metrics::Metrics, shelf::Shelf,
    trace::Traces,
};

/// Asks whatever answers.
type Ask = Arc<dyn Fn(Generate) -> BoxFuture<'static, Result<TokenStream>> + Send + Sync>;

/// What an API consists of; clones share all that changes.
#[derive(Clone)]
pub(crate) struct Desk {
    pub(crate) ask: Ask,
    pub(crate) subject: Subject,
    pub(crate) shelf: Arc<Shelf>,
    pub(crate) door: Arc<Door>,
    pub(crate) limits: ApiLimits,
    pub(crate) metrics: Arc<Metrics>,
    /// What tells how it goes, and makes embeddings.
    pub(crate) engine: Option<Engine>,
    pub(crate) clock: Arc<dyn Fn() -> u64 + Send + Sync>,
    pub(crate) ids: Arc<Ids>,
    pub(crate) draining: Arc<AtomicBool>,
    pub(crate) offers: Offers,
    /// Whether the engine makes embeddings for whoever asks.
    pub(crate) embeds: bool,
    pub(crate) traces: Option<Traces>,
    /// Held while a request is read.
    pub(crate) readers: Arc<Semaphore>,
}

/// What the layers around the engine bring, which requests may ask for.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Offers {
    pub(crate) receipts: bool,
    pub(crate) ground: bool,
}

/// The base model, and how one talks with it.
#[derive(Clone, Debug)]
pub(crate) struct Subject {
    pub(crate) model: Arc<Model>,
    pub(crate) name: Arc<str>,
    pub(crate) template: Option<Arc<ChatTemplate>>,
    pub(crate) tools: Option<ToolFormat>,
}

impl Desk {
    /// Returns the time in seconds since 1970.
    pub(crate) fn now(&self) -> u64 {
        (self.clock)()
    }

    /// Reads a request on a thread for that, as many at a time as there are cores: parsing, rendering and
    /// encoding megabytes of text takes its time, and many times their memory.
    pub(crate) async fn read<T: Send + 'static>(
        self: &Arc<Self>,
        read: impl FnOnce(&Self) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Failure> {
        let desk = Arc::clone(self);
        // It is never closed.
        let place = Arc::clone(&self.readers).acquire_owned().await;
        let read = move || {
            let _place = place;
            read(&desk)
        };
        let broken =
            |_| Failure::new(StatusCode::INTERNAL_SERVER_ERROR, "reading the request failed");
        spawn_blocking(read).await.map_err(broken)?
    }

    /// Refuses while the server is ending, and when nothing is left that answers.
    pub(crate) fn is_open(&self) -> Result<(), Failure> {
        if self.engine.as_ref().is_some_and(|engine| !engine.is_alive()) {
            let failure = Failure::new(StatusCode::SERVICE_UNAVAILABLE, "the engine has stopped");
            return Err(failure.with_code("stopped"));
        }
        if !self.draining.load(Ordering::Relaxed) {
            return Ok(());
        }
        let failure = Failure::new(StatusCode::SERVICE_UNAVAILABLE, "the server is ending");
        Err(failure.with_code("draining").with_retry_after(Duration::from_secs(5)))
    }
}

/// The system's clock.
pub(crate) fn system_time() -> u64 {
    SystemTime::UNIX_EPOCH.elapsed().map_or(0, |since| since.as_secs())
}

impl fmt::Debug for Desk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Desk")
            .field("model", &self.subject.name)
            .field("door", &self.door)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}
