//! Names under which sources know adapters.

use std::{fmt, str::FromStr};

use openledger_core::{Error, Result};

/// The longest name, in bytes.
const MAX_LEN: usize = 256;

/// A name under which a source knows an adapter: `law`, `team/law`, `owner/name@revision`.
///
/// Parts between slashes are of letters, digits and `._-+@`, and neither begin nor end in a dot; so a
/// name is a relative path that stays where it is, and means the same in a URL, in an object store and
/// in every file system.
///
/// # Examples
/// ```
/// use openledger_serve::AdapterName;
///
/// assert!("openledger/law@main".parse::<AdapterName>().is_ok());
/// for hostile in ["", "../law", "/etc", "a//b", ".git", "a\\b", "a%2fb", "c:law"] {
///     assert!(hostile.parse::<AdapterName>().is_err());
/// }
/// ```
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct AdapterName(String);

impl AdapterName {
    /// Returns the text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Lists the parts between slashes.
    pub fn parts(&self) -> impl Iterator<Item = &str> {
        self.0.split('/')
    }
}

impl FromStr for AdapterName {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        if text.len() <= MAX_LEN && text.split('/').all(is_part) {
            return Ok(Self(text.to_owned()));
        }
        // What is not a name may be anything: it is shown short and escaped.
        let shown: String = text.chars().take(64).flat_map(char::escape_default).collect();
        Err(Error::invalid(format!(
            "`{shown}` is not the name of an adapter: give letters, digits and `._-+@`, parts divided \
             by `/`"
        )))
    }
}

impl fmt::Display for AdapterName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn is_part(part: &str) -> bool {
    !part.is_empty()
        && !part.starts_with('.')
        && !part.ends_with('.')
        && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-+@".contains(&byte))
}

#[cfg(test)]
mod tests {
    use std::path::{Component, Path};

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_name_is_a_path_that_stays_where_it_is(text in "\\PC{0,40}|[a-z./@\\\\:~%-]{0,20}") {
            if let Ok(name) = text.parse::<AdapterName>() {
                prop_assert_eq!(name.as_str(), &text);
                let mut components = Path::new(name.as_str()).components();
                prop_assert!(components.all(|part| matches!(part, Component::Normal(_))));
                prop_assert!(!text.contains(['\\', ':', '%', '\0']));
                prop_assert_eq!(name.parts().collect::<Vec<_>>().join("/"), text);
            }
        }
    }

    #[test]
    fn what_is_no_name_is_shown_without_harm() {
        let error = "\u{1b}[2Jlaw\n".parse::<AdapterName>().unwrap_err().to_string();
        assert!(!error.contains(['\u{1b}', '\n']), "{error}");
        let error = "../".repeat(1000).parse::<AdapterName>().unwrap_err().to_string();
        assert!(error.len() < 300);
    }
}
