//! Adapters by name: what clients may name, and what administrators do with names.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Component, Path, PathBuf},
    sync::{PoisonError, RwLock},
};

use http::StatusCode;
use openledger_core::{AdapterId, Error, ErrorKind, Result};
use openledger_serve::{AdapterName, Adapters, Directory, Lease, ListAdapters, Origin};
use tokio::sync::Mutex;

use crate::{error::Failure, metrics::Metrics};

/// The longest name, in bytes.
const MAX_NAME: usize = 128;

/// The adapters a server offers.
#[derive(Debug, Default)]
pub(crate) struct Shelf {
    adapters: Option<Adapters>,
    /// The folder that whole paths are within, without links in its own path.
    folder: Option<PathBuf>,
    names: RwLock<Names>,
    /// Held while a name is given or taken away, so that comparing and giving are one.
    changes: Mutex<()>,
}

/// What names there are beside those that are loaded.
#[derive(Debug, Default)]
struct Names {
    /// Where the files of each are, within the folder.
    paths: BTreeMap<String, String>,
    /// Those taken away, which are not to come back by being asked for.
    gone: BTreeSet<String>,
}

/// What is known of a name.
#[derive(Clone, Debug)]
pub(crate) struct Known {
    /// Where its files are, within the folder; its name if it came another way.
    pub(crate) path: String,
    /// What it names; none before it is loaded.
    pub(crate) id: Option<AdapterId>,
    /// Whether it is answered from a merged copy.
    pub(crate) merged: bool,
}

/// What a name has to stand for before it is given anew.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Expected {
    /// Nothing.
    Nothing,
    /// Something.
    Anything,
    /// This.
    Id(AdapterId),
}

impl Shelf {
    /// Takes adapters, and the folder that they load from, if it is one, to list what is in it.
    pub(crate) async fn open(adapters: Adapters, folder: Option<&Path>) -> Result<Self> {
        let mut names = Names::default();
        let mut root = None;
        if let Some(folder) = folder {
            let cannot = |e: std::io::Error| {
                Error::new(ErrorKind::Unavailable, "cannot read the folder of adapters")
                    .with_source(e)
            };
            root = Some(folder.canonicalize().map_err(cannot)?);
            let listed = Directory::open(folder)?.list().await?;
            let listed = listed.iter().map(AdapterName::as_str).filter(|name| is_name(name));
            names.paths = listed.map(|name| (name.to_owned(), name.to_owned())).collect();
        }
        Ok(Self {
            adapters: Some(adapters),
            folder: root,
            names: RwLock::new(names),
            changes: Mutex::default(),
        })
    }

    /// Lists what is known, by name.
    pub(crate) fn list(&self) -> BTreeMap<String, Known> {
        let names = self.names.read().unwrap_or_else(PoisonError::into_inner);
        let listed = names.paths.iter();
        let mut known: BTreeMap<String, Known> = listed
            .map(|(name, path)| {
                (name.clone(), Known { path: path.clone(), id: None, merged: false })
            })
            .collect();
        let resident = self.adapters.as_ref().map(Adapters::residency).unwrap_or_default();
        for adapter in resident.adapters {
            for alias in adapter.aliases.into_iter().filter(|alias| !names.gone.contains(alias)) {
                let path = alias.clone();
                let named = known.entry(alias).or_insert(Known { path, id: None, merged: false });
                (named.id, named.merged) = (Some(adapter.id), adapter.merged_bytes > 0);
            }
        }
        known
    }

    /// Takes a lease on what a name stands for; loads it if it is not ready.
    pub(crate) async fn lease(&self, name: &str, metrics: &Metrics) -> Result<Lease, Failure> {
        let adapters = self.adapters.as_ref().filter(|_| is_name(name) && !self.is_gone(name));
        let adapters = adapters.ok_or_else(|| Failure::unknown_model(name))?;
        if let Some(ready) = adapters.ready(name) {
            return Ok(ready);
        }
        let lease = adapters.lease(name).await;
        metrics.adapter(lease.is_ok());
        lease.map_err(|e| failed(name, e))
    }

