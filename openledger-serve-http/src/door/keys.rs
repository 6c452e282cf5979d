//! Keys and whom they stand for.

use std::{collections::BTreeSet, fmt, sync::Arc};

use openledger_core::{Error, ErrorKind, Result};

use super::TenantName;

/// The most lines of a file of keys.
const MAX_KEYS: usize = 10_000;
/// The fewest characters of a key: with fewer it can be guessed.
const MIN_LENGTH: usize = 16;

/// The API keys a server knows. In memory there are only their hashes, which are compared in constant
/// time.
///
/// Without any, everybody who reaches the port may ask for answers; what is for administrators is
/// closed until there is a key for it.
///
/// # Examples
/// ```
/// use openledger_serve_http::Keys;
///
/// let keys = Keys::default()
///     .with_tenant("press", "sk-0123456789abcdef", None)?
///     .with_tenant("court", "sk-fedcba9876543210", Some(vec!["law".to_owned()]))?
///     .with_admin("sk-admin-0123456789")?;
/// assert!(!format!("{keys:?}").contains("0123"));
/// assert!(Keys::default().with_admin("short").is_err());
/// # Ok::<(), openledger_core::Error>(())
/// ```
#[derive(Clone, Default)]
pub struct Keys {
    tenants: Vec<(blake3::Hash, Arc<Tenant>)>,
    admins: Vec<blake3::Hash>,
}

/// Who shares keys.
#[derive(Debug)]
struct Tenant {
    name: TenantName,
    adapters: Option<BTreeSet<String>>,
}

/// On whose behalf a request is.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    tenant: Option<Arc<Tenant>>,
    pub(crate) admin: bool,
}

impl Caller {
    /// Returns the tenant's name.
    pub(crate) fn name(&self) -> Option<TenantName> {
        self.tenant.as_ref().map(|tenant| Arc::clone(&tenant.name))
    }

    /// Returns whether it may use the adapter of that name, or know of it.
    pub(crate) fn may_use(&self, adapter: &str) -> bool {
        let own = self.tenant.as_ref().and_then(|tenant| tenant.adapters.as_ref());
        own.is_none_or(|own| own.contains(adapter))
    }
}

impl Keys {
    /// Returns this with a key of a tenant, who may use the base model and `adapters`, or all of them if
    /// there is no list. A tenant may have several keys; each has a list of its own.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] for a key of fewer than 16 characters or one that is known already.
    pub fn with_tenant(
        mut self,
        tenant: &str,
        key: &str,
        adapters: Option<Vec<String>>,
    ) -> Result<Self> {
        let hash = self.fresh(key)?;
        let adapters = adapters.map(|names| names.into_iter().collect());
        self.tenants.push((hash, Arc::new(Tenant { name: tenant.into(), adapters })));
        Ok(self)
    }

    /// Returns this with an administrator's key, which also asks for answers.
    ///
    /// # Errors
    /// As [`with_tenant`](Self::with_tenant).
    pub fn with_admin(mut self, key: &str) -> Result<Self> {
        let hash = self.fresh(key)?;
        self.admins.push(hash);
        Ok(self)
    }

    /// Reads keys of tenants, one a line: `TENANT KEY` or `TENANT KEY ADAPTER,ADAPTER`. Lines that are
    /// empty or begin with `#` are passed over.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] naming the line, never the key; [`ErrorKind::Limit`] for more than 10,000
    /// lines.
    ///
    /// # Examples
    /// ```
    /// use openledger_serve_http::Keys;
    ///
    /// let text = "# who key adapters\npress sk-0123456789abcdef\ncourt sk-fedcba9876543210 law,tax\n";
    /// assert!(Keys::default().with_lines(text).is_ok());
    /// let error = Keys::default().with_lines("press\n").unwrap_err();
    /// assert_eq!(error.to_string(), "line 1 of the keys is not `TENANT KEY [ADAPTER,...]`");
    /// # Ok::<(), openledger_core::Error>(())
    /// ```
    pub fn with_lines(mut self, text: &str) -> Result<Self> {
        for (index, line) in text.lines().enumerate() {
            if index >= MAX_KEYS {
                let message = format!("more than {MAX_KEYS} lines of keys");
                return Err(Error::new(ErrorKind::Limit, message));
            }
            let words: Vec<&str> = line.split_whitespace().collect();
            let named =
                |says: &str| Error::invalid(format!("line {} of the keys {says}", index + 1));
            self = match words[..] {
                [] => Ok(self),
                [first, ..] if first.starts_with('#') => Ok(self),
                [tenant, key] => self.with_tenant(tenant, key, None),
                [tenant, key, adapters] => {
                    let adapters = adapters.split(',').map(str::to_owned).collect();
                    self.with_tenant(tenant, key, Some(adapters))
                }
                _ => return Err(named("is not `TENANT KEY [ADAPTER,...]`")),
            }
            .map_err(|e| named("cannot be used").with_source(e))?;
        }
        Ok(self)
    }

    fn fresh(&self, key: &str) -> Result<blake3::Hash> {
        if key.chars().count() < MIN_LENGTH || !key.chars().all(|letter| letter.is_ascii_graphic())
        {
            let message = format!("a key has at least {MIN_LENGTH} characters, none of them blank");
            return Err(Error::invalid(message));
        }
        let hash = blake3::hash(key.as_bytes());
        match self.find(key.as_bytes()) {
            Some(_) => Err(Error::invalid("the key is known already")),
            None => Ok(hash),
        }
    }

    /// Returns whom a key stands for. Looks at all of them, whichever it is.
    pub(super) fn find(&self, key: &[u8]) -> Option<Caller> {
        let hash = blake3::hash(key);
        let mut found = None;
        for (known, tenant) in &self.tenants {
            if *known == hash {
                found = Some(Caller { tenant: Some(Arc::clone(tenant)), admin: false });
            }
        }
        for known in &self.admins {
            if *known == hash {
                found = Some(Caller { tenant: None, admin: true });
            }
        }
        found
    }

    /// Returns whom no key stands for, if that is allowed.
    pub(super) fn nobody(&self) -> Option<Caller> {
        self.tenants.is_empty().then_some(Caller { tenant: None, admin: false })
    }

    pub(super) const fn has_admin(&self) -> bool {
        !self.admins.is_empty()
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: BTreeSet<&str> = self.tenants.iter().map(|(_, tenant)| &*tenant.name).collect();
        let mut shown = f.debug_struct("Keys");
        shown.field("tenants", &names).field("admins", &self.admins.len()).finish_non_exhaustive()
    }
}
