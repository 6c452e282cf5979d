//! A memory of wrong keys.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use crate::ApiLimits;

/// The most addresses remembered: about a megabyte.
const MAX_ADDRESSES: usize = 16_384;

/// Which addresses sent wrong keys lately.
///
/// Right keys are refused as well while an address is: otherwise guessing would go on. Behind a proxy
/// all clients have one address; then the proxy has to count, and this be switched off.
#[derive(Debug, Default)]
pub(super) struct Guard(Mutex<HashMap<IpAddr, Failures>>);

#[derive(Clone, Copy, Debug)]
struct Failures {
    count: u32,
    last: Instant,
}

impl Guard {
    /// Returns how long the address is refused.
    pub(super) fn refused(&self, from: IpAddr, limits: &ApiLimits) -> Option<Duration> {
        let failures = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let found = failures.get(&network(from))?;
        let left = limits.lockout.checked_sub(found.last.elapsed())?;
        (limits.failures > 0 && found.count >= limits.failures && !left.is_zero()).then_some(left)
    }

    /// Counts a wrong key.
    pub(super) fn remember(&self, from: IpAddr, limits: &ApiLimits) {
        let mut failures = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        if failures.len() >= MAX_ADDRESSES {
            failures.retain(|_, old| now - old.last < limits.lockout);
        }
        if failures.len() >= MAX_ADDRESSES {
            // So many guess at once that none can be told from another.
            let oldest = failures.iter().min_by_key(|(_, old)| old.last).map(|(from, _)| *from);
            oldest.and_then(|oldest| failures.remove(&oldest));
        }
        let entry = failures.entry(network(from)).or_insert(Failures { count: 0, last: now });
        if now - entry.last >= limits.lockout {
            entry.count = 0;
        }
        *entry = Failures { count: entry.count.saturating_add(1), last: now };
    }
}

/// Returns what one person has: of IPv6 a network of 64 bits.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::from([a, b, c, d, 0, 0, 0, 0])
        }
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_refused_for_a_while_and_others_are_not() {
        let limits = ApiLimits::default().with_failures(3, Duration::from_millis(40));
        let (guard, [a, b]) = (Guard::default(), [1, 2].map(|n| IpAddr::from([10, 0, 0, n])));
        for _ in 0..3 {
            assert_eq!(guard.refused(a, &limits), None);
            guard.remember(a, &limits);
        }
        assert!(guard.refused(a, &limits).is_some());
        assert_eq!(guard.refused(b, &limits), None);
        let begun = Instant::now();
        while guard.refused(a, &limits).is_some() {
            assert!(begun.elapsed() < Duration::from_secs(5));
            std::thread::yield_now();
        }
        guard.remember(a, &limits);
        assert_eq!(guard.refused(a, &limits), None, "it counts anew");
    }

    #[test]
    fn memory_is_bounded_and_an_ipv6_network_is_one_guesser() {
        let limits = ApiLimits::default().with_failures(2, Duration::from_secs(60));
        let guard = Guard::default();
        for n in 0..MAX_ADDRESSES as u32 + 10 {
            guard.remember(IpAddr::from(n.to_be_bytes()), &limits);
        }
        assert_eq!(guard.0.lock().unwrap().len(), MAX_ADDRESSES);
        let [a, b] = ["2001:db8::1", "2001:db8::2"].map(|text| text.parse().unwrap());
        guard.remember(a, &limits);
        guard.remember(b, &limits);
        assert!(guard.refused(a, &limits).is_some());
    }
}
