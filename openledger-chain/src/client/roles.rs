//! What a chain does for OpenLedger, role by role.

use alloy::primitives::Uint;
use async_trait::async_trait;
use openledger_core::{
    Address, Amount, B256, Bytes, ContributionId, DatanetId, DatanetVersion, ReceiptId, Result,
    RowId, U256,
    message::{Contribution, Message, Verified},
};
use serde::{Deserialize, Serialize};

use super::{EvmChain, Sent, error::Context};
use crate::{
    abi::{
        attribution_log::AttributionLog,
        datanet_registry::{DatanetRegistry, DatanetRegistry::DatanetRegistryInstance},
        fee_policy::FeePolicy,
        inference_escrow::InferenceEscrow,
        model_registry::ModelRegistry,
        open_token::OpenToken,
        reward_distributor::RewardDistributor,
    },
    settlement::{Claim, FeeSplit},
};

/// Datanets and models.
///
/// # Contract
/// - An id belongs to who created it; a name that is taken is [`ErrorKind::Denied`](openledger_core::ErrorKind::Denied).
/// - What was recorded stays.
#[async_trait]
pub trait Registry: Send + Sync {
    /// Creates the sender's Datanet called `name`; `metadata` is the digest of its description.
    async fn create_datanet(&self, name: &str, metadata: B256) -> Result<Sent<DatanetId>>;

    /// Records a contribution that the sender, as the Datanet's owner, accepts.
    async fn record(&self, contribution: &Verified<Contribution>) -> Result<Sent<ContributionId>>;

    /// Publishes the next version of the sender's Datanet.
    async fn publish(&self, version: &DatanetVersion, rows: u64) -> Result<Sent>;

    /// Returns whether a row of a contributor is in a published version.
    async fn contains_row(
        &self,
        version: &DatanetVersion,
        row: RowId,
        contributor: Address,
        proof: &[B256],
    ) -> Result<bool>;

    /// Registers the sender's model or adapter.
    async fn register(&self, entry: &ModelEntry) -> Result<Sent>;
}

/// Batches of receipts.
#[async_trait]
pub trait Attributions: Send + Sync {
    /// Logs a batch of the sender's receipts: the root over them, and the keccak-256 of their
    /// published encoding. Returns the batch's number.
    async fn log_batch(&self, root: B256, body: B256, receipts: u64) -> Result<Sent<u64>>;

    /// Returns whether a receipt is in a batch.
    async fn contains_receipt(
        &self,
        batch: u64,
        receipt: ReceiptId,
        proof: &[B256],
    ) -> Result<bool>;
}

/// Money for inferences.
#[async_trait]
pub trait Payments: Send + Sync {
    /// Puts the sender's OPEN into escrow.
    async fn deposit(&self, amount: Amount) -> Result<Vec<Sent>>;

    /// Allows a node to charge the sender up to `cap` until `expires_at` (Unix time).
    async fn authorize(&self, node: Address, cap: Amount, expires_at: u64) -> Result<Sent>;

    /// Charges payers for a batch that the sender logged; returns the sum, which goes to rewards.
    async fn settle(&self, batch: u64, charges: &[Charge]) -> Result<Sent<Amount>>;

    /// Returns what an account has in escrow.
    async fn deposited(&self, payer: Address) -> Result<Amount>;

    /// Returns how fees are divided, and who gets the platform's and the stakers' parts.
    async fn fee_split(&self) -> Result<(FeeSplit, FeeAccounts)>;
}

/// Rewards by cumulative claims.
///
/// # Contract
/// - A claim pays the account what its root says beyond what it was paid before, once.
/// - Before its activation time, and once disabled, a root pays nothing.
#[async_trait]
pub trait Rewards: Send + Sync {
    /// Submits a root over claims that commits to `total` in all; returns its number.
    async fn submit_root(&self, root: B256, body: B256, total: Amount) -> Result<Sent<u64>>;

    /// Returns a root's state.
    async fn root(&self, index: u64) -> Result<RootStatus>;

    /// Stops a root that is not active yet.
    async fn veto(&self, index: u64) -> Result<Sent>;

    /// Pays `claim.account` by the root at `index`; returns what it was paid.
    async fn claim(&self, index: u64, claim: &Claim, proof: &[B256]) -> Result<Sent<Amount>>;

    /// Returns what an account was paid so far.
    async fn claimed(&self, account: Address) -> Result<Amount>;
}

