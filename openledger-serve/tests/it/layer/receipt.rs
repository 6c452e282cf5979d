//! Receipts for answers.

use std::sync::{Arc, Mutex};

use futures::{FutureExt, StreamExt};
use openledger_core::{
    Address, Amount, B256, Error, ErrorKind, Key, Receipt, Result, U256,
    message::{Domain, Signed},
};
use openledger_model::{Model, testing};
use openledger_serve::{
    Answer, Event, Finish, Generate, Overflow, QueueOptions, ReceiptLayer, Terms,
};
use tower::Layer;

use super::{
    lease, one_row,
    script::{Script, Scripted, Step, ask},
};

type Kept = Arc<Mutex<Vec<Result<Signed<Receipt>, String>>>>;

fn domain() -> Domain {
    Domain { chain_id: 1612, contract: Address::repeat_byte(9) }
}

fn key() -> Key {
    Key::from_bytes(B256::repeat_byte(7)).unwrap()
}

/// A layer that knows no terms for the text `bad`.
fn layer(model: &Arc<Model>) -> (ReceiptLayer, Kept) {
    layer_with(model, QueueOptions::default())
}

fn layer_with(model: &Arc<Model>, options: QueueOptions) -> (ReceiptLayer, Kept) {
    let kept = Kept::default();
    let keep = Arc::clone(&kept);
    let mut nonce = 0u64;
    let terms = move |answer: &Answer| {
        if answer.text == "bad" {
            return Err(Error::invalid("no terms for it"));
        }
        nonce += 1;
        Ok(Terms {
            datanets: Vec::new(),
            method: "one row".to_owned(),
            shares: one_row(),
            fee: Amount::from(answer.usage.tokens_in as u64 + 10 * answer.usage.tokens_out as u64),
            payer: Address::repeat_byte(4),
            nonce: U256::from(nonce),
            deadline: 1_000,
            prompt: None,
        })
    };
    let sink = move |_: &Answer, result: &Result<Signed<Receipt>>| {
        keep.lock().unwrap().push(result.as_ref().cloned().map_err(ToString::to_string));
    };
    let model = Arc::clone(model);
    let layer = ReceiptLayer::start(model, key(), domain(), terms, sink, options);
    (layer.unwrap(), kept)
}

fn two_tokens() -> Script {
    Script::of([Step::Token("a"), Step::Token("b")])
}

#[tokio::test]
async fn a_receipt_asked_for_stands_before_the_end_and_says_what_was_handed_out() {
    let model = Arc::new(testing::tiny(1).unwrap());
    let (layer, kept) = layer(&model);
    let mut service = layer.layer(Scripted::new([two_tokens(), two_tokens()]));
    let lease = lease(&model, 1);
    let prompt = model.tokenizer().encode("Why?", true).unwrap();
    let request = Generate::new(prompt.clone()).with_adapter(lease.clone());
    let answer = ask(&mut service, request.clone().with_receipt(true)).unwrap();
    let events: Vec<Event> = answer.map(Result::unwrap).collect().await;
    let [Event::Token { .. }, Event::Token { .. }, Event::Receipt(signed), Event::End(end)] =
        &events[..]
    else {
        panic!("{events:?}");
    };
    assert_eq!((end.finish, end.tokens_out), (Finish::Stop, 2));
    let receipt = signed.verify_reusable(&domain(), 999).unwrap().into_message();
    assert_eq!((receipt.model, receipt.adapter), (model.id(), lease.id()));
    assert_eq!((receipt.tokens_in, receipt.tokens_out), (prompt.len() as u64, 2));
    assert_eq!(receipt.output, Receipt::text_hash("ab"));
    let spelled = model.tokenizer().spell(&prompt).unwrap();
    assert_eq!(receipt.prompt, Receipt::text_hash(&spelled));
    assert_eq!((receipt.node, receipt.fee), (key().address(), Amount::from(25)));

    // Who did not ask for it gets none, but the sink has it.
    let answer = ask(&mut service, request).unwrap().collect_all().now_or_never().unwrap().unwrap();
    assert!(answer.receipt.is_none());
    layer.flush().await;
    let kept = kept.lock().unwrap();
    assert_eq!(kept.len(), 2);
    assert_eq!(kept[0].as_ref().unwrap(), &**signed);
}

