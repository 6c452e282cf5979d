//! Procedures of several steps that survive the end of the process.
//!
//! A step is done once it is written down, and what is written down is done once. A transaction is
//! written down signed, before any node sees it: after a restart the same step finds it included,
//! or sends the same bytes again. A second one is signed only when a block shows that another
//! transaction of the account used the nonce.

use std::{
    collections::HashMap,
    fmt,
    fs::File,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use alloy::{
    contract::{CallBuilder, CallDecoder},
    network::Ethereum,
    primitives::keccak256,
    providers::Provider,
};
use async_trait::async_trait;
use openledger_core::{B256, Bytes, Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};

use super::{
    EvmChain, Sent, Tx,
    send::{Attempt, Outgoing, Record, decoded},
};

/// Keeps bytes by name. Implement this to write a [`Journal`] elsewhere.
///
/// # Contract
/// - What `save` has returned for is there after a crash; what it has not is there whole or as it
///   was before.
/// - `load` returns what was saved last under the name; what it would not return, `save` refuses.
/// - Nobody else writes the same names meanwhile.
#[async_trait]
pub trait Keep: fmt::Debug + Send + Sync {
    /// Returns what is kept under `name`.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`] if it cannot be read.
    async fn load(&self, name: &str) -> Result<Option<Bytes>>;

    /// Keeps `bytes` under `name`, in place of what was.
    ///
    /// # Errors
    /// [`ErrorKind::Limit`] if they are more than it keeps under a name; [`ErrorKind::Unavailable`]
    /// if they cannot be written.
    async fn save(&self, name: &str, bytes: Bytes) -> Result<()>;
}

/// Keeps bytes as long as the process lives; clones share them.
#[derive(Clone, Debug, Default)]
pub struct Memory(Arc<Mutex<HashMap<String, Bytes>>>);

#[async_trait]
impl Keep for Memory {
    async fn load(&self, name: &str) -> Result<Option<Bytes>> {
        Ok(self.0.lock().unwrap_or_else(PoisonError::into_inner).get(name).cloned())
    }

    async fn save(&self, name: &str, bytes: Bytes) -> Result<()> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned(), bytes);
        Ok(())
    }
}

/// Keeps bytes in a folder, a file for each name, for one process at a time; 64 MiB under a name.
#[derive(Debug)]
pub struct Files {
    folder: PathBuf,
    /// Locked as long as this lives.
    _lock: File,
}

/// No file of a journal is larger: a transaction is at most 128 KiB on most networks.
const FILE_LIMIT: u64 = 64 << 20;

impl Files {
    /// Opens the folder at `path`, making it if it is not there.
    ///
    /// # Errors
    /// [`ErrorKind::Conflict`] if another process has it open; [`ErrorKind::Unavailable`] if it
    /// cannot be made or written.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let folder = path.as_ref().to_owned();
        let failed = |e: std::io::Error| {
            let message = format!("cannot open the journal in `{}`", folder.display());
            Error::new(ErrorKind::Unavailable, message).with_source(e).with_retryable(false)
        };
        std::fs::create_dir_all(&folder).map_err(failed)?;
        let lock = File::create(folder.join("lock")).map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { folder, _lock: lock }),
            Err(std::fs::TryLockError::WouldBlock) => {
                let message = format!("the journal in `{}` is in use", folder.display());
                Err(Error::new(ErrorKind::Conflict, message))
            }
            Err(std::fs::TryLockError::Error(e)) => Err(failed(e)),
        }
    }

    /// The name in hexadecimal: any name is a file's name then, and no two are the same.
    fn path(&self, name: &str) -> PathBuf {
        let name: String = name.bytes().map(|byte| format!("{byte:02x}")).collect();
        self.folder.join(format!("{name}.json"))
    }
}

