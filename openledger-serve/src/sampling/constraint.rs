//! What an answer must look like.

use std::sync::Arc;

use openledger_core::{Error, Result};

/// A form that an answer has, whatever the model would say: tokens that lead out of it are never
/// chosen, and where nothing can follow the answer ends.
///
/// This is the wish; an engine makes an automaton of it when it takes the request, and keeps the
/// latest ones. It needs the feature `constrain`: an engine without it refuses the request with
/// [`ErrorKind::Unsupported`](openledger_core::ErrorKind::Unsupported). One that cannot be read, that
/// nothing fits, or that would become too large is refused with
/// [`ErrorKind::Invalid`](openledger_core::ErrorKind::Invalid).
///
/// An answer cut off by its `max_tokens` is the beginning of one that fits.
///
/// # Examples
/// ```
/// use openledger_serve::{Constraint, Generate};
///
/// let person = r#"{"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}"#;
/// let request = Generate::new(vec![1]).with_constraint(Constraint::json_schema(person)?);
/// assert!(Constraint::choice(["yes", "no"]).is_ok());
/// assert!(Constraint::choice([""; 0]).is_err());
/// # Ok::<(), openledger_core::Error>(())
/// ```
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Constraint(pub(super) Form);

#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(super) enum Form {
    Schema(Arc<str>),
    Regex(Arc<str>),
    Choice(Arc<[String]>),
    Parts(Arc<[Vec<Part>]>),
}

/// A part of an answer: [`Constraint::parts`].
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Part {
    /// This text.
    Text(Arc<str>),
    /// The token that is spelled so, special or not; the text where the vocabulary has none.
    Token(Arc<str>),
    /// JSON that fits a schema.
    Json(Arc<str>),
}

impl Part {
    fn length(&self) -> usize {
        let (Self::Text(text) | Self::Token(text) | Self::Json(text)) = self;
        text.len()
    }
}

/// Bytes of a schema, and of all choices together.
const LONGEST: usize = 1 << 16;
const LONGEST_REGEX: usize = 1 << 12;
const MOST_CHOICES: usize = 1024;

impl Constraint {
    /// JSON that fits a schema, given as text of at most 64 KiB.
    ///
    /// Fields come in the order in which the schema names them. Between values stands one space or one
    /// line break with at most 64 spaces or tabs, or nothing, so that no model can fill its
    /// answer with white space. Keywords that are not understood are an error, not ignored; `$ref`
    /// stays within the schema.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`](openledger_core::ErrorKind::Invalid) if it is longer.
    pub fn json_schema(schema: impl Into<Arc<str>>) -> Result<Self> {
        let schema = schema.into();
        limit("a schema", schema.len(), LONGEST)?;
        Ok(Self(Form::Schema(schema)))
    }

    /// Any JSON object.
    pub fn json() -> Self {
        Self(Form::Schema(r#"{"type": "object"}"#.into()))
    }

    /// Text that a regular expression matches from beginning to end: the syntax of the crate `regex`
    /// without anchors and look-around, at most 4 KiB.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`](openledger_core::ErrorKind::Invalid) if it is longer.
    pub fn regex(regex: impl Into<Arc<str>>) -> Result<Self> {
        let regex = regex.into();
        limit("a regular expression", regex.len(), LONGEST_REGEX)?;
        Ok(Self(Form::Regex(regex)))
    }

    /// One of these texts: 1 to 1,024, at most 64 KiB in all, none empty.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`](openledger_core::ErrorKind::Invalid) otherwise.
    pub fn choice<T: Into<String>>(choices: impl IntoIterator<Item = T>) -> Result<Self> {
        let choices: Arc<[String]> =
            choices.into_iter().take(MOST_CHOICES + 1).map(Into::into).collect();
        if choices.is_empty() || choices.len() > MOST_CHOICES {
            let message = format!("{} choices, allowed are 1 to {MOST_CHOICES}", choices.len());
            return Err(Error::invalid(message));
        }
        if choices.iter().any(String::is_empty) {
            return Err(Error::invalid("an empty choice"));
        }
        limit("the choices together", choices.iter().map(String::len).sum(), LONGEST)?;
        Ok(Self(Form::Choice(choices)))
    }

    /// Parts one after the other, in one of these ways: 1 to 1,024, at most 64 KiB in all, none without
    /// parts.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`](openledger_core::ErrorKind::Invalid) otherwise.
    ///
    /// # Examples
    /// ```
    /// use openledger_serve::{Constraint, Part};
    ///
    /// let call = vec![Part::Text("add(".into()), Part::Json(r#"{"type": "integer"}"#.into()), Part::Text(")".into())];
    /// assert!(Constraint::parts([call, vec![Part::Text("none".into())]]).is_ok());
    /// assert!(Constraint::parts([vec![]]).is_err());
    /// ```
    pub fn parts(ways: impl IntoIterator<Item = Vec<Part>>) -> Result<Self> {
        let ways: Arc<[Vec<Part>]> = ways.into_iter().take(MOST_CHOICES + 1).collect();
        if ways.is_empty() || ways.len() > MOST_CHOICES {
            let message = format!("{} ways, allowed are 1 to {MOST_CHOICES}", ways.len());
            return Err(Error::invalid(message));
        }
        if ways.iter().any(Vec::is_empty) {
            return Err(Error::invalid("a way without parts"));
        }
        limit("the parts together", ways.iter().flatten().map(Part::length).sum(), LONGEST)?;
        Ok(Self(Form::Parts(ways)))
    }
}

fn limit(what: &str, bytes: usize, most: usize) -> Result<()> {
    match bytes > most {
        true => Err(Error::invalid(format!("{what} of {bytes} bytes, allowed are {most}"))),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_long_is_refused_at_once() {
        let long = "x".repeat(LONGEST + 1);
        let many = vec!["x"; MOST_CHOICES + 1];
        for (constraint, says) in [
            (Constraint::json_schema(long.as_str()), "a schema of 65537 bytes"),
            (Constraint::regex(&long[..5000]), "of 5000 bytes, allowed are 4096"),
            (Constraint::choice([long.as_str()]), "the choices together of 65537"),
            (Constraint::choice(many), "1025 choices"),
            (Constraint::choice(["yes", ""]), "an empty choice"),
            (
                Constraint::parts([vec![Part::Text(long.as_str().into())]]),
                "the parts together of 65537",
            ),
            (Constraint::parts([]), "0 ways"),
        ] {
            let error = constraint.unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
        }
    }
}
