//! What is known of adapters at one time. Nothing here waits.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Weak},
    time::{Duration, Instant},
};

use openledger_core::{AdapterId, Error, ErrorKind, Result};
use openledger_model::AdapterFiles;

use super::{
    AdapterCounts, AdapterOptions, Budget, Compose, Residency, Resident,
    failures::Failures,
    merge::{Copy, Merged},
    recipe::{Material, Ready},
    residency,
    sources::SourceName,
    tier::{Full, Kept, Tier},
};
use crate::{Lease, flights::Flights};

pub(super) struct State {
    pub(super) aliases: HashMap<Arc<str>, Alias>,
    pub(super) memory: Tier<Material>,
    pub(super) ready: Tier<Ready>,
    pub(super) merged: Merged,
    pub(super) fetches: Flights<SourceName, Fetched>,
    pub(super) preparations: Flights<AdapterId, Ready>,
    pub(super) failures: Failures<Failed>,
    pub(super) counts: AdapterCounts,
    /// What sources gave lately, and when it was asked for.
    found: HashMap<SourceName, (AdapterId, Turn)>,
    turn: Turn,
    /// What was fetched and found no room in memory, because all there waits to be made ready, too.
    pub(super) loose: Vec<Weak<AdapterFiles>>,
    /// Bytes, ready, of what was made ready and found no room.
    refused: HashMap<AdapterId, u64>,
    /// When a name was last taken away.
    unloaded: Turn,
    sweep_at: usize,
    sweep_found_at: usize,
}

/// Which of two things happened later.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub(super) struct Turn(u64);

/// What an alias names, and since when.
#[derive(Clone, Debug)]
pub(super) struct Alias {
    pub(super) origin: Origin,
    pub(super) id: AdapterId,
    pub(super) turn: Turn,
    /// What it keeps ready.
    pub(super) pinned: Option<Lease>,
    /// Whether it was given on purpose; others are forgotten with what they name.
    pub(super) given: bool,
}

/// Where what an alias names comes from.
#[derive(Clone, Debug)]
pub(super) enum Origin {
    Held(Material),
    Source(SourceName),
    Composed(Compose),
}

/// What came from a source, and when it was asked for.
#[derive(Clone, Debug)]
pub(super) struct Fetched {
    pub(super) material: Material,
    pub(super) turn: Turn,
}

/// What may fail.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(super) enum Failed {
    Fetch(SourceName),
    Prepare(AdapterId),
}

impl State {
    pub(super) fn new(options: &AdapterOptions) -> Self {
        let [first, longest] = options.failures;
        Self {
            aliases: HashMap::new(),
            memory: Tier::new(options.memory_bytes),
            ready: Tier::new(options.ready_bytes),
            merged: Merged::new(options.merged_bytes),
            fetches: Flights::new(),
            preparations: Flights::new(),
            failures: Failures::new(first, longest),
            counts: AdapterCounts::default(),
            found: HashMap::new(),
            loose: Vec::new(),
            refused: HashMap::new(),
            turn: Turn(0),
            unloaded: Turn(0),
            sweep_at: 1024,
            sweep_found_at: 1024,
        }
    }

    pub(super) fn next_turn(&mut self) -> Turn {
        self.turn.0 += 1;
        self.turn
    }

    /// Takes what `alias` names, if it is ready.
    pub(super) fn take_ready(&mut self, alias: &str, now: Instant) -> Option<Lease> {
        let id = self.aliases.get(alias)?.id;
        self.take_lease(id, now)
    }

    /// Takes the merged copy of an adapter, or else the adapter if it is ready.
    pub(super) fn take_lease(&mut self, id: AdapterId, now: Instant) -> Option<Lease> {
        self.merged.take(id, now).or_else(|| Some(self.ready.take(id, now)?.lease))
    }

