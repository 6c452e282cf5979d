//! A server, by what clients can do to it.
#![expect(clippy::unwrap_used, reason = "helpers of tests may panic")]

use std::{net::SocketAddr, time::Duration};

use bytes::Bytes;
use http_body_util::Full;
use hyper::{Request, Response, StatusCode, body::Incoming};
use openledger_core::ErrorKind;
use openledger_http::{Limits, Listener, Peer, read};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::oneshot,
    task::JoinHandle,
};

/// Answers with the body's length; `/large` with 64 MiB, `/slow` after a while, `/never` not at all.
async fn answer(request: Request<Incoming>) -> Response<Full<Bytes>> {
    assert!(request.extensions().get::<Peer>().unwrap().0.ip().is_loopback());
    match request.uri().path() {
        "/large" => return Response::new(Full::new(vec![7; 64 << 20].into())),
        "/slow" => tokio::time::sleep(Duration::from_millis(300)).await,
        "/never" => std::future::pending().await,
        _ => {}
    }
    let (status, text) = match read(request.into_body(), 1000, Duration::from_millis(500)).await {
        Ok(body) => (StatusCode::OK, format!("{}", body.len())),
        Err(e) if e.kind() == ErrorKind::Limit => (StatusCode::PAYLOAD_TOO_LARGE, e.to_string()),
        Err(e) => (StatusCode::REQUEST_TIMEOUT, e.to_string()),
    };
    let mut response = Response::new(Full::new(text.into()));
    *response.status_mut() = status;
    response
}

async fn serve(limits: Limits) -> (SocketAddr, oneshot::Sender<()>, JoinHandle<()>) {
    let listener = Listener::bind(([127, 0, 0, 1], 0).into()).await.unwrap();
    let address = listener.address();
    let (stop, stopped) = oneshot::channel();
    let stopped = async {
        if stopped.await.is_err() {
            std::future::pending::<()>().await;
        }
    };
    (address, stop, tokio::spawn(listener.serve_until(limits, answer, stopped)))
}

/// Sends bytes and returns all that comes back until the server closes, within ten seconds.
async fn raw(address: SocketAddr, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let _ = stream.write_all(bytes).await;
    let mut said = Vec::new();
    let read = stream.read_to_end(&mut said);
    let _ = tokio::time::timeout(Duration::from_secs(10), read).await.expect("it closes");
    String::from_utf8(said).unwrap()
}

fn post(path: &str, headers: &str, body: &str) -> Vec<u8> {
    format!("POST {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{headers}\r\n{body}")
        .into_bytes()
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_are_read_within_their_limits() {
    let (address, ..) = serve(Limits::default()).await;
    for (headers, body, status, says) in [
        ("content-length: 3\r\n", "abc", "200", "3"),
        ("transfer-encoding: chunked\r\n", "2\r\nab\r\n0\r\n\r\n", "200", "2"),
        ("content-length: 1001\r\n", "", "413", "more than 1000 bytes"),
        ("transfer-encoding: chunked\r\n", &format!("3e9\r\n{}", "a".repeat(1001)), "413", "1000"),
        ("content-length: 3\r\n", "ab", "408", "within 0.5 s"),
    ] {
        let said = raw(address, &post("/", headers, body)).await;
        assert!(
            said.starts_with(&format!("HTTP/1.1 {status}")) && said.ends_with(says)
                || said.contains(says),
            "{said}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn heads_are_bounded_in_bytes_headers_and_time() {
    let limits = Limits::default().with_head(8192, 20).with_head_time(Duration::from_millis(200));
    let (address, ..) = serve(limits).await;
    let flood: String = (0..21).map(|n| format!("x-{n}: 1\r\n")).collect();
    assert!(raw(address, &post("/", &flood, "")).await.starts_with("HTTP/1.1 431"));
    let long = format!("x: {}\r\n", "a".repeat(10_000));
    assert!(raw(address, &post("/", &long, "")).await.starts_with("HTTP/1.1 431"));
    // Neither half a head nor none keeps a connection; `raw` waits for its end.
    for head in ["GET / HTTP/1.1\r\nhost:", ""] {
        let said = raw(address, head.as_bytes()).await;
        assert!(said.is_empty() || said.starts_with("HTTP/1.1 408"), "{said}");
    }
    // Nor does one that has asked and asks nothing more.
    assert!(raw(address, b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.starts_with("HTTP/1.1 200"));
}

#[tokio::test(flavor = "multi_thread")]
async fn more_connections_wait_until_one_ends() {
    let (address, ..) = serve(Limits::default().with_connections(1)).await;
    let first = TcpStream::connect(address).await.unwrap();
    let mut second = TcpStream::connect(address).await.unwrap();
    second.write_all(&post("/", "", "")).await.unwrap();
    let mut said = [0; 12];
    let early =
        tokio::time::timeout(Duration::from_millis(200), second.read_exact(&mut said)).await;
    assert!(early.is_err());
    drop(first);
    second.read_exact(&mut said).await.unwrap();
    assert_eq!(&said, b"HTTP/1.1 200");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_nobody_reads_is_given_up() {
    let limits = Limits::default().with_connections(1).with_write_time(Duration::from_millis(200));
    let (address, ..) = serve(limits).await;
    let mut deaf = TcpStream::connect(address).await.unwrap();
    deaf.write_all(&post("/large", "", "")).await.unwrap();
    // The only place is free again though `deaf` is still open.
    assert!(raw(address, &post("/", "", "")).await.starts_with("HTTP/1.1 200"));
    drop(deaf);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_closes_its_half_has_left() {
    let (address, ..) = serve(Limits::default().with_connections(1)).await;
    let mut half = TcpStream::connect(address).await.unwrap();
    half.write_all(b"GET /never HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    half.shutdown().await.unwrap();
    // Its place is free though nobody answered it.
    assert!(raw(address, &post("/", "", "")).await.starts_with("HTTP/1.1 200"));
    let mut said = Vec::new();
    let _ = half.read_to_end(&mut said).await;
    assert!(said.is_empty(), "{said:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn at_the_end_answers_under_way_are_finished_and_no_more_begun() {
    let (address, stop, served) = serve(Limits::default()).await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(b"GET /slow HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    stop.send(()).unwrap();
    let mut said = String::new();
    stream.read_to_string(&mut said).await.unwrap();
    assert!(said.starts_with("HTTP/1.1 200"), "{said}");
    tokio::time::timeout(Duration::from_secs(5), served).await.unwrap().unwrap();
    assert!(TcpStream::connect(address).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn at_the_end_nobody_is_waited_for_for_ever() {
    let (address, stop, served) =
        serve(Limits::default().with_drain_time(Duration::from_millis(100))).await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(b"GET /never HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    stop.send(()).unwrap();
    tokio::time::timeout(Duration::from_secs(5), served).await.unwrap().unwrap();
    // What did not end in time is ended, not left behind.
    let ended = tokio::time::timeout(Duration::from_secs(5), stream.read(&mut [0; 64])).await;
    assert!(matches!(ended, Ok(Ok(0) | Err(_))), "{ended:?}");
}

#[tokio::test]
async fn a_port_that_is_taken_is_an_error_that_may_pass() {
    let listener = Listener::bind(([127, 0, 0, 1], 0).into()).await.unwrap();
    let error = Listener::bind(listener.address()).await.unwrap_err();
    assert!(error.is_retryable() && error.to_string().starts_with("listen on 127.0.0.1"));
    listener.serve_until(Limits::default(), answer, async {}).await;
}
