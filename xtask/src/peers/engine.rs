//! A server with all adapters of a model writes what PEFT writes, as likely.

use std::{path::Path, thread};

use serde::Deserialize;
use serde_json::{Value, json};

use crate::{
    client,
    server::{self, Server},
    shell::Result,
};

/// Tokens that are written after the prompt.
pub(super) const TOKENS: usize = 8;

/// Likely tokens that are told with each.
const LIKELY: usize = 5;

/// The largest difference of logprobs, which are differences of logits.
const APART: f32 = 1e-4;

/// What PEFT wrote: each token the likeliest, and the logits it was chosen from.
#[derive(Deserialize)]
pub(super) struct Written {
    written: Vec<u32>,
    following: Vec<Vec<f32>>,
}

/// Serves a model and asks for every adapter at once, so that they are mixed in one batch; returns the
/// largest difference of logprobs.
///
/// # Errors
/// Names an adapter that writes otherwise.
pub(super) fn check(folder: &Path, prompt: &[u32], peft: &[(String, Written)]) -> Result<f32> {
    let mut serve = server::serve(false)?;
    serve.arg("--model").arg(folder).arg("--adapters").arg(folder);
    let server = Server::start(serve.args(["--dtype", "f32", "--threads", "2"]))?;
    let compared: Vec<Result<f32>> = thread::scope(|scope| {
        let (server, compare) = (&server, &compare);
        let asking = peft.iter().map(|(name, theirs)| {
            scope.spawn(move || {
                let said = ask(server, name, prompt)?;
                compare(&said, theirs).map_err(|e| format!("served, {name}: {e}").into())
            })
        });
        let asking: Vec<_> = asking.collect();
        let asked = asking.into_iter().map(|asking| asking.join());
        asked.map(|said| said.unwrap_or_else(|_| Err("a client panicked".into()))).collect()
    });
    compared.into_iter().try_fold(0f32, |most, apart| apart.map(|apart| most.max(apart)))
}

fn ask(server: &Server, name: &str, prompt: &[u32]) -> Result<Value> {
    let asked = json!({
        "model": name, "prompt": prompt, "max_tokens": TOKENS, "temperature": 0, "ignore_eos": true,
        "logprobs": LIKELY,
    });
    client::post(server.address(), "/v1/completions", &asked)?.json()
}

/// Compares the probability of each token written and of those that were as likely.
fn compare(said: &Value, theirs: &Written) -> Result<f32> {
    let told = &said["choices"][0]["logprobs"];
    let (Some(chosen), Some(likely)) =
        (told["token_logprobs"].as_array(), told["top_logprobs"].as_array())
    else {
        return Err(format!("no logprobs: {said}").into());
    };
    if chosen.len() != theirs.written.len() {
        return Err(format!("{} tokens", chosen.len()).into());
    }
    let mut largest = 0f32;
    for (at, (chosen, likely)) in chosen.iter().zip(likely).enumerate() {
        let logprobs = logprobs(&theirs.following[at]);
        let nearest = |ours: &Value| -> f32 {
            let ours = ours.as_f64().unwrap_or(f64::NAN) as f32;
            let apart = logprobs.iter().map(|theirs| (ours - theirs).abs());
            apart.fold(f32::INFINITY, f32::min)
        };
        let written = theirs.written[at] as usize;
        let of_written = (chosen.as_f64().unwrap_or(f64::NAN) as f32 - logprobs[written]).abs();
        let likely = likely.as_object().ok_or("no likely tokens")?;
        // Tokens that are parts of characters have one name, so there may be fewer.
        let apart = likely.values().map(nearest).fold(of_written, f32::max);
        if likely.is_empty() || apart.is_nan() || apart > APART {
            return Err(format!("token {at}: logprobs {apart:e} apart").into());
        }
        largest = largest.max(apart);
    }
    Ok(largest)
}

fn logprobs(logits: &[f32]) -> Vec<f32> {
    let most = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f64 = logits.iter().map(|logit| f64::from(logit - most).exp()).sum();
    logits.iter().map(|logit| logit - most - sum.ln() as f32).collect()
}
