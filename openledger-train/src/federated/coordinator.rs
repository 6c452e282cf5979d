//! The rounds of a run, one after another.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    sync::Arc,
};

use openledger_core::{
    Address, Bytes, Error, ErrorKind, Result,
    message::{LocalUpdate, Signed},
};

use super::{
    Federation, FederationRecord, Gate, HeldOut, Matrices, Round, RoundRecord, folder::Folder,
    judge::Judge,
};

/// Keeps the shared matrices, takes updates, and closes rounds.
///
/// Nothing happens by itself: [`poll`](Self::poll) closes a round when it is time. To share one between
/// threads or offer it to workers, make a [`Host`](super::Host) of it.
#[derive(Debug)]
pub struct Coordinator {
    federation: Arc<Federation>,
    held_out: Option<Box<dyn HeldOut>>,
    standing: Standing,
    gate: Arc<Gate>,
    received: BTreeMap<Address, (Signed<LocalUpdate>, Bytes)>,
    folder: Option<Folder>,
}

/// What a round begins with.
#[derive(Clone, Debug)]
pub(super) struct Standing {
    /// Held-out loss of the matrices.
    pub(super) loss: f64,
    pub(super) matrices: Matrices,
    pub(super) velocity: Vec<f32>,
    /// Who missed the round before: nobody waits for them.
    pub(super) away: BTreeSet<Address>,
    pub(super) rounds: Vec<RoundRecord>,
    /// When the round ends, in Unix seconds.
    pub(super) deadline: u64,
}

impl Coordinator {
    /// Opens the first round at `now`, with the matrices in `start`, an `adapter_model.safetensors`.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] for terms that cannot be kept, and those of [`Matrices::parse`].
    pub fn new(federation: Federation, start: &[u8], now: u64) -> Result<Self> {
        federation.check()?;
        let matrices = Matrices::parse(start)?;
        let federation = Arc::new(federation);
        let standing = Standing {
            loss: f64::INFINITY,
            matrices,
            velocity: Vec::new(),
            away: BTreeSet::new(),
            rounds: Vec::new(),
            deadline: now.saturating_add(federation.seconds),
        };
        let gate = Arc::new(open(&federation, &standing));
        let received = BTreeMap::new();
        Ok(Self { federation, held_out: None, standing, gate, received, folder: None })
    }

    /// Tries updates on rows that no worker has. Without, only norms and the rule of combination stand
    /// against lies.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] if the matrices at hand have no finite loss; those of [`HeldOut::loss`].
    pub fn with_held_out(mut self, held_out: impl HeldOut + 'static) -> Result<Self> {
        let loss = held_out.loss(self.gate.matrices())?;
        if !loss.is_finite() {
            return Err(Error::invalid(format!("a held-out loss of {loss} at the start")));
        }
        self.standing.loss = loss;
        self.held_out = Some(Box::new(held_out));
        Ok(self)
    }

    /// Keeps everything in `folder`, where there is nothing or a coordinator of the same terms and the same
    /// start. Then this goes on where that one was when its process ended: with the updates it had said it
    /// took, and the deadline it had told. Call it last.
    ///
    /// An update is on the disk before it counts as taken, and a round before its matrices are offered, so
    /// no worker ever knows more than the folder.
    ///
    /// # Errors
    /// [`ErrorKind::Conflict`] for a folder of other terms or another start; [`ErrorKind::Corrupt`] for what
    /// no coordinator wrote; [`ErrorKind::Unavailable`] if it cannot be read or written.
    pub fn with_folder(mut self, folder: impl Into<PathBuf>) -> Result<Self> {
        let folder = Folder::open(folder.into())?;
        match folder.standing(&self.federation, &self.standing.matrices)? {
            None => folder.save(&self.federation, &self.standing)?,
            Some(mut standing) => {
                self.gate = Arc::new(open(&self.federation, &standing));
                if let Some(held_out) = &self.held_out {
                    standing.loss = held_out.loss(self.gate.matrices())?;
                }
                self.standing = standing;
                for (update, bytes) in folder.updates(&self.federation)? {
                    // What a worker sent last may be of a round that is over. Whether a signature was in
                    // time was seen when it came.
                    if update.unverified().round == self.gate.round().number {
                        self.submit(update, bytes, 0)?;
                    }
                }
            }
        }
        self.folder = Some(folder);
        Ok(self)
    }

    /// Returns the door of the round that is open: where the run stands, and its matrices.
    pub const fn gate(&self) -> &Arc<Gate> {
        &self.gate
    }

