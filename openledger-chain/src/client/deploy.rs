//! Puts the contracts on a chain.

use alloy::{
    primitives::{FixedBytes, Uint},
    providers::DynProvider,
    sol_types::{SolCall, SolConstructor},
};
use openledger_core::{Address, Result};

use super::{Contracts, EvmChain, Tx, create};
use crate::abi::{
    attribution_log::AttributionLog, datanet_registry::DatanetRegistry, fee_policy::FeePolicy,
    inference_escrow::InferenceEscrow, model_registry::ModelRegistry, open_token::OpenToken,
    reward_distributor::RewardDistributor, roles::Roles,
};

/// Who does what, and how long things take.
#[derive(Clone, Copy, Debug)]
#[expect(
    clippy::exhaustive_structs,
    reason = "a deployment has no defaults: all of it must be said"
)]
pub struct DeployOptions {
    /// Administers the roles; the deployer's key must be this account's for now.
    pub admin: Address,
    /// Holds all OPEN at first, and gets the platform's part of fees.
    pub treasury: Address,
    /// Gets the stakers' part of fees.
    pub staking_pool: Address,
    /// Logs batches of receipts and submits roots of claims.
    pub node: Address,
    /// May veto a root before it is active.
    pub guardian: Address,
    /// Seconds between a root's submission and its activation.
    pub activation_delay: u64,
    /// Seconds between the announcement of a withdrawal from escrow and the withdrawal.
    pub withdrawal_delay: u64,
}

/// A deployment: a client that sends as the admin, and the transactions that made it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Deployed {
    /// The client.
    pub chain: EvmChain,
    /// The transactions, in order.
    pub txs: Vec<Tx>,
}

/// Roles in the access manager.
const NODE: u64 = 1;
const GUARDIAN: u64 = 2;

impl EvmChain {
    /// Deploys all contracts and gives the roles.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`](openledger_core::ErrorKind::Unavailable) if the node does not
    /// take a transaction.
    pub async fn deploy(provider: DynProvider, options: DeployOptions) -> Result<Deployed> {
        let admin = options.admin;
        let mut txs = Vec::new();
        let mut put = async |name: &str, bytecode: &[u8], arguments: Vec<u8>| -> Result<Address> {
            let what = format!("deploy {name}");
            let code = [bytecode, &arguments].concat();
            let (address, tx) = create(&provider, &what, admin, code).await?;
            txs.push(tx);
            Ok(address)
        };
        let treasury = options.treasury;
        let arguments = OpenToken::constructorCall { treasury }.abi_encode();
        let token = put("OpenToken", &OpenToken::BYTECODE, arguments).await?;
        let arguments = Roles::constructorCall { admin }.abi_encode();
        let roles = put("Roles", &Roles::BYTECODE, arguments).await?;
        let datanets = put("DatanetRegistry", &DatanetRegistry::BYTECODE, Vec::new()).await?;
        let arguments = ModelRegistry::constructorCall { datanets }.abi_encode();
        let models = put("ModelRegistry", &ModelRegistry::BYTECODE, arguments).await?;
        let arguments = AttributionLog::constructorCall { authority: roles }.abi_encode();
        let attributions = put("AttributionLog", &AttributionLog::BYTECODE, arguments).await?;
        let arguments = FeePolicy::constructorCall {
            authority: roles,
            treasury_: treasury,
            stakingPool_: options.staking_pool,
        };
        let fees = put("FeePolicy", &FeePolicy::BYTECODE, arguments.abi_encode()).await?;
        let arguments = RewardDistributor::constructorCall {
            authority: roles,
            token,
            delay: Uint::from(options.activation_delay),
        };
        let distributor =
            put("RewardDistributor", &RewardDistributor::BYTECODE, arguments.abi_encode()).await?;
        let arguments = InferenceEscrow::constructorCall {
            token,
            log: attributions,
            distributor,
            withdrawalDelay: Uint::from(options.withdrawal_delay),
        };
        let escrow =
            put("InferenceEscrow", &InferenceEscrow::BYTECODE, arguments.abi_encode()).await?;

        let contracts =
            Contracts { token, roles, datanets, models, attributions, fees, distributor, escrow };
        let chain = Self::connect(provider.clone(), contracts, admin).await?;
        txs.extend(chain.give_roles(&options).await?);
        Ok(Deployed { chain, txs })
    }

    async fn give_roles(&self, options: &DeployOptions) -> Result<Vec<Tx>> {
        let manager = Roles::new(self.contracts.roles, &self.provider);
        let mut txs = Vec::new();
        for (target, selector, role) in [
            (self.contracts.attributions, AttributionLog::logCall::SELECTOR, NODE),
            (self.contracts.distributor, RewardDistributor::submitRootCall::SELECTOR, NODE),
            (self.contracts.distributor, RewardDistributor::vetoCall::SELECTOR, GUARDIAN),
        ] {
            let selectors = vec![FixedBytes::from(selector)];
            let call = manager.setTargetFunctionRole(target, selectors, role);
            txs.push(self.send("set a function's role", call).await?.tx);
        }
        for (role, account) in [(NODE, options.node), (GUARDIAN, options.guardian)] {
            let call = manager.grantRole(role, account, 0);
            txs.push(self.send("give a role", call).await?.tx);
        }
        Ok(txs)
    }
}
