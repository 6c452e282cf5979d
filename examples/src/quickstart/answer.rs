//! Held-out prompts answered by several adapters in one batch, and attributed.

use std::sync::Arc;

use openledger_attribution::{Bound, Corpus, GradientInfluence, Method};
use openledger_chain::{Payments, settlement::FeeSplit};
use openledger_core::{DatanetId, Error, Receipt, Result, U256, message::Signed, share::WHOLE};
use openledger_model::Tokens;
use openledger_serve::{Adapters, Completion, Engine, EngineOptions, Generate};
use tower::{Service, ServiceExt};

use super::{
    MethodName, Options, World,
    collect::Collected,
    learn::{Trained, price},
};
use crate::bar;

/// An answer with its receipt.
pub(super) struct Answered {
    /// Index of the adapter.
    pub(super) trained: usize,
    pub(super) prompt: String,
    pub(super) text: String,
    /// Prompt and answer in tokens, as they were attributed.
    pub(super) tokens: Tokens,
    /// Index of the Datanet the prompt belongs to.
    pub(super) expected: usize,
    /// Index of the Datanet with the largest share.
    pub(super) top: usize,
    pub(super) receipt: Signed<Receipt>,
}

/// A question to an adapter.
struct Asked {
    trained: usize,
    expected: usize,
    prompt: String,
    tokens: Vec<u32>,
}

/// The longest answer in tokens.
const MAX_ANSWER: usize = 64;
/// Answers printed for each Datanet.
const PRINTED: usize = 3;

pub(super) async fn answer(
    world: &mut World,
    datanets: &[Collected],
    trained: &[Trained],
    options: &Options,
) -> Result<Vec<Answered>> {
    let asked = questions(world, datanets)?;
    let answers = generate(world, trained, &asked).await?;
    println!("  {} answers, {} adapters mixed in one batch", answers.len(), trained.len());

    let (split, _) = world.chain.fee_split().await?;
    let deadline = world.chain.now().await? + 7 * 24 * 3_600;
    // Answers come adapter by adapter, so the gradients of one are in memory at a time.
    let mut bound: Option<(usize, Box<dyn Bound>)> = None;
    let mut answered = Vec::new();
    for (number, (asked, completion)) in (1u64..).zip(asked.into_iter().zip(answers)) {
        let Trained { adapter, corpus, .. } = &trained[asked.trained];
        let method = method(world, adapter, options.method);
        let described = method.describe();
        let (_, bound) = match bound.take_if(|(of, _)| *of == asked.trained) {
            Some(same) => bound.insert(same),
            None => {
                drop(bound.take());
                let made = bind(method, corpus, &trained[asked.trained].name)?;
                bound.insert((asked.trained, made))
            }
        };
        let tokens = Tokens::new(&asked.tokens, &completion.tokens);
        let shares = corpus.shares(&bound.influence(&tokens)?)?;
        let by_datanet = shares.by_datanet();
        let weight = |id: DatanetId| by_datanet.get(&id).copied().unwrap_or(0);
        let top = (0..datanets.len())
            .max_by_key(|&index| (weight(datanets[index].id), std::cmp::Reverse(index)))
            .ok_or_else(|| Error::invalid("no Datanet"))?;
        let receipt = Receipt {
            model: world.model.id(),
            adapter: adapter.id(),
            datanets: corpus.versions().to_vec(),
            method: described,
            prompt: Receipt::text_hash(&asked.prompt),
            output: Receipt::text_hash(&completion.text),
            tokens_in: asked.tokens.len() as u64,
            tokens_out: completion.tokens.len() as u64,
            fee: fee(&split, asked.tokens.len(), completion.tokens.len())?,
            shares,
            payer: world.people.user.address(),
            node: world.people.node.address(),
            nonce: U256::from(number),
            deadline,
        };
        let receipt = Signed::sign(receipt, world.chain.receipt_domain(), &world.people.node);
        answered.push(Answered {
            trained: asked.trained,
            prompt: asked.prompt,
            text: completion.text.trim().to_owned(),
            tokens,
            expected: asked.expected,
            top,
            receipt,
        });
    }
    print(world, datanets, trained, &answered);
    Ok(answered)
}

