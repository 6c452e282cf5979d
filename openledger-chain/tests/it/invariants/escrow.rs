//! Payers, nodes, x402 clients, disputes and people who send money to the wrong address, who do
//! anything in any order: every unit in escrow is somebody's.

use openledger_chain::{
    Attributions, Batch, Charge, Payments,
    abi::{attribution_log::AttributionLog, inference_escrow::InferenceEscrow},
    alloy::primitives::Uint,
};
use openledger_core::{Address, B256};
use proptest::prelude::*;

use super::{Done, Said, around, explore, judge, judge_revert, set};
use crate::stage::{
    DELAY,
    Person::{self, Alice, Bob, Carol, Dave, Erin, Node},
    Stage, address, amount, units,
};

const PAYERS: [Person; 3] = [Alice, Bob, Carol];
const NODES: [Person; 2] = [Node, Dave];
const NEVER: u64 = (1 << 40) - 1;

#[derive(Clone, Debug)]
enum Step {
    Deposit {
        payer: usize,
        units: u16,
    },
    Authorize {
        payer: usize,
        node: usize,
        units: u16,
        seconds: u16,
    },
    Log {
        node: usize,
    },
    /// A dispute opens, fails or succeeds.
    Hold(u8),
    Clear(u8),
    Reject(u8),
    /// Takes so many parts in 255 of each live lock; and of those that are not, if it is `wrong`.
    Settle {
        batch: u8,
        parts: [u8; 3],
        till: u8,
        wrong: bool,
    },
    Release {
        payer: usize,
        node: usize,
    },
    PayTill {
        node: usize,
        units: u16,
    },
    Collect {
        node: usize,
    },
    Stray(u8),
    Request {
        payer: usize,
        units: u16,
    },
    Withdraw {
        payer: usize,
    },
    SetDelay(u16),
    Pass(u16),
}

fn step() -> impl Strategy<Value = Step> {
    let (payer, node) = (0..3_usize, 0..2_usize);
    let pair = (payer.clone(), node.clone());
    prop_oneof![
        4 => (payer.clone(), any::<u16>()).prop_map(|(payer, units)| Step::Deposit { payer, units }),
        5 => (pair.clone(), 0..8_000_u16, 0..9_000_u16).prop_map(|((payer, node), units, seconds)| {
            Step::Authorize { payer, node, units, seconds }
        }),
        4 => node.clone().prop_map(|node| Step::Log { node }),
        1 => any::<u8>().prop_map(Step::Hold),
        1 => any::<u8>().prop_map(Step::Clear),
        1 => any::<u8>().prop_map(Step::Reject),
        8 => any::<(u8, [u8; 3], u8)>().prop_flat_map(|(batch, parts, till)| {
            prop::bool::weighted(0.2)
                .prop_map(move |wrong| Step::Settle { batch, parts, till, wrong })
        }),
        5 => pair.prop_map(|(payer, node)| Step::Release { payer, node }),
        2 => (node.clone(), any::<u16>()).prop_map(|(node, units)| Step::PayTill { node, units }),
        2 => node.prop_map(|node| Step::Collect { node }),
        1 => any::<u8>().prop_map(Step::Stray),
        2 => (payer.clone(), any::<u16>()).prop_map(|(payer, units)| Step::Request { payer, units }),
        3 => payer.prop_map(|payer| Step::Withdraw { payer }),
        1 => (0..5_000_u16).prop_map(Step::SetDelay),
        5 => (0..6_000_u16).prop_map(Step::Pass),
    ]
}

#[derive(Clone, Copy, Default)]
struct Lock {
    amount: u128,
    expires_at: u64,
}

struct Logged {
    node: usize,
    root: B256,
    final_at: u64,
    held: u16,
    is_rejected: bool,
    is_settled: bool,
}

impl Logged {
    fn is_final(&self, time: u64) -> bool {
        time >= self.final_at && self.held == 0 && !self.is_rejected
    }
}

#[derive(Default)]
struct Model {
    balances: [u128; 3],
    locks: [[Lock; 2]; 3],
    /// What nodes may charge themselves, and what waits in their tills.
    own: [Lock; 2],
    tills: [u128; 2],
    withdrawals: [(u128, u64); 3],
    batches: Vec<Logged>,
    strays: u128,
    delay: u64,
    put_in: u128,
    settled: u128,
    withdrawn: u128,
}