    /// What keeps an adapter ready that `lease` is on: its own matrices, were it merged or not. None if it was
    /// unmerged meanwhile, and those made room.
    pub(super) fn pin_of(&self, lease: &Lease) -> Option<Lease> {
        if !lease.is_merged() {
            return Some(lease.clone());
        }
        let copy = self.merged.get(lease.id()).map(|copy| &copy.pairs);
        let ready = || self.ready.get(lease.id()).map(|ready| &ready.lease);
        copy.or_else(ready).cloned()
    }

    /// Takes what `alias` names, if it is in memory.
    pub(super) fn take_memory(&mut self, alias: &str, now: Instant) -> Option<Fetched> {
        let Alias { id, turn, .. } = *self.aliases.get(alias)?;
        Some(Fetched { material: self.memory.take(id, now)?, turn })
    }

    /// Remembers what a source gave, so that it is found in memory by whoever asks before a name is
    /// settled.
    pub(super) fn keep_found(&mut self, name: &SourceName, id: AdapterId, turn: Turn) {
        if self.found.get(name).is_some_and(|(_, known)| *known > turn) {
            return;
        }
        if self.found.len() >= self.sweep_found_at {
            let memory = &self.memory;
            self.found.retain(|_, (id, _)| memory.contains(*id));
            self.sweep_found_at = 1024 + 2 * self.found.len();
        }
        self.found.insert(name.clone(), (id, turn));
    }

    /// Takes what a source gave, if it is in memory still and no name was taken away since.
    pub(super) fn take_found(&mut self, name: &SourceName, now: Instant) -> Option<Fetched> {
        let &(id, turn) = self.found.get(name).filter(|(_, turn)| *turn > self.unloaded)?;
        Some(Fetched { material: self.memory.take(id, now)?, turn })
    }

    /// Refuses to fetch more while what has no room in memory is as many adapters as are fetched at a
    /// time, and as many bytes as there is room for.
    pub(super) fn check_loose(&mut self, most: usize) -> Result<()> {
        self.loose.retain(|files| files.strong_count() > 0);
        if self.loose.len() < most {
            return Ok(());
        }
        let held: Vec<_> = self.loose.iter().filter_map(Weak::upgrade).collect();
        let bytes: usize = held.iter().map(|files| files.config.len() + files.weights.len()).sum();
        let budget = self.memory.budget();
        if (bytes as u64) < budget {
            return Ok(());
        }
        let count = held.len();
        let message = format!(
            "{count} adapters wait to be made ready, {bytes} bytes over the {budget} for memory"
        );
        Err(Error::new(ErrorKind::Limit, message).with_retryable(true))
    }

    /// Checks that `id` would find room among what is ready, as far as its size is known.
    pub(super) fn check_room(&mut self, id: AdapterId) -> Result<()> {
        let bytes = self.refused.get(&id).copied().unwrap_or(1);
        self.ready.check_room(bytes).map_err(|full| {
            self.counts.refusals += 1;
            no_room(full)
        })
    }

    /// Keeps what is ready, in the place of what nobody leases; returns that, for the caller to drop.
    pub(super) fn keep_ready(&mut self, ready: Ready, now: Instant) -> Result<Vec<Ready>> {
        let (id, bytes) = (ready.lease.id(), ready.bytes());
        let kept = self.ready.keep(id, ready, now);
        if kept.is_ok() {
            self.refused.remove(&id);
        } else {
            // The work was for nothing, and is not done again until there is room.
            if self.refused.len() >= MAX_REFUSED {
                self.refused.clear();
            }
            self.refused.insert(id, bytes);
            self.counts.refusals += 1;
        }
        kept.map_err(no_room)
    }

    /// Takes a name away, and from whoever asked for it before what it would be given again for.
    pub(super) fn take_away(&mut self, name: &str) -> Option<Alias> {
        // Of one that is not known it may be loaded just now.
        self.unloaded = self.next_turn();
        self.aliases.remove(name)
    }

