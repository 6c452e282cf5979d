//! Adapters in a folder of folders.

use std::{
    fmt,
    fs::{self, File, Metadata, ReadDir},
    io::{self, Read},
    path::{Path, PathBuf},
};

use async_trait::async_trait;
use bytes::Bytes;
use openledger_core::{Error, ErrorKind, Result};
use openledger_kernels::Apart;
use openledger_model::AdapterFiles;

use super::{
    AdapterName, AdapterSource, FileLimits, ListAdapters, gate::Gate, source::not_found,
    thread::on_thread,
};

/// How deep folders are looked into for adapters.
const MAX_DEPTH: usize = 4;
/// The most entries of folders that are looked at to list them.
const MAX_ENTRIES: usize = 1 << 17;
/// The most adapters of a folder that are read at a time: more would wait for the disk.
const MAX_READS: usize = 16;
/// How much is read before it is asked whether anybody waits for it still: 4 MiB.
const AT_A_TIME: u64 = 4 << 20;

/// Adapters in a folder: `law` is the folder `law` in it, with PEFT's two files.
///
/// Nothing outside the folder is read, whatever its links point to. If a file changes while the two are
/// read they are read once more, and then it is an error. An adapter of which one file was replaced and
/// the other not yet looks like any other: whoever replaces one renames its folder, which is one step.
///
/// At most 16 adapters are read at a time, by all clones together, and what nobody waits for any more is
/// read no further.
#[derive(Clone)]
pub struct Directory {
    root: PathBuf,
    reading: Gate,
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
            // Who waits takes neither a thread nor memory.
            true => Ok(Self { root, reading: Gate::new(MAX_READS, usize::MAX) }),
            false => Err(Error::invalid(format!("`{}` is no folder", path.display()))),
        }
    }

    fn read(
        &self,
        name: &AdapterName,
        limits: FileLimits,
        wanted: &dyn Fn() -> bool,
    ) -> Result<AdapterFiles> {
        let stamps = || {
            Ok::<_, Error>([
                self.stamp(name, AdapterFiles::CONFIG)?,
                self.stamp(name, AdapterFiles::WEIGHTS)?,
            ])
        };
        for _ in 0..2 {
            let before = stamps()?;
            let (config, config_read) =
                self.read_file(name, AdapterFiles::CONFIG, limits, wanted)?;
            let (weights, weights_read) =
                self.read_file(name, AdapterFiles::WEIGHTS, limits, wanted)?;
            if before == [config_read, weights_read] && before == stamps()? {
                return Ok(AdapterFiles::new(config.to_vec(), weights));
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
        wanted: &dyn Fn() -> bool,
    ) -> Result<(Bytes, Stamp)> {
        let failed = |e: io::Error| failed(name, file, e);
        let path = self.find(name, file)?;
        let opened = File::open(&path).map_err(failed)?;
        let found = opened.metadata().map_err(failed)?;
        // Links may have changed since: what was opened must be what is inside.
        let stamp = Stamp::of(&found);
        if self.stamp(name, file)?.place != stamp.place || !found.is_file() {
            let message = format!("`{file}` of `{name}` changed while it was opened");
            return Err(Error::new(ErrorKind::Unavailable, message));
        }
        limits.check(name, file, found.len())?;
        let size = usize::try_from(found.len()).unwrap_or(usize::MAX);
        let mut bytes = Apart::new(size).map_err(failed)?;
        loop {
            if !wanted() {
                let message = format!("nobody waits for `{name}` any more");
                return Err(Error::new(ErrorKind::Unavailable, message));
            }
            if bytes.read_from(&mut (&opened).take(AT_A_TIME)).map_err(failed)? == 0 {
                break;
            }
        }
        Ok((bytes.freeze(), stamp))
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

    /// Lists the names of adapters in the folders that `open` opens.
    fn walk(&self, open: impl Fn(&Path) -> io::Result<ReadDir>) -> Result<Vec<AdapterName>> {
        let (mut names, mut looked) = (Vec::new(), 0);
        let mut folders = vec![(self.root.clone(), String::new(), 0)];
        while let Some((folder, prefix, depth)) = folders.pop() {
            let unread = |e: io::Error| {
                Error::new(kind_of(&e), "cannot list the folder of adapters").with_source(e)
            };
            let entries = match open(&folder) {
                Ok(entries) => entries,
                // One folder that is gone or not for us (`lost+found`) takes no other with it.
                Err(_) if depth > 0 => continue,
                Err(e) => return Err(unread(e)),
            };
            for entry in entries {
                looked += 1;
                if looked > MAX_ENTRIES {
                    let message = format!("the folder of adapters has over {MAX_ENTRIES} entries");
                    return Err(Error::new(ErrorKind::Limit, message));
                }
                let entry = match entry {
                    Ok(entry) => entry,
                    Err(_) if depth > 0 => break,
                    Err(e) => return Err(unread(e)),
                };
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
        let permit = self.reading.pass().await?;
        on_thread(permit, move |wanted| this.read(&name, limits, wanted)).await
    }
}

#[async_trait]
impl ListAdapters for Directory {
    async fn list(&self) -> Result<Vec<AdapterName>> {
        let this = self.clone();
        let permit = self.reading.pass().await?;
        on_thread(permit, move |_| this.walk(|folder| fs::read_dir(folder))).await
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
        // Under a name that is too long to be one there is nothing.
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory | io::ErrorKind::InvalidFilename => {
            ErrorKind::NotFound
        }
        io::ErrorKind::PermissionDenied => ErrorKind::Denied,
        _ => ErrorKind::Unavailable,
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    const CONFIG: &str = AdapterFiles::CONFIG;
    const WEIGHTS: &str = AdapterFiles::WEIGHTS;

    fn name(text: &str) -> AdapterName {
        text.parse().unwrap()
    }

    fn put(folder: &Path) {
        AdapterFiles::new(b"{}".to_vec(), b"weights".to_vec()).write(folder).unwrap();
    }

    fn read(directory: &Directory, text: &str) -> Result<AdapterFiles> {
        directory.read(&name(text), FileLimits::default(), &|| true)
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
            let error = read(&directory, hostile).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Denied, "{error}");
        }
        assert!(read(&directory, "alias").is_ok());
        assert_eq!(
            directory.walk(|folder| fs::read_dir(folder)).unwrap(),
            [name("alias"), name("law")]
        );
    }

    #[test]
    fn what_is_no_file_is_not_waited_for() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("law").join(CONFIG)).unwrap();
        let directory = Directory::open(root.path()).unwrap();
        let error = read(&directory, "law").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
        assert!(!error.report().contains(root.path().to_str().unwrap()), "no path is told");
        fs::write(root.path().join("plain"), b"x").unwrap();
        let error = read(&directory, "plain").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
        let long = "a".repeat(256);
        assert_eq!(read(&directory, &long).unwrap_err().kind(), ErrorKind::NotFound);
        assert!(Directory::open(root.path().join("plain")).is_err());
        assert!(Directory::open(root.path().join("nothing")).is_err());
    }

    #[test]
    #[cfg(unix)]
    fn a_pipe_that_nobody_writes_to_is_not_read() {
        let root = tempfile::tempdir().unwrap();
        put(&root.path().join("law"));
        for file in [CONFIG, WEIGHTS] {
            let path = root.path().join("law").join(file);
            fs::remove_file(&path).unwrap();
            let made = std::process::Command::new("mkfifo").arg(&path).status().unwrap();
            assert!(made.success());
        }
        let directory = Directory::open(root.path()).unwrap();
        assert_eq!(read(&directory, "law").unwrap_err().kind(), ErrorKind::NotFound);
        assert!(directory.walk(|folder| fs::read_dir(folder)).unwrap().is_empty());
    }

    #[test]
    fn what_nobody_waits_for_is_read_no_further() {
        let root = tempfile::tempdir().unwrap();
        let large = AdapterFiles::new(b"{}".to_vec(), vec![0; 3 * AT_A_TIME as usize]);
        large.write(root.path().join("law")).unwrap();
        let directory = Directory::open(root.path()).unwrap();
        let asked = Cell::new(0);
        let wanted = |until: usize| {
            asked.set(asked.get() + 1);
            asked.get() <= until
        };
        let read = |until| directory.read(&name("law"), FileLimits::default(), &|| wanted(until));
        assert_eq!(read(usize::MAX).unwrap(), large);
        let all = asked.replace(0);
        assert_eq!(read(all - 2).unwrap_err().kind(), ErrorKind::Unavailable);
        assert_eq!(asked.get(), all - 1, "it left as soon as it was told");
    }

    #[test]
    fn a_folder_that_cannot_be_read_hides_no_other() {
        let root = tempfile::tempdir().unwrap();
        put(&root.path().join("law"));
        put(&root.path().join("team/health"));
        fs::create_dir(root.path().join("lost+found")).unwrap();
        let directory = Directory::open(root.path()).unwrap();
        let denied = |which: &str| {
            let which = which.to_owned();
            move |folder: &Path| match folder.ends_with(&which) {
                true => Err(io::ErrorKind::PermissionDenied.into()),
                false => fs::read_dir(folder),
            }
        };
        let expected = [name("law"), name("team/health")];
        assert_eq!(directory.walk(denied("lost+found")).unwrap(), expected);
        let root = directory.root.file_name().unwrap().to_str().unwrap();
        assert_eq!(directory.walk(denied(root)).unwrap_err().kind(), ErrorKind::Denied);
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
