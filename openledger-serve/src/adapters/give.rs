//! Names given, taken away, moved and pinned.

use std::sync::Arc;

use openledger_core::{AdapterId, Error, ErrorKind, Result};
use openledger_model::Adapter;

use super::{
    Adapters, Compose,
    handle::Inner,
    load::Located,
    recipe::{Limits, Material, Recipe},
    source::not_found,
    state,
};
use crate::Lease;

/// Where an adapter for an alias comes from.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Origin {
    /// The application, which has it in memory.
    Adapter(Arc<Adapter>),
    /// A source, by the name an adapter has there.
    Named(String),
    /// Several adapters.
    Composed(Compose),
}

impl Adapters {
    /// Gives `alias` to `adapter`, in place of what it named; returns the lease on the new one.
    ///
    /// The adapter stays in memory as long as an alias names it. It is made ready here, on the thread
    /// that calls.
    ///
    /// # Errors
    /// [`ErrorKind::Limit`] if it is over a limit, memory is full of such adapters, or everything that
    /// is ready is leased, which passes. The alias then names what it named.
    pub fn insert(&self, alias: &str, adapter: impl Into<Arc<Adapter>>) -> Result<Lease> {
        let material = self.0.hold(adapter.into())?;
        let recipe = Recipe::One(material.clone());
        let now = self.0.options.clock.now();
        let known = self.0.lock().take_lease(recipe.id(), now);
        let lease = match known {
            Some(lease) => lease,
            None => {
                let limits = Limits::new(&self.0.options);
                let prepared = recipe.prepare(self.0.model.network(), limits);
                self.0.admit(prepared.map_err(|unfit| unfit.error)?)?.lease
            }
        };
        let before = self.0.lock().give(alias, state::Origin::Held(material), &lease);
        drop(before);
        Ok(lease)
    }

    /// Gives `alias` to what is at `origin` now, in place of what it named; returns the lease on it.
    ///
    /// # Errors
    /// Those of [`lease`](Self::lease) and [`compose`](Self::compose). The alias then names what it
    /// named.
    pub async fn assign(&self, alias: &str, origin: impl Into<Origin>) -> Result<Lease> {
        let (origin, lease) = self.0.bring(origin.into()).await?;
        let before = self.0.lock().give(alias, origin, &lease);
        drop(before);
        Ok(lease)
    }

    /// Gives `alias` to what is at `origin`, if it names `expected` until then, or nothing.
    ///
    /// # Errors
    /// [`ErrorKind::Conflict`] naming both ids if it names another; else as [`assign`](Self::assign).
    pub async fn replace(
        &self,
        alias: &str,
        expected: Option<AdapterId>,
        origin: impl Into<Origin>,
    ) -> Result<Lease> {
        self.0.lock().check_named(alias, expected)?;
        let (origin, lease) = self.0.bring(origin.into()).await?;
        let before = {
            let mut state = self.0.lock();
            state.check_named(alias, expected)?;
            state.give(alias, origin, &lease)
        };
        drop(before);
        Ok(lease)
    }

    /// Loads again what `name` names from where it comes from, whatever is kept or failed lately.
    ///
    /// This is how new weights under an old name become known. Who holds a lease on the old ones keeps
    /// it.
    ///
    /// # Errors
    /// Those of [`lease`](Self::lease), and [`ErrorKind::Conflict`] if the name was given to another
    /// meanwhile. The name then names what it named.
    pub async fn load(&self, name: &str) -> Result<Lease> {
        let (origin, asked) = self.0.origin(&mut self.0.lock(), name)?;
        let located = self.0.realise(&origin, asked, true).await?;
        let id = located.recipe.id();
        self.0.lock().failures.forget(&state::Failed::Prepare(id));
        let lease = self.0.prepare_named(name, located).await?;
        // A later load may have brought the same.
        match self.0.lock().check_named(name, Some(id)) {
            Ok(()) => Ok(lease),
            Err(e) => Err(Error::new(e.kind(), format!("loaded `{name}` too late")).with_source(e)),
        }
    }