/// What a model costs: OPEN for a thousand tokens.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[expect(clippy::exhaustive_structs, reason = "the contract has these two prices")]
pub struct Price {
    /// For tokens read.
    pub per_thousand_in: Amount,
    /// For tokens written.
    pub per_thousand_out: Amount,
}

/// A model or adapter to register.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "the contract takes exactly these")]
pub struct ModelEntry {
    /// The hash of its files.
    pub model: B256,
    /// The hash of what it builds on; zero for nothing.
    pub parent: B256,
    /// The digest of its training record.
    pub record: B256,
    /// The Datanet versions it was trained on.
    pub datanets: Vec<DatanetVersion>,
    /// What it costs.
    pub price: Price,
}

/// What a payer owes for a batch.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "the contract takes exactly these")]
pub struct Charge {
    /// Who pays.
    pub payer: Address,
    /// How much.
    pub amount: Amount,
}

/// Who gets the parts of fees that are neither the model's nor the contributors'.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[expect(clippy::exhaustive_structs, reason = "the contract has these two")]
pub struct FeeAccounts {
    /// The platform's treasury.
    pub treasury: Address,
    /// The stakers' pool.
    pub staking_pool: Address,
}

/// The state of a root of claims.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[non_exhaustive]
pub struct RootStatus {
    /// The root.
    pub root: B256,
    /// What it commits to in all.
    pub total: Amount,
    /// The second (Unix time) from which it pays.
    pub activates_at: u64,
    /// Whether it was stopped.
    pub disabled: bool,
}

impl EvmChain {
    fn datanets(&self) -> DatanetRegistryInstance<&alloy::providers::DynProvider> {
        DatanetRegistry::new(self.contracts.datanets, &self.provider)
    }
}

#[async_trait]
impl Registry for EvmChain {
    async fn create_datanet(&self, name: &str, metadata: B256) -> Result<Sent<DatanetId>> {
        let datanets = self.datanets();
        let call = datanets.create(name.to_owned(), metadata);
        Ok(self.send_for("create a Datanet", call).await?.map(DatanetId::from))
    }

    async fn record(&self, contribution: &Verified<Contribution>) -> Result<Sent<ContributionId>> {
        let said = contribution.message();
        let typed = DatanetRegistry::Contribution {
            datanet: said.datanet.into(),
            root: said.root,
            rows: said.rows,
            size: said.size,
            terms: said.terms,
            contributor: said.contributor,
            nonce: said.nonce,
            deadline: said.deadline,
        };
        let signature = Bytes::copy_from_slice(contribution.signature().as_bytes());
        let datanets = self.datanets();
        let sent = self.send("record a contribution", datanets.record(typed, signature)).await?;
        Ok(sent.map(|()| ContributionId::from(said.struct_hash())))
    }

    async fn publish(&self, version: &DatanetVersion, rows: u64) -> Result<Sent> {
        let datanets = self.datanets();
        let call = datanets.publish(version.datanet.into(), version.root, rows);
        self.send("publish a version", call).await
    }

    async fn contains_row(
        &self,
        version: &DatanetVersion,
        row: RowId,
        contributor: Address,
        proof: &[B256],
    ) -> Result<bool> {
        let DatanetVersion { datanet, version, .. } = *version;
        let datanets = self.datanets();
        let call =
            datanets.contains(datanet.into(), version, row.into(), contributor, proof.to_vec());
        call.call().await.context("check a row's proof")
    }

    async fn register(&self, entry: &ModelEntry) -> Result<Sent> {
        let versions = entry.datanets.iter().map(|version| ModelRegistry::DatanetVersion {
            datanet: version.datanet.into(),
            version: version.version,
            root: version.root,
        });
        let [price_in, price_out] =
            [entry.price.per_thousand_in, entry.price.per_thousand_out].map(to_u128);
        let models = ModelRegistry::new(self.contracts.models, &self.provider);
        let call = models.register(
            entry.model,
            entry.parent,
            entry.record,
            versions.collect(),
            price_in?,
            price_out?,
        );
        self.send("register a model", call).await
    }
}

#[async_trait]
impl Attributions for EvmChain {
    async fn log_batch(&self, root: B256, body: B256, receipts: u64) -> Result<Sent<u64>> {
        let log = AttributionLog::new(self.contracts.attributions, &self.provider);
        let call = log.log(root, body, Uint::from(receipts));
        Ok(self.send_for("log a batch of receipts", call).await?.map(|index| index.to()))
    }