    /// Gives a name to the adapter at a path, if the name stands for what is expected.
    pub(crate) async fn put(
        &self,
        name: &str,
        path: &str,
        expected: Expected,
        metrics: &Metrics,
    ) -> Result<AdapterId, Failure> {
        if !is_name(name) {
            let message = "the name of an adapter is of letters, digits and `._-`, and begins with none of these";
            return Err(Failure::field("lora_name", message));
        }
        let adapters = self.adapters()?;
        let path = self.within(path)?;
        let _changes = self.changes.lock().await;
        let known = self.list().contains_key(name);
        let is = match expected {
            // What is not loaded yet has to be looked at before it is compared.
            Expected::Id(_) if known => Some(self.lease(name, metrics).await?.id()),
            _ => None,
        };
        let (fits, says) = match expected {
            Expected::Nothing => (!known, format!("the adapter `{name}` is there already")),
            Expected::Anything => (known, format!("there is no adapter `{name}`")),
            Expected::Id(id) => (
                is == Some(id),
                match is {
                    Some(is) => format!("the adapter `{name}` is {is} now"),
                    None => format!("there is no adapter `{name}`"),
                },
            ),
        };
        if !fits {
            let code = "precondition_failed";
            return Err(Failure::new(StatusCode::PRECONDITION_FAILED, says).with_code(code));
        }
        let lease = adapters.assign(name, Origin::Named(path.clone())).await;
        metrics.adapter(lease.is_ok());
        let lease = lease.map_err(|e| failed(&path, e).with_param("lora_path"))?;
        let mut names = self.names.write().unwrap_or_else(PoisonError::into_inner);
        names.gone.remove(name);
        names.paths.insert(name.to_owned(), path);
        Ok(lease.id())
    }

    /// Takes a name away; answers under way keep their adapter.
    pub(crate) async fn remove(&self, name: &str) -> Result<(), Failure> {
        let adapters = self.adapters()?;
        let _changes = self.changes.lock().await;
        if self.is_gone(name) || !self.list().contains_key(name) {
            return Err(Failure::unknown_model(name).with_param("lora_name"));
        }
        // One that was never loaded is taken away all the same.
        let _ = adapters.unload(name);
        let mut names = self.names.write().unwrap_or_else(PoisonError::into_inner);
        names.paths.remove(name);
        names.gone.insert(name.to_owned());
        Ok(())
    }

    /// Answers what a name stands for from a merged copy.
    pub(crate) async fn merge(&self, name: &str) -> Result<AdapterId, Failure> {
        let adapters = self.offered(name)?;
        let merged = adapters.merge(name).await;
        let merged = merged.map_err(|e| failed(name, e).with_param("lora_name"))?;
        let _changes = self.changes.lock().await;
        // It may have been taken away or given to another while it was merged, which may be minutes.
        self.offered(name).inspect_err(|_| drop(adapters.unload(name)))?;
        let is = self.list().remove(name).filter(|known| known.merged).and_then(|known| known.id);
        match is == Some(merged.id()) {
            true => Ok(merged.id()),
            false => {
                let message = format!("`{name}` was given to another while it was merged");
                Err(Failure::new(StatusCode::CONFLICT, message).with_code("adapter_changed"))
            }
        }
    }

    /// Answers what a name stands for beside the base again.
    pub(crate) async fn unmerge(&self, name: &str) -> Result<AdapterId, Failure> {
        let _changes = self.changes.lock().await;
        let adapters = self.offered(name)?;
        if !self.list().get(name).is_some_and(|known| known.merged) {
            let message = format!("there is no merged copy of `{name}`");
            return Err(Failure::field("lora_name", message));
        }
        let lease = adapters.unmerge(name);
        let lease = lease.map_err(|e| failed(name, e).with_param("lora_name"))?;
        Ok(lease.id())
    }

