//! A service that is paid per request, by clients that know nothing of us.

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use base64::{Engine, prelude::BASE64_STANDARD};
use http::{HeaderValue, Request, Response, StatusCode};
use openledger_chain::{
    Attributions, Batch, Charge, Embedded, EvmChain, GovernancePreset, Payments,
    abi::open_token::OpenToken,
    alloy::{primitives::FixedBytes, providers::Provider},
    provider,
    testing::{Fault, Faults},
    x402::{
        Facilitator, PAYMENT_REQUIRED, PAYMENT_RESPONSE, PAYMENT_SIGNATURE, Payment, PaymentLayer,
        PaymentRequired, Settlement,
    },
};
use openledger_core::{Address, Amount, B256, Key, U256, keccak256};
use proptest::{
    prelude::*,
    sample::Index,
    test_runner::{Config, TestRunner},
};
use serde_json::{Value, json};
use tokio::sync::Notify;
use tower::{Layer, Service, ServiceExt, service_fn};

use crate::{
    open,
    town::{DAY, Town, genesis, keys},
};

/// What a request costs, in units.
const PRICE: u64 = 1_234_567;

/// A shop: a town, a facilitator for the node's till, and a customer with OPEN and no coins.
struct Shop {
    town: Town,
    facilitator: Facilitator,
    customer: Key,
    /// How many requests the service behind the till saw.
    served: Arc<AtomicUsize>,
}

impl Shop {
    async fn open() -> Self {
        Self::over(Town::new().await).await
    }

    async fn over(town: Town) -> Self {
        let customer = Key::from_bytes(B256::repeat_byte(0x77)).unwrap();
        town.chain.transfer(customer.address(), open(100)).await.unwrap();
        let sender = town.by(&town.stranger);
        let facilitator = Facilitator::new(sender, town.node.address()).await.unwrap();
        Self { town, facilitator, customer, served: Arc::default() }
    }

    /// Asks the service for `/answer`, which costs [`PRICE`], behind one facilitator.
    async fn ask_behind(
        &self,
        facilitator: &Facilitator,
        payment: Option<HeaderValue>,
    ) -> Response<String> {
        let served = Arc::clone(&self.served);
        let service = service_fn(move |request: Request<String>| {
            served.fetch_add(1, Ordering::Relaxed);
            async move {
                // Requests at the same time meet here.
                tokio::task::yield_now().await;
                Ok::<_, Infallible>(Response::new(format!("for {}", request.body())))
            }
        });
        ask(&layer(facilitator).layer(service), "/answer", payment).await
    }

    async fn ask(&self, payment: Option<&str>) -> Response<String> {
        let payment = payment.map(|header| HeaderValue::from_str(header).unwrap());
        self.ask_behind(&self.facilitator, payment).await
    }

    /// What the service asks for, as any client reads it.
    async fn asked(&self) -> Value {
        let response = self.ask(None).await;
        assert_eq!(response.status(), StatusCode::PAYMENT_REQUIRED);
        read(&response, PAYMENT_REQUIRED)["accepts"][0].clone()
    }

    async fn at_till(&self) -> Amount {
        self.town.chain.balance(self.facilitator.till()).await.unwrap()
    }

    fn served(&self) -> usize {
        self.served.load(Ordering::Relaxed)
    }

    /// Asserts that a payment was refused for a reason and bought nothing.
    async fn assert_refused(&self, payment: &Value, code: &str) {
        let (served, paid) = (self.served(), self.at_till().await);
        let response = self.ask(Some(&header(payment))).await;
        assert_eq!(response.status(), StatusCode::PAYMENT_REQUIRED, "{code}");
        let settlement = read(&response, PAYMENT_RESPONSE);
        assert_eq!(settlement["success"], false, "{code}");
        assert_eq!(settlement["errorReason"], code);
        assert_eq!(settlement["transaction"], "");
        let why = read(&response, PAYMENT_REQUIRED)["error"].as_str().unwrap().to_owned();
        assert!(why.starts_with("payment refused: "), "{why}");
        assert_eq!((self.served(), self.at_till().await), (served, paid), "{code}");
    }
}

fn layer(facilitator: &Facilitator) -> PaymentLayer {
    PaymentLayer::new(facilitator.clone(), |head| {
        (head.uri.path() == "/answer").then(|| Amount::from(PRICE))
    })
}

