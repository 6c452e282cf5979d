//! Votes on chain: what holders decide happens, and nothing else does.

use openledger_chain::{
    Action, Attributions, Batch, BatchName, EvmChain, Governance, GovernancePreset, ModelEntry,
    Models, Payments, Power, Price, Proposal, ProposalState, Revert, Rewards, SignedVote,
    StakeRole, Staking,
    abi::{
        agent_registry::AgentRegistry, attribution_log::AttributionLog, ballot_box::BallotBox,
        contribution_registry::ContributionRegistry, datanet_registry::DatanetRegistry,
        dispute::Dispute, fee_policy::FeePolicy, inference_escrow::InferenceEscrow,
        model_proposals::ModelProposals, open_governor::OpenGovernor, open_timelock::OpenTimelock,
        open_token::OpenToken, reward_distributor::RewardDistributor, roles::Roles,
        staking::Staking as StakingContract,
    },
    alloy::{
        network::TransactionBuilder, primitives::Uint, providers::Provider,
        rpc::types::TransactionRequest, sol_types::SolCall,
    },
    ballots::Support,
    settlement::FeeSplit,
};
use openledger_core::{Address, Amount, B256, Bytes, Key, U256, message::Domain};

use crate::{
    assert_denied, open,
    town::{DAY, HOUR, Town},
};

fn new_split(town: &Town) -> Proposal {
    let split_ =
        FeePolicy::Split { platform: 500, model: 2_500, stakers: 1_000, contributors: 6_000 };
    let call = FeePolicy::setSplitCall { split_ };
    Proposal::call(town.chain.contracts().fees, &call, "more for contributors")
}

/// Changes the governor's own settings, which needs no other contract.
fn harmless(town: &Town, description: &str) -> Proposal {
    let call = OpenTimelock::updateDelayCall { newDelay: U256::from(3 * DAY) };
    Proposal::call(town.chain.contracts().timelock, &call, description)
}

async fn cancel(chain: &EvmChain, proposal: &Proposal) -> openledger_core::Result<()> {
    let governor = OpenGovernor::new(chain.contracts().governor, chain.provider());
    let targets = proposal.actions.iter().map(|action| action.target).collect();
    let values = proposal.actions.iter().map(|action| action.value).collect();
    let calls = proposal.actions.iter().map(|action| action.call.clone()).collect();
    let call = governor.cancel(targets, values, calls, proposal.description_hash());
    chain.send("cancel a proposal", call).await.map(drop)
}

#[tokio::test]
async fn both_presets_are_on_chain_what_the_specification_says() {
    // Threshold in GOPEN, days before the vote and of the vote, quorum in percent, days of timelock.
    let current = (GovernancePreset::current(), (10_000, 1, 7, 5, 7));
    let genesis = (GovernancePreset::genesis(), (100, 1, 14, 25, 1));
    for (preset, (threshold, delay, period, quorum, timelock)) in [current, genesis] {
        let town = Town::under(preset).await;
        let at = town.chain.contracts();
        let governor = OpenGovernor::new(at.governor, town.chain.provider());
        let lock = OpenTimelock::new(at.timelock, town.chain.provider());
        assert_eq!(governor.proposalThreshold().call().await.unwrap(), open(threshold).units());
        assert_eq!(governor.votingDelay().call().await.unwrap(), U256::from(delay * DAY));
        assert_eq!(governor.votingPeriod().call().await.unwrap(), U256::from(period * DAY));
        assert_eq!(lock.getMinDelay().call().await.unwrap(), U256::from(timelock * DAY));
        town.pass(2).await;
        let before = U256::from(town.now().await - 1);
        let needed = governor.quorum(before).call().await.unwrap();
        assert_eq!(needed, open(600_000 * quorum / 100).units(), "of 600,000 GOPEN");
        // The ballot box decides by the same rules.
        let boxed = BallotBox::new(at.ballots, town.chain.provider());
        let rules = boxed.rules().call().await.unwrap();
        assert_eq!(rules.threshold, open(threshold).units());
        assert_eq!(rules.votingPeriod.to::<u64>(), period * DAY);
        assert_eq!(u64::from(rules.quorumBps), quorum * 100);
    }
}