    /// The adapters, if a name may be one of them.
    fn offered(&self, name: &str) -> Result<&Adapters, Failure> {
        let adapters = self.adapters()?;
        match is_name(name) && !self.is_gone(name) {
            true => Ok(adapters),
            false => Err(Failure::unknown_model(name).with_param("lora_name")),
        }
    }

    fn adapters(&self) -> Result<&Adapters, Failure> {
        self.adapters.as_ref().ok_or_else(|| {
            let message = "this server offers no adapters";
            Failure::new(StatusCode::NOT_FOUND, message).with_code("model_not_found")
        })
    }

    fn is_gone(&self, name: &str) -> bool {
        self.names.read().unwrap_or_else(PoisonError::into_inner).gone.contains(name)
    }

    /// Returns the name that a path has within the folder.
    fn within(&self, path: &str) -> Result<String, Failure> {
        let outside = || {
            let message = "the path is not within the server's folder of adapters";
            Failure::new(StatusCode::FORBIDDEN, message)
                .with_code("path_forbidden")
                .with_param("lora_path")
        };
        let path = Path::new(path);
        let path = match (path.is_absolute(), &self.folder) {
            (true, Some(folder)) => path.strip_prefix(folder).map_err(|_| outside())?,
            (true, None) => return Err(outside()),
            (false, _) => path,
        };
        let parts = path.components().filter(|part| *part != Component::CurDir);
        let parts: Option<Vec<&str>> = parts
            .map(|part| match part {
                Component::Normal(part) => part.to_str(),
                _ => None,
            })
            .collect();
        parts.filter(|parts| !parts.is_empty()).map(|parts| parts.join("/")).ok_or_else(outside)
    }
}

/// Says why an adapter cannot be had, without a path of this machine.
fn failed(name: &str, error: Error) -> Failure {
    match error.kind() {
        ErrorKind::NotFound => Failure::unknown_model(name),
        ErrorKind::Invalid | ErrorKind::Unsupported | ErrorKind::Corrupt => {
            Failure::new(StatusCode::UNPROCESSABLE_ENTITY, error.report())
                .with_code("adapter_does_not_fit")
        }
        ErrorKind::Limit if !error.is_retryable() => {
            Failure::new(StatusCode::UNPROCESSABLE_ENTITY, error.to_string())
                .with_code("adapter_too_large")
        }
        ErrorKind::Denied => {
            Failure::new(StatusCode::FORBIDDEN, error.to_string()).with_code("path_forbidden")
        }
        _ => error.into(),
    }
}

/// Whether it can name an adapter: in a URL, a file system and a metric alike.
fn is_name(name: &str) -> bool {
    (1..=MAX_NAME).contains(&name.len())
        && name.starts_with(|letter: char| letter.is_ascii_alphanumeric())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_path_is_a_name_within_the_folder_or_refused(path in r"(\.\./|/|[a-c]/|\./|~|etc/){0,6}[a-c.]{0,3}") {
            let shelf = Shelf { folder: Some("/srv/adapters".into()), ..Shelf::default() };
            if let Ok(name) = shelf.within(&path) {
                let parts = Path::new(&name).components();
                prop_assert!(parts.clone().all(|part| matches!(part, Component::Normal(_))));
                prop_assert!(parts.count() > 0 && !path.starts_with('/'));
            }
        }

        #[test]
        fn a_name_is_one_part_of_a_path(name in r"[a-zA-Z0-9./_\\% -]{0,12}") {
            if is_name(&name) {
                prop_assert!(Path::new(&name).components().count() == 1 && !name.contains(['/', '\\', '%']));
            }
        }
    }

    #[test]
    fn a_whole_path_within_the_folder_is_the_rest_of_it() {
        let shelf = Shelf { folder: Some("/srv/adapters".into()), ..Shelf::default() };
        assert_eq!(shelf.within("/srv/adapters/law").unwrap(), "law");
        assert_eq!(shelf.within("./team/law").unwrap(), "team/law");
        for path in ["/srv/adapters", "/srv/other", "/srv/adapters/../other", "", "."] {
            assert!(shelf.within(path).is_err(), "{path}");
        }
    }
}
