//! From a request to the pieces of its answers.
//!
//! ```text
//! request ─ settings, prompts ─▶ Generate, one for each answer ─▶ Choice ─▶ pieces ─┬▶ whole: one JSON
//!                                                                                    └▶ sse: many
//! ```

mod choice;
mod shape;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use futures::future::try_join_all;
use http::StatusCode;
use openledger_serve::Lease;

pub(crate) use choice::{Choice, Piece, Usage};
pub(crate) use shape::Shape;

use crate::{
    desk::Desk,
    door::Caller,
    error::Failure,
    metrics::Flight,
    tools::Splitter,
    wire::{Prompt, Settings},
};

/// What is asked, whichever route it came by.
#[derive(Debug)]
pub(crate) struct Question {
    pub(crate) settings: Settings,
    /// In tokens.
    pub(crate) prompts: Vec<Vec<u32>>,
    /// What finds calls in an answer, if there are tools.
    pub(crate) splitter: Option<Splitter>,
    pub(crate) shape: Shape,
}

/// Finds the adapter of a name; none for the base model's.
pub(crate) async fn adapter(
    desk: &Desk,
    caller: &Caller,
    model: &str,
) -> Result<Option<(String, Lease)>, Failure> {
    let base = &*desk.subject.name;
    if model == base {
        return Ok(None);
    }
    // `base:adapter` says the same as `adapter`.
    let own = model.strip_prefix(base).and_then(|rest| rest.strip_prefix(':')).unwrap_or(model);
    if !caller.may_use(own) {
        return Err(Failure::unknown_model(model));
    }
    // A source that does not answer keeps nobody longer than the engine may.
    let lease = tokio::time::timeout(desk.limits.time, desk.shelf.lease(own, &desk.metrics));
    let lease = lease.await.map_err(|_| Failure::late())??;
    Ok(Some((own.to_owned(), lease)))
}

/// How long after a request's time the engine may go on with it.
const GRACE: Duration = Duration::from_secs(1);

/// Asks for every answer.
pub(crate) async fn start(
    desk: &Desk,
    caller: &Caller,
    question: &Question,
    adapter: Option<&(String, Lease)>,
) -> Result<Vec<Choice>, Failure> {
    let settings = &question.settings;
    let deadline = Instant::now() + settings.time;
    let seed = settings.seed.unwrap_or_else(|| desk.ids.number());
    let holds = desk.subject.model.network().decoder().max_positions();
    let mut asked = Vec::new();
    for prompt in &question.prompts {
        let room = holds.saturating_sub(prompt.len());
        if room == 0 {
            let message =
                format!("the prompt has {} tokens, the model holds {holds}", prompt.len());
            return Err(Failure::new(StatusCode::BAD_REQUEST, message)
                .with_code("context_length_exceeded")
                .with_param(question.shape.prompt()));
        }
        let most = settings.max_tokens.unwrap_or(desk.limits.max_tokens).min(room);
        for n in 0..settings.n {
            let seed = seed.wrapping_add(n as u64);
            let mut request = settings.request(prompt.clone(), most, seed);
            // The client is told of it here; the engine's turn is a little later.
            request = request.with_deadline(deadline + GRACE);
            if let Some((_, lease)) = adapter {
                request = request.with_adapter(lease.clone());
            }
            if let Some(tenant) = caller.name() {
                request = request.with_tenant(tenant);
            }
            let flight = Flight::new(&desk.metrics, adapter.map(|(name, _)| &**name));
            // Of several answers to one prompt the first tells what was read.
            asked.push((request, flight, n == 0));
        }
    }
    let started = asked.into_iter().enumerate().map(async |(index, (request, flight, counts))| {
        let late = |_| Failure::late();
        let answer = tokio::time::timeout_at(deadline.into(), (desk.ask)(request));
        let events = answer.await.map_err(late)??;
        let model = Arc::clone(&desk.subject.model);
        let splitter = question.splitter.clone();
        let choice = Choice::new(index, events, flight, model, deadline);
        let choice = choice.with_splitter(splitter).with_logprobs(settings.logprobs.is_some());
        Ok::<_, Failure>(choice.with_prompt_counted(counts))
    });
    try_join_all(started).await
}

/// Turns prompts into tokens, with what begins a text.
pub(crate) fn tokens(desk: &Desk, prompts: Vec<Prompt>) -> Result<Vec<Vec<u32>>, Failure> {
    let model = &desk.subject.model;
    let encoded = prompts.into_iter().map(|prompt| match prompt {
        Prompt::Text(text) => Ok(model.tokenizer().encode(&text, true)?),
        Prompt::Tokens(tokens) => {
            model.network().check_tokens(&tokens)?;
            Ok(tokens)
        }
    });
    encoded
        .map(|tokens: Result<Vec<u32>, Failure>| match tokens {
            Ok(tokens) if tokens.is_empty() => {
                Err(Failure::field("prompt", "`prompt` has no tokens"))
            }
            tokens => tokens,
        })
        .collect()
}
