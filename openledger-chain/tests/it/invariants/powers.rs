//! Power: what is restricted is reached by the timelock and by whom its roles name, nobody else.
//!
//! What is restricted is not copied from the sources but found out: every function of every
//! contract is called by somebody without any role, and those that say so are restricted. The list
//! below says which they have to be, and whose; both ways.

use openledger_chain::{Power, Revert, abi, alloy::sol_types::SolInterface};
use openledger_core::{Address, Bytes};
use proptest::prelude::*;

use super::{explore, set};
use crate::stage::{
    Person::{Alice, Deployer, Guardian, Node},
    Stage, address,
};

use Power::{Admin, Disputes, Updater};

/// A contract with its functions.
struct Target {
    name: &'static str,
    at: Address,
    functions: Vec<(&'static str, [u8; 4])>,
}

fn functions<C: SolInterface>(
    signature: impl Fn([u8; 4]) -> Option<&'static str>,
) -> Vec<(&'static str, [u8; 4])> {
    C::selectors().map(|selector| (signature(selector).unwrap(), selector)).collect()
}

/// Lists contracts with their functions: `targets!(book; fees: fee_policy::FeePolicy)` expands to
/// `vec![Target { name: "FeePolicy", at: book.fees, functions: … }]`.
macro_rules! targets {
    ($book:expr; $($field:ident: $module:ident::$name:ident, $calls:ident;)*) => {
        vec![$(Target {
            name: stringify!($name),
            at: $book.$field,
            functions: functions::<abi::$module::$name::$calls>(
                abi::$module::$name::$calls::signature_by_selector,
            ),
        }),*]
    };
}

fn targets(stage: &Stage) -> Vec<Target> {
    let book = stage.chain.contracts();
    targets! { book;
        token: open_token::OpenToken, OpenTokenCalls;
        wrapped: wrapped_open::WrappedOpen, WrappedOpenCalls;
        votes: governance_open::GovernanceOpen, GovernanceOpenCalls;
        roles: roles::Roles, RolesCalls;
        timelock: open_timelock::OpenTimelock, OpenTimelockCalls;
        governor: open_governor::OpenGovernor, OpenGovernorCalls;
        ballots: ballot_box::BallotBox, BallotBoxCalls;
        datanets: datanet_registry::DatanetRegistry, DatanetRegistryCalls;
        contributions: contribution_registry::ContributionRegistry, ContributionRegistryCalls;
        grants: access_grants::AccessGrants, AccessGrantsCalls;
        models: model_registry::ModelRegistry, ModelRegistryCalls;
        agents: agent_registry::AgentRegistry, AgentRegistryCalls;
        attributions: attribution_log::AttributionLog, AttributionLogCalls;
        fees: fee_policy::FeePolicy, FeePolicyCalls;
        distributor: reward_distributor::RewardDistributor, RewardDistributorCalls;
        escrow: inference_escrow::InferenceEscrow, InferenceEscrowCalls;
        staking: staking::Staking, StakingCalls;
        disputes: dispute::Dispute, DisputeCalls;
        model_proposals: model_proposals::ModelProposals, ModelProposalsCalls;
    }
}

/// What a contract says to who has no power.
const POWERLESS: [&str; 6] = [
    "AccessManagedUnauthorized",
    "AccessManagerUnauthorizedAccount",
    "AccessManagerUnauthorizedCall",
    "AccessControlUnauthorizedAccount",
    "GovernorOnlyExecutor",
    "TimelockUnauthorizedCaller",
];

async fn is_refused(stage: &Stage, by: Address, at: Address, call: Bytes) -> bool {
    let refusal = stage.refusal(by, at, call).await;
    refusal.is_some_and(|revert: Revert| POWERLESS.contains(&revert.name().as_str()))
}

/// A call whose words are all zero: enough for a contract to ask who is there.
fn empty((_, selector): (&str, [u8; 4])) -> Bytes {
    [&selector[..], &[0; 32 * 24]].concat().into()
}

/// Whose a restricted function is; of another manager of power nobody decides but this one, which
/// does so for its admin.
fn holder(target: &str, function: &str) -> Option<Power> {
    Some(match (target, function) {
        (_, "setAuthority") => return None,
        (_, "pause")
        | ("BallotBox", "cancel")
        | ("RewardDistributor", "veto")
        | ("Staking", "vetoSlash") => Power::Guardian,
        ("RewardDistributor", "submitRoot") => Updater,
        ("AttributionLog", "hold" | "release" | "reject")
        | ("ContributionRegistry", "revokeDisputed")
        | ("Staking", "proposeSlash" | "addPenalty") => Disputes,
        _ => Admin,
    })
}

/// Everything that is restricted, contract by contract.
const RESTRICTED: [&str; 13] = [
    "BallotBox: cancel setAuthority setRules",
    "DatanetRegistry: pause setAuthority unpause upgradeToAndCall",
    "ContributionRegistry: pause revokeDisputed setAuthority unpause upgradeToAndCall",
    "AccessGrants: pause setAuthority unpause upgradeToAndCall",
    "ModelRegistry: pause setAuthority unpause upgradeToAndCall",
    "AgentRegistry: pause revoke setAuthority setIdentityRegistry unpause upgradeToAndCall",
    "AttributionLog: admit expel hold pause reject release setAuthority setWindow unpause",
    "FeePolicy: setAccounts setAuthority setSplit",
    "RewardDistributor: disable pause setActivationDelay setAuthority submitRoot unpause veto",
    "InferenceEscrow: pause setAuthority setWithdrawalDelay unpause",
    "Staking: addPenalty forgive pause proposeSlash setAuthority setCaps setPenaltyRule setRate \
     setSlashDelay setTerms unpause vetoSlash",
    "Dispute: pause rule setAuthority setTerms unpause",
    "ModelProposals: approve reject setAuthority setTerms",
];

fn name(signature: &str) -> &str {
    signature.split('(').next().unwrap_or(signature)
}

#[test]
fn what_is_restricted_is_what_is_meant_to_be() {
    let (stage, runtime) = set(async |_| {});
    runtime.block_on(async {
        let stranger = Address::repeat_byte(0x99);
        let mut found = Vec::new();
        for target in targets(&stage) {
            let mut restricted = Vec::new();
            for function in &target.functions {
                let refusal = stage.refusal(stranger, target.at, empty(*function)).await;
                let restricted_one =
                    refusal.is_some_and(|revert| revert.name() == "AccessManagedUnauthorized");
                if restricted_one {
                    restricted.push(name(function.0));
                }
            }
            restricted.sort_unstable();
            if !restricted.is_empty() {
                found.push(format!("{}: {}", target.name, restricted.join(" ")));
            }
        }
        assert_eq!(found, RESTRICTED);
    });
}

#[test]
fn a_restricted_call_is_for_the_holder_of_its_power_and_no_other() {
    let (stage, runtime) = set(async |_| {});
    runtime.block_on(async {
        let at = *stage.chain.contracts();
        let stranger = Address::repeat_byte(0x99);
        let callers = [
            (address(Deployer), None),
            (stranger, None),
            (address(Alice), None),
            (address(Guardian), Some(Power::Guardian)),
            (address(Node), Some(Updater)),
            (at.disputes, Some(Disputes)),
            (at.governor, None),
            (at.staking, None),
        ];
        for (caller, power) in callers {
            let mut powers = stage.chain.powers_of(caller).await.unwrap();
            powers.retain(|power| !matches!(power, Power::Proposer | Power::Canceller));
            assert_eq!(powers, Vec::from_iter(power), "{caller}");
        }
        let timelock = [Admin, Disputes];
        assert_eq!(stage.chain.powers_of(at.timelock).await.unwrap()[..2], timelock);

        let mut checked = 0;
        for target in targets(&stage) {
            for function in &target.functions {
                let call = empty(*function);
                let refusal = stage.refusal(stranger, target.at, call.clone()).await;
                if refusal.is_none_or(|revert| revert.name() != "AccessManagedUnauthorized") {
                    continue;
                }
                let wanted = holder(target.name, name(function.0));
                for (caller, power) in callers {
                    let refused = is_refused(&stage, caller, target.at, call.clone()).await;
                    let what = format!("{}.{} by {caller}", target.name, function.0);
                    assert_eq!(refused, power.is_none() || power != wanted, "{what}");
                }
                let refused = is_refused(&stage, at.timelock, target.at, call).await;
                let may = wanted.is_some_and(|wanted| timelock.contains(&wanted));
                assert_eq!(refused, !may, "{} by governance", function.0);
                checked += 1;
            }
        }
        assert!(checked > 50, "only {checked} functions");
    });
}

/// Ways to power over power itself, over the governor and over the timelock.
const KEYS: [(&str, &str); 18] = [
    ("Roles", "grantRole"),
    ("Roles", "labelRole"),
    ("Roles", "revokeRole"),
    ("Roles", "setGrantDelay"),
    ("Roles", "setRoleAdmin"),
    ("Roles", "setRoleGuardian"),
    ("Roles", "setTargetAdminDelay"),
    ("Roles", "setTargetClosed"),
    ("Roles", "setTargetFunctionRole"),
    ("Roles", "updateAuthority"),
    ("OpenTimelock", "grantRole"),
    ("OpenTimelock", "revokeRole"),
    ("OpenTimelock", "schedule"),
    ("OpenTimelock", "scheduleBatch"),
    ("OpenTimelock", "updateDelay"),
    ("OpenGovernor", "relay"),
    ("OpenGovernor", "setVotingDelay"),
    ("OpenGovernor", "updateTimelock"),
];

#[test]
fn random_calls_by_people_reach_nothing_that_is_restricted() {
    let stage = set(async |_| {});
    let call = (any::<prop::sample::Index>(), any::<[u8; 20]>(), any::<[u8; 32]>());
    explore(&stage, (16, 16..=32), call, async |stage, calls| {
        let mut locked = Vec::new();
        for target in targets(stage) {
            for function in &target.functions {
                let line = |line: &&str| line.starts_with(&format!("{}: ", target.name));
                let listed = RESTRICTED.iter().find(|known| line(known));
                let is_restricted =
                    listed.is_some_and(|line| line.split(' ').any(|word| word == name(function.0)));
                if is_restricted || KEYS.contains(&(target.name, name(function.0))) {
                    locked.push((target.name, target.at, *function));
                }
            }
        }
        for (which, caller, word) in calls {
            let (target, at, (signature, selector)) = *which.get(&locked);
            // Nothing in every word, which every function can read, or one, which some cannot.
            let mut words = [0_u8; 32 * 24];
            words.chunks_exact_mut(32).for_each(|chunk| chunk[31] = word[0] % 2);
            let data: Bytes = [&selector[..], &words].concat().into();
            let people = [Deployer, Alice, Guardian, Node].map(address);
            for caller in people.into_iter().chain([Address::from(caller)]) {
                let allowed = match holder(target, name(signature)) {
                    Some(Power::Guardian) => caller == address(Guardian),
                    Some(Updater) => caller == address(Node),
                    _ => false,
                };
                let refusal = stage.refusal(caller, at, data.clone()).await;
                let name = refusal.map(|revert| revert.name());
                let powerless = name.as_deref().is_some_and(|name| POWERLESS.contains(&name));
                let undecodable = word[0] % 2 == 1 && name.as_deref() == Some("");
                let what = format!("{target}.{signature} by {caller}: {name:?}");
                assert!(allowed || powerless || undecodable, "{what}");
            }
        }
    });
}
