//! A source in memory that does as it is told, and adapters for it.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use async_trait::async_trait;
use futures::{channel::oneshot, future::Shared};
use openledger_core::{Error, ErrorKind, Result};
use openledger_model::{Adapter, AdapterFiles, LoraConfig, Model, testing};
use openledger_serve::{AdapterName, AdapterOptions, AdapterSource, Adapters, FileLimits, Sources};

/// Adapters by name; clones share them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Shelf(Arc<Mutex<Inside>>);

#[derive(Debug, Default)]
struct Inside {
    files: HashMap<String, AdapterFiles>,
    fetches: usize,
    under_way: usize,
    most_under_way: usize,
    failing: Option<ErrorKind>,
    held: HashMap<String, Shared<oneshot::Receiver<()>>>,
}

impl Shelf {
    pub(crate) fn put(&self, name: impl Into<String>, files: AdapterFiles) {
        self.0.lock().unwrap().files.insert(name.into(), files);
    }

    pub(crate) fn take(&self, name: &str) {
        self.0.lock().unwrap().files.remove(name);
    }

    pub(crate) fn fetches(&self) -> usize {
        self.0.lock().unwrap().fetches
    }

    pub(crate) fn under_way(&self) -> usize {
        self.0.lock().unwrap().under_way
    }

    pub(crate) fn most_under_way(&self) -> usize {
        self.0.lock().unwrap().most_under_way
    }

    /// Fails with an error of this kind from now on, or no longer.
    pub(crate) fn fail(&self, kind: Option<ErrorKind>) {
        self.0.lock().unwrap().failing = kind;
    }

    /// Fetches of `name` wait until what is returned is sent to or dropped.
    pub(crate) fn hold(&self, name: &str) -> oneshot::Sender<()> {
        use futures::FutureExt;
        let (release, held) = oneshot::channel();
        self.0.lock().unwrap().held.insert(name.to_owned(), held.shared());
        release
    }

    /// Fetches of `name` that begin from now on wait no longer; those under way do.
    pub(crate) fn hold_no_more(&self, name: &str) {
        self.0.lock().unwrap().held.remove(name);
    }

    /// Adapters with this as their default source.
    pub(crate) fn serve(&self, model: &Arc<Model>, options: AdapterOptions) -> Adapters {
        let sources = Sources::new().with_default(self.clone());
        Adapters::with_options(Arc::clone(model), options.with_sources(sources))
    }
}

/// Counts a fetch as under way until it is dropped.
struct UnderWay<'a>(&'a Shelf);

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.0.lock().unwrap().under_way -= 1;
    }
}

#[async_trait]
impl AdapterSource for Shelf {
    async fn fetch(&self, name: &AdapterName, _: FileLimits) -> Result<AdapterFiles> {
        let held = {
            let mut inside = self.0.lock().unwrap();
            inside.fetches += 1;
            inside.under_way += 1;
            inside.most_under_way = inside.most_under_way.max(inside.under_way);
            inside.held.get(name.as_str()).cloned()
        };
        let _under_way = UnderWay(self);
        // What is there when it is asked for, as a server sends it.
        let found = self.0.lock().unwrap().files.get(name.as_str()).cloned();
        if let Some(held) = held {
            let _ = held.await;
        }
        if let Some(kind) = self.0.lock().unwrap().failing {
            return Err(Error::new(kind, "told to fail"));
        }
        found.ok_or_else(|| Error::new(ErrorKind::NotFound, format!("no adapter `{name}`")))
    }
}

pub(crate) fn model() -> Arc<Model> {
    Arc::new(testing::tiny(1).unwrap())
}

/// An adapter at the queries alone: small.
pub(crate) fn config() -> LoraConfig {
    LoraConfig::default().with_rank(2, 6.0).with_targets(["q_proj"])
}

pub(crate) fn files(model: &Model, seed: u64) -> AdapterFiles {
    files_like(model, &config(), seed)
}

pub(crate) fn files_like(model: &Model, config: &LoraConfig, seed: u64) -> AdapterFiles {
    testing::lora(model, config, seed).unwrap().to_files(model.network(), config)
}

pub(crate) fn adapter(model: &Model, seed: u64) -> Arc<Adapter> {
    Arc::new(Adapter::load(model.network(), &files(model, seed)).unwrap())
}

/// Bytes of one adapter of [`files`], ready.
pub(crate) fn ready_bytes(model: &Model) -> u64 {
    openledger_serve::Lease::new(model.network(), &adapter(model, 1)).bytes() as u64
}
