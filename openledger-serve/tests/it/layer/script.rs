//! A service whose answers are written down beforehand.

use std::{
    collections::VecDeque,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
};

use futures::{FutureExt, Stream, future::BoxFuture};
use openledger_core::{Error, ErrorKind, Result};
use openledger_serve::{End, Event, Finish, Generate, TokenStream};
use tower::Service;

/// What an answer does when it is polled.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    Wait,
    Token(&'static str),
    Fail,
    /// The stream stops without an end.
    Break,
}

/// One answer; after the last step it ends.
#[derive(Clone, Debug, Default)]
pub(crate) struct Script {
    /// Polls until the request is let in.
    pub(crate) waits: usize,
    pub(crate) refuse: bool,
    pub(crate) steps: Vec<Step>,
}

impl Script {
    pub(crate) fn of(steps: impl IntoIterator<Item = Step>) -> Self {
        Self { steps: steps.into_iter().collect(), ..Self::default() }
    }
}

/// Answers requests by its scripts, one after another, and keeps the requests.
#[derive(Clone, Debug, Default)]
pub(crate) struct Scripted {
    scripts: Arc<Mutex<VecDeque<Script>>>,
    seen: Arc<Mutex<Vec<Generate>>>,
}

impl Scripted {
    pub(crate) fn new(scripts: impl IntoIterator<Item = Script>) -> Self {
        let scripts = Arc::new(Mutex::new(scripts.into_iter().collect()));
        Self { scripts, seen: Arc::default() }
    }

    /// Answers whatever comes now with an end.
    pub(crate) fn forget_scripts(&self) {
        self.scripts.lock().unwrap().clear();
    }

    pub(crate) fn seen(&self) -> Vec<Generate> {
        self.seen.lock().unwrap().clone()
    }
}

impl Service<Generate> for Scripted {
    type Response = TokenStream;
    type Error = Error;
    type Future = BoxFuture<'static, Result<TokenStream>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Generate) -> Self::Future {
        let script = self.scripts.lock().unwrap().pop_front().unwrap_or_default();
        self.seen.lock().unwrap().push(request.clone());
        async move {
            for _ in 0..script.waits {
                wait_once().await;
            }
            if script.refuse {
                return Err(Error::new(ErrorKind::Unavailable, "refused by the script"));
            }
            let prompt = request.prompt.len();
            let steps = script.steps.into_iter();
            Ok(TokenStream::new(Answering { steps, prompt, written: 0, over: false }))
        }
        .boxed()
    }
}

/// Asks a service that answers at once.
pub(crate) fn ask<S>(service: &mut S, request: Generate) -> Result<TokenStream>
where
    S: Service<Generate, Response = TokenStream, Error = Error>,
{
    service.call(request).now_or_never().unwrap()
}

async fn wait_once() {
    let mut waited = false;
    futures::future::poll_fn(|context| {
        if std::mem::replace(&mut waited, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

struct Answering {
    steps: std::vec::IntoIter<Step>,
    prompt: usize,
    written: usize,
    over: bool,
}

impl Stream for Answering {
    type Item = Result<Event>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.over {
            return Poll::Ready(None);
        }
        Poll::Ready(match self.steps.next() {
            Some(Step::Wait) => {
                context.waker().wake_by_ref();
                return Poll::Pending;
            }
            Some(Step::Token(text)) => {
                self.written += 1;
                Some(Ok(Event::token(self.written as u32, text)))
            }
            Some(Step::Fail) => {
                self.over = true;
                Some(Err(Error::new(ErrorKind::Unavailable, "failed by the script")))
            }
            Some(Step::Break) => {
                self.over = true;
                None
            }
            None => {
                self.over = true;
                Some(Ok(Event::End(End::new(Finish::Stop, self.prompt, self.written))))
            }
        })
    }
}