    /// Takes an update of the round that is open. The same update again changes nothing.
    ///
    /// An update that is signed well and of the right size is kept whatever it holds: what is wrong with it
    /// belongs in the record. Bytes that are not what was signed may be somebody else's doing, and count for
    /// nothing.
    ///
    /// # Errors
    /// Those of [`Gate::check`]; [`ErrorKind::Limit`] for more bytes than an update has;
    /// [`ErrorKind::Corrupt`] for bytes of another digest; [`ErrorKind::Conflict`] for a second, different
    /// update; [`ErrorKind::Unavailable`] if the folder cannot be written: then it was not taken.
    pub fn submit(&mut self, update: Signed<LocalUpdate>, bytes: Bytes, now: u64) -> Result<()> {
        self.gate.check(&update, now)?;
        let size = self.gate.round().size;
        if bytes.len() > size {
            let message = format!("{} bytes of update, not {size}", bytes.len());
            return Err(Error::new(ErrorKind::Limit, message));
        }
        let said = update.unverified();
        if Matrices::digest(&bytes) != said.update {
            return Err(Error::corrupt(format!("the bytes are not update {}", said.update)));
        }
        match self.received.get(&said.worker) {
            None => {
                if let Some(folder) = &self.folder {
                    folder.keep(&update, &bytes)?;
                }
                self.received.insert(said.worker, (update, bytes));
                Ok(())
            }
            Some((before, _)) if before.unverified() == said => Ok(()),
            Some(_) => {
                let message =
                    format!("{} has sent another update of round {}", said.worker, said.round);
                Err(Error::new(ErrorKind::Conflict, message))
            }
        }
    }

    /// Waits for `worker` again, who missed a round and is back: its update came too late. Whoever takes part
    /// in a round is waited for in the next one anyway.
    pub fn expect(&mut self, worker: Address) {
        self.standing.away.remove(&worker);
    }

    /// Closes the round if a quorum of updates is there, and with it those of all who took part in the round
    /// before; or at its deadline, if a quorum is there. Returns its record.
    ///
    /// At a deadline without a quorum the round goes on for as long again. Costs a held-out loss for each
    /// update and one for the result.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`] if the folder cannot be written: then nothing has changed, and the next
    /// call tries again.
    pub fn poll(&mut self, now: u64) -> Result<Option<&RoundRecord>> {
        let round = self.gate.round();
        if round.is_over() {
            return Ok(None);
        }
        let late = now >= round.deadline;
        let mut missing =
            self.federation.workers.iter().filter(|w| !self.received.contains_key(*w));
        let waiting = missing.any(|worker| !self.standing.away.contains(worker));
        let closes = self.received.len() >= self.federation.quorum && (late || !waiting);
        if !(closes || late) {
            return Ok(None);
        }
        let mut next = if closes { self.close() } else { self.standing.clone() };
        next.deadline = now.saturating_add(self.federation.seconds);
        if let Some(folder) = &self.folder {
            folder.save(&self.federation, &next)?;
        }
        self.gate = Arc::new(open(&self.federation, &next));
        self.standing = next;
        if !closes {
            return Ok(None);
        }
        self.received.clear();
        Ok(self.standing.rounds.last())
    }

    /// What the next round begins with.
    fn close(&self) -> Standing {
        let Standing { loss: before, matrices, velocity, rounds, deadline, .. } = &self.standing;
        let judge = Judge {
            defence: &self.federation.defence,
            start: matrices,
            held_out: self.held_out.as_deref().map(|held_out| (held_out, *before)),
        };
        let missed = |worker: &&Address| !self.received.contains_key(*worker);
        let away = self.federation.workers.iter().filter(missed).copied().collect();
        let (updates, counted) =
            judge.judge(self.received.values().map(|(signed, bytes)| (signed, bytes)));

        let mut velocity = velocity.clone();
        let moved = (!counted.is_empty()).then(|| {
            let counted: Vec<(&[f32], f64)> =
                counted.iter().map(|(update, weight)| (update.values(), *weight)).collect();
            let update = self.federation.defence.combine.combine(&counted);
            let update = self.federation.outer.step(&mut velocity, update);
            matrices.moved(&matrices.with_values(update))
        });
        let moved = moved.filter(|moved| moved.values().iter().all(|x| x.is_finite()));
        let measured = moved.map(|moved| {
            let loss = |(held_out, _): (&dyn HeldOut, f64)| {
                held_out.loss(&moved.to_bytes()).unwrap_or(f64::NAN)
            };
            (judge.held_out.map_or(*before, loss), moved)
        });
        let useful = measured
            .filter(|(after, _)| judge.held_out.is_none() || judge.tolerates(*before, *after));
        let void = useful.is_none();
        let (loss, matrices, velocity) = match useful {
            Some((after, moved)) => (after, moved, velocity),
            // What pushed it too far must not push it again.
            None => (*before, matrices.clone(), Vec::new()),
        };
        let round = self.gate.round();
        let record = RoundRecord {
            round: round.number,
            start: round.start,
            end: Matrices::digest(&matrices.to_bytes()),
            updates,
            losses: self.held_out.is_some().then(|| [*before, loss].map(|loss| loss as f32)),
            void,
        };
        let rounds = [&rounds[..], &[record]].concat();
        Standing { loss, matrices, velocity, away, rounds, deadline: *deadline }
    }

    /// Returns what happened so far.
    pub fn record(&self) -> FederationRecord {
        let rounds = self.standing.rounds.clone();
        FederationRecord { federation: (*self.federation).clone(), rounds }
    }
}

/// Opens the round behind those that are over.
fn open(federation: &Arc<Federation>, standing: &Standing) -> Gate {
    let bytes = standing.matrices.to_bytes();
    let round = Round {
        run: federation.run,
        number: standing.rounds.len() as u64,
        rounds: federation.rounds,
        steps: federation.steps,
        start: Matrices::digest(&bytes),
        size: bytes.len(),
        deadline: standing.deadline,
    };
    Gate::new(Arc::clone(federation), round, bytes)
}
