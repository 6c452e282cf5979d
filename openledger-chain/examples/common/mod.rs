//! What the stories share: a chain with people on it, its clock, a vote, numbered lines.
#![allow(dead_code, reason = "no story needs all of it")]
#![expect(clippy::print_stdout, reason = "a story is printed")]

use std::{cell::Cell, error::Error, fmt::Display};

use openledger_chain::{
    DeployOptions, DevNode, EvmChain, Genesis, Governance, Proposal, Revert, ballots::Support,
    embedded,
};
use openledger_core::{
    AdapterId, Address, Amount, DatanetId, Key, ModelId, Receipt, RowId, RowShare, Shares, U256,
    keccak256,
    message::{Nonces, Signed, Verified},
    share::WHOLE,
};

pub(crate) type Result<T, E = Box<dyn Error>> = std::result::Result<T, E>;

pub(crate) const HOUR: u64 = 3_600;
pub(crate) const DAY: u64 = 24 * HOUR;

/// Where a story happens.
pub(crate) struct Stage {
    pub(crate) chain: EvmChain,
    pub(crate) dev: DevNode,
    lines: Cell<u32>,
}

impl Stage {
    /// A new chain with all contracts, on which all `people` have native coins.
    pub(crate) async fn set(people: &[&Key], options: DeployOptions) -> Result<Self> {
        let keys: Vec<Key> = people.iter().copied().cloned().collect();
        let provider = embedded(Genesis::default(), &keys)?;
        Ok(Self::of(EvmChain::deploy(provider, options).await?.chain))
    }

    /// A chain that is there.
    pub(crate) fn of(chain: EvmChain) -> Self {
        let dev = DevNode::new(chain.provider().clone());
        Self { chain, dev, lines: Cell::new(0) }
    }

    /// The client, sending as somebody.
    pub(crate) fn by(&self, key: &Key) -> EvmChain {
        self.chain.sending_as(key.address())
    }

    /// Says the next line.
    pub(crate) fn say(&self, line: impl Display) {
        self.lines.set(self.lines.get() + 1);
        println!("{:>2}. {line}", self.lines.get());
    }

    /// Lets time pass.
    pub(crate) async fn pass(&self, seconds: u64) -> Result<()> {
        self.dev.set_next_timestamp(self.chain.now().await? + seconds).await?;
        Ok(self.dev.mine().await?)
    }

    /// Has `voters` decide a proposal, all for it, and executes it: propose, wait, vote, wait,
    /// queue, wait, execute.
    pub(crate) async fn decide(&self, voters: &[&Key], proposal: &Proposal) -> Result<()> {
        let [first, ..] = voters else { return Err("nobody votes".into()) };
        let id = self.by(first).propose(proposal).await?.value;
        self.pass(DAY + 1).await?;
        for voter in voters {
            self.by(voter).vote(id, Support::For).await?;
        }
        self.pass(7 * DAY).await?;
        self.chain.queue(proposal).await?;
        self.pass(7 * DAY).await?;
        self.chain.execute(proposal).await?;
        Ok(())
    }
}

/// The key of somebody with a name.
pub(crate) fn key(name: &str) -> Result<Key> {
    Ok(Key::from_bytes(keccak256(name))?)
}

pub(crate) fn open(amount: u64) -> Amount {
    Amount::new(Amount::OPEN.units() * U256::from(amount))
}

/// Asserts that a contract refused, and returns why, without the values.
#[track_caller]
pub(crate) fn refused<T>(result: openledger_core::Result<T>, reason: &str) -> String {
    let error = result.err().unwrap_or_else(|| panic!("not refused: {reason}"));
    let revert = Revert::of(&error).unwrap_or_else(|| panic!("{}", error.report()));
    assert_eq!(revert.name(), reason, "{}", error.report());
    let text = revert.to_string();
    text.split(':').next().unwrap_or_default().to_owned()
}

/// A receipt for an answer of `node`'s that came from contributors' rows, by percent.
pub(crate) fn receipt(
    chain: &EvmChain,
    (node, number): (&Key, u64),
    (payer, fee): (Address, Amount),
    percent: &[(Address, u64)],
) -> Result<Verified<Receipt>> {
    let shares = percent.iter().map(|&(contributor, percent)| RowShare {
        row: RowId::from(keccak256(contributor)),
        datanet: DatanetId::from(keccak256("bicycles")),
        contributor,
        weight: percent * WHOLE / 100,
    });
    let receipt = Receipt {
        model: ModelId::from(keccak256("model")),
        adapter: AdapterId::from(keccak256("adapter")),
        datanets: vec![],
        method: "datainf".to_owned(),
        prompt: Receipt::text_hash("How do I true a wheel?"),
        output: Receipt::text_hash("Turn the spokes, a quarter at a time."),
        tokens_in: 7,
        tokens_out: 9,
        fee,
        shares: Shares::new(shares.collect())?,
        payer,
        node: node.address(),
        nonce: U256::from(number),
        deadline: 4_000_000_000,
    };
    let domain = chain.receipt_domain();
    Ok(Signed::sign(receipt, domain, node).verify(&domain, 0, &mut Nonces::default())?)
}
