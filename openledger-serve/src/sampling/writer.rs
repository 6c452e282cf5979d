//! One answer as it is written: logits in, tokens and text out, until it is over.

use openledger_core::{Error, Result};
use openledger_model::{Model, TextStream};

use super::{
    grammar::Grammar,
    logprobs::{self, logprobs},
    sampler::{Limits, Sampler},
    stops::Stops,
};
use crate::{Finish, Generate, Logprobs};

/// Everything that makes an answer of logits, and nothing that makes logits.
#[derive(Debug)]
pub(crate) struct Writer {
    sampler: Sampler,
    grammar: Option<Grammar>,
    text: TextStream,
    stops: Stops,
    logprobs: Option<usize>,
    ignore_eos: bool,
    min_tokens: usize,
    /// The most tokens that it can have.
    room: usize,
    written: usize,
}

/// A token with what became certain by it.
#[derive(Debug)]
pub(crate) struct Written {
    pub(crate) token: u32,
    pub(crate) text: String,
    pub(crate) logprobs: Option<Logprobs>,
    /// Why the answer is over, and the rest of its text, if it is.
    pub(crate) end: Option<(Finish, String)>,
}

impl Writer {
    /// Checks everything of a request that concerns the choice of tokens.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`](openledger_core::ErrorKind::Invalid) naming what is out of its range.
    pub(crate) fn new(model: &Model, request: &Generate, grammar: Option<Grammar>) -> Result<Self> {
        let decoder = model.network().decoder();
        request.sampling.check(decoder.vocabulary())?;
        request.logprobs.map_or(Ok(()), logprobs::check)?;
        if request.min_tokens > request.max_tokens {
            let (least, most) = (request.min_tokens, request.max_tokens);
            return Err(Error::invalid(format!("at least {least} tokens of at most {most}")));
        }
        Ok(Self {
            sampler: Sampler::new(request.sampling.clone(), &request.prompt),
            grammar,
            text: model.tokenizer().stream(),
            stops: Stops::new(&request.stop)?,
            logprobs: request.logprobs,
            ignore_eos: request.ignore_eos,
            min_tokens: request.min_tokens,
            room: request
                .max_tokens
                .min(decoder.max_positions().saturating_sub(request.prompt.len())),
            written: 0,
        })
    }

    /// Returns how many tokens were written.
    pub(crate) const fn written(&self) -> usize {
        self.written
    }

    /// Returns how many more it may write.
    pub(crate) const fn left(&self) -> usize {
        self.room.saturating_sub(self.written)
    }

    /// Chooses the next token from its logits.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`](openledger_core::ErrorKind::Invalid) if bias and constraint leave no token
    /// or no logit is a number; those of the constraint and of the tokenizer.
    pub(crate) fn write(&mut self, model: &Model, logits: &[f32]) -> Result<Written> {
        let eos = model.network().decoder().eos();
        let token = self.choose(logits, eos)?;
        self.written += 1;
        let complete = match &mut self.grammar {
            Some(grammar) => grammar.push(token)?,
            None => false,
        };
        let ends = eos.contains(&token) && (complete || !self.ignore_eos);
        let text = match ends {
            true => String::new(),
            false => self.text.push(model.tokenizer(), token)?,
        };
        let passed = self.stops.push(&text);
        let finish = match () {
            () if passed.stopped || ends || complete => Some(Finish::Stop),
            () if self.written >= self.room => Some(Finish::Length),
            () => None,
        };
        let end = match finish {
            Some(_) if passed.stopped => Some((Finish::Stop, String::new())),
            Some(finish) => Some(self.finish(model, finish)?),
            None => None,
        };
        let logprobs = self.logprobs.map(|count| logprobs(logits, token, count));
        Ok(Written { token, text: passed.text, logprobs, end })
    }

    fn choose(&mut self, logits: &[f32], eos: &[u32]) -> Result<u32> {
        let allowed = match &mut self.grammar {
            Some(grammar) => Some(grammar.allowed()?),
            None => None,
        };
        if self.written < self.min_tokens {
            let chosen = self.sampler.choose(logits, Limits { allowed, banned: eos });
            if let Some(token) = chosen {
                return Ok(token);
            }
            // Where a constraint allows nothing else, the answer may end early.
        }
        self.sampler.choose(logits, Limits { allowed, banned: &[] }).ok_or_else(|| {
            match logits.iter().any(|logit| *logit > f32::NEG_INFINITY) {
                true => Error::invalid("the bias and the constraint leave no token: allow more"),
                false => Error::invalid("the model's logits are not numbers: bad weights?"),
            }
        })
    }

    /// Returns the text held back, up to a stop string in it.
    fn finish(&mut self, model: &Model, finish: Finish) -> Result<(Finish, String)> {
        let tail = self.text.clone().finish(model.tokenizer())?;
        let passed = self.stops.push(&tail);
        if passed.stopped {
            return Ok((Finish::Stop, passed.text));
        }
        Ok((finish, passed.text + &self.stops.finish()))
    }
}
