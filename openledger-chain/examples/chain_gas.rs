//! What every step that people pay for costs, on the embedded chain or on a real node.
//!
//! ```sh
//! cargo run --release --example chain_gas -- --json FILE [--rpc URL]
//! ```
//!
//! Both get the same transactions in the same order from the same keys, so gas is equal step by
//! step. `--rpc` wants a fresh development node with chain id 31337 (anvil), whose first account
//! of the well-known mnemonic deploys. Ends with 1 if a step costs more than its limit.
//!
//! What a batch of 1,000 inferences is held against: 1,000 EIP-3009 payments to a payee who has
//! the token already, as x402 makes them one by one. Settling them in 1,000 batches of one costs
//! more still.
//!
//! ```text
//! step                                                                gas       limit
//! deploy all contracts                                           47309529           -
//! contribute one row, first                                         52552           -
//! contribute one row, next                                          52564       52600
//! contribute one row, third                                         52564       52600
//! log a batch of 1,000 receipts, first                              51276           -
//! log a batch of 1,000 receipts, next                               51288       52000
//! claim at 2^16 leaves, first                                      102009      106000
//! claim at 2^16 leaves, repeat                                      67821       71500
//! propose one call                                                  74745           -
//! castVote, first voter                                             83138           -
//! castVote, second voter                                            66038       66500
//! castVoteBySig, first against                                     111975      115000
//! EIP-3009 of OPEN on an L2 to a payee, new                         87792           -
//! EIP-3009 of OPEN on an L2 to a payee, old                         70716       71500
//! EIP-3009 of OPEN to a payee, new                                  83025           -
//! EIP-3009 of OPEN to a payee, old                                  65925       71500
//! settle one inference, first                                       94482           -
//! settle one inference, next                                        94470           -
//! settle 1,000 inferences of 1,000 payers                         8896770    13185000
//! ```
#![expect(clippy::print_stdout, reason = "it is a program")]

use std::{error::Error, fs, path::PathBuf, process::ExitCode, time::Duration};

use openledger_chain::{
    Attributions, Batch, Charge, DeployOptions, Deployed, DevNode, EvmChain, Genesis, Governance,
    Offer, Payments, Proposal, Registry, Rewards, SignedVote,
    abi::{
        fee_policy::FeePolicy, inference_escrow::InferenceEscrow, open_token::OpenToken,
        open_token_l2::OpenTokenL2, reward_distributor::RewardDistributor,
    },
    alloy::{
        contract::{CallBuilder, CallDecoder},
        network::Ethereum,
        primitives::{Uint, address},
        providers::Provider,
        sol_types::SolStruct,
    },
    ballots::Support,
    embedded, http_provider,
    settlement::{Claim, Distributor},
};
use openledger_core::{
    Address, Amount, B256, DatanetId, Key, U256, keccak256, merkle::StandardTree, message::Domain,
};
use serde_json::json;

type Result<T, E = Box<dyn Error>> = std::result::Result<T, E>;

