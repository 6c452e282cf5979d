//! What is asked of an engine.

use std::{
    fmt,
    sync::{Arc, OnceLock},
    time::Instant,
};

use crate::{Constraint, Lease, Sampling, Source};

/// A request: tokens to go on from, and how.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Generate {
    /// The prompt, with whatever begins a text.
    pub prompt: Vec<u32>,
    /// The adapter to answer with, held until the answer ends; the base model if there is none.
    pub adapter: Option<Lease>,
    /// The most tokens to write.
    pub max_tokens: usize,
    /// How each token is chosen.
    pub sampling: Sampling,
    /// Texts that end the answer, which does not contain them: at most 64 of 1 to 1,024 bytes. What may
    /// be the beginning of one is told only when it is not.
    pub stop: Vec<String>,
    /// Whether the answer goes on after a token that ends a text.
    pub ignore_eos: bool,
    /// How many likely tokens are told with each one written, at most 20, if any probabilities are.
    pub logprobs: Option<usize>,
    /// Who asks: requests of one tenant share its part of the engine, and see no other's cache.
    pub tenant: Option<Arc<str>>,
    /// When the answer is no longer wanted.
    pub deadline: Option<Instant>,
    /// What is asked in words, for layers that read words.
    pub question: Option<Question>,
    /// What pays, in the words of whoever takes the money.
    pub payment: Option<Credential>,
    /// The rows that the prompt holds as context, by ascending number.
    pub sources: Vec<Source>,
    /// Until so many tokens are written, none that ends a text is chosen. Stop strings and what fits
    /// a constraint end an answer all the same.
    pub min_tokens: usize,
    /// What the answer must look like.
    pub constraint: Option<Constraint>,
    /// Whether the answer is to tell its receipt, from a stack that signs them.
    pub receipt: bool,
    /// Where the engine notes when it began with it, for whoever traces.
    pub begun: Option<Begun>,
}

/// When an engine began with a request, for whoever holds a clone.
///
/// # Examples
/// ```
/// use openledger_serve::Begun;
///
/// let begun = Begun::default();
/// assert_eq!(begun.at(), None, "it waits");
/// begun.note();
/// assert!(begun.at().is_some());
/// ```
#[derive(Clone, Debug, Default)]
pub struct Begun(Arc<OnceLock<Instant>>);

impl Begun {
    /// Returns when; `None` while the request waits.
    pub fn at(&self) -> Option<Instant> {
        self.0.get().copied()
    }

    /// Notes that it begins now. The first time counts: what had to make way has begun.
    pub fn note(&self) {
        self.0.get_or_init(Instant::now);
    }
}

impl Generate {
    /// Asks for at most 128 tokens from the base model, each the most likely one.
    pub const fn new(prompt: Vec<u32>) -> Self {
        Self {
            prompt,
            adapter: None,
            max_tokens: 128,
            sampling: Sampling::GREEDY,
            stop: Vec::new(),
            ignore_eos: false,
            logprobs: None,
            tenant: None,
            deadline: None,
            question: None,
            payment: None,
            sources: Vec::new(),
            min_tokens: 0,
            constraint: None,
            receipt: false,
            begun: None,
        }
    }

    /// Returns this for an adapter.
    #[must_use]
    pub fn with_adapter(mut self, adapter: Lease) -> Self {
        self.adapter = Some(adapter);
        self
    }

    /// Returns this with another limit on tokens written.
    #[must_use]
    pub const fn with_max_tokens(mut self, max_tokens: usize) -> Self {
        self.max_tokens = max_tokens;
        self
    }

    /// Returns this with another way to choose tokens.
    #[must_use]
    pub fn with_sampling(mut self, sampling: Sampling) -> Self {
        self.sampling = sampling;
        self
    }

    /// Returns this with texts that end the answer.
    #[must_use]
    pub fn with_stop(mut self, stop: impl IntoIterator<Item = String>) -> Self {
        self.stop = stop.into_iter().collect();
        self
    }

    /// Returns this going on after tokens that end a text, or not.
    #[must_use]
    pub const fn with_ignore_eos(mut self, ignore_eos: bool) -> Self {
        self.ignore_eos = ignore_eos;
        self
    }

    /// Returns this telling the probability of each token written and of as many likely ones.
    #[must_use]
    pub const fn with_logprobs(mut self, likeliest: usize) -> Self {
        self.logprobs = Some(likeliest);
        self
    }

    /// Returns this on behalf of a tenant.
    #[must_use]
    pub fn with_tenant(mut self, tenant: impl Into<Arc<str>>) -> Self {
        self.tenant = Some(tenant.into());
        self
    }

    /// Returns this with a time after which the answer is no longer wanted.
    #[must_use]
    pub const fn with_deadline(mut self, deadline: Instant) -> Self {
        self.deadline = Some(deadline);
        self
    }

    /// Returns this with another number of tokens before the answer may end.
    #[must_use]
    pub const fn with_min_tokens(mut self, min_tokens: usize) -> Self {
        self.min_tokens = min_tokens;
        self
    }

    /// Returns this with a form for the answer.
    #[must_use]
    pub fn with_constraint(mut self, constraint: Constraint) -> Self {
        self.constraint = Some(constraint);
        self
    }

    /// Returns this asking for the answer's receipt.
    #[must_use]
    pub const fn with_receipt(mut self, receipt: bool) -> Self {
        self.receipt = receipt;
        self
    }

    /// Returns this with a place where the engine notes when it began.
    #[must_use]
    pub fn with_begun(mut self, begun: Begun) -> Self {
        self.begun = Some(begun);
        self
    }

    /// Returns this with what is asked in words.
    #[must_use]
    pub fn with_question(mut self, question: Question) -> Self {
        self.question = Some(question);
        self
    }

    /// Returns this with what pays.
    #[must_use]
    pub fn with_payment(mut self, payment: Credential) -> Self {
        self.payment = Some(payment);
        self
    }
}

/// What is asked in words, and where in the prompt's tokens what is found for it may be put.
///
/// A prompt is tokens, most often of a conversation in a template; only who made it knows which part
/// is the question, and which place between its tokens is before it.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Question {
    /// The words.
    pub text: Arc<str>,
    /// How many of the prompt's tokens come before the context.
    pub at: usize,
}

impl Question {
    /// Asks `text`, with room for context after the first `at` tokens of the prompt.
    pub fn new(text: impl Into<Arc<str>>, at: usize) -> Self {
        Self { text: text.into(), at }
    }
}

/// What pays for a request: an account, a signed authorisation, a header. Not shown by [`fmt::Debug`].
#[derive(Clone, Eq, PartialEq)]
pub struct Credential(Arc<str>);

impl Credential {
    /// Takes the text as it is; whoever takes the money judges it.
    pub fn new(text: impl Into<Arc<str>>) -> Self {
        Self(text.into())
    }

    /// Returns the text.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credential(..)")
    }
}
