//! Where the contracts are.

use openledger_core::Address;
use serde::{Deserialize, Serialize};

/// Declares the address book. `book! { /// OPEN. token: OpenToken, }` expands to a struct with the field
/// `token` and a method that names it `OpenToken`.
macro_rules! book {
    ($($(#[$doc:meta])* $field:ident: $name:ident,)*) => {
        /// The addresses of a deployment.
        #[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
        #[non_exhaustive]
        pub struct Contracts {
            $($(#[$doc])* pub $field: Address,)*
        }

        impl Contracts {
            /// Returns each contract's name in Solidity with its address.
            pub fn named(&self) -> impl Iterator<Item = (&'static str, Address)> {
                [$((stringify!($name), self.$field)),*].into_iter()
            }
        }
    };
}

book! {
    /// OPEN.
    token: OpenToken,
    /// The native coin as an ERC-20 token.
    wrapped: WrappedOpen,
    /// The native coin with votes.
    votes: GovernanceOpen,
    /// Roles and their members.
    roles: Roles,
    /// What governance decided, in its delay: it holds every power.
    timelock: OpenTimelock,
    /// Votes on chain.
    governor: OpenGovernor,
    /// Votes counted off chain.
    ballots: BallotBox,
    /// Datanets and their versions.
    datanets: DatanetRegistry,
    /// Contributions.
    contributions: ContributionRegistry,
    /// Grants of access.
    grants: AccessGrants,
    /// Models and adapters.
    models: ModelRegistry,
    /// Agents.
    agents: AgentRegistry,
    /// Batches of receipts.
    attributions: AttributionLog,
    /// The division of fees.
    fees: FeePolicy,
    /// Cumulative claims.
    distributor: RewardDistributor,
    /// Payment for inferences.
    escrow: InferenceEscrow,
    /// Stake.
    staking: Staking,
    /// Disputes.
    disputes: Dispute,
    /// Proposals for models.
    model_proposals: ModelProposals,
}
