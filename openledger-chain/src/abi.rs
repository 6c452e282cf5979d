//! Bindings of the contracts, one module each: artifacts that share a library would clash in one.

/// Declares the bindings of one contract. `contract!(fee_policy, FeePolicy, "artifacts/FeePolicy.json")`
/// expands to `pub mod fee_policy { sol!(#[sol(rpc)] FeePolicy, "artifacts/FeePolicy.json"); }`.
macro_rules! contract {
    ($(#[$doc:meta])* $module:ident, $name:ident, $artifact:literal) => {
        $(#[$doc])*
        #[allow(
            missing_docs, unreachable_pub, clippy::all, clippy::pedantic, clippy::nursery,
            clippy::restriction, reason = "generated from the contract's ABI"
        )]
        pub mod $module {
            alloy::sol!(
                #[sol(rpc, extra_derives(Debug, PartialEq))]
                $name,
                $artifact
            );
        }
    };
}

pub(crate) use contract;

contract! {
    /// OPEN.
    open_token, OpenToken, "artifacts/OpenToken.json"
}
contract! {
    /// OPEN as the bridge mints it on the L2.
    open_token_l2, OpenTokenL2, "artifacts/OpenTokenL2.json"
}
contract! {
    /// The native coin as an ERC-20 token.
    wrapped_open, WrappedOpen, "artifacts/WrappedOpen.json"
}
contract! {
    /// The native coin with votes.
    governance_open, GovernanceOpen, "artifacts/GovernanceOpen.json"
}
contract! {
    /// The first allocation of OPEN.
    genesis, Genesis, "artifacts/Genesis.json"
}
contract! {
    /// OPEN that is released over time.
    vesting, Vesting, "artifacts/Vesting.json"
}
contract! {
    /// Roles and their members.
    roles, Roles, "artifacts/Roles.json"
}
contract! {
    /// The proxy in front of each registry.
    registry_proxy, RegistryProxy, "artifacts/RegistryProxy.json"
}
contract! {
    /// Datanets and their versions.
    datanet_registry, DatanetRegistry, "artifacts/DatanetRegistry.json"
}
contract! {
    /// Contributions.
    contribution_registry, ContributionRegistry, "artifacts/ContributionRegistry.json"
}
contract! {
    /// Grants of access.
    access_grants, AccessGrants, "artifacts/AccessGrants.json"
}
contract! {
    /// Models and adapters.
    model_registry, ModelRegistry, "artifacts/ModelRegistry.json"
}
contract! {
    /// Agents.
    agent_registry, AgentRegistry, "artifacts/AgentRegistry.json"
}
contract! {
    /// Batches of receipts.
    attribution_log, AttributionLog, "artifacts/AttributionLog.json"
}
contract! {
    /// The division of fees.
    fee_policy, FeePolicy, "artifacts/FeePolicy.json"
}
contract! {
    /// Cumulative claims.
    reward_distributor, RewardDistributor, "artifacts/RewardDistributor.json"
}
contract! {
    /// Payment for inferences.
    inference_escrow, InferenceEscrow, "artifacts/InferenceEscrow.json"
}
contract! {
    /// Where x402 clients pay a node.
    till, Till, "artifacts/Till.json"
}
contract! {
    /// Stake.
    staking, Staking, "artifacts/Staking.json"
}
contract! {
    /// Disputes.
    dispute, Dispute, "artifacts/Dispute.json"
}
contract! {
    /// What governance decided, in its delay.
    open_timelock, OpenTimelock, "artifacts/OpenTimelock.json"
}
contract! {
    /// Votes on chain.
    open_governor, OpenGovernor, "artifacts/OpenGovernor.json"
}
contract! {
    /// Votes counted off chain.
    ballot_box, BallotBox, "artifacts/BallotBox.json"
}
contract! {
    /// Proposals for models.
    model_proposals, ModelProposals, "artifacts/ModelProposals.json"
}
