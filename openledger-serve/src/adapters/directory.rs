//! Adapters in a folder of folders.

use std::{
    fmt,
    fs::{self, File, Metadata},
    io::{self, Read},
    path::{Path, PathBuf},
};

use async_trait::async_trait;
use openledger_core::{Error, ErrorKind, Result};
use openledger_model::AdapterFiles;

use super::{
    AdapterName, AdapterSource, FileLimits, ListAdapters,
    source::{AT_ONCE, not_found},
    thread::on_thread,
};

/// How deep folders are looked into for adapters.
const MAX_DEPTH: usize = 4;
/// The most entries of folders that are looked at to list them.
const MAX_ENTRIES: usize = 1 << 17;

/// Adapters in a folder: `law` is the folder `law` in it, with PEFT's two files.
///
/// Nothing outside the folder is read, whatever its links point to. If a file changes while the two are
/// read they are read once more, and then it is an error. An adapter of which one file was replaced and
/// the other not yet looks like any other: whoever replaces one renames its folder, which is one step.
#[derive(Clone)]
pub struct Directory {
    root: PathBuf,
}

impl Directory {
    /// Takes the folder at `root`.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] or [`ErrorKind::Unavailable`] naming it, [`ErrorKind::Invalid`] if it is
    /// no folder.
    pub fn open(root: impl AsRef<Path>) -> Result<Self> {
        let path = root.as_ref();
        let failed = |e: io::Error| {
            Error::new(kind_of(&e), format!("cannot open `{}`", path.display())).with_source(e)
        };
        let root = path.canonicalize().map_err(failed)?;
        match root.is_dir() {
            true => Ok(Self { root }),
            false => Err(Error::invalid(format!("`{}` is no folder", path.display()))),
        }
    }

    fn read(&self, name: &AdapterName, limits: FileLimits) -> Result<AdapterFiles> {
        let stamps = || {
            Ok::<_, Error>([
                self.stamp(name, AdapterFiles::CONFIG)?,
                self.stamp(name, AdapterFiles::WEIGHTS)?,
            ])
        };
        for _ in 0..2 {
            let before = stamps()?;
            let (config, config_read) = self.read_file(name, AdapterFiles::CONFIG, limits)?;
            let (weights, weights_read) = self.read_file(name, AdapterFiles::WEIGHTS, limits)?;
            if before == [config_read, weights_read] && before == stamps()? {
                return Ok(AdapterFiles::new(config, weights));
            }
        }
        let message = format!("`{name}` is being replaced: its files changed while they were read");
        Err(Error::new(ErrorKind::Unavailable, message))
    }

    fn read_file(
        &self,
        name: &AdapterName,
        file: &str,
        limits: FileLimits,
    ) -> Result<(Vec<u8>, Stamp)> {
        let failed = |e: io::Error| failed(name, file, e);
        let path = self.find(name, file)?;
        let mut opened = File::open(&path).map_err(failed)?;
        let found = opened.metadata().map_err(failed)?;
        // Links may have changed since: what was opened must be what is inside.
        let stamp = Stamp::of(&found);
        if self.stamp(name, file)?.place != stamp.place || !found.is_file() {
            let message = format!("`{file}` of `{name}` changed while it was opened");
            return Err(Error::new(ErrorKind::Unavailable, message));
        }
        limits.check(name, file, found.len())?;
        let most = limits.of(file);
        let mut bytes = Vec::with_capacity(found.len().min(AT_ONCE) as usize);
        (&mut opened).take(most.saturating_add(1)).read_to_end(&mut bytes).map_err(failed)?;
        limits.check(name, file, bytes.len() as u64)?;
        Ok((bytes, stamp))
    }

    /// Finds the file, which is a regular one below the root.
    fn find(&self, name: &AdapterName, file: &str) -> Result<PathBuf> {
        let mut path = self.root.clone();
        path.extend(name.parts());
        path.push(file);
        let path = path.canonicalize().map_err(|e| failed(name, file, e))?;
        if !path.starts_with(&self.root) {
            let message = format!("`{name}` lies outside the folder of adapters");
            return Err(Error::new(ErrorKind::Denied, message));
        }
        match path.is_file() {
            true => Ok(path),
            false => Err(not_found(name.as_str())),
        }
    }

    fn stamp(&self, name: &AdapterName, file: &str) -> Result<Stamp> {
        let found = fs::metadata(self.find(name, file)?);
        found.map(|found| Stamp::of(&found)).map_err(|e| failed(name, file, e))
    }

    fn walk(&self) -> Result<Vec<AdapterName>> {
        let (mut names, mut looked) = (Vec::new(), 0);
        let mut folders = vec![(self.root.clone(), String::new(), 0)];
        while let Some((folder, prefix, depth)) = folders.pop() {
            let unread = |e: io::Error| {
                Error::new(kind_of(&e), "cannot list the folder of adapters").with_source(e)
            };
            for entry in fs::read_dir(&folder).map_err(unread)? {
                looked += 1;
                if looked > MAX_ENTRIES {
                    let message = format!("the folder of adapters has over {MAX_ENTRIES} entries");
                    return Err(Error::new(ErrorKind::Limit, message));
                }
                let entry = entry.map_err(unread)?;
                let Some(part) = entry.file_name().to_str().map(str::to_owned) else { continue };
                let Ok(name) = format!("{prefix}{part}").parse::<AdapterName>() else { continue };
                // Links are followed to adapters, and not to more folders: those may be circles.
                if self.find(&name, AdapterFiles::CONFIG).is_ok()
                    && self.find(&name, AdapterFiles::WEIGHTS).is_ok()
                {
                    names.push(name);
                } else if depth + 1 < MAX_DEPTH && entry.file_type().is_ok_and(|t| t.is_dir()) {
                    folders.push((entry.path(), format!("{name}/"), depth + 1));
                }
            }
        }
        names.sort_unstable();
        Ok(names)
    }
}