#[tokio::test]
async fn a_fee_that_was_voted_counts_from_the_next_epoch_on_and_not_before() {
    for preset in [GovernancePreset::current(), GovernancePreset::genesis()] {
        let town = Town::under(preset).await;
        let (voter, stranger) = (town.by(&town.voters[0]), town.by(&town.stranger));
        let proposal = new_split(&town);
        let (old, _) = town.chain.fee_split().await.unwrap();
        assert_denied(stranger.propose(&proposal).await, "GovernorInsufficientProposerVotes");

        let id = voter.propose(&proposal).await.unwrap().value;
        assert_eq!(voter.state(id).await.unwrap(), ProposalState::Pending);
        let early = voter.vote(id, Support::For).await;
        assert_denied(early, "GovernorUnexpectedProposalState");
        town.pass(preset.voting_delay + 1).await;
        voter.vote(id, Support::For).await.unwrap();
        let twice = voter.vote(id, Support::For).await;
        assert_denied(twice, "GovernorAlreadyCastVote");
        assert_eq!(voter.state(id).await.unwrap(), ProposalState::Active);
        assert_denied(stranger.queue(&proposal).await, "GovernorUnexpectedProposalState");
        town.pass(preset.voting_period).await;
        assert_eq!(voter.state(id).await.unwrap(), ProposalState::Succeeded);
        assert_denied(stranger.execute(&proposal).await, "GovernorUnexpectedProposalState");
        stranger.queue(&proposal).await.unwrap();
        assert_eq!(voter.state(id).await.unwrap(), ProposalState::Queued);
        town.pass(preset.timelock - HOUR).await;
        assert_denied(stranger.execute(&proposal).await, "TimelockUnexpectedOperationState");

        // Execution in the first hour of a day of UTC.
        let due = town.now().await + HOUR;
        town.reach(due.next_multiple_of(DAY) + HOUR).await;
        stranger.execute(&proposal).await.unwrap();
        assert_eq!(voter.state(id).await.unwrap(), ProposalState::Executed);
        assert_denied(stranger.execute(&proposal).await, "GovernorUnexpectedProposalState");
        let split = async || town.chain.fee_split().await.unwrap().0;
        assert_eq!(split().await, old, "the epoch goes on as it began");
        let end = town.now().await.next_multiple_of(DAY);
        town.reach(end - 1).await;
        assert_eq!(split().await, old);
        town.reach(end).await;
        assert_eq!(split().await, FeeSplit::new(500, 2_500, 1_000, 6_000).unwrap());
    }
}

#[tokio::test]
async fn a_quorum_reached_at_the_last_moment_leaves_time_to_answer_it() {
    let preset = GovernancePreset::genesis();
    let town = Town::under(preset).await;
    let [large, middle, small] = town.voters.each_ref().map(|key| town.by(key));
    let governor = OpenGovernor::new(town.chain.contracts().governor, town.chain.provider());
    let deadline = async |id| governor.proposalDeadline(id).call().await.unwrap().to::<u64>();

    let id = town.proposed(&harmless(&town, "in the last minute")).await;
    let end = deadline(id).await;
    small.vote(id, Support::For).await.unwrap();
    town.reach(end - 60).await;
    assert_eq!(deadline(id).await, end, "100,000 are no quorum of 600,000");
    middle.vote(id, Support::Abstain).await.unwrap();
    let extended = deadline(id).await;
    assert_eq!(extended, town.now().await + preset.extension);
    town.reach(end + HOUR).await;
    assert_eq!(small.state(id).await.unwrap(), ProposalState::Active);
    large.vote(id, Support::Against).await.unwrap();
    assert_eq!(deadline(id).await, extended, "it is extended once");
    town.reach(extended + 1).await;
    assert_eq!(small.state(id).await.unwrap(), ProposalState::Defeated);

    // A quorum reached in time moves nothing.
    let id = town.proposed(&harmless(&town, "in time")).await;
    let end = deadline(id).await;
    large.vote(id, Support::For).await.unwrap();
    town.reach(end - 60).await;
    middle.vote(id, Support::For).await.unwrap();
    assert_eq!(deadline(id).await, end);
}

