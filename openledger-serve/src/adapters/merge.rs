//! Merged copies: the base's matrices with an adapter's in them, for what is asked for most.

use std::{collections::HashMap, sync::Arc, time::Instant};

use openledger_core::{AdapterId, Error, ErrorKind, Result};

use super::{
    Adapters,
    handle::Inner,
    recipe::{Limits, Ready, Recipe},
    state::State,
    thread::on_thread,
    tier::{Full, Kept},
};
use crate::Lease;

/// The merged copies there are. None makes room for another: answers would change by their last bits.
pub(super) struct Merged {
    budget: u64,
    copies: HashMap<AdapterId, (Ready, Instant)>,
}

impl Merged {
    pub(super) fn new(budget: u64) -> Self {
        Self { budget, copies: HashMap::new() }
    }

    pub(super) const fn budget(&self) -> u64 {
        self.budget
    }

    pub(super) fn used(&self) -> u64 {
        self.iter().map(|(_, ready, _)| ready.bytes()).sum()
    }

    pub(super) fn contains(&self, id: AdapterId) -> bool {
        self.copies.contains_key(&id)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (AdapterId, &Ready, Instant)> {
        self.copies.iter().map(|(id, (ready, used))| (*id, ready, *used))
    }

    /// Takes one to use it.
    pub(super) fn take(&mut self, id: AdapterId, now: Instant) -> Option<Ready> {
        let (ready, used) = self.copies.get_mut(&id)?;
        *used = now;
        Some(ready.clone())
    }

    pub(super) fn remove(&mut self, id: AdapterId) -> Option<Lease> {
        Some(self.copies.remove(&id)?.0.lease)
    }

    /// Says whether there is room for `bytes`.
    fn check_room(&self, bytes: u64) -> Result<(), Full> {
        let (used, budget) = (self.used(), self.budget);
        if used.saturating_add(bytes) <= budget { Ok(()) } else { Err(Full { used, budget }) }
    }

    fn keep(&mut self, ready: Ready, now: Instant) -> Result<(), Full> {
        self.check_room(ready.bytes())?;
        self.copies.insert(ready.lease.id(), (ready, now));
        Ok(())
    }
}

impl Adapters {
    /// Makes a merged copy of what `name` names, from which it is answered from then on, whatever its name:
    /// at the speed of the base, for as much memory as the base has at the layers it adapts
    /// ([`Lease::merged`]).
    ///
    /// For an adapter that is asked for so much that its rows fill steps by themselves. The copy is there
    /// until [`unmerge`](Self::unmerge), or until no alias names the adapter; new weights under its name are
    /// not merged. Its answers may differ from those before by rounding, and do not share a cache with them.
    ///
    /// # Errors
    /// Those of [`lease`](Self::lease) and of [`Lease::merged`];
    /// [`ErrorKind::Limit`] if [`merged_bytes`](super::AdapterOptions::merged_bytes) are taken;
    /// [`ErrorKind::Conflict`], retryable, if the name was given to another meanwhile.
    pub async fn merge(&self, name: &str) -> Result<Lease> {
        let (id, recipe) = self.0.named(name).await?;
        let now = self.0.options.clock.now();
        {
            let mut state = self.0.lock();
            if let Some(known) = state.merged.take(id, now) {
                return Ok(known.lease);
            }
            state.merged.check_room(1).map_err(no_room)?;
        }
        let permit = self.0.composing.pass().await?;
        let this = Arc::clone(&self.0);
        let merged = on_thread(permit, move |is_awaited| match is_awaited() {
            true => this.merge_here(&recipe),
            false => Err(Error::new(ErrorKind::Unavailable, "nobody waits for it")),
        });
        let merged = merged.await?;
        let (lease, now) = (merged.lease.clone(), self.0.options.clock.now());
        let left = {
            let mut state = self.0.lock();
            if state.aliases.get(name).is_none_or(|alias| alias.id != id) {
                let message = format!("`{name}` was given to another while it was merged");
                return Err(Error::new(ErrorKind::Conflict, message).with_retryable(true));
            }
            // Another call may have been sooner.
            match state.merged.take(id, now) {
                Some(known) => return Ok(known.lease),
                None => state.merged.keep(merged, now).map_err(no_room)?,
            }
            state.pin_as(&lease)
        };
        drop(left);
        Ok(lease)
    }

    /// Answers what `name` names by its own matrices again; returns the lease on them. Who holds a lease on
    /// the merged copy keeps it.
    ///
    /// # Errors
    /// Those of [`lease`](Self::lease); it goes on being answered from the merged copy then.
    /// [`ErrorKind::NotFound`] if there is no merged copy of it.
    pub async fn unmerge(&self, name: &str) -> Result<Lease> {
        self.0.lock().check_merged(name)?;
        let (id, recipe) = self.0.named(name).await?;
        let lease = self.0.prepare_pairs(recipe).await?;
        let left = {
            let mut state = self.0.lock();
            (state.merged.remove(id), state.pin_as(&lease))
        };
        drop(left);
        Ok(lease)
    }
}

impl State {
    fn check_merged(&self, name: &str) -> Result<()> {
        match self.aliases.get(name) {
            Some(alias) if self.merged.contains(alias.id) => Ok(()),
            _ => Err(Error::new(ErrorKind::NotFound, format!("no merged copy of `{name}`"))),
        }
    }
}

impl Inner {
    /// Finds what `name` names, and lets it name that from then on.
    async fn named(self: &Arc<Self>, name: &str) -> Result<(AdapterId, Recipe)> {
        let located = self.locate(name).await?;
        let recipe = located.recipe.clone();
        let lease = self.prepare_named(name, located).await?;
        Ok((lease.id(), recipe))
    }

    fn merge_here(&self, recipe: &Recipe) -> Result<Ready> {
        let merged = recipe.merge(self.model.network(), Limits::new(&self.options));
        merged.map_err(|unfit| unfit.error)
    }
}

fn no_room(full: Full) -> Error {
    let message = format!(
        "no room for another merged copy: {} of {} bytes are taken; unmerge one or raise `merged_bytes`",
        full.used, full.budget
    );
    Error::new(ErrorKind::Limit, message)
}
