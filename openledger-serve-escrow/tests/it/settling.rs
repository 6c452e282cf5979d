//! What a settlement changes, and when it is known.

use futures::{FutureExt, future::BoxFuture};
use openledger_chain::{Charge, Reservation, Sent};
use openledger_core::{Amount, B256, ErrorKind, Result};
use openledger_serve::PaymentRequired;
use openledger_serve_escrow::Escrow;

use crate::script::{PAYER, Script, begin, charge, poll, reserve, reserving};

/// A payer with 100 units locked, of which 40 are owed; the chain is slow from here on.
fn owing() -> (Script, crate::script::Clock, Escrow) {
    let (script, clock, escrow) = begin();
    script.lock(PAYER, 100);
    reserve(&escrow, PAYER, 50).unwrap().charge(40.into());
    script.open().is_slow = true;
    (script, clock, escrow)
}

fn settling(escrow: &Escrow, charges: &[Charge]) -> BoxFuture<'static, Result<Sent<Amount>>> {
    let (escrow, charges) = (escrow.clone(), charges.to_vec());
    async move { escrow.settle(B256::ZERO, &charges).await }.boxed()
}

#[test]
fn a_settlement_takes_the_charges_off_and_the_lock_is_asked_for_anew() {
    let (script, _, escrow) = owing();
    script.open().is_slow = false;
    let mut settle = settling(&escrow, &[charge(PAYER, 30), charge(PAYER, 10)]);
    assert_eq!(poll(&mut settle).unwrap().unwrap().value, 40.into());
    let standing = escrow.standing(PAYER);
    assert_eq!((standing.owed, standing.lock), (0.into(), None));
    let held = reserve(&escrow, PAYER, 60).unwrap();
    assert_eq!(script.open().asked, 2);
    assert_eq!(escrow.standing(PAYER).lock.map(|lock| lock.amount), Some(60.into()));
    assert!(reserve(&escrow, PAYER, 1).is_err());
    drop(held);
}

#[test]
fn a_reading_from_before_a_settlement_is_not_believed_after_it() {
    // Answered after the settlement is told, or while it is under way.
    for is_late in [true, false] {
        let (script, clock, escrow) = owing();
        clock.pass(10);
        let mut asks = reserving(&escrow, PAYER, 60);
        assert!(poll(&mut asks).is_none());
        script.look(0);
        let mut settle = settling(&escrow, &[charge(PAYER, 40)]);
        assert!(poll(&mut settle).is_none());
        script.include(0);
        if !is_late {
            script.answer(0);
            let held = poll(&mut asks).unwrap().unwrap();
            drop(held);
        }
        script.tell(0, true);
        poll(&mut settle).unwrap().unwrap();
        if is_late {
            script.answer(0);
            assert!(poll(&mut asks).is_none(), "it asks again");
            script.answer(0);
            poll(&mut asks).unwrap().unwrap();
        }
        // By the old reading 100 would be free.
        let mut more = reserving(&escrow, PAYER, 61);
        if poll(&mut more).is_none() {
            script.answer(0);
            assert!(poll(&mut more).unwrap().is_err());
        }
        assert_eq!(script.locked(PAYER), 60.into());
        let lock = escrow.standing(PAYER).lock;
        assert_eq!(lock.as_ref().map(|lock: &Reservation| lock.amount), Some(60.into()));
    }
}

#[test]
fn a_reading_begun_after_a_settlement_does_not_wait_for_one_from_before() {
    let (script, clock, escrow) = owing();
    clock.pass(10);
    let mut before = reserving(&escrow, PAYER, 60);
    assert!(poll(&mut before).is_none());
    script.look(0);
    script.open().is_slow = false;
    poll(&mut settling(&escrow, &[charge(PAYER, 40)])).unwrap().unwrap();
    let held = reserve(&escrow, PAYER, 60).unwrap();
    script.answer(0);
    assert!(poll(&mut before).unwrap().is_err(), "the old reading says 100");
    drop(held);
}

