//! A row: the unit of consent, credit and erasure.

use alloy_primitives::B256;
use borsh::{BorshDeserialize, BorshSerialize};
use serde::{Deserialize, Serialize};

use crate::{Error, Fingerprint, Result, RowId, digest};

/// A piece of text somebody contributed: either a passage, or an exchange of a prompt and what
/// should follow it.
///
/// Line ends are `\n` and the outer white space is gone, so that the same text is the same row
/// wherever it was written.
///
/// # Examples
/// ```
/// use openledger_core::Row;
///
/// let row = Row::exchange("Why knead?\r\n", " Kneading builds gluten. ")?;
/// assert_eq!((row.prompt(), row.completion()), ("Why knead?", "Kneading builds gluten."));
/// assert!(Row::passage(" \n").is_err());
/// # Ok::<(), openledger_core::Error>(())
/// ```
#[derive(BorshSerialize, Clone, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(try_from = "Fields")]
pub struct Row {
    prompt: String,
    completion: String,
}

impl Row {
    /// Makes a row of plain text.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`](crate::ErrorKind::Invalid) if there is nothing but white space.
    pub fn passage(text: &str) -> Result<Self> {
        let completion = tidy(text);
        if completion.is_empty() {
            return Err(Error::invalid("a row without text"));
        }
        Ok(Self { prompt: String::new(), completion })
    }

    /// Makes a row of a prompt and its completion.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`](crate::ErrorKind::Invalid) if either is nothing but white space.
    pub fn exchange(prompt: &str, completion: &str) -> Result<Self> {
        let prompt = tidy(prompt);
        if prompt.is_empty() {
            return Err(Error::invalid("an exchange without a prompt"));
        }
        Ok(Self { prompt, ..Self::passage(completion)? })
    }

    /// Returns the prompt, empty for a passage.
    pub fn prompt(&self) -> &str {
        &self.prompt
    }

    /// Returns the completion, or the whole text of a passage.
    pub fn completion(&self) -> &str {
        &self.completion
    }

    /// Returns the number of bytes of text.
    pub fn len(&self) -> usize {
        self.prompt.len() + self.completion.len()
    }

    /// Returns `false`: a row always has text.
    pub const fn is_empty(&self) -> bool {
        false
    }

    /// Returns the key by which exact duplicates are found.
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::from(digest("openledger.row.v1", self))
    }

    /// Returns the row's public name: a commitment to its text under `salt`.
    ///
    /// The name says nothing about a text to those who lack the salt, so when text and salt are
    /// erased, what remains on chain cannot be tested against guesses.
    pub fn id(&self, salt: &Salt) -> RowId {
        RowId::from(digest("openledger.row-id.v1", &(salt.0, self.fingerprint())))
    }
}

impl BorshDeserialize for Row {
    fn deserialize_reader<R: std::io::Read>(reader: &mut R) -> std::io::Result<Self> {
        Fields::deserialize_reader(reader)?.try_into().map_err(std::io::Error::other)
    }
}

/// A row as it stands in JSON or bytes, before it is checked.
#[derive(BorshDeserialize, Deserialize)]
struct Fields {
    #[serde(default)]
    prompt: String,
    completion: String,
}

impl TryFrom<Fields> for Row {
    type Error = Error;

    fn try_from(Fields { prompt, completion }: Fields) -> Result<Self> {
        if prompt.is_empty() {
            Self::passage(&completion)
        } else {
            Self::exchange(&prompt, &completion)
        }
    }
}

/// 32 secret bytes that blind a [`RowId`].
#[derive(BorshDeserialize, BorshSerialize, Clone, Copy, Eq, PartialEq)]
pub struct Salt(B256);

impl Salt {
    /// Derives the salt of the row with `fingerprint` from a contributor's secret.
    ///
    /// One secret gives every row its own salt, so rows can be erased one by one.
    pub fn derive(secret: B256, fingerprint: Fingerprint) -> Self {
        Self(digest("openledger.salt.v1", &(secret, fingerprint)))
    }
}

impl From<B256> for Salt {
    fn from(bytes: B256) -> Self {
        Self(bytes)
    }
}

impl std::fmt::Debug for Salt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Salt(..)")
    }
}

fn tidy(text: &str) -> String {
    text.trim().replace("\r\n", "\n").replace('\r', "\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prompt_and_completion_do_not_run_together_in_the_fingerprint() {
        let a = Row::exchange("ab", "c").unwrap();
        let b = Row::exchange("a", "bc").unwrap();
        assert_ne!(a.fingerprint(), b.fingerprint());
    }

    #[test]
    fn the_same_text_under_another_salt_has_another_name() {
        let row = Row::passage("text").unwrap();
        let [one, two] = [1, 2].map(|byte| Salt::from(B256::repeat_byte(byte)));
        assert_eq!(row.id(&one), row.id(&one));
        assert_ne!(row.id(&one), row.id(&two));
        assert_ne!(Salt::derive(B256::ZERO, row.fingerprint()), one);
    }

    #[test]
    fn json_goes_through_the_same_checks() {
        let row: Row = serde_json::from_str(r#"{"prompt":" p\r","completion":"c "}"#).unwrap();
        assert_eq!(row, Row::exchange("p", "c").unwrap());
        assert!(serde_json::from_str::<Row>(r#"{"completion":"  "}"#).is_err());
    }
}
