//! A server on a port of its own, and a client that speaks HTTP byte by byte.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
};

use futures::{StreamExt, stream};
use openledger_core::{Error, Result};
use openledger_http::{Limits, Listener};
use openledger_model::{ChatTemplate, Model, testing};
use openledger_serve::{Engine, EngineOptions, Event, Generate, TokenStream};
use openledger_serve_http::Api;
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tower::Service;

pub(crate) const BASE: &str = "tiny";
/// Writes messages and tools one after the other; tells of Hermes' calls.
pub(crate) const TEMPLATE: &str = "{% for t in tools or [] %}<tool_call>{{ t.function.name }}\n{% endfor %}\
     {% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}";

pub(crate) fn model() -> Arc<Model> {
    Arc::new(testing::tiny(1).unwrap())
}

pub(crate) fn template() -> ChatTemplate {
    ChatTemplate::new(TEMPLATE, b"{}").unwrap()
}

/// The real engine behind the API.
pub(crate) fn api() -> Api {
    let engine = Engine::start(model(), EngineOptions::default()).unwrap();
    Api::new(engine, model(), BASE).with_template(template())
}

pub(crate) async fn serve(api: Api) -> SocketAddr {
    serve_within(api, Limits::default()).await
}

pub(crate) async fn serve_within(api: Api, limits: Limits) -> SocketAddr {
    let listener = Listener::bind(([127, 0, 0, 1], 0).into()).await.unwrap();
    let address = listener.address();
    let answer = move |request| {
        let api = api.clone();
        async move { api.answer(request).await }
    };
    tokio::spawn(listener.serve_until(limits, answer, std::future::pending()));
    address
}

/// A service that gives each request the same events, remembers what it was asked, and counts the
/// streams that are open.
#[derive(Clone)]
pub(crate) struct Script {
    events: Arc<dyn Fn() -> Vec<Result<Event>> + Send + Sync>,
    endless: bool,
    pub(crate) asked: Arc<Mutex<Vec<Generate>>>,
    pub(crate) open: Arc<AtomicUsize>,
}

impl Script {
    pub(crate) fn new(events: impl Fn() -> Vec<Result<Event>> + Send + Sync + 'static) -> Self {
        Self {
            events: Arc::new(events),
            endless: false,
            asked: Arc::default(),
            open: Arc::default(),
        }
    }

    /// Says these texts, a token each, and ends.
    pub(crate) fn saying(texts: &'static [&'static str]) -> Self {
        Self::new(move || {
            let tokens = texts.iter().zip(65..).map(|(text, token)| Ok(Event::token(token, *text)));
            let end = openledger_serve::End::new(openledger_serve::Finish::Stop, 7, texts.len());
            tokens.chain([Ok(Event::End(end))]).collect()
        })
    }

    /// Never ends after the events.
    pub(crate) fn endless(mut self) -> Self {
        self.endless = true;
        self
    }

    pub(crate) fn api(&self) -> Api {
        Api::new(self.clone(), model(), BASE).with_template(template())
    }

    pub(crate) fn last(&self) -> Generate {
        self.asked.lock().unwrap().last().unwrap().clone()
    }

    /// Waits until no stream is open.
    pub(crate) async fn idle(&self) {
        for _ in 0..1000 {
            if self.open.load(Ordering::SeqCst) == 0 {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        panic!("streams stay open");
    }
}

/// Counts a stream while it lives.
struct Open(Arc<AtomicUsize>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Service<Generate> for Script {
    type Response = TokenStream;
    type Error = Error;
    type Future = std::future::Ready<Result<TokenStream>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Generate) -> Self::Future {
        self.asked.lock().unwrap().push(request);
        self.open.fetch_add(1, Ordering::SeqCst);
        let open = Open(Arc::clone(&self.open));
        let events = stream::iter((self.events)());
        let rest = match self.endless {
            true => stream::pending().boxed(),
            false => stream::empty().boxed(),
        };
        let events = events.chain(rest).inspect(move |_| {
            let _ = &open;
        });
        std::future::ready(Ok(TokenStream::new(events)))
    }
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|e| panic!("{e}: {self:?}"))
    }

    /// The payloads of events.
    pub(crate) fn events(&self) -> Vec<String> {
        let events = self.body.split("\n\n").filter(|event| !event.is_empty());
        events.map(|event| event.strip_prefix("data: ").unwrap().to_owned()).collect()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (found, value) = line.split_once(':')?;
            found.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }
}

/// Sends bytes and reads until the server closes.
pub(crate) async fn raw(address: SocketAddr, bytes: &[u8]) -> Answer {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let mut said = Vec::new();
    let (mut reader, mut writer) = stream.split();
    // A server that refuses does not read to the end.
    let send = async {
        let _ = writer.write_all(bytes).await;
    };
    let read = async {
        let _ = reader.read_to_end(&mut said).await;
    };
    let both = futures::future::join(send, read);
    tokio::time::timeout(std::time::Duration::from_secs(60), both).await.expect("it answers");
    answer(&said)
}

pub(crate) fn answer(said: &[u8]) -> Answer {
    let split = said.windows(4).position(|four| four == b"\r\n\r\n").unwrap_or(said.len());
    let head = String::from_utf8_lossy(&said[..split]).into_owned();
    let status = head.get(9..12).and_then(|status| status.parse().ok()).unwrap_or(0);
    let mut rest = said.get(split + 4..).unwrap_or_default();
    let mut body = Vec::new();
    match head.to_ascii_lowercase().contains("transfer-encoding: chunked") {
        false => body.extend_from_slice(rest),
        true => {
            while let Some(line) = rest.windows(2).position(|two| two == b"\r\n") {
                let size = std::str::from_utf8(&rest[..line]).unwrap();
                let size = usize::from_str_radix(size, 16).unwrap();
                let from = line + 2;
                body.extend_from_slice(rest.get(from..from + size).unwrap_or_default());
                rest = rest.get(from + size + 2..).unwrap_or_default();
            }
        }
    }
    Answer { status, head, body: String::from_utf8(body).unwrap() }
}

pub(crate) fn request(method: &str, path: &str, headers: &str, body: &str) -> String {
    format!(
        "{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n{headers}\r\n{body}",
        body.len()
    )
}

pub(crate) async fn post(address: SocketAddr, path: &str, body: &str) -> Answer {
    raw(address, request("POST", path, "", body).as_bytes()).await
}

pub(crate) async fn get(address: SocketAddr, path: &str) -> Answer {
    raw(address, request("GET", path, "", "").as_bytes()).await
}

/// As somebody with a key.
pub(crate) async fn with_key(
    address: SocketAddr,
    method: &str,
    path: &str,
    key: &str,
    body: &str,
) -> Answer {
    let headers = format!("authorization: Bearer {key}\r\n");
    raw(address, request(method, path, &headers, body).as_bytes()).await
}
