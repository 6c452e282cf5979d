//! The embedded chain behind HTTP, as wallets and tools see it.

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use openledger_chain::{
    DevNode, Devnet, Embedded, Genesis, Retry,
    alloy::{providers::Provider, rpc::types::TransactionRequest},
    devnet_key, http_provider, http_provider_with,
};
use openledger_core::{Address, Bytes, ErrorKind, U256};

/// A running server that ends with the test.
struct Running {
    url: String,
    address: SocketAddr,
    stop: Option<tokio::sync::oneshot::Sender<()>>,
    serving: tokio::task::JoinHandle<()>,
}

async fn start(chain: Embedded) -> Running {
    let server = Devnet::bind((Ipv4Addr::LOCALHOST, 0).into(), chain).await.unwrap();
    let url = server.url();
    let address = url.trim_start_matches("http://").parse().unwrap();
    let (stop, stopped) = tokio::sync::oneshot::channel();
    let serving = tokio::spawn(server.serve_until(async { drop(stopped.await) }));
    Running { url, address, stop: Some(stop), serving }
}

/// Sends raw HTTP requests over one connection and reads the answers.
async fn raw(address: SocketAddr, requests: Vec<String>) -> Vec<(u16, String, String)> {
    let exchange = move || {
        let mut stream = TcpStream::connect(address).unwrap();
        let answers = requests.iter().map(|request| {
            stream.write_all(request.as_bytes()).unwrap();
            let mut head = Vec::new();
            let mut byte = [0];
            while !head.ends_with(b"\r\n\r\n") {
                assert_eq!(stream.read(&mut byte).unwrap(), 1, "closed within the head");
                head.push(byte[0]);
            }
            let head = String::from_utf8(head).unwrap().to_lowercase();
            let status = head[9..12].parse().unwrap();
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
            stream.read_exact(&mut body).unwrap();
            (status, head, String::from_utf8(body).unwrap())
        });
        answers.collect()
    };
    tokio::task::spawn_blocking(exchange).await.unwrap()
}

