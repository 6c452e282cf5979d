//! One tier: things by content, within a number of bytes; of those nobody holds the least lately used
//! goes first.

use std::{
    collections::{BTreeMap, HashMap},
    time::Instant,
};

use openledger_core::AdapterId;

/// What a tier keeps.
pub(super) trait Kept: Clone {
    /// Bytes of memory.
    fn bytes(&self) -> u64;

    /// How many hold it, the tier among them.
    fn holds(&self) -> usize;
}

#[derive(Debug)]
pub(super) struct Tier<T> {
    budget: u64,
    used: u64,
    evictions: u64,
    entries: HashMap<AdapterId, Entry<T>>,
    /// The entries by when they were used.
    order: BTreeMap<u64, AdapterId>,
    turn: u64,
}

#[derive(Debug)]
struct Entry<T> {
    kept: T,
    turn: u64,
    used: Instant,
}

/// There is no room, because what is there is held.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Full {
    pub(super) used: u64,
    pub(super) budget: u64,
}

impl<T: Kept> Tier<T> {
    pub(super) fn new(budget: u64) -> Self {
        let (entries, order) = (HashMap::new(), BTreeMap::new());
        Self { budget, used: 0, evictions: 0, entries, order, turn: 0 }
    }

    /// Bytes of all that is kept.
    pub(super) const fn used(&self) -> u64 {
        self.used
    }

    pub(super) const fn budget(&self) -> u64 {
        self.budget
    }

    /// How many were dropped for others.
    pub(super) const fn evictions(&self) -> u64 {
        self.evictions
    }

    pub(super) fn contains(&self, id: AdapterId) -> bool {
        self.entries.contains_key(&id)
    }

    pub(super) fn get(&self, id: AdapterId) -> Option<&T> {
        self.entries.get(&id).map(|entry| &entry.kept)
    }

    /// Takes one to use it.
    pub(super) fn take(&mut self, id: AdapterId, now: Instant) -> Option<T> {
        let entry = self.entries.get_mut(&id)?;
        self.order.remove(&entry.turn);
        self.turn += 1;
        (entry.turn, entry.used) = (self.turn, now);
        self.order.insert(self.turn, id);
        Some(entry.kept.clone())
    }

    /// Keeps one, if room can be made for it, and returns those it took the place of: they are dropped
    /// by the caller, who may hold a lock.
    pub(super) fn keep(&mut self, id: AdapterId, kept: T, now: Instant) -> Result<Vec<T>, Full> {
        if self.contains(id) {
            return Ok(Vec::new());
        }
        let bytes = kept.bytes();
        let leaving = self.leaving(bytes)?;
        let left: Vec<T> = leaving.into_iter().filter_map(|id| self.remove(id)).collect();
        self.evictions += left.len() as u64;
        self.turn += 1;
        self.used += bytes;
        self.order.insert(self.turn, id);
        self.entries.insert(id, Entry { kept, turn: self.turn, used: now });
        Ok(left)
    }

    pub(super) fn remove(&mut self, id: AdapterId) -> Option<T> {
        let entry = self.entries.remove(&id)?;
        self.order.remove(&entry.turn);
        self.used -= entry.kept.bytes();
        Some(entry.kept)
    }

    /// Says whether `bytes` could be kept now.
    pub(super) fn check_room(&self, bytes: u64) -> Result<(), Full> {
        self.leaving(bytes).map(drop)
    }

    /// Lists what is kept, least lately used first.
    pub(super) fn iter(&self) -> impl Iterator<Item = (AdapterId, &T, Instant)> {
        self.order.values().map(|id| {
            let entry = &self.entries[id];
            (*id, &entry.kept, entry.used)
        })
    }

    /// Chooses who makes room; nobody, if it would not be enough.
    fn leaving(&self, bytes: u64) -> Result<Vec<AdapterId>, Full> {
        let mut used = self.used;
        let mut leaving = Vec::new();
        for (id, kept, _) in self.iter() {
            if used.saturating_add(bytes) <= self.budget {
                break;
            }
            if kept.holds() == 1 {
                used -= kept.bytes();
                leaving.push(id);
            }
        }
        match used.saturating_add(bytes) <= self.budget {
            true => Ok(leaving),
            false => Err(Full { used, budget: self.budget }),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use openledger_core::B256;
    use proptest::prelude::*;

    use super::*;

    impl Kept for Arc<u64> {
        fn bytes(&self) -> u64 {
            **self
        }

        fn holds(&self) -> usize {
            Self::strong_count(self)
        }
    }

    fn id(n: u8) -> AdapterId {
        AdapterId::from(B256::repeat_byte(n))
    }

    #[test]
    fn the_least_lately_used_goes_first_unless_it_is_held() {
        let now = Instant::now();
        let mut tier = Tier::new(30);
        for n in 0..3 {
            assert!(tier.keep(id(n), Arc::new(10), now).unwrap().is_empty());
        }
        let held = tier.take(id(1), now).unwrap();
        drop(tier.take(id(0), now));
        assert_eq!(tier.keep(id(3), Arc::new(10), now).unwrap().len(), 1);
        assert!(!tier.contains(id(2)), "the others were used later");
        tier.keep(id(4), Arc::new(20), now).unwrap();
        assert!(tier.contains(id(1)) && !tier.contains(id(0)) && !tier.contains(id(3)));
        let full = tier.keep(id(5), Arc::new(21), now).unwrap_err();
        assert_eq!(full, Full { used: 10, budget: 30 });
        assert!(tier.contains(id(4)), "nothing goes for what does not fit");
        drop(held);
        tier.keep(id(5), Arc::new(21), now).unwrap();
        assert_eq!((tier.used(), tier.evictions()), (21, 5), "both others had to go");
    }

    proptest! {
        #[test]
        fn the_budget_is_kept_and_bytes_add_up(
            steps in proptest::collection::vec((0u8..12, 1u64..9, any::<bool>()), 0..200),
        ) {
            let now = Instant::now();
            let mut tier = Tier::new(20);
            let mut held = Vec::new();
            for (n, bytes, hold) in steps {
                let before = tier.used();
                match tier.keep(id(n), Arc::new(bytes), now) {
                    Ok(_) if hold => held.extend(tier.take(id(n), now)),
                    Ok(_) => {}
                    Err(_) => {
                        prop_assert_eq!(tier.used(), before);
                        held.clear();
                    }
                }
                prop_assert!(tier.used() <= 20);
                prop_assert_eq!(tier.iter().map(|(_, kept, _)| **kept).sum::<u64>(), tier.used());
                prop_assert_eq!(tier.order.len(), tier.entries.len());
                for kept in &held {
                    prop_assert!(tier.iter().any(|(_, other, _)| Arc::ptr_eq(kept, other)));
                }
            }
        }
    }
}
