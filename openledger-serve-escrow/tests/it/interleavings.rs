//! Payers, answers, settlements and a slow chain in any order: what a node relies on is there.

use std::{cell::Cell, sync::Arc};

use futures::{FutureExt, future::BoxFuture};
use openledger_chain::{Charge, Sent};
use openledger_core::{Address, Amount, B256, Result};
use openledger_serve::Hold;
use openledger_serve_escrow::Escrow;
use proptest::{prelude::*, test_runner::TestRunner};

use crate::script::{Clock, NODE, Reserving, Script, begin, charge, poll, reserving};

const PAYERS: [Address; 2] = [Address::repeat_byte(0xaa), Address::repeat_byte(0xbb)];

/// Numbers are taken modulo what there is.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// Locks more.
    Authorize {
        payer: usize,
        units: u64,
    },
    Reserve {
        payer: usize,
        units: u64,
    },
    /// Who asked leaves.
    Leave(usize),
    Charge {
        hold: usize,
        units: u64,
    },
    Drop(usize),
    /// Settles a part of what receipts say, each payer's.
    Settle {
        parts: [u64; 2],
    },
    /// A question is looked up on chain, or answered.
    Look(usize),
    Answer(usize),
    /// A settlement gets into a block; its end is told, or not.
    Include(usize),
    Tell {
        settlement: usize,
        is_well: bool,
    },
    /// Whoever settles leaves.
    Abandon(usize),
    /// What became of a settlement that nobody told of is found out.
    FindOut(usize),
    Pass(u64),
    /// The process ends, and another reads the receipts.
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    let index = any::<usize>;
    let payer = || 0..2_usize;
    prop_oneof![
        2 => (payer(), 1..200_u64).prop_map(|(payer, units)| Step::Authorize { payer, units }),
        6 => (payer(), 1..120_u64).prop_map(|(payer, units)| Step::Reserve { payer, units }),
        1 => index().prop_map(Step::Leave),
        4 => (index(), 0..150_u64).prop_map(|(hold, units)| Step::Charge { hold, units }),
        2 => index().prop_map(Step::Drop),
        3 => any::<[u64; 2]>().prop_map(|parts| Step::Settle { parts }),
        5 => index().prop_map(Step::Look),
        3 => index().prop_map(Step::Answer),
        3 => index().prop_map(Step::Include),
        3 => (index(), prop::bool::weighted(0.8)).prop_map(|(settlement, is_well)| {
            Step::Tell { settlement, is_well }
        }),
        1 => index().prop_map(Step::Abandon),
        2 => index().prop_map(Step::FindOut),
        2 => (1..8_u64).prop_map(Step::Pass),
        1 => Just(Step::Restart),
    ]
}

/// A settlement that somebody waits for, or waited for.
struct Settling {
    charges: Vec<Charge>,
    /// `None` if nobody waits any more.
    future: Option<BoxFuture<'static, Result<Sent<Amount>>>>,
    is_included: bool,
}

struct World {
    script: Script,
    clock: Clock,
    escrow: Escrow,
    /// Payers, and how much they ask for.
    reserving: Vec<(usize, u64, Reserving)>,
    holds: Vec<(usize, u64, Box<dyn Hold>)>,
    /// What receipts say that no settlement has taken up, for each payer.
    receipts: [u64; 2],
    /// In the order the script has them.
    settling: Vec<Settling>,
    /// How they end is not known to the escrow.
    unknown: Vec<Settling>,
    held_in_all: u64,
}

impl World {
    fn new() -> Self {
        let (script, clock, escrow) = begin();
        script.open().is_slow = true;
        Self {
            script,
            clock,
            escrow,
            reserving: Vec::new(),
            holds: Vec::new(),
            receipts: [0; 2],
            settling: Vec::new(),
            unknown: Vec::new(),
            held_in_all: 0,
        }
    }

    fn play(&mut self, step: Step) {
        match step {
            Step::Authorize { payer, units } => {
                let before: u64 = self.script.locked(PAYERS[payer]).units().to();
                self.script.lock(PAYERS[payer], before + units);
            }
            Step::Reserve { payer, units } => {
                let asks = reserving(&self.escrow, PAYERS[payer], units);
                self.reserving.push((payer, units, asks));
            }
            Step::Leave(index) => drop(take(&mut self.reserving, index)),
            Step::Charge { hold, units } => {
                if let Some((payer, most, hold)) = take(&mut self.holds, hold) {
                    hold.charge(units.into());
                    self.receipts[payer] += units.min(most);
                }
            }
            Step::Drop(index) => drop(take(&mut self.holds, index)),
            Step::Settle { parts } => self.settle(parts),
            Step::Look(index) => {
                let questions = self.script.open().questions.len();
                if questions > 0 {
                    self.script.look(index % questions);
                }
            }
            Step::Answer(index) => {
                let questions = self.script.open().questions.len();
                if questions > 0 {
                    self.script.answer(index % questions);
                }
            }
            Step::Include(index) => {
                let count = self.settling.len();
                if count > 0 && !self.settling[index % count].is_included {
                    self.settling[index % count].is_included = true;
                    self.script.include(index % count);
                }
            }
            Step::Tell { settlement, is_well } => self.tell(settlement, is_well),
            Step::Abandon(index) => {
                let count = self.settling.len();
                if count > 0 {
                    self.settling[index % count].future = None;
                }
            }
            Step::FindOut(index) => {
                if let Some(settling) = take(&mut self.unknown, index) {
                    self.find_out(&settling);
                }
            }
            Step::Pass(seconds) => self.clock.pass(seconds),
            Step::Restart => self.restart(),
        }
        self.go_on();
    }

