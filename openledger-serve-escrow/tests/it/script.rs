//! An escrow that does as it is told: when it looks, when it answers, and what.

use std::{
    collections::HashMap,
    future::Future,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicU64, Ordering},
    },
};

use async_trait::async_trait;
use futures::{FutureExt, channel::oneshot, future::BoxFuture};
use openledger_chain::{Charge, FeeAccounts, Payments, Reservation, Sent, settlement::FeeSplit};
use openledger_core::{Address, Amount, B256, Error, ErrorKind, Result};
use openledger_serve::{Generate, Hold, Till};
use openledger_serve_escrow::{Escrow, EscrowOptions};

pub(crate) const NODE: Address = Address::repeat_byte(0x0d);
pub(crate) const PAYER: Address = Address::repeat_byte(0xaa);
/// When scripts begin.
pub(crate) const START: u64 = 1_800_000_000;
/// How long locks must last.
pub(crate) const OUTLAST: u64 = 1_000;
/// How long a lock that is enough is believed.
pub(crate) const BELIEVED: u64 = 5;

/// The chain and the clock. Clones share them.
#[derive(Clone, Default)]
pub(crate) struct Script(Arc<Mutex<State>>);

#[derive(Default)]
pub(crate) struct State {
    pub(crate) locks: HashMap<Address, Reservation>,
    /// How often a lock was asked for.
    pub(crate) asked: usize,
    /// Whether nobody answers.
    pub(crate) is_down: bool,
    /// Whether questions and settlements wait until they are told.
    pub(crate) is_slow: bool,
    pub(crate) questions: Vec<Question>,
    pub(crate) settlements: Vec<Settlement>,
}

/// Somebody waits for a lock.
pub(crate) struct Question {
    payer: Address,
    seen: Option<Reservation>,
    reply: oneshot::Sender<Result<Reservation>>,
}

/// Somebody waits for a settlement.
pub(crate) struct Settlement {
    pub(crate) charges: Vec<Charge>,
    pub(crate) is_included: bool,
    reply: oneshot::Sender<Result<()>>,
}

impl Script {
    pub(crate) fn open(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    /// Locks `units` for the node until long after the test.
    pub(crate) fn lock(&self, payer: Address, units: u64) {
        self.lock_until(payer, units, START + 1_000 * OUTLAST);
    }

    pub(crate) fn lock_until(&self, payer: Address, units: u64, until: u64) {
        self.open().locks.insert(payer, Reservation::new(units.into(), until));
    }

    pub(crate) fn locked(&self, payer: Address) -> Amount {
        self.open().locked(payer).amount
    }

    /// Lets a question see what is locked now, if it has not seen it before.
    pub(crate) fn look(&self, question: usize) {
        let mut state = self.open();
        let seen = state.locked(state.questions[question].payer);
        state.questions[question].seen.get_or_insert(seen);
    }

    /// Answers a question, by what it saw.
    pub(crate) fn answer(&self, question: usize) {
        let Question { payer, seen, reply } = self.open().questions.remove(question);
        let seen = seen.unwrap_or_else(|| self.open().locked(payer));
        // Who asked may have left.
        let _ = reply.send(Ok(seen));
    }

    /// Takes the charges of a settlement.
    pub(crate) fn include(&self, settlement: usize) {
        let mut state = self.open();
        let charges = state.settlements[settlement].charges.clone();
        state.settlements[settlement].is_included = true;
        state.take(&charges);
    }

    /// Tells how a settlement ended: well, or that nobody knows.
    pub(crate) fn tell(&self, settlement: usize, is_well: bool) {
        let Settlement { reply, .. } = self.open().settlements.remove(settlement);
        let _ = reply.send(if is_well { Ok(()) } else { Err(down()) });
    }
}

impl State {
    fn locked(&self, payer: Address) -> Reservation {
        self.locks.get(&payer).copied().unwrap_or(Reservation::new(Amount::ZERO, 0))
    }

    fn take(&mut self, charges: &[Charge]) {
        for charge in charges.iter().filter(|charge| charge.amount > Amount::ZERO) {
            let lock = self.locks.get_mut(&charge.payer).expect("a charge is of a lock");
            lock.amount =
                lock.amount.checked_sub(charge.amount).expect("a lock covers its charges");
        }
    }
}

fn down() -> Error {
    Error::new(ErrorKind::Unavailable, "the node does not answer")
}

/// What came of a call of which nothing but its value matters.
fn sent<T>(value: T) -> Sent<T> {
    let tx = r#"{"hash": "0x0000000000000000000000000000000000000000000000000000000000000000",
        "block": 1, "gas": 21000, "logs": [], "created": null}"#;
    Sent::new(value, serde_json::from_str(tx).unwrap())
}

