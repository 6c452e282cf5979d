//! Where each tenant stands.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use openledger_core::{Error, ErrorKind, Result};

use super::{
    Limits,
    bucket::{Bucket, Leaked},
};
use crate::Generate;

/// All tenants that asked lately. Clones share them.
#[derive(Clone, Debug)]
pub(super) struct Tenants(Arc<Mutex<Standings>>);

#[derive(Debug)]
struct Standings {
    by_name: HashMap<Name, Standing>,
    /// As many tenants as bring the next search for those that can be forgotten.
    sweep_at: usize,
    start: Instant,
}

/// Whoever names nobody is one tenant.
type Name = Option<Arc<str>>;

#[derive(Debug)]
struct Standing {
    limits: Limits,
    /// When it was last looked at.
    at: Instant,
    requests: Bucket,
    tokens: Bucket,
    answers: usize,
}

/// Fewer tenants than these are never searched for ones to forget.
const FEW: usize = 1024;

impl Tenants {
    pub(super) fn new(start: Instant) -> Self {
        let standings = Standings { by_name: HashMap::new(), sweep_at: FEW, start };
        Self(Arc::new(Mutex::new(standings)))
    }

    /// Counts a request in, or says which limit it is over; then nothing is counted.
    pub(super) fn enter(&self, request: &Generate, limits: Limits, now: Instant) -> Result<Place> {
        let name = request.tenant.clone();
        let tokens = request.prompt.len().saturating_add(request.max_tokens) as u64;
        let mut standings = self.lock();
        let standing = standings.of(name.clone(), limits, now);
        standing.check(tokens).map_err(|over| over.into_error(name.as_deref()))?;
        standing.requests.fill(u64::from(limits.requests.is_some()));
        let filled = if limits.tokens.is_some() { tokens } else { 0 };
        let last = standing.tokens.fill(filled);
        standing.answers += 1;
        Ok(Place { tenants: self.clone(), name, tokens: filled, last })
    }

    fn lock(&self) -> MutexGuard<'_, Standings> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Standings {
    /// Returns where a tenant stands now.
    fn of(&mut self, name: Name, limits: Limits, now: Instant) -> &mut Standing {
        if self.by_name.len() >= self.sweep_at && !self.by_name.contains_key(&name) {
            self.by_name.retain(|_, standing| !standing.is_idle(now));
            self.sweep_at = FEW.max(2 * self.by_name.len());
        }
        let start = self.start;
        let standing = self.by_name.entry(name).or_insert_with(|| Standing::new(limits, start));
        standing.limits = limits;
        standing.pass(now);
        standing
    }
}

impl Standing {
    fn new(limits: Limits, at: Instant) -> Self {
        Self { limits, at, requests: Bucket::default(), tokens: Bucket::default(), answers: 0 }
    }

    fn pass(&mut self, now: Instant) {
        let time = now.saturating_duration_since(self.at);
        self.at = self.at.max(now);
        // Without a limit nothing is filled in; what was from before there was none drains at once.
        self.requests.leak(self.limits.requests.unwrap_or(u32::MAX), time);
        self.tokens.leak(self.limits.tokens.unwrap_or(u32::MAX), time);
    }

    fn is_idle(&mut self, now: Instant) -> bool {
        self.pass(now);
        self.answers == 0 && self.requests.is_empty() && self.tokens.is_empty()
    }

    fn check(&self, tokens: u64) -> Result<(), Over> {
        if let Some(most) = self.limits.answers.filter(|&most| self.answers >= most) {
            return Err(Over::Answers { most });
        }
        if let Some(rate) = self.limits.requests {
            match self.requests.wait(rate, 1) {
                Some(Duration::ZERO) => {}
                wait => return Err(Over::Requests { rate, wait }),
            }
        }
        if let Some(rate) = self.limits.tokens {
            match self.tokens.wait(rate, tokens) {
                Some(Duration::ZERO) => {}
                wait => return Err(Over::Tokens { rate, tokens, wait }),
            }
        }
        Ok(())
    }
}

/// Which limit a request is over, and how long until it would not be, if ever.
enum Over {
    Answers { most: usize },
    Requests { rate: u32, wait: Option<Duration> },
    Tokens { rate: u32, tokens: u64, wait: Option<Duration> },
}

impl Over {
    #[cold]
    fn into_error(self, name: Option<&str>) -> Error {
        let (limit, wait) = match self {
            Self::Answers { most } => {
                let message = format!("{} has {most} answers under way", Who(name));
                return Error::new(ErrorKind::Limit, message).with_retryable(true);
            }
            Self::Requests { rate, wait } => (format!("{rate} requests a minute"), wait),
            Self::Tokens { rate, tokens, wait } => {
                (format!("{rate} tokens a minute, the request may take {tokens}"), wait)
            }
        };
        let error = Error::new(ErrorKind::Limit, format!("{} has {limit}", Who(name)));
        match wait {
            Some(wait) => error.with_retry_after(wait),
            None => error,
        }
    }
}

/// A tenant's name in messages.
struct Who<'a>(Option<&'a str>);

impl std::fmt::Display for Who<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            Some(name) => write!(f, "tenant `{name}`"),
            None => f.write_str("whoever names no tenant"),
        }
    }
}

/// A request that is counted in. Dropping it takes everything back but the request itself.
#[derive(Debug)]
pub(super) struct Place {
    tenants: Tenants,
    name: Name,
    /// What is given back, as far as it has not drained by itself.
    tokens: u64,
    last: Leaked,
}

impl Place {
    /// Ends an answer that left `unwritten` of the tokens it could have written.
    pub(super) fn leave(mut self, unwritten: usize) {
        self.tokens = self.tokens.min(unwritten as u64);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // A tenant with an answer under way is not forgotten.
        if let Some(standing) = self.tenants.lock().by_name.get_mut(&self.name) {
            standing.answers -= 1;
            standing.tokens.give_back(self.tokens, self.last);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tenants_that_stopped_asking_are_forgotten_and_those_with_answers_are_not() {
        let start = Instant::now();
        let tenants = Tenants::new(start);
        let limits = Limits::default().with_requests(1).with_answers(1);
        let enter = |name: String, second: u64| {
            let request = Generate::new(vec![1]).with_tenant(name);
            tenants.enter(&request, limits, start + Duration::from_secs(second))
        };
        let held = enter("held".to_owned(), 0).unwrap();
        for n in 0..10_000 {
            drop(enter(format!("tenant {n}"), n).unwrap());
            assert!(tenants.lock().by_name.len() <= FEW);
        }
        assert!(enter("tenant 9999".to_owned(), 10_000).is_err());
        assert!(enter("held".to_owned(), 10_000).unwrap_err().retry_after().is_none());
        drop(held);
        drop(enter("held".to_owned(), 10_000).unwrap());
    }
}
