//! A development chain for wallets, `cast`, ethers and viem, in one process and without a node.
//!
//! ```text
//! cargo run --release --example devnet -- [--port 8545] [--data DIR] [--accounts N] [--check]
//! ```
//!
//! `--data` keeps the chain in a directory: kill it whenever you like. `--check` starts on a free
//! port, asks itself over HTTP, asserts the answers, and ends.
#![expect(clippy::print_stdout, reason = "it is a program")]

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    time::{SystemTime, UNIX_EPOCH},
};

use openledger_chain::{
    DevNode, Devnet, Embedded, Genesis,
    alloy::{
        providers::Provider,
        rpc::{client::BatchRequest, types::TransactionRequest},
    },
    devnet_key, http_provider,
};
use openledger_core::{Error, ErrorKind, Key, Result, U256};

/// The first block's time, before any clock that this runs under: reopening needs the same one.
const BEGINNING: u64 = 1_767_225_600;

struct Options {
    port: u16,
    data: Option<PathBuf>,
    accounts: u32,
    check: bool,
}

fn main() -> Result<()> {
    let options = Options::parse(std::env::args().skip(1))?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime =
        runtime.map_err(|e| Error::new(ErrorKind::Unavailable, "start").with_source(e))?;
    runtime.block_on(run(options))
}

async fn run(options: Options) -> Result<()> {
    let keys: Vec<Key> = (0..options.accounts).map(devnet_key).collect();
    let chain = open(&options, &keys)?;
    let port = if options.check { 0 } else { options.port };
    let server = Devnet::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port)), chain).await?;
    let url = server.url();
    println!("openledger devnet\n");
    for (index, key) in keys.iter().enumerate() {
        println!("({index}) {}  key {}", key.address(), key.to_bytes());
    }
    println!("\nEverybody can compute these keys; on a real network whatever they hold is lost.");
    println!("chain id 31337, {url}");
    if !options.check {
        println!("Ctrl-C ends it.");
        server.serve_until(async { drop(tokio::signal::ctrl_c().await) }).await;
        return Ok(());
    }
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let serving = tokio::spawn(server.serve_until(async { drop(stopped.await) }));
    check(&url, &keys).await?;
    drop(stop);
    serving.await.map_err(|e| Error::new(ErrorKind::Unavailable, "stop").with_source(e))?;
    println!("checked: accounts, transfer, receipt, snapshot, balance, batch");
    Ok(())
}

fn open(options: &Options, keys: &[Key]) -> Result<Embedded> {
    let accounts = || keys.iter().map(Key::address);
    let genesis = Genesis::default().with_timestamp(BEGINNING).with_funded(accounts());
    let chain = match &options.data {
        None => Embedded::new(&genesis),
        Some(directory) => {
            std::fs::create_dir_all(directory).map_err(|e| {
                let message = format!("create {}", directory.display());
                Error::new(ErrorKind::Unavailable, message).with_source(e)
            })?;
            Embedded::open(directory.join("chain.wal"), &genesis)?
        }
    };
    chain.impersonate(accounts());
    chain.follow(|| SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs()));
    Ok(chain)
}

/// Says over HTTP what a wallet says, and asserts what it hears.
async fn check(url: &str, keys: &[Key]) -> Result<()> {
    let [first, second] = [keys[0].address(), keys[1].address()];
    let provider = http_provider(url, keys)?;
    let failed = |e| Error::new(ErrorKind::Unavailable, "ask the devnet").with_source(e);

    assert_eq!(provider.get_chain_id().await.map_err(failed)?, 31337);
    assert_eq!(provider.get_accounts().await.map_err(failed)?.len(), keys.len());
    let before = provider.get_balance(second).await.map_err(failed)?;
    let coin = U256::from(10).pow(U256::from(18));
    let transfer = TransactionRequest::default().from(first).to(second).value(coin);
    let pending = provider.send_transaction(transfer.clone()).await.map_err(failed)?;
    let hash = *pending.tx_hash();
    let receipt = provider.get_transaction_receipt(hash).await.map_err(failed)?;
    let receipt = receipt.ok_or_else(|| Error::new(ErrorKind::NotFound, "no receipt"))?;
    assert!(receipt.status());
    assert_eq!(receipt.gas_used, 21_000);
    assert_eq!(provider.get_balance(second).await.map_err(failed)?, before + coin);

    let dev = DevNode::new(provider.clone());
    let snapshot = dev.snapshot().await?;
    let undone = *provider.send_transaction(transfer).await.map_err(failed)?.tx_hash();
    dev.revert(snapshot).await?;
    assert_eq!(provider.get_transaction_receipt(undone).await.map_err(failed)?, None);
    assert_eq!(provider.get_balance(second).await.map_err(failed)?, before + coin);

    let stranger = openledger_core::Address::repeat_byte(0x5a);
    dev.set_balance(stranger, coin).await?;
    assert_eq!(provider.get_balance(stranger).await.map_err(failed)?, coin);

    let client = provider.client();
    let mut batch = BatchRequest::new(client);
    let number = batch.add_call::<_, U256>("eth_blockNumber", &()).map_err(failed)?;
    let price = batch.add_call::<_, U256>("eth_gasPrice", &()).map_err(failed)?;
    batch.send().await.map_err(failed)?;
    assert!(number.await.map_err(failed)? >= U256::from(1));
    assert_eq!(price.await.map_err(failed)?, U256::ZERO);
    Ok(())
}

impl Options {
    fn parse(mut words: impl Iterator<Item = String>) -> Result<Self> {
        let mut options = Self { port: 8545, data: None, accounts: 10, check: false };
        while let Some(word) = words.next() {
            let mut value =
                || words.next().ok_or_else(|| Error::invalid(format!("`{word}` needs a value")));
            let number = |text: String| {
                text.parse::<u32>().map_err(|_| Error::invalid(format!("`{text}` is no number")))
            };
            match word.as_str() {
                "--port" => {
                    let port = value()?;
                    options.port =
                        port.parse().map_err(|_| Error::invalid(format!("`{port}` is no port")))?;
                }
                "--data" => options.data = Some(value()?.into()),
                "--accounts" => options.accounts = number(value()?)?.max(2),
                "--check" => options.check = true,
                _ => return Err(Error::invalid(format!("no option `{word}`"))),
            }
        }
        Ok(options)
    }
}
