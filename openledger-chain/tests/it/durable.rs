//! A durable chain: what it acknowledged is there, whatever happens to the process.

use std::{
    fs::OpenOptions,
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Command, Stdio},
};

use openledger_chain::{
    DevNode, Embedded, Genesis,
    alloy::{
        providers::{DynProvider, Provider},
        rpc::types::TransactionRequest,
    },
    devnet_key, provider,
};
use openledger_core::{Address, B256, Bytes, ErrorKind, Result, U256};

const PAYEE: Address = Address::repeat_byte(0x99);
const CONTRACT: Address = Address::repeat_byte(0xcc);
const LOG: &str = "OPENLEDGER_TEST_LOG";

fn genesis() -> Genesis {
    Genesis::default().with_funded([devnet_key(0).address()]).with_state_roots()
}

fn client(chain: Embedded) -> DynProvider {
    provider(chain, &[devnet_key(0)]).unwrap()
}

async fn pay(node: &DynProvider, units: u64) -> B256 {
    let from = devnet_key(0).address();
    let request = TransactionRequest::default().from(from).to(PAYEE).value(U256::from(units));
    *node.send_transaction(request).await.unwrap().tx_hash()
}

async fn head(node: &DynProvider) -> B256 {
    node.get_block(Default::default()).await.unwrap().unwrap().header.hash
}

#[tokio::test]
async fn a_reopened_chain_is_the_same_chain() {
    let place = tempfile::tempdir().unwrap();
    let log = place.path().join("chain.wal");
    let chain = Embedded::open(&log, &genesis()).unwrap();
    let node = client(chain.clone());
    let dev = DevNode::new(node.clone());
    let taken = chain.snapshot().unwrap();
    pay(&node, 1).await;
    dev.set_code(CONTRACT, Bytes::from_static(&[0x5f, 0x00])).await.unwrap();
    dev.increase_time(500).await.unwrap();
    dev.mine_many(3, 10).await.unwrap();
    let kept = pay(&node, 2).await;
    pay(&node, 3).await;
    dev.roll_back(1).await.unwrap();
    dev.impersonate(CONTRACT).await.unwrap();
    let before = head(&node).await;
    let refused = Embedded::open(&log, &genesis()).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Conflict, "{refused}");
    drop((chain, node, dev));

    let chain = Embedded::open(&log, &genesis()).unwrap();
    let node = client(chain.clone());
    assert_eq!(head(&node).await, before);
    assert!(node.get_transaction_receipt(kept).await.unwrap().is_some());
    assert_eq!(node.get_balance(PAYEE).await.unwrap(), U256::from(3));
    chain.restore(taken).unwrap();
    assert_eq!(node.get_block_number().await.unwrap(), 0, "snapshots last, too");
}

