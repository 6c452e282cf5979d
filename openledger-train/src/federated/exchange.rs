//! How workers and coordinator meet.

use std::{
    collections::BTreeSet,
    fmt, mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock},
};

use async_trait::async_trait;
use openledger_core::{
    Address, B256, Bytes, Error, ErrorKind, Result,
    message::{LocalUpdate, Signed},
};

use super::{Coordinator, FederationRecord, Gate, Matrices, Round, RoundRecord};

/// A run as a worker sees it. Implement this for another transport; run
/// `federated::conformance` with it.
///
/// # Contract
/// - `matrices` returns bytes of that digest or an error, never others.
/// - `submit` may be called again after a failure: the same update twice is one update.
/// - Dropping a returned future cancels the call; what was submitted may have arrived.
#[async_trait]
pub trait Exchange: fmt::Debug + Send + Sync {
    /// Returns where the run stands.
    async fn round(&self) -> Result<Round>;

    /// Returns the file of the matrices that `round` starts from.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] once that round is over.
    async fn matrices(&self, round: &Round) -> Result<Bytes>;

    /// Sends an update of the round that is open.
    ///
    /// # Errors
    /// Those of [`Coordinator::submit`].
    async fn submit(&self, update: Signed<LocalUpdate>, bytes: Bytes) -> Result<()>;
}

/// A coordinator that many threads may use; as an [`Exchange`], the one within a process.
///
/// Reading never waits for a round that is closing.
#[derive(Clone)]
pub struct Host(Arc<Inner>);

struct Inner {
    coordinator: Mutex<Coordinator>,
    gate: RwLock<Arc<Gate>>,
    /// Who came too late for the round before.
    late: Mutex<BTreeSet<Address>>,
    clock: Box<dyn Fn() -> u64 + Send + Sync>,
}

impl Host {
    /// Offers `coordinator`; `clock` tells Unix time in seconds.
    pub fn new(coordinator: Coordinator, clock: impl Fn() -> u64 + Send + Sync + 'static) -> Self {
        let gate = RwLock::new(Arc::clone(coordinator.gate()));
        Self(Arc::new(Inner {
            coordinator: Mutex::new(coordinator),
            gate,
            late: Mutex::default(),
            clock: Box::new(clock),
        }))
    }

    /// Returns the door of the round that is open.
    pub fn gate(&self) -> Arc<Gate> {
        Arc::clone(&self.0.gate.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Checks who sends and what is claimed, before any bytes are taken.
    ///
    /// # Errors
    /// Those of [`Gate::check`].
    pub fn check(&self, update: &Signed<LocalUpdate>) -> Result<()> {
        let gate = self.gate();
        let checked = gate.check(update, (self.0.clock)());
        let said = update.unverified();
        // A conflict is found behind the signature. Updates of rounds long ago may be anybody's replay.
        let late = matches!(&checked, Err(e) if e.kind() == ErrorKind::Conflict);
        if late && said.round.checked_add(1) == Some(gate.round().number) {
            self.0.late.lock().unwrap_or_else(PoisonError::into_inner).insert(said.worker);
        }
        checked
    }

    /// Takes an update. Waits while a round is closing.
    ///
    /// # Errors
    /// Those of [`Coordinator::submit`].
    pub fn accept(&self, update: Signed<LocalUpdate>, bytes: Bytes) -> Result<()> {
        // Most of what is wrong is seen without waiting.
        self.check(&update)?;
        self.coordinator().submit(update, bytes, (self.0.clock)())
    }

    /// Closes the round if it is time; returns its record. Call it after updates, and now and then for the
    /// deadline. It computes held-out losses: not on a thread that others wait for.
    ///
    /// # Errors
    /// Those of [`Coordinator::poll`].
    pub fn poll(&self) -> Result<Option<RoundRecord>> {
        let mut coordinator = self.coordinator();
        let late = mem::take(&mut *self.0.late.lock().unwrap_or_else(PoisonError::into_inner));
        late.into_iter().for_each(|worker| coordinator.expect(worker));
        let record = coordinator.poll((self.0.clock)())?.cloned();
        let gate = Arc::clone(coordinator.gate());
        *self.0.gate.write().unwrap_or_else(PoisonError::into_inner) = gate;
        Ok(record)
    }

    /// Returns what happened so far.
    pub fn record(&self) -> FederationRecord {
        self.coordinator().record()
    }

    /// A coordinator changes only where nothing can fail any more, so one that panicked is still whole.
    fn coordinator(&self) -> MutexGuard<'_, Coordinator> {
        self.0.coordinator.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Host").field("round", self.gate().round()).finish_non_exhaustive()
    }
}

#[async_trait]
impl Exchange for Host {
    async fn round(&self) -> Result<Round> {
        Ok(self.gate().round().clone())
    }

    async fn matrices(&self, round: &Round) -> Result<Bytes> {
        let gate = self.gate();
        match gate.round().start == round.start {
            true => Ok(gate.matrices().clone()),
            false => Err(gone(round.start)),
        }
    }

    async fn submit(&self, update: Signed<LocalUpdate>, bytes: Bytes) -> Result<()> {
        self.accept(update, bytes)?;
        // It is taken, whether or not the round can be closed just now.
        drop(self.poll());
        Ok(())
    }
}

fn gone(start: B256) -> Error {
    Error::new(ErrorKind::NotFound, format!("no matrices {start}: that round is over"))
}

/// Checks that `bytes` are the matrices `round` starts from, for transports.
///
/// # Errors
/// [`ErrorKind::Corrupt`] if they are not.
pub(super) fn check_matrices(round: &Round, bytes: &[u8]) -> Result<()> {
    match Matrices::digest(bytes) == round.start {
        true => Ok(()),
        false => Err(Error::corrupt(format!("the bytes are not matrices {}", round.start))),
    }
}