#[tokio::test]
async fn without_a_quorum_or_a_majority_nothing_happens() {
    let town = Town::under(GovernancePreset::genesis()).await;
    let [large, _, small] = town.voters.each_ref().map(|key| town.by(key));
    let few = harmless(&town, "few");
    let id = town.proposed(&few).await;
    small.vote(id, Support::For).await.unwrap();
    town.pass(town.preset.voting_period).await;
    assert_eq!(small.state(id).await.unwrap(), ProposalState::Defeated);
    assert_denied(small.queue(&few).await, "GovernorUnexpectedProposalState");

    let lost = harmless(&town, "lost");
    let id = town.proposed(&lost).await;
    small.vote(id, Support::For).await.unwrap();
    large.vote(id, Support::Against).await.unwrap();
    town.pass(town.preset.voting_period).await;
    assert_denied(small.queue(&lost).await, "GovernorUnexpectedProposalState");
}

#[tokio::test]
async fn the_guardian_cancels_a_proposal_at_any_time_before_its_execution_and_nobody_else_does() {
    let town = Town::new().await;
    let guardian = town.by(&town.guardian);
    let proposal = harmless(&town, "running");
    let id = town.proposed(&proposal).await;
    for other in [&town.deployer, &town.treasury, &town.node, &town.voters[1], &town.stranger] {
        assert_denied(cancel(&town.by(other), &proposal).await, "GovernorUnableToCancel");
    }
    cancel(&guardian, &proposal).await.unwrap();
    assert_eq!(guardian.state(id).await.unwrap(), ProposalState::Canceled);
    let vote = town.by(&town.voters[0]).vote(id, Support::For).await;
    assert_denied(vote, "GovernorUnexpectedProposalState");

    let proposal = harmless(&town, "queued");
    let id = town.queued(&proposal).await;
    cancel(&guardian, &proposal).await.unwrap();
    assert_eq!(guardian.state(id).await.unwrap(), ProposalState::Canceled);
    town.pass(town.preset.timelock + 1).await;
    assert_denied(guardian.execute(&proposal).await, "GovernorUnexpectedProposalState");

    let proposal = harmless(&town, "executed");
    town.decree(&proposal).await.unwrap();
    assert_denied(cancel(&guardian, &proposal).await, "GovernorUnexpectedProposalState");
}

#[tokio::test]
async fn a_signed_vote_counts_once_for_the_voter_whoever_brings_it() {
    let town = Town::new().await;
    let stranger = town.by(&town.stranger);
    let voter = &town.voters[0];
    let (domain, nonce) = (stranger.vote_domain(), U256::ZERO);
    let id = town.proposed(&harmless(&town, "by signature")).await;
    assert_eq!(stranger.vote_nonce(voter.address()).await.unwrap(), nonce);
    let sign = |support, nonce, domain: &Domain, key: &Key| {
        SignedVote::sign(id, support, nonce, domain, key)
    };

    let mut forged = sign(Support::Against, nonce, &domain, &town.stranger);
    forged.voter = voter.address();
    let signed = sign(Support::For, nonce, &domain, voter);
    let mut turned = signed;
    turned.support = Support::Against;
    let elsewhere = Domain { chain_id: domain.chain_id + 1, ..domain };
    let on_another_chain = sign(Support::For, nonce, &elsewhere, voter);
    let other_contract = stranger.ballot_domain();
    let for_another_contract = sign(Support::For, nonce, &other_contract, voter);
    let too_early = sign(Support::For, U256::from(1), &domain, voter);
    let mut of_another = SignedVote::sign(id + U256::from(1), Support::For, nonce, &domain, voter);
    of_another.proposal = id;
    for wrong in [forged, turned, on_another_chain, for_another_contract, too_early, of_another] {
        assert_denied(stranger.relay_vote(&wrong).await, "GovernorInvalidSignature");
    }

    stranger.relay_vote(&signed).await.unwrap();
    assert_eq!(stranger.vote_nonce(voter.address()).await.unwrap(), U256::from(1));
    let replayed = stranger.relay_vote(&signed).await;
    assert_denied(replayed, "GovernorInvalidSignature");
    let governor = OpenGovernor::new(stranger.contracts().governor, stranger.provider());
    let votes = governor.proposalVotes(id).call().await.unwrap();
    assert_eq!(
        (votes.againstVotes, votes.forVotes, votes.abstainVotes),
        (U256::ZERO, open(300_000).units(), U256::ZERO)
    );
}

