//! Files of foreign bytes in, whole files out.

use std::{
    fs::File,
    io::{Read, Write},
    path::Path,
};

use crate::{Error, ErrorKind, Result};

/// Reads the file at `path`, at most `limit` bytes of it.
///
/// Memory is taken as bytes arrive, so a file that claims to be huge costs nothing.
///
/// # Errors
/// [`ErrorKind::NotFound`]; [`ErrorKind::Limit`] if the file is larger; [`ErrorKind::Unavailable`]
/// if it cannot be read. Each names the path.
pub fn read(path: impl AsRef<Path>, limit: u64) -> Result<Vec<u8>> {
    let path = path.as_ref();
    let failed = |e: std::io::Error| {
        let kind = match e.kind() {
            std::io::ErrorKind::NotFound => ErrorKind::NotFound,
            _ => ErrorKind::Unavailable,
        };
        Error::new(kind, format!("cannot read `{}`", path.display())).with_source(e)
    };
    let mut bytes = Vec::new();
    File::open(path).map_err(failed)?.take(limit + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > limit {
        return Err(Error::new(
            ErrorKind::Limit,
            format!("`{}` is larger than the {limit} bytes allowed", path.display()),
        ));
    }
    Ok(bytes)
}

/// Writes the file at `path`, whole or not at all.
///
/// The bytes go to a temporary file beside it, reach the disk, and only then take the name: a full
/// disk or a crash leaves what was there before. What is not a regular file (a pipe, a terminal)
/// is written directly.
///
/// # Errors
/// [`ErrorKind::Unavailable`] naming the path.
pub fn write(path: impl AsRef<Path>, bytes: &[u8]) -> Result<()> {
    let path = path.as_ref();
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let special = std::fs::metadata(path).is_ok_and(|found| !found.is_file());
    let written = if special {
        File::options().write(true).open(path).and_then(|mut file| file.write_all(bytes))
    } else {
        new_file(folder).and_then(|mut file| {
            file.write_all(bytes)?;
            file.as_file().sync_all()?;
            file.persist(path)?;
            Ok(())
        })
    };
    written.map_err(|e| {
        Error::new(ErrorKind::Unavailable, format!("cannot write `{}`", path.display()))
            .with_source(e)
            .with_retryable(false)
    })
}

/// Makes a temporary file that everybody may read whom the user's mask lets: it becomes a file of
/// the user, not a secret.
fn new_file(folder: &Path) -> std::io::Result<tempfile::NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    builder.tempfile_in(folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_replaced_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        write(&path, b"one").unwrap();
        write(&path, b"two!").unwrap();
        assert_eq!(read(&path, 4).unwrap(), b"two!");
        assert_eq!(read(&path, 3).unwrap_err().kind(), ErrorKind::Limit);
        assert_eq!(
            std::fs::read_dir(folder.path()).unwrap().count(),
            1,
            "no temporary file is left"
        );
    }

    #[test]
    fn a_missing_file_and_a_folder_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let missing = read(folder.path().join("nothing"), 1).unwrap_err();
        assert_eq!(missing.kind(), ErrorKind::NotFound);
        assert!(missing.to_string().contains("nothing"));
        assert_eq!(read(folder.path(), 1).unwrap_err().kind(), ErrorKind::Unavailable);
    }

    #[test]
    #[cfg(unix)]
    fn a_written_file_is_as_open_as_any_other() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let [ours, theirs] = ["ours", "theirs"].map(|name| folder.path().join(name));
        write(&ours, b"one").unwrap();
        std::fs::write(&theirs, b"one").unwrap();
        let mode = |path| std::fs::metadata(path).unwrap().permissions().mode();
        assert_eq!(mode(ours), mode(theirs));
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_full_disk_is_an_error_that_names_the_path() {
        let error = write("/dev/full", b"bytes").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        assert!(error.report().contains("/dev/full") && error.report().contains("No space left"));
        assert!(!error.is_retryable());
    }
}
