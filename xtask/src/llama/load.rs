//! Clients that all ask at once, and what they cost the server.

use std::{thread, time::Instant};

use serde_json::{Value, json};

use crate::{client, random::Random, server::Server, shell::Result};

const WORDS: [&str; 16] = [
    "river", "stone", "market", "seven", "blood", "paper", "engine", "winter", "garden", "orange",
    "doctor", "number", "train", "silver", "window", "house",
];
/// Words of a prompt, about as many tokens.
const PROMPT: u64 = 8;
/// Tokens of an answer.
const TOKENS: u64 = 48;
/// Tokens of a prompt whose reading is measured, and how many such prompts a round has.
const LONG: u64 = 128;
const LONGS: u64 = 8;

/// Which of several adapters each client asks for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Asked {
    Base,
    One,
    AllDifferent,
}

impl Asked {
    pub(super) const ALL: [Self; 3] = [Self::Base, Self::One, Self::AllDifferent];

    /// Returns the number of the adapter that a client asks for.
    fn of(self, client: u64) -> Option<u64> {
        match self {
            Self::Base => None,
            Self::One => Some(0),
            Self::AllDifferent => Some(client),
        }
    }
}

/// A server, and what requests say there to be answered by the base model or by an adapter's number.
pub(super) struct Side {
    pub(super) server: Server,
    pub(super) naming: Box<dyn Fn(Option<u64>) -> Value + Send + Sync>,
}

/// What a round cost.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cost {
    /// Tokens for each second of processor time of the server.
    pub(super) per_cpu_second: f64,
    /// Seconds to the first token, of the first to have one and of the last.
    pub(super) first: [f64; 2],
}

impl Cost {
    /// Returns the better of two rounds.
    pub(super) fn better(self, other: Self) -> Self {
        if other.per_cpu_second > self.per_cpu_second { other } else { self }
    }
}

/// Lets so many clients ask at once, each for 48 tokens after 8 words.
///
/// # Errors
/// If an answer is an error or has another length.
pub(super) fn round(side: &Side, clients: u64, asked: Asked, seed: u64) -> Result<Cost> {
    let before = side.server.cpu_seconds()?;
    let answers: Vec<Result<f64>> = thread::scope(|scope| {
        let clients = (0..clients).map(|client| {
            let prompt = words(seed.wrapping_mul(7919).wrapping_add(client));
            scope.spawn(move || one(side, &side.request(asked.of(client), &prompt.into())))
        });
        let clients: Vec<_> = clients.collect();
        let ended = clients.into_iter().map(|client| client.join());
        ended.map(|ended| ended.unwrap_or_else(|_| Err("a client panicked".into()))).collect()
    });
    let firsts = answers.into_iter().collect::<Result<Vec<f64>>>()?;
    let spent = side.server.cpu_seconds()? - before;
    Ok(Cost {
        per_cpu_second: (clients * TOKENS) as f64 / spent,
        first: [
            firsts.iter().copied().fold(f64::INFINITY, f64::min),
            firsts.iter().copied().fold(0.0, f64::max),
        ],
    })
}

/// Lets prompts of 128 tokens be read, one after the other, none of which begins as another.
///
/// # Errors
/// As [`round`].
pub(super) fn prefill(side: &Side, seed: u64) -> Result<f64> {
    let before = side.server.cpu_seconds()?;
    for prompt in 0..LONGS {
        let mut random = Random::new(seed.wrapping_mul(7919).wrapping_add(prompt));
        let tokens: Vec<u64> = (0..LONG).map(|_| 300 + random.below(30_000)).collect();
        let mut asked = side.request(None, &json!(tokens));
        asked["max_tokens"] = json!(1);
        one(side, &asked)?;
    }
    Ok((LONGS * LONG) as f64 / (side.server.cpu_seconds()? - before))
}

/// Returns what the server answers to some words, without a stream.
///
/// # Errors
/// As [`round`].
pub(super) fn greedy(side: &Side, adapter: Option<u64>, seed: u64) -> Result<String> {
    let mut asked = side.request(adapter, &words(seed).into());
    asked["stream"] = json!(false);
    if let Value::Object(asked) = &mut asked {
        asked.remove("stream_options");
    }
    let said = client::post(side.server.address(), "/v1/completions", &asked)?.json()?;
    let text = said["choices"][0]["text"].as_str();
    Ok(text.ok_or_else(|| format!("no text: {said}"))?.to_owned())
}

impl Side {
    /// Returns a request with the fields that name an adapter.
    fn request(&self, adapter: Option<u64>, prompt: &Value) -> Value {
        let mut asked = json!({
            "prompt": prompt, "max_tokens": TOKENS, "temperature": 0, "ignore_eos": true,
            "stream": true, "stream_options": {"include_usage": true},
        });
        if let (Value::Object(asked), Value::Object(named)) = (&mut asked, (self.naming)(adapter)) {
            asked.extend(named);
        }
        asked
    }
}

/// Returns the seconds to the first token.
fn one(side: &Side, asked: &Value) -> Result<f64> {
    let begun = Instant::now();
    let mut answer = client::post(side.server.address(), "/v1/completions", asked)?;
    if answer.status() != 200 {
        return Err(format!("{}: {}", answer.status(), answer.text()?).into());
    }
    let (mut first, mut tokens) = (None, None);
    while let Some(event) = answer.event()? {
        if event["choices"].as_array().is_some_and(|choices| !choices.is_empty()) {
            first = first.or_else(|| Some(begun.elapsed().as_secs_f64()));
        }
        tokens = event["usage"]["completion_tokens"].as_u64().or(tokens);
    }
    match (first, tokens) {
        (Some(first), Some(tokens)) if Some(tokens) == asked["max_tokens"].as_u64() => Ok(first),
        _ => Err(format!("{tokens:?} tokens, not {}", asked["max_tokens"]).into()),
    }
}

fn words(seed: u64) -> String {
    let mut random = Random::new(seed);
    let words: Vec<&str> = (0..PROMPT).map(|_| *random.one_of(&WORDS)).collect();
    words.join(" ")
}
