//! What chats and completions ask for alike.

use std::{collections::BTreeMap, time::Duration};

use openledger_model::Json;
use openledger_serve::{Constraint, Generate, Sampling};

use super::{
    Wishes,
    fields::{Fields, is, is_empty},
};
use crate::{ApiLimits, error::Failure};

/// The most texts that may end an answer, and their length in bytes.
const MAX_STOPS: usize = 16;
const MAX_STOP: usize = 1024;
/// The most likely tokens told with each one, as in OpenAI's API.
const MAX_LIKELIEST: usize = 20;
/// The most tokens with a bias; in OpenAI's API there are 300.
const MAX_BIAS: usize = 1024;
/// Fields of OpenAI's and vLLM's API that change an answer, and that nothing here honours.
const UNKNOWN_HERE: [&str; 13] = [
    "audio",
    "function_call",
    "functions",
    "guided_grammar",
    "length_penalty",
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
    pub(crate) wishes: Wishes,
    min_tokens: usize,
    constraint: Option<Constraint>,
    /// But for the seed.
    sampling: Sampling,
}

impl Settings {
    pub(crate) fn read(fields: &Fields<'_>, limits: &ApiLimits) -> Result<Self, Failure> {
        for name in UNKNOWN_HERE {
            fields.refuse(name, is_empty)?;
        }
        fields.refuse("modalities", |json| json.as_array() == Some(&[Json::from("text")]))?;
        fields.refuse("skip_special_tokens", |json| *json == Json::Bool(true))?;
        let stream = fields.flag("stream")?.unwrap_or(false);
        let include_usage = match fields.get("stream_options") {
            Some(_) if !stream => {
                return Err(fields.wrong("stream_options", "is for streams: set `stream`"));
            }
            Some(json) => Fields::within(json, "stream_options.")?.flag("include_usage")?,
            None => None,
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
            wishes: Wishes::read(fields)?,
            min_tokens: fields.integer("min_tokens", 0..=limits.max_tokens)?.unwrap_or(0),
            constraint: constraint(fields)?,
            sampling: sampling(fields)?,
        })
    }

    /// Returns this with the answer being a call of a tool, of that form.
    pub(crate) fn with_call(mut self, call: Constraint) -> Result<Self, Failure> {
        if self.constraint.replace(call).is_some() {
            let message = "`tool_choice` forces a call, and `response_format` or `guided_..` asks for another form";
            return Err(Failure::field("tool_choice", message));
        }
        Ok(self)
    }

    /// Returns a request to answer `prompt` in this way, with what chance decides decided by `seed`.
    pub(crate) fn request(&self, prompt: Vec<u32>, max_tokens: usize, seed: u64) -> Generate {
        let mut sampling = self.sampling.clone();
        sampling.seed = seed;
        let mut request = Generate::new(prompt)
            .with_max_tokens(max_tokens)
            .with_min_tokens(self.min_tokens.min(max_tokens))
            .with_sampling(sampling)
            .with_stop(self.stop.iter().cloned())
            .with_ignore_eos(self.ignore_eos)
            .with_receipt(self.wishes.receipt);
        if let Some(constraint) = &self.constraint {
            request = request.with_constraint(constraint.clone());
        }
        match self.logprobs {
            Some(likeliest) => request.with_logprobs(likeliest),
            None => request,
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

/// How tokens are chosen.
fn sampling(fields: &Fields<'_>) -> Result<Sampling, Failure> {
    let number = |name: &str, range, neutral: f64| -> Result<f32, Failure> {
        Ok(fields.number(name, range)?.unwrap_or(neutral) as f32)
    };
    let mut sampling = Sampling::with_temperature(number("temperature", 0.0..=2.0, 1.0)?, 0)
        .with_top_p(number("top_p", 0.0..=1.0, 1.0)?)
        .with_min_p(number("min_p", 0.0..=1.0, 0.0)?)
        .with_repetition_penalty(number("repetition_penalty", 0.01..=100.0, 1.0)?)
        .with_frequency_penalty(number("frequency_penalty", -2.0..=2.0, 0.0)?)
        .with_presence_penalty(number("presence_penalty", -2.0..=2.0, 0.0)?);
    sampling.top_k = match fields.get("top_k") {
        // What vLLM's clients say for all.
        Some(json) if is(-1.0)(json) || is(0.0)(json) => None,
        _ => fields.integer("top_k", 1..=1_000_000)?,
    };
    sampling.bias = bias(fields)?;
    Ok(sampling)
}

/// What is added to the logits of some tokens, an object from their numbers.
fn bias(fields: &Fields<'_>) -> Result<BTreeMap<u32, f32>, Failure> {
    let Some(json) = fields.get("logit_bias") else { return Ok(BTreeMap::new()) };
    let Json::Object(entries) = json else {
        return Err(fields.wrong("logit_bias", "is not an object"));
    };
    // A field is found by looking at all before it, so many of them are work for a thousand times as many.
    if entries.len() > MAX_BIAS {
        return Err(fields.wrong("logit_bias", &format!("names more than {MAX_BIAS} tokens")));
    }
    let within = Fields::within(json, "logit_bias.")?;
    let entry = |token: &String| {
        let number = token.parse().map_err(|_| within.wrong(token, "is not the number of a token"));
        let bias = within.number(token, -100.0..=100.0)?.unwrap_or(0.0);
        Ok((number?, bias as f32))
    };
    entries.iter().map(|(token, _)| entry(token)).collect()
}

/// The form the answer must have: OpenAI's field, or one of vLLM's.
fn constraint(fields: &Fields<'_>) -> Result<Option<Constraint>, Failure> {
    let mut found = Vec::new();
    let fits = |name: &str, constraint: openledger_core::Result<Constraint>| {
        constraint.map_err(|e| fields.wrong(name, &format!("cannot be kept to: {e}")))
    };
    if let Some(json) = fields.get("response_format") {
        let format = Fields::within(json, "response_format.")?;
        match format.required("type")? {
            "text" => {}
            "json_object" => found.push(Constraint::json()),
            "json_schema" => {
                let inner = format.get("json_schema");
                let inner = inner.ok_or_else(|| format.wrong("json_schema", "is missing"))?;
                let inner = Fields::within(inner, "response_format.json_schema.")?;
                let schema =
                    inner.get("schema").ok_or_else(|| inner.wrong("schema", "is missing"))?;
                found.push(fits("response_format", Constraint::json_schema(schema.to_string()))?);
            }
            _ => return Err(format.wrong("type", "is not `text`, `json_object` or `json_schema`")),
        }
    }
    if let Some(json) = fields.get("guided_json") {
        let schema = json.as_str().map_or_else(|| json.to_string(), str::to_owned);
        found.push(fits("guided_json", Constraint::json_schema(schema))?);
    }
    if let Some(regex) = fields.text("guided_regex")? {
        found.push(fits("guided_regex", Constraint::regex(regex))?);
    }
    if let Some(choices) = fields.list("guided_choice")? {
        let text = |json: &Json| json.as_str().map(str::to_owned);
        let choices: Option<Vec<String>> = choices.iter().map(text).collect();
        let choices =
            choices.ok_or_else(|| fields.wrong("guided_choice", "is not made of texts"))?;
        found.push(fits("guided_choice", Constraint::choice(choices))?);
    }
    match found.len() {
        0 | 1 => Ok(found.pop()),
        _ => {
            Err(fields
                .wrong("response_format", "and the fields `guided_..` ask for different forms"))
        }
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
