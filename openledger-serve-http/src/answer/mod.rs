//! From a request to the pieces of its answers.
//!
//! ```text
//! request ─ settings, prompts ─▶ Generate, one for each answer ─▶ Choice ─▶ pieces ─┬▶ whole: one JSON
//!                                                                                    └▶ sse: many
//! ```

mod choice;
mod prompted;
mod shape;
mod told;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use futures::future::try_join_all;
use http::StatusCode;
use openledger_serve::{Credential, Lease};

pub(crate) use choice::{Choice, Ending, Piece, Usage};
pub(crate) use prompted::{Prompted, tokens};
pub(crate) use shape::{Shape, with_told};
use told::Told;

use crate::{
    desk::Desk,
    door::Caller,
    error::Failure,
    metrics::Flight,
    tools::Splitter,
    trace::Trace,
    wire::{GROUND, RECEIPT, Settings},
};

/// What is asked for, whichever route it came by.
#[derive(Debug)]
pub(crate) struct Order {
    pub(crate) settings: Settings,
    pub(crate) prompts: Vec<Prompted>,
    /// What pays for each answer.
    pub(crate) payment: Option<Credential>,
    pub(crate) trace: Trace,
    /// What finds calls in an answer, if there are tools.
    pub(crate) splitter: Option<Splitter>,
    pub(crate) shape: Shape,
}

/// Finds the adapter of a name; none for the base model's.
pub(crate) async fn adapter(
    desk: &Desk,
    caller: &Caller,
    model: &str,
    deadline: Instant,
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
    let lease = desk.shelf.lease(own, &desk.metrics);
    let lease = tokio::time::timeout_at(deadline.into(), lease);
    let lease = lease.await.map_err(|_| Failure::late())??;
    Ok(Some((own.to_owned(), lease)))
}

/// How long after a request's time the engine may go on with it.
const GRACE: Duration = Duration::from_secs(1);

/// Of the tokens a model holds, those left to rows at most where no length of the answer is asked for.
const ROWS: usize = 1024;

/// Refuses what the layers around the engine do not bring.
fn check(desk: &Desk, settings: &Settings) -> Result<(), Failure> {
    let wishes = &settings.wishes;
    for (asks, brings, name, says) in [
        (wishes.receipt, desk.offers.receipts, RECEIPT, "what answers here signs no receipts"),
        (wishes.ground.is_some(), desk.offers.ground, GROUND, "there are no rows here to find"),
    ] {
        if asks && !brings {
            return Err(Failure::unsupported(name, format!("{says}: leave `{name}` out")));
        }
    }
    Ok(())
}

/// What is said of a field with so many tokens.
fn too_long(field: &str, tokens: &str, holds: usize) -> Failure {
    let what = if field == "input" { "text" } else { "prompt" };
    let message = format!("the {what} has {tokens} tokens, the model holds {holds}");
    let failure = Failure::new(StatusCode::BAD_REQUEST, message);
    failure.with_code("context_length_exceeded").with_param(field)
}

/// Asks for every answer.
pub(crate) async fn start(
    desk: &Desk,
    caller: &Caller,
    order: &Order,
    adapter: Option<&(String, Lease)>,
    deadline: Instant,
) -> Result<Vec<Choice>, Failure> {
    let settings = &order.settings;
    check(desk, settings)?;
    let seed = settings.seed.unwrap_or_else(|| desk.ids.number());
    let holds = desk.subject.model.network().decoder().max_positions();
    let mut asked = Vec::new();
    for Prompted { tokens: prompt, question } in &order.prompts {
        let room = holds.saturating_sub(prompt.len());
        if room == 0 {
            return Err(too_long(order.shape.prompt(), &prompt.len().to_string(), holds));
        }
        let rows = question.as_ref().map_or(0, |_| ROWS.min(room / 2));
        let most = match settings.max_tokens {
            Some(most) => most.min(room),
            None => desk.limits.max_tokens.min(room - rows),
        };
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
            if let Some(question) = question {
                request = request.with_question(question.clone());
            }
            if let Some(payment) = &order.payment {
                request = request.with_payment(payment.clone());
            }
            let name = adapter.map(|(name, _)| &**name);
            let laps = order.trace.answer(name);
            if let Some(begun) = laps.begun() {
                request = request.with_begun(begun);
            }
            let flight = Flight::new(&desk.metrics, name).with_laps(laps);
            // Of several answers to one prompt the first tells what was read.
            asked.push((request, flight, n == 0));
        }
    }
    let started = asked.into_iter().enumerate().map(async |(index, (request, flight, counts))| {
        let late = |_| Failure::late();
        let answer = tokio::time::timeout_at(deadline.into(), (desk.ask)(request));
        let events = answer.await.map_err(late)??;
        let model = Arc::clone(&desk.subject.model);
        let splitter = order.splitter.clone();
        let told = Told::new(adapter, settings.wishes.ground.is_some());
        let choice = Choice::new(index, events, flight, model, deadline);
        let choice = choice.with_splitter(splitter).with_logprobs(settings.logprobs.is_some());
        Ok::<_, Failure>(choice.with_prompt_counted(counts).with_told(told))
    });
    try_join_all(started).await
}
