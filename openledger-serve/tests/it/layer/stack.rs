//! All layers in one stack over an engine.

use std::{future::ready, sync::Arc};

use futures::StreamExt;
use openledger_core::{
    Address, Amount, B256, ErrorKind, Key, Passage, Receipt, Result, U256,
    message::{Domain, Signed},
    retrieve::KeywordRows,
};
use openledger_model::{Model, testing};
use openledger_serve::{
    Accounts, Answer, AttributeLayer, Engine, EngineOptions, Event, Generate, GroundLayer,
    GroundOptions, Inference, Lease, LimitLayer, Limits, MeterLayer, PayLayer, PaymentRequired,
    PinLayer, Question, QueueOptions, ReceiptLayer, Terms, Totals, TraceLayer,
};
use tower::{Service, ServiceBuilder, ServiceExt};

use super::{lease, one_row};

fn price(read: u64, written: u64) -> Result<Amount> {
    Ok(Amount::from(read.saturating_add(written.saturating_mul(10))))
}

fn receipts(model: &Arc<Model>) -> ReceiptLayer {
    let mut nonce = 0u64;
    let terms = move |answer: &Answer| {
        nonce += 1;
        let usage = &answer.usage;
        Ok(Terms {
            datanets: Vec::new(),
            method: "one row".to_owned(),
            shares: one_row(),
            fee: price(usage.tokens_in as u64, usage.tokens_out as u64)?,
            payer: Address::repeat_byte(4),
            nonce: U256::from(nonce),
            deadline: 1_000,
            prompt: None,
        })
    };
    let key = Key::from_bytes(B256::repeat_byte(7)).unwrap();
    let domain = Domain { chain_id: 1612, contract: Address::repeat_byte(9) };
    let sink = |_: &Answer, _: &Result<Signed<Receipt>>| {};
    ReceiptLayer::start(Arc::clone(model), key, domain, terms, sink, QueueOptions::default())
        .unwrap()
}

fn grounds(model: &Arc<Model>) -> GroundLayer {
    let row = Passage {
        row: B256::repeat_byte(1).into(),
        datanet: B256::repeat_byte(2).into(),
        contributor: Address::repeat_byte(3),
        text: "bread needs steam".to_owned(),
        score: 0.0,
    };
    let index = Arc::new(KeywordRows::new([row]));
    GroundLayer::new(index, Arc::clone(model), GroundOptions::default()).unwrap()
}

fn pin(lease: &Lease) -> PinLayer {
    let lease = lease.clone();
    PinLayer::named("law", move |_| ready(Ok(lease.clone())))
}

struct Books {
    accounts: Accounts,
    totals: Totals,
    attribute: AttributeLayer<usize>,
    receipts: ReceiptLayer,
}

fn books(model: &Arc<Model>) -> Books {
    let accounts = Accounts::new();
    accounts.deposit("press", Amount::from(1_000)).unwrap();
    let attribute = AttributeLayer::start(
        |answer: &Answer| Ok(answer.request.sources.len()),
        |_: &Answer, result: &Result<usize>| assert_eq!(*result.as_ref().unwrap(), 1),
        QueueOptions::default(),
    );
    let (totals, attribute) = (Totals::new(), attribute.unwrap());
    Books { accounts, totals, attribute, receipts: receipts(model) }
}

fn stack(
    model: &Arc<Model>,
    lease: &Lease,
    books: &Books,
) -> impl Inference + Clone + Send + use<> {
    ServiceBuilder::new()
        .layer(TraceLayer::new())
        .layer(pin(lease))
        .layer(LimitLayer::new(Limits::default().with_answers(1)))
        .layer(grounds(model))
        .layer(PayLayer::new(Arc::new(books.accounts.clone()), price))
        .layer(MeterLayer::adding_to(&books.totals))
        .layer(books.attribute.clone())
        .layer(books.receipts.clone())
        .service(Engine::start(Arc::clone(model), EngineOptions::default()).unwrap())
}

fn request(model: &Model) -> Generate {
    let prompt = model.tokenizer().encode("bread?", true).unwrap();
    Generate::new(prompt)
        .with_tenant("press")
        .with_max_tokens(12)
        .with_ignore_eos(true)
        .with_question(Question::new("bread?", 1))
        .with_receipt(true)
}

#[tokio::test]
async fn all_layers_together_answer_as_the_engine_does_and_agree_on_the_books() {
    let model = Arc::new(testing::tiny(1).unwrap());
    let law = lease(&model, 1);
    let books = books(&model);
    let mut service = stack(&model, &law, &books);
    let answer = service.ready().await.unwrap().call(request(&model)).await.unwrap();
    let answer = answer.collect_all().await.unwrap();
    let signed = answer.receipt.as_ref().unwrap();
    let receipt = signed.unverified();
    assert_eq!(answer.citations.as_ref().unwrap().sources.len(), 1);
    assert_eq!((receipt.adapter, receipt.tokens_in), (law.id(), answer.end().tokens_in as u64));
    let account = books.accounts.account("press");
    assert_eq!((account.spent, account.held), (receipt.fee, Amount::ZERO));
    assert_eq!(answer.charge, Some(receipt.fee), "what is told was charged");
    let total = books.totals.of(Some("press"), Some(law.id()));
    assert_eq!((total.tokens_in, total.tokens_out), (receipt.tokens_in, receipt.tokens_out));
    books.attribute.flush().await;
    assert_eq!((books.attribute.stats().done, books.attribute.stats().unseen), (1, 0));

    // The engine alone, asked what the stack made of the request.
    let mut prompt = model.tokenizer().encode("bread?", true).unwrap();
    let rest = prompt.split_off(1);
    let words = "Sources:\n[1] bread needs steam\nCite sources by their numbers, like [1].\n\n";
    prompt.extend(model.tokenizer().encode(words, false).unwrap());
    prompt.extend(rest);
    let mut alone = request(&model).with_adapter(law);
    alone.prompt = prompt;
    let mut engine = Engine::start(Arc::clone(&model), EngineOptions::default()).unwrap();
    let alone = engine.ready().await.unwrap().call(alone).await.unwrap();
    assert_eq!(alone.collect_all().await.unwrap().tokens, answer.tokens);
}

