//! OpenAI's API for whoever pays by x402, over a chain in this process.

use std::sync::Arc;

use http::{Request, Response, StatusCode};
use http_body_util::BodyExt;
use openledger_chain::{
    DeployOptions, Deployed, DevNode, EvmChain, Genesis, embedded,
    x402::{
        Facilitator, PAYMENT_REQUIRED, PAYMENT_RESPONSE, PAYMENT_SIGNATURE, Payment, PaymentLayer,
        PaymentRequired, Settlement,
    },
};
use openledger_core::{Amount, B256, Key};
use openledger_model::testing;
use openledger_serve::{Engine, EngineOptions};
use openledger_serve_http::{Api, Body};
use serde_json::Value;
use tower::{Layer, ServiceExt};

const PRICE: u64 = 1_234;

fn asking(payment: Option<&str>, body: &str) -> Request<String> {
    let mut request = Request::post("/v1/completions").header("content-type", "application/json");
    if let Some(payment) = payment {
        request = request.header(PAYMENT_SIGNATURE, payment);
    }
    request.body(body.to_owned()).unwrap()
}

fn header<'a>(response: &'a Response<Body>, name: &str) -> &'a str {
    response.headers()[name].to_str().unwrap()
}

#[tokio::test]
async fn an_answer_is_bought_by_a_signature_and_a_bad_request_costs_nothing() {
    let keys = [1, 2, 3, 4].map(|n| Key::from_bytes(B256::repeat_byte(n)).unwrap());
    let [admin, treasury, node, customer] = &keys;
    let provider = embedded(Genesis::default(), &keys).unwrap();
    DevNode::new(provider.clone()).tick_by_block().await.unwrap();
    let options = DeployOptions::new(admin.address())
        .with_treasury(treasury.address())
        .with_nodes([node.address()]);
    let Deployed { chain, .. } = EvmChain::deploy(provider, options).await.unwrap();
    let funds = chain.sending_as(treasury.address());
    funds.transfer(customer.address(), Amount::OPEN).await.unwrap();
    let chain = chain.sending_as(node.address());
    let facilitator = Facilitator::new(chain.clone(), node.address()).await.unwrap();

    let model = Arc::new(testing::tiny(1).unwrap());
    let engine = Engine::start(Arc::clone(&model), EngineOptions::default()).unwrap();
    let price = |_: &http::request::Parts| Some(Amount::from(PRICE));
    let shop = PaymentLayer::new(facilitator.clone(), price).layer(Api::new(engine, model, "tiny"));
    let ask = async |payment: Option<&str>, body: &str| {
        shop.clone().oneshot(asking(payment, body)).await.unwrap()
    };
    let good = r#"{"model": "tiny", "prompt": "x", "max_tokens": 3, "ignore_eos": true}"#;

    let refused = ask(None, good).await;
    assert_eq!(refused.status(), StatusCode::PAYMENT_REQUIRED);
    let required = PaymentRequired::parse(header(&refused, PAYMENT_REQUIRED)).unwrap();
    let asked = required.accepts[0].clone();
    assert_eq!(asked.amount, Amount::from(PRICE));
    let now = chain.now().await.unwrap();
    let pay = |nonce| {
        let nonce = B256::repeat_byte(nonce);
        Payment::sign(asked.clone(), now, nonce, customer).unwrap().to_header()
    };

    // What is refused is not settled, and its payment is still good.
    let bad = ask(Some(&pay(1)), r#"{"model": "tiny"}"#).await;
    assert_eq!(bad.status(), StatusCode::BAD_REQUEST);
    assert_eq!(chain.balance(facilitator.till()).await.unwrap(), Amount::ZERO);

    let answer = ask(Some(&pay(1)), good).await;
    assert_eq!(answer.status(), StatusCode::OK);
    let settled = Settlement::parse(header(&answer, PAYMENT_RESPONSE)).unwrap();
    assert_eq!((settled.success, settled.payer), (true, Some(customer.address())));
    assert_eq!(chain.balance(facilitator.till()).await.unwrap(), Amount::from(PRICE));
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    let json: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(json["usage"]["completion_tokens"], 3);

    // Once is once.
    assert_eq!(ask(Some(&pay(1)), good).await.status(), StatusCode::PAYMENT_REQUIRED);
}
