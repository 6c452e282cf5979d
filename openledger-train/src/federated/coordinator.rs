//! The rounds of a run, one after another.

use std::{
    collections::{BTreeMap, BTreeSet},
    mem,
    sync::Arc,
};

use openledger_core::{
    Address, Bytes, Error, ErrorKind, Result,
    message::{LocalUpdate, Signed},
};

use super::{
    Federation, FederationRecord, Gate, HeldOut, Matrices, Round, RoundRecord, judge::Judge,
};

/// Keeps the shared matrices, takes updates, and closes rounds.
///
/// Nothing happens by itself: [`poll`](Self::poll) closes a round when it is time. To share one between
/// threads or offer it to workers, make a [`Host`](super::Host) of it.
#[derive(Debug)]
pub struct Coordinator {
    federation: Arc<Federation>,
    held_out: Option<Box<dyn HeldOut>>,
    /// Held-out loss of the matrices.
    loss: f64,
    matrices: Matrices,
    velocity: Vec<f32>,
    gate: Arc<Gate>,
    received: BTreeMap<Address, (Signed<LocalUpdate>, Bytes)>,
    /// Who missed the last round: nobody waits for them.
    away: BTreeSet<Address>,
    rounds: Vec<RoundRecord>,
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
        let gate = Arc::new(open(&federation, &matrices, 0, now));
        Ok(Self {
            federation,
            held_out: None,
            loss: f64::INFINITY,
            matrices,
            velocity: Vec::new(),
            gate,
            received: BTreeMap::new(),
            away: BTreeSet::new(),
            rounds: Vec::new(),
        })
    }

    /// Tries updates on rows that no worker has. Without, only norms and the rule of combination stand
    /// against lies.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] if the matrices at hand have no finite loss; those of [`HeldOut::loss`].
    pub fn with_held_out(mut self, held_out: impl HeldOut + 'static) -> Result<Self> {
        self.loss = held_out.loss(self.gate.matrices())?;
        if !self.loss.is_finite() {
            return Err(Error::invalid(format!("a held-out loss of {} at the start", self.loss)));
        }
        self.held_out = Some(Box::new(held_out));
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
    /// update.
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
        self.away.remove(&worker);
    }

    /// Closes the round if a quorum of updates is there, and with it those of all who took part in the round
    /// before; or at its deadline, if a quorum is there. Returns its record.
    ///
    /// At a deadline without a quorum the round goes on for as long again. Costs a held-out loss for each
    /// update and one for the result.
    pub fn poll(&mut self, now: u64) -> Option<&RoundRecord> {
        let round = self.gate.round();
        if round.is_over() {
            return None;
        }
        let late = now >= round.deadline;
        let mut missing =
            self.federation.workers.iter().filter(|w| !self.received.contains_key(*w));
        let waiting = missing.any(|worker| !self.away.contains(worker));
        let quorum = self.received.len() >= self.federation.quorum;
        match (quorum, late) {
            (true, true) => {}
            (true, false) if !waiting => {}
            (false, true) => {
                self.gate = Arc::new(open(&self.federation, &self.matrices, round.number, now));
                return None;
            }
            _ => return None,
        }
        let record = self.close();
        let number = record.round + 1;
        self.rounds.push(record);
        self.gate = Arc::new(open(&self.federation, &self.matrices, number, now));
        self.rounds.last()
    }

    fn close(&mut self) -> RoundRecord {
        let judge = Judge {
            defence: &self.federation.defence,
            start: &self.matrices,
            held_out: self.held_out.as_deref().map(|held_out| (held_out, self.loss)),
        };
        let received = mem::take(&mut self.received);
        let missed = |worker: &&Address| !received.contains_key(*worker);
        self.away = self.federation.workers.iter().filter(missed).copied().collect();
        let (updates, counted) =
            judge.judge(received.values().map(|(signed, bytes)| (signed, bytes)));
        let round = self.gate.round();
        let (number, start, before) = (round.number, round.start, self.loss);

        let mut velocity = self.velocity.clone();
        let moved = (!counted.is_empty()).then(|| {
            let counted: Vec<(&[f32], f64)> =
                counted.iter().map(|(update, weight)| (update.values(), *weight)).collect();
            let update = self.federation.defence.combine.combine(&counted);
            let update = self.federation.outer.step(&mut velocity, update);
            self.matrices.moved(&self.matrices.with_values(update))
        });
        let moved = moved.filter(|moved| moved.values().iter().all(|x| x.is_finite()));
        let measured = moved.map(|moved| {
            let loss = |(held_out, _): (&dyn HeldOut, f64)| {
                held_out.loss(&moved.to_bytes()).unwrap_or(f64::NAN)
            };
            (judge.held_out.map_or(before, loss), moved)
        });
        let useful = measured
            .filter(|(after, _)| judge.held_out.is_none() || judge.tolerates(before, *after));
        let void = useful.is_none();
        match useful {
            Some((after, moved)) => {
                (self.loss, self.matrices, self.velocity) = (after, moved, velocity);
            }
            // What pushed it too far must not push it again.
            None => self.velocity.clear(),
        }
        RoundRecord {
            round: number,
            start,
            end: Matrices::digest(&self.matrices.to_bytes()),
            updates,
            losses: self.held_out.is_some().then(|| [before, self.loss].map(|loss| loss as f32)),
            void,
        }
    }

    /// Returns what happened so far.
    pub fn record(&self) -> FederationRecord {
        FederationRecord { federation: (*self.federation).clone(), rounds: self.rounds.clone() }
    }
}

/// Opens a round.
fn open(federation: &Arc<Federation>, matrices: &Matrices, number: u64, now: u64) -> Gate {
    let bytes = matrices.to_bytes();
    let round = Round {
        run: federation.run,
        number,
        rounds: federation.rounds,
        steps: federation.steps,
        start: Matrices::digest(&bytes),
        size: bytes.len(),
        deadline: now.saturating_add(federation.seconds),
    };
    Gate::new(Arc::clone(federation), round, bytes)
}
