//! Which repository, and which state of it.

use std::{fmt, str::FromStr};

use openledger_core::{Error, Result};

/// The longest name of a repository or revision, in bytes.
const MAX_LEN: usize = 256;

/// A model repository at a revision: `owner/name`, `name`, or either with `@` and a branch, tag or
/// commit. Without one, the branch `main`.
///
/// # Examples
/// ```
/// use openledger_hub::Repo;
///
/// let repo: Repo = "meta-llama/Llama-3.2-1B@refs/pr/7".parse()?;
/// assert_eq!((repo.name(), repo.revision()), ("meta-llama/Llama-3.2-1B", "refs/pr/7"));
/// assert!("../../etc@main".parse::<Repo>().is_err());
/// # Ok::<(), openledger_core::Error>(())
/// ```
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Repo {
    name: String,
    revision: String,
}

impl Repo {
    /// Returns the name with its owner.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the branch, tag or commit.
    pub fn revision(&self) -> &str {
        &self.revision
    }

    /// Whether the revision is a commit, which never means anything else later.
    pub(crate) fn is_commit(&self) -> bool {
        is_commit(&self.revision)
    }
}

impl FromStr for Repo {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let (name, revision) = text.split_once('@').unwrap_or((text, "main"));
        if !is_path(name) || name.matches('/').count() > 1 || name.contains("--") {
            return Err(Error::invalid(format!(
                "`{name}` is not the name of a repository: give `owner/name`"
            )));
        }
        if !is_path(revision) {
            return Err(Error::invalid(format!("`{revision}` is not a branch, tag or commit")));
        }
        Ok(Self { name: name.to_owned(), revision: revision.to_owned() })
    }
}

impl fmt::Display for Repo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.name, self.revision)
    }
}

/// Whether `text` is a hash of git's.
pub(crate) fn is_commit(text: &str) -> bool {
    text.len() == 40 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Whether `text` is a relative path that stays where it is and means the same in a URL and in every
/// file system.
pub(crate) fn is_path(text: &str) -> bool {
    let part = |part: &str| {
        !part.is_empty()
            && !part.starts_with('.')
            && !part.ends_with('.')
            && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-+".contains(&byte))
    };
    text.len() <= MAX_LEN && text.split('/').all(part)
}
