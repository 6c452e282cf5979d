//! Adapters: trained on Datanet versions, published with their training record.

use std::{ops::ControlFlow, sync::Arc};

use openledger_attribution::Corpus;
use openledger_chain::{ModelEntry, Models, Price};
use openledger_core::{Amount, B256, Result, encode};
use openledger_model::{Adapter, AdapterFiles, Lora, LoraConfig, Model, Template, Tokens};
use openledger_train::{Backend, Native, Plan, Schedule, TrainingConfig, TrainingRecord, fit};

use super::{Options, World, collect::Collected};
use crate::{
    bar,
    check::{self, Stored},
};

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
    // With one Datanet its own adapter would be that of all.
    let own = if datanets.len() > 1 { datanets } else { &[] };
    sets.extend(own.iter().enumerate().map(|(index, datanet)| (datanet.name.clone(), vec![index])));
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
    let mut config = TrainingConfig::default();
    config.lora = LoraConfig::default()
        .with_rank(options.rank, 2.0 * options.rank as f64)
        .with_base(world.model.id().to_string());
    config.plan = Plan::default().with_epochs(options.passes()).with_batch(8).with_rate(
        options.rate,
        10,
        Schedule::Cosine,
    );
    config.data.template = world.template.clone();
    config.data.max_tokens = options.max_tokens;
    config.seed = SEED;
    let TrainingConfig { lora, plan, .. } = &config;
    let start = Lora::init(&network, lora, SEED)?.to_files(&network, lora);
    let mut run = Native.start(Arc::clone(&network), lora, config.optimiser, &start.weights)?;
    let rows: Vec<Tokens> = corpus.rows().iter().map(|row| row.tokens.clone()).collect();
    let progress = bar(&format!("training `{name}`"), plan.steps(rows.len()));
    let fitted = fit(&mut *run, &rows, plan, |event| {
        progress.set_message(format!("loss {:.3}", event.done.loss));
        progress.inc(1);
        ControlFlow::Continue(())
    })?;
    progress.finish_and_clear();
    let (loss_first, loss_last) = fitted.first_and_last(plan);
    let files = AdapterFiles::new(lora.to_json(), run.snapshot()?);
    let record = TrainingRecord {
        model: world.model.id(),
        datanets: corpus.versions().to_vec(),
        config,
        federation: None,
        adapter: files.id(),
    };
    publish(world, &files, &record).await?;
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
    Ok(Trained { name, adapter, corpus, datanets: indices, loss_first, loss_last, tx })
}

/// Puts an adapter and its record where anybody who has the id finds them.
async fn publish(world: &World, files: &AdapterFiles, record: &TrainingRecord) -> Result<()> {
    let stored: Stored = (
        world.store.put(files.config.clone().into()).await?,
        world.store.put(files.weights.clone()).await?,
        world.store.put(record.to_json().into()).await?,
    );
    world.store.create(&check::head(files.id())?, encode(&stored).into()).await
}

/// The rows of Datanet versions as the model is trained on them.
fn corpus<'a>(
    model: &Model,
    template: &Template,
    max_tokens: usize,
    datanets: impl Iterator<Item = &'a Collected>,
) -> Result<Corpus> {
    let sources = datanets.map(|datanet| check::source(&datanet.version));
    Corpus::new(model, template, max_tokens, sources)
}
