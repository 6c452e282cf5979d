//! What is asked of the choice of tokens, through the engine.

use std::sync::Arc;

use futures::{StreamExt, future::join_all};
use openledger_core::ErrorKind;
use openledger_model::testing;
use openledger_serve::{Engine, EngineOptions, Event, Finish, Generate, Logprobs, Sampling};
use tower::{Service, ServiceExt};

use crate::support::ask;

pub(crate) fn engine(seed: u64) -> Engine {
    Engine::start(Arc::new(testing::tiny(seed).unwrap()), EngineOptions::default()).unwrap()
}

async fn refused(engine: &Engine, request: Generate) -> String {
    let mut engine = engine.clone();
    let error = engine.ready().await.unwrap().call(request).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    error.to_string()
}

fn warm(seed: u64) -> Sampling {
    Sampling::with_temperature(1.0, seed)
}

#[tokio::test]
async fn settings_out_of_range_are_refused_at_once() {
    let engine = engine(1);
    let request = || Generate::new(vec![1, 2]);
    for (request, says) in [
        (request().with_sampling(warm(1).with_top_p(7.0)), "`top_p` is 7"),
        (request().with_sampling(warm(1).with_bias(258, 1.0)), "the model has 258"),
        (request().with_logprobs(21), "`logprobs` is 21"),
        (request().with_stop([String::new()]), "empty stop string"),
        (request().with_max_tokens(3).with_min_tokens(4), "at least 4 tokens of at most 3"),
    ] {
        let error = refused(&engine, request).await;
        assert!(error.contains(says), "{error}");
    }
}

#[tokio::test]
async fn every_setting_gives_the_same_tokens_alone_and_in_a_batch() {
    let engine = engine(2);
    let settings = [
        warm(1).with_top_k(9),
        warm(2).with_top_p(0.8),
        warm(3).with_min_p(0.05),
        warm(4).with_repetition_penalty(1.3),
        warm(5).with_frequency_penalty(0.4).with_presence_penalty(-0.3),
        warm(6).with_bias(7, 3.0).with_bias(9, -100.0),
        Sampling::GREEDY.with_repetition_penalty(1.3),
    ];
    let requests: Vec<Generate> = settings
        .into_iter()
        .map(|sampling| Generate::new(vec![3, 1, 4]).with_sampling(sampling).with_max_tokens(30))
        .collect();
    let together = join_all(requests.iter().map(|request| ask(&engine, request.clone()))).await;
    for (request, together) in requests.into_iter().zip(together) {
        // The second time more is cached; all else is the same.
        let alone = ask(&engine, request).await;
        assert_eq!((alone.tokens, alone.text), (together.tokens, together.text));
    }
}

#[tokio::test]
async fn a_forbidden_token_never_comes_and_a_favoured_one_always() {
    let engine = engine(3);
    let request = Generate::new(vec![1]).with_ignore_eos(true).with_max_tokens(20);
    let plain = ask(&engine, request.clone()).await;
    let forbidden = plain.tokens[0];
    let sampling = Sampling::GREEDY.with_bias(forbidden, -100.0);
    let answer = ask(&engine, request.clone().with_sampling(sampling)).await;
    assert!(!answer.tokens.contains(&forbidden));
    let answer = ask(&engine, request.with_sampling(warm(1).with_bias(77, 100.0))).await;
    assert_eq!(answer.tokens, [77; 20]);
}