#[tokio::test]
async fn a_delegate_votes_with_what_it_had_at_the_snapshot() {
    let town = Town::new().await;
    let delegate = town.stranger.address();
    let [one, two, _] = town.voters.each_ref().map(|key| town.by(key));
    one.lock_votes(open(50_000), delegate).await.unwrap();
    let proposed = two.propose(&harmless(&town, "delegated")).await.unwrap();
    let id = proposed.value;
    town.pass(town.preset.voting_delay + 1).await;
    // After the snapshot nobody's votes change any more, on this proposal.
    two.lock_votes(open(10), delegate).await.unwrap();
    town.by(&town.stranger).vote(id, Support::For).await.unwrap();
    two.vote(id, Support::Against).await.unwrap();
    one.vote(id, Support::Against).await.unwrap();
    let governor = OpenGovernor::new(town.chain.contracts().governor, town.chain.provider());
    let votes = governor.proposalVotes(id).call().await.unwrap();
    assert_eq!(votes.forVotes, open(350_000).units(), "all of the first voter's");
    assert_eq!(votes.againstVotes, open(200_000).units(), "the second's, and none of the first's");
}

#[tokio::test]
async fn the_deployment_leaves_no_power_with_the_deployer_and_gives_each_role_to_whom_it_is_meant()
{
    let town = Town::new().await;
    let at = *town.chain.contracts();
    let powers = async |account| town.chain.powers_of(account).await.unwrap();
    for nobody in [&town.deployer, &town.treasury, &town.voters[0], &town.stranger] {
        assert_eq!(powers(nobody.address()).await, []);
    }
    assert_eq!(powers(town.guardian.address()).await, [Power::Guardian]);
    assert_eq!(powers(town.node.address()).await, [Power::Updater]);
    let own = [Power::Admin, Power::Disputes, Power::TimelockAdmin];
    assert_eq!(powers(at.timelock).await, own);
    assert_eq!(powers(at.governor).await, [Power::Proposer, Power::Canceller]);
    assert_eq!(powers(at.ballots).await, [Power::Proposer, Power::Canceller]);
    assert_eq!(powers(at.disputes).await, [Power::Disputes]);
    for (name, contract) in at.named() {
        let mighty = [at.timelock, at.governor, at.ballots, at.disputes].contains(&contract);
        assert_eq!(powers(contract).await.is_empty(), !mighty, "{name}");
    }
}