impl Model {
    /// What the escrow owes.
    fn held(&self) -> u128 {
        let locks = self.locks.iter().flatten().chain(&self.own).map(|lock| lock.amount);
        self.balances.iter().sum::<u128>() + locks.sum::<u128>()
    }

    async fn play(&mut self, stage: &Stage, step: Step, done: &Done) {
        let now = stage.now().await;
        match step {
            Step::Deposit { payer, units } => {
                let said = (units == 0).then_some("NothingToDeposit");
                let sent = stage.of(PAYERS[payer]).deposit(amount(units.into())).await;
                if judge(sent, [said; 2]).is_some() {
                    self.balances[payer] += u128::from(units);
                    self.put_in += u128::from(units);
                }
            }
            Step::Authorize { payer, node, units, seconds } => {
                self.authorize(stage, (payer, node), units.into(), now + u64::from(seconds), now)
                    .await;
            }
            Step::Log { node } => self.log(stage, node).await,
            Step::Hold(batch) | Step::Clear(batch) | Step::Reject(batch) => {
                self.dispute(stage, &step, batch, now, done).await;
            }
            Step::Settle { batch, parts, till, wrong } => {
                self.settle(stage, batch, parts, till, wrong, now, done).await;
            }
            Step::Release { payer, node } => {
                let lock = self.locks[payer][node];
                let said = around(now, |time| match () {
                    () if lock.amount == 0 => Some("NothingToRelease"),
                    () if time <= lock.expires_at => Some("LockLive"),
                    () => None,
                });
                let (payer_at, node_at) = (address(PAYERS[payer]), address(NODES[node]));
                let sent = stage.of(Erin).release(payer_at, node_at).await;
                if judge(sent, said).is_some() {
                    self.locks[payer][node] = Lock::default();
                    self.balances[payer] += lock.amount;
                    done.note("release");
                }
            }
            Step::PayTill { node, units } => {
                let till = till(stage, NODES[node]).await;
                stage.of(Erin).transfer(till, amount(units.into())).await.unwrap();
                self.tills[node] += u128::from(units);
            }
            Step::Collect { node } => {
                let said = (self.tills[node] == 0).then_some("NothingToCollect");
                let sent = stage.of(Erin).collect(address(NODES[node])).await;
                if let Some(sent) = judge(sent, [said; 2]) {
                    let came = std::mem::take(&mut self.tills[node]);
                    assert_eq!(units(sent.value), came, "all that was paid to the till");
                    self.own[node] =
                        Lock { amount: self.own[node].amount + came, expires_at: NEVER };
                    self.put_in += came;
                    done.note("collect");
                }
            }
            Step::Stray(units) => {
                let to = stage.chain.contracts().escrow;
                stage.of(Erin).transfer(to, amount(units.into())).await.unwrap();
                self.strays += u128::from(units);
            }
            Step::Request { payer, units } => {
                let by = stage.of(PAYERS[payer]);
                by.request_withdrawal(amount(units.into())).await.unwrap();
                self.withdrawals[payer] = (units.into(), stage.now().await + self.delay);
            }
            Step::Withdraw { payer } => {
                let (announced, available_at) = self.withdrawals[payer];
                let least = announced.min(self.balances[payer]);
                let said = around(now, |time| match () {
                    () if time < available_at => Some("WithdrawalPending"),
                    () if least == 0 => Some("NothingToWithdraw"),
                    () => None,
                });
                if let Some(sent) = judge(stage.of(PAYERS[payer]).withdraw().await, said) {
                    assert_eq!(units(sent.value), least, "what was announced and is free");
                    self.balances[payer] -= least;
                    self.withdrawals[payer] = (0, 0);
                    self.withdrawn += least;
                    done.note("withdraw");
                }
            }
            Step::SetDelay(delay) => {
                let (escrow, delay) = (stage.chain.contracts().escrow, Uint::from(delay));
                stage.govern(escrow, InferenceEscrow::setWithdrawalDelayCall { delay }).await;
                self.delay = delay.to();
            }
            Step::Pass(seconds) => stage.pass(seconds.into()).await,
        }
    }