async fn ask<S>(service: &S, path: &str, payment: Option<HeaderValue>) -> Response<String>
where
    S: Service<Request<String>, Response = Response<String>, Error = Infallible> + Clone,
{
    let mut request = Request::new("me".to_owned());
    *request.uri_mut() = path.parse().unwrap();
    if let Some(payment) = payment {
        request.headers_mut().insert(PAYMENT_SIGNATURE, payment);
    }
    let Ok(response) = service.clone().oneshot(request).await;
    response
}

/// Reads a header as the protocol says: JSON in base64.
fn read(response: &Response<String>, name: &str) -> Value {
    let value = response.headers().get(name).unwrap_or_else(|| panic!("no {name}"));
    serde_json::from_slice(&BASE64_STANDARD.decode(value).unwrap()).unwrap()
}

fn header(message: &Value) -> String {
    BASE64_STANDARD.encode(message.to_string())
}

/// The transfer that a client signs by default for what it was asked.
fn transfer(asked: &Value, payer: &Key, now: u64, nonce: u8) -> Value {
    let seconds = asked["maxTimeoutSeconds"].as_u64().unwrap();
    json!({
        "from": payer.address(),
        "to": asked["payTo"],
        "value": asked["amount"],
        "validAfter": (now - 600).to_string(),
        "validBefore": (now + seconds).to_string(),
        "nonce": B256::repeat_byte(nonce),
    })
}

/// A payment as wallets make it, hashed here by the letter of EIP-712 and EIP-3009.
fn pay(asked: &Value, transfer: &Value, key: &Key) -> Value {
    let number = |value: &Value| {
        let text = value.as_str().unwrap();
        B256::from(U256::from_str_radix(text, 10).unwrap())
    };
    let address = |value: &Value| value.as_str().unwrap().parse::<Address>().unwrap().into_word();
    let text = |value: &Value| keccak256(value.as_str().unwrap());
    let chain = asked["network"].as_str().unwrap().strip_prefix("eip155:").unwrap().into();
    let domain = keccak256(
        [
            keccak256("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"),
            text(&asked["extra"]["name"]),
            text(&asked["extra"]["version"]),
            number(&chain),
            address(&asked["asset"]),
        ]
        .concat(),
    );
    let message = keccak256(
        [
            keccak256("TransferWithAuthorization(address from,address to,uint256 value,uint256 validAfter,uint256 validBefore,bytes32 nonce)"),
            address(&transfer["from"]),
            address(&transfer["to"]),
            number(&transfer["value"]),
            number(&transfer["validAfter"]),
            number(&transfer["validBefore"]),
            transfer["nonce"].as_str().unwrap().parse().unwrap(),
        ]
        .concat(),
    );
    let digest = keccak256([&[0x19, 0x01], &domain[..], &message[..]].concat());
    json!({
        "x402Version": 2,
        "resource": { "url": "/answer", "description": "", "mimeType": "text/plain" },
        "accepted": asked,
        "payload": { "signature": key.sign(digest).to_string(), "authorization": transfer },
        "extensions": {},
    })
}

#[tokio::test]
async fn a_request_without_a_payment_is_told_what_it_costs_and_a_free_one_is_served() {
    let shop = Shop::open().await;
    let response = shop.ask(None).await;
    assert_eq!(response.status(), StatusCode::PAYMENT_REQUIRED);
    assert!(!response.headers().contains_key(PAYMENT_RESPONSE));
    let at = shop.town.chain.contracts();
    let required = read(&response, PAYMENT_REQUIRED);
    assert_eq!(required["x402Version"], 2);
    assert_eq!(required["resource"]["url"], "/answer");
    assert!(required["error"].as_str().unwrap().contains("header is missing"));
    let asked = json!([{
        "scheme": "exact",
        "network": "eip155:31337",
        "amount": PRICE.to_string(),
        "asset": at.token,
        "payTo": shop.facilitator.till(),
        "maxTimeoutSeconds": 60,
        "extra": { "name": "OpenLedger", "version": "1" },
    }]);
    let lower = |value: &Value| value.to_string().to_lowercase();
    assert_eq!(lower(&required["accepts"]), lower(&asked));
    let ours = response.headers()[PAYMENT_REQUIRED].to_str().unwrap();
    assert_eq!(PaymentRequired::parse(ours).unwrap().accepts.len(), 1);
    assert_eq!(shop.served(), 0);

    let service = service_fn(|_: Request<String>| async {
        Ok::<_, Infallible>(Response::new("free".to_owned()))
    });
    let free = ask(&layer(&shop.facilitator).layer(service), "/free", None).await;
    assert_eq!((free.status(), free.body().as_str()), (StatusCode::OK, "free"));
    assert!(free.headers().is_empty());
}

