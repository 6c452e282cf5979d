//! From what an adapter is made of to a lease: work, and room for what comes out.

use std::sync::Arc;

use openledger_core::Result;

use super::{
    handle::Inner,
    load::Located,
    recipe::{Limits, Ready, Recipe},
    state::{Failed, Origin, no_room},
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
            Ok(lease) => state.settle(name, (&origin, id, turn), Some(lease)),
            // It is in memory, so that the next try needs no source.
            Err(error) if error.is_retryable() => {
                let new = !state.aliases.contains_key(name);
                new.then(|| state.settle(name, (&origin, id, turn), None)).flatten()
            }
            Err(error) => {
                if let Origin::Source(source) = origin {
                    state.failures.note(Failed::Fetch(source), error, now);
                }
                None
            }
        };
        drop(state);
        drop(dropped);
        prepared
    }

    /// Makes an adapter ready, unless it is.
    pub(super) async fn prepare(self: &Arc<Self>, recipe: Recipe) -> Result<Lease> {
        let now = self.options.clock.now();
        let id = recipe.id();
        let flight = {
            let mut state = self.lock();
            if let Some(ready) = state.ready.take(id, now) {
                return Ok(ready.lease);
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
        self.check_room(1)?;
        let permit =
            self.preparing.pass().await.inspect_err(|_| self.lock().counts.refusals += 1)?;
        let began = self.options.clock.now();
        let (id, parts) = (recipe.id(), recipe.parts());
        let (model, limits) = (Arc::clone(&self.model), Limits::new(&self.options));
        let prepared = on_thread(permit, move |_| recipe.prepare(model.network(), limits)).await;
        let now = self.options.clock.now();
        match prepared {
            Ok(ready) => {
                {
                    let mut state = self.lock();
                    state.counts.preparations += 1;
                    state.counts.preparing += now.saturating_duration_since(began);
                    state.failures.forget(&Failed::Prepare(id));
                }
                self.admit(ready)
            }
            Err(error) => {
                let mut state = self.lock();
                state.counts.failures += 1;
                state.failures.note(Failed::Prepare(id), &error, now);
                // Its source may have a better one by the next try.
                let left: Vec<_> = parts.iter().map(|part| state.distrust(*part)).collect();
                drop(state);
                drop(left);
                Err(error)
            }
        }
    }

    /// Keeps what is ready, in the place of what nobody leases.
    pub(super) fn admit(&self, ready: Ready) -> Result<Ready> {
        let now = self.options.clock.now();
        let id = ready.lease.id();
        let left = {
            let mut state = self.lock();
            if let Some(known) = state.ready.take(id, now) {
                return Ok(known);
            }
            state.ready.keep(id, ready.clone(), now).map_err(|full| {
                state.counts.refusals += 1;
                no_room(full)
            })?
        };
        drop(left);
        Ok(ready)
    }

    fn check_room(&self, bytes: u64) -> Result<()> {
        let mut state = self.lock();
        let Err(full) = state.ready.check_room(bytes) else { return Ok(()) };
        state.counts.refusals += 1;
        Err(no_room(full))
    }
}
