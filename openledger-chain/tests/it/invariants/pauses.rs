//! Switches: a flag that is paused blocks exactly its function.

use std::collections::BTreeMap;

use openledger_chain::{
    DatanetEntry, Registry, Revert,
    abi::{staking::Staking, *},
    alloy::sol_types::{SolCall, SolInterface},
};
use openledger_core::{Address, B256, Bytes, U256};
use proptest::prelude::*;

use super::{explore, set};
use crate::stage::{
    Person::{Carol, Guardian, Node},
    Stage, address,
};

/// A contract with switches: the functions of each flag, and which flags are exits.
struct Switched {
    at: Address,
    selectors: Vec<(&'static str, [u8; 4])>,
    flags: &'static [&'static [&'static str]],
    exits: u128,
}

/// Lists contracts with their switches; `exits` are flags of ways out.
macro_rules! switched {
    ($book:expr; $($field:ident: $module:ident::$name:ident::$calls:ident, [$($flag:expr),*], $exits:expr;)*) => {
        vec![$(Switched {
            at: $book.$field,
            selectors: $module::$name::$calls::selectors()
                .map(|selector| {
                    (($module::$name::$calls::signature_by_selector)(selector).unwrap(), selector)
                })
                .collect(),
            flags: &[$(&$flag),*],
            exits: $exits,
        }),*]
    };
}

fn contracts(stage: &Stage) -> Vec<Switched> {
    let book = stage.chain.contracts();
    switched! { book;
        datanets: datanet_registry::DatanetRegistry::DatanetRegistryCalls,
            [["create"], ["publish"]], 0;
        contributions: contribution_registry::ContributionRegistry::ContributionRegistryCalls,
            [["record"], ["accept"]], 0;
        grants: access_grants::AccessGrants::AccessGrantsCalls,
            // `grant` asks first whose the Datanet is: it has a test of its own.
            [["request"], ["grantBySig"]], 0;
        models: model_registry::ModelRegistry::ModelRegistryCalls,
            [["register"]], 0;
        agents: agent_registry::AgentRegistry::AgentRegistryCalls,
            [["register"], ["link", "setWallet"]], 0;
        attributions: attribution_log::AttributionLog::AttributionLogCalls,
            [["log"]], 0;
        distributor: reward_distributor::RewardDistributor::RewardDistributorCalls,
            [["submitRoot"], ["fund"], ["claim", "claimMany"]], 0b100;
        escrow: inference_escrow::InferenceEscrow::InferenceEscrowCalls,
            [["deposit"], ["depositWithAuthorization"], ["authorize"], ["collect"], ["settle"],
             ["release"], ["requestWithdrawal"], ["withdraw"]], 0b1110_0000;
        staking: staking::Staking::StakingCalls,
            [["stake"], ["fundRewards"], ["unbond"], ["withdraw"]], 0b1100;
        disputes: dispute::Dispute::DisputeCalls,
            [["openReceipt"], ["openContribution"], ["withdraw"]], 0b100;
    }
}

impl Switched {
    fn all(&self) -> u128 {
        (1 << self.flags.len()) - 1
    }

    /// Which functions say now that they are paused, with the flag they name.
    async fn blocked(&self, stage: &Stage) -> BTreeMap<&'static str, u8> {
        let mut blocked = BTreeMap::new();
        for (signature, selector) in &self.selectors {
            let call: Bytes = [&selector[..], &[0; 32 * 24]].concat().into();
            // The node may log batches and submit roots, which others are refused before.
            let Some(revert) = stage.refusal(address(Node), self.at, call).await else { continue };
            if let Some(flag) = flag_of(&revert) {
                blocked.insert(signature.split('(').next().unwrap_or(signature), flag);
            }
        }
        blocked
    }

    fn expected(&self, flags: u128) -> BTreeMap<&'static str, u8> {
        let functions = self
            .flags
            .iter()
            .zip(0..)
            .flat_map(|(names, flag)| names.iter().map(move |name| (*name, flag)));
        functions.filter(|(_, flag)| flags & (1 << flag) != 0).collect()
    }
}

fn flag_of(revert: &Revert) -> Option<u8> {
    revert.downcast::<Staking::FunctionPaused>().map(|paused| paused.flag)
}

async fn pause(stage: &Stage, at: Address, flags: u128) -> Result<(), Revert> {
    // Every contract with switches has the same two functions for them.
    stage.act(address(Guardian), at, Staking::pauseCall { flags }).await.map(drop)
}