#[tokio::test]
async fn a_standard_clients_payment_buys_an_answer_and_reaches_contributors_like_any_other_fee() {
    let shop = Shop::open().await;
    let (town, node) = (&shop.town, shop.town.node.address());
    let asked = shop.asked().await;
    let payment =
        pay(&asked, &transfer(&asked, &shop.customer, town.now().await, 1), &shop.customer);
    let response = shop.ask(Some(&header(&payment))).await;
    assert_eq!((response.status(), response.body().as_str()), (StatusCode::OK, "for me"));
    let settlement = read(&response, PAYMENT_RESPONSE);
    assert_eq!(settlement["success"], true);
    assert_eq!(settlement["network"], "eip155:31337");
    assert_eq!(settlement["payer"], json!(shop.customer.address()));
    let hash: B256 = settlement["transaction"].as_str().unwrap().parse().unwrap();
    let receipt = town.chain.provider().get_transaction_receipt(hash).await.unwrap().unwrap();
    assert!(receipt.status());
    assert_eq!(receipt.from, town.stranger.address(), "the customer has no coins");
    assert_eq!(shop.at_till().await, Amount::from(PRICE));
    let left = open(100).units() - U256::from(PRICE);
    let customer = shop.customer.address();
    assert_eq!(town.chain.balance(customer).await.unwrap().units(), left);

    // The till is emptied into the node's own reservation, twice: before and after it exists.
    let node_chain = town.by(&town.node);
    for nonce in [2, 3] {
        let collected = town.by(&town.stranger).collect(node).await.unwrap().value;
        assert_eq!(collected, Amount::from(PRICE));
        let transfer = transfer(&asked, &shop.customer, town.now().await, nonce);
        let again = shop.ask(Some(&header(&pay(&asked, &transfer, &shop.customer)))).await;
        assert_eq!(again.status(), StatusCode::OK);
    }
    town.by(&town.stranger).collect(node).await.unwrap();
    assert_eq!(shop.at_till().await, Amount::ZERO);
    let whole = Amount::from(3 * PRICE);
    assert_eq!(node_chain.reserved(node, node).await.unwrap().amount, whole);

    // From there it goes the way of every fee, and no other.
    let root = B256::repeat_byte(9);
    let batch = Batch { epoch: 1, model: B256::ZERO, root, body: root, receipts: 3 };
    node_chain.log_batch(&batch).await.unwrap();
    town.pass(DAY + 1).await;
    let charged = node_chain.settle(root, &[Charge { payer: node, amount: whole }]).await.unwrap();
    assert_eq!(charged.value, whole);
    let at = town.chain.contracts();
    assert_eq!(town.chain.balance(at.distributor).await.unwrap(), whole);
    assert_eq!(node_chain.balance(node).await.unwrap(), Amount::ZERO);
}