#[tokio::test]
async fn an_answer_ends_before_a_stop_string_in_whatever_pieces_it_comes() {
    let engine = engine(4);
    // Tokens are bytes here; letters alone make texts in which anything is found.
    let sampling = ('a'..='c').fold(warm(9), |sampling, letter| {
        let token = engine.model().tokenizer().token(&letter.to_string()).unwrap();
        sampling.with_bias(token, 100.0)
    });
    let request = Generate::new(vec![1]).with_sampling(sampling).with_max_tokens(200);
    let whole = ask(&engine, request.clone()).await.text;
    assert_eq!(whole.len(), 200);
    let stop = &whole[120..124];
    let before = whole.find(stop).unwrap();
    let request = request.with_stop([stop.to_owned(), "nowhere".to_owned()]);
    let mut service = engine.clone();
    let stream = service.ready().await.unwrap().call(request).await.unwrap();
    let events: Vec<Event> = stream.map(Result::unwrap).collect().await;
    let mut text = String::new();
    for event in &events {
        match event {
            Event::Token { text: piece, .. } => text.push_str(piece),
            Event::End(end) => {
                assert_eq!((end.finish, end.tokens_out), (Finish::Stop, before + 4));
                assert_eq!(end.text, "");
            }
            _ => {}
        }
        assert!(whole[..before].starts_with(&text), "{text}");
    }
    assert_eq!(text, whole[..before]);
}

#[tokio::test]
async fn the_end_of_a_text_waits_for_min_tokens_and_is_ignored_when_asked() {
    let engine = engine(5);
    let eos = engine.model().eos().unwrap();
    let sampling = Sampling::GREEDY.with_bias(eos, 100.0);
    let request = Generate::new(vec![1, 2]).with_sampling(sampling).with_max_tokens(12);
    let at_once = ask(&engine, request.clone()).await;
    assert_eq!((at_once.tokens.len(), at_once.end().finish), (1, Finish::Stop));
    let later = ask(&engine, request.clone().with_min_tokens(5)).await;
    assert_eq!((later.tokens.len(), later.end().finish), (6, Finish::Stop));
    assert!(!later.tokens[..5].contains(&eos));
    let never = ask(&engine, request.with_ignore_eos(true)).await;
    assert_eq!(never.end().finish, Finish::Length);
    assert_eq!(never.tokens, vec![eos; 12]);
}

#[tokio::test]
async fn logprobs_are_the_models_own_whatever_the_sampling() {
    let engine = engine(6);
    let told = async |sampling: Sampling, count: usize| -> Vec<(u32, Logprobs)> {
        let request = Generate::new(vec![4, 2]).with_sampling(sampling).with_max_tokens(1);
        let mut service = engine.clone();
        let request = request.with_logprobs(count);
        let stream = service.ready().await.unwrap().call(request).await.unwrap();
        stream
            .filter_map(async |event| match event.unwrap() {
                Event::Token { token, logprobs, .. } => Some((token, logprobs.unwrap())),
                _ => None,
            })
            .collect()
            .await
    };
    let greedy = told(Sampling::GREEDY, 20).await;
    let (token, plain) = &greedy[0];
    assert_eq!(plain.likeliest.len(), 20);
    assert_eq!(plain.likeliest[0], (*token, plain.chosen));
    assert!(plain.likeliest.is_sorted_by(|a, b| a.1 >= b.1));
    let sum: f32 = plain.likeliest.iter().map(|(_, log)| log.exp()).sum();
    assert!(sum > 0.0 && sum < 1.0 + 1e-5, "{sum}");
    let forbidden = told(warm(1).with_bias(*token, -100.0), 3).await;
    assert_eq!(forbidden[0].1.likeliest, plain.likeliest[..3]);
    assert!(forbidden[0].1.chosen < plain.chosen);
    assert!(told(warm(2), 0).await[0].1.likeliest.is_empty());
}

#[tokio::test]
async fn what_leaves_no_token_is_an_error_in_the_stream() {
    let engine = engine(7);
    let sampling = (0..258).fold(warm(1), |sampling, token| sampling.with_bias(token, -100.0));
    let request = Generate::new(vec![1]).with_sampling(sampling);
    let mut service = engine.clone();
    let stream = service.ready().await.unwrap().call(request).await.unwrap();
    let error = stream.collect_all().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.to_string().contains("leave no token"), "{error}");
}
