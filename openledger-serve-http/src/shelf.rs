//! Adapters by name: the one place that knows where they come from.
//!
//! What is asked of it is what the routes need; how an adapter is found, loaded and kept is behind it.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock},
};

use http::StatusCode;
use openledger_core::{AdapterId, Error, ErrorKind, Result};
use openledger_model::{Adapter, AdapterFiles, Model};
use openledger_serve::{Adapters, Lease};
use tokio::{sync::Mutex, task::spawn_blocking};

use crate::{error::Failure, metrics::Metrics};

/// What has to lie in an adapter's folder.
const FILES: [&str; 2] = ["adapter_config.json", "adapter_model.safetensors"];
/// The longest name, in bytes.
const MAX_NAME: usize = 128;

/// The adapters a server offers.
#[derive(Debug)]
pub(crate) struct Shelf {
    adapters: Adapters,
    /// The folder that paths are within, without links in its own path.
    folder: Option<PathBuf>,
    known: RwLock<BTreeMap<String, Known>>,
    /// Held while an alias is given or taken away, so that comparing and giving are one.
    changes: Mutex<()>,
}

/// What is known of a name.
#[derive(Clone, Debug)]
pub(crate) struct Known {
    /// Where its files are, within the folder.
    pub(crate) path: String,
    /// What it named when it was last used; none before that.
    pub(crate) id: Option<AdapterId>,
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
    /// Offers none.
    pub(crate) fn empty() -> Self {
        Self {
            adapters: Adapters::new(),
            folder: None,
            known: RwLock::default(),
            changes: Mutex::default(),
        }
    }

    /// Takes adapters that are there and a folder of more, each in a folder whose name is its name.
    pub(crate) fn open(adapters: Adapters, folder: Option<&Path>) -> Result<Self> {
        let cannot = |e: std::io::Error| {
            Error::new(ErrorKind::Unavailable, "cannot read the folder of adapters").with_source(e)
        };
        let folder = folder.map(fs::canonicalize).transpose().map_err(cannot)?;
        let mut known = BTreeMap::new();
        if let Some(folder) = &folder {
            for entry in fs::read_dir(folder).map_err(cannot)? {
                let entry = entry.map_err(cannot)?;
                let Ok(name) = entry.file_name().into_string() else { continue };
                if is_name(&name) && entry.path().join(FILES[0]).is_file() {
                    known.insert(name.clone(), Known { path: name, id: None });
                }
            }
        }
        Ok(Self { adapters, folder, known: RwLock::new(known), ..Self::empty() })
    }

    /// Lists what is known, by name.
    pub(crate) fn list(&self) -> BTreeMap<String, Known> {
        self.known.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Takes a lease on what a name stands for; loads it if nobody has asked for it yet.
    pub(crate) async fn lease(
        &self,
        name: &str,
        model: &Arc<Model>,
        metrics: &Metrics,
    ) -> Result<Lease, Failure> {
        let found = self.adapters.lease(name);
        if !matches!(&found, Err(e) if e.kind() == ErrorKind::NotFound) {
            return Ok(found?);
        }
        let known = || self.list().remove(name).ok_or_else(|| Failure::unknown_model(name));
        known()?;
        let _changes = self.changes.lock().await;
        // Somebody else may have loaded it meanwhile, or taken it away.
        if let Ok(lease) = self.adapters.lease(name) {
            return Ok(lease);
        }
        self.load(name, &known()?.path, model, metrics).await
    }

    /// Gives a name to the adapter in a folder, if the name stands for what is expected.
    pub(crate) async fn put(
        &self,
        name: &str,
        path: &str,
        expected: Expected,
        model: &Arc<Model>,
        metrics: &Metrics,
    ) -> Result<AdapterId, Failure> {
        if !is_name(name) {
            let message = "the name of an adapter is of letters, digits and `._-`, and begins with none of these";
            return Err(Failure::field("lora_name", message));
        }
        let _changes = self.changes.lock().await;
        let is = match self.adapters.lease(name) {
            Ok(lease) => Some(lease.id()),
            Err(_) if self.list().contains_key(name) && expected != Expected::Anything => {
                // Known and not loaded yet: what it is has to be looked at before it is compared.
                let path = self.list().remove(name).map(|known| known.path).unwrap_or_default();
                Some(self.load(name, &path, model, metrics).await?.id())
            }
            Err(_) => self.list().remove(name).and_then(|known| known.id),
        };
        let known = is.is_some() || self.list().contains_key(name);
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
        self.load(name, path, model, metrics).await.map(|lease| lease.id())
    }

    /// Takes a name away; answers under way keep their adapter.
    pub(crate) async fn remove(&self, name: &str) -> Result<(), Failure> {
        let _changes = self.changes.lock().await;
        let was_loaded = self.adapters.remove(name).is_ok();
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        match known.remove(name).is_some() || was_loaded {
            true => Ok(()),
            false => Err(Failure::unknown_model(name).with_param("lora_name")),
        }
    }

    /// Loads the adapter in a folder and gives it a name. Whoever calls holds `changes`.
    async fn load(
        &self,
        name: &str,
        path: &str,
        model: &Arc<Model>,
        metrics: &Metrics,
    ) -> Result<Lease, Failure> {
        let loaded = self.read(path, model).await;
        metrics.adapter(loaded.is_ok());
        let (adapter, path) = loaded?;
        let (adapters, model) = (self.adapters.clone(), Arc::clone(model));
        let alias = name.to_owned();
        let given = spawn_blocking(move || adapters.insert(alias, model.network(), &adapter));
        let lease = given.await.map_err(|_| broken())?;
        let known = Known { path, id: Some(lease.id()) };
        self.known.write().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned(), known);
        Ok(lease)
    }