#[tokio::test]
async fn a_receipt_that_cannot_be_made_is_an_error_where_it_was_asked_for() {
    let model = Arc::new(testing::tiny(1).unwrap());
    let (layer, kept) = layer(&model);
    let asking = layer.clone().in_answers(|_| true);
    let request = Generate::new(vec![1]).with_adapter(lease(&model, 1));
    let bad = || Scripted::new([Script::of([Step::Token("bad")])]);
    let error = ask(&mut asking.layer(bad()), request.clone()).unwrap().collect_all().await;
    assert_eq!(error.unwrap_err().to_string(), "no terms for it");
    let answer = ask(&mut layer.layer(bad()), request).unwrap().collect_all().await.unwrap();
    assert_eq!(answer.text, "bad");
    layer.flush().await;
    let kept = kept.lock().unwrap();
    assert!(kept.iter().all(|kept| kept.as_ref().unwrap_err() == "no terms for it"));
    assert_eq!(layer.stats().failed, 2);
}

#[tokio::test]
async fn an_abandoned_answer_has_a_receipt_for_what_was_handed_out() {
    let model = Arc::new(testing::tiny(1).unwrap());
    let (layer, kept) = layer(&model);
    let layer = layer.in_answers(|_| true);
    let mut service = layer.layer(Scripted::new([two_tokens(), two_tokens()]));
    let request = Generate::new(vec![1, 2]).with_adapter(lease(&model, 1));
    let mut answer = ask(&mut service, request.clone()).unwrap();
    answer.next().await.unwrap().unwrap();
    drop(answer);
    // Left before the first token: nothing was handed out.
    drop(ask(&mut service, request).unwrap());
    layer.flush().await;
    let kept = kept.lock().unwrap();
    let receipt = kept[0].as_ref().unwrap().unverified();
    assert_eq!((kept.len(), receipt.tokens_in, receipt.tokens_out), (1, 2, 1));
    assert_eq!(receipt.output, Receipt::text_hash("a"));
    assert_eq!(layer.stats().taken, 0);
}

#[tokio::test]
async fn an_answer_without_a_token_ends_without_a_receipt() {
    let model = Arc::new(testing::tiny(1).unwrap());
    let (layer, kept) = layer(&model);
    let layer = layer.in_answers(|_| true);
    let mut service = layer.layer(Scripted::default());
    let request = Generate::new(vec![1, 2]).with_adapter(lease(&model, 1));
    let answer = ask(&mut service, request).unwrap().collect_all().await.unwrap();
    assert!(answer.receipt.is_none() && answer.tokens.is_empty());
    layer.flush().await;
    assert!(kept.lock().unwrap().is_empty());
    assert_eq!(layer.stats().taken, 0);
}

#[tokio::test]
async fn an_answer_handed_to_another_cannot_carry_its_receipt() {
    let model = Arc::new(testing::tiny(1).unwrap());
    let handed = Arc::new(Mutex::new(Vec::new()));
    let keep = Arc::clone(&handed);
    let hand_to = Overflow::HandTo(Arc::new(move |answer: Answer| {
        keep.lock().unwrap().push(answer.text);
    }));
    let options = QueueOptions::default().with_capacity(0).with_overflow(hand_to);
    let (layer, kept) = layer_with(&model, options);
    let asking = layer.clone().in_answers(|_| true);
    let request = Generate::new(vec![1]).with_adapter(lease(&model, 1));
    let mut service = asking.layer(Scripted::new([two_tokens()]));
    let error = ask(&mut service, request.clone()).unwrap().collect_all().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Limit, "{error:?}");
    let mut service = layer.layer(Scripted::new([two_tokens()]));
    assert_eq!(ask(&mut service, request).unwrap().collect_all().await.unwrap().text, "ab");
    layer.flush().await;
    assert_eq!(*handed.lock().unwrap(), ["ab", "ab"]);
    assert!(kept.lock().unwrap().is_empty(), "the sink sees neither");
}

#[test]
fn the_base_model_has_no_receipts() {
    let model = Arc::new(testing::tiny(1).unwrap());
    let (layer, _) = layer(&model);
    let inner = Scripted::default();
    let error = ask(&mut layer.layer(inner.clone()), Generate::new(vec![1])).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(inner.seen().is_empty());
}
