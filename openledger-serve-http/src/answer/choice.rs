//! One answer, as it comes.

use std::{sync::Arc, time::Instant};

use futures::StreamExt;
use http::StatusCode;
use openledger_core::{Error, ErrorKind};
use openledger_model::Model;
use openledger_serve::{End, Event, Finish, Logprobs, TokenStream};
use serde_json::{Value, json};

use super::told::Told;
use crate::{
    error::Failure,
    metrics::Flight,
    tools::{Splitter, ToolCall},
};

/// One answer of those a request asks for.
#[derive(Debug)]
pub(crate) struct Choice {
    pub(crate) index: usize,
    events: TokenStream,
    flight: Flight,
    model: Arc<Model>,
    deadline: Instant,
    splitter: Option<Splitter>,
    logprobs: bool,
    counts_prompt: bool,
    told: Told,
    over: bool,
}

/// What came of an answer at a time.
#[derive(Debug, Default)]
pub(crate) struct Piece {
    pub(crate) text: String,
    pub(crate) calls: Vec<ToolCall>,
    pub(crate) tokens: Vec<Likely>,
    /// With the last piece.
    pub(crate) end: Option<Ending>,
}

/// How an answer ended.
#[derive(Debug)]
pub(crate) struct Ending {
    pub(crate) finish: &'static str,
    pub(crate) usage: Usage,
    /// What layers told of it.
    pub(crate) told: Option<Value>,
}

/// A token and how likely it was.
#[derive(Debug)]
pub(crate) struct Likely {
    pub(crate) token: String,
    pub(crate) logprob: f32,
    pub(crate) others: Vec<(String, f32)>,
}

/// Tokens that answers used.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Usage {
    tokens_in: usize,
    tokens_cached: usize,
    tokens_out: usize,
}

impl Usage {
    pub(crate) const fn add(&mut self, other: Self) {
        self.tokens_in += other.tokens_in;
        self.tokens_cached += other.tokens_cached;
        self.tokens_out += other.tokens_out;
    }

    pub(crate) fn to_json(self) -> Value {
        json!({
            "prompt_tokens": self.tokens_in,
            "completion_tokens": self.tokens_out,
            "total_tokens": self.tokens_in + self.tokens_out,
            "prompt_tokens_details": {"cached_tokens": self.tokens_cached},
        })
    }
}

impl Choice {
    pub(super) fn new(
        index: usize,
        events: TokenStream,
        flight: Flight,
        model: Arc<Model>,
        deadline: Instant,
    ) -> Self {
        Self {
            index,
            events,
            flight,
            model,
            deadline,
            splitter: None,
            logprobs: false,
            counts_prompt: true,
            told: Told::default(),
            over: false,
        }
    }

    pub(super) fn with_splitter(mut self, splitter: Option<Splitter>) -> Self {
        self.splitter = splitter;
        self
    }

    pub(super) const fn with_logprobs(mut self, logprobs: bool) -> Self {
        self.logprobs = logprobs;
        self
    }

    pub(super) fn with_told(mut self, told: Told) -> Self {
        self.told = told;
        self
    }

    pub(super) const fn with_prompt_counted(mut self, counted: bool) -> Self {
        self.counts_prompt = counted;
        self
    }

    /// Waits for the next piece; none after the last.
    pub(crate) async fn next(&mut self) -> Result<Option<Piece>, Failure> {
        if self.over {
            return Ok(None);
        }
        loop {
            let next = tokio::time::timeout_at(self.deadline.into(), self.events.next());
            let event = next.await.map_err(|_| Failure::late())?;
            let broke_off = || Error::new(ErrorKind::Unavailable, "the answer broke off");
            let event = event.ok_or_else(broke_off)?.map_err(|e| self.failed(e))?;
            match event {
                Event::Token { token, text, logprobs, .. } => {
                    self.flight.token();
                    return self.token(token, text, logprobs).map(Some);
                }
                Event::End(end) => {
                    self.flight.end(&end);
                    self.over = true;
                    return Ok(Some(self.end(end)));
                }
                beside => self.told.event(beside),
            }
        }
    }

    /// What an engine says after the deadline is that it was late.
    fn failed(&self, error: Error) -> Failure {
        match self.deadline.checked_duration_since(Instant::now()) {
            None => Failure::late(),
            Some(_) => error.into(),
        }
    }

    fn token(
        &mut self,
        token: u32,
        text: String,
        found: Option<Logprobs>,
    ) -> Result<Piece, Failure> {
        self.told.text(&text);
        let text = match &mut self.splitter {
            None => text,
            // What begins calls is a special token in some families, which has no text.
            Some(splitter) => match self.model.tokenizer().token(splitter.marker()) {
                Some(marker) if marker == token && text.is_empty() => {
                    splitter.push(splitter.marker())
                }
                _ => splitter.push(&text),
            },
        };
        let mut tokens = Vec::new();
        if self.logprobs {
            let missing = || {
                let message = "what answers here tells no probabilities: leave `logprobs` out";
                Failure::new(StatusCode::NOT_IMPLEMENTED, message)
                    .with_code("unsupported_parameter")
                    .with_param("logprobs")
            };
            let found = found.ok_or_else(missing)?;
            let spell = |token| self.model.tokenizer().spell(&[token]);
            let others = found.likeliest.iter();
            tokens.push(Likely {
                token: spell(token)?,
                logprob: found.chosen,
                others: others
                    .map(|&(token, logprob)| Ok((spell(token)?, logprob)))
                    .collect::<Result<_, Error>>()?,
            });
        }
        Ok(Piece { text, tokens, ..Piece::default() })
    }

    fn end(&mut self, end: End) -> Piece {
        self.told.text(&end.text);
        let (mut text, mut calls) = (end.text, Vec::new());
        if let Some(splitter) = &mut self.splitter {
            let certain = splitter.push(&text);
            let (rest, found) = splitter.finish();
            (text, calls) = (certain + &rest, found);
        }
        let finish = match end.finish {
            _ if !calls.is_empty() => "tool_calls",
            Finish::Stop => "stop",
            // Whatever else may be added, the answer is not whole.
            _ => "length",
        };
        let read = |tokens: usize| if self.counts_prompt { tokens } else { 0 };
        let usage = Usage {
            tokens_in: read(end.tokens_in),
            tokens_cached: read(end.tokens_cached),
            tokens_out: end.tokens_out,
        };
        let end = Ending { finish, usage, told: self.told.to_json() };
        Piece { text, calls, tokens: Vec::new(), end: Some(end) }
    }
}