#[async_trait]
impl AdapterSource for Directory {
    async fn fetch(&self, name: &AdapterName, limits: FileLimits) -> Result<AdapterFiles> {
        let (this, name) = (self.clone(), name.clone());
        on_thread(move || this.read(&name, limits)).await
    }
}

#[async_trait]
impl ListAdapters for Directory {
    async fn list(&self) -> Result<Vec<AdapterName>> {
        let this = self.clone();
        on_thread(move || this.walk()).await
    }
}

impl fmt::Debug for Directory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Directory({})", self.root.display())
    }
}

/// What is another after a file was replaced or written to.
#[derive(Debug, Eq, PartialEq)]
struct Stamp {
    /// Which file it is, where the system says that.
    place: Option<(u64, u64)>,
    len: u64,
    modified: Option<std::time::SystemTime>,
}

impl Stamp {
    fn of(found: &Metadata) -> Self {
        #[cfg(unix)]
        let place = {
            use std::os::unix::fs::MetadataExt;
            Some((found.dev(), found.ino()))
        };
        #[cfg(not(unix))]
        let place = None;
        Self { place, len: found.len(), modified: found.modified().ok() }
    }
}

/// Says what failed without the path of the root: the message may reach whoever asked.
fn failed(name: &AdapterName, file: &str, e: io::Error) -> Error {
    match kind_of(&e) {
        ErrorKind::NotFound => {
            Error::new(ErrorKind::NotFound, format!("no adapter `{name}`: it has no `{file}`"))
        }
        kind => Error::new(kind, format!("cannot read `{file}` of `{name}`")),
    }
    .with_source(e)
}

fn kind_of(e: &io::Error) -> ErrorKind {
    match e.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => ErrorKind::NotFound,
        io::ErrorKind::PermissionDenied => ErrorKind::Denied,
        _ => ErrorKind::Unavailable,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG: &str = AdapterFiles::CONFIG;
    const WEIGHTS: &str = AdapterFiles::WEIGHTS;

    fn name(text: &str) -> AdapterName {
        text.parse().unwrap()
    }

    fn put(folder: &Path) {
        AdapterFiles::new(b"{}".to_vec(), b"weights".to_vec()).write(folder).unwrap();
    }

    #[test]
    #[cfg(unix)]
    fn links_that_leave_the_root_are_refused_and_those_inside_followed() {
        let (inside, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        put(&outside.path().join("secret"));
        put(&inside.path().join("law"));
        let link = |to: &Path, name: &str| {
            std::os::unix::fs::symlink(to, inside.path().join(name)).unwrap();
        };
        link(&outside.path().join("secret"), "folder");
        link(&inside.path().join("law"), "alias");
        link(inside.path(), "circle");
        fs::create_dir(inside.path().join("file")).unwrap();
        link(&outside.path().join("secret").join(CONFIG), &format!("file/{CONFIG}"));
        link(&outside.path().join("secret").join(WEIGHTS), &format!("file/{WEIGHTS}"));
        let directory = Directory::open(inside.path()).unwrap();
        for hostile in ["folder", "file"] {
            let error = directory.read(&name(hostile), FileLimits::default()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Denied, "{error}");
        }
        assert!(directory.read(&name("alias"), FileLimits::default()).is_ok());
        assert_eq!(directory.walk().unwrap(), [name("alias"), name("law")]);
    }

    #[test]
    fn what_is_no_file_is_not_waited_for() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("law").join(CONFIG)).unwrap();
        let directory = Directory::open(root.path()).unwrap();
        let error = directory.read(&name("law"), FileLimits::default()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
        assert!(!error.report().contains(root.path().to_str().unwrap()), "no path is told");
        fs::write(root.path().join("plain"), b"x").unwrap();
        let error = directory.read(&name("plain"), FileLimits::default()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
        assert!(Directory::open(root.path().join("plain")).is_err());
        assert!(Directory::open(root.path().join("nothing")).is_err());
    }

    #[test]
    fn a_stamp_tells_a_replaced_file() {
        let root = tempfile::tempdir().unwrap();
        put(&root.path().join("law"));
        let directory = Directory::open(root.path()).unwrap();
        let before = directory.stamp(&name("law"), WEIGHTS).unwrap();
        assert_eq!(directory.stamp(&name("law"), WEIGHTS).unwrap(), before);
        let other = AdapterFiles::new(b"{}".to_vec(), b"other!!!".to_vec());
        other.write(root.path().join("law")).unwrap();
        assert_ne!(directory.stamp(&name("law"), WEIGHTS).unwrap(), before);
    }
}
