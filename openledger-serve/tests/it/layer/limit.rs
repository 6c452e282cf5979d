//! Limits: rates, refunds, places.

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use futures::FutureExt;
use openledger_core::ErrorKind;
use openledger_serve::{Generate, LimitLayer, Limits};
use tower::Layer;

use super::script::{Script, Scripted, Step, ask};

/// A layer with a clock to set.
fn layer(limits: Limits) -> (LimitLayer, impl Fn(u64)) {
    let start = Instant::now();
    let now = Arc::new(Mutex::new(start));
    let clock = Arc::clone(&now);
    let layer = LimitLayer::new(limits).with_clock(move || *clock.lock().unwrap());
    (layer, move |millis| *now.lock().unwrap() = start + Duration::from_millis(millis))
}

#[test]
fn a_rate_lets_a_minutes_worth_in_at_once_and_then_says_when_to_come_back() {
    let (layer, set) = layer(Limits::default().with_requests(3));
    let mut service = layer.layer(Scripted::default());
    let request = || Generate::new(vec![1]).with_tenant("press");
    for _ in 0..3 {
        ask(&mut service, request()).unwrap();
    }
    let error = ask(&mut service, request()).unwrap_err();
    assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Limit, true));
    assert_eq!(error.retry_after(), Some(Duration::from_secs(20)));
    assert_eq!(error.to_string(), "tenant `press` has 3 requests a minute");
    set(19_999);
    assert_eq!(ask(&mut service, request()).unwrap_err().retry_after().unwrap().as_millis(), 1);
    set(20_000);
    ask(&mut service, request()).unwrap();
    assert!(ask(&mut service, request()).is_err());
    // Another tenant, and whoever names none, have their own.
    ask(&mut service, Generate::new(vec![1]).with_tenant("other")).unwrap();
    ask(&mut service, Generate::new(vec![1])).unwrap();
}

#[test]
fn tokens_not_written_are_given_back_and_the_prompt_is_not() {
    let (layer, _set) = layer(Limits::default().with_tokens(100));
    let scripts = [
        Script { refuse: true, ..Script::default() },
        Script::of([Step::Token("a"), Step::Token("b")]),
        Script::of([Step::Token("a")]),
    ];
    let mut service = layer.layer(Scripted::new(scripts));
    let request = |prompt, write| Generate::new(vec![1; prompt]).with_max_tokens(write);

    let never = ask(&mut service, request(51, 50)).unwrap_err();
    assert_eq!((never.kind(), never.is_retryable()), (ErrorKind::Limit, false));
    // All of a minute, refused inside: all given back.
    assert_eq!(ask(&mut service, request(50, 50)).unwrap_err().kind(), ErrorKind::Unavailable);
    // 10 read and 2 written of 100 taken.
    let answer = ask(&mut service, request(10, 90)).unwrap();
    assert!(ask(&mut service, request(1, 1)).is_err());
    answer.collect_all().now_or_never().unwrap().unwrap();
    // 88 are left. 80 read and nothing taken of the answer: left at once.
    drop(ask(&mut service, request(80, 8)).unwrap());
    assert!(ask(&mut service, request(4, 5)).is_err());
    ask(&mut service, request(4, 4)).unwrap();
}

#[test]
fn what_has_drained_is_not_given_back() {
    let (layer, set) = layer(Limits::default().with_tokens(100));
    let mut service = layer.layer(Scripted::default());
    let request = |prompt, write| Generate::new(vec![1; prompt]).with_max_tokens(write);
    let slow = ask(&mut service, request(10, 90)).unwrap();
    // Half of it has drained, and something else took its place.
    set(30_000);
    drop(ask(&mut service, request(49, 1)).unwrap());
    drop(slow);
    // As if the slow one had taken its 10 and no more, all of which are gone.
    assert!(ask(&mut service, request(1, 51)).is_err());
    ask(&mut service, request(1, 50)).unwrap();
}

#[test]
fn answers_under_way_are_counted_until_they_are_over() {
    let (layer, _set) = layer(Limits::default().with_answers(2));
    let mut service = layer.layer(Scripted::default());
    let first = ask(&mut service, Generate::new(vec![1])).unwrap();
    let second = ask(&mut service, Generate::new(vec![1])).unwrap();
    let error = ask(&mut service, Generate::new(vec![1])).unwrap_err();
    assert!(error.is_retryable() && error.retry_after().is_none(), "{error}");
    drop(first);
    let third = ask(&mut service, Generate::new(vec![1])).unwrap();
    second.collect_all().now_or_never().unwrap().unwrap();
    ask(&mut service, Generate::new(vec![1])).unwrap();
    drop(third);
}
