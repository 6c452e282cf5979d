//! Leases by name.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use openledger_core::Result;
use openledger_model::Model;

use super::{
    AdapterCounts, AdapterOptions, Compose, Residency,
    gate::Gate,
    load::Located,
    state::{Origin, State},
};
use crate::Lease;

/// The adapters of one base model, by name. Clones share them.
///
/// A name is an alias that was given, or else what a source of the [options](AdapterOptions) calls an
/// adapter, which is then loaded when it is first asked for.
///
/// # Contract
/// - An unknown name is [`ErrorKind::NotFound`](openledger_core::ErrorKind::NotFound), never the base
///   model. An adapter that does not fit the model is an error that says what does not, and is never
///   served in part.
/// - A [`Lease`] names content. Whatever becomes of the name, who holds one keeps the adapter.
/// - What is kept stays within its bytes, and what is leased is kept. What is being loaded comes on
///   top, and that is bounded: what is fetched and made ready at a time, and of what waits in between
///   as much as memory holds once more, or as many adapters as are fetched at a time. Over that, and
///   when everything ready is leased, another adapter is
///   [`ErrorKind::Limit`](openledger_core::ErrorKind::Limit), retryable, at once: waiting is the
///   caller's, who knows for how long.
/// - Many who ask for one adapter share one load. A load runs on its own thread, never on the engine's.
///   A fetch ends when nobody waits for it any more; what is being made ready then is finished and kept.
/// - A failure is told again for some seconds without another try, and never for ever.
/// - What [`merge`](Self::merge) merged is answered from the merged copy until [`unmerge`](Self::unmerge),
///   and nothing is merged by itself: the last bits of answers would change with what is asked for most.
/// - A name goes on naming what was loaded, though its source may have changed, until
///   [`load`](Self::load) is called or all of it has left memory.
///
/// # Examples
/// ```
/// use std::sync::Arc;
/// use openledger_core::ErrorKind;
/// use openledger_model::{LoraConfig, testing};
/// use openledger_serve::{AdapterOptions, Adapters, Directory, Sources};
///
/// # let folder = tempfile::tempdir().unwrap();
/// # let folder = folder.path();
/// # futures::executor::block_on(async {
/// let model = Arc::new(testing::tiny(1)?);
/// let config = LoraConfig::default();
/// let files = testing::lora(&model, &config, 3)?.to_files(model.network(), &config);
/// files.write(folder.join("law"))?;
///
/// let sources = Sources::new().with_default(Directory::open(folder)?);
/// let adapters = Adapters::with_options(model, AdapterOptions::default().with_sources(sources));
/// let lease = adapters.lease("law").await?;
/// assert_eq!(lease.id(), files.id());
/// assert_eq!(adapters.lease("low").await.unwrap_err().kind(), ErrorKind::NotFound);
/// # Ok::<(), openledger_core::Error>(())
/// # }).unwrap();
/// ```
#[derive(Clone)]
pub struct Adapters(pub(super) Arc<Inner>);

pub(super) struct Inner {
    pub(super) model: Arc<Model>,
    pub(super) options: AdapterOptions,
    pub(super) fetching: Gate,
    pub(super) preparing: Gate,
    /// For compositions that take minutes.
    pub(super) composing: Gate,
    state: Mutex<State>,
}

impl Adapters {
    /// Makes room for adapters of `model` that the application gives.
    pub fn new(model: Arc<Model>) -> Self {
        Self::with_options(model, AdapterOptions::default())
    }

    /// Makes room for adapters of `model`.
    pub fn with_options(model: Arc<Model>, options: AdapterOptions) -> Self {
        let state = Mutex::new(State::new(&options));
        let fetching = Gate::new(options.max_fetches, options.max_waiting);
        let preparing = Gate::new(options.max_preparations, options.max_waiting);
        let composing = Gate::new(1, options.max_waiting);
        Self(Arc::new(Inner { model, options, fetching, preparing, composing, state }))
    }

    /// Returns the base model.
    pub fn model(&self) -> &Arc<Model> {
        &self.0.model
    }

    /// Takes a lease on what `name` names, if it is ready: no waiting, and nothing is loaded.
    pub fn ready(&self, name: &str) -> Option<Lease> {
        let now = self.0.options.clock.now();
        let mut state = self.0.lock();
        let lease = state.take_ready(name, now)?;
        state.counts.hits += 1;
        Some(lease)
    }

    /// Takes a lease on what `name` names, and loads it if need be.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`](openledger_core::ErrorKind::NotFound) for an unknown name;
    /// [`ErrorKind::Denied`](openledger_core::ErrorKind::Denied) for one that may not be loaded;
    /// [`ErrorKind::Limit`](openledger_core::ErrorKind::Limit), retryable if there is no room now and
    /// else if it is too large; those of its source; those of
    /// [`Adapter::load`](openledger_model::Adapter::load), naming what does not fit the model.
    pub async fn lease(&self, name: &str) -> Result<Lease> {
        if let Some(lease) = self.ready(name) {
            return Ok(lease);
        }
        self.0.lock().counts.misses += 1;
        let located = self.0.locate(name).await?;
        self.0.prepare_named(name, located).await
    }

    /// Takes a lease on several adapters as one, and makes it ready if need be.
    ///
    /// # Errors
    /// Those of [`lease`](Self::lease) for every part, and of
    /// [`Combine::adapters`](openledger_model::Combine::adapters);
    /// [`ErrorKind::Invalid`](openledger_core::ErrorKind::Invalid) for a part that is itself composed:
    /// name its parts.
    pub async fn compose(&self, compose: &Compose) -> Result<Lease> {
        let asked = self.0.lock().next_turn();
        let Located { recipe, .. } =
            self.0.realise(&Origin::Composed(compose.clone()), asked, false).await?;
        let now = self.0.options.clock.now();
        {
            let mut state = self.0.lock();
            if let Some(lease) = state.take_lease(recipe.id(), now) {
                state.counts.hits += 1;
                return Ok(lease);
            }
            state.counts.misses += 1;
        }
        self.0.prepare(recipe).await
    }

    /// Says which adapters are where.
    pub fn residency(&self) -> Residency {
        let now = self.0.options.clock.now();
        self.0.lock().residency(now)
    }

    /// Says how loading went so far.
    pub fn counts(&self) -> AdapterCounts {
        self.0.lock().counts()
    }
}

impl Inner {
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Adapters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.0.lock();
        f.debug_struct("Adapters")
            .field("model", &self.0.model.id())
            .field("aliases", &state.aliases.len())
            .field("ready_bytes", &state.ready.used())
            .field("memory_bytes", &state.memory.used())
            .finish_non_exhaustive()
    }
}
