//! Adapters: trained on Datanet versions, published with their training record.

use std::{ops::ControlFlow, sync::Arc};

use openledger_attribution::{Corpus, Source};
use openledger_chain::{ModelEntry, Price, Registry};
use openledger_core::{AdapterId, Amount, B256, ContentHash, Result, encode};
use openledger_model::{Adapter, AdapterFiles, Lora, LoraConfig, Model, Template, Tokens};
use openledger_train::{AdamW, Backend, Native, Plan, Schedule, TrainingRecord, fit};

use super::{Options, World, collect::Collected};
use crate::bar;

/// An adapter with what it was made of.
pub(super) struct Trained {
    pub(super) name: String,
    pub(super) adapter: Arc<Adapter>,
    /// The rows it was trained on.
    pub(super) corpus: Corpus,
    /// Indices of its Datanets.
    pub(super) datanets: Vec<usize>,
    pub(super) loss_first: f64,
    pub(super) loss_last: f64,
    /// The transaction that registered it.
    pub(super) tx: String,
    /// Where its files are in the store: configuration and weights.
    pub(super) stored: [ContentHash; 2],
}

/// What every adapter costs: 0.2 OPEN for a thousand tokens read, 0.8 for a thousand written.
pub(super) fn price() -> Price {
    Price {
        per_thousand_in: Amount::from(200_000_000_000_000_000),
        per_thousand_out: Amount::from(800_000_000_000_000_000),
    }
}

/// Decides the matrices training starts from.
const SEED: u64 = 7;

pub(super) async fn learn(
    world: &mut World,
    datanets: &[Collected],
    options: &Options,
) -> Result<Vec<Trained>> {
    let builder = world.chain.sending_as(world.people.builder.address());
    let base = ModelEntry {
        model: world.model.id().into(),
        parent: B256::ZERO,
        record: B256::ZERO,
        datanets: Vec::new(),
        price: Price::default(),
    };
    let sent = builder.register(&base).await?;
    world.journal.add("register the base model", &sent.tx);

    let all: Vec<usize> = (0..datanets.len()).collect();
    let mut sets = vec![("all".to_owned(), all)];
    sets.extend(
        datanets.iter().enumerate().map(|(index, datanet)| (datanet.name.clone(), vec![index])),
    );
    let mut trained = Vec::new();
    for (name, indices) in sets {
        trained.push(train_one(world, datanets, options, name, indices).await?);
    }
    Ok(trained)
}

async fn train_one(
    world: &mut World,
    datanets: &[Collected],
    options: &Options,
    name: String,
    indices: Vec<usize>,
) -> Result<Trained> {
    let corpus = corpus(
        &world.model,
        &world.template,
        options.max_tokens,
        indices.iter().map(|&index| &datanets[index]),
    )?;
    let network = Arc::new(world.model.network().clone());
    let config = LoraConfig::default().with_rank(8, 16.0).with_base(world.model.id().to_string());
    let plan = Plan::default().with_epochs(options.epochs).with_batch(8).with_rate(
        4e-3,
        10,
        Schedule::Cosine,
    );
    let optimiser = AdamW::default();
    let start = Lora::init(&network, &config, SEED)?.to_files(&network, &config);
    let mut run = Native.start(Arc::clone(&network), &config, optimiser, &start.weights)?;
    let rows: Vec<Tokens> = corpus.rows().iter().map(|row| row.tokens.clone()).collect();
    let progress = bar(&format!("training `{name}`"), plan.steps(rows.len()));
    let fitted = fit(&mut *run, &rows, &plan, |event| {
        progress.set_message(format!("loss {:.3}", event.done.loss));
        progress.inc(1);
        ControlFlow::Continue(())
    })?;
    progress.finish_and_clear();
    let (loss_first, loss_last) = fitted.first_and_last(&plan, rows.len());
    let files = AdapterFiles::new(config.to_json(), run.snapshot()?);
    let record = TrainingRecord {
        model: world.model.id(),
        datanets: corpus.versions().to_vec(),
        template: world.template.clone(),
        max_tokens: options.max_tokens,
        lora: config,
        plan,
        optimiser,
        seed: SEED,
        adapter: files.id(),
    };
    let stored = publish(world, &files, &record).await?;
    let adapter = Arc::new(Adapter::load(&network, &files)?);
    let entry = ModelEntry {
        model: adapter.id().into(),
        parent: world.model.id().into(),
        record: record.digest(),
        datanets: corpus.versions().to_vec(),
        price: price(),
    };
    let builder = world.chain.sending_as(world.people.builder.address());
    let sent = builder.register(&entry).await?;
    let tx = world.journal.add("register an adapter", &sent.tx);
    println!(
        "  `{name}`: {} rows, loss {loss_first:.3} at first, {loss_last:.3} at last; adapter {}",
        rows.len(),
        adapter.id()
    );
    Ok(Trained { name, adapter, corpus, datanets: indices, loss_first, loss_last, tx, stored })
}

/// Puts an adapter and its record where anybody who has the id finds them.
async fn publish(
    world: &World,
    files: &AdapterFiles,
    record: &TrainingRecord,
) -> Result<[ContentHash; 2]> {
    let config = world.store.put(files.config.clone().into()).await?;
    let weights = world.store.put(files.weights.clone().into()).await?;
    let record = world.store.put(record.to_json().into()).await?;
    let head = format!("adapters/{}", files.id()).parse()?;
    world.store.create(&head, encode(&(config, weights, record)).into()).await?;
    Ok([config, weights])
}

/// Fetches a published adapter.
pub(super) async fn fetch(
    world: &World,
    id: AdapterId,
    stored: [ContentHash; 2],
) -> Result<Adapter> {
    let [config, weights] = stored;
    let files = AdapterFiles::new(
        world.store.get(config).await?.to_vec(),
        world.store.get(weights).await?.to_vec(),
    );
    let adapter = Adapter::load(world.model.network(), &files)?;
    if adapter.id() != id {
        let found = adapter.id();
        return Err(openledger_core::Error::corrupt(format!(
            "adapter {found} where {id} should be"
        )));
    }
    Ok(adapter)
}

/// The rows of Datanet versions as the model is trained on them.
pub(super) fn corpus<'a>(
    model: &Model,
    template: &Template,
    max_tokens: usize,
    datanets: impl Iterator<Item = &'a Collected>,
) -> Result<Corpus> {
    let sources = datanets.map(|datanet| source(&datanet.version));
    Corpus::new(model, template, max_tokens, sources)
}

/// What attribution needs of a version.
pub(super) fn source(version: &openledger_datanet::Version) -> Source {
    let rows = version.records().iter();
    Source {
        pin: version.pin(),
        rows: rows.map(|record| (record.id, record.contributor, record.row.clone())).collect(),
    }
}
