//! What layers find, sign and charge, as clients see it.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use async_trait::async_trait;
use openledger_core::{
    Address, Amount, B256, DatanetId, Key, Passage, Receipt, Result, RowShare, Shares, U256,
    message::{Domain, Signed},
    retrieve::KeywordRows,
    share::WHOLE,
};
use openledger_model::{Adapter, LoraConfig, testing};
use openledger_serve::{
    Adapters, Answer, Credential, Generate, GroundLayer, GroundOptions, Hold, PayLayer,
    PaymentRequired, QueueOptions, ReceiptLayer, Terms, Till,
};
use openledger_serve_http::Api;
use serde_json::{Value, json};
use tower::ServiceBuilder;

use crate::client::{self, BASE, Script, model, post, raw, request, serve, template};

const LOCK: &str = "payment-signature: lock-7\r\n";

fn domain() -> Domain {
    Domain { chain_id: 1612, contract: Address::repeat_byte(9) }
}

fn price(read: u64, written: u64) -> Result<Amount> {
    Ok(Amount::from(read + 10 * written))
}

fn rows() -> KeywordRows {
    KeywordRows::new([Passage {
        row: B256::repeat_byte(1).into(),
        datanet: B256::repeat_byte(2).into(),
        contributor: Address::repeat_byte(3),
        text: "bread needs steam".to_owned(),
        score: 0.0,
    }])
}

/// Takes what `lock-7` names, of which there is enough, and counts it.
#[derive(Clone, Debug, Default)]
struct Locks(Arc<Mutex<Vec<Amount>>>);

#[derive(Debug)]
struct Held(Locks);

#[async_trait]
impl Till for Locks {
    async fn reserve(&self, request: &Generate, amount: Amount) -> Result<Box<dyn Hold>> {
        match request.payment.as_ref().map(Credential::expose) {
            Some("lock-7") => Ok(Box::new(Held(self.clone()))),
            _ => {
                let required = PaymentRequired::new(amount).with_terms("eyJ4NDAyVmVyc2lvbiI6Mn0=");
                Err(required.into_error("no payment sent along"))
            }
        }
    }
}

impl Hold for Held {
    fn charge(self: Box<Self>, amount: Amount) {
        self.0.0.lock().unwrap().push(amount);
    }
}

fn receipts() -> ReceiptLayer {
    let mut nonce = 0u64;
    let terms = move |answer: &Answer| {
        nonce += 1;
        let share = RowShare {
            row: B256::repeat_byte(1).into(),
            datanet: DatanetId::from(B256::repeat_byte(2)),
            contributor: Address::repeat_byte(3),
            weight: WHOLE,
        };
        Ok(Terms {
            datanets: Vec::new(),
            method: "one row".to_owned(),
            shares: Shares::new(vec![share])?,
            fee: price(answer.usage.tokens_in as u64, answer.usage.tokens_out as u64)?,
            payer: Address::repeat_byte(4),
            nonce: U256::from(nonce),
            deadline: 1_000,
            prompt: None,
        })
    };
    let key = Key::from_bytes(B256::repeat_byte(7)).unwrap();
    let sink = |_: &Answer, _: &Result<Signed<Receipt>>| {};
    ReceiptLayer::start(model(), key, domain(), terms, sink, QueueOptions::default()).unwrap()
}

/// All layers over a script, with the adapter `law`.
async fn server(script: &Script) -> (SocketAddr, Locks) {
    let locks = Locks::default();
    let ground = GroundLayer::new(Arc::new(rows()), model(), GroundOptions::default()).unwrap();
    let stack = ServiceBuilder::new()
        .layer(ground)
        .layer(PayLayer::new(Arc::new(locks.clone()), price))
        .layer(receipts())
        .service(script.clone());
    let (model, config) = (model(), LoraConfig::default());
    let files = testing::lora(&model, &config, 1).unwrap().to_files(model.network(), &config);
    let adapters = Adapters::new(Arc::clone(&model));
    let adapter = Arc::new(Adapter::load(model.network(), &files).unwrap());
    adapters.insert("law", adapter).unwrap();
    let api = Api::new(stack, model, BASE).with_template(template()).with_receipts().with_ground();
    (serve(api.with_adapters(adapters, None).await.unwrap()).await, locks)
}

