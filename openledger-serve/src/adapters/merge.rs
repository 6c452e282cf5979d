//! Merged copies: the base's matrices with an adapter's in them, for what is asked for most.

use std::{collections::HashMap, sync::Arc, time::Instant};

use openledger_core::{AdapterId, Error, ErrorKind, Result};

use super::{
    Adapters,
    handle::Inner,
    load::Located,
    recipe::{Limits, Ready, Recipe},
    state::{Fetched, State},
    thread::on_thread,
    tier::Kept,
};
use crate::{Lease, lease::WeakLease};

/// The merged copies there are. None makes room for another: answers would change by their last bits.
pub(super) struct Merged {
    budget: u64,
    copies: HashMap<AdapterId, Copy>,
    /// What was taken away and may be in use still, with its bytes.
    leaving: Vec<(WeakLease, u64)>,
}

/// A merged copy.
pub(super) struct Copy {
    pub(super) ready: Ready,
    /// The adapter beside its base, for when it is unmerged.
    pub(super) pairs: Lease,
    pub(super) used: Instant,
}

impl Merged {
    pub(super) fn new(budget: u64) -> Self {
        Self { budget, copies: HashMap::new(), leaving: Vec::new() }
    }

    pub(super) const fn budget(&self) -> u64 {
        self.budget
    }

    /// Bytes of all copies, those among them that were taken away and are in use still.
    pub(super) fn used(&self) -> u64 {
        let leaving = self.leaving.iter().filter(|(lease, _)| lease.is_held());
        let copies = self.copies.values().map(|copy| copy.ready.bytes());
        copies.chain(leaving.map(|(_, bytes)| *bytes)).sum()
    }

    pub(super) fn get(&self, id: AdapterId) -> Option<&Copy> {
        self.copies.get(&id)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (AdapterId, &Copy)> {
        self.copies.iter().map(|(id, copy)| (*id, copy))
    }

    /// Takes one to use it.
    pub(super) fn take(&mut self, id: AdapterId, now: Instant) -> Option<Lease> {
        let copy = self.copies.get_mut(&id)?;
        copy.used = now;
        Some(copy.ready.lease.clone())
    }

    /// Takes one away, for the caller to drop.
    pub(super) fn remove(&mut self, id: AdapterId) -> Option<Copy> {
        let copy = self.copies.remove(&id)?;
        self.leaving.retain(|(lease, _)| lease.is_held());
        self.leaving.push((copy.ready.lease.downgrade(), copy.ready.bytes()));
        Some(copy)
    }

    fn check_room(&self, bytes: u64) -> Result<()> {
        let (used, budget) = (self.used(), self.budget);
        if used.saturating_add(bytes) <= budget {
            return Ok(());
        }
        let kept: u64 = self.copies.values().map(|copy| copy.ready.bytes()).sum();
        let passes = kept.saturating_add(bytes) <= budget;
        let what = match passes {
            true => "wait for answers to end that use what was taken away",
            false => "unmerge another or raise `merged_bytes`",
        };
        let message = format!(
            "no room for a merged copy of {bytes} bytes: {used} of {budget} are taken; {what}"
        );
        Err(Error::new(ErrorKind::Limit, message).with_retryable(passes))
    }
}

impl Adapters {
    /// Makes a merged copy of what `name` names, from which it is answered from then on, by whatever name:
    /// at the speed of the base, for as much memory as the base has at the layers it adapts
    /// ([`Lease::merged`]).
    ///
    /// For an adapter that is asked for so much that its rows fill steps by themselves. The copy is there
    /// until [`unmerge`](Self::unmerge), or until no alias names the adapter; new weights under its name are
    /// not merged. Its answers may differ from those before by rounding, and share no cache with them.
    /// The adapter stays ready beside it. Once begun, a copy is made and kept, whether or not anybody waits.
    ///
    /// # Errors
    /// Those of [`lease`](Self::lease) and of [`Lease::merged`];
    /// [`ErrorKind::Limit`] if it does not fit in [`merged_bytes`](super::AdapterOptions::merged_bytes),
    /// where copies that were taken away count as long as answers use them (retryable if those are it);
    /// [`ErrorKind::Conflict`] if the name was given to another meanwhile, or all that it names has left
    /// memory and its source has something else now.
    pub async fn merge(&self, name: &str) -> Result<Lease> {
        let pairs = self.lease(name).await?;
        if pairs.is_merged() {
            return Ok(pairs);
        }
        let recipe = self.0.recipe_of(name, pairs.id()).await?;
        let permit = self.0.composing.pass().await?;
        let (this, name) = (Arc::clone(&self.0), name.to_owned());
        on_thread(permit, move |_| this.merge_here(&name, &recipe, pairs)).await
    }

    /// Answers what `name` names by its own matrices again; returns the lease on them. Who holds a lease on
    /// the merged copy keeps it.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] if there is no merged copy of it.
    pub fn unmerge(&self, name: &str) -> Result<Lease> {
        let copy = self.0.lock().unmerge(name);
        let copy = copy.ok_or_else(|| {
            Error::new(ErrorKind::NotFound, format!("no merged copy of `{name}`"))
        })?;
        Ok(copy.pairs)
    }
}

impl State {
    fn unmerge(&mut self, name: &str) -> Option<Copy> {
        let id = self.aliases.get(name)?.id;
        self.merged.remove(id)
    }

    fn check_names(&self, name: &str, id: AdapterId) -> Result<()> {
        if self.aliases.get(name).is_some_and(|alias| alias.id == id) {
            return Ok(());
        }
        let message = format!("`{name}` was taken away or given to another while it was merged");
        Err(Error::new(ErrorKind::Conflict, message).with_retryable(true))
    }
}

impl Inner {
    /// Finds what `id`, which `name` names, is made of; the name goes on naming it.
    async fn recipe_of(self: &Arc<Self>, name: &str, id: AdapterId) -> Result<Recipe> {
        let now = self.options.clock.now();
        let (origin, asked) = {
            let mut state = self.lock();
            match state.take_memory(name, now) {
                Some(Fetched { material, .. }) if material.id() == id => {
                    return Ok(Recipe::One(material));
                }
                _ => self.origin(&mut state, name)?,
            }
        };
        let Located { recipe, .. } = self.realise(&origin, asked, false).await?;
        if recipe.id() != id {
            let message = format!("what `{name}` comes from is not {id} any more: load it first");
            return Err(Error::new(ErrorKind::Conflict, message));
        }
        Ok(recipe)
    }

    /// Merges on this thread and keeps it, whether or not anybody waits for it still.
    fn merge_here(&self, name: &str, recipe: &Recipe, pairs: Lease) -> Result<Lease> {
        let id = pairs.id();
        {
            let mut state = self.lock();
            state.check_names(name, id)?;
            // Another call may have been sooner.
            if let Some(known) = state.merged.take(id, self.options.clock.now()) {
                return Ok(known);
            }
        }
        let room = |bytes| self.lock().merged.check_room(bytes);
        let merged = recipe.merge(self.model.network(), Limits::new(&self.options), &room);
        let ready = merged.map_err(|unfit| unfit.error)?;
        let mut state = self.lock();
        state.check_names(name, id)?;
        state.merged.check_room(ready.bytes())?;
        let lease = ready.lease.clone();
        let copy = Copy { ready, pairs, used: self.options.clock.now() };
        state.merged.copies.insert(id, copy);
        Ok(lease)
    }
}
