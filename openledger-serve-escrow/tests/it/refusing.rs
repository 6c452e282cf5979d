//! What whoever cannot pay is told.

use std::sync::Arc;

use futures::FutureExt;
use openledger_core::{Address, Amount, Error, ErrorKind};
use openledger_serve::{Generate, PaymentRequired, Till};
use openledger_serve_escrow::Escrow;
use serde_json::{Value, json};

use crate::script::{Clock, NODE, OUTLAST, PAYER, START, Script, begin, charge, request, reserve};

const DAY: u64 = 24 * 3_600;

/// The terms of a refusal over `amount`.
fn terms(error: &Error, amount: u64) -> Value {
    assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Denied, false), "{error}");
    let required = PaymentRequired::of(error).expect("a refusal says what is required");
    assert_eq!(required.amount, amount.into());
    serde_json::from_str(required.terms.as_deref().unwrap()).unwrap()
}

#[test]
fn terms_are_the_arguments_that_help() {
    let (script, clock, escrow) = begin();
    let node = NODE.to_string();
    let told = |amount: &str, until: u64| {
        let scheme = "openledger-escrow";
        json!({"scheme": scheme, "node": node, "amount": amount, "until": until})
    };
    let error = reserve(&escrow, PAYER, 66).unwrap_err();
    assert_eq!(terms(&error, 66), told("66", START + OUTLAST + DAY));
    assert!(error.to_string().contains("has nothing"), "{error}");

    // What is owed and held is missing, too.
    clock.pass(1);
    script.lock_until(PAYER, 100, START + 90 * DAY);
    let held = reserve(&escrow, PAYER, 25).unwrap();
    reserve(&escrow, PAYER, 10).unwrap().charge(10.into());
    let error = reserve(&escrow, PAYER, 66).unwrap_err();
    assert_eq!(terms(&error, 66), told("1", START + 90 * DAY), "a live lock is not shortened");
    assert!(error.to_string().contains("65 units free"), "{error}");
    drop(held);

    // Time alone is missing.
    let (script, clock, escrow) = begin();
    script.lock_until(PAYER, 100, START + OUTLAST - 1);
    let error = reserve(&escrow, PAYER, 66).unwrap_err();
    assert_eq!(terms(&error, 66), told("0", START + OUTLAST + DAY));

    // A lock that has ended is its payer's, and nothing of it counts.
    clock.pass(OUTLAST);
    escrow.owe(&[charge(PAYER, 5)]);
    let error = reserve(&escrow, PAYER, 66).unwrap_err();
    assert_eq!(terms(&error, 66), told("71", START + 2 * OUTLAST + DAY));
}

#[test]
fn what_terms_ask_for_is_enough() {
    let (script, clock, escrow) = begin();
    for (locked, until) in [(0, 0), (10, START - 1), (10, START + 1), (70, START + 50 * DAY)] {
        script.lock_until(PAYER, locked, until);
        clock.pass(1);
        escrow.owe(&[charge(PAYER, 8)]);
        let error = reserve(&escrow, PAYER, 66).unwrap_err();
        let asked = terms(&error, 66);
        let more: u64 = asked["amount"].as_str().unwrap().parse().unwrap();
        let live = if until >= clock.now() { locked } else { 0 };
        script.lock_until(PAYER, live + more, asked["until"].as_u64().unwrap());
        clock.pass(60);
        reserve(&escrow, PAYER, 66).unwrap();
        escrow.settled(&[charge(PAYER, 8)]).unwrap();
    }
}

#[test]
fn terms_name_the_escrow_where_it_is_known() {
    let (clock, contract) = (Clock::new(), Address::repeat_byte(0xe5));
    let options = clock.options().with_contract(1612, contract);
    let escrow = Escrow::new(Arc::new(Script::default()), NODE, options);
    let told = terms(&reserve(&escrow, PAYER, 1).unwrap_err(), 1);
    assert_eq!(told["chainId"], 1612);
    assert_eq!(told["escrow"], contract.to_string());
}

#[test]
fn whoever_names_no_address_is_refused_without_a_question() {
    let (script, _, escrow) = begin();
    let nobody = Generate::new(vec![1]);
    for request in [nobody.clone(), nobody.clone().with_tenant("press"), nobody.with_tenant("0x12")]
    {
        let refused = escrow.reserve(&request, Amount::from(3)).now_or_never().unwrap();
        assert_eq!(terms(&refused.unwrap_err(), 3)["node"], NODE.to_string());
    }
    assert_eq!((script.open().asked, escrow.payers()), (0, 0));
}

#[test]
fn a_node_does_not_pay_itself_with_what_others_paid_it() {
    let (script, _, escrow) = begin();
    script.lock(NODE, 100);
    let error = reserve(&escrow, NODE, 3).unwrap_err();
    terms(&error, 3);
    assert!(error.to_string().contains("the node itself"), "{error}");
}

#[test]
fn an_application_can_say_who_pays() {
    let (script, clock) = (Script::default(), Clock::new());
    script.lock(PAYER, 100);
    let options = clock.options().with_payer(|request: &Generate| {
        (request.tenant.as_deref() == Some("press")).then_some(PAYER)
    });
    let escrow = Escrow::new(Arc::new(script), NODE, options);
    let reserve = |request: Generate| escrow.reserve(&request, 30.into()).now_or_never().unwrap();
    let held = reserve(Generate::new(vec![1]).with_tenant("press")).unwrap();
    assert_eq!(escrow.standing(PAYER).held, 30.into());
    terms(&reserve(request(PAYER)).unwrap_err(), 30);
    drop(held);
}