async fn pay(address: SocketAddr, path: &str, body: &Value) -> client::Answer {
    raw(address, request("POST", path, LOCK, &body.to_string()).as_bytes()).await
}

fn chat(asks: &Value) -> Value {
    json!({
        "model": "law", "openledger": asks,
        "messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Yes?"},
            {"role": "user", "content": " What does bread need? "}],
    })
}

/// The letters of an answer that a mark names.
fn marked(text: &str, mark: &Value) -> String {
    let [start, end] = ["start_index", "end_index"].map(|name| mark[name].as_u64().unwrap());
    text.chars().skip(start as usize).take((end - start) as usize).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_tells_what_it_cites_what_it_cost_and_who_is_owed() {
    let script = Script::saying(&["Müs", "li [1", "], not [7]"]);
    let (address, locks) = server(&script).await;
    let body = chat(&json!({"receipt": true, "ground": true}));
    let answer = pay(address, "/v1/chat/completions", &body).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let choice = answer.json()["choices"][0].clone();
    let (text, told) = (choice["message"]["content"].as_str().unwrap(), &choice["openledger"]);

    let citations = &told["citations"];
    assert_eq!(citations["sources"][0]["row"], B256::repeat_byte(1).to_string());
    assert_eq!(citations["sources"][0]["contributor"], Address::repeat_byte(3).to_string());
    assert_eq!(marked(text, &citations["marks"][0]), "[1]");
    assert_eq!(marked(text, &citations["invented"][0]), "[7]");

    let signed: Signed<Receipt> = serde_json::from_value(told["receipt"].clone()).unwrap();
    let receipt = signed.verify_reusable(&domain(), 999).unwrap().into_message();
    assert_eq!(receipt.output, Receipt::text_hash(text));
    assert_eq!(told["adapter"], json!({"name": "law", "id": receipt.adapter.to_string()}));
    assert_eq!(receipt.shares.rows()[0].contributor, Address::repeat_byte(3));

    let charged = locks.0.lock().unwrap().clone();
    assert_eq!(json!(charged), json!([told["charge"]]), "what is told was taken");

    // The row stands before the user's last message.
    let seen = script.last();
    let prompt = model().tokenizer().decode(&seen.prompt).unwrap();
    let row = "Yes?\nuser: Sources:\n[1] bread needs steam\nCite";
    assert!(prompt.contains(row) && prompt.ends_with("\n What does bread need? \n"), "{prompt}");
    assert_eq!(seen.payment.as_ref().map(Credential::expose), Some("lock-7"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_tells_it_with_the_end_of_each_answer() {
    let (address, locks) = server(&Script::saying(&["It [", "1]"])).await;
    let mut body = chat(&json!({"receipt": true, "ground": "steam"}));
    (body["stream"], body["n"]) = (json!(true), json!(2));
    let events = pay(address, "/v1/chat/completions", &body).await.events();
    let chunks: Vec<Value> = events[..events.len() - 1]
        .iter()
        .map(|event| serde_json::from_str(event).unwrap())
        .collect();
    let told = chunks.iter().filter(|chunk| !chunk["choices"][0]["openledger"].is_null());
    let told: Vec<&Value> = told.map(|chunk| &chunk["choices"][0]).collect();
    assert_eq!(told.len(), 2);
    for choice in told {
        assert_eq!(choice["finish_reason"], "stop");
        assert_eq!(choice["openledger"]["citations"]["marks"][0]["number"], 1);
        let receipt = choice["openledger"]["receipt"].clone();
        let signed: Signed<Receipt> = serde_json::from_value(receipt).unwrap();
        assert!(signed.verify_reusable(&domain(), 999).is_ok());
    }
    assert_eq!(locks.0.lock().unwrap().len(), 2, "each answer is paid");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_told_that_nobody_asked_for() {
    let script = Script::saying(&["It [1]"]);
    let (address, _) = server(&script).await;
    let answer = pay(address, "/v1/chat/completions", &chat(&json!({}))).await.json();
    let told = answer["choices"][0]["openledger"].as_object().unwrap();
    assert_eq!(told.keys().collect::<Vec<_>>(), ["adapter", "charge"]);
    assert!(script.last().question.is_none());
    // Without layers there is no field at all.
    let plain = serve(script.api()).await;
    let body = json!({"model": BASE, "prompt": "x"}).to_string();
    let answer = post(plain, "/v1/completions", &body).await.json();
    assert!(answer["choices"][0].get("openledger").is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_stand_before_the_question_wherever_else_its_words_are() {
    let script = Script::saying(&["It [1]"]);
    let (address, _) = server(&script).await;
    for (question, words) in [("s", "bread"), ("assistant", "bread"), ("\u{e000}", "bread")] {
        let body = json!({
            "model": "law", "max_tokens": 5, "openledger": {"ground": words},
            "messages": [{"role": "user", "content": question}, {"role": "assistant", "content": question}],
        });
        assert_eq!(pay(address, "/v1/chat/completions", &body).await.status, 200);
        let prompt = model().tokenizer().decode(&script.last().prompt).unwrap();
        let after = format!("like [1].\n\n{question}\nassistant: {question}\n");
        assert!(prompt.starts_with("user: Sources:\n") && prompt.ends_with(&after), "{prompt}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_text_is_grounded_after_what_begins_it() {
    let script = Script::saying(&["It [1]"]);
    let (address, _) = server(&script).await;
    let body = json!({
        "model": "law", "prompt": "bread is", "max_tokens": 5, "openledger": {"ground": true},
    });
    let answer = pay(address, "/v1/completions", &body).await.json();
    assert_eq!(answer["choices"][0]["openledger"]["citations"]["marks"][0]["number"], 1);
    let (model, seen) = (model(), script.last());
    let begins = model.tokenizer().encode("", true).unwrap();
    assert!(!begins.is_empty() && seen.prompt.starts_with(&begins));
    let rest = model.tokenizer().decode(&seen.prompt[begins.len()..]).unwrap();
    assert!(rest.starts_with("Sources:\n") && rest.ends_with("bread is"), "{rest}");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_pay_is_told_how() {
    let script = Script::saying(&["x"]);
    let (address, locks) = server(&script).await;
    for stream in [false, true] {
        let mut body = chat(&json!({}));
        (body["stream"], body["max_tokens"]) = (json!(stream), json!(4));
        let answer = post(address, "/v1/chat/completions", &body.to_string()).await;
        assert_eq!(answer.status, 402, "{answer:?}");
        assert_eq!(answer.header("payment-required"), Some("eyJ4NDAyVmVyc2lvbiI6Mn0="));
        let json = answer.json();
        assert_eq!(json["error"]["code"], "payment_required");
        let amount: u64 = json["openledger"]["amount"].as_str().unwrap().parse().unwrap();
        assert!(amount > 40, "the prompt and four tokens: {amount}");
    }
    assert!(script.asked.lock().unwrap().is_empty() && locks.0.lock().unwrap().is_empty());
    // What pays is in no text for logs.
    let paid = pay(address, "/v1/chat/completions", &chat(&json!({}))).await;
    assert_eq!(paid.status, 200);
    assert!(!format!("{:?}", script.last()).contains("lock-7"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nothing_here_brings_is_refused_by_name() {
    let script = Script::saying(&["x"]);
    let address = serve(script.api()).await;
    for (asks, param) in [
        (json!({"receipt": true}), "openledger.receipt"),
        (json!({"ground": true}), "openledger.ground"),
        (json!({"ground": 7}), "openledger.ground"),
        (json!({"ground": " "}), "openledger.ground"),
        (json!({"receipt": "yes"}), "openledger.receipt"),
        (json!(true), "openledger"),
    ] {
        let body = json!({"model": BASE, "prompt": "x", "openledger": asks}).to_string();
        let answer = post(address, "/v1/completions", &body).await;
        assert_eq!((answer.status, &answer.json()["error"]["param"]), (400, &json!(param)));
    }
    assert!(script.asked.lock().unwrap().is_empty());
    let (grounded, _) = server(&script).await;
    let body = json!({
        "model": "law", "openledger": {"ground": true}, "messages": [{"role": "system", "content": "x"}],
    });
    let answer = pay(grounded, "/v1/chat/completions", &body).await;
    assert_eq!(
        (answer.status, &answer.json()["error"]["param"]),
        (400, &json!("openledger.ground"))
    );
}