#[tokio::test]
async fn a_payment_that_is_not_what_was_asked_buys_nothing_and_the_client_is_told_why() {
    let shop = Shop::open().await;
    let asked = shop.asked().await;
    let now = shop.town.now().await;
    let good = transfer(&asked, &shop.customer, now, 1);
    // What another service of the same chain, or another chain, may have asked for.
    let asked_otherwise = |field: &str, value: Value| {
        let mut other = asked.clone();
        other[field] = value;
        pay(&other, &good, &shop.customer)
    };
    let paid_otherwise = |field: &str, value: Value| {
        let mut other = good.clone();
        other[field] = value;
        pay(&asked, &other, &shop.customer)
    };
    let other = json!(Address::repeat_byte(0xee));
    let poor = Key::from_bytes(B256::repeat_byte(0x78)).unwrap();
    let by_poor = transfer(&asked, &poor, now, 1);
    let in_other_words = {
        let mut words = asked.clone();
        words["extra"]["name"] = json!("Dollar");
        pay(&words, &good, &shop.customer)
    };
    let by_permit = {
        let mut method = asked.clone();
        method["extra"]["assetTransferMethod"] = json!("permit2");
        pay(&method, &good, &shop.customer)
    };
    let value = "invalid_exact_evm_payload_authorization_value_mismatch";
    for (payment, code) in [
        (asked_otherwise("scheme", json!("upto")), "unsupported_scheme"),
        (by_permit, "unsupported_scheme"),
        (asked_otherwise("network", json!("eip155:1")), "invalid_network"),
        (asked_otherwise("asset", other.clone()), "invalid_payment_requirements"),
        (in_other_words, "invalid_payment_requirements"),
        (paid_otherwise("to", other), "invalid_exact_evm_payload_recipient_mismatch"),
        (paid_otherwise("value", json!((PRICE - 1).to_string())), value),
        (paid_otherwise("value", json!((PRICE + 1).to_string())), value),
        (paid_otherwise("value", json!("0")), value),
        (
            paid_otherwise("validAfter", json!((now + 100).to_string())),
            "invalid_exact_evm_payload_authorization_valid_after",
        ),
        (
            paid_otherwise("validBefore", json!((now - 1).to_string())),
            "invalid_exact_evm_payload_authorization_valid_before",
        ),
        // It would expire before it could be settled.
        (
            paid_otherwise("validBefore", json!((now + 2).to_string())),
            "invalid_exact_evm_payload_authorization_valid_before",
        ),
        // Signed by another than who is said to pay.
        (pay(&asked, &good, &poor), "invalid_exact_evm_payload_signature"),
        (pay(&asked, &by_poor, &poor), "insufficient_funds"),
    ] {
        shop.assert_refused(&payment, code).await;
    }
    // A cheaper offer for what is dearer, the signature right for what was paid.
    let mut cheap = asked.clone();
    cheap["amount"] = json!("1");
    let mut little = good.clone();
    little["value"] = json!("1");
    shop.assert_refused(&pay(&cheap, &little, &shop.customer), value).await;

    let payment = pay(&asked, &good, &shop.customer);
    assert_eq!(shop.ask(Some(&header(&payment))).await.status(), StatusCode::OK);
    shop.assert_refused(&payment, "invalid_transaction_state").await;
    assert_eq!(shop.at_till().await, Amount::from(PRICE));
}

#[tokio::test]
async fn an_answer_that_fails_costs_nothing_and_its_payment_buys_the_next() {
    let shop = Shop::open().await;
    let asked = shop.asked().await;
    let transfer = transfer(&asked, &shop.customer, shop.town.now().await, 1);
    let payment = header(&pay(&asked, &transfer, &shop.customer));
    let failing = service_fn(|_: Request<String>| async {
        let mut response = Response::new("sorry".to_owned());
        *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
        Ok::<_, Infallible>(response)
    });
    let value = HeaderValue::from_str(&payment).unwrap();
    let failed = ask(&layer(&shop.facilitator).layer(failing), "/answer", Some(value)).await;
    assert_eq!(failed.status(), StatusCode::INTERNAL_SERVER_ERROR);
    assert!(!failed.headers().contains_key(PAYMENT_RESPONSE));
    assert_eq!(shop.at_till().await, Amount::ZERO);
    assert_eq!(shop.ask(Some(&payment)).await.status(), StatusCode::OK);
    assert_eq!(shop.at_till().await, Amount::from(PRICE));
}

#[tokio::test]
async fn two_requests_with_one_authorization_get_one_answer_and_pay_once() {
    let shop = Shop::open().await;
    let asked = shop.asked().await;
    let transfer = transfer(&asked, &shop.customer, shop.town.now().await, 1);
    let payment = HeaderValue::from_str(&header(&pay(&asked, &transfer, &shop.customer))).unwrap();
    // The service is at work on the first request until all others are answered.
    let (begun, go) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let served = Arc::clone(&shop.served);
    let service = {
        let (begun, go) = (Arc::clone(&begun), Arc::clone(&go));
        service_fn(move |_: Request<String>| {
            let (begun, go, served) = (Arc::clone(&begun), Arc::clone(&go), Arc::clone(&served));
            async move {
                if served.fetch_add(1, Ordering::Relaxed) == 0 {
                    begun.notify_one();
                    go.notified().await;
                }
                Ok::<_, Infallible>(Response::new("slow".to_owned()))
            }
        })
    };
    let service = layer(&shop.facilitator).layer(service);
    let others = async {
        begun.notified().await;
        for _ in 0..3 {
            let late = ask(&service, "/answer", Some(payment.clone())).await;
            assert_eq!(late.status(), StatusCode::PAYMENT_REQUIRED);
            let code = read(&late, PAYMENT_RESPONSE)["errorReason"].clone();
            assert_eq!(code, "invalid_transaction_state");
        }
        go.notify_one();
    };
    let (first, ()) = tokio::join!(ask(&service, "/answer", Some(payment.clone())), others);
    assert_eq!((first.status(), first.body().as_str()), (StatusCode::OK, "slow"));
    assert_eq!((shop.served(), shop.at_till().await), (1, Amount::from(PRICE)));
    let after = ask(&service, "/answer", Some(payment)).await;
    assert_eq!(after.status(), StatusCode::PAYMENT_REQUIRED);
    assert_eq!((shop.served(), shop.at_till().await), (1, Amount::from(PRICE)));
}