const HOUR: u64 = 3_600;
const INFERENCES: usize = 1_000;
/// The leaves of the tree that is claimed from.
const LEAVES: usize = 1 << 16;
/// The first account of "test test test test test test test test test test test junk".
const DEPLOYER: &str = "0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80";

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match run().await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => {
            println!("a step is over its limit");
            ExitCode::FAILURE
        }
        Err(error) => {
            println!("{}", report(error.as_ref()));
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<bool> {
    let Options { json, rpc } = Options::parse(std::env::args().skip(1))?;
    let world = World::new(rpc.as_deref()).await?;
    let mut steps = Steps::default();
    steps.add("deploy all contracts", world.deployment, None);
    world.contributions(&mut steps).await?;
    world.claims(&mut steps).await?;
    world.votes(&mut steps).await?;
    let one = world.authorizations(&mut steps).await?;
    world.settlement(&mut steps, one).await?;
    steps.print();
    let text = format!("{:#}\n", steps.to_json());
    fs::write(&json, text).map_err(|e| format!("cannot write {}: {e}", json.display()))?;
    Ok(steps.hold())
}

/// What was measured, in order.
#[derive(Default)]
struct Steps(Vec<(String, u64, Option<u64>)>);

impl Steps {
    fn add(&mut self, step: impl Into<String>, gas: u64, limit: Option<u64>) {
        self.0.push((step.into(), gas, limit));
    }

    fn hold(&self) -> bool {
        self.0.iter().all(|&(_, gas, limit)| limit.is_none_or(|limit| gas <= limit))
    }

    fn print(&self) {
        println!("{:<60} {:>10}  {:>10}", "step", "gas", "limit");
        for (step, gas, limit) in &self.0 {
            let limit = limit.map_or_else(|| "-".to_owned(), |limit| limit.to_string());
            println!("{step:<60} {gas:>10}  {limit:>10}");
        }
    }

    fn to_json(&self) -> serde_json::Value {
        let steps = self.0.iter();
        let steps =
            steps.map(|(step, gas, limit)| json!({"step": step, "gas": gas, "limit": limit}));
        json!({ "steps": steps.collect::<Vec<_>>() })
    }
}

struct World {
    /// Sends as the deployer, who is treasury, guardian and node as well.
    chain: EvmChain,
    dev: DevNode,
    people: People,
    deployment: u64,
}

struct People {
    admin: Key,
    contributor: Key,
    holder: Key,
    voters: [Key; 3],
    payers: Vec<Key>,
}

impl World {
    async fn new(rpc: Option<&str>) -> Result<Self> {
        let people = People::new()?;
        let keys = people.all();
        let provider = match rpc {
            None => embedded(Genesis::default(), &keys)?,
            Some(url) => http_provider(url, &keys)?,
        };
        let dev = DevNode::new(provider.clone());
        dev.tick_by_block().await?;
        let admin = people.admin.address();
        let options = DeployOptions::new(admin).with_delays(HOUR, HOUR, HOUR);
        let Deployed { chain, txs, .. } = EvmChain::deploy(provider, options).await?;
        for key in &keys {
            dev.set_balance(key.address(), open(1_000_000).units()).await?;
        }
        Ok(Self { chain, dev, people, deployment: txs.iter().map(|tx| tx.gas).sum() })
    }

    async fn pass(&self, seconds: u64) -> Result<()> {
        self.dev.set_next_timestamp(self.chain.now().await? + seconds).await?;
        Ok(self.dev.mine().await?)
    }

    async fn contributions(&self, steps: &mut Steps) -> Result<()> {
        let chain = self.chain.sending_as(self.people.contributor.address());
        for (name, limit) in [("first", None), ("next", Some(52_600)), ("third", Some(52_600))] {
            let [datanet, root, da] = ["datanet", name, "body"].map(keccak256);
            let offer = Offer { datanet: DatanetId::from(datanet), root, rows: 1, da };
            let gas = chain.contribute(&offer).await?.tx.gas;
            steps.add(format!("contribute one row, {name}"), gas, limit);
        }
        for (name, limit) in [("first", None), ("next", Some(52_000))] {
            let gas = self.log(name).await?;
            steps.add(format!("log a batch of 1,000 receipts, {name}"), gas, limit);
        }
        Ok(())
    }

    async fn log(&self, name: &str) -> Result<u64> {
        let [model, root, body] = ["model", name, "receipts"].map(keccak256);
        let batch = Batch { epoch: 7, model, root, body, receipts: INFERENCES as u64 };
        Ok(self.chain.log_batch(&batch).await?.tx.gas)
    }

    /// One account claims from two trees, each of 2^16 leaves.
    async fn claims(&self, steps: &mut Steps) -> Result<()> {
        let &openledger_chain::Contracts { token, distributor, .. } = self.chain.contracts();
        let funds = open(1_000_000);
        let open_token = OpenToken::new(token, self.chain.provider());
        self.chain.send("allow", open_token.approve(distributor, funds.units())).await?;
        let rewards = RewardDistributor::new(distributor, self.chain.provider());
        self.chain.send("fund", rewards.fund(funds.units())).await?;

        let place = Distributor { chain_id: self.chain.chain_id(), contract: distributor, token };
        let limits = [("first", 106_000), ("repeat", 71_500)];
        for (round, (name, limit)) in (1u64..).zip(limits) {
            let claims: Vec<Claim> = (0..LEAVES as u64)
                .map(|n| Claim {
                    account: Address::from_word(keccak256(n.to_be_bytes())),
                    cumulative: Amount::from(round * 1_234_567_890_123_456_789 + n),
                })
                .collect();
            let tree = StandardTree::new(claims.iter().map(|claim| claim.leaf(&place)).collect())?;
            let total = claims.iter().map(|claim| claim.cumulative).sum();
            let submitted = self.chain.submit_root(tree.root(), keccak256(name), total).await?;
            self.pass(HOUR).await?;
            let (claim, proof) = (claims[41], tree.proof(41));
            assert_eq!(proof.len(), 16);
            let claimed = self.chain.claim(submitted.value, &claim, &proof).await?;
            assert_eq!(self.chain.balance(claim.account).await?, claim.cumulative);
            steps.add(format!("claim at 2^16 leaves, {name}"), claimed.tx.gas, Some(limit));
        }
        Ok(())
    }

    /// Three voters on one proposal: two for it themselves, one against by a signature.
    async fn votes(&self, steps: &mut Steps) -> Result<()> {
        let voters = &self.people.voters;
        let [first, second, third] = voters.each_ref().map(Key::address);
        for voter in [first, second, third] {
            self.chain.sending_as(voter).lock_votes(open(20_000), voter).await?;
        }
        let split =
            FeePolicy::Split { platform: 500, model: 2_000, stakers: 2_000, contributors: 5_500 };
        let call = FeePolicy::setSplitCall { split_: split };
        let proposal = Proposal::call(self.chain.contracts().fees, call, "More to contributors");
        let proposed = self.chain.sending_as(first).propose(&proposal).await?;
        steps.add("propose one call", proposed.tx.gas, None);
        self.pass(25 * HOUR).await?;
        let limits = [(first, "first voter", None), (second, "second voter", Some(66_500))];
        for (voter, name, limit) in limits {
            let vote = self.chain.sending_as(voter).vote(proposed.value, Support::For).await?;
            steps.add(format!("castVote, {name}"), vote.tx.gas, limit);
        }
        let nonce = self.chain.vote_nonce(third).await?;
        let domain = self.chain.vote_domain();
        let vote = SignedVote::sign(proposed.value, Support::Against, nonce, &domain, &voters[2]);
        let relayed = self.chain.relay_vote(&vote).await?;
        steps.add("castVoteBySig, first against", relayed.tx.gas, Some(115_000));
        Ok(())
    }

    /// Payments signed by their payer and brought by somebody else; returns what one of OPEN costs.
    async fn authorizations(&self, steps: &mut Steps) -> Result<u64> {
        let (admin, holder) = (self.people.admin.address(), self.people.holder.address());
        let provider = self.chain.provider();
        let bridged = OpenTokenL2::deploy_builder(provider, admin, Address::ZERO, Address::ZERO);
        let bridged = bridged.from(admin).deploy().await?;
        let minter = OpenTokenL2::new(bridged, provider);
        self.chain.send("mint", minter.mint(holder, open(100).units())).await?;
        self.chain.transfer(holder, open(100)).await?;
        let mut one = 0;
        for (token, name) in [(bridged, "OPEN on an L2"), (self.chain.contracts().token, "OPEN")] {
            for (payee, limit) in [("new", None), ("old", Some(71_500))] {
                one = self.pay(token, keccak256(payee)).await?;
                steps.add(format!("EIP-3009 of {name} to a payee, {payee}"), one, limit);
            }
        }
        Ok(one)
    }

    /// Has the holder pay by EIP-3009.
    async fn pay(&self, token: Address, nonce: B256) -> Result<u64> {
        let transfer = typed::TransferWithAuthorization {
            from: self.people.holder.address(),
            to: address!("0x5a1e5a1e5a1e5a1e5a1e5a1e5a1e5a1e5a1e5a1e"),
            value: U256::from(123_456_789_123_456_789u64),
            validAfter: U256::ZERO,
            validBefore: U256::from(4_000_000_000u64),
            nonce,
        };
        let domain = Domain { chain_id: self.chain.chain_id(), contract: token }.to_eip712();
        let signature = self.people.holder.sign(transfer.eip712_signing_hash(&domain));
        let bytes = signature.as_bytes();
        let [r, s] = [&bytes[..32], &bytes[32..64]].map(B256::from_slice);
        // The same function in both tokens.
        let token = OpenToken::new(token, self.chain.provider());
        let call = token.transferWithAuthorization(
            transfer.from,
            transfer.to,
            transfer.value,
            transfer.validAfter,
            transfer.validBefore,
            transfer.nonce,
            bytes[64],
            r,
            s,
        );
        Ok(self.chain.send("pay", call).await?.tx.gas)
    }

    /// A thousand payers charged in one batch; `one` is what one payment by itself costs.
    async fn settlement(&self, steps: &mut Steps, one: u64) -> Result<()> {
        self.fill_escrow().await?;
        let charge = |index: usize| Charge {
            payer: self.people.payers[index].address(),
            amount: Amount::from(123_456_789_000_000_000 + index as u64),
        };
        let single = |index| vec![charge(INFERENCES + index)];
        let many: Vec<Charge> = (0..INFERENCES).map(charge).collect();
        let limit = one * INFERENCES as u64 / 5;
        let batches = [
            ("settle one inference, first", single(0), None),
            ("settle one inference, next", single(1), None),
            ("settle 1,000 inferences of 1,000 payers", many, Some(limit)),
        ];
        for (name, ..) in &batches {
            self.log(name).await?;
        }
        self.pass(HOUR).await?;
        for (name, charges, limit) in batches {
            let settled = self.chain.settle(keccak256(name), &charges).await?;
            let sum: Amount = charges.iter().map(|charge| charge.amount).sum();
            let escrow = self.chain.contracts().escrow;
            let taken = settled.tx.event::<InferenceEscrow::Settled>(escrow);
            assert_eq!(taken.ok_or("no event of a settlement")?.total, sum.units());
            steps.add(name, settled.tx.gas, limit);
        }
        Ok(())
    }

    /// Every payer puts OPEN down and reserves half of it for the node.
    async fn fill_escrow(&self) -> Result<()> {
        let provider = self.chain.provider();
        let contracts = self.chain.contracts();
        let token = OpenToken::new(contracts.token, provider);
        let escrow = InferenceEscrow::new(contracts.escrow, provider);
        let admin = self.people.admin.address();
        let amount = open(2).units();
        let expires = Uint::from(self.chain.now().await? + 30 * 24 * HOUR);
        let first = provider.get_transaction_count(admin).await?;
        for (nonce, payer) in (first..).zip(&self.people.payers) {
            let payer = payer.address();
            self.push(token.transfer(payer, amount), admin, nonce).await?;
            self.push(token.approve(contracts.escrow, amount), payer, 0).await?;
            self.push(escrow.deposit(amount), payer, 1).await?;
            let authorize = escrow.authorize(admin, open(1).units().to(), expires);
            self.push(authorize, payer, 2).await?;
        }
        Ok(())
    }

    /// Sends a call with as few questions as can be: thousands of these only prepare a step.
    async fn push<P: Provider, D: CallDecoder>(
        &self,
        call: CallBuilder<P, D, Ethereum>,
        from: Address,
        nonce: u64,
    ) -> Result<()> {
        let call = call.from(from).nonce(nonce).gas(200_000);
        let call = call.max_fee_per_gas(10_000_000_000).max_priority_fee_per_gas(1);
        let hash = *call.send().await?.tx_hash();
        // Real nodes answer before the block is there, and some lose what comes right after.
        for _ in 0..10_000 {
            if let Some(receipt) = self.chain.provider().get_transaction_receipt(hash).await? {
                assert!(receipt.status(), "{hash} failed");
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        Err(format!("transaction {hash} stays out of blocks").into())
    }
}

/// What is signed (EIP-712).
mod typed {
    openledger_chain::alloy::sol! {
        struct TransferWithAuthorization {
            address from;
            address to;
            uint256 value;
            uint256 validAfter;
            uint256 validBefore;
            bytes32 nonce;
        }
    }
}

impl People {
    fn new() -> Result<Self> {
        let key = |name: String| Key::from_bytes(keccak256(name));
        let payers = (0..INFERENCES + 2).map(|n| key(format!("payer {n}")));
        Ok(Self {
            admin: Key::from_bytes(DEPLOYER.parse()?)?,
            contributor: key("contributor".to_owned())?,
            holder: key("holder".to_owned())?,
            voters: [
                key("voter 0".to_owned())?,
                key("voter 1".to_owned())?,
                key("voter 2".to_owned())?,
            ],
            payers: payers.collect::<openledger_core::Result<_>>()?,
        })
    }

    fn all(&self) -> Vec<Key> {
        let Self { admin, contributor, holder, voters, payers } = self;
        [admin, contributor, holder].into_iter().chain(voters).chain(payers).cloned().collect()
    }
}

struct Options {
    json: PathBuf,
    rpc: Option<String>,
}

impl Options {
    fn parse(mut words: impl Iterator<Item = String>) -> Result<Self> {
        let (mut json, mut rpc) = (None, None);
        while let Some(word) = words.next() {
            let mut value = || words.next().ok_or_else(|| format!("`{word}` needs a value"));
            match word.as_str() {
                "--json" => json = Some(value()?.into()),
                "--rpc" => rpc = Some(value()?),
                _ => {
                    return Err(
                        format!("no option `{word}`; there are --json FILE, --rpc URL").into()
                    );
                }
            }
        }
        Ok(Self { json: json.ok_or("`--json FILE` says where the figures go")?, rpc })
    }
}

fn open(amount: u64) -> Amount {
    Amount::new(Amount::OPEN.units() * U256::from(amount))
}

/// An error with its causes.
fn report(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(found) = cause {
        text = format!("{text}: {found}");
        cause = found.source();
    }
    text
}
