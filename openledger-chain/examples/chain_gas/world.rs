//! The chain that is measured, and the people on it; what data, claims and votes cost.

use openledger_chain::{
    Attributions, Batch, Contracts, DeployOptions, Deployed, DevNode, EvmChain, Genesis,
    Governance, Offer, Proposal, Registry, Rewards, SignedVote,
    abi::{fee_policy::FeePolicy, open_token::OpenToken, reward_distributor::RewardDistributor},
    ballots::Support,
    embedded, http_provider,
    settlement::{Claim, Distributor},
};
use openledger_core::{Address, Amount, DatanetId, Key, U256, keccak256, merkle::StandardTree};

use crate::{INFERENCES, Result, Steps};

pub(super) const HOUR: u64 = 3_600;
/// The leaves of the tree that is claimed from.
const LEAVES: usize = 1 << 16;
/// The first account of "test test test test test test test test test test test junk".
const DEPLOYER: &str = "0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80";

pub(super) struct World {
    /// Sends as the deployer, who is treasury, guardian and node as well.
    pub(super) chain: EvmChain,
    dev: DevNode,
    pub(super) people: People,
    pub(super) deployment: u64,
}

pub(super) struct People {
    pub(super) admin: Key,
    contributor: Key,
    pub(super) holder: Key,
    voters: [Key; 3],
    pub(super) payers: Vec<Key>,
}

impl World {
    pub(super) async fn new(rpc: Option<&str>) -> Result<Self> {
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

    pub(super) async fn pass(&self, seconds: u64) -> Result<()> {
        self.dev.set_next_timestamp(self.chain.now().await? + seconds).await?;
        Ok(self.dev.mine().await?)
    }

    pub(super) async fn contributions(&self, steps: &mut Steps) -> Result<()> {
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

    pub(super) async fn log(&self, name: &str) -> Result<u64> {
        let [model, root, body] = ["model", name, "receipts"].map(keccak256);
        let batch = Batch { epoch: 7, model, root, body, receipts: INFERENCES as u64 };
        Ok(self.chain.log_batch(&batch).await?.tx.gas)
    }

    /// One account claims from two trees, each of 2^16 leaves.
    pub(super) async fn claims(&self, steps: &mut Steps) -> Result<()> {
        let &Contracts { token, distributor, .. } = self.chain.contracts();
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
    pub(super) async fn votes(&self, steps: &mut Steps) -> Result<()> {
        let voters = &self.people.voters;
        let [first, second, third] = voters.each_ref().map(Key::address);
        for voter in [first, second, third] {
            self.chain.sending_as(voter).lock_votes(open(20_000), voter).await?;
        }
        let split =
            FeePolicy::Split { platform: 500, model: 2_000, stakers: 2_000, contributors: 5_500 };
        let call = FeePolicy::setSplitCall { split_: split };
        let proposal = Proposal::call(self.chain.contracts().fees, &call, "More to contributors");
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

pub(super) fn open(amount: u64) -> Amount {
    Amount::new(Amount::OPEN.units() * U256::from(amount))
}
