//! What stands around the engine when the command line asks for it: rows, money, receipts.

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::SystemTime,
};

use clap::Args;
use openledger_core::{
    Address, Amount, B256, Error, Key, Passage, Receipt, Result, RowShare, Shares, U256, file,
    keccak256,
    message::{Domain, Signed},
    retrieve::KeywordRows,
    share::WHOLE,
};
use openledger_model::Model;
use openledger_serve::{
    Accounts, Answer, Citations, Engine, GroundLayer, GroundOptions, Inference, PayLayer,
    QueueOptions, ReceiptLayer, Source, Terms,
};
use serde::Deserialize;
use tower::{ServiceBuilder, util::option_layer};

/// Rows, money, receipts.
#[derive(Args, Debug)]
pub(crate) struct Layers {
    /// File of rows to answer from, one a line: `{"text": .., "contributor": "0x.."}`. Requests ask for
    /// them by `"openledger": {"ground": true}`.
    #[arg(long)]
    rows: Option<PathBuf>,
    /// File of prepaid accounts, one a line: `TENANT UNITS`. Answers then cost `--price`.
    #[arg(long, requires = "price")]
    accounts: Option<PathBuf>,
    /// Units for a token read and for one written: `1,10`.
    #[arg(long, value_parser = units)]
    price: Option<[u64; 2]>,
    /// File with the node's key, 64 hexadecimal digits: answers of adapters from rows have receipts, which
    /// requests ask for by `"openledger": {"receipt": true}`.
    #[arg(long, requires = "rows")]
    receipts: Option<PathBuf>,
}

/// The largest file read: 64 MiB.
const MAX_FILE: u64 = 64 << 20;
/// What signatures count for. An application names its own chain and escrow here.
const DOMAIN: Domain = Domain { chain_id: 1612, contract: Address::ZERO };
/// Seconds for which a receipt may be settled.
const SETTLED_WITHIN: u64 = 7 * 24 * 3600;

#[derive(Deserialize)]
struct Row {
    text: String,
    contributor: Address,
}

impl Layers {
    pub(crate) const fn finds_rows(&self) -> bool {
        self.rows.is_some()
    }

    pub(crate) const fn signs_receipts(&self) -> bool {
        self.receipts.is_some()
    }

    pub(crate) const fn takes_money(&self) -> bool {
        self.accounts.is_some()
    }

    /// Puts what is asked for around an engine.
    pub(crate) fn around(
        &self,
        engine: Engine,
    ) -> Result<impl Inference<Future: Send> + Clone + Send + 'static> {
        let model = Arc::clone(engine.model());
        let ground = self.rows.as_deref().map(|path| {
            GroundLayer::new(Arc::new(rows(path)?), Arc::clone(&model), GroundOptions::default())
        });
        let unit = self.price.unwrap_or_default();
        let pay = self.accounts.as_deref().map(|path| {
            let price = move |read, written| price(unit, read, written);
            Ok::<_, Error>(PayLayer::new(Arc::new(accounts(path)?), price))
        });
        let receipts = self.receipts.as_deref().map(|path| receipts(model, path, unit));
        Ok(ServiceBuilder::new()
            .layer(option_layer(ground.transpose()?))
            .layer(option_layer(pay.transpose()?))
            .layer(option_layer(receipts.transpose()?))
            .service(engine))
    }
}

/// Reads `1,10`.
fn units(text: &str) -> std::result::Result<[u64; 2], String> {
    let parsed = text.split_once(',').and_then(|(read, written)| {
        Some([read.trim().parse().ok()?, written.trim().parse().ok()?])
    });
    parsed.ok_or_else(|| "not two numbers like `1,10`".to_owned())
}

fn price([read, written]: [u64; 2], tokens_in: u64, tokens_out: u64) -> Result<Amount> {
    let sum =
        u128::from(read) * u128::from(tokens_in) + u128::from(written) * u128::from(tokens_out);
    Ok(Amount::new(U256::from(sum)))
}

fn lines(path: &Path) -> Result<Vec<String>> {
    let text = String::from_utf8(file::read(path, MAX_FILE)?);
    let text = text.map_err(|_| Error::invalid(format!("`{}` is not UTF-8", path.display())))?;
    Ok(text.lines().filter(|line| !line.trim().is_empty()).map(str::to_owned).collect())
}

fn rows(path: &Path) -> Result<KeywordRows> {
    let datanet = keccak256(path.display().to_string());
    let row = |(number, line): (usize, String)| {
        let wrong = |e| Error::invalid(format!("row {} is not one", number + 1)).with_source(e);
        let Row { text, contributor } = serde_json::from_str(&line).map_err(wrong)?;
        let (row, datanet) = (keccak256(&text).into(), datanet.into());
        Ok(Passage { row, datanet, contributor, text, score: 0.0 })
    };
    let rows: Vec<Passage> =
        lines(path)?.into_iter().enumerate().map(row).collect::<Result<_>>()?;
    Ok(KeywordRows::new(rows))
}

fn accounts(path: &Path) -> Result<Accounts> {
    let accounts = Accounts::new();
    for (index, line) in lines(path)?.iter().enumerate() {
        let wrong = || Error::invalid(format!("line {} is not `TENANT UNITS`", index + 1));
        let (tenant, units) = line.split_once(' ').ok_or_else(wrong)?;
        accounts.deposit(tenant, units.trim().parse::<Amount>().map_err(|_| wrong())?)?;
    }
    Ok(accounts)
}

/// Receipts in which the rows that an answer cites have equal parts; if it cites none, all it was given.
fn receipts(model: Arc<Model>, key: &Path, unit: [u64; 2]) -> Result<ReceiptLayer> {
    let secret = lines(key)?.concat();
    let secret: B256 = secret
        .trim()
        .parse()
        .map_err(|_| Error::invalid("the node's key is not of 64 hexadecimal digits"))?;
    let now = || SystemTime::UNIX_EPOCH.elapsed().map_or(0, |since| since.as_secs());
    // Nonces of a start come after those of the starts before.
    let nonce = AtomicU64::new(now() << 20);
    let terms = move |answer: &Answer| {
        let all = &answer.request.sources;
        let citations = Citations::read(all.clone(), &answer.text);
        let mut rows: Vec<&Source> = citations.cited().collect();
        if rows.is_empty() {
            rows = all.iter().collect();
        }
        let count = rows.len() as u64;
        let shares = rows.iter().zip(0u64..).map(|(source, index)| RowShare {
            row: source.row,
            datanet: source.datanet,
            contributor: source.contributor,
            weight: WHOLE / count + u64::from(index < WHOLE % count),
        });
        let usage = &answer.usage;
        Ok(Terms {
            datanets: Vec::new(),
            method: "equal parts of the rows cited".to_owned(),
            shares: Shares::new(shares.collect())?,
            fee: price(unit, usage.tokens_in as u64, usage.tokens_out as u64)?,
            payer: Address::ZERO,
            nonce: U256::from(nonce.fetch_add(1, Ordering::Relaxed)),
            deadline: now() + SETTLED_WITHIN,
            prompt: None,
        })
    };
    // An application keeps them, to settle; answers without rows have nobody to owe anything to.
    let sink = |_: &Answer, _: &Result<Signed<Receipt>>| {};
    let key = Key::from_bytes(secret)?;
    ReceiptLayer::start(model, key, DOMAIN, terms, sink, QueueOptions::default())
}
