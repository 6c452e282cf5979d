//! How many transactions a second does the embedded chain take, beside anvil?
//!
//! Transfers of OPEN, one after another, each by the client's whole way: nonce, gas, signature, send,
//! receipt. The same code against the embedded chain in this process, against the same chain as a
//! server on loopback, and, with `ANVIL=PROGRAM`, against anvil started by this bench:
//!
//! ```text
//! ANVIL=.../bin/anvil cargo bench -p openledger-benches --bench chain_process -- 2000
//! ```

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark prints and may panic")]

use std::{
    env,
    future::pending,
    net::{TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use openledger_chain::{
    DeployOptions, DevNode, Devnet, Embedded, EvmChain, Genesis,
    abi::open_token::OpenToken,
    alloy::{
        consensus::{SignableTransaction, TxEip1559, TxEnvelope},
        eips::eip2718::Encodable2718,
        network::TxSignerSync,
        providers::{DynProvider, Provider},
        signers::local::PrivateKeySigner,
        sol_types::SolCall,
    },
    devnet_key, http_provider, provider,
};
use openledger_core::{Address, Amount, U256};

const TO: Address = Address::repeat_byte(0x77);
/// How long anvil is waited for.
const PATIENCE: Duration = Duration::from_secs(30);

fn main() {
    let count = env::args().find_map(|arg| arg.parse().ok()).unwrap_or(2_000);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    println!("{count} transfers of OPEN, transactions a second:");
    println!("{:24} {:>12} {:>20}", "", "client", "signed beforehand");
    runtime.block_on(async {
        let genesis = Genesis::default().with_funded([devnet_key(0).address()]);
        let keys = [devnet_key(0)];
        let ours = provider(Embedded::new(&genesis), &keys).unwrap();
        let ours = run("embedded", &ours, count).await;

        let server = Devnet::bind("127.0.0.1:0".parse().unwrap(), Embedded::new(&genesis));
        let server = server.await.unwrap();
        let url = server.url();
        let serving = tokio::spawn(server.serve_until(pending()));
        let served = run("embedded, over HTTP", &http_provider(&url, &keys).unwrap(), count).await;
        serving.abort();

        let Ok(program) = env::var("ANVIL") else {
            println!("anvil skipped: ANVIL is not set");
            return;
        };
        let anvil = Anvil::start(&program);
        let theirs = run("anvil", &http_provider(&anvil.url, &keys).unwrap(), count).await;
        let times = |ours: f64, theirs: f64| ours / theirs;
        println!(
            "in the process {:.1} and {:.1} times anvil, over HTTP {:.1} and {:.1} times",
            times(ours.0, theirs.0),
            times(ours.1, theirs.1),
            times(served.0, theirs.0),
            times(served.1, theirs.1),
        );
    });
}

/// Returns transactions a second, sent by the client and sent signed.
async fn run(name: &str, node: &DynProvider, count: u64) -> (f64, f64) {
    let key = devnet_key(0);
    let rich = U256::from(10).pow(U256::from(24));
    DevNode::new(node.clone()).set_balance(key.address(), rich).await.unwrap();
    let options = DeployOptions::new(key.address());
    let chain = EvmChain::deploy(node.clone(), options).await.unwrap().chain;
    let begun = Instant::now();
    for _ in 0..count {
        chain.transfer(TO, Amount::from(1)).await.unwrap();
    }
    let client = count as f64 / begun.elapsed().as_secs_f64();

    let signed = sign(node, chain.contracts().token, count).await;
    let begun = Instant::now();
    for raw in signed {
        let hash = *node.send_raw_transaction(&raw).await.unwrap().tx_hash();
        let receipt = loop {
            if let Some(receipt) = node.get_transaction_receipt(hash).await.unwrap() {
                break receipt;
            }
        };
        assert!(receipt.status());
    }
    let raw = count as f64 / begun.elapsed().as_secs_f64();
    assert_eq!(chain.balance(TO).await.unwrap(), Amount::from(2 * count));
    println!("{name:24} {client:>12.0} {raw:>20.0}");
    (client, raw)
}

/// Signs transfers from the next nonce on.
async fn sign(node: &DynProvider, token: Address, count: u64) -> Vec<Vec<u8>> {
    let key = devnet_key(0);
    let signer = PrivateKeySigner::from_bytes(&key.to_bytes()).unwrap();
    let next = node.get_transaction_count(key.address()).await.unwrap();
    let chain_id = node.get_chain_id().await.unwrap();
    let input = OpenToken::transferCall { to: TO, value: U256::from(1) }.abi_encode();
    (next..next + count)
        .map(|nonce| {
            let mut tx = TxEip1559 {
                chain_id,
                nonce,
                gas_limit: 100_000,
                max_fee_per_gas: 2_000_000_000,
                to: token.into(),
                input: input.clone().into(),
                ..TxEip1559::default()
            };
            let signature = signer.sign_transaction_sync(&mut tx).unwrap();
            TxEnvelope::from(tx.into_signed(signature)).encoded_2718()
        })
        .collect()
}

/// Anvil, stopped when it goes out of scope.
struct Anvil {
    process: Child,
    url: String,
}

impl Anvil {
    fn start(program: &str) -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut command = Command::new(program);
        command.args(["--host", "127.0.0.1", "--port", &port.to_string(), "--silent"]);
        let process = command.stdout(Stdio::null()).spawn().unwrap();
        let mut anvil = Self { process, url: format!("http://127.0.0.1:{port}") };
        let begun = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            if let Some(status) = anvil.process.try_wait().unwrap() {
                panic!("`{program}` ended before it listened: {status}");
            }
            assert!(begun.elapsed() < PATIENCE, "`{program}` does not listen on port {port}");
            sleep(Duration::from_millis(50));
        }
        anvil
    }
}

impl Drop for Anvil {
    fn drop(&mut self) {
        let _ = self.process.kill(); // it may have ended already
        let _ = self.process.wait();
    }
}
