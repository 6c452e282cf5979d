//! What asks for answers.

use std::sync::Arc;

use bytes::Bytes;
use futures::future::try_join_all;
use http::{Response, StatusCode};
use openledger_core::B256;
use openledger_serve::Lease;
use tokio::task::spawn_blocking;

use super::{events, header, json, whole};
use crate::{
    Body,
    answer::{self, Choice, Piece, Question, Shape, Usage},
    desk::Desk,
    door::Caller,
    error::Failure,
    sse::{self, Head},
    tools::Splitter,
    wire::{ChatRequest, CompletionRequest},
};

/// The adapter that answers, by content.
const ADAPTER: &str = "x-openledger-adapter";

pub(super) async fn chat(
    desk: &Arc<Desk>,
    caller: &Caller,
    body: Bytes,
) -> Result<Response<Body>, Failure> {
    let read = {
        let desk = Arc::clone(desk);
        move || chat_question(&desk, &body)
    };
    respond(desk, caller, off_thread(read).await?).await
}

pub(super) async fn completions(
    desk: &Arc<Desk>,
    caller: &Caller,
    body: Bytes,
) -> Result<Response<Body>, Failure> {
    let read = {
        let desk = Arc::clone(desk);
        move || {
            let request = CompletionRequest::read(&json(&desk, &body)?, &desk.limits)?;
            let prompts = answer::tokens(&desk, request.prompts)?;
            let settings = request.settings;
            Ok(Question { settings, prompts, splitter: None, shape: Shape::Text })
        }
    };
    respond(desk, caller, off_thread(read).await?).await
}

/// Reads, renders and encodes on a thread for that: megabytes of text take their time.
async fn off_thread(
    read: impl FnOnce() -> Result<Question, Failure> + Send + 'static,
) -> Result<Question, Failure> {
    let broken = |_| Failure::new(StatusCode::INTERNAL_SERVER_ERROR, "reading the request failed");
    spawn_blocking(read).await.map_err(broken)?
}

fn chat_question(desk: &Desk, body: &[u8]) -> Result<Question, Failure> {
    let request = ChatRequest::read(&json(desk, body)?, &desk.limits)?;
    let subject = &desk.subject;
    let Some(template) = &subject.template else {
        let message = "the model has no chat template: use /v1/completions";
        return Err(Failure::unsupported("messages", message));
    };
    let reads_tools = || Ok::<_, Failure>(template.source(&request.chat)?.contains("tools"));
    let splitter = match (request.tools.is_empty(), subject.tools) {
        (true, _) => None,
        (false, Some(format)) if reads_tools()? => {
            Some(Splitter::new(format, request.tools.into(), request.parallel))
        }
        _ => {
            let message = "the model's chat template knows no tools";
            return Err(Failure::unsupported("tools", message));
        }
    };
    let text = template
        .prompt(&request.chat, desk.now())
        .map_err(|e| Failure::from(e).with_param("messages"))?;
    // The template has written what begins a text.
    let tokens = subject.model.tokenizer().encode(&text, false)?;
    let shape = Shape::Chat { format: subject.tools };
    Ok(Question { settings: request.settings, prompts: vec![tokens], splitter, shape })
}

/// Answers, at once or as it comes.
async fn respond(
    desk: &Arc<Desk>,
    caller: &Caller,
    question: Question,
) -> Result<Response<Body>, Failure> {
    let settings = &question.settings;
    let adapter = answer::adapter(desk, caller, &settings.model).await?;
    let choices = answer::start(desk, caller, &question, adapter.as_ref()).await?;
    let lease = adapter.as_ref().map(|(_, lease)| lease);
    let shape = question.shape;
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
            for (index, piece) in &answers {
                let (finish, used) = piece.end.unwrap_or_else(|| ("stop", Usage::default()));
                usage.add(used);
                let tokens = logprobs.then_some(&piece.tokens[..]);
                json.push(shape.whole(
                    *index,
                    &piece.text,
                    &piece.calls,
                    finish,
                    tokens,
                    &desk.ids,
                ));
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
async fn collect(mut choice: Choice) -> Result<(usize, Piece), Failure> {
    let mut whole = Piece::default();
    while let Some(piece) = choice.next().await? {
        whole.text.push_str(&piece.text);
        whole.calls.extend(piece.calls);
        whole.tokens.extend(piece.tokens);
        whole.end = piece.end;
    }
    Ok((choice.index, whole))
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