    /// Lets `alias` name `id`, unless it was given to something later than `turn`, or is not known and
    /// may have been taken away since.
    ///
    /// Returns what it kept ready, for the caller to drop.
    pub(super) fn settle(
        &mut self,
        alias: &str,
        (origin, id, turn): (&Origin, AdapterId, Turn),
        ready: Option<&Lease>,
    ) -> Vec<Lease> {
        let pin = ready.and_then(|ready| self.pin_of(ready));
        if let Some(known) = self.aliases.get_mut(alias) {
            if known.turn >= turn {
                return Vec::new();
            }
            let before = std::mem::replace(&mut known.id, id);
            known.turn = turn;
            // What is pinned is what the alias names.
            let pinned =
                known.pinned.as_mut().zip(pin).map(|(known, pin)| std::mem::replace(known, pin));
            let merged = self.forget_merged(before).map(|copy| copy.ready.lease);
            return pinned.into_iter().chain(merged).collect();
        }
        // Which names were taken away is not kept: any may have been.
        if turn <= self.unloaded {
            return Vec::new();
        }
        self.sweep();
        let alias = Arc::from(alias);
        let new = Alias { origin: origin.clone(), id, turn, pinned: None, given: false };
        self.aliases.insert(alias, new);
        Vec::new()
    }

    /// Gives `alias` to what is ready, whatever it named before; returns that, for the caller to drop.
    pub(super) fn give(
        &mut self,
        alias: &str,
        origin: Origin,
        ready: &Lease,
    ) -> Option<(Alias, Option<Copy>)> {
        let turn = self.next_turn();
        let pinned = self.aliases.get(alias).is_some_and(|known| known.pinned.is_some());
        let pinned = if pinned { self.pin_of(ready) } else { None };
        let new = Alias { origin, id: ready.id(), turn, pinned, given: true };
        let before = self.aliases.insert(Arc::from(alias), new)?;
        let merged = self.forget_merged(before.id);
        Some((before, merged))
    }

    /// Takes the merged copy of an adapter away, if no alias names that any more.
    fn forget_merged(&mut self, id: AdapterId) -> Option<Copy> {
        self.merged.get(id)?;
        let named = self.aliases.values().any(|alias| alias.id == id);
        if named { None } else { self.merged.remove(id) }
    }

    /// Forgets that fetching from `origin` failed: what it gave last is good.
    pub(super) fn forget_failures(&mut self, origin: &Origin) {
        if let Origin::Source(name) = origin {
            self.failures.forget(&Failed::Fetch(name.clone()));
        }
    }

    /// Checks that `alias` names `expected`.
    pub(super) fn check_named(&self, alias: &str, expected: Option<AdapterId>) -> Result<()> {
        let named = self.aliases.get(alias).map(|alias| alias.id);
        if named == expected {
            return Ok(());
        }
        let say =
            |id: Option<AdapterId>| id.map_or_else(|| "nothing".to_owned(), |id| id.to_string());
        let message = format!("`{alias}` names {}, not {} as expected", say(named), say(expected));
        Err(Error::new(ErrorKind::Conflict, message))
    }

    /// Takes out of the tiers what nobody leases of `id`, and the merged copy, for the caller to drop.
    pub(super) fn release(
        &mut self,
        id: AdapterId,
    ) -> (Option<Ready>, Option<Material>, Option<Lease>) {
        let merged = self.merged.remove(id).map(|copy| copy.ready.lease);
        let leased = self.ready.iter().any(|(other, ready, _)| other == id && ready.holds() > 1);
        let ready = if leased { None } else { self.ready.remove(id) };
        (ready, self.memory.remove(id), merged)
    }

    /// Takes `id` out of memory, if nothing good came of it yet and it could be fetched again.
    pub(super) fn distrust(&mut self, id: AdapterId) -> Option<Material> {
        let held = |alias: &Alias| alias.id == id && matches!(alias.origin, Origin::Held(_));
        if self.ready.contains(id) || self.aliases.values().any(held) {
            return None;
        }
        self.memory.remove(id)
    }

