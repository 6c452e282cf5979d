//! When the chain is asked.

use openledger_core::{Address, ErrorKind};
use openledger_serve::PaymentRequired;

use crate::script::{BELIEVED, OUTLAST, PAYER, START, begin, poll, reserve, reserving};

#[test]
fn a_lock_is_asked_for_once_while_it_is_young_and_enough() {
    let (script, clock, escrow) = begin();
    script.lock(PAYER, 100);
    let holds = [10, 20, 30].map(|units| reserve(&escrow, PAYER, units).unwrap());
    assert_eq!(script.open().asked, 1);
    clock.pass(BELIEVED - 1);
    reserve(&escrow, PAYER, 40).unwrap();
    assert_eq!(script.open().asked, 1);
    clock.pass(1);
    reserve(&escrow, PAYER, 40).unwrap();
    assert_eq!(script.open().asked, 2);
    assert_eq!(escrow.standing(PAYER).held, 60.into());
    drop(holds);
    assert_eq!(escrow.standing(PAYER).held, 0.into());
}

#[test]
fn a_lock_that_is_not_enough_is_asked_for_again_but_not_within_a_second() {
    let (script, clock, escrow) = begin();
    script.lock(PAYER, 50);
    let held = reserve(&escrow, PAYER, 40).unwrap();
    clock.pass(1);
    script.lock(PAYER, 60);
    let more = reserve(&escrow, PAYER, 20).unwrap();
    assert_eq!(script.open().asked, 2, "young, but not enough");
    for _ in 0..10 {
        assert!(reserve(&escrow, PAYER, 1).is_err());
    }
    assert_eq!(script.open().asked, 2, "a rush one after another asks once a second");
    script.lock(PAYER, 100);
    clock.pass(1);
    reserve(&escrow, PAYER, 40).unwrap();
    drop((held, more));
}

#[test]
fn a_rush_asks_once_and_shares_no_money() {
    let (script, _, escrow) = begin();
    script.lock(PAYER, 100);
    script.open().is_slow = true;
    let mut rush: Vec<_> = (0..20).map(|_| reserving(&escrow, PAYER, 30)).collect();
    assert!(rush.iter_mut().all(|one| poll(one).is_none()));
    assert_eq!(script.open().asked, 1);
    script.answer(0);
    let answers: Vec<_> = rush.iter_mut().map(|one| poll(one).unwrap()).collect();
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 3);
    assert_eq!((script.open().asked, escrow.standing(PAYER).held), (1, 90.into()));
}

#[test]
fn payers_do_not_wait_for_each_other() {
    let (script, _, escrow) = begin();
    let other = Address::repeat_byte(0xbb);
    script.lock(PAYER, 100);
    script.lock(other, 10);
    script.open().is_slow = true;
    let [mut slow, mut quick] = [PAYER, other].map(|payer| reserving(&escrow, payer, 10));
    assert!(poll(&mut slow).is_none() && poll(&mut quick).is_none());
    script.answer(1);
    let held = poll(&mut quick).unwrap().unwrap();
    assert!(poll(&mut slow).is_none());
    assert_eq!(escrow.standing(PAYER).held, 0.into());
    drop(held);
}

#[test]
fn whoever_asked_first_may_leave() {
    let (script, _, escrow) = begin();
    script.lock(PAYER, 100);
    script.open().is_slow = true;
    let [mut first, mut second, mut third] = [30; 3].map(|units| reserving(&escrow, PAYER, units));
    assert!(poll(&mut first).is_none() && poll(&mut second).is_none());
    drop(first);
    script.answer(0);
    assert!(poll(&mut second).unwrap().is_ok());
    assert!(poll(&mut third).unwrap().is_ok());
    assert_eq!(script.open().asked, 1);
}

#[test]
fn a_reading_that_all_left_is_begun_anew() {
    let (script, _, escrow) = begin();
    script.lock(PAYER, 100);
    script.open().is_slow = true;
    let mut left = reserving(&escrow, PAYER, 30);
    assert!(poll(&mut left).is_none());
    drop(left);
    let mut stays = reserving(&escrow, PAYER, 30);
    assert!(poll(&mut stays).is_none());
    assert_eq!(script.open().asked, 2);
    script.answer(1);
    let held = poll(&mut stays).unwrap().unwrap();
    assert_eq!(escrow.standing(PAYER).held, 30.into());
    drop(held);
}

#[test]
fn a_chain_that_is_down_is_not_noticed_while_the_lock_is_young_and_enough() {
    let (script, clock, escrow) = begin();
    script.lock(PAYER, 100);
    reserve(&escrow, PAYER, 30).unwrap();
    script.open().is_down = true;
    clock.pass(BELIEVED - 1);
    let held = reserve(&escrow, PAYER, 100).unwrap();
    // It might be enough by now.
    let error = reserve(&escrow, PAYER, 1).unwrap_err();
    assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Unavailable, true));
    assert_eq!(PaymentRequired::of(&error), None);
    drop(held);
    assert!(reserve(&escrow, PAYER, 100).is_ok(), "an error forgets nothing");

    clock.pass(1);
    let stranger = Address::repeat_byte(0xbb);
    for payer in [PAYER, stranger] {
        let error = reserve(&escrow, payer, 1).unwrap_err();
        assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Unavailable, true));
        assert!(error.to_string().contains(&payer.to_string()), "{error}");
    }
    script.open().is_down = false;
    assert!(reserve(&escrow, PAYER, 100).is_ok());
}

#[test]
fn a_lock_that_was_extended_is_taken() {
    let (script, clock, escrow) = begin();
    script.lock_until(PAYER, 100, START + OUTLAST + 1);
    reserve(&escrow, PAYER, 100).unwrap();
    clock.pass(1);
    reserve(&escrow, PAYER, 100).unwrap();
    clock.pass(1);
    assert!(reserve(&escrow, PAYER, 100).is_err(), "a second too short");
    script.lock_until(PAYER, 100, START + 2 * OUTLAST);
    clock.pass(1);
    reserve(&escrow, PAYER, 100).unwrap();
}