#[tokio::test]
async fn many_payments_at_once_are_each_settled_once() {
    let shop = Arc::new(Shop::open().await);
    let asked = shop.asked().await;
    let now = shop.town.now().await;
    let mut requests = tokio::task::JoinSet::new();
    // Eight payments, each brought three times.
    for nonce in (0..8).cycle().take(24) {
        let payment =
            header(&pay(&asked, &transfer(&asked, &shop.customer, now, nonce), &shop.customer));
        let shop = Arc::clone(&shop);
        requests.spawn(async move { (nonce, shop.ask(Some(&payment)).await.status()) });
    }
    let answers = requests.join_all().await;
    for nonce in 0..8 {
        let good = answers.iter().filter(|answer| **answer == (nonce, StatusCode::OK));
        assert_eq!(good.count(), 1, "payment {nonce}: {answers:?}");
    }
    assert_eq!(shop.at_till().await, Amount::from(8 * PRICE));
    assert_eq!(shop.served(), 8);
}

/// Brings a client's transfer to the token, as anybody may.
async fn bring(chain: &EvmChain, payment: &Payment) {
    let signed = payment.payload.authorization;
    let bytes = payment.payload.signature.as_bytes();
    let token = OpenToken::new(chain.contracts().token, chain.provider());
    let call = token.transferWithAuthorization(
        signed.from,
        signed.to,
        signed.value.units(),
        U256::from(signed.valid_after),
        U256::from(signed.valid_before),
        signed.nonce,
        bytes[64],
        FixedBytes::from_slice(&bytes[..32]),
        FixedBytes::from_slice(&bytes[32..64]),
    );
    chain.send("bring a payment", call).await.unwrap();
}

#[tokio::test]
async fn a_transfer_that_somebody_else_makes_while_the_answer_is_made_counts_as_the_payment() {
    let shop = Shop::open().await;
    let now = shop.town.now().await;
    let asked = shop.facilitator.requirements(Amount::from(PRICE), 60);
    // Our own client makes the same payment as the standard one.
    let payment = Payment::sign(asked, now, B256::repeat_byte(5), &shop.customer).unwrap();
    let standard = shop.asked().await;
    let signed = pay(&standard, &transfer(&standard, &shop.customer, now, 5), &shop.customer);
    assert_eq!(json!(payment.payload.signature), signed["payload"]["signature"]);

    let rival = shop.town.by(&shop.town.deployer);
    let service = {
        let payment = payment.clone();
        service_fn(move |_: Request<String>| {
            let (rival, payment) = (rival.clone(), payment.clone());
            async move {
                bring(&rival, &payment).await;
                Ok::<_, Infallible>(Response::new("done".to_owned()))
            }
        })
    };
    let value = HeaderValue::from_str(&payment.to_header()).unwrap();
    let response = ask(&layer(&shop.facilitator).layer(service), "/answer", Some(value)).await;
    assert_eq!(response.status(), StatusCode::OK);
    let settlement =
        Settlement::parse(response.headers()[PAYMENT_RESPONSE].to_str().unwrap()).unwrap();
    let hash: B256 = settlement.transaction.parse().unwrap();
    let receipt = shop.town.chain.provider().get_transaction_receipt(hash).await.unwrap();
    assert_eq!(receipt.unwrap().from, shop.town.deployer.address());
    assert_eq!(shop.at_till().await, Amount::from(PRICE));

    // Brought before, it buys nothing.
    let asked = shop.facilitator.requirements(Amount::from(PRICE), 60);
    let spent = Payment::sign(asked, now, B256::repeat_byte(6), &shop.customer).unwrap();
    bring(&shop.town.by(&shop.town.deployer), &spent).await;
    assert_eq!(shop.ask(Some(&spent.to_header())).await.status(), StatusCode::PAYMENT_REQUIRED);
}

