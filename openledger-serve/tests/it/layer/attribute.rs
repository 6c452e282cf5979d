//! Attribution beside the answer, never in its way.

use std::sync::{
    Arc, Mutex,
    mpsc::{Receiver, Sender, channel},
};

use futures::{FutureExt, StreamExt};
use openledger_core::{ErrorKind, Result};
use openledger_serve::{Answer, AttributeLayer, Event, Generate, Outcome, Overflow, QueueOptions};
use tower::Layer;

use super::script::{Script, Scripted, Step, ask};

fn two_tokens() -> Script {
    Script::of([Step::Token("a"), Step::Token("b")])
}

/// A layer that attributes an answer for each word it is given.
fn gated(options: QueueOptions) -> (AttributeLayer<String>, Sender<()>, Receiver<String>) {
    let (open, gate) = channel();
    let (sent, results) = channel();
    let layer = AttributeLayer::start(
        move |answer: &Answer| {
            gate.recv().unwrap();
            Ok(answer.text.clone())
        },
        move |_: &Answer, result: &Result<String>| {
            sent.send(result.as_ref().unwrap().clone()).unwrap();
        },
        options,
    );
    (layer.unwrap(), open, results)
}

fn request() -> Generate {
    Generate::new(vec![1])
}

#[test]
fn an_answer_does_not_wait_for_attribution() {
    let (layer, open, results) = gated(QueueOptions::default());
    let mut service = layer.layer(Scripted::new([two_tokens()]));
    // The whole answer is there although nothing can be attributed yet.
    let answer =
        ask(&mut service, request()).unwrap().collect_all().now_or_never().unwrap().unwrap();
    assert_eq!(answer.text, "ab");
    assert_eq!((layer.stats().taken, layer.stats().done), (1, 0));
    open.send(()).unwrap();
    assert_eq!(results.recv().unwrap(), "ab");
    futures::executor::block_on(layer.flush());
    assert_eq!((layer.stats().taken, layer.stats().done), (0, 1));
}

#[test]
fn a_full_queue_refuses_requests_before_they_are_answered() {
    let (layer, open, results) = gated(QueueOptions::default().with_capacity(2));
    let inner = Scripted::new([two_tokens(), two_tokens()]);
    let mut service = layer.layer(inner.clone());
    let first = ask(&mut service, request()).unwrap();
    let second = ask(&mut service, request()).unwrap();
    let error = ask(&mut service, request()).unwrap_err();
    assert!(error.kind() == ErrorKind::Limit && error.is_retryable(), "{error}");
    // One that leaves before it has a token frees its place; one that was answered, when attributed.
    drop(first);
    second.collect_all().now_or_never().unwrap().unwrap();
    let third = ask(&mut service, request()).unwrap();
    assert!(ask(&mut service, request()).is_err());
    open.send(()).unwrap();
    results.recv().unwrap();
    futures::executor::block_on(layer.flush());
    ask(&mut service, request()).unwrap();
    drop(third);
    assert_eq!((layer.stats().refused, inner.seen().len()), (2, 4));
}

#[test]
fn with_hand_to_every_answer_is_given_and_none_is_lost() {
    let missed = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&missed);
    let hand_to = Overflow::HandTo(Arc::new(move |answer| kept.lock().unwrap().push(answer)));
    let options = QueueOptions::default().with_capacity(1).with_overflow(hand_to);
    let (layer, open, results) = gated(options);
    let mut service = layer.layer(Scripted::new([two_tokens(), two_tokens(), two_tokens()]));
    for _ in 0..3 {
        ask(&mut service, request()).unwrap().collect_all().now_or_never().unwrap().unwrap();
    }
    open.send(()).unwrap();
    results.recv().unwrap();
    futures::executor::block_on(layer.flush());
    assert_eq!((layer.stats().done, layer.stats().handed_over), (1, 2));
    let missed = missed.lock().unwrap();
    assert!(missed.iter().all(|answer| answer.tokens == [1, 2] && answer.text == "ab"));
}

#[test]
fn what_was_handed_out_of_an_abandoned_or_failed_answer_is_attributed() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&seen);
    let sink = move |answer: &Answer, _: &Result<()>| {
        kept.lock().unwrap().push((answer.text.clone(), answer.usage.outcome));
    };
    let layer = AttributeLayer::start(|_: &Answer| Ok(()), sink, QueueOptions::default()).unwrap();
    let failing = Script::of([Step::Token("c"), Step::Fail]);
    let mut service = layer.layer(Scripted::new([two_tokens(), failing, two_tokens()]));
    let mut left = ask(&mut service, request()).unwrap();
    let first = left.next().now_or_never().unwrap().unwrap().unwrap();
    assert_eq!(first, Event::token(1, "a"));
    drop(left);
    assert!(ask(&mut service, request()).unwrap().collect_all().now_or_never().unwrap().is_err());
    drop(ask(&mut service, request()).unwrap());
    futures::executor::block_on(layer.flush());
    let expected = [
        ("a".to_owned(), Outcome::Abandoned),
        ("c".to_owned(), Outcome::Failed(ErrorKind::Unavailable)),
    ];
    assert_eq!(*seen.lock().unwrap(), expected);
    assert_eq!(layer.stats().taken, 0);
}

#[test]
fn a_panic_is_the_error_of_one_answer() {
    let (sent, results) = channel();
    let layer = AttributeLayer::start(
        |answer: &Answer| match answer.text.as_str() {
            "bad" => panic!("this one cannot be attributed"),
            text => Ok(text.to_owned()),
        },
        move |_: &Answer, result: &Result<String>| {
            sent.send(result.as_ref().ok().cloned()).unwrap();
            assert!(result.is_ok(), "a sink may panic, too");
        },
        QueueOptions::default(),
    )
    .unwrap();
    let scripts = ["bad", "good"].map(|text| Script::of([Step::Token(text)]));
    let mut service = layer.layer(Scripted::new(scripts));
    for _ in 0..2 {
        ask(&mut service, request()).unwrap().collect_all().now_or_never().unwrap().unwrap();
    }
    assert_eq!(results.recv().unwrap(), None);
    assert_eq!(results.recv().unwrap().unwrap(), "good");
    futures::executor::block_on(layer.flush());
    let stats = layer.stats();
    assert_eq!((stats.done, stats.failed, stats.unseen, stats.taken), (1, 1, 1, 0));
}