    /// Takes a name away, with its pin; whoever holds a lease keeps the adapter, and whoever waits for
    /// one still gets it. A name that a source knows comes back when it is asked for after that.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`].
    pub fn unload(&self, name: &str) -> Result<()> {
        let (alias, left) = {
            let mut state = self.0.lock();
            let mut alias = state.take_away(name).ok_or_else(|| not_found(name))?;
            // A pin is a lease like any other.
            drop(alias.pinned.take());
            // What nobody names is kept no longer than it is leased.
            let named = state.aliases.values().any(|other| other.id == alias.id);
            let id = alias.id;
            (alias, (!named).then(|| state.release(id)))
        };
        drop((alias, left));
        Ok(())
    }

    /// Keeps what `name` names ready until [`unpin`](Self::unpin) is called, whatever it names then.
    ///
    /// # Errors
    /// Those of [`lease`](Self::lease).
    pub async fn pin(&self, name: &str) -> Result<Lease> {
        let lease = self.lease(name).await?;
        let mut state = self.0.lock();
        let pin = state.pin_of(&lease);
        let alias = state.aliases.get_mut(name).filter(|alias| alias.id == lease.id());
        let alias = alias.zip(pin);
        let changed = || {
            let message = format!(
                "`{name}` was given to another or unmerged while it was loaded: pin it again"
            );
            Error::new(ErrorKind::Conflict, message).with_retryable(true)
        };
        let (alias, pin) = alias.ok_or_else(changed)?;
        alias.pinned = Some(pin);
        Ok(lease)
    }

    /// Lets what `name` names make room for others again.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] if nothing is called so; a name that is not pinned is none.
    pub fn unpin(&self, name: &str) -> Result<()> {
        let pinned = {
            let mut state = self.0.lock();
            state.aliases.get_mut(name).ok_or_else(|| not_found(name))?.pinned.take()
        };
        drop(pinned);
        Ok(())
    }
}

impl Inner {
    /// Makes ready what is at `origin` now.
    async fn bring(self: &Arc<Self>, origin: Origin) -> Result<(state::Origin, Lease)> {
        let origin = match origin {
            Origin::Adapter(adapter) => state::Origin::Held(self.hold(adapter)?),
            Origin::Named(name) => state::Origin::Source(self.options.sources.parse(&name)?),
            Origin::Composed(compose) => state::Origin::Composed(compose),
        };
        let asked = self.lock().next_turn();
        let Located { recipe, .. } = self.realise(&origin, asked, true).await?;
        self.lock().failures.forget(&state::Failed::Prepare(recipe.id()));
        let lease = self.prepare(recipe).await?;
        self.lock().forget_failures(&origin);
        Ok((origin, lease))
    }

    /// Counts an adapter of the application's as being in memory.
    fn hold(&self, adapter: Arc<Adapter>) -> Result<Material> {
        let now = self.options.clock.now();
        let id = adapter.id();
        let (material, left) = {
            let mut state = self.lock();
            match state.memory.take(id, now) {
                Some(known) => (known, Vec::new()),
                None => {
                    let material = Material::Adapter(adapter);
                    let kept = state.memory.keep(id, material.clone(), now);
                    let left = kept.map_err(|full| {
                        let message = format!(
                            "no memory for another adapter: {} of {} bytes are those of aliases",
                            full.used, full.budget
                        );
                        Error::new(ErrorKind::Limit, message)
                    })?;
                    (material, left)
                }
            }
        };
        drop(left);
        Ok(material)
    }
}

impl From<Arc<Adapter>> for Origin {
    fn from(adapter: Arc<Adapter>) -> Self {
        Self::Adapter(adapter)
    }
}

impl From<&str> for Origin {
    fn from(name: &str) -> Self {
        Self::Named(name.to_owned())
    }
}

impl From<Compose> for Origin {
    fn from(compose: Compose) -> Self {
        Self::Composed(compose)
    }
}