    async fn contains_receipt(
        &self,
        batch: u64,
        receipt: ReceiptId,
        proof: &[B256],
    ) -> Result<bool> {
        let log = AttributionLog::new(self.contracts.attributions, &self.provider);
        let call = log.contains(U256::from(batch), receipt.into(), proof.to_vec());
        call.call().await.context("check a receipt's proof")
    }
}

#[async_trait]
impl Payments for EvmChain {
    async fn deposit(&self, amount: Amount) -> Result<Vec<Sent>> {
        let token = OpenToken::new(self.contracts.token, &self.provider);
        let allow = token.approve(self.contracts.escrow, amount.units());
        let allowed = self.send("allow the escrow to take OPEN", allow).await?;
        let escrow = InferenceEscrow::new(self.contracts.escrow, &self.provider);
        let deposited = self.send("deposit OPEN", escrow.deposit(amount.units())).await?;
        Ok(vec![allowed, deposited])
    }

    async fn authorize(&self, node: Address, cap: Amount, expires_at: u64) -> Result<Sent> {
        let escrow = InferenceEscrow::new(self.contracts.escrow, &self.provider);
        let call = escrow.authorize(node, to_u128(cap)?, Uint::from(expires_at));
        self.send("authorize a node", call).await
    }

    async fn settle(&self, batch: u64, charges: &[Charge]) -> Result<Sent<Amount>> {
        let charges = charges
            .iter()
            .map(|charge| InferenceEscrow::Charge {
                payer: charge.payer,
                amount: charge.amount.units(),
            })
            .collect();
        let escrow = InferenceEscrow::new(self.contracts.escrow, &self.provider);
        let sent =
            self.send_for("settle a batch", escrow.settle(U256::from(batch), charges)).await?;
        Ok(sent.map(Amount::new))
    }

    async fn deposited(&self, payer: Address) -> Result<Amount> {
        let escrow = InferenceEscrow::new(self.contracts.escrow, &self.provider);
        escrow.balances(payer).call().await.map(Amount::new).context("ask for a deposit")
    }

    async fn fee_split(&self) -> Result<(FeeSplit, FeeAccounts)> {
        let fees = FeePolicy::new(self.contracts.fees, &self.provider);
        let what = "ask how fees are divided";
        let split = fees.split().call().await.context(what)?;
        let treasury = fees.treasury().call().await.context(what)?;
        let staking_pool = fees.stakingPool().call().await.context(what)?;
        let split = FeeSplit::new(split.platform, split.model, split.stakers, split.contributors)?;
        Ok((split, FeeAccounts { treasury, staking_pool }))
    }
}

#[async_trait]
impl Rewards for EvmChain {
    async fn submit_root(&self, root: B256, body: B256, total: Amount) -> Result<Sent<u64>> {
        let distributor = RewardDistributor::new(self.contracts.distributor, &self.provider);
        let call = distributor.submitRoot(root, body, to_u128(total)?);
        Ok(self.send_for("submit a root", call).await?.map(|index| index.to()))
    }

    async fn root(&self, index: u64) -> Result<RootStatus> {
        let distributor = RewardDistributor::new(self.contracts.distributor, &self.provider);
        let status = distributor.roots(U256::from(index)).call().await.context("ask for a root")?;
        Ok(RootStatus {
            root: status.root,
            total: Amount::new(U256::from(status.total)),
            activates_at: status.activatesAt.to(),
            disabled: status.disabled,
        })
    }

    async fn veto(&self, index: u64) -> Result<Sent> {
        let distributor = RewardDistributor::new(self.contracts.distributor, &self.provider);
        self.send("veto a root", distributor.veto(U256::from(index))).await
    }

    async fn claim(&self, index: u64, claim: &Claim, proof: &[B256]) -> Result<Sent<Amount>> {
        let distributor = RewardDistributor::new(self.contracts.distributor, &self.provider);
        let (account, cumulative) = (claim.account, claim.cumulative.units());
        let call = distributor.claim(U256::from(index), account, cumulative, proof.to_vec());
        Ok(self.send_for("claim", call).await?.map(Amount::new))
    }

    async fn claimed(&self, account: Address) -> Result<Amount> {
        let distributor = RewardDistributor::new(self.contracts.distributor, &self.provider);
        distributor.claimed(account).call().await.map(Amount::new).context("ask for past claims")
    }
}

fn to_u128(amount: Amount) -> Result<u128> {
    u128::try_from(amount.units())
        .map_err(|_| openledger_core::Error::invalid(format!("{amount} units, past 2^128")))
}
