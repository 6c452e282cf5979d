//! What one request may ask for.

use std::time::Duration;

/// What one request may ask for, and how often a wrong key may be tried.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct ApiLimits {
    /// Bytes of a request's body.
    pub body: usize,
    /// How long a client may take to send it.
    pub body_time: Duration,
    /// Levels of its JSON, at most 128.
    pub depth: usize,
    /// Answers to one request: prompts times `n`.
    pub choices: usize,
    /// Tokens of one answer.
    pub max_tokens: usize,
    /// How long answering may take; a request may ask for less.
    pub time: Duration,
    /// Wrong keys from one address, after which it is refused for [`lockout`](Self::lockout); 0 for
    /// as many as it likes.
    pub failures: u32,
    /// How long an address is refused, and how long a wrong key is remembered.
    pub lockout: Duration,
}

impl Default for ApiLimits {
    /// 4 MiB of JSON, 64 levels deep, within 30 s; 16 answers of 32,768 tokens within ten minutes; ten
    /// wrong keys a minute.
    fn default() -> Self {
        Self {
            body: 4 << 20,
            body_time: Duration::from_secs(30),
            depth: 64,
            choices: 16,
            max_tokens: 32_768,
            time: Duration::from_secs(600),
            failures: 10,
            lockout: Duration::from_secs(60),
        }
    }
}

impl ApiLimits {
    /// Returns this with other limits on bodies: bytes, and time to send them.
    #[must_use]
    pub const fn with_body(mut self, bytes: usize, time: Duration) -> Self {
        (self.body, self.body_time) = (bytes, time);
        self
    }

    /// Returns this with other limits on answers: how many, and tokens of each.
    #[must_use]
    pub const fn with_answers(mut self, choices: usize, max_tokens: usize) -> Self {
        (self.choices, self.max_tokens) = (choices, max_tokens);
        self
    }

    /// Returns this with another time for answering.
    #[must_use]
    pub const fn with_time(mut self, time: Duration) -> Self {
        self.time = time;
        self
    }

    /// Returns this with another number of wrong keys, and time for which an address is then refused.
    #[must_use]
    pub const fn with_failures(mut self, failures: u32, lockout: Duration) -> Self {
        (self.failures, self.lockout) = (failures, lockout);
        self
    }
}