    /// Reads an adapter; also returns its path within the folder.
    async fn read(&self, path: &str, model: &Arc<Model>) -> Result<(Adapter, String), Failure> {
        let Some(folder) = self.folder.clone() else {
            let message = "this server has no folder of adapters";
            return Err(Failure::new(StatusCode::FORBIDDEN, message).with_code("no_adapter_folder"));
        };
        let (path, model) = (PathBuf::from(path), Arc::clone(model));
        let read = move || {
            let place = contained(&folder, &path)?;
            let files = AdapterFiles::read(&place).map_err(|e| unreadable(&e))?;
            let adapter = Adapter::load(model.network(), &files).map_err(|e| {
                Failure::new(StatusCode::UNPROCESSABLE_ENTITY, e.report())
                    .with_code("adapter_does_not_fit")
            })?;
            let within = place.strip_prefix(&folder).unwrap_or(&place);
            Ok((adapter, within.to_string_lossy().into_owned()))
        };
        spawn_blocking(read).await.map_err(|_| broken())?
    }
}

/// Returns where `path` leads, if that and the files there are within `folder`, whatever links there are.
///
/// Who can write to the folder can still change a link between this and the reading: the folder is
/// trusted, the request is not.
fn contained(folder: &Path, path: &Path) -> Result<PathBuf, Failure> {
    let outside = || {
        let message = "the path is not within the server's folder of adapters";
        Failure::new(StatusCode::FORBIDDEN, message)
            .with_code("path_forbidden")
            .with_param("lora_path")
    };
    // `..` is refused before it is looked at, so that answers do not tell what exists elsewhere.
    if path.components().any(|part| part == std::path::Component::ParentDir)
        || (path.is_absolute() && !path.starts_with(folder))
    {
        return Err(outside());
    }
    let missing = |_| unreadable(&Error::new(ErrorKind::NotFound, ""));
    let place = fs::canonicalize(folder.join(path)).map_err(missing)?;
    for file in FILES {
        let file = fs::canonicalize(place.join(file));
        if !place.starts_with(folder) || !file.map_err(missing)?.starts_with(folder) {
            return Err(outside());
        }
    }
    Ok(place)
}

/// Says that files cannot be read, without a path of this machine.
fn unreadable(error: &Error) -> Failure {
    let (status, message) = match error.kind() {
        ErrorKind::NotFound => (StatusCode::NOT_FOUND, "there is no adapter at this path"),
        ErrorKind::Limit => (StatusCode::UNPROCESSABLE_ENTITY, "the adapter's files are too large"),
        _ => (StatusCode::SERVICE_UNAVAILABLE, "the adapter's files cannot be read"),
    };
    Failure::new(status, message).with_code("adapter_unreadable").with_param("lora_path")
}

fn broken() -> Failure {
    Failure::new(StatusCode::INTERNAL_SERVER_ERROR, "loading the adapter failed")
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
        fn a_path_leads_within_the_folder_or_nowhere(path in r"(\.\./|/|[a-c]/|\./|~|etc/){0,6}[a-c.]{0,3}") {
            let scratch = tempfile::tempdir().unwrap();
            let folder = fs::canonicalize(scratch.path()).unwrap().join("adapters");
            for place in [folder.join("a/b"), folder.join("c"), scratch.path().join("b")] {
                fs::create_dir_all(&place).unwrap();
                for file in FILES {
                    fs::write(place.join(file), b"").unwrap();
                }
            }
            if let Ok(place) = contained(&folder, Path::new(&path)) {
                prop_assert!(place == folder.join("a/b") || place == folder.join("c"));
            }
        }

        #[test]
        fn a_name_is_one_part_of_a_path(name in r"[a-zA-Z0-9./_\\% -]{0,12}") {
            if is_name(&name) {
                prop_assert!(Path::new(&name).components().count() == 1 && !name.contains(['/', '\\', '%']));
            }
        }
    }
}