    /// Forgets names that were only asked for and name nothing in memory.
    fn sweep(&mut self) {
        if self.aliases.len() < self.sweep_at {
            return;
        }
        let (memory, ready) = (&self.memory, &self.ready);
        self.aliases.retain(|_, alias| {
            let there = memory.contains(alias.id) || ready.contains(alias.id);
            alias.given || alias.pinned.is_some() || there || self.merged.get(alias.id).is_some()
        });
        self.sweep_at = 1024 + 2 * self.aliases.len();
    }

    pub(super) fn counts(&self) -> AdapterCounts {
        AdapterCounts {
            ready_evictions: self.ready.evictions(),
            memory_evictions: self.memory.evictions(),
            ..self.counts
        }
    }

    pub(super) fn residency(&self, now: Instant) -> Residency {
        let mut by_id: BTreeMap<AdapterId, Resident> = BTreeMap::new();
        let blank = |id| Resident {
            id,
            aliases: Vec::new(),
            tier: residency::Tier::Source,
            ranks: Vec::new(),
            ready_bytes: 0,
            memory_bytes: 0,
            merged_bytes: 0,
            pinned: false,
            leases: 0,
            idle: None,
        };
        let sooner = |known: Option<Duration>, used: Instant| {
            let idle = now.saturating_duration_since(used);
            Some(known.map_or(idle, |known| known.min(idle)))
        };
        for (id, material, used) in self.memory.iter() {
            let resident = by_id.entry(id).or_insert_with(|| blank(id));
            resident.tier = residency::Tier::Memory;
            resident.memory_bytes = material.bytes();
            resident.idle = sooner(resident.idle, used);
        }
        for (id, ready, used) in self.ready.iter() {
            let resident = by_id.entry(id).or_insert_with(|| blank(id));
            resident.tier = residency::Tier::Ready;
            resident.ready_bytes = ready.bytes();
            resident.ranks = ready.ranks.to_vec();
            resident.leases = ready.holds() - 1;
            resident.idle = sooner(resident.idle, used);
        }
        for (id, Copy { ready, used, .. }) in self.merged.iter() {
            // It is ready beside its base as well, and the copy holds a lease on that.
            let resident = by_id.entry(id).or_insert_with(|| blank(id));
            resident.merged_bytes = ready.bytes();
            resident.leases = (resident.leases + ready.holds()).saturating_sub(2);
            resident.idle = sooner(resident.idle, *used);
        }
        for (name, alias) in &self.aliases {
            if !alias.given && !by_id.contains_key(&alias.id) {
                continue;
            }
            let resident = by_id.entry(alias.id).or_insert_with(|| blank(alias.id));
            resident.aliases.push(name.to_string());
            if alias.pinned.is_some() {
                resident.pinned = true;
                resident.leases = resident.leases.saturating_sub(1);
            }
        }
        let mut adapters: Vec<Resident> = by_id.into_values().collect();
        adapters.iter_mut().for_each(|resident| resident.aliases.sort_unstable());
        // Those that are nowhere come last.
        adapters.sort_by_key(|resident| (resident.idle.is_none(), resident.idle, resident.id));
        Residency {
            adapters,
            ready: Budget { used: self.ready.used(), max: self.ready.budget() },
            memory: Budget { used: self.memory.used(), max: self.memory.budget() },
            merged: Budget { used: self.merged.used(), max: self.merged.budget() },
        }
    }
}

/// The most adapters of which it is remembered how large they are.
const MAX_REFUSED: usize = 4096;

/// The error when everything that is ready is leased. It passes.
fn no_room(full: Full) -> Error {
    let message = format!(
        "no room for another adapter: {} of {} bytes are leased; wait for answers to end",
        full.used, full.budget
    );
    Error::new(ErrorKind::Limit, message).with_retryable(true)
}
