//! A secret that is never printed.

use std::fmt;

use http::HeaderValue;
use openledger_core::{Error, Result};

/// A token of the hub. `Debug` does not show it.
#[derive(Clone)]
pub struct Token(HeaderValue);

impl Token {
    /// Takes the text of a token, without the space around it.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`](openledger_core::ErrorKind::Invalid) if it is empty or has characters
    /// that no token has; the message does not repeat it.
    pub fn new(text: &str) -> Result<Self> {
        let text = text.trim();
        let mut header = HeaderValue::try_from(format!("Bearer {text}"))
            .ok()
            .filter(|_| !text.is_empty())
            .ok_or_else(|| Error::invalid("the token is empty or has control characters"))?;
        header.set_sensitive(true);
        Ok(Self(header))
    }

    /// Returns the value of the header `authorization`.
    pub(crate) const fn header(&self) -> &HeaderValue {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}
