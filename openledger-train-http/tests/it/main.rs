//! Decentralised training over HTTP, by behaviour.
#![expect(clippy::unwrap_used, reason = "helpers of tests may panic")]

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use openledger_core::{
    Address, B256, ErrorKind, Key, U256,
    message::{Domain, LocalUpdate, Signed},
};
use openledger_model::{Lora, LoraConfig, Tokens, testing};
use openledger_train::{
    NativeRun, Optimiser, Plan,
    federated::{
        Coordinator, Exchange, Federation, Host, Matrices, Round, Turn, Worker, conformance,
    },
};
use openledger_train_http::{Client, Limits, Server};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinHandle,
};

const PATIENCE: Duration = Duration::from_secs(60);

async fn serve(host: Host, patience: Duration) -> (Client, String, JoinHandle<()>) {
    let server = Server::bind(([127, 0, 0, 1], 0).into(), host).await.unwrap();
    let url = server.url();
    let client = Client::connect(&url).unwrap();
    let server = server.with_limits(Limits::default()).with_patience(patience);
    (client, url, tokio::spawn(server.serve_until(std::future::pending())))
}

fn key(byte: u8) -> Key {
    Key::from_bytes(B256::repeat_byte(byte)).unwrap()
}

fn domain() -> Domain {
    Domain { chain_id: 1612, contract: Address::repeat_byte(1) }
}

/// A run of workers 3, 4 and 5 over a tiny model, and the clock.
fn host() -> (Host, Arc<AtomicU64>, LoraConfig, Vec<u8>) {
    let model = testing::tiny(1).unwrap();
    let config = LoraConfig::default().with_rank(4, 8.0);
    let start: Vec<u8> = Lora::init(model.network(), &config, 7)
        .unwrap()
        .to_files(model.network(), &config)
        .weights
        .into();
    let terms =
        Federation::new(B256::repeat_byte(2), domain(), [3, 4, 5].map(|b| key(b).address()))
            .with_rounds(3, 2)
            .with_deadline(60, 2);
    let clock = Arc::new(AtomicU64::new(1_000));
    let now = Arc::clone(&clock);
    let coordinator = Coordinator::new(terms, &start, 1_000).unwrap();
    (Host::new(coordinator, move || now.load(Ordering::SeqCst)), clock, config, start)
}

fn worker(byte: u8, config: &LoraConfig, start: &[u8]) -> Worker<Vec<Tokens>> {
    let network = Arc::new(testing::tiny(1).unwrap().network().clone());
    let run = NativeRun::start(network, config, Optimiser::default(), start).unwrap();
    let token = u32::from(byte);
    let rows = vec![Tokens::new(&[1, token], &[3, 4, 5]), Tokens::new(&[2, token], &[6, 7])];
    Worker::new(key(byte), domain(), Box::new(run), rows, Plan::default().with_batch(1))
}

/// An update whose bytes are zeros.
fn update(round: &Round, byte: u8, bytes: &[u8]) -> Signed<LocalUpdate> {
    let message = LocalUpdate {
        run: round.run,
        round: round.number,
        start: round.start,
        update: Matrices::digest(bytes),
        steps: 1,
        labels: 1,
        worker: key(byte).address(),
        nonce: U256::ZERO,
        deadline: u64::MAX,
    };
    Signed::sign(message, domain(), &key(byte))
}

