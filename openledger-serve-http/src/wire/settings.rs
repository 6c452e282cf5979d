//! What chats and completions ask for alike.

use std::time::Duration;

use openledger_model::Json;
use openledger_serve::Sampling;

use super::fields::{Fields, is, is_empty};
use crate::{ApiLimits, error::Failure};

/// The most texts that may end an answer, and their length in bytes.
const MAX_STOPS: usize = 16;
const MAX_STOP: usize = 1024;
/// The most likely tokens told with each one, as in OpenAI's API.
const MAX_LIKELIEST: usize = 20;
/// Fields of OpenAI's and vLLM's API that change an answer, and that nothing here honours.
const UNKNOWN_HERE: [&str; 17] = [
    "audio",
    "function_call",
    "functions",
    "guided_choice",
    "guided_grammar",
    "guided_json",
    "guided_regex",
    "length_penalty",
    "min_tokens",
    "prompt_logprobs",
    "stop_token_ids",
    "structured_outputs",
    "suffix",
    "truncate_prompt_tokens",
    "use_beam_search",
    "web_search_options",
    "bad_words",
];

/// How to answer, apart from what is asked.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// The model or adapter.
    pub(crate) model: String,
    /// Answers to each prompt.
    pub(crate) n: usize,
    /// Tokens of an answer, if it is said.
    pub(crate) max_tokens: Option<usize>,
    pub(crate) stop: Vec<String>,
    pub(crate) ignore_eos: bool,
    /// How many likely tokens are told with each one, if any are.
    pub(crate) logprobs: Option<usize>,
    pub(crate) stream: bool,
    pub(crate) include_usage: bool,
    pub(crate) time: Duration,
    pub(crate) seed: Option<u64>,
    temperature: f32,
    top_k: Option<usize>,
}

impl Settings {
    pub(crate) fn read(fields: &Fields<'_>, limits: &ApiLimits) -> Result<Self, Failure> {
        for name in UNKNOWN_HERE {
            fields.refuse(name, is_empty)?;
        }
        fields.refuse("modalities", |json| json.as_array() == Some(&[Json::from("text")]))?;
        fields.refuse("skip_special_tokens", |json| *json == Json::Bool(true))?;
        Self::refuse_sampling(fields)?;
        let stream = fields.flag("stream")?.unwrap_or(false);
        let include_usage = match fields.get("stream_options") {
            Some(_) if !stream => {
                return Err(fields.wrong("stream_options", "is for streams: set `stream`"));
            }
            Some(json) => Fields::within(json, "stream_options.")?.flag("include_usage")?,
            None => None,
        };
        let temperature = fields.number("temperature", 0.0..=2.0)?;
        let top_k = match fields.get("top_k") {
            // What vLLM's clients say for all.
            Some(json) if is(-1.0)(json) || is(0.0)(json) => None,
            _ => fields.integer("top_k", 1..=1_000_000)?,
        };
        let most = limits.time.as_secs_f64();
        let time = fields.number("timeout", 0.001..=1e9)?.unwrap_or(most).min(most);
        Ok(Self {
            model: fields.required("model")?.to_owned(),
            n: fields.integer("n", 1..=limits.choices)?.unwrap_or(1),
            max_tokens: match fields.integer("max_completion_tokens", 1..=limits.max_tokens)? {
                Some(most) => Some(most),
                None => fields.integer("max_tokens", 1..=limits.max_tokens)?,
            },
            stop: stops(fields)?,
            ignore_eos: fields.flag("ignore_eos")?.unwrap_or(false),
            logprobs: None,
            stream,
            include_usage: include_usage.unwrap_or(false),
            time: Duration::from_secs_f64(time),
            seed: seed(fields)?,
            temperature: temperature.unwrap_or(1.0) as f32,
            top_k,
        })
    }

    /// Refuses ways of choosing that the engine does not have.
    fn refuse_sampling(fields: &Fields<'_>) -> Result<(), Failure> {
        for (name, neutral) in [
            ("top_p", 1.0),
            ("min_p", 0.0),
            ("repetition_penalty", 1.0),
            ("frequency_penalty", 0.0),
            ("presence_penalty", 0.0),
        ] {
            fields.refuse(name, is(neutral))?;
        }
        fields.refuse("logit_bias", is_empty)?;
        fields.refuse("response_format", |json| {
            json.get("type").and_then(Json::as_str) == Some("text")
        })
    }

    /// Returns how tokens are chosen by that seed.
    pub(crate) fn sampling(&self, seed: u64) -> Sampling {
        let sampling = Sampling::with_temperature(self.temperature, seed);
        match self.top_k {
            Some(k) => sampling.with_top_k(k),
            None => sampling,
        }
    }

    /// Takes how many likely tokens are told: an integer of that field.
    pub(super) fn with_logprobs(
        mut self,
        fields: &Fields<'_>,
        name: &str,
    ) -> Result<Self, Failure> {
        self.logprobs = fields.integer(name, 0..=MAX_LIKELIEST)?;
        Ok(self)
    }
}

/// Any integer of 64 bits, with or without a sign.
fn seed(fields: &Fields<'_>) -> Result<Option<u64>, Failure> {
    let Some(json) = fields.get("seed") else { return Ok(None) };
    let number = match json {
        Json::Number(number) => number.as_u64().or_else(|| number.as_i64().map(i64::cast_unsigned)),
        _ => None,
    };
    number.map(Some).ok_or_else(|| fields.wrong("seed", "is not an integer of 64 bits"))
}

/// A text or several.
fn stops(fields: &Fields<'_>) -> Result<Vec<String>, Failure> {
    let found = match fields.get("stop") {
        None => return Ok(Vec::new()),
        Some(Json::Array(items)) => &items[..],
        Some(one) => std::slice::from_ref(one),
    };
    if found.len() > MAX_STOPS {
        return Err(fields.wrong("stop", &format!("has more than {MAX_STOPS} texts")));
    }
    let text = |json: &Json| match json.as_str() {
        Some(text) if (1..=MAX_STOP).contains(&text.len()) => Ok(text.to_owned()),
        _ => Err(fields.wrong("stop", &format!("is not made of texts of 1 to {MAX_STOP} bytes"))),
    };
    found.iter().map(text).collect()
}
