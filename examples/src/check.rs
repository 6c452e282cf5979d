//! Checking an answer: from nothing but a store, a base model and the answer, its shares again.

use std::{collections::BTreeMap, sync::Arc};

use openledger_attribution::{Bound, Corpus, GradientInfluence, Method, Source};
use openledger_core::{
    AdapterId, ContentHash, DatanetVersion, Error, Receipt, Result, Shares, Store, decode, encode,
    store::Head,
};
use openledger_datanet::{Checks, Datanet, Version};
use openledger_model::{Adapter, AdapterFiles, Model, Tokens};
use openledger_train::TrainingRecord;

use crate::bar;

/// What is stored of an adapter: where its configuration, its weights and its training record are.
pub(crate) type Stored = (ContentHash, ContentHash, ContentHash);

/// Where an adapter's [`Stored`] lies.
pub(crate) fn head(adapter: AdapterId) -> Result<Head> {
    format!("adapters/{adapter}").parse()
}

/// Whoever checks answers: holds the data and the base model, trusts nobody.
#[derive(Debug)]
pub struct Checker {
    store: Store,
    model: Arc<Model>,
    /// An adapter's rows and their gradients, computed once for each method.
    bound: BTreeMap<(AdapterId, String), (Corpus, Box<dyn Bound>)>,
}

impl Checker {
    /// Checks with the data of `store`.
    pub fn new(store: Store, model: Arc<Model>) -> Self {
        Self { store, model, bound: BTreeMap::new() }
    }

    /// Checks that a receipt tells of this answer, and that its shares are those the rows deserve.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`](openledger_core::ErrorKind::Corrupt) saying what is not so; errors
    /// of the store, the adapter and the method.
    pub async fn check(&mut self, receipt: &Receipt, answer: &Tokens) -> Result<()> {
        if receipt.model != self.model.id() {
            let (theirs, ours) = (receipt.model, self.model.id());
            return Err(Error::corrupt(format!("answered by model {theirs}, this is {ours}")));
        }
        let (prompt, output) = answer.tokens.split_at(answer.prompt());
        let text = self.model.tokenizer().decode(output)?;
        let counts = (prompt.len() as u64, output.len() as u64);
        if Receipt::text_hash(&text) != receipt.output
            || counts != (receipt.tokens_in, receipt.tokens_out)
        {
            return Err(Error::corrupt("the receipt is for another answer"));
        }
        let shares = self.shares(receipt, answer).await?;
        if encode(&shares) != encode(&receipt.shares) {
            return Err(Error::corrupt("the shares are not those of the rows"));
        }
        Ok(())
    }

    /// Computes the shares of an answer from the store.
    ///
    /// # Errors
    /// As [`check`](Self::check).
    pub async fn shares(&mut self, receipt: &Receipt, answer: &Tokens) -> Result<Shares> {
        let key = (receipt.adapter, receipt.method.clone());
        if !self.bound.contains_key(&key) {
            let bound = self.bind(receipt).await?;
            self.bound.insert(key.clone(), bound);
        }
        let (corpus, bound) = &self.bound[&key];
        if corpus.versions() != receipt.datanets {
            return Err(Error::corrupt("the adapter was trained on other Datanet versions"));
        }
        corpus.shares(&bound.influence(answer)?)
    }

    async fn bind(&self, receipt: &Receipt) -> Result<(Corpus, Box<dyn Bound>)> {
        let id = receipt.adapter;
        let stored = self.store.read(&head(id)?).await?;
        let (config, weights, record): Stored = decode(&stored)?;
        let files = AdapterFiles::new(
            self.store.get(config).await?.to_vec(),
            self.store.get(weights).await?.to_vec(),
        );
        let adapter = Adapter::load(self.model.network(), &files)?;
        let record = TrainingRecord::parse(&self.store.get(record).await?)?;
        if adapter.id() != id || record.adapter != id {
            let found = adapter.id();
            return Err(Error::corrupt(format!("adapter {found} where {id} should be")));
        }
        let mut sources = Vec::new();
        for pin in &record.datanets {
            sources.push(source(&self.version(pin).await?));
        }
        let data = &record.config.data;
        let corpus = Corpus::new(&self.model, &data.template, data.max_tokens, sources)?;
        let progress = bar("gradients of rows", corpus.rows().len());
        let shown = progress.clone();
        let method =
            GradientInfluence::named(&receipt.method, Arc::clone(&self.model), Arc::new(adapter))?
                .with_progress(Arc::new(move || shown.inc(1)));
        let bound = method.bind(&corpus)?;
        progress.finish_and_clear();
        Ok((corpus, bound))
    }

    async fn version(&self, pin: &DatanetVersion) -> Result<Version> {
        let datanet = Datanet::open(self.store.clone(), pin.datanet, Checks::default()).await?;
        let version = datanet.version(pin.version).await?;
        if version.pin() != *pin {
            return Err(Error::corrupt(format!("Datanet {} has another root", pin.datanet)));
        }
        Ok(version)
    }
}

/// What attribution needs of a version.
pub(crate) fn source(version: &Version) -> Source {
    let rows = version.records().iter();
    Source {
        pin: version.pin(),
        rows: rows.map(|record| (record.id, record.contributor, record.row.clone())).collect(),
    }
}