fn post(body: &str) -> String {
    let length = body.len();
    format!("POST / HTTP/1.1\r\nhost: x\r\ncontent-length: {length}\r\n\r\n{body}")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_over_http_sees_what_one_in_the_process_does() {
    let keys = [devnet_key(0), devnet_key(1)];
    let people = keys.each_ref().map(openledger_core::Key::address);
    let chain = Embedded::new(&Genesis::default().with_funded(people));
    let running = start(chain.clone()).await;
    let node = http_provider(&running.url, &keys).unwrap();
    let transfer = TransactionRequest::default().from(people[0]).to(people[1]).value(U256::ONE);
    let pending = node.send_transaction(transfer).await.unwrap();
    let inside = openledger_chain::provider(chain, &keys).unwrap();
    let hash = *pending.tx_hash();
    let receipt = node.get_transaction_receipt(hash).await.unwrap().unwrap();
    assert_eq!(Some(receipt), inside.get_transaction_receipt(hash).await.unwrap());
    DevNode::new(node).set_balance(people[1], U256::from(3)).await.unwrap();
    assert_eq!(inside.get_balance(people[1]).await.unwrap(), U256::from(3));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_is_kept_and_what_is_no_request_is_said_so() {
    let running = start(Embedded::new(&Genesis::default())).await;
    let chain_id = r#"{"jsonrpc":"2.0","id":"me","method":"eth_chainId","params":[]}"#;
    let silent = r#"{"jsonrpc":"2.0","method":"evm_mine","params":[]}"#;
    let number = r#"{"jsonrpc":"2.0","id":-7,"method":"eth_blockNumber"}"#;
    let answers = raw(
        running.address,
        vec![
            post(chain_id),
            post("{nonsense"),
            post(r#"{"id":1}"#),
            post(silent),
            post(&format!("[{number}, 5, {silent}, {chain_id}]")),
            post("[]"),
            post(r#"{"id":2,"method":"no_such","params":[]}"#),
            post(r#"{"id":3,"method":"eth_getBalance","params":{"a":1}}"#),
            "GET / HTTP/1.1\r\nhost: x\r\n\r\n".to_owned(),
        ],
    )
    .await;
    let said = |index: usize| (answers[index].0, answers[index].2.as_str());
    assert_eq!(said(0), (200, r#"{"jsonrpc":"2.0","id":"me","result":"0x7a69"}"#));
    assert!(said(1).1.contains("-32700"), "{}", said(1).1);
    assert!(said(2).1.contains("-32600") && said(2).1.contains("method"), "{}", said(2).1);
    assert_eq!(said(3), (204, ""));
    let batch: Vec<serde_json::Value> = serde_json::from_str(said(4).1).unwrap();
    assert_eq!(batch.len(), 3, "the one without an id has no answer");
    assert_eq!((&batch[0]["id"], &batch[0]["result"]), (&(-7).into(), &"0x1".into()));
    assert_eq!(batch[1]["error"]["code"], -32600);
    assert_eq!(batch[2]["result"], "0x7a69");
    assert!(said(5).1.contains("empty batch"), "{}", said(5).1);
    assert!(said(6).1.contains("-32601") && said(6).1.contains("no_such"), "{}", said(6).1);
    assert!(said(7).1.contains("-32602"), "{}", said(7).1);
    assert_eq!(said(8).0, 405);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_in_a_browser_may_ask() {
    let running = start(Embedded::new(&Genesis::default())).await;
    let preflight = "OPTIONS / HTTP/1.1\r\nhost: x\r\norigin: http://app\r\n\
                     access-control-request-method: POST\r\n\r\n";
    let answers = raw(running.address, vec![preflight.to_owned()]).await;
    let (status, head, _) = &answers[0];
    assert_eq!(*status, 204);
    assert!(head.contains("access-control-allow-origin: *"), "{head}");
    assert!(head.contains("access-control-allow-methods: post"), "{head}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_past_the_limit_is_refused() {
    let running = start(Embedded::new(&Genesis::default())).await;
    let large = "POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 9000000\r\n\r\n".to_owned();
    assert_eq!(raw(running.address, vec![large]).await[0].0, 413);
    let many = format!("[{}]", vec!["1"; 1_001].join(","));
    let answers = raw(running.address, vec![post(&many)]).await;
    assert!(answers[0].2.contains("1001 requests"), "{}", answers[0].2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_with_too_large_answers_is_answered_in_part_and_the_rest_is_not_done() {
    let chain = Embedded::new(&Genesis::default());
    let dev = DevNode::new(openledger_chain::provider(chain.clone(), &[devnet_key(0)]).unwrap());
    let contract = Address::repeat_byte(0xcc);
    dev.set_code(contract, Bytes::from(vec![0x5b; 24_000])).await.unwrap();
    let running = start(chain).await;
    let code = format!(r#"{{"id":1,"method":"eth_getCode","params":["{contract}","latest"]}}"#);
    let mut batch = vec![code; 600];
    batch.push(r#"{"id":2,"method":"evm_mine","params":[]}"#.to_owned());
    let number = r#"{"id":3,"method":"eth_blockNumber"}"#;
    let batch = format!("[{}]", batch.join(","));
    let answers = raw(running.address, vec![post(&batch), post(number)]).await;
    assert!(answers[0].2.len() < 25_300_000, "{}", answers[0].2.len());
    let all: Vec<serde_json::Value> = serde_json::from_str(&answers[0].2).unwrap();
    assert_eq!(all.len(), 601, "each has its answer");
    let refused = all.iter().position(|answer| answer.get("error").is_some()).unwrap();
    assert_eq!(refused, 25_000_000 / 48_004 + 1);
    for answer in &all[refused..] {
        assert_eq!(answer["error"]["code"], -32_003);
    }
    assert_eq!(all[600]["id"], 2);
    assert!(answers[1].2.contains(r#""result":"0x0""#), "no block was made: {}", answers[1].2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_never_answers_is_given_up_in_time() {
    let silent = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let url = format!("http://{}", silent.local_addr().unwrap());
    let connections = Arc::new(AtomicUsize::new(0));
    let accepted = Arc::clone(&connections);
    tokio::spawn(async move {
        let mut held = Vec::new();
        loop {
            held.push(silent.accept().await.unwrap());
            accepted.fetch_add(1, Ordering::Relaxed);
        }
    });
    let retry = Retry::default()
        .with_timeout(Duration::from_millis(200))
        .with_tries(3)
        .with_pauses(Duration::ZERO, Duration::ZERO);
    let node = http_provider_with(&url, &[devnet_key(0)], retry).unwrap();
    let asked = tokio::time::timeout(Duration::from_secs(60), node.get_block_number()).await;
    let error = asked.expect("it does not hang").unwrap_err();
    assert!(error.to_string().contains("no answer within 200ms"), "{error}");
    assert_eq!(connections.load(Ordering::Relaxed), 3, "it is tried again");
    // What sends is not tried again by the transport, and does not hang either.
    let sent = node.send_raw_transaction(&[1]);
    let sent = tokio::time::timeout(Duration::from_secs(60), sent).await;
    assert!(sent.expect("it does not hang").is_err());
    assert_eq!(connections.load(Ordering::Relaxed), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn it_stops_when_told_and_only_loopback_is_served() {
    let mut running = start(Embedded::new(&Genesis::default())).await;
    let node = http_provider(&running.url, &[devnet_key(0)]).unwrap();
    assert_eq!(node.get_block_number().await.unwrap(), 0);
    drop(running.stop.take());
    running.serving.await.unwrap();
    assert!(TcpStream::connect(running.address).is_err());
    let everywhere = (Ipv4Addr::UNSPECIFIED, 0).into();
    let refused = Devnet::bind(everywhere, Embedded::new(&Genesis::default())).await;
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::Invalid);
}
