//! Who is remembered.

use openledger_core::Address;

use crate::script::{BELIEVED, PAYER, begin, charge, poll, reserve, reserving};

fn stranger(number: u64) -> Address {
    Address::left_padding_from(&(1_000 + number).to_be_bytes())
}

#[test]
fn strangers_are_forgotten() {
    let (_, clock, escrow) = begin();
    for number in 0..10_000 {
        assert!(reserve(&escrow, stranger(number), 1).is_err());
        if number % 10 == 0 {
            clock.pass(1);
        }
        assert!(escrow.payers() <= 64, "{} after {number}", escrow.payers());
    }
}

#[test]
fn payers_are_forgotten_when_they_are_done() {
    let (script, clock, escrow) = begin();
    for number in 0..10_000 {
        script.lock(stranger(number), 100);
        reserve(&escrow, stranger(number), 1).unwrap().charge(1.into());
        escrow.settled(&[charge(stranger(number), 1)]).unwrap();
        reserve(&escrow, stranger(number), 1).unwrap();
        if number % 10 == 0 {
            clock.pass(1);
        }
        assert!(escrow.payers() <= 2 * 10 * BELIEVED as usize + 64);
    }
}

#[test]
fn a_young_lock_is_not_forgotten_for_strangers() {
    let (script, _, escrow) = begin();
    script.lock(PAYER, 100);
    reserve(&escrow, PAYER, 1).unwrap();
    for number in 0..1_000 {
        assert!(reserve(&escrow, stranger(number), 1).is_err());
    }
    let asked = script.open().asked;
    reserve(&escrow, PAYER, 1).unwrap();
    assert_eq!(script.open().asked, asked);
}

#[test]
fn whoever_holds_owes_or_waits_is_not_forgotten() {
    let (script, clock, escrow) = begin();
    let [holds, waits] = [0xbb, 0xcc].map(Address::repeat_byte);
    for payer in [PAYER, holds, waits] {
        script.lock(payer, 100);
    }
    reserve(&escrow, PAYER, 1).unwrap().charge(1.into());
    let held = reserve(&escrow, holds, 2).unwrap();
    script.open().is_slow = true;
    let mut waiting = reserving(&escrow, waits, 100);
    assert!(poll(&mut waiting).is_none());
    script.look(0);
    script.open().is_slow = false;
    clock.pass(1_000);
    for number in 0..1_000 {
        let _ = reserve(&escrow, stranger(number), 1);
        clock.pass(1);
    }
    assert_eq!(escrow.standing(PAYER).owed, 1.into());
    assert_eq!(escrow.standing(holds).held, 2.into());
    let asked = script.open().asked;
    script.answer(0);
    poll(&mut waiting).unwrap().unwrap();
    assert_eq!(script.open().asked, asked, "what it waited for is believed");
    drop(held);
}
