//! Virtual token counters: who has been served how much, for fairness.
//!
//! Sheng et al., "Fairness in Serving Large Language Models" (OSDI 2024), algorithm 2. Whoever has
//! been served least comes first. One who comes back after a while begins where the least served of
//! those who waited all the time are, or where the last who waited was: idleness earns nothing.
//! Added here: weights, by which a charge is divided.

use std::collections::BTreeMap;

/// How much each of some keys has been served.
#[derive(Debug)]
pub(super) struct Counters<K> {
    by_key: BTreeMap<K, Counter>,
    /// What the last one who stopped waiting had been served.
    left_at: u64,
}

#[derive(Debug)]
struct Counter {
    served: u64,
    waiting: usize,
}

impl<K> Default for Counters<K> {
    fn default() -> Self {
        Self { by_key: BTreeMap::new(), left_at: 0 }
    }
}

impl<K: Clone + Ord> Counters<K> {
    /// One more request of `key` waits.
    pub(super) fn joined(&mut self, key: &K) {
        let level = self.level();
        let counter = self.entry(key, level);
        if counter.waiting == 0 {
            counter.served = counter.served.max(level);
        }
        counter.waiting += 1;
    }

    /// One request of `key` waits no more: it runs, or went away.
    pub(super) fn left(&mut self, key: &K) {
        let Some(counter) = self.by_key.get_mut(key) else { return };
        counter.waiting = counter.waiting.saturating_sub(1);
        if counter.waiting > 0 {
            return;
        }
        self.left_at = counter.served;
        let level = self.level();
        // They would come back at the level, whether they are known or not.
        self.by_key.retain(|_, counter| counter.waiting > 0 || counter.served > level);
    }

    /// Counts what `key` was given.
    pub(super) fn charge(&mut self, key: &K, amount: u64) {
        let level = self.level();
        let counter = self.entry(key, level);
        counter.served = counter.served.saturating_add(amount);
    }

    /// Returns how much `key` has been served; of one that is unknown, where it would begin.
    pub(super) fn served(&self, key: &K) -> u64 {
        self.by_key.get(key).map_or_else(|| self.level(), |counter| counter.served)
    }

    /// Whether anything is remembered of `key`.
    pub(super) fn knows(&self, key: &K) -> bool {
        self.by_key.contains_key(key)
    }

    /// Where one who comes begins.
    fn level(&self) -> u64 {
        let waiting = self.by_key.values().filter(|counter| counter.waiting > 0);
        waiting.map(|counter| counter.served).min().unwrap_or(self.left_at)
    }

    fn entry(&mut self, key: &K, level: u64) -> &mut Counter {
        self.by_key.entry(key.clone()).or_insert(Counter { served: level, waiting: 0 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn idleness_earns_nothing() {
        let mut counters = Counters::default();
        counters.joined(&"busy");
        counters.charge(&"busy", 1000);
        counters.joined(&"new");
        assert_eq!(counters.served(&"new"), 1000);
        counters.left(&"new");
        counters.charge(&"busy", 500);
        counters.joined(&"new");
        assert_eq!(counters.served(&"new"), 1500);
    }

    #[test]
    fn debts_are_kept_and_the_rest_forgotten() {
        let mut counters = Counters::default();
        counters.joined(&"one");
        counters.charge(&"one", 10);
        counters.left(&"one");
        counters.charge(&"one", 90);
        assert_eq!((counters.served(&"one"), counters.served(&"other")), (100, 10));
        for n in 0..1000 {
            let name = format!("{n}");
            let name = &*name.leak();
            counters.joined(&name);
            counters.charge(&name, 1);
            counters.left(&name);
        }
        assert!(!counters.knows(&"one"), "others were served more since");
        assert!(counters.by_key.len() < 3, "{counters:?}");
    }
}