#[tokio::test]
async fn an_answer_left_half_way_is_charged_and_its_place_is_free() {
    let model = Arc::new(testing::tiny(1).unwrap());
    let law = lease(&model, 1);
    let books = books(&model);
    let mut service = stack(&model, &law, &books);
    let mut answer = service.ready().await.unwrap().call(request(&model)).await.unwrap();
    for _ in 0..3 {
        let event = answer.next().await.unwrap().unwrap();
        assert!(matches!(event, Event::Token { .. }), "{event:?}");
    }
    let held = books.accounts.account("press").held;
    assert!(held > Amount::ZERO);
    let full = service.ready().await.unwrap().call(request(&model)).await.unwrap_err();
    assert_eq!(full.kind(), ErrorKind::Limit);
    drop(answer);
    let total = books.totals.all();
    assert_eq!((total.abandoned, total.tokens_out), (1, 3));
    let account = books.accounts.account("press");
    assert_eq!((account.spent, account.held), (price(total.tokens_in, 3).unwrap(), Amount::ZERO));
    books.receipts.flush().await;
    assert_eq!(books.receipts.stats().done, 1);
    // Dropped before it is let in: nothing happened.
    drop(service.ready().await.unwrap().call(request(&model)));
    assert_eq!(books.accounts.account("press"), account);
    let again = service.ready().await.unwrap().call(request(&model)).await.unwrap();
    again.collect_all().await.unwrap();
}

#[tokio::test]
async fn refusals_keep_their_kind_through_the_stack_and_leave_nothing_behind() {
    let model = Arc::new(testing::tiny(1).unwrap());
    let law = lease(&model, 1);
    let books = books(&model);
    let mut service = stack(&model, &law, &books);
    let stranger = request(&model).with_tenant("stranger");
    let error = service.ready().await.unwrap().call(stranger).await.unwrap_err();
    assert!(PaymentRequired::of(&error).is_some(), "{error}");
    // Whoever says "as many as there are" has to hold the price of so many.
    let endless = request(&model).with_max_tokens(usize::MAX);
    let error = service.ready().await.unwrap().call(endless).await.unwrap_err();
    assert!(PaymentRequired::of(&error).unwrap().amount >= Amount::from(u64::MAX), "{error}");
    // What the engine refuses was reserved by then, and is given back.
    let mut unknown = request(&model);
    unknown.prompt = vec![100_000];
    let error = service.ready().await.unwrap().call(unknown).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    let account = books.accounts.account("press");
    assert_eq!((account.free, account.held), (Amount::from(1_000), Amount::ZERO));
    assert_eq!(books.totals.all().answers(), 0);
    let stats = (books.attribute.stats(), books.receipts.stats());
    assert_eq!((stats.0.taken, stats.1.taken), (0, 0));
    let answer = service.ready().await.unwrap().call(request(&model)).await.unwrap();
    answer.collect_all().await.unwrap();
}

#[tokio::test]
async fn each_layer_works_alone() {
    let model = Arc::new(testing::tiny(1).unwrap());
    let law = lease(&model, 1);
    let books = books(&model);
    let engine = Engine::start(Arc::clone(&model), EngineOptions::default()).unwrap();
    let plain = request(&model).with_adapter(law.clone());
    let expected = ask(engine.clone(), plain.clone()).await;
    let with = ServiceBuilder::new;
    let price = PayLayer::new(Arc::new(books.accounts.clone()), price);
    let attribute = AttributeLayer::start(
        |answer: &Answer| Ok(answer.tokens.len()),
        |_: &Answer, _: &Result<usize>| {},
        QueueOptions::default(),
    );
    for same in [
        ask(with().layer(TraceLayer::new()).service(engine.clone()), plain.clone()).await,
        ask(with().layer(pin(&law)).service(engine.clone()), request(&model)).await,
        ask(
            with().layer(LimitLayer::new(Limits::default())).service(engine.clone()),
            plain.clone(),
        )
        .await,
        ask(with().layer(price).service(engine.clone()), plain.clone()).await,
        ask(
            with().layer(MeterLayer::adding_to(&books.totals)).service(engine.clone()),
            plain.clone(),
        )
        .await,
        ask(with().layer(attribute.unwrap()).service(engine.clone()), plain.clone()).await,
        ask(with().layer(books.receipts).service(engine.clone()), plain.clone()).await,
    ] {
        assert_eq!(same, expected);
    }
    let grounded = ask(with().layer(grounds(&model)).service(engine), plain).await;
    assert_ne!(grounded, expected, "the context changes the answer");
}

async fn ask<S>(mut service: S, request: Generate) -> Vec<u32>
where
    S: Inference,
{
    let answer = service.ready().await.unwrap().call(request).await.unwrap();
    answer.collect_all().await.unwrap().tokens
}
