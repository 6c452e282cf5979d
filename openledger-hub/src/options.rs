//! Where the hub and its cache are, and what may be done.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
    time::Duration,
};

use openledger_core::{Error, Result, file};

use crate::Token;

const ENDPOINT: &str = "https://huggingface.co";
/// The largest file that holds a token: 4 KiB.
const MAX_TOKEN: u64 = 4 << 10;

/// Where the hub and its cache are, and what may be done.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct HubOptions {
    /// The hub, or a mirror of it, without a slash at the end.
    pub endpoint: String,
    /// The folder of the cache, which Python calls `HF_HUB_CACHE`.
    pub cache: PathBuf,
    /// What is sent to the endpoint, and to nobody else.
    pub token: Option<Token>,
    /// Whether only what is cached is used.
    pub offline: bool,
    /// The largest file downloaded, in bytes: 512 GiB.
    pub max_file_bytes: u64,
    /// How long a server may be silent: 30 seconds.
    pub timeout: Duration,
}

impl HubOptions {
    /// Takes a folder for the cache.
    pub fn new(cache: impl Into<PathBuf>) -> Self {
        Self {
            endpoint: ENDPOINT.to_owned(),
            cache: cache.into(),
            token: None,
            offline: false,
            max_file_bytes: 512 << 30,
            timeout: Duration::from_secs(30),
        }
    }

    /// Reads the process's environment; see [`from_vars`](Self::from_vars).
    ///
    /// # Errors
    /// As `from_vars`.
    pub fn from_env() -> Result<Self> {
        Self::from_vars(|name| std::env::var_os(name))
    }

    /// Reads variables as `huggingface_hub` does: `HF_HUB_CACHE` (or `HUGGINGFACE_HUB_CACHE`), else
    /// `hub` in `HF_HOME`, else in `huggingface` in `XDG_CACHE_HOME` or `~/.cache`; `HF_TOKEN` (or
    /// `HUGGING_FACE_HUB_TOKEN`), else the file `HF_TOKEN_PATH` or `token` in the home;
    /// `HF_HUB_DISABLE_IMPLICIT_TOKEN`, `HF_ENDPOINT`, `HF_HUB_OFFLINE`.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`](openledger_core::ErrorKind::Invalid) if there is no home folder, or a
    /// token is none.
    pub fn from_vars(var: impl Fn(&str) -> Option<OsString>) -> Result<Self> {
        let var = |name: &str| var(name).filter(|value| !value.is_empty());
        let text = |name: &str| var(name).and_then(|value| value.into_string().ok());
        let user = || var("HOME").or_else(|| var("USERPROFILE")).map(PathBuf::from);
        let home = match (var("HF_HOME"), var("XDG_CACHE_HOME")) {
            (Some(home), _) => Some(expand(PathBuf::from(home), user())),
            (None, Some(caches)) => Some(expand(PathBuf::from(caches), user()).join("huggingface")),
            (None, None) => user().map(|user| user.join(".cache/huggingface")),
        };
        let named = var("HF_HUB_CACHE").or_else(|| var("HUGGINGFACE_HUB_CACHE"));
        let named = named.map(|cache| expand(PathBuf::from(cache), user()));
        let cache = named.or_else(|| Some(home.as_ref()?.join("hub"))).ok_or_else(|| {
            Error::invalid("no folder for models: set `HF_HOME`, `HF_HUB_CACHE` or `HOME`")
        })?;
        let mut options = Self::new(cache);
        if let Some(endpoint) = text("HF_ENDPOINT") {
            options = options.with_endpoint(&endpoint);
        }
        let set = |name: &str| text(name).is_some_and(|value| is_true(&value));
        options.offline = set("HF_HUB_OFFLINE");
        let spelled = text("HF_TOKEN").or_else(|| text("HUGGING_FACE_HUB_TOKEN"));
        let path = var("HF_TOKEN_PATH").map(PathBuf::from);
        let path = path.or_else(|| Some(home?.join("token"))).filter(|path| path.is_file());
        options.token = match (spelled, path) {
            _ if set("HF_HUB_DISABLE_IMPLICIT_TOKEN") => None,
            (Some(token), _) => Some(Token::new(&token)?),
            (None, Some(path)) => read_token(&path)?,
            (None, None) => None,
        };
        Ok(options)
    }

    /// Returns this with another hub, such as a mirror.
    #[must_use]
    pub fn with_endpoint(mut self, endpoint: &str) -> Self {
        self.endpoint = endpoint.trim_end_matches('/').to_owned();
        self
    }