/// A shop whose node can fail, and the node.
async fn faulty_shop() -> (Shop, Faults, Embedded) {
    let (faults, node) = (Faults::none(), Embedded::new(&genesis()));
    let town = Town::over(faults.layer(node.clone()), GovernancePreset::current()).await;
    (Shop::over(town).await, faults, node)
}

/// The facilitator of a process that knows nothing of the one before.
async fn restarted(shop: &Shop, node: &Embedded) -> Facilitator {
    let provider = provider(node.clone(), &keys()).unwrap();
    let chain =
        EvmChain::connect(provider, *shop.town.chain.contracts(), shop.town.stranger.address());
    Facilitator::new(chain.await.unwrap(), shop.town.node.address()).await.unwrap()
}

#[tokio::test]
async fn a_facilitator_killed_before_it_settled_loses_nothing_and_after_it_never_takes_twice() {
    for (fault, sent) in [(Fault::HangBefore, false), (Fault::HangAfter, true)] {
        let (shop, faults, node) = faulty_shop().await;
        let asked = shop.asked().await;
        let transfer = transfer(&asked, &shop.customer, shop.town.now().await, 1);
        let payment = header(&pay(&asked, &transfer, &shop.customer));
        let once = fault.clone();
        faults
            .rewrite(move |asked| (asked.method == "eth_sendRawTransaction").then(|| once.clone()));
        let hung = async {
            while !faults.hung() {
                tokio::task::yield_now().await;
            }
        };
        tokio::select! {
            response = shop.ask(Some(&payment)) => panic!("{response:?}"),
            () = hung => {}
        }
        faults.rewrite(|_| None);
        let paid = Amount::from(u64::from(sent) * PRICE);
        assert_eq!(shop.at_till().await, paid, "{fault:?}");

        let next = restarted(&shop, &node).await;
        let value = HeaderValue::from_str(&payment).unwrap();
        let again = shop.ask_behind(&next, Some(value.clone())).await;
        if sent {
            // The chain knows that it was paid, nobody knows any more for what.
            assert_eq!(again.status(), StatusCode::PAYMENT_REQUIRED);
            let code = read(&again, PAYMENT_RESPONSE)["errorReason"].clone();
            assert_eq!(code, "invalid_transaction_state");
        } else {
            assert_eq!(again.status(), StatusCode::OK);
        }
        let once_more = shop.ask_behind(&next, Some(value)).await;
        assert_eq!(once_more.status(), StatusCode::PAYMENT_REQUIRED);
        assert_eq!(shop.at_till().await, Amount::from(PRICE), "{fault:?}");
        let collected = shop.town.chain.collect(shop.town.node.address()).await.unwrap();
        assert_eq!(collected.value, Amount::from(PRICE), "nothing is lost on the way");
    }
}

#[tokio::test]
async fn a_node_that_does_not_answer_is_our_trouble_and_not_a_bad_payment() {
    let (shop, faults, _) = faulty_shop().await;
    let asked = shop.asked().await;
    let transfer = transfer(&asked, &shop.customer, shop.town.now().await, 1);
    let payment = header(&pay(&asked, &transfer, &shop.customer));
    // While it verifies, and while it settles.
    for method in ["eth_getBlockByNumber", "eth_call", "eth_sendRawTransaction"] {
        faults.rewrite(move |asked| (asked.method == method).then_some(Fault::DropBefore));
        let response = shop.ask(Some(&payment)).await;
        faults.rewrite(|_| None);
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE, "{method}");
        let settlement = read(&response, PAYMENT_RESPONSE);
        assert_eq!(settlement["errorReason"], "unexpected_settle_error", "{method}");
        assert_ne!(response.body(), "for me", "the answer stays here");
        assert_eq!(shop.at_till().await, Amount::ZERO, "{method}");
    }
    assert_eq!(shop.ask(Some(&payment)).await.status(), StatusCode::OK);
    assert_eq!(shop.at_till().await, Amount::from(PRICE));
}

