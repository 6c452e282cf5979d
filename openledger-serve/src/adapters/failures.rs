//! What failed lately.

use std::{
    collections::HashMap,
    hash::Hash,
    time::{Duration, Instant},
};

use openledger_core::Error;

/// The most failures that are remembered.
const MAX: usize = 4096;

/// Failures, each remembered for a time that doubles while it goes on failing, up to a limit.
#[derive(Debug)]
pub(super) struct Failures<K> {
    first: Duration,
    longest: Duration,
    by_key: HashMap<K, Failure>,
}

#[derive(Debug)]
struct Failure {
    error: Error,
    until: Instant,
    lasts: Duration,
}

impl<K: Clone + Eq + Hash> Failures<K> {
    pub(super) fn new(first: Duration, longest: Duration) -> Self {
        Self { first, longest: longest.max(first), by_key: HashMap::new() }
    }

    /// Returns the error again, while it is remembered; if it may pass, with how long that is.
    pub(super) fn check(&self, key: &K, now: Instant) -> Option<Error> {
        let failure = self.by_key.get(key)?;
        let left = failure.until.checked_duration_since(now).filter(|left| !left.is_zero())?;
        let error = again(&failure.error);
        Some(if error.is_retryable() { error.with_retry_after(left) } else { error })
    }

    pub(super) fn note(&mut self, key: K, error: &Error, now: Instant) {
        // Once it was tried again and failed again, it is left alone for longer.
        let lasts = match self.by_key.get(&key) {
            Some(known) if now < known.until => return,
            Some(known) => (known.lasts * 2).min(self.longest),
            None => self.first,
        };
        if self.by_key.len() >= MAX {
            self.make_room(now);
        }
        self.by_key.insert(key, Failure { error: again(error), until: now + lasts, lasts });
    }

    pub(super) fn forget(&mut self, key: &K) {
        self.by_key.remove(key);
    }

    /// Forgets what is over, or what is over first.
    fn make_room(&mut self, now: Instant) {
        self.by_key.retain(|_, failure| now < failure.until);
        if self.by_key.len() >= MAX {
            let mut ends: Vec<Instant> = self.by_key.values().map(|f| f.until).collect();
            let middle = ends.len() / 2;
            let (_, &mut middle, _) = ends.select_nth_unstable(middle);
            self.by_key.retain(|_, failure| middle < failure.until);
        }
    }
}

/// Says an error once more: several wait for one load, and an error has one owner.
pub(crate) fn again(error: &Error) -> Error {
    let copy = Error::new(error.kind(), error.to_string());
    let copy = match error.retry_after() {
        Some(wait) => copy.with_retry_after(wait),
        None => copy,
    };
    let copy = copy.with_retryable(error.is_retryable());
    let report = error.report();
    match report.strip_prefix(&format!("{error}: ")) {
        Some(reasons) => copy.with_source(reasons),
        None => copy,
    }
}

#[cfg(test)]
mod tests {
    use openledger_core::ErrorKind;

    use super::*;

    #[test]
    fn a_failure_is_remembered_longer_each_time_and_never_for_ever() {
        let start = Instant::now();
        let after = |seconds: u64| start + Duration::from_secs(seconds);
        let error = Error::new(ErrorKind::NotFound, "no adapter `law`").with_source("404");
        let mut failures = Failures::new(Duration::from_secs(1), Duration::from_secs(3));
        let mut now = 0;
        for lasts in [1, 2, 3, 3] {
            assert!(failures.check(&"law", after(now)).is_none());
            failures.note("law", &error, after(now));
            failures.note("law", &error, after(now));
            let known = failures.check(&"law", after(now + lasts - 1)).unwrap();
            assert_eq!(known.report(), "no adapter `law`: 404");
            now += lasts;
        }
        assert!(failures.check(&"law", after(now)).is_none());
        failures.note("law", &error, after(now));
        failures.forget(&"law");
        assert!(failures.check(&"law", after(now)).is_none());
    }

    #[test]
    fn what_may_pass_says_when_it_is_tried_again() {
        let start = Instant::now();
        let (nine, six) = (Duration::from_secs(9), Duration::from_secs(6));
        let mut failures = Failures::new(nine, nine);
        let busy = Error::new(ErrorKind::Limit, "busy").with_retry_after(six);
        assert_eq!(again(&busy).retry_after(), Some(six), "to all who waited for it");
        assert!(!again(&busy.with_retryable(false)).is_retryable());
        failures.note("law", &Error::new(ErrorKind::Unavailable, "away"), start);
        let told = failures.check(&"law", start + Duration::from_secs(3)).unwrap();
        assert_eq!(told.retry_after(), Some(six));
        failures.note("low", &Error::new(ErrorKind::NotFound, "none"), start);
        assert!(!failures.check(&"low", start).unwrap().is_retryable());
    }

    #[test]
    fn many_failures_take_a_bounded_place() {
        let now = Instant::now();
        let mut failures = Failures::new(Duration::from_secs(9), Duration::from_secs(9));
        for n in 0..3 * MAX {
            failures.note(n, &Error::invalid("x"), now + Duration::from_micros(n as u64));
        }
        assert!(failures.by_key.len() <= MAX);
        assert!(failures.check(&(3 * MAX - 1), now).is_some(), "the latest is known");
    }
}
