//! Models and adapters.

use async_trait::async_trait;
use openledger_core::{Address, Amount, B256, DatanetVersion, Result, U256};
use serde::{Deserialize, Serialize};

use super::to_u128;
use crate::{EvmChain, Sent, abi::model_registry::ModelRegistry};

/// Models and adapters: what they were made of, what they cost, whether they are still offered.
///
/// # Contract
/// - A registration is its owner's; the same files of another owner are another registration.
/// - Every Datanet version named was published.
/// - A model that was revoked stays revoked.
#[async_trait]
pub trait Models: Send + Sync {
    /// Registers the sender's model or adapter.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`](openledger_core::ErrorKind::Invalid) for a price past 2^128 units;
    /// [`ErrorKind::Denied`](openledger_core::ErrorKind::Denied) if the sender registered the model
    /// before, it is its own parent, or a Datanet version was not published;
    /// [`ErrorKind::Unavailable`](openledger_core::ErrorKind::Unavailable).
    async fn register(&self, entry: &ModelEntry) -> Result<Sent>;

    /// Changes the price of the sender's model; receipts signed before keep the fee they name.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`](openledger_core::ErrorKind::Invalid) for a price past 2^128 units;
    /// [`ErrorKind::Denied`](openledger_core::ErrorKind::Denied) if the sender has no such model or
    /// revoked it; [`ErrorKind::Unavailable`](openledger_core::ErrorKind::Unavailable).
    async fn set_price(&self, model: B256, price: Price) -> Result<Sent>;

    /// Says that the sender's model should no longer be used but for its successor; zero for none.
    ///
    /// # Errors
    /// [`ErrorKind::Denied`](openledger_core::ErrorKind::Denied) if the sender has no such model,
    /// or it is not offered; [`ErrorKind::Unavailable`](openledger_core::ErrorKind::Unavailable).
    async fn deprecate(&self, model: B256, successor: B256) -> Result<Sent>;

    /// Withdraws the sender's model for good.
    ///
    /// # Errors
    /// [`ErrorKind::Denied`](openledger_core::ErrorKind::Denied) if the sender has no such model or
    /// revoked it; [`ErrorKind::Unavailable`](openledger_core::ErrorKind::Unavailable).
    async fn revoke_model(&self, model: B256) -> Result<Sent>;

    /// Returns what `owner` registered under the hash `model`.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`](openledger_core::ErrorKind::Unavailable).
    async fn model(&self, owner: Address, model: B256) -> Result<Option<ModelStatus>>;
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

/// A registered model.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct ModelStatus {
    /// The hash of what it builds on; zero for nothing.
    pub parent: B256,
    /// The digest of its training record.
    pub record: B256,
    /// What it costs.
    pub price: Price,
    /// When it was registered (Unix time).
    pub registered_at: u64,
    /// What to use in its place; zero for nothing.
    pub successor: B256,
    /// Whether it is offered.
    pub offer: ModelOffer,
}

/// Whether a model is offered.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "numbered in deployed contracts")]
pub enum ModelOffer {
    /// It is.
    Active,
    /// It is, but should not be chosen any more.
    Deprecated,
    /// No longer.
    Revoked,
}

#[async_trait]
impl Models for EvmChain {
    async fn register(&self, entry: &ModelEntry) -> Result<Sent> {
        let versions = entry.datanets.iter().map(|version| ModelRegistry::DatanetVersion {
            datanet: version.datanet.into(),
            version: version.version,
            root: version.root,
        });
        let [price_in, price_out] = price(entry.price)?;
        let models = ModelRegistry::new(self.contracts.models, &self.provider);
        let ModelEntry { model, parent, record, .. } = *entry;
        let call = models.register(model, parent, record, versions.collect(), price_in, price_out);
        self.send("register a model", call).await
    }

    async fn set_price(&self, model: B256, to: Price) -> Result<Sent> {
        let models = ModelRegistry::new(self.contracts.models, &self.provider);
        let [price_in, price_out] = price(to)?;
        self.send("change a price", models.setPrice(model, price_in, price_out)).await
    }

    async fn deprecate(&self, model: B256, successor: B256) -> Result<Sent> {
        let models = ModelRegistry::new(self.contracts.models, &self.provider);
        self.send("deprecate a model", models.deprecate(model, successor)).await
    }

    async fn revoke_model(&self, model: B256) -> Result<Sent> {
        let models = ModelRegistry::new(self.contracts.models, &self.provider);
        self.send("revoke a model", models.revoke(model)).await
    }

    async fn model(&self, owner: Address, model: B256) -> Result<Option<ModelStatus>> {
        let models = ModelRegistry::new(self.contracts.models, &self.provider);
        let entry = self.ask("ask for a model", models.models(owner, model)).await?;
        let offer = match entry.status {
            0 => return Ok(None),
            1 => ModelOffer::Active,
            2 => ModelOffer::Deprecated,
            _ => ModelOffer::Revoked,
        };
        let amount = |units: u128| Amount::new(U256::from(units));
        Ok(Some(ModelStatus {
            parent: entry.parent,
            record: entry.record,
            price: Price {
                per_thousand_in: amount(entry.priceIn),
                per_thousand_out: amount(entry.priceOut),
            },
            registered_at: entry.registeredAt.to(),
            successor: entry.successor,
            offer,
        }))
    }
}

fn price(price: Price) -> Result<[u128; 2]> {
    Ok([to_u128(price.per_thousand_in)?, to_u128(price.per_thousand_out)?])
}