    async fn authorize(
        &mut self,
        stage: &Stage,
        (payer, node): (usize, usize),
        units: u128,
        expires_at: u64,
        now: u64,
    ) {
        let said = around(now, |time| {
            let lock = self.locks[payer][node];
            let lapsed = lock.amount != 0 && time > lock.expires_at;
            let (locked, returned) = if lapsed { (0, lock.amount) } else { (lock.amount, 0) };
            match () {
                () if expires_at <= time => Some("ExpiryPast"),
                () if locked != 0 && expires_at < lock.expires_at => Some("ExpiryFalls"),
                () if locked + units == 0 => Some("NothingToLock"),
                () if units > self.balances[payer] + returned => Some("BalanceTooLow"),
                () => None,
            }
        });
        let by = stage.of(PAYERS[payer]);
        let sent = by.authorize(address(NODES[node]), amount(units), expires_at).await;
        if judge(sent, said).is_none() {
            return;
        }
        let lock = &mut self.locks[payer][node];
        if lock.amount != 0 && stage.now().await > lock.expires_at {
            self.balances[payer] += lock.amount;
            lock.amount = 0;
        }
        *lock = Lock { amount: lock.amount + units, expires_at };
        self.balances[payer] -= units;
    }

    async fn log(&mut self, stage: &Stage, node: usize) {
        let root = B256::from(openledger_core::U256::from(self.batches.len() + 1));
        let (model, body) = (B256::ZERO, B256::repeat_byte(0xbd));
        let batch = Batch { epoch: 1, model, root, body, receipts: 1 };
        stage.of(NODES[node]).log_batch(&batch).await.unwrap();
        let final_at = stage.now().await + DELAY;
        let (held, is_rejected, is_settled) = (0, false, false);
        self.batches.push(Logged { node, root, final_at, held, is_rejected, is_settled });
    }

    /// What the dispute contract does, as the contract.
    async fn dispute(&mut self, stage: &Stage, step: &Step, batch: u8, now: u64, done: &Done) {
        let count = self.batches.len().max(1);
        let Some(batch) = self.batches.get_mut(usize::from(batch) % count) else { return };
        let at = stage.chain.contracts();
        let (node, root) = (address(NODES[batch.node]), batch.root);
        let not_held = [(batch.held == 0).then_some("BatchNotHeld"); 2];
        match step {
            Step::Hold(_) => {
                let said = around(now, |time| match () {
                    () if batch.is_rejected => Some("BatchIsRejected"),
                    () if time >= batch.final_at => Some("BatchFinal"),
                    () => None,
                });
                let call = AttributionLog::holdCall { node, root };
                let came = stage.act(at.disputes, at.attributions, call).await;
                batch.held += u16::from(judge_revert(came, said).is_some());
            }
            Step::Clear(_) => {
                let call = AttributionLog::releaseCall { node, root };
                let came = stage.act(at.disputes, at.attributions, call).await;
                batch.held -= u16::from(judge_revert(came, not_held).is_some());
            }
            _ => {
                let call = AttributionLog::rejectCall { node, root };
                let came = stage.act(at.disputes, at.attributions, call).await;
                if judge_revert(came, not_held).is_some() {
                    (batch.held, batch.is_rejected) = (batch.held - 1, true);
                    done.note("reject");
                }
            }
        }
    }

    /// The batch that `seed` says or, three times in four, the first from there that can be settled.
    fn batch(&self, seed: u8, now: u64) -> Option<usize> {
        let (seed, count) = (usize::from(seed), self.batches.len());
        let fit = |index: &usize| {
            let batch = &self.batches[*index];
            !batch.is_settled && batch.is_final(now)
        };
        let named = (count > 0).then(|| seed % count);
        match seed % 4 {
            0 => named,
            _ => (0..count).map(|later| (seed + later) % count).find(fit).or(named),
        }
    }