#[async_trait]
impl Keep for Files {
    async fn load(&self, name: &str) -> Result<Option<Bytes>> {
        match openledger_core::file::read(self.path(name), FILE_LIMIT) {
            Ok(bytes) => Ok(Some(bytes.into())),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn save(&self, name: &str, bytes: Bytes) -> Result<()> {
        if bytes.len() as u64 > FILE_LIMIT {
            let message = format!("{} bytes for `{name}`, more than {FILE_LIMIT}", bytes.len());
            return Err(Error::new(ErrorKind::Limit, message));
        }
        openledger_core::file::write(self.path(name), &bytes)?;
        // The new name must outlive a loss of power too, not only the bytes.
        #[cfg(unix)]
        File::open(&self.folder).and_then(|folder| folder.sync_all()).map_err(|e| {
            let message = format!("cannot write the journal in `{}`", self.folder.display());
            Error::new(ErrorKind::Unavailable, message).with_source(e).with_retryable(false)
        })?;
        Ok(())
    }
}

/// A procedure of several steps, written down as it goes.
///
/// Steps are named; after a restart the same steps are asked for in the same order, and those that
/// are done return at once what they returned then. The name of the procedure must be new for each
/// new thing: an epoch's number, a batch's root.
///
/// # Examples
/// ```
/// use openledger_chain::{
///     DeployOptions, EvmChain, Genesis, Journal, Memory, abi::open_token::OpenToken, embedded,
/// };
/// use openledger_core::{Address, B256, Key, U256};
///
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// # let key = Key::from_bytes(B256::repeat_byte(7))?;
/// # let me = key.address();
/// # let provider = embedded(Genesis::default(), &[key])?;
/// # let chain = EvmChain::deploy(provider, DeployOptions::new(me)).await?.chain;
/// let keep = Memory::default();
/// let token = OpenToken::new(chain.contracts().token, chain.provider());
/// let friend = Address::repeat_byte(5);
/// for _ in 0..2 {
///     let mut gift = Journal::new(&chain, keep.clone(), "gift 1");
///     gift.step("pay", token.transfer(friend, U256::from(9))).await?;
/// }
/// assert_eq!(chain.balance(friend).await?, 9.into());
/// # Ok::<(), openledger_core::Error>(())
/// # }).unwrap();
/// ```
#[derive(Clone, Debug)]
pub struct Journal {
    chain: EvmChain,
    keep: Arc<dyn Keep>,
    name: String,
}

/// What is written of a step.
#[derive(Debug, Deserialize, Serialize)]
enum Page {
    /// Signed, its outcome unknown.
    Signed(Attempt),
    /// A transaction was included; what its call returned.
    Sent { key: B256, tx: Tx, output: Bytes },
    /// What is not a transaction.
    Noted(Bytes),
    /// What was signed came to nothing: the step may be begun otherwise.
    Free,
}

impl Journal {
    /// Begins or resumes the procedure called `name`, sending as `chain` does.
    pub fn new(chain: &EvmChain, keep: impl Keep + 'static, name: impl Into<String>) -> Self {
        Self::with_keep(chain, Arc::new(keep), name)
    }

    /// As [`new`](Self::new), on a shared keep.
    pub fn with_keep(chain: &EvmChain, keep: Arc<dyn Keep>, name: impl Into<String>) -> Self {
        Self { chain: chain.clone(), keep, name: name.into() }
    }

    /// Returns the client it sends with.
    pub const fn chain(&self) -> &EvmChain {
        &self.chain
    }

    /// Sends the call of a step, once: now, or at an earlier run, whose outcome is returned.
    ///
    /// The value is what the call returned when it was tried before it was sent, as with
    /// [`EvmChain::send_for`]; [`Tx::event`] is what happened.
    ///
    /// # Errors
    /// As [`EvmChain::send_for`], naming the step. [`ErrorKind::Conflict`] if the step was begun
    /// with another call, or the same on another chain; [`ErrorKind::Corrupt`] if what was written
    /// is not a step. A transaction that was reverted has done nothing: the step is free for another
    /// call.
    pub async fn step<P: Provider, D: CallDecoder + Unpin>(
        &mut self,
        step: &str,
        call: CallBuilder<P, D, Ethereum>,
    ) -> Result<Sent<D::CallOutput>> {
        let mut outgoing =
            Outgoing::new(call.as_ref(), self.chain.chain_id, self.chain.sender, true);
        outgoing.key = keccak256([self.page(step).as_bytes(), outgoing.key.as_slice()].concat());
        let (tx, output) =
            self.send(step, &outgoing).await.map_err(|error| self.failed(step, error))?;
        let value = decoded(step, &call, output, &tx).map_err(|error| self.failed(step, error))?;
        Ok(Sent { value, tx })
    }

    /// Does what is not a transaction, and writes down what came of it; later runs return that.
    ///
    /// `act` must be harmless to repeat: a crash after it and before the writing repeats it.
    ///
    /// # Errors
    /// Those of `act`, naming the step; [`ErrorKind::Conflict`] if the step was a transaction;
    /// those of [`Keep::save`]. The bytes are kept as hexadecimal digits, which are twice as many.
    pub async fn note<F>(&mut self, step: &str, act: impl FnOnce() -> F) -> Result<Bytes>
    where
        F: Future<Output = Result<Bytes>>,
    {
        let noted = async {
            match self.load(step).await? {
                Some(Page::Noted(bytes)) => Ok(bytes),
                Some(Page::Signed(_) | Page::Sent { .. }) => Err(other(step)),
                None | Some(Page::Free) => {
                    let bytes = act().await?;
                    self.save(step, &Page::Noted(bytes.clone())).await?;
                    Ok(bytes)
                }
            }
        };
        noted.await.map_err(|error| self.failed(step, error))
    }

    async fn send(&self, step: &str, call: &Outgoing) -> Result<(Tx, Bytes)> {
        let signed = match self.load(step).await? {
            None | Some(Page::Free) => None,
            Some(Page::Sent { key, tx, output }) if key == call.key => return Ok((tx, output)),
            Some(Page::Signed(attempt)) if attempt.key() == call.key => Some(attempt),
            Some(_) => return Err(other(step)),
        };
        let mut writer = Writer { journal: self, step };
        let (tx, output) = self.chain.outbox().send(step, call, signed, &mut writer).await?;
        let page = Page::Sent { key: call.key, tx: tx.clone(), output: output.clone() };
        self.save(step, &page).await?;
        Ok((tx, output))
    }

    fn page(&self, step: &str) -> String {
        format!("{}/{step}", self.name)
    }

    async fn load(&self, step: &str) -> Result<Option<Page>> {
        let Some(bytes) = self.keep.load(&self.page(step)).await? else { return Ok(None) };
        let page = serde_json::from_slice(&bytes);
        page.map(Some).map_err(|e| Error::corrupt("not a page of a journal").with_source(e))
    }

    async fn save(&self, step: &str, page: &Page) -> Result<()> {
        let bytes = serde_json::to_vec(page)
            .map_err(|e| Error::invalid("cannot write the page").with_source(e))?;
        self.keep.save(&self.page(step), bytes.into()).await
    }

    fn failed(&self, step: &str, error: Error) -> Error {
        let message = format!("`{}` stopped at step `{step}`", self.name);
        let retryable = error.is_retryable();
        Error::new(error.kind(), message).with_source(error).with_retryable(retryable)
    }
}

fn other(step: &str) -> Error {
    Error::new(ErrorKind::Conflict, format!("step `{step}` was begun with something else"))
}

/// Writes what was signed for a step.
struct Writer<'a> {
    journal: &'a Journal,
    step: &'a str,
}

#[async_trait]
impl Record for Writer<'_> {
    async fn record(&mut self, attempt: &Attempt) -> Result<()> {
        self.journal.save(self.step, &Page::Signed(attempt.clone())).await
    }

    async fn forget(&mut self) -> Result<()> {
        self.journal.save(self.step, &Page::Free).await
    }
}
