//! A certificate: which bytes, and where.

use std::{fmt, str::FromStr};

use openledger_core::{B256, Bytes, Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};

/// The largest encoded certificate: 16 KiB. EigenDA's are a few; in hexadecimal and in a URL even
/// the largest stays below what HTTP clients accept.
pub const MAX_CERTIFICATE_BYTES: usize = 16 << 10;

/// Bytes before the layer's own: the scheme and the hash.
const HEAD: usize = 33;

/// Which layer reads a certificate.
///
/// Numbers from 128 are for layers of your own.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Scheme(u8);

impl Scheme {
    /// [`Local`](super::Local).
    pub const LOCAL: Self = Self(0);
    /// [`EigenDa`](super::EigenDa).
    pub const EIGEN_DA: Self = Self(1);

    /// Names a scheme by its number.
    pub const fn new(number: u8) -> Self {
        Self(number)
    }
}

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::LOCAL => f.write_str("local"),
            Self::EIGEN_DA => f.write_str("EigenDA"),
            Self(number) => write!(f, "scheme {number}"),
        }
    }
}

/// Names published bytes: the layer, their keccak-256, and what the layer needs to find them.
///
/// Encoded it is one byte of scheme, 32 of hash, and the layer's own to the end: one encoding for
/// each certificate and one certificate for each encoding. As text and in JSON it is `0x` and that
/// in hexadecimal.
///
/// # Examples
/// ```
/// use openledger_chain::da::{Certificate, Scheme};
/// use openledger_core::keccak256;
///
/// let certificate = Certificate::new(Scheme::EIGEN_DA, keccak256("rows"), vec![2, 0xc0])?;
/// let text = certificate.to_string();
/// assert!(text.starts_with("0x01") && text.ends_with("02c0"));
/// assert_eq!(text.parse::<Certificate>()?, certificate);
/// # Ok::<(), openledger_core::Error>(())
/// ```
#[derive(Clone, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct Certificate {
    scheme: Scheme,
    hash: B256,
    body: Bytes,
}

impl Certificate {
    /// Makes a certificate for the bytes of that keccak-256.
    ///
    /// # Errors
    /// [`ErrorKind::Limit`] if it would pass [`MAX_CERTIFICATE_BYTES`] encoded.
    pub fn new(scheme: Scheme, hash: B256, body: impl Into<Bytes>) -> Result<Self> {
        let body = body.into();
        check_size(HEAD + body.len())?;
        Ok(Self { scheme, hash, body })
    }

    /// Makes the certificate of [`Local`](super::Local), which needs only the hash a contract has.
    pub const fn local(hash: B256) -> Self {
        Self { scheme: Scheme::LOCAL, hash, body: Bytes::new() }
    }

    /// Returns which layer reads it.
    pub const fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// Returns the keccak-256 of the published bytes.
    pub const fn hash(&self) -> B256 {
        self.hash
    }

    /// Returns what only the layer understands.
    pub const fn body(&self) -> &Bytes {
        &self.body
    }

    /// Encodes it.
    pub fn encode(&self) -> Vec<u8> {
        [&[self.scheme.0], self.hash.as_slice(), &self.body].concat()
    }

    /// Decodes what [`encode`](Self::encode) wrote.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`] below 33 bytes, [`ErrorKind::Limit`] over [`MAX_CERTIFICATE_BYTES`].
    pub fn decode(bytes: &[u8]) -> Result<Self> {
        check_size(bytes.len())?;
        let short = || Error::corrupt(format!("a certificate of {} bytes", bytes.len()));
        let (head, body) = bytes.split_at_checked(HEAD).ok_or_else(short)?;
        let hash = B256::from_slice(&head[1..]);
        Ok(Self { scheme: Scheme(head[0]), hash, body: Bytes::copy_from_slice(body) })
    }

    /// Refuses a certificate of another layer.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] naming both.
    pub fn expect_scheme(&self, scheme: Scheme) -> Result<()> {
        if self.scheme == scheme {
            return Ok(());
        }
        Err(Error::invalid(format!("a certificate of {}, given to {scheme}", self.scheme)))
    }
}

fn check_size(bytes: usize) -> Result<()> {
    if bytes <= MAX_CERTIFICATE_BYTES {
        return Ok(());
    }
    let message = format!("a certificate of {bytes} bytes, {MAX_CERTIFICATE_BYTES} allowed");
    Err(Error::new(ErrorKind::Limit, message))
}

impl fmt::Display for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&alloy::hex::encode_prefixed(self.encode()))
    }
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { scheme, hash, body } = self;
        write!(f, "Certificate({scheme}, {hash}, {} bytes)", body.len())
    }
}

impl FromStr for Certificate {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let digits = text.strip_prefix("0x").ok_or_else(|| {
            Error::invalid("a certificate's text begins with `0x` and is hexadecimal")
        })?;
        check_size(digits.len() / 2)?;
        let bytes = alloy::hex::decode(digits)
            .map_err(|e| Error::invalid("a certificate's text is hexadecimal").with_source(e))?;
        Self::decode(&bytes)
    }
}

impl TryFrom<String> for Certificate {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl From<Certificate> for String {
    fn from(certificate: Certificate) -> Self {
        certificate.to_string()
    }
}