/// Every restricted function of every contract, with whoever but the timelock may call it.
fn restricted(town: &Town) -> Vec<(Address, Bytes, Option<&Key>)> {
    let at = *town.chain.contracts();
    let (who, id) = (Address::repeat_byte(1), B256::repeat_byte(2));
    let mut calls: Vec<(Address, Bytes, Option<&Key>)> = Vec::new();
    #[expect(clippy::needless_pass_by_value, reason = "calls are made where they are passed")]
    fn raw(call: impl SolCall) -> Bytes {
        call.abi_encode().into()
    }
    let guardian = Some(&town.guardian);
    let pausable = [
        at.datanets,
        at.contributions,
        at.grants,
        at.models,
        at.agents,
        at.attributions,
        at.escrow,
        at.distributor,
        at.staking,
        at.disputes,
    ];
    for target in pausable {
        calls.push((target, raw(AttributionLog::pauseCall { flags: 1 }), guardian));
        calls.push((target, raw(AttributionLog::unpauseCall { flags: 1 }), None));
    }
    for proxy in [at.datanets, at.contributions, at.grants, at.models, at.agents] {
        let call =
            DatanetRegistry::upgradeToAndCallCall { newImplementation: who, data: Bytes::new() };
        calls.push((proxy, raw(call), None));
    }
    let one = Uint::from(1);
    let split_ =
        FeePolicy::Split { platform: 500, model: 2_500, stakers: 1_000, contributors: 6_000 };
    let terms = ModelProposals::ModelTerms {
        minStake: 1,
        forfeitBps: 1,
        decisionPeriod: one,
        deploymentPeriod: one,
    };
    let rules_ = BallotBox::BallotRules {
        threshold: U256::ZERO,
        bond: 1,
        demandBond: 1,
        votingDelay: one,
        votingPeriod: one,
        submissionWindow: one,
        challengeWindow: one,
        answerWindow: one,
        quorumBps: 1,
        maxReplacements: 1,
    };
    let changed = Dispute::Terms {
        bond: Uint::from(1),
        defence: one,
        commit: one,
        reveal: one,
        appeal: one,
        ruling: one,
        quorumBps: 1,
        slashBps: 1,
        penalty: 1,
    };
    calls.extend([
        (at.fees, raw(FeePolicy::setSplitCall { split_ }), None),
        (at.fees, raw(FeePolicy::setAccountsCall { treasury_: who, stakingPool_: who }), None),
        (at.attributions, raw(AttributionLog::admitCall { node: who }), None),
        (at.attributions, raw(AttributionLog::expelCall { node: town.node.address() }), None),
        (at.attributions, raw(AttributionLog::setWindowCall { window_: one }), None),
        (at.attributions, raw(AttributionLog::holdCall { node: who, root: id }), None),
        (at.attributions, raw(AttributionLog::releaseCall { node: who, root: id }), None),
        (at.attributions, raw(AttributionLog::rejectCall { node: who, root: id }), None),
        (at.escrow, raw(InferenceEscrow::setWithdrawalDelayCall { delay: one }), None),
        (at.distributor, raw(RewardDistributor::vetoCall { index: U256::ZERO }), guardian),
        (at.distributor, raw(RewardDistributor::disableCall { index: U256::ZERO }), None),
        (at.distributor, raw(RewardDistributor::setActivationDelayCall { delay: one }), None),
        (
            at.distributor,
            raw(RewardDistributor::submitRootCall { root: id, body: id, total: 0 }),
            Some(&town.node),
        ),
        (
            at.contributions,
            raw(ContributionRegistry::revokeDisputedCall {
                datanet: id,
                contributor: who,
                root: id,
            }),
            None,
        ),
        (at.agents, raw(AgentRegistry::revokeCall { agent: id }), None),
        (at.agents, raw(AgentRegistry::setIdentityRegistryCall { registry: who }), None),
        (
            at.staking,
            raw(StakingContract::proposeSlashCall { role: 1, operator: who, bps: 1, evidence: id }),
            None,
        ),
        (at.staking, raw(StakingContract::vetoSlashCall { id: U256::ZERO }), guardian),
        (
            at.staking,
            raw(StakingContract::addPenaltyCall { role: 1, operator: who, points: 1 }),
            None,
        ),
        (at.staking, raw(StakingContract::forgiveCall { role: 1, operator: who, points: 1 }), None),
        (at.staking, raw(StakingContract::setRateCall { role: 1, rate: 1 }), None),
        (
            at.staking,
            raw(StakingContract::setTermsCall { role: 1, lock: one, cooldown: one }),
            None,
        ),
        (
            at.staking,
            raw(StakingContract::setCapsCall { role: 1, roleCap: 1, operatorCap: 1 }),
            None,
        ),
        (at.staking, raw(StakingContract::setSlashDelayCall { delay: one }), None),
        (at.staking, raw(StakingContract::setPenaltyRuleCall { threshold: 1, cut: 1 }), None),
        (at.disputes, raw(Dispute::setTermsCall { changed }), None),
        (at.disputes, raw(Dispute::ruleCall { id: U256::ZERO, upheld: true }), None),
        (at.ballots, raw(BallotBox::setRulesCall { rules_ }), None),
        (at.ballots, raw(BallotBox::cancelCall { id: U256::ZERO }), guardian),
        (at.model_proposals, raw(ModelProposals::setTermsCall { terms_: terms }), None),
        (at.model_proposals, raw(ModelProposals::approveCall { id }), None),
        (at.model_proposals, raw(ModelProposals::rejectCall { id }), None),
    ]);
    calls
}

/// Why a call from `from` would fail.
async fn refusal(chain: &EvmChain, from: Address, target: Address, call: Bytes) -> Option<Revert> {
    let request = TransactionRequest::default().with_from(from).with_to(target).with_input(call);
    let error = chain.provider().call(request).await.err()?;
    let data = error.as_error_resp().and_then(|error| error.as_revert_data());
    Some(Revert::decode(&data.expect("a revert has data")))
}

