//! Bindings of the contracts, one module each: artifacts that share a library would clash in one.

/// Declares the bindings of one contract. `contract!(fee_policy, FeePolicy)` expands to
/// `pub mod fee_policy { sol!(#[sol(rpc)] FeePolicy, "artifacts/FeePolicy.json"); }`.
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

contract! {
    /// OPEN.
    open_token, OpenToken, "artifacts/OpenToken.json"
}
contract! {
    /// Roles and their members.
    roles, Roles, "artifacts/Roles.json"
}
contract! {
    /// Datanets, contributions, versions.
    datanet_registry, DatanetRegistry, "artifacts/DatanetRegistry.json"
}
contract! {
    /// Models and adapters.
    model_registry, ModelRegistry, "artifacts/ModelRegistry.json"
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