#[test]
fn a_flag_that_is_paused_blocks_exactly_its_function() {
    let stage = set(async |stage| stage.impersonate([address(Guardian)]));
    let case = (0..10_usize, prop::collection::vec(any::<u8>(), 1..4));
    explore(&stage, (20, 1..=2), case, async |stage, cases| {
        for (which, pauses) in cases {
            let contract = &contracts(stage)[which];
            let (mut paused, entrances) = (0_u128, contract.all() & !contract.exits);
            for flags in pauses {
                let flags = u128::from(flags);
                let done = pause(stage, contract.at, flags).await;
                let refused = done.err().map(|revert| revert.name());
                let touches_exits = flags & contract.exits != 0;
                let want = match () {
                    () if flags == 0 && contract.exits != 0 => Some("FlagsUnknown"),
                    () if flags & !contract.all() != 0 => Some("FlagsUnknown"),
                    () if touches_exits && (paused | flags) & entrances != entrances => {
                        Some("ExitsPausedBeforeTheRest")
                    }
                    () if touches_exits && paused & contract.exits != 0 => {
                        Some("ExitsPausedLately")
                    }
                    () => None,
                };
                // Registries take no flags for nothing to do, or refuse them: neither matters.
                if flags != 0 {
                    assert_eq!(refused.as_deref(), want, "{flags:b} after {paused:b}");
                }
                if refused.is_none() {
                    paused |= flags;
                }
                assert_eq!(contract.blocked(stage).await, contract.expected(paused), "{paused:b}");
            }
        }
    });
}

#[test]
fn each_flag_of_each_contract_blocks_its_function_and_opening_it_opens_it() {
    let (stage, runtime) = set(async |stage| stage.impersonate([address(Guardian)]));
    runtime.block_on(async {
        let mut tried = 0;
        for contract in contracts(&stage) {
            assert_eq!(contract.blocked(&stage).await, BTreeMap::new(), "all is open at first");
            for flag in 0..contract.flags.len() {
                stage.restart();
                let one = 1_u128 << flag;
                // Exits are paused last.
                let is_exit = contract.exits & one != 0;
                let flags = if is_exit { one | contract.all() & !contract.exits } else { one };
                pause(&stage, contract.at, flags).await.unwrap();
                assert_eq!(contract.blocked(&stage).await, contract.expected(flags), "{flags:b}");
                stage.govern(contract.at, Staking::unpauseCall { flags: one }).await;
                let left = contract.expected(flags & !one);
                assert_eq!(contract.blocked(&stage).await, left, "{one:b} of {flags:b} opened");
                tried += 1;
            }
            stage.restart();
            let unknown = pause(&stage, contract.at, contract.all() + 1).await.unwrap_err();
            assert_eq!(unknown.name(), "FlagsUnknown");
            let words = Staking::unpauseCall { flags: 1 }.abi_encode();
            let refused = stage.refusal(address(Guardian), contract.at, words.into()).await;
            let name = refused.map(|revert| revert.name());
            assert_eq!(
                name.as_deref(),
                Some("AccessManagedUnauthorized"),
                "opening is governance's"
            );
        }
        assert_eq!(tried, 28);
    });
}

#[test]
fn exits_open_by_themselves_after_a_week() {
    let (stage, runtime) = set(async |stage| stage.impersonate([address(Guardian)]));
    runtime.block_on(async {
        for contract in contracts(&stage).into_iter().filter(|contract| contract.exits != 0) {
            stage.restart();
            pause(&stage, contract.at, contract.all()).await.unwrap();
            assert_eq!(contract.blocked(&stage).await, contract.expected(contract.all()));
            stage.pass(7 * 24 * 3_600).await;
            let entrances = contract.expected(contract.all() & !contract.exits);
            assert_eq!(contract.blocked(&stage).await, entrances, "the rest stays shut");
            let again = pause(&stage, contract.at, contract.exits).await.unwrap_err();
            assert_eq!(again.name(), "ExitsPausedLately");
            stage.pass(30 * 24 * 3_600).await;
            pause(&stage, contract.at, contract.exits).await.unwrap();
            assert_eq!(contract.blocked(&stage).await, contract.expected(contract.all()));
        }
    });
}

#[test]
fn a_grant_by_a_datanets_owner_is_paused_with_those_it_signed() {
    let (stage, runtime) = set(async |stage| stage.impersonate([address(Guardian)]));
    runtime.block_on(async {
        let (owner, at) = (stage.of(Carol), stage.chain.contracts().grants);
        let entry = DatanetEntry::new("bread", B256::repeat_byte(9));
        let datanet = owner.create_datanet(&entry).await.unwrap().value;
        let g = access_grants::AccessGrants::Grant {
            datanet: datanet.into(),
            version: 0,
            scope: 1,
            purpose: B256::repeat_byte(1),
            grantee: address(Node),
            notBefore: 0,
            notAfter: u64::MAX,
            owner: owner.sender(),
            nonce: U256::ONE,
            deadline: u64::MAX,
        };
        let call = Bytes::from(access_grants::AccessGrants::grantCall { g }.abi_encode());
        assert_eq!(stage.refusal(owner.sender(), at, call.clone()).await, None);
        pause(&stage, at, 0b10).await.unwrap();
        let refused = stage.refusal(owner.sender(), at, call).await.unwrap();
        assert_eq!(flag_of(&refused), Some(1));
    });
}