/// Asserts that a response to garbage is a clear refusal of bounded size.
fn assert_clear(response: &Response<String>) {
    assert_eq!(response.status(), StatusCode::PAYMENT_REQUIRED);
    let required = read(response, PAYMENT_REQUIRED);
    assert!(required["error"].as_str().is_some_and(|why| why.len() > 10), "{required}");
    assert_eq!(required["accepts"].as_array().map(Vec::len), Some(1));
    let size: usize =
        response.headers().iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
    assert!(size < 4_096, "{size} bytes of headers");
}

#[tokio::test]
async fn garbage_in_the_header_is_refused_in_words() {
    let shop = Shop::open().await;
    let asked = shop.asked().await;
    let transfer = transfer(&asked, &shop.customer, shop.town.now().await, 1);
    let good = pay(&asked, &transfer, &shop.customer);
    let with = |pointer: &str, value: Value| {
        let mut other = good.clone();
        *other.pointer_mut(pointer).unwrap() = value;
        header(&other)
    };
    let long = "9".repeat(11_000);
    for (payment, said) in [
        (String::new(), "JSON"),
        ("%%%".to_owned(), "base64"),
        ("e30=".to_owned(), "JSON"),
        (BASE64_STANDARD.encode("[".repeat(12_000)), "JSON"),
        ("A".repeat(16_388), "at most 16384"),
        ("A".repeat(1 << 20), "at most 16384"),
        (with("/x402Version", json!(1)), "x402 version 1"),
        (with("/payload/signature", json!("0x00")), "JSON"),
        (with("/payload/authorization/value", json!("-1")), "`-1` is no amount"),
        (with("/payload/authorization/value", json!(5)), "JSON"),
        (with("/payload/authorization/value", json!(long)), "is no amount"),
        (with("/payload/authorization/validBefore", json!(long)), "is no Unix time"),
        (with("/payload/authorization/nonce", json!("0x01")), "JSON"),
        (with("/accepted/amount", json!(null)), "JSON"),
    ] {
        let response = shop.ask(Some(&payment)).await;
        assert_clear(&response);
        let why = read(&response, PAYMENT_REQUIRED)["error"].as_str().unwrap().to_owned();
        let shown = &payment[..payment.len().min(40)];
        assert!(why.contains(said), "{shown}: {why}");
    }
    let bytes = HeaderValue::from_bytes(&[0xff, 0xfe]).unwrap();
    let response = shop.ask_behind(&shop.facilitator, Some(bytes)).await;
    assert_clear(&response);
    assert_eq!((shop.served(), shop.at_till().await), (0, Amount::ZERO));
}

#[test]
fn no_bytes_in_the_header_break_the_service_or_take_more_than_the_price() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (shop, good) = runtime.block_on(async {
        let shop = Shop::open().await;
        let asked = shop.asked().await;
        let transfer = transfer(&asked, &shop.customer, shop.town.now().await, 1);
        let good = pay(&asked, &transfer, &shop.customer).to_string();
        (shop, good)
    });
    let noise = prop::collection::vec(any::<u8>(), 0..300);
    // Bytes of a good payment changed, inside its base64 or outside.
    let changes = prop::collection::vec((any::<Index>(), any::<u8>()), 1..4);
    let config = Config { cases: 256, failure_persistence: None, ..Config::default() };
    let tried = TestRunner::new(config).run(&(0..3u8, noise, changes), |(kind, noise, changes)| {
        let change = |mut bytes: Vec<u8>| {
            for (place, byte) in &changes {
                let place = place.index(bytes.len());
                bytes[place] = *byte;
            }
            bytes
        };
        let bytes = match kind {
            0 => noise,
            1 => change(BASE64_STANDARD.encode(&good).into_bytes()),
            _ => BASE64_STANDARD.encode(change(good.clone().into_bytes())).into_bytes(),
        };
        // What HTTP itself does not let through never arrives.
        let Ok(value) = HeaderValue::from_bytes(&bytes) else { return Ok(()) };
        runtime.block_on(async {
            let before = shop.town.dev.snapshot().await.unwrap();
            let response = shop.ask_behind(&shop.facilitator, Some(value)).await;
            let paid = shop.at_till().await;
            match response.status() {
                // Words that nobody signed can differ.
                StatusCode::OK => assert_eq!(paid, Amount::from(PRICE)),
                _ => {
                    assert_clear(&response);
                    assert_eq!(paid, Amount::ZERO);
                }
            }
            shop.town.dev.revert(before).await.unwrap();
        });
        Ok(())
    });
    tried.unwrap();
}