    #[expect(clippy::too_many_arguments, reason = "a step's fields")]
    async fn settle(
        &mut self,
        stage: &Stage,
        seed: u8,
        parts: [u8; 3],
        till: u8,
        wrong: bool,
        now: u64,
        done: &Done,
    ) {
        let Some(index) = self.batch(seed, now) else { return };
        let (node, root) = (self.batches[index].node, self.batches[index].root);
        let own = NODES[node];
        let mut charged: Vec<(Option<usize>, u128)> = Vec::new();
        for (payer, part) in parts.into_iter().enumerate() {
            let Lock { amount, expires_at } = self.locks[payer][node];
            let taken = amount * u128::from(part) / 255;
            match wrong {
                true => charged.push((Some(payer), taken + u128::from(part % 3))),
                false if now < expires_at => charged.push((Some(payer), taken)),
                false => {}
            }
        }
        if self.own[node].expires_at == NEVER {
            charged.push((None, self.own[node].amount * u128::from(till) / 255));
        }
        let said = around(now, |time| self.settlement(index, &charged, time));
        let who = |payer: Option<usize>| payer.map_or(own, |payer| PAYERS[payer]);
        let charges: Vec<Charge> = charged
            .iter()
            .map(|&(payer, units)| Charge { payer: address(who(payer)), amount: amount(units) })
            .collect();
        let sent = stage.of(own).settle(root, &charges).await;
        let Some(sent) = judge(sent, said) else {
            said[0].into_iter().for_each(|reason| done.note(reason));
            return;
        };
        let sum = charged.iter().map(|(_, units)| units).sum::<u128>();
        assert_eq!(units(sent.value), sum, "what is charged, and nothing else");
        for (payer, units) in charged {
            match payer {
                Some(payer) => self.locks[payer][node].amount -= units,
                None => self.own[node].amount -= units,
            }
        }
        self.batches[index].is_settled = true;
        self.settled += sum;
        done.note("settle");
    }

    fn settlement(&self, index: usize, charged: &[(Option<usize>, u128)], time: u64) -> Said {
        let batch = &self.batches[index];
        if batch.is_settled {
            return Some("BatchSettled");
        }
        if !batch.is_final(time) {
            return Some("BatchNotFinal");
        }
        for &(payer, units) in charged {
            let lock = payer.map_or(self.own[batch.node], |payer| self.locks[payer][batch.node]);
            if units > lock.amount {
                return Some("LockTooLow");
            }
            if time > lock.expires_at {
                return Some("LockExpired");
            }
        }
        let sum: u128 = charged.iter().map(|(_, units)| units).sum();
        (sum == 0).then_some("NothingToSettle")
    }

    async fn check(&self, stage: &Stage) {
        for (payer, (balance, locks)) in
            PAYERS.into_iter().zip(self.balances.iter().zip(&self.locks))
        {
            let deposited = stage.chain.deposited(address(payer)).await.unwrap();
            assert_eq!(units(deposited), *balance, "what {payer:?} has free");
            for (node, lock) in NODES.into_iter().zip(locks) {
                check_lock(stage, payer, node, lock).await;
            }
        }
        for (node, lock) in NODES.into_iter().zip(&self.own) {
            check_lock(stage, node, node, lock).await;
        }
        let at = stage.chain.contracts();
        let there = stage.balance(at.escrow).await;
        assert_eq!(there, self.held() + self.strays, "balances and locks are the tokens");
        assert_eq!(self.put_in, self.held() + self.settled + self.withdrawn, "none made or lost");
        let funded = stage.balance(at.distributor).await;
        assert_eq!(funded, self.settled, "what was settled is there for rewards");
    }
}

async fn check_lock(stage: &Stage, payer: Person, node: Person, lock: &Lock) {
    let reserved = stage.chain.reserved(address(payer), address(node)).await.unwrap();
    assert_eq!(units(reserved.amount), lock.amount, "what {payer:?} locked for {node:?}");
    if lock.amount != 0 {
        assert_eq!(reserved.expires_at, lock.expires_at, "and until when");
    }
}

async fn till(stage: &Stage, node: Person) -> Address {
    let escrow = InferenceEscrow::new(stage.chain.contracts().escrow, stage.chain.provider());
    escrow.till(address(node)).call().await.unwrap()
}

#[test]
fn balances_and_locks_are_the_tokens_in_escrow_and_only_final_batches_take_them() {
    let stage = set(async |stage| {
        let log = stage.chain.contracts().attributions;
        stage.govern(log, AttributionLog::admitCall { node: address(Dave) }).await;
    });
    let done = Done::default();
    explore(&stage, (16, 30..=60), step(), async |stage, steps| {
        let mut model = Model { delay: DELAY, ..Model::default() };
        for step in steps {
            model.play(stage, step, &done).await;
            model.check(stage).await;
        }
    });
    done.assert_all(&["settle", "release", "collect", "withdraw", "BatchNotFinal"]);
}
