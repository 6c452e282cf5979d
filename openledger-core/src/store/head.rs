//! Names that can be taken once.

use std::{fmt, str::FromStr};

use object_store::path::Path;

use crate::Error;

/// The name of a head: segments of letters, digits, `-`, `_` and `.`, joined by `/`.
///
/// # Examples
/// ```
/// use openledger_core::store::Head;
///
/// let head: Head = "datanets/bread/versions/1".parse()?;
/// assert_eq!(head.to_string(), "datanets/bread/versions/1");
/// assert!("../secret".parse::<Head>().is_err());
/// # Ok::<(), openledger_core::Error>(())
/// ```
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Head(String);

const FOLDER: &str = "heads";

impl Head {
    /// Returns the last segment.
    pub fn name(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or_default()
    }

    pub(super) fn path(&self) -> Path {
        Path::from_iter(std::iter::once(FOLDER).chain(self.0.split('/')))
    }

    pub(super) fn from_path(path: &Path) -> Option<Self> {
        path.as_ref().strip_prefix(FOLDER)?.strip_prefix('/')?.parse().ok()
    }
}

impl fmt::Display for Head {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Head {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        let plain = |segment: &str| {
            !segment.is_empty()
                && segment.chars().all(allowed)
                && !segment.chars().all(|c| c == '.')
        };
        if text.len() > 512 || !text.split('/').all(plain) {
            let shown: String = text.chars().take(80).collect();
            return Err(Error::invalid(format!(
                "`{shown}` is not a name: give letters, digits, `-`, `_`, `.`, joined by `/`"
            )));
        }
        Ok(Self(text.to_owned()))
    }
}
