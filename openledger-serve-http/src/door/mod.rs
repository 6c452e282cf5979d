//! Who may come in: keys, and what happens to those who guess them.

mod guard;
mod keys;

use std::{net::IpAddr, sync::Arc};

use http::{HeaderMap, StatusCode, header::AUTHORIZATION};

pub use keys::Keys;

use crate::{ApiLimits, error::Failure};
use guard::Guard;
pub(crate) use keys::Caller;

/// Keys, and a memory of wrong ones.
#[derive(Debug, Default)]
pub(crate) struct Door {
    keys: Keys,
    guard: Guard,
}

impl Door {
    pub(crate) fn new(keys: Keys) -> Self {
        Self { keys, guard: Guard::default() }
    }

    /// Says on whose behalf a request is.
    pub(crate) fn admit(
        &self,
        headers: &HeaderMap,
        from: Option<IpAddr>,
        limits: &ApiLimits,
    ) -> Result<Caller, Failure> {
        let Some(given) = headers.get(AUTHORIZATION) else {
            return self.keys.nobody().ok_or_else(|| {
                let message = "no API key: send the header `Authorization: Bearer KEY`";
                Failure::new(StatusCode::UNAUTHORIZED, message).with_code("missing_api_key")
            });
        };
        if let Some(wait) = from.and_then(|from| self.guard.refused(from, limits)) {
            let message = "too many wrong API keys from this address";
            return Err(Failure::new(StatusCode::TOO_MANY_REQUESTS, message)
                .with_code("too_many_failures")
                .with_retry_after(wait));
        }
        let key = bearer(given.as_bytes());
        if let Some(caller) = key.and_then(|key| self.keys.find(key)) {
            return Ok(caller);
        }
        // Clients of servers without keys send some key all the same.
        if let Some(nobody) = self.keys.nobody() {
            return Ok(nobody);
        }
        if let Some(from) = from {
            self.guard.remember(from, limits);
        }
        let message = "the API key is not one of this server's";
        Err(Failure::new(StatusCode::UNAUTHORIZED, message).with_code("invalid_api_key"))
    }

    /// Refuses who is not an administrator. Where others need no key, one that is `given` here and is nobody's
    /// is a guess at the administrator's.
    pub(crate) fn admin(
        &self,
        caller: &Caller,
        given: bool,
        from: Option<IpAddr>,
        limits: &ApiLimits,
    ) -> Result<(), Failure> {
        if caller.admin {
            return Ok(());
        }
        let guesses = given && self.keys.has_admin() && caller.name().is_none();
        if let Some(from) = from.filter(|_| guesses) {
            self.guard.remember(from, limits);
        }
        let message = match self.keys.has_admin() {
            true => "this needs the administrator's key",
            false => "this server has no administrator's key, so nobody may do this",
        };
        Err(Failure::new(StatusCode::FORBIDDEN, message).with_code("admin_only"))
    }
}

/// Returns the key of `Bearer KEY`; the first word in any case, as HTTP has it.
fn bearer(value: &[u8]) -> Option<&[u8]> {
    let (scheme, key) = value.split_at_checked("bearer ".len())?;
    scheme.eq_ignore_ascii_case(b"bearer ").then(|| key.trim_ascii())
}

/// Whom an answer belongs to.
pub(crate) type TenantName = Arc<str>;