#[tokio::test(flavor = "multi_thread")]
async fn http_keeps_the_contract_of_an_exchange() {
    conformance::check(async |host| serve(host, PATIENCE).await.0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn over_http_the_same_is_learned_as_in_process() {
    let mut ends = Vec::new();
    for over_http in [false, true] {
        let (host, _, config, start) = host();
        let (client, _, serving) = serve(host.clone(), PATIENCE).await;
        let exchange: &dyn Exchange = if over_http { &client } else { &host };
        let mut workers = [3, 4, 5].map(|byte| worker(byte, &config, &start));
        while !host.gate().round().is_over() {
            for worker in &mut workers {
                worker.turn(exchange).await.unwrap();
            }
        }
        let Turn::Over(matrices) = workers[0].turn(exchange).await.unwrap() else { panic!() };
        ends.push((matrices, host.record().digest()));
        serving.abort();
    }
    assert_eq!(ends[0], ends[1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_away_is_not_waited_for_and_who_is_back_is() {
    let (host, clock, config, start) = host();
    let (client, _, serving) = serve(host.clone(), PATIENCE).await;
    let mut workers = [3, 4, 5].map(|byte| worker(byte, &config, &start));
    let stale = client.round().await.unwrap();
    for worker in &mut workers[..2] {
        worker.turn(&client).await.unwrap();
    }
    host.poll().unwrap();
    assert_eq!(host.gate().round().number, 0, "the third is waited for");
    clock.fetch_add(60, Ordering::SeqCst);
    host.poll().unwrap();
    assert_eq!(host.gate().round().number, 1);

    let bytes = vec![0; stale.size];
    let late = client.submit(update(&stale, 5, &bytes), bytes.into()).await.unwrap_err();
    assert_eq!(late.kind(), ErrorKind::Conflict);
    for worker in &mut workers[..2] {
        worker.turn(&client).await.unwrap();
    }
    host.poll().unwrap();
    assert_eq!(host.gate().round().number, 1, "it is back, so it is waited for");
    assert_eq!(workers[2].turn(&client).await.unwrap(), Turn::Sent(1));
    host.poll().unwrap();
    assert_eq!(host.gate().round().number, 2);
    assert_eq!(host.record().rounds[1].updates.len(), 3);
    serving.abort();
}

/// Sends `head` and `body` as they are and returns the status line.
async fn raw(url: &str, head: &str, body: &[u8]) -> String {
    let mut stream = TcpStream::connect(url.trim_start_matches("http://")).await.unwrap();
    stream.write_all(head.as_bytes()).await.unwrap();
    let _ = stream.write_all(body).await;
    let mut answer = vec![0; 12];
    match tokio::time::timeout(Duration::from_secs(20), stream.read_exact(&mut answer)).await {
        Ok(Ok(_)) => String::from_utf8_lossy(&answer).into_owned(),
        _ => "no answer".to_owned(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_request_of_ours_is_refused_and_harms_nothing() {
    let (host, ..) = host();
    let (client, url, serving) = serve(host.clone(), PATIENCE).await;
    let round = client.round().await.unwrap();
    for (head, expected) in [
        ("GET / HTTP/1.1\r\nhost: x\r\n\r\n", "404"),
        ("DELETE /v1/round HTTP/1.1\r\nhost: x\r\n\r\n", "404"),
        ("GET /v1/matrices/0x00 HTTP/1.1\r\nhost: x\r\n\r\n", "404"),
        ("POST /v1/updates HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n", "400"),
        (
            "POST /v1/updates HTTP/1.1\r\nhost: x\r\nopenledger-update: {}\r\ncontent-length: 0\r\n\r\n",
            "400",
        ),
        ("nonsense\r\n\r\n", "400"),
    ] {
        let said = raw(&url, head, b"").await;
        assert!(said.ends_with(expected), "{head}: {said}");
    }
    // The body is claimed to be larger than any update; nothing of it is waited for.
    let signed = serde_json::to_string(&update(&round, 3, &[])).unwrap();
    let head = format!(
        "POST /v1/updates HTTP/1.1\r\nhost: x\r\nopenledger-update: {signed}\r\ncontent-length: {}\r\n\r\n",
        u64::MAX / 2
    );
    assert!(raw(&url, &head, b"").await.ends_with("413"));
    // So is one that does not say how long it is.
    let head = format!(
        "POST /v1/updates HTTP/1.1\r\nhost: x\r\nopenledger-update: {signed}\r\ntransfer-encoding: chunked\r\n\r\n"
    );
    let body: Vec<u8> = format!("{:x}\r\n", 2 * round.size).into_bytes();
    let body = [body, vec![0; 2 * round.size]].concat();
    assert!(raw(&url, &head, &body).await.ends_with("413"));
    assert_eq!(client.round().await.unwrap(), round);
    serving.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_sends_one_update_at_a_time_and_in_time() {
    let (host, ..) = host();
    let (client, url, serving) = serve(host.clone(), Duration::from_millis(1500)).await;
    let round = client.round().await.unwrap();
    let bytes = vec![0; round.size];
    let signed = update(&round, 3, &bytes);
    let head = format!(
        "POST /v1/updates HTTP/1.1\r\nhost: x\r\nopenledger-update: {}\r\ncontent-length: {}\r\n\
         expect: 100-continue\r\n\r\n",
        serde_json::to_string(&signed).unwrap(),
        bytes.len()
    );
    // The first sends its head and no body; once it is told to go on, it has its turn.
    let mut slow = TcpStream::connect(url.trim_start_matches("http://")).await.unwrap();
    slow.write_all(head.as_bytes()).await.unwrap();
    let mut said = [0; "HTTP/1.1 100 Continue\r\n\r\n".len()];
    slow.read_exact(&mut said).await.unwrap();
    let second = client.submit(signed.clone(), bytes.clone().into()).await.unwrap_err();
    assert_eq!(second.kind(), ErrorKind::Unavailable, "one at a time");
    slow.read_exact(&mut said[..12]).await.unwrap();
    assert_eq!(&said[..12], b"HTTP/1.1 503", "it is given up");
    client.submit(signed, bytes.into()).await.unwrap();
    serving.abort();
}

#[tokio::test]
async fn a_server_that_is_not_there_is_an_error_that_may_pass() {
    let client = Client::connect("http://127.0.0.1:1").unwrap();
    let error = client.round().await.unwrap_err();
    assert!(error.is_retryable(), "{error:?}");
    assert_eq!(Client::connect("ftp://x").unwrap_err().kind(), ErrorKind::Unsupported);
}
