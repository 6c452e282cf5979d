//! From what an adapter is made of to a lease: work, and room for what comes out.

use std::sync::Arc;

use openledger_core::Result;

use super::{
    handle::Inner,
    load::Located,
    recipe::{Limits, Ready, Recipe, Unfit},
    state::{Failed, Origin},
    thread::on_thread,
};
use crate::Lease;

impl Inner {
    /// Makes ready what `name` names, and lets it name that from then on.
    pub(super) async fn prepare_named(
        self: &Arc<Self>,
        name: &str,
        located: Located,
    ) -> Result<Lease> {
        let Located { origin, recipe, turn } = located;
        let id = recipe.id();
        let prepared = self.prepare(recipe).await;
        let now = self.options.clock.now();
        let mut state = self.lock();
        let dropped = match &prepared {
            Ok(lease) => {
                state.forget_failures(&origin);
                state.settle(name, (&origin, id, turn), Some(lease))
            }
            // It is in memory, so that the next try needs no source.
            Err(error) if error.is_retryable() => {
                let new = !state.aliases.contains_key(name);
                let settled = new.then(|| state.settle(name, (&origin, id, turn), None));
                settled.unwrap_or_default()
            }
            Err(error) => {
                if let Origin::Source(source) = origin {
                    state.failures.note(Failed::Fetch(source), error, now);
                }
                Vec::new()
            }
        };
        drop(state);
        drop(dropped);
        prepared
    }

    /// Makes an adapter ready, unless it is or there is a merged copy.
    pub(super) async fn prepare(self: &Arc<Self>, recipe: Recipe) -> Result<Lease> {
        let now = self.options.clock.now();
        let id = recipe.id();
        let flight = {
            let mut state = self.lock();
            if let Some(lease) = state.take_lease(id, now) {
                return Ok(lease);
            }
            match state.preparations.join(&id) {
                Some(flight) => flight,
                None => {
                    if let Some(error) = state.failures.check(&Failed::Prepare(id), now) {
                        return Err(error);
                    }
                    let work = Arc::clone(self).prepare_now(recipe);
                    state.preparations.begin(id, work)
                }
            }
        };
        Ok(flight.land().await?.lease)
    }

    async fn prepare_now(self: Arc<Self>, recipe: Recipe) -> Result<Ready> {
        // While all that is ready is leased, no work is done for nothing.
        self.lock().check_room(recipe.id())?;
        // What takes minutes keeps nobody waiting but its like.
        let gate = if recipe.takes_long() { &self.composing } else { &self.preparing };
        let permit = gate.pass().await.inspect_err(|_| self.lock().counts.refusals += 1)?;
        let this = Arc::clone(&self);
        on_thread(permit, move |_| this.prepare_here(recipe)).await
    }

    /// Makes an adapter ready on this thread and keeps it, whether or not anybody waits for it still.
    fn prepare_here(&self, recipe: Recipe) -> Result<Ready> {
        let began = self.options.clock.now();
        let id = recipe.id();
        {
            let mut state = self.lock();
            // Others who left may have had it made meanwhile.
            if let Some(ready) = state.ready.take(id, began) {
                return Ok(ready);
            }
            state.check_room(id)?;
        }
        let prepared = recipe.prepare(self.model.network(), Limits::new(&self.options));
        drop(recipe);
        let now = self.options.clock.now();
        let mut state = self.lock();
        match prepared {
            Ok(ready) => {
                state.counts.preparations += 1;
                state.counts.preparing += now.saturating_duration_since(began);
                state.failures.forget(&Failed::Prepare(id));
                drop(state);
                self.admit(ready)
            }
            Err(Unfit { error, part }) => {
                state.counts.failures += 1;
                state.failures.note(Failed::Prepare(id), &error, now);
                // Its source may have a better one by the next try.
                let left = part.and_then(|part| state.distrust(part));
                drop(state);
                drop(left);
                Err(error)
            }
        }
    }

    /// Keeps what is ready, in the place of what nobody leases.
    pub(super) fn admit(&self, ready: Ready) -> Result<Ready> {
        let now = self.options.clock.now();
        let left = {
            let mut state = self.lock();
            if let Some(known) = state.ready.take(ready.lease.id(), now) {
                return Ok(known);
            }
            state.keep_ready(ready.clone(), now)?
        };
        drop(left);
        Ok(ready)
    }
}
