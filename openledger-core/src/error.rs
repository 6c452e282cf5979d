//! The one error of the SDK: what to do, which thing, and why.

use std::{error::Error as StdError, fmt, time::Duration};

/// The result of every fallible call in the SDK.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What the caller can do about an [`Error`].
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The input is wrong; change it. The message names the value and what is allowed.
    Invalid,
    /// The thing named does not exist.
    NotFound,
    /// The thing exists already, or somebody else changed it first; read again and decide.
    Conflict,
    /// Stored or received bytes are not what their hash, length or format says.
    Corrupt,
    /// A signature, grant or permission does not allow it.
    Denied,
    /// A configured limit would be exceeded; the message names the limit.
    Limit,
    /// A store, node or device did not do its part.
    Unavailable,
    /// This build or this backend cannot do it.
    Unsupported,
}

impl ErrorKind {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Invalid => "invalid",
            Self::NotFound => "not found",
            Self::Conflict => "conflict",
            Self::Corrupt => "corrupt",
            Self::Denied => "denied",
            Self::Limit => "over a limit",
            Self::Unavailable => "unavailable",
            Self::Unsupported => "unsupported",
        }
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The SDK's error: a [kind](ErrorKind) to act on, a message that names the thing, a source.
///
/// [`Display`](fmt::Display) prints this level only; walk [`source`](StdError::source) for the
/// reasons, or use [`Error::report`]. Do not match on the wording: it may change in any version.
///
/// # Examples
/// ```
/// use openledger_core::{Error, ErrorKind};
///
/// let error = Error::new(ErrorKind::NotFound, "no adapter `law`");
/// assert_eq!(error.kind(), ErrorKind::NotFound);
/// assert_eq!(error.to_string(), "no adapter `law`");
/// assert!(!error.is_retryable());
/// ```
pub struct Error(Box<Inner>);

struct Inner {
    kind: ErrorKind,
    message: String,
    retryable: bool,
    retry_after: Option<Duration>,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl Error {
    /// Makes an error. Only [`ErrorKind::Unavailable`] is retryable unless told otherwise.
    #[cold]
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        let retryable = matches!(kind, ErrorKind::Unavailable);
        let message = message.into();
        Self(Box::new(Inner { kind, message, retryable, retry_after: None, source: None }))
    }

    /// An [`ErrorKind::Invalid`] error.
    #[cold]
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Invalid, message)
    }

    /// An [`ErrorKind::Corrupt`] error.
    #[cold]
    pub fn corrupt(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Corrupt, message)
    }

    /// Adds the reason.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// Overrides whether trying again can help.
    #[must_use]
    pub fn with_retryable(mut self, retryable: bool) -> Self {
        self.0.retryable = retryable;
        self
    }

    /// Says that trying again can help, and after how long it may.
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    /// use openledger_core::{Error, ErrorKind};
    ///
    /// let wait = Duration::from_secs(2);
    /// let error = Error::new(ErrorKind::Limit, "60 requests a minute").with_retry_after(wait);
    /// assert!(error.is_retryable());
    /// assert_eq!(error.retry_after(), Some(wait));
    /// ```
    #[must_use]
    pub fn with_retry_after(mut self, wait: Duration) -> Self {
        self.0.retryable = true;
        self.0.retry_after = Some(wait);
        self
    }

    /// Returns what the caller can do about it.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// Returns whether the same call may succeed later without any change to its input.
    pub fn is_retryable(&self) -> bool {
        self.0.retryable
    }

    /// Returns how long to wait before trying again, if that is known.
    pub fn retry_after(&self) -> Option<Duration> {
        self.0.retry_after
    }

    /// Returns the message and every reason below it on one line, joined by `: `.
    ///
    /// # Examples
    /// ```
    /// use openledger_core::Error;
    ///
    /// let error = Error::invalid("cannot read `rows.jsonl`").with_source("line 3 is not JSON");
    /// assert_eq!(error.report(), "cannot read `rows.jsonl`: line 3 is not JSON");
    /// ```
    pub fn report(&self) -> String {
        let mut line = self.0.message.clone();
        let mut reason = self.source();
        while let Some(error) = reason {
            line.push_str(": ");
            line.push_str(&error.to_string().replace('\n', " "));
            reason = error.source();
        }
        line
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.report(), self.0.kind)
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_deref().map(|source| source as _)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_one_word_and_crosses_threads() {
        fn assert_send_sync<T: Send + Sync + 'static>() {}
        assert_send_sync::<Error>();
        assert_eq!(size_of::<Error>(), size_of::<usize>());
    }

    #[test]
    fn report_walks_the_sources_and_display_does_not() {
        let inner = Error::corrupt("hash differs");
        let outer = Error::new(ErrorKind::Unavailable, "cannot load row").with_source(inner);
        assert_eq!(outer.to_string(), "cannot load row");
        assert_eq!(outer.report(), "cannot load row: hash differs");
        assert_eq!(format!("{outer:?}"), "cannot load row: hash differs (unavailable)");
    }

    #[test]
    fn only_unavailable_is_retryable_by_default() {
        assert!(Error::new(ErrorKind::Unavailable, "store").is_retryable());
        assert!(!Error::invalid("x").is_retryable());
        assert!(
            !Error::new(ErrorKind::Unavailable, "disk full").with_retryable(false).is_retryable()
        );
    }
}