#[test]
fn what_nobody_knows_to_be_settled_is_owed() {
    for (is_included, free) in [(true, 20), (false, 60)] {
        let (script, clock, escrow) = owing();
        let charges = [charge(PAYER, 40)];
        let mut settle = settling(&escrow, &charges);
        assert!(poll(&mut settle).is_none());
        if is_included {
            script.include(0);
        }
        script.tell(0, false);
        let error = poll(&mut settle).unwrap().unwrap_err();
        assert!(error.is_retryable(), "{error}");
        assert_eq!(escrow.standing(PAYER).owed, 40.into());
        script.open().is_slow = false;
        clock.pass(10);
        assert!(reserve(&escrow, PAYER, free + 1).is_err());
        reserve(&escrow, PAYER, free).unwrap();
        // Whoever finds out tells.
        if is_included {
            escrow.settled(&charges).unwrap();
            reserve(&escrow, PAYER, 60).unwrap();
            assert!(escrow.settled(&charges).is_err(), "once");
        }
    }
}

#[test]
fn a_settlement_that_is_dropped_is_owed_and_can_be_done_again() {
    let (script, _, escrow) = owing();
    let charges = [charge(PAYER, 40)];
    let mut settle = settling(&escrow, &charges);
    assert!(poll(&mut settle).is_none());
    drop(settle);
    assert_eq!(escrow.standing(PAYER).owed, 40.into());
    script.open().is_slow = false;
    poll(&mut settling(&escrow, &charges)).unwrap().unwrap();
    assert_eq!(escrow.standing(PAYER).owed, 0.into());
}

#[test]
fn more_than_is_owed_is_not_settled() {
    let (script, _, escrow) = owing();
    let stranger = openledger_core::Address::repeat_byte(0xbb);
    for charges in [
        &[charge(PAYER, 41)][..],
        &[charge(PAYER, 20), charge(PAYER, 21)],
        &[charge(PAYER, 40), charge(stranger, 1)],
    ] {
        let error = poll(&mut settling(&escrow, charges)).unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
        assert_eq!(escrow.settled(charges).unwrap_err().kind(), ErrorKind::Conflict);
    }
    assert!(script.open().settlements.is_empty(), "nothing is sent");
    assert_eq!(escrow.standing(PAYER).owed, 40.into());

    // Nor twice at a time.
    let mut first = settling(&escrow, &[charge(PAYER, 30)]);
    assert!(poll(&mut first).is_none());
    let second = poll(&mut settling(&escrow, &[charge(PAYER, 11)])).unwrap();
    assert_eq!(second.unwrap_err().kind(), ErrorKind::Conflict);
    assert!(escrow.settled(&[charge(PAYER, 11)]).is_err());
    escrow.settled(&[charge(PAYER, 10)]).unwrap();
    script.include(0);
    script.tell(0, true);
    poll(&mut first).unwrap().unwrap();
    assert_eq!(escrow.standing(PAYER).owed, 0.into());
}

#[test]
fn whoever_is_short_only_for_a_settlement_is_told_to_wait_not_to_pay() {
    let (script, clock, escrow) = owing();
    clock.pass(10);
    let mut settle = settling(&escrow, &[charge(PAYER, 40)]);
    assert!(poll(&mut settle).is_none());
    script.include(0);
    script.open().is_slow = false;
    // 60 are locked and 40 still count as owed.
    let error = reserve(&escrow, PAYER, 60).unwrap_err();
    assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Unavailable, true), "{error}");
    let error = reserve(&escrow, PAYER, 61).unwrap_err();
    assert!(PaymentRequired::of(&error).is_some(), "{error}");
    script.tell(0, true);
    poll(&mut settle).unwrap().unwrap();
    reserve(&escrow, PAYER, 60).unwrap();
}

#[test]
fn what_receipts_from_before_say_is_owed() {
    let (script, _, escrow) = begin();
    script.lock(PAYER, 100);
    escrow.owe(&[charge(PAYER, 30), charge(PAYER, 40)]);
    assert_eq!(escrow.standing(PAYER).owed, 70.into());
    assert!(reserve(&escrow, PAYER, 31).is_err());
    reserve(&escrow, PAYER, 30).unwrap().charge(30.into());
    poll(&mut settling(&escrow, &[charge(PAYER, 70)])).unwrap().unwrap();
    assert_eq!((escrow.standing(PAYER).owed, script.locked(PAYER)), (30.into(), 30.into()));
    assert!(reserve(&escrow, PAYER, 1).is_err());
}

#[test]
fn owing_all_there_is_frees_nothing() {
    let (script, _, escrow) = begin();
    script.lock(PAYER, 100);
    let most = Amount::new(openledger_core::U256::MAX);
    escrow.owe(&[Charge { payer: PAYER, amount: most }, charge(PAYER, 1)]);
    assert_eq!(escrow.standing(PAYER).owed, most);
    assert!(reserve(&escrow, PAYER, 1).is_err());
}
