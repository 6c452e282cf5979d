//! What asks for answers.

use std::{sync::Arc, time::Instant};

use bytes::Bytes;
use futures::future::try_join_all;
use http::{HeaderMap, Response};
use openledger_core::{B256, Error, ErrorKind};
use openledger_serve::{Credential, Lease};

use super::{events, header, json, whole};
use crate::{
    Body,
    answer::{self, Choice, Ending, Order, Piece, Prompted, Shape, Usage, with_told},
    desk::Desk,
    door::Caller,
    error::Failure,
    sse::{self, Head},
    tools::Splitter,
    trace::Trace,
    wire::{ChatRequest, CompletionRequest},
};

/// The adapter that answers, by content.
const ADAPTER: &str = "x-openledger-adapter";

/// What pays for an answer, as x402 names it; who takes the money reads it.
const PAYMENT: &str = "payment-signature";

/// A request for answers.
pub(super) struct Asked<'a> {
    pub(super) headers: &'a HeaderMap,
    pub(super) trace: &'a Trace,
    pub(super) body: Bytes,
}

/// Answers what `read` makes of a body: [`chat`] or [`completion`].
pub(super) async fn answer(
    desk: &Arc<Desk>,
    caller: &Caller,
    Asked { headers, trace, body }: Asked<'_>,
    read: fn(&Desk, &[u8]) -> Result<Order, Failure>,
) -> Result<Response<Body>, Failure> {
    let payment = payment(headers)?;
    let order = desk.read(move |desk| read(desk, &body)).await?;
    respond(desk, caller, Order { payment, trace: trace.clone(), ..order }).await
}

/// Reads what pays.
fn payment(headers: &HeaderMap) -> Result<Option<Credential>, Failure> {
    let Some(value) = headers.get(PAYMENT) else { return Ok(None) };
    let wrong = |_| Failure::field(PAYMENT, format!("the header `{PAYMENT}` is not plain text"));
    value.to_str().map(|text| Some(Credential::new(text))).map_err(wrong)
}

/// Reads the body of `/v1/completions`.
pub(super) fn completion(desk: &Desk, body: &[u8]) -> Result<Order, Failure> {
    let request = CompletionRequest::read(&json(desk, body)?, &desk.limits)?;
    let settings = request.settings;
    let prompts = request.prompts.into_iter();
    let prompts = prompts
        .map(|prompt| Prompted::text(desk, prompt, settings.wishes.ground.as_ref()))
        .collect::<Result<_, _>>()?;
    let (splitter, shape) = (None, Shape::Text);
    Ok(Order { settings, prompts, payment: None, trace: Trace::default(), splitter, shape })
}

/// Reads the body of `/v1/chat/completions`.
pub(super) fn chat(desk: &Desk, body: &[u8]) -> Result<Order, Failure> {
    let request = ChatRequest::read(&json(desk, body)?, &desk.limits)?;
    let subject = &desk.subject;
    let Some(template) = &subject.template else {
        let message = "the model has no chat template: use /v1/completions";
        return Err(Failure::unsupported("messages", message));
    };
    let reads_tools = || Ok::<_, Failure>(template.source(&request.chat)?.contains("tools"));
    let mut settings = request.settings;
    let splitter = match (request.tools.is_empty(), subject.tools) {
        (true, _) => None,
        (false, Some(format)) if reads_tools()? => {
            if request.forced {
                let wrong =
                    |e: Error| Failure::field("tools", format!("`tools` cannot be kept to: {e}"));
                settings = settings.with_call(format.forced(&request.tools).map_err(wrong)?)?;
            }
            let names = request.tools.into_iter().map(|tool| tool.name);
            Some(Splitter::new(format, names.collect(), request.parallel))
        }
        _ => {
            let message = "the model's chat template knows no tools";
            return Err(Failure::unsupported("tools", message));
        }
    };
    let ground = settings.wishes.ground.as_ref();
    let prompts = vec![Prompted::chat(desk, template, &request.chat, ground)?];
    let shape = Shape::Chat { format: subject.tools };
    Ok(Order { settings, prompts, payment: None, trace: Trace::default(), splitter, shape })
}

/// Answers, at once or as it comes.
async fn respond(
    desk: &Arc<Desk>,
    caller: &Caller,
    order: Order,
) -> Result<Response<Body>, Failure> {
    let settings = &order.settings;
    let deadline = Instant::now() + settings.time;
    let adapter = answer::adapter(desk, caller, &settings.model, deadline).await?;
    let choices = answer::start(desk, caller, &order, adapter.as_ref(), deadline).await?;
    let lease = adapter.as_ref().map(|(_, lease)| lease);
    let shape = order.shape;
    let head = Head {
        id: desk.ids.name(shape.prefix()),
        created: desk.now(),
        model: settings.model.clone(),
        shape,
        fingerprint: fingerprint(desk, lease),
    };
    let logprobs = settings.logprobs.is_some();
    let mut response = match settings.stream {
        true => events(sse::stream(desk, head, choices, logprobs, settings.include_usage)),
        false => {
            let answers = try_join_all(choices.into_iter().map(collect)).await?;
            let mut usage = Usage::default();
            let mut json = Vec::new();
            for (index, piece, end) in &answers {
                usage.add(end.usage);
                let tokens = logprobs.then_some(&piece.tokens[..]);
                let choice = shape.whole(*index, piece, end.finish, tokens, &desk.ids);
                json.push(with_told(choice, end.told.as_ref()));
            }
            let mut answer = head.to_json(false, &json);
            answer["usage"] = usage.to_json();
            whole(&answer)
        }
    };
    if let Some(lease) = lease {
        response.headers_mut().insert(ADAPTER, header(&lease.id().to_string()));
    }
    Ok(response)
}

/// Waits for all of an answer.
async fn collect(mut choice: Choice) -> Result<(usize, Piece, Ending), Failure> {
    let mut whole = Piece::default();
    while let Some(piece) = choice.next().await? {
        whole.text.push_str(&piece.text);
        whole.calls.extend(piece.calls);
        whole.tokens.extend(piece.tokens);
        if let Some(end) = piece.end {
            return Ok((choice.index, whole, end));
        }
    }
    Err(Error::new(ErrorKind::Unavailable, "the answer broke off").into())
}

/// Names what the answer depends on beside the request: base and adapter, by content.
fn fingerprint(desk: &Desk, lease: Option<&Lease>) -> String {
    let base = B256::from(desk.subject.model.id());
    let mut parts = vec![format!("fp_{}", short(&base.to_string()))];
    parts.extend(lease.map(|lease| short(&lease.id().to_string())));
    parts.join("_")
}

/// The first hexadecimal digits of a hash.
fn short(hash: &str) -> String {
    hash.trim_start_matches("0x").chars().take(12).collect()
}