#[tokio::test]
async fn a_restricted_call_fails_for_everybody_but_the_timelock_and_the_role_it_is_given_to() {
    let town = Town::new().await;
    let at = *town.chain.contracts();
    let people = [
        &town.deployer,
        &town.treasury,
        &town.guardian,
        &town.node,
        &town.voters[0],
        &town.stranger,
    ];
    let unauthorized = |revert: Option<Revert>| {
        revert.is_some_and(|revert| revert.name() == "AccessManagedUnauthorized")
    };
    for (target, call, allowed) in restricted(&town) {
        let name = at.named().find(|(_, address)| *address == target).unwrap().0;
        for person in people {
            let may = allowed.is_some_and(|key| key.address() == person.address());
            let refused = refusal(&town.chain, person.address(), target, call.clone()).await;
            assert_eq!(unauthorized(refused.clone()), !may, "{name} {call}: {refused:?}");
        }
        for contract in [at.governor, at.ballots, at.staking, at.escrow, at.roles] {
            let refused = refusal(&town.chain, contract, target, call.clone()).await;
            assert!(unauthorized(refused.clone()), "{name} {call}: {refused:?}");
        }
        if allowed.is_none() {
            let refused = refusal(&town.chain, at.timelock, target, call.clone()).await;
            assert!(!unauthorized(refused.clone()), "{name} {call}: {refused:?}");
        }
    }
    // The timelock itself listens to itself, and takes work from the governor and the ballot box only.
    for person in people.iter().map(|key| key.address()).chain([at.staking]) {
        let call = OpenTimelock::updateDelayCall { newDelay: U256::ZERO }.abi_encode();
        let refused = refusal(&town.chain, person, at.timelock, call.into()).await.unwrap();
        assert_eq!(refused.name(), "TimelockUnauthorizedCaller");
        let call = OpenTimelock::scheduleCall {
            target: at.fees,
            value: U256::ZERO,
            data: Bytes::new(),
            predecessor: B256::ZERO,
            salt: B256::ZERO,
            delay: U256::from(30 * DAY),
        };
        let refused = refusal(&town.chain, person, at.timelock, call.abi_encode().into()).await;
        assert_eq!(refused.unwrap().name(), "AccessControlUnauthorizedAccount");
        let call = Roles::grantRoleCall { roleId: 0, account: person, executionDelay: 0 };
        let refused = refusal(&town.chain, person, at.roles, call.abi_encode().into()).await;
        assert_eq!(refused.unwrap().name(), "AccessManagerUnauthorizedAccount");
    }
}

#[test]
fn every_function_that_only_governance_may_call_is_among_those_tried() {
    // The sources say `restricted` on the line of a function or a few lines below it.
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/contracts/src");
    let mut named = std::collections::BTreeSet::new();
    let mut folders = vec![std::path::PathBuf::from(folder)];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                if !path.ends_with("bridge") {
                    folders.push(path); // bridges are deployed apart
                }
                continue;
            }
            let source = std::fs::read_to_string(&path).unwrap();
            for function in source.split("function ").skip(1) {
                let head = function.split(['{', ';']).next().unwrap();
                if head.split_whitespace().any(|word| word == "restricted") {
                    named.insert(head.split('(').next().unwrap().to_owned());
                }
            }
        }
    }
    let tried = [
        "_authorizeUpgrade",
        "addPenalty",
        "admit",
        "approve",
        "cancel",
        "disable",
        "expel",
        "forgive",
        "hold",
        "pause",
        "proposeSlash",
        "reject",
        "release",
        "revoke",
        "revokeDisputed",
        "rule",
        "setAccounts",
        "setActivationDelay",
        "setCaps",
        "setIdentityRegistry",
        "setPenaltyRule",
        "setRate",
        "setRules",
        "setSlashDelay",
        "setSplit",
        "setTerms",
        "setWindow",
        "setWithdrawalDelay",
        "submitRoot",
        "unpause",
        "veto",
        "vetoSlash",
    ];
    assert_eq!(named.iter().map(String::as_str).collect::<Vec<_>>(), tried);
}

/// What is under way and must not notice a change of parameters.
#[derive(Debug, PartialEq)]
struct UnderWay {
    root_activates_at: u64,
    batch_final_at: u64,
    withdrawal_available_at: u64,
    stake_locked_until: u64,
    exit_available_at: u64,
}

