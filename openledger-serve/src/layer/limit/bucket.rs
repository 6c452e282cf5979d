//! A bucket that leaks.

use std::time::Duration;

use super::MINUTE;

/// How full a tenant's minute is: units flow out at the rate, and no more than a minute's fit in.
///
/// A unit counts as [`UNIT`] drops, of which as many leak in a nanosecond as units may come in a minute:
/// integers, so that nothing is lost however often it is looked at.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Bucket {
    drops: u128,
    /// What could have leaked so far, had it always been full: the time, in drops.
    gone: u128,
}

/// A time, in drops that can have leaked until then.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Leaked(u128);

/// Drops in a unit.
const UNIT: u128 = MINUTE.as_nanos();

impl Bucket {
    /// Lets `time` pass.
    pub(super) fn leak(&mut self, rate: u32, time: Duration) {
        let gone = time.as_nanos().saturating_mul(rate.into());
        self.drops = self.drops.saturating_sub(gone);
        self.gone = self.gone.saturating_add(gone);
    }

    /// Returns how long it takes until `units` more fit: none, if they do; `None`, if they never do.
    pub(super) fn wait(&self, rate: u32, units: u64) -> Option<Duration> {
        if units > u64::from(rate) {
            return None;
        }
        let over = (self.drops + u128::from(units) * UNIT).saturating_sub(u128::from(rate) * UNIT);
        let nanos = over.div_ceil(u128::from(rate.max(1)));
        Some(u64::try_from(nanos).map_or(Duration::MAX, Duration::from_nanos))
    }

    /// Puts units in; says when the last of them will have leaked.
    pub(super) fn fill(&mut self, units: u64) -> Leaked {
        self.drops += u128::from(units) * UNIT;
        Leaked(self.gone.saturating_add(self.drops))
    }

    /// Takes units out again, as far as they have not leaked: what came first leaks first.
    ///
    /// The level is then what it would be had they never been put in, unless others took theirs out in
    /// between.
    pub(super) fn give_back(&mut self, units: u64, last: Leaked) {
        let left = last.0.saturating_sub(self.gone);
        self.drops = self.drops.saturating_sub(left.min(u128::from(units) * UNIT));
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.drops == 0
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn after_the_wait_it_fits_and_a_moment_before_it_does_not(
            rate in 1u32..100_000,
            parts in proptest::collection::vec((0u64..50_000, 0u64..70_000_000_000), 1..20),
        ) {
            let mut bucket = Bucket::default();
            for (units, nanos) in parts {
                bucket.leak(rate, Duration::from_nanos(nanos));
                let Some(wait) = bucket.wait(rate, units) else {
                    prop_assert!(units > u64::from(rate));
                    continue;
                };
                prop_assert!(wait <= MINUTE);
                if let Some(before) = wait.checked_sub(Duration::from_nanos(1)) {
                    let mut early = bucket;
                    early.leak(rate, before);
                    prop_assert!(early.wait(rate, units).unwrap() > Duration::ZERO);
                }
                bucket.leak(rate, wait);
                prop_assert_eq!(bucket.wait(rate, units), Some(Duration::ZERO));
                bucket.fill(units);
            }
        }
    }
}