#[tokio::test]
async fn a_torn_end_is_cut_off_and_a_corrupt_middle_is_named() {
    let place = tempfile::tempdir().unwrap();
    let log = place.path().join("chain.wal");
    let node = client(Embedded::open(&log, &genesis()).unwrap());
    pay(&node, 1).await;
    let first = std::fs::metadata(&log).unwrap().len();
    let second = pay(&node, 2).await;
    drop(node);
    let whole = std::fs::read(&log).unwrap();

    std::fs::write(&log, &whole[..whole.len() - 3]).unwrap();
    let node = client(Embedded::open(&log, &genesis()).unwrap());
    assert_eq!(std::fs::metadata(&log).unwrap().len(), first);
    assert_eq!(node.get_block_number().await.unwrap(), 1);
    assert_eq!(pay(&node, 2).await, second, "and it goes on where it was cut");
    drop(node);
    assert_eq!(std::fs::read(&log).unwrap(), whole);

    let mut corrupt = whole.clone();
    corrupt[60] ^= 1;
    std::fs::write(&log, &corrupt).unwrap();
    let error = Embedded::open(&log, &genesis()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(error.report().contains("offset 48 "), "{}", error.report());
    assert_eq!(std::fs::read(&log).unwrap(), corrupt, "nothing is mended unasked");

    std::fs::write(&log, &whole).unwrap();
    let other = Embedded::open(&log, &genesis().with_chain_id(5)).unwrap_err();
    assert_eq!(other.kind(), ErrorKind::Conflict, "{other}");
    std::fs::write(&log, b"something else").unwrap();
    assert_eq!(Embedded::open(&log, &genesis()).unwrap_err().kind(), ErrorKind::Corrupt);
    std::fs::write(&log, &whole[..20]).unwrap();
    let node = client(Embedded::open(&log, &genesis()).unwrap());
    assert_eq!(node.get_block_number().await.unwrap(), 0, "nothing was acknowledged yet");
}

#[tokio::test]
async fn a_write_cut_off_anywhere_and_followed_by_zeros_loses_nothing_acknowledged() {
    let place = tempfile::tempdir().unwrap();
    let log = place.path().join("chain.wal");
    let node = client(Embedded::open(&log, &genesis()).unwrap());
    pay(&node, 1).await;
    let first = std::fs::metadata(&log).unwrap().len() as usize;
    pay(&node, 2).await;
    drop(node);
    let whole = std::fs::read(&log).unwrap();
    for cut in first..whole.len() {
        let mut torn = whole[..cut].to_vec();
        torn.resize(4_096, 0);
        let is_whole = torn.starts_with(&whole);
        std::fs::write(&log, &torn).unwrap();
        let opened = reopen(&log);
        let node = client(opened.unwrap_or_else(|error| panic!("cut at {cut}: {error:?}")));
        assert_eq!(node.get_block_number().await.unwrap(), 1 + u64::from(is_whole));
        drop(node);
        let kept = std::fs::read(&log).unwrap();
        assert_eq!(kept, whole[..if is_whole { whole.len() } else { first }], "cut at {cut}");
    }

    // The same in the middle is no cut.
    let mut hole = whole.clone();
    hole[first - 20..first].fill(0);
    std::fs::write(&log, &hole).unwrap();
    assert_eq!(reopen(&log).unwrap_err().kind(), ErrorKind::Corrupt);
    // A log that was never begun has nothing to lose.
    let mut begun = whole[..30].to_vec();
    begun.resize(4_096, 0);
    std::fs::write(&log, &begun).unwrap();
    let node = client(reopen(&log).unwrap());
    assert_eq!(node.get_block_number().await.unwrap(), 0);
    drop(node);
    let mut headless = whole;
    headless[30..48].fill(0);
    std::fs::write(&log, &headless).unwrap();
    assert_eq!(reopen(&log).unwrap_err().kind(), ErrorKind::Corrupt);
}

/// Opens a log that was just closed. A process that another test starts meanwhile has a copy of
/// every open file, with its lock, until it becomes another program.
fn reopen(log: &Path) -> Result<Embedded> {
    loop {
        match Embedded::open(log, &genesis()) {
            Err(error) if error.kind() == ErrorKind::Conflict => std::thread::yield_now(),
            opened => return opened,
        }
    }
}

/// Runs in a process of its own, until it is killed: prints the hash of each transaction that the
/// chain acknowledged.
#[tokio::test]
#[ignore = "the other half of the test below, which starts it"]
async fn child_that_pays_until_it_is_killed() {
    let log = std::env::var(LOG).expect("the parent says where the log is");
    let node = client(Embedded::open(&log, &genesis()).unwrap());
    let mut out = std::io::stdout();
    loop {
        let hash = pay(&node, 1).await;
        writeln!(out, "acknowledged {hash}").unwrap();
        out.flush().unwrap();
    }
}

/// Kills a child after it acknowledged `count` more; returns all it acknowledged.
fn run_and_kill(log: &Path, count: usize, pause: std::time::Duration) -> Vec<B256> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "durable::child_that_pays_until_it_is_killed",
            "--ignored",
            "--nocapture",
        ])
        .env(LOG, log)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let hash = |line: std::io::Result<String>| {
        let line = line.unwrap();
        line.split("acknowledged ").nth(1).map(|hash| hash.parse().unwrap())
    };
    let mut acknowledged: Vec<B256> = lines.by_ref().filter_map(hash).take(count).collect();
    std::thread::sleep(pause);
    child.kill().unwrap();
    child.wait().unwrap();
    // What it said before it died counts; the last line may be cut.
    let whole = |line: std::io::Result<String>| {
        line.ok()?.split("acknowledged ").nth(1)?.parse::<B256>().ok()
    };
    acknowledged.extend(lines.filter_map(whole));
    acknowledged
}

#[tokio::test]
async fn whatever_was_acknowledged_before_a_kill_is_there_after() {
    let place = tempfile::tempdir().unwrap();
    let log = place.path().join("chain.wal");
    let mut acknowledged = Vec::new();
    for round in 0..6u64 {
        // Times without pattern, so that it dies within writes as well as between.
        let pause = std::time::Duration::from_micros(round * 7_919 % 5_000);
        acknowledged.extend(run_and_kill(&log, 1 + round as usize * 3, pause));
        if round % 2 == 1 {
            // As a power cut leaves a file that grew before it was written.
            let mut file = OpenOptions::new().append(true).open(&log).unwrap();
            file.write_all(&[0; 999]).unwrap();
        }
        drop(Embedded::open(&log, &genesis()).unwrap());
    }
    let node = client(Embedded::open(&log, &genesis()).unwrap());
    assert!(acknowledged.len() >= 1 + 4 + 7 + 10 + 13 + 16);
    for hash in &acknowledged {
        assert!(node.get_transaction_receipt(*hash).await.unwrap().is_some(), "{hash} is lost");
    }
    let blocks = node.get_block_number().await.unwrap();
    assert!(blocks >= acknowledged.len() as u64);

    // The same transactions on a fresh chain come to the same block, whose header has the root of
    // the state.
    let again = client(Embedded::new(&genesis()));
    for number in 1..=blocks {
        let block = node.get_block_by_number(number.into()).await.unwrap().unwrap();
        let hash = block.transactions.as_hashes().unwrap()[0];
        let raw: Bytes =
            node.raw_request("eth_getRawTransactionByHash".into(), (hash,)).await.unwrap();
        let pending = again.send_raw_transaction(&raw).await.unwrap();
        assert_eq!(*pending.tx_hash(), hash);
    }
    assert_eq!(head(&again).await, head(&node).await);
    let paid = node.get_balance(PAYEE).await.unwrap();
    assert_eq!(paid, U256::from(blocks));
}