#[async_trait]
impl Payments for Script {
    async fn settle(&self, _: B256, charges: &[Charge]) -> Result<Sent<Amount>> {
        let told = {
            let mut state = self.open();
            match (state.is_down, state.is_slow) {
                (true, _) => return Err(down()),
                (false, false) => {
                    state.take(charges);
                    None
                }
                (false, true) => {
                    let (reply, told) = oneshot::channel();
                    let charges = charges.to_vec();
                    state.settlements.push(Settlement { charges, is_included: false, reply });
                    Some(told)
                }
            }
        };
        if let Some(told) = told {
            told.await.unwrap()?;
        }
        Ok(sent(charges.iter().map(|charge| charge.amount).sum()))
    }

    async fn reserved(&self, payer: Address, node: Address) -> Result<Reservation> {
        assert_eq!(node, NODE);
        let told = {
            let mut state = self.open();
            state.asked += 1;
            match (state.is_down, state.is_slow) {
                (true, _) => return Err(down()),
                (false, false) => return Ok(state.locked(payer)),
                (false, true) => {
                    let (reply, told) = oneshot::channel();
                    state.questions.push(Question { payer, seen: None, reply });
                    told
                }
            }
        };
        told.await.unwrap()
    }

    async fn deposit(&self, _: Amount) -> Result<Vec<Sent>> {
        unreachable!("a till does not deposit")
    }

    async fn authorize(&self, _: Address, _: Amount, _: u64) -> Result<Sent> {
        unreachable!("a till does not authorize")
    }

    async fn release(&self, _: Address, _: Address) -> Result<Sent> {
        unreachable!("a till does not release")
    }

    async fn deposited(&self, _: Address) -> Result<Amount> {
        unreachable!("a deposit is not locked")
    }

    async fn request_withdrawal(&self, _: Amount) -> Result<Sent> {
        unreachable!("a till does not withdraw")
    }

    async fn withdraw(&self) -> Result<Sent<Amount>> {
        unreachable!("a till does not withdraw")
    }

    async fn collect(&self, _: Address) -> Result<Sent<Amount>> {
        unreachable!("a till does not collect")
    }

    async fn fee_split(&self) -> Result<(FeeSplit, FeeAccounts)> {
        unreachable!("a till does not divide")
    }
}

/// A clock that a test turns. Clones are one clock.
#[derive(Clone)]
pub(crate) struct Clock(Arc<AtomicU64>);

impl Clock {
    pub(crate) fn new() -> Self {
        Self(Arc::new(AtomicU64::new(START)))
    }

    pub(crate) fn pass(&self, seconds: u64) {
        self.0.fetch_add(seconds, Ordering::Relaxed);
    }

    pub(crate) fn now(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    pub(crate) fn options(&self) -> EscrowOptions {
        let clock = self.clone();
        EscrowOptions::default()
            .with_outlast(OUTLAST)
            .with_believed(BELIEVED, 1)
            .with_clock(move || clock.now())
    }
}

/// A script, its clock, and an escrow over both.
pub(crate) fn begin() -> (Script, Clock, Escrow) {
    let (script, clock) = (Script::default(), Clock::new());
    let escrow = Escrow::new(Arc::new(script.clone()), NODE, clock.options());
    (script, clock, escrow)
}

pub(crate) fn request(payer: Address) -> Generate {
    Generate::new(vec![1]).with_tenant(payer.to_string())
}

pub(crate) fn charge(payer: Address, units: u64) -> Charge {
    Charge { payer, amount: units.into() }
}

pub(crate) type Reserving = BoxFuture<'static, Result<Box<dyn Hold>>>;

/// Asks for `units` and does not wait.
pub(crate) fn reserving(escrow: &Escrow, payer: Address, units: u64) -> Reserving {
    let escrow = escrow.clone();
    async move { escrow.reserve(&request(payer), units.into()).await }.boxed()
}

/// Asks a script that is not slow for `units`.
pub(crate) fn reserve(escrow: &Escrow, payer: Address, units: u64) -> Result<Box<dyn Hold>> {
    poll(&mut reserving(escrow, payer, units)).expect("nothing is waited for")
}

/// Goes on with what waits for the script; `None` if it still does.
pub(crate) fn poll<T>(future: &mut Pin<Box<dyn Future<Output = T> + Send>>) -> Option<T> {
    future.as_mut().now_or_never()
}