#[tokio::test]
async fn a_change_of_parameters_touches_nothing_that_is_pending() {
    let town = Town::under(GovernancePreset::genesis()).await;
    let at = *town.chain.contracts();
    let provider = town.chain.provider().clone();
    let (payer, node) = (town.chain.clone(), town.by(&town.node));
    let operator = town.node.address();
    let act = |target, call: Vec<u8>| Action { target, value: U256::ZERO, call: call.into() };
    let role = StakeRole::Validator;

    let year = 365 * DAY;
    let tenth = StakingContract::setRateCall { role: role as u8, rate: 100_000_000_000_000_000 };
    town.rule(at.staking, tenth, "a tenth a year").await.unwrap();
    payer.fund_growth(role, open(1_000)).await.unwrap();
    payer.deposit(open(100)).await.unwrap();
    let distributor = RewardDistributor::new(at.distributor, &provider);
    let token = OpenToken::new(at.token, &provider);
    let call = token.approve(at.distributor, open(50).units());
    payer.send("allow", call).await.unwrap();
    payer.send("fund", distributor.fund(open(50).units())).await.unwrap();

    let changes = Proposal {
        actions: vec![
            act(
                at.distributor,
                RewardDistributor::setActivationDelayCall { delay: Uint::from(5 * DAY) }
                    .abi_encode(),
            ),
            act(
                at.attributions,
                AttributionLog::setWindowCall { window_: Uint::from(4 * DAY) }.abi_encode(),
            ),
            act(
                at.escrow,
                InferenceEscrow::setWithdrawalDelayCall { delay: Uint::from(3 * DAY) }.abi_encode(),
            ),
            act(
                at.staking,
                StakingContract::setTermsCall {
                    role: role as u8,
                    lock: Uint::from(2 * DAY),
                    cooldown: Uint::from(6 * DAY),
                }
                .abi_encode(),
            ),
            act(
                at.staking,
                StakingContract::setRateCall { role: role as u8, rate: 0 }.abi_encode(),
            ),
        ],
        description: "all else".to_owned(),
    };
    town.queued(&changes).await;

    let (root, body) = (B256::repeat_byte(7), B256::repeat_byte(8));
    payer.stake(role, operator, open(100)).await.unwrap();
    let began = town.now().await;
    // The lock of a stake ends before a part of it can be taken out.
    town.pass(7 * DAY + 1).await;
    let exit = payer.unbond(role, operator, U256::from(1_000)).await.unwrap().value;
    let index = node.submit_root(root, body, open(10)).await.unwrap().value;
    let batch = Batch { epoch: 1, model: B256::ZERO, root, body, receipts: 1 };
    let name = node.log_batch(&batch).await.unwrap().value;
    payer.request_withdrawal(open(10)).await.unwrap();

    let staking = StakingContract::new(at.staking, &provider);
    let escrow = InferenceEscrow::new(at.escrow, &provider);
    let look = async |index: u64, name: BatchName, exit: u64| {
        let owner = payer.sender();
        let exits = staking.exitsOf(role as u8, operator, owner).call().await.unwrap();
        UnderWay {
            root_activates_at: payer.root(index).await.unwrap().activates_at,
            batch_final_at: payer.batch(name).await.unwrap().final_at,
            withdrawal_available_at: escrow
                .withdrawals(owner)
                .call()
                .await
                .unwrap()
                .availableAt
                .to(),
            stake_locked_until: staking
                .positions(role as u8, operator, owner)
                .call()
                .await
                .unwrap()
                .lockedUntil
                .to(),
            exit_available_at: exits[usize::try_from(exit).unwrap()].availableAt.to(),
        }
    };
    let before = look(index, name, exit).await;
    town.by(&town.stranger).execute(&changes).await.unwrap();
    assert_eq!(look(index, name, exit).await, before);

    // The stake grew at the old rate up to the change, and at the new one, none, from then on.
    let grown = (town.now().await - began) as f64 / year as f64 * 0.1;
    let (_, worth) = payer.position(role, operator, payer.sender()).await.unwrap();
    let units = |amount: Amount| amount.units().to::<u128>() as f64;
    let expected = units(open(100)) * grown.exp();
    assert!((units(worth) / expected - 1.0).abs() < 1e-9, "{worth} is not {expected}");
    town.pass(30 * DAY).await;
    assert_eq!(payer.position(role, operator, payer.sender()).await.unwrap().1, worth);

    // What begins now is under what was decided.
    let log = AttributionLog::new(at.attributions, &provider);
    payer.send("sync", log.sync(operator)).await.unwrap();
    payer.stake(role, operator, open(1)).await.unwrap();
    let staked = town.now().await;
    let next = node.submit_root(root, body, open(20)).await.unwrap().value;
    let submitted = town.now().await;
    let name = node.log_batch(&Batch { root: body, ..batch }).await.unwrap().value;
    let logged = town.now().await;
    payer.request_withdrawal(open(20)).await.unwrap();
    let asked = town.now().await;
    let after = look(next, name, exit).await;
    assert_eq!(after.root_activates_at, submitted + 5 * DAY);
    assert_eq!(after.batch_final_at, logged + 4 * DAY);
    assert_eq!(after.withdrawal_available_at, asked + 3 * DAY);
    assert_eq!(after.stake_locked_until, staked + 2 * DAY);
    assert_eq!(payer.root(index).await.unwrap().activates_at, before.root_activates_at);
    assert_eq!(after.exit_available_at, before.exit_available_at);
}

