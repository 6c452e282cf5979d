//! From a name to what an adapter is made of: what waits for a source.

use std::sync::Arc;

use futures::future::try_join_all;
use openledger_core::{AdapterId, Error, Result};
use openledger_model::AdapterFiles;

use super::{
    Compose, Sources,
    handle::Inner,
    recipe::{Material, Recipe},
    sources::SourceName,
    state::{Failed, Fetched, Origin, State, Turn},
    thread::on_thread,
};

/// Where an adapter was found, and when.
#[derive(Debug)]
pub(super) struct Located {
    pub(super) origin: Origin,
    pub(super) recipe: Recipe,
    pub(super) turn: Turn,
}

impl Inner {
    /// Finds what `name` names, in memory or at its source.
    pub(super) async fn locate(self: &Arc<Self>, name: &str) -> Result<Located> {
        let now = self.options.clock.now();
        let (origin, asked) = {
            let mut state = self.lock();
            let (origin, asked) = self.origin(&mut state, name)?;
            if let Some(Fetched { material, turn }) = state.take_memory(name, now) {
                return Ok(Located { origin, recipe: Recipe::One(material), turn });
            }
            (origin, asked)
        };
        self.realise(&origin, asked, false).await
    }

    /// Says where what `name` names comes from, and that this was asked now.
    pub(super) fn origin(&self, state: &mut State, name: &str) -> Result<(Origin, Turn)> {
        let origin = match state.aliases.get(name) {
            Some(alias) => alias.origin.clone(),
            None => Origin::Source(self.options.sources.parse(name)?),
        };
        Ok((origin, state.next_turn()))
    }

    /// Finds what is at `origin`, which was `asked` for then; with `fresh` what is there now, not what
    /// was.
    pub(super) async fn realise(
        self: &Arc<Self>,
        origin: &Origin,
        asked: Turn,
        fresh: bool,
    ) -> Result<Located> {
        let (recipe, turn) = match origin {
            Origin::Composed(Compose { parts, combine }) => {
                // What cannot be is not fetched for.
                combine.check(parts.iter().map(|(_, coefficient)| *coefficient))?;
                let parts = parts.iter().map(|(name, coefficient)| {
                    let (this, name, coefficient) = (Arc::clone(self), name.clone(), *coefficient);
                    async move { Ok::<_, Error>((this.part(&name, fresh).await?, coefficient)) }
                });
                (Recipe::Several(*combine, try_join_all(parts).await?), asked)
            }
            single => {
                let Fetched { material, turn } = self.single(single, fresh).await?;
                (Recipe::One(material), turn)
            }
        };
        // What the name was given to meanwhile is later, and so is its being taken away.
        Ok(Located { origin: origin.clone(), recipe, turn: turn.min(asked) })
    }

    /// Finds a part of a composition.
    async fn part(self: &Arc<Self>, name: &str, fresh: bool) -> Result<Material> {
        let now = self.options.clock.now();
        let (origin, asked) = {
            let mut state = self.lock();
            let known = state.take_memory(name, now).filter(|_| !fresh);
            if let Some(Fetched { material, .. }) = known {
                return Ok(material);
            }
            self.origin(&mut state, name)?
        };
        if let Origin::Composed(_) = origin {
            let message = format!("`{name}` is composed itself: name its parts");
            return Err(Error::invalid(message));
        }
        let Fetched { material, turn } = self.single(&origin, fresh).await?;
        let mut state = self.lock();
        if !state.aliases.contains_key(name) {
            // Whoever asks for it next finds it in memory.
            state.settle(name, (&origin, material.id(), turn.min(asked)), None);
        }
        Ok(material)
    }

    async fn single(self: &Arc<Self>, origin: &Origin, fresh: bool) -> Result<Fetched> {
        match origin {
            Origin::Held(material) => {
                Ok(Fetched { material: material.clone(), turn: self.lock().next_turn() })
            }
            Origin::Source(name) => self.fetch(name, fresh).await,
            Origin::Composed(_) => Err(Error::invalid("a composition is no part")),
        }
    }

    async fn fetch(self: &Arc<Self>, name: &SourceName, fresh: bool) -> Result<Fetched> {
        let now = self.options.clock.now();
        let failed = Failed::Fetch(name.clone());
        let flight = {
            let mut state = self.lock();
            let under_way = if fresh { None } else { state.fetches.join(name) };
            match under_way {
                Some(flight) => flight,
                None => {
                    // It may be here, and the name not settled yet.
                    let here = state.take_found(name, now).filter(|_| !fresh);
                    if let Some(here) = here {
                        return Ok(here);
                    }
                    let known = state.failures.check(&failed, now).filter(|_| !fresh);
                    if let Some(error) = known {
                        return Err(error);
                    }
                    let turn = state.next_turn();
                    let work = Arc::clone(self).fetch_now(name.clone(), turn);
                    state.fetches.begin(name.clone(), work)
                }
            }
        };
        flight.land().await
    }

    async fn fetch_now(self: Arc<Self>, name: SourceName, turn: Turn) -> Result<Fetched> {
        let permit = self.fetching.pass().await;
        let most = self.options.max_fetches;
        let permit = permit
            .and_then(|permit| self.lock().check_loose(most).map(|()| permit))
            .inspect_err(|_| self.lock().counts.refusals += 1)?;
        let began = self.options.clock.now();
        let files = async {
            let files = self.options.sources.fetch(&name, self.options.files).await?;
            Sources::check(&name, &files, self.options.files)?;
            // Hashing what nobody waits for any more counts as a fetch until its end.
            on_thread(permit, move |_| Ok((files.id(), Arc::new(files)))).await
        };
        let fetched: Result<(AdapterId, Arc<AdapterFiles>)> = files.await;
        let now = self.options.clock.now();
        let (result, left) = {
            let mut state = self.lock();
            match fetched {
                Ok((id, files)) => {
                    state.counts.fetches += 1;
                    state.counts.fetching += now.saturating_duration_since(began);
                    let material = Material::Files(id, Arc::clone(&files));
                    state.keep_found(&name, id, turn);
                    let left = match state.memory.keep(id, material.clone(), now) {
                        Ok(left) => left,
                        // It is fetched again when it is asked for again.
                        Err(_) => {
                            state.loose.push(Arc::downgrade(&files));
                            Vec::new()
                        }
                    };
                    (Ok(Fetched { material, turn }), left)
                }
                Err(error) => {
                    state.counts.failures += 1;
                    state.failures.note(Failed::Fetch(name), &error, now);
                    (Err(error), Vec::new())
                }
            }
        };
        drop(left);
        result
    }
}