/// Every held-out prompt for the adapter of all Datanets, and the first of each Datanet for its own.
fn questions(world: &World, datanets: &[Collected]) -> Result<Vec<Asked>> {
    let room = world.model.network().decoder().max_positions().saturating_sub(MAX_ANSWER + 1);
    let mut asked = Vec::new();
    for (index, datanet) in datanets.iter().enumerate() {
        let of_all = datanet.held_out.iter().map(|prompt| (0, prompt));
        let own = if datanets.len() > 1 { 1 } else { 0 };
        let of_its_own = datanet.held_out.iter().take(own).map(|prompt| (1 + index, prompt));
        for (trained, prompt) in of_all.chain(of_its_own) {
            let tokens = prompt.tokens(world.model.tokenizer(), &world.template, room)?;
            asked.push(Asked {
                trained,
                expected: index,
                prompt: prompt.text().to_owned(),
                tokens,
            });
        }
    }
    asked.sort_by_key(|asked| asked.trained);
    Ok(asked)
}

async fn generate(world: &World, trained: &[Trained], asked: &[Asked]) -> Result<Vec<Completion>> {
    let adapters = Adapters::new(Arc::clone(&world.model));
    for trained in trained {
        adapters.insert(&trained.name, Arc::clone(&trained.adapter))?;
    }
    let mut engine = Engine::start(Arc::clone(&world.model), EngineOptions::default())?;
    let mut streams = Vec::new();
    for asked in asked {
        let lease = adapters.lease(&trained[asked.trained].name).await?;
        let request =
            Generate::new(asked.tokens.clone()).with_adapter(lease).with_max_tokens(MAX_ANSWER);
        streams.push(engine.ready().await?.call(request).await?);
    }
    let progress = bar("answering", streams.len());
    let mut answers = Vec::new();
    for stream in streams {
        answers.push(stream.collect_all().await?);
        progress.inc(1);
    }
    progress.finish_and_clear();
    Ok(answers)
}

/// The method of the user's choice for one adapter.
fn method(
    world: &World,
    adapter: &Arc<openledger_model::Adapter>,
    name: MethodName,
) -> GradientInfluence {
    GradientInfluence::new(Arc::clone(&world.model), Arc::clone(adapter), name.into())
}

fn bind(method: GradientInfluence, corpus: &Corpus, name: &str) -> Result<Box<dyn Bound>> {
    let progress = bar(&format!("gradients of `{name}`"), corpus.rows().len());
    let shown = progress.clone();
    let bound = method.with_progress(Arc::new(move || shown.inc(1))).bind(corpus)?;
    progress.finish_and_clear();
    Ok(bound)
}

fn fee(split: &FeeSplit, tokens_in: usize, tokens_out: usize) -> Result<openledger_core::Amount> {
    split.fee(&price(), tokens_in as u64, tokens_out as u64)
}

fn print(world: &World, datanets: &[Collected], trained: &[Trained], answered: &[Answered]) {
    for (index, datanet) in datanets.iter().enumerate() {
        let of_datanet = answered.iter().filter(|answer| answer.expected == index);
        for answer in of_datanet.take(PRINTED) {
            let receipt = answer.receipt.unverified();
            let percent = |weight: u64| weight as f64 * 100.0 / WHOLE as f64;
            let mut people: Vec<_> = receipt.shares.by_contributor().into_iter().collect();
            people.sort_by_key(|&(_, weight)| std::cmp::Reverse(weight));
            let people: Vec<String> = people
                .iter()
                .take(3)
                .map(|&(who, weight)| {
                    format!("{} {:.0} %", world.people.name(who), percent(weight))
                })
                .collect();
            println!("  asked `{}`: {}", trained[answer.trained].name, shorten(&answer.prompt));
            println!("    it says: {}", shorten(&answer.text));
            println!(
                "    from {} (expected {}): {}; fee {} OPEN",
                datanets[answer.top].name,
                datanet.name,
                people.join(", "),
                receipt.fee.to_open()
            );
        }
    }
    let shared = answered.iter().filter(|answer| answer.trained == 0);
    let right = shared.clone().filter(|answer| answer.top == answer.expected).count();
    println!("  the Datanet is right for {right} of {} answers of `all`", shared.count());
}

fn shorten(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(160) {
        Some((cut, _)) => format!("{}...", &line[..cut]),
        None => line,
    }
}