    fn settle(&mut self, parts: [u64; 2]) {
        let mut charges = Vec::new();
        for (payer, part) in parts.into_iter().enumerate() {
            let units = part % (self.receipts[payer] + 1);
            self.receipts[payer] -= units;
            charges.push(charge(PAYERS[payer], units));
        }
        let (escrow, all) = (self.escrow.clone(), charges.clone());
        let future = async move { escrow.settle(B256::ZERO, &all).await }.boxed();
        self.settling.push(Settling { charges, future: Some(future), is_included: false });
    }

    /// A settlement is told well only once it is included.
    fn tell(&mut self, index: usize, is_well: bool) {
        let count = self.settling.len();
        if count == 0 || (is_well && !self.settling[index % count].is_included) {
            return;
        }
        let mut settling = self.settling.remove(index % count);
        self.script.tell(index % count, is_well);
        let told = settling.future.as_mut().map(|future| poll(future).unwrap());
        match told {
            Some(Ok(_)) => {}
            Some(Err(_)) | None => self.unknown.push(Settling { future: None, ..settling }),
        }
    }

    /// A settlement that never got into a block is settled later; one that did is over.
    fn find_out(&mut self, settling: &Settling) {
        if settling.is_included {
            self.escrow.settled(&settling.charges).unwrap();
            return;
        }
        self.give_back(&settling.charges);
    }

    fn give_back(&mut self, charges: &[Charge]) {
        for (payer, charge) in charges.iter().enumerate() {
            self.receipts[payer] += charge.amount.units().to::<u64>();
        }
    }

    /// Answers under way end with the process; settlements are found out before the next begins.
    fn restart(&mut self) {
        self.reserving.clear();
        self.holds.clear();
        while !self.settling.is_empty() {
            self.settling[0].future = None;
            self.tell(0, false);
        }
        for settling in std::mem::take(&mut self.unknown) {
            if !settling.is_included {
                self.give_back(&settling.charges);
            }
        }
        let options = self.clock.options();
        self.escrow = Escrow::new(Arc::new(self.script.clone()), NODE, options);
        self.escrow
            .owe(&[charge(PAYERS[0], self.receipts[0]), charge(PAYERS[1], self.receipts[1])]);
    }

    /// Lets everybody who waits look whether there is news.
    fn go_on(&mut self) {
        for settling in &mut self.settling {
            let told = settling.future.as_mut().and_then(poll);
            assert!(told.is_none(), "nobody told");
        }
        let mut waiting = Vec::new();
        for (payer, units, mut asks) in std::mem::take(&mut self.reserving) {
            match poll(&mut asks) {
                None => waiting.push((payer, units, asks)),
                Some(Ok(hold)) => {
                    self.held_in_all += 1;
                    self.holds.push((payer, units, hold));
                }
                Some(Err(_)) => {}
            }
        }
        self.reserving = waiting;
    }

    /// What answers under way hold, and what receipts say that the chain has not taken.
    fn relied_on(&self, payer: usize) -> u64 {
        let held: u64 = self.holds.iter().filter(|hold| hold.0 == payer).map(|hold| hold.1).sum();
        let not_taken = self.settling.iter().chain(&self.unknown).filter(|one| !one.is_included);
        let not_taken: u64 =
            not_taken.map(|one| one.charges[payer].amount.units().to::<u64>()).sum();
        held + self.receipts[payer] + not_taken
    }

    fn check(&self) {
        for (payer, address) in PAYERS.into_iter().enumerate() {
            let (relied_on, locked) = (self.relied_on(payer), self.script.locked(address));
            assert!(Amount::from(relied_on) <= locked, "{relied_on} of {locked} are relied on");
            let standing = self.escrow.standing(address);
            let known: Amount = [standing.held, standing.owed].into_iter().sum();
            assert!(Amount::from(relied_on) <= known, "{relied_on} of {known} are known");
        }
    }
}

fn take<T>(things: &mut Vec<T>, index: usize) -> Option<T> {
    let count = things.len();
    (count > 0).then(|| things.swap_remove(index % count))
}

#[test]
fn what_is_owed_and_held_never_passes_the_lock() {
    let held = Cell::new(0);
    let config = ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2_048) };
    let mut runner = TestRunner::new(config);
    let steps = prop::collection::vec(step(), 1..160);
    let played = runner.run(&steps, |steps| {
        let mut world = World::new();
        for step in steps {
            world.play(step);
            world.check();
        }
        held.set(held.get() + world.held_in_all);
        Ok(())
    });
    played.unwrap();
    assert!(held.get() > 1_000, "only {} holds: the steps lead nowhere", held.get());
}