    /// Returns this with a token.
    #[must_use]
    pub fn with_token(mut self, token: Token) -> Self {
        self.token = Some(token);
        self
    }

    /// Returns this without the network, or with it.
    #[must_use]
    pub const fn with_offline(mut self, offline: bool) -> Self {
        self.offline = offline;
        self
    }

    /// Returns this with a limit on the size of a file.
    #[must_use]
    pub const fn with_max_file_bytes(mut self, bytes: u64) -> Self {
        self.max_file_bytes = bytes;
        self
    }

    /// Returns this with a limit on a server's silence.
    #[must_use]
    pub const fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }
}

fn read_token(path: &Path) -> Result<Option<Token>> {
    let bytes = file::read(path, MAX_TOKEN)?;
    match String::from_utf8(bytes) {
        Ok(text) if text.trim().is_empty() => Ok(None),
        Ok(text) => Token::new(&text).map(Some),
        // The source would show the bytes.
        Err(_) => Err(Error::invalid(format!("`{}` holds no token", path.display()))),
    }
}

fn is_true(value: &str) -> bool {
    ["1", "ON", "YES", "TRUE"].contains(&value.to_ascii_uppercase().as_str())
}

/// Puts the user's folder for a `~` at the beginning.
fn expand(path: PathBuf, user: Option<PathBuf>) -> PathBuf {
    match (path.strip_prefix("~"), user) {
        (Ok(rest), Some(user)) => user.join(rest),
        _ => path,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(vars: &[(&str, &str)]) -> HubOptions {
        HubOptions::from_vars(|name| {
            vars.iter().find(|(key, _)| *key == name).map(|(_, value)| value.into())
        })
        .unwrap()
    }

    #[test]
    fn the_cache_is_where_python_has_it() {
        let cache = |vars: &[(&str, &str)]| of(vars).cache;
        let home = ("HOME", "/u");
        assert_eq!(cache(&[home]), Path::new("/u/.cache/huggingface/hub"));
        assert_eq!(cache(&[home, ("XDG_CACHE_HOME", "/x")]), Path::new("/x/huggingface/hub"));
        let both = [home, ("XDG_CACHE_HOME", "/x"), ("HF_HOME", "/h")];
        assert_eq!(cache(&both), Path::new("/h/hub"));
        assert_eq!(cache(&[home, ("HF_HOME", "~/h")]), Path::new("/u/h/hub"));
        assert_eq!(cache(&[("HF_HUB_CACHE", "/c"), ("HF_HOME", "/h")]), Path::new("/c"));
        assert!(HubOptions::from_vars(|_| None).is_err());
    }

    #[test]
    fn a_token_is_never_printed() {
        let options = of(&[("HOME", "/u"), ("HF_TOKEN", " hf_secret\n")]);
        assert!(!format!("{options:?}").contains("secret"));
        assert_eq!(options.token.unwrap().header().to_str().unwrap(), "Bearer hf_secret");
        let error = HubOptions::from_vars(|_| Some("a\u{1}secret".into())).unwrap_err();
        assert!(!error.report().contains("secret"));
    }

    #[test]
    fn a_token_may_lie_in_a_file() {
        let home = tempfile::tempdir().unwrap();
        std::fs::write(home.path().join("token"), "hf_file\n").unwrap();
        let home = home.path().to_str().unwrap();
        let header = |vars: &[(&str, &str)]| {
            of(vars).token.map(|token| token.header().to_str().unwrap().to_owned())
        };
        assert_eq!(header(&[("HF_HOME", home)]).as_deref(), Some("Bearer hf_file"));
        let both = [("HF_HOME", home), ("HF_TOKEN", "hf_env")];
        assert_eq!(header(&both).as_deref(), Some("Bearer hf_env"));
        assert_eq!(header(&[("HF_HOME", home), ("HF_HUB_DISABLE_IMPLICIT_TOKEN", "1")]), None);
    }

    #[test]
    fn switches_are_read_as_in_python() {
        for (value, offline) in [("1", true), ("true", true), ("0", false), ("", false)] {
            assert_eq!(of(&[("HOME", "/u"), ("HF_HUB_OFFLINE", value)]).offline, offline);
        }
        assert_eq!(of(&[("HOME", "/u"), ("HF_ENDPOINT", "http://m/")]).endpoint, "http://m");
    }
}