/// Proposes a model under a stake of 1,000 OPEN of the first voter's.
async fn propose_model(town: &Town, metadata: B256) -> B256 {
    let (voter, at) = (town.by(&town.voters[0]), *town.chain.contracts());
    town.chain.transfer(voter.sender(), open(1_000)).await.unwrap();
    let token = OpenToken::new(at.token, voter.provider());
    let call = token.approve(at.model_proposals, open(1_000).units());
    voter.send("allow", call).await.unwrap();
    let proposals = ModelProposals::new(at.model_proposals, voter.provider());
    let stake = open(1_000).units().to();
    let call = proposals.propose(metadata, B256::ZERO, stake);
    voter.send_for("propose a model", call).await.unwrap().value
}

#[tokio::test]
async fn a_model_that_was_approved_and_came_gives_its_whole_stake_back() {
    let town = Town::new().await;
    let (voter, at) = (town.by(&town.voters[0]), *town.chain.contracts());
    let proposals = ModelProposals::new(at.model_proposals, voter.provider());
    let id = propose_model(&town, B256::repeat_byte(1)).await;
    assert_eq!(voter.balance(voter.sender()).await.unwrap(), Amount::ZERO);
    let model = B256::repeat_byte(0x40);
    let deploy = async |by: &EvmChain| by.send("deploy", proposals.deploy_call(id, model)).await;
    assert_denied(deploy(&voter).await, "ProposalNotIn");

    town.rule(at.model_proposals, ModelProposals::approveCall { id }, "build it").await.unwrap();
    assert_denied(deploy(&voter).await, "ModelUnknown");
    let entry = ModelEntry {
        model,
        parent: B256::repeat_byte(0x41), // somebody else's base model
        record: B256::ZERO,
        datanets: Vec::new(),
        price: Price::default(),
    };
    voter.register(&entry).await.unwrap();
    assert_denied(deploy(&town.by(&town.stranger)).await, "NotProposer");
    deploy(&voter).await.unwrap();
    assert_eq!(voter.balance(voter.sender()).await.unwrap(), open(1_000));
    assert_denied(deploy(&voter).await, "ProposalNotIn");
}

#[tokio::test]
async fn a_model_that_was_rejected_or_never_came_loses_a_tenth_of_its_stake_and_an_undecided_one_none()
 {
    let town = Town::new().await;
    let (voter, at) = (town.by(&town.voters[0]), *town.chain.contracts());
    let proposals = ModelProposals::new(at.model_proposals, voter.provider());
    let lapse = async |id| voter.send("lapse", proposals.lapse(id)).await;
    let balance = async || voter.balance(voter.sender()).await.unwrap();
    let treasury = async || voter.balance(town.treasury.address()).await.unwrap();

    let id = propose_model(&town, B256::repeat_byte(1)).await;
    let before = treasury().await;
    town.rule(at.model_proposals, ModelProposals::rejectCall { id }, "no").await.unwrap();
    assert_eq!(balance().await, open(900));
    assert_eq!(treasury().await, [before, open(100)].into_iter().sum());

    let id = propose_model(&town, B256::repeat_byte(2)).await;
    town.rule(at.model_proposals, ModelProposals::approveCall { id }, "yes").await.unwrap();
    assert_denied(lapse(id).await, "ProposalNotOverdue");
    town.pass(90 * DAY).await;
    lapse(id).await.unwrap();
    assert_eq!(balance().await, open(1_800));

    let id = propose_model(&town, B256::repeat_byte(3)).await;
    assert_denied(lapse(id).await, "ProposalNotOverdue");
    town.pass(60 * DAY).await;
    lapse(id).await.unwrap();
    assert_eq!(balance().await, open(2_800));
}
