//! The books balance, wherever answers are dropped.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::Instant,
};

use futures::{FutureExt, StreamExt, future::BoxFuture, task::noop_waker};
use openledger_core::{Amount, Result};
use openledger_serve::{
    Accounts, Answer, AttributeLayer, Event, Generate, LimitLayer, Limits, MeterLayer, PayLayer,
    QueueOptions, TokenStream, Totals,
};
use proptest::prelude::*;
use tower::{Service, ServiceBuilder};

use super::script::{Script, Scripted, Step};

/// What became of a request, as whoever asked saw it.
enum Going {
    Calling(BoxFuture<'static, Result<TokenStream>>),
    Streaming(TokenStream),
    Over,
}

struct Client {
    going: Going,
    prompt: usize,
    let_in: bool,
    tokens: u64,
}

/// Tokens a minute.
const RATE: u32 = 10_000;

impl Client {
    fn poll(&mut self) {
        let waker = noop_waker();
        let mut context = Context::from_waker(&waker);
        let polled = match &mut self.going {
            Going::Calling(call) => match call.poll_unpin(&mut context) {
                Poll::Ready(Ok(stream)) => {
                    self.let_in = true;
                    Some(Going::Streaming(stream))
                }
                Poll::Ready(Err(_)) => Some(Going::Over),
                Poll::Pending => None,
            },
            Going::Streaming(stream) => match stream.poll_next_unpin(&mut context) {
                Poll::Ready(Some(Ok(Event::Token { .. }))) => {
                    self.tokens += 1;
                    None
                }
                // What ended is read on, as a careless client does.
                Poll::Ready(Some(_)) | Poll::Pending => None,
                Poll::Ready(None) => Some(Going::Over),
            },
            Going::Over => None,
        };
        if let Some(going) = polled {
            self.going = going;
        }
    }

    /// What it owes: a unit a token read, ten a token written, from the first one on.
    fn owes(&self) -> u64 {
        if self.tokens == 0 { 0 } else { price(self.prompt as u64, self.tokens) }
    }
}

fn price(read: u64, written: u64) -> u64 {
    read.saturating_add(written.saturating_mul(10))
}

fn script() -> impl Strategy<Value = Script> {
    let step = prop_oneof![
        3 => Just(Step::Wait),
        6 => Just(Step::Token("x")),
        1 => Just(Step::Fail),
        1 => Just(Step::Break),
    ];
    let steps = proptest::collection::vec(step, 0..8);
    (0..3usize, proptest::bool::weighted(0.1), steps).prop_map(|(waits, refuse, steps)| Script {
        waits,
        refuse,
        steps,
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn every_hold_is_released_or_charged_once_and_meters_equal_the_tokens_seen(
        scripts in proptest::collection::vec((script(), 1..20usize), 1..6),
        turns in proptest::collection::vec(any::<prop::sample::Index>(), 0..60),
    ) {
        let inner = Scripted::new(scripts.iter().map(|(script, _)| script.clone()));
        let accounts = Accounts::new();
        accounts.deposit("press", Amount::from(1_000_000)).unwrap();
        let totals = Totals::new();
        let attributed = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&attributed);
        let sizes = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&sizes);
        let attribute = AttributeLayer::start(
            move |answer: &Answer| Ok(answer.tokens.len() as u64),
            move |_: &Answer, result: &Result<u64>| {
                count.fetch_add(1, Ordering::Relaxed);
                kept.lock().unwrap().push(*result.as_ref().unwrap());
            },
            QueueOptions::default(),
        ).unwrap();
        let now = Instant::now();
        let limits = Limits::default().with_answers(scripts.len()).with_tokens(RATE);
        let limits = LimitLayer::new(limits).with_clock(move || now);
        let mut service = ServiceBuilder::new()
            .layer(limits)
            .layer(PayLayer::new(Arc::new(accounts.clone()), |r, w| Ok(Amount::from(price(r, w)))))
            .layer(MeterLayer::adding_to(&totals))
            .layer(attribute.clone())
            .service(inner.clone());

        let request = |prompt| Generate::new(vec![1; prompt]).with_max_tokens(8).with_tenant("press");
        let mut clients: Vec<Client> = scripts
            .iter()
            .map(|&(_, prompt)| {
                let going = Going::Calling(service.call(request(prompt)));
                Client { going, prompt, let_in: false, tokens: 0 }
            })
            .collect();
        for turn in turns {
            let count = clients.len();
            clients[turn.index(count)].poll();
        }
        for client in &mut clients {
            client.going = Going::Over;
        }

        let owed: u64 = clients.iter().map(Client::owes).sum();
        let tokens: u64 = clients.iter().map(|client| client.tokens).sum();
        let begun = clients.iter().filter(|client| client.tokens > 0);
        let read: u64 = begun.clone().map(|client| client.prompt as u64).sum();
        let account = accounts.account("press");
        prop_assert_eq!(account.held, Amount::ZERO);
        prop_assert_eq!(account.spent, Amount::from(owed));
        prop_assert_eq!(account.free, Amount::from(1_000_000 - owed));
        prop_assert_eq!(totals.all().tokens_out, tokens);
        // An answer that ends without a token has read its prompt.
        prop_assert!(totals.all().tokens_in >= read);

        futures::executor::block_on(attribute.flush());
        let mut sizes = sizes.lock().unwrap().clone();
        let mut expected: Vec<u64> = begun.map(|client| client.tokens).collect();
        sizes.sort_unstable();
        expected.sort_unstable();
        prop_assert_eq!(sizes, expected);
        prop_assert_eq!(attribute.stats().taken, 0);

        inner.forget_scripts();
        // Of the minute's tokens exactly those are gone that were read and written.
        let used: usize = clients
            .iter()
            .filter(|client| client.let_in)
            .map(|client| client.prompt + client.tokens as usize)
            .sum();
        let rest = |tokens: usize| request(1).with_max_tokens(tokens - 1);
        let left = RATE as usize - used;
        prop_assert!(service.call(rest(left + 1)).now_or_never().unwrap().is_err());
        prop_assert!(service.call(rest(left)).now_or_never().unwrap().is_ok());

        // All places are free again: as many requests as there may be are let in at once.
        let again: Vec<_> = scripts.iter().map(|_| service.call(request(1)).now_or_never()).collect();
        prop_assert!(again.iter().all(|answer| matches!(answer, Some(Ok(_)))), "{again:?}");
        prop_assert!(service.call(request(1)).now_or_never().unwrap().is_err());
    }
}
