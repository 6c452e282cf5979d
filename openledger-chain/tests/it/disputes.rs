//! Disputes: who challenges, who judges, who pays, and what becomes of the batch.

use openledger_chain::{
    Action, Attributions, Batch, BatchName, Charge, Choice, ContributionName, ContributionStatus,
    DatanetEntry, DisputeTerms, Disputes, Governance, GovernancePreset, Ground, Offer, Payments,
    Phase, Proposal, ProposalState, Registry, StakeRole, Staking, Verdict,
    abi::{dispute::Dispute, staking::Staking as StakingContract},
    alloy::{primitives::Uint, sol_types::SolCall},
    ballots::Support,
};
use openledger_core::{B256, ReceiptId, U256, merkle::StandardTree};

use crate::{
    assert_denied, open,
    stage::{
        DELAY,
        Person::{self, Alice, Bob, Carol, Dave, Erin, Node, Treasury},
        Stage, address, amount, units,
    },
};

const DAY: u64 = 24 * 3_600;
/// Each of a dispute's windows but that of governance.
const STEP: u64 = 2 * DAY;
const EVIDENCE: B256 = B256::repeat_byte(0xee);

/// A batch of the node's that is not final, and three validators: Carol with 60 OPEN, Dave with 30,
/// Erin with 10. Bob has money reserved for the node.
struct Court {
    stage: Stage,
    batch: BatchName,
    tree: StandardTree<(B256,)>,
}

impl Court {
    async fn new() -> Self {
        Self::with_bond(DisputeTerms::default().bond).await
    }

    async fn with_bond(bond: openledger_core::Amount) -> Self {
        let terms = DisputeTerms::default().with_bond(bond);
        let stage = Stage::with(|options| options.with_disputes(terms)).await;
        for (validator, opens) in [(Carol, 60), (Dave, 30), (Erin, 10)] {
            let role = StakeRole::Validator;
            stage.of(validator).stake(role, address(validator), open(opens)).await.unwrap();
        }
        let (node, bob) = (stage.of(Node), stage.of(Bob));
        node.stake(StakeRole::Agent, address(Node), open(1_000)).await.unwrap();
        bob.deposit(open(50)).await.unwrap();
        let later = stage.now().await + 300 * DAY;
        bob.authorize(address(Node), open(50), later).await.unwrap();
        let receipts = (1..=5).map(|byte| (B256::repeat_byte(byte),)).collect();
        let tree = StandardTree::new(receipts).unwrap();
        let (root, model, body) = (tree.root(), B256::ZERO, B256::repeat_byte(0xbd));
        let batch = Batch { epoch: 1, model, root, body, receipts: 5 };
        let batch = node.log_batch(&batch).await.unwrap().value;
        Self { stage, batch, tree }
    }

    /// Alice disputes the third receipt.
    async fn challenge(&self) -> u64 {
        let (receipt, proof) = (ReceiptId::from(B256::repeat_byte(3)), self.tree.proof(2));
        let alice = self.stage.of(Alice);
        alice.dispute_receipt(self.batch, receipt, &proof, EVIDENCE).await.unwrap().value
    }

    /// Goes through the vote: each validator's word, or nothing from who keeps silent.
    async fn vote(&self, case: u64, words: &[(Person, bool)]) -> Verdict {
        self.until(case, Phase::Commit).await;
        for (validator, upheld) in words {
            self.stage.of(*validator).commit(case, &choice(*validator, *upheld)).await.unwrap();
        }
        self.until(case, Phase::Reveal).await;
        for (validator, upheld) in words {
            let (voter, choice) = (address(*validator), choice(*validator, *upheld));
            self.stage.chain.reveal(case, voter, &choice).await.unwrap();
        }
        self.until(case, Phase::Tally).await;
        self.stage.chain.tally(case).await.unwrap();
        self.stage.chain.case(case).await.unwrap().verdict
    }

    /// Lets time pass until a case is in a phase that time leads to.
    async fn until(&self, case: u64, phase: Phase) {
        for _ in 0..60 {
            if self.phase(case).await == phase {
                return;
            }
            self.stage.pass(DAY / 2).await;
        }
        panic!("never {phase:?}");
    }

    async fn phase(&self, case: u64) -> Phase {
        self.stage.chain.case(case).await.unwrap().phase
    }

    async fn finalise(&self, case: u64) {
        self.until(case, Phase::Decided).await;
        self.stage.chain.finalise(case).await.unwrap();
        assert_eq!(self.phase(case).await, Phase::Closed);
    }

    /// What the node tries, and may when the batch is final.
    async fn settle(&self) -> openledger_core::Result<u128> {
        let charges = [Charge { payer: address(Bob), amount: open(20) }];
        let settled = self.stage.of(Node).settle(self.batch.root, &charges).await?;
        Ok(units(settled.value))
    }

    /// What an account is paid out now, in all.
    async fn paid(&self, person: Person) -> u128 {
        match self.stage.chain.withdraw_credit(address(person)).await {
            Ok(paid) => units(paid.value),
            Err(error) => {
                assert_denied::<()>(Err(error), "NothingToWithdraw");
                0
            }
        }
    }

    async fn part(&self, case: u64, voter: Person) -> u128 {
        units(self.stage.chain.claim_part(case, address(voter)).await.unwrap().value)
    }

    async fn held_by_disputes(&self) -> u128 {
        self.stage.balance(self.stage.chain.contracts().disputes).await
    }
}

fn choice(person: Person, upheld: bool) -> Choice {
    Choice { upheld, salt: B256::repeat_byte(0x50 + person as u8) }
}

#[tokio::test]
async fn a_batch_is_held_while_it_is_disputed_and_settled_when_the_challenge_fails() {
    let court = Court::new().await;
    let case = court.challenge().await;
    court.stage.pass(DELAY).await;
    assert_denied(court.settle().await, "BatchNotFinal");
    let status = court.stage.chain.batch(court.batch).await.unwrap();
    assert_eq!((status.open_challenges, status.rejected), (1, false));
    let verdict = court.vote(case, &[(Carol, false), (Dave, true)]).await;
    assert_eq!(verdict, Verdict::Dismissed);
    assert_denied(court.settle().await, "BatchNotFinal");
    court.finalise(case).await;
    assert_eq!(court.settle().await.unwrap(), units(open(20)));
    assert_denied(court.settle().await, "BatchSettled");
}

#[tokio::test]
async fn a_batch_whose_challenge_is_upheld_is_never_settled_and_its_node_pays() {
    let court = Court::new().await;
    let case = court.challenge().await;
    assert_eq!(court.vote(case, &[(Carol, true), (Dave, false)]).await, Verdict::Upheld);
    court.finalise(case).await;
    let status = court.stage.chain.batch(court.batch).await.unwrap();
    assert!(status.rejected && !status.is_final(u64::MAX));
    for _ in 0..2 {
        assert_denied(court.settle().await, "BatchNotFinal");
        court.stage.pass(100 * DAY).await;
    }
    let node = address(Node);
    let stake = court.stage.chain.stake_of(StakeRole::Agent, node).await.unwrap();
    assert_eq!((stake.penalty, stake.pending_slashes), (10, 1));
    court.stage.chain.execute_slash(0).await.unwrap();
    let stake = court.stage.chain.stake_of(StakeRole::Agent, node).await.unwrap();
    assert_eq!(units(stake.active), units(open(900)), "a tenth, as the terms say");
    let again = court.stage.of(Alice);
    let (receipt, proof) = (ReceiptId::from(B256::repeat_byte(4)), court.tree.proof(3));
    let again = again.dispute_receipt(court.batch, receipt, &proof, EVIDENCE).await;
    assert_denied(again, "BatchIsRejected");
}

#[tokio::test]
async fn two_challenges_of_a_batch_must_both_fail_before_it_is_settled() {
    let court = Court::new().await;
    let first = court.challenge().await;
    let (bob, proof) = (court.stage.of(Bob), court.tree.proof(1));
    let receipt = ReceiptId::from(B256::repeat_byte(2));
    let second = bob.dispute_receipt(court.batch, receipt, &proof, EVIDENCE).await.unwrap().value;
    assert_eq!([first, second], [0, 1]);
    assert_eq!(court.stage.chain.batch(court.batch).await.unwrap().open_challenges, 2);
    court.vote(first, &[(Carol, false)]).await;
    court.stage.chain.tally(second).await.unwrap();
    court.until(first, Phase::Decided).await;
    court.stage.chain.finalise(first).await.unwrap();
    assert_denied(court.settle().await, "BatchNotFinal");
    court.finalise(second).await;
    court.settle().await.unwrap();
}

#[tokio::test]
async fn only_a_receipt_of_a_batch_that_is_not_final_is_disputed_and_once_at_a_time() {
    let court = Court::new().await;
    let (alice, receipt) = (court.stage.of(Alice), ReceiptId::from(B256::repeat_byte(3)));
    let (wrong, right) = (court.tree.proof(1), court.tree.proof(2));
    let unknown = alice.dispute_receipt(court.batch, receipt, &wrong, EVIDENCE).await;
    assert_denied(unknown, "ReceiptUnknown");
    let node = court.stage.of(Node);
    let own = node.dispute_receipt(court.batch, receipt, &right, EVIDENCE).await;
    assert_denied(own, "SelfChallenge");
    court.challenge().await;
    let bob = court.stage.of(Bob);
    let twice = bob.dispute_receipt(court.batch, receipt, &right, EVIDENCE).await;
    assert_denied(twice, "AlreadyOpen");

    let late = Court::new().await;
    late.stage.pass(DELAY).await;
    let late = late.stage.of(Alice).dispute_receipt(late.batch, receipt, &right, EVIDENCE).await;
    assert_denied(late, "BatchFinal");
}

#[tokio::test]
async fn a_vote_is_hidden_until_it_is_revealed_and_then_it_is_what_was_committed_to() {
    let court = Court::new().await;
    let case = court.challenge().await;
    let carol = court.stage.of(Carol);
    let hers = choice(Carol, true);
    assert_denied(carol.commit(case, &hers).await, "WrongPhase");
    court.until(case, Phase::Commit).await;
    let committed = carol.commit(case, &hers).await.unwrap();
    // All the world sees is her name and a hash.
    let log = &committed.tx.logs[0];
    let disputes = Dispute::new(court.stage.chain.contracts().disputes, carol.provider());
    let bound = disputes.commitmentOf(U256::from(case), address(Carol), true, hers.salt);
    let commitment = bound.call().await.unwrap();
    assert_eq!(log.data.as_ref(), commitment.as_slice());
    assert_denied(carol.commit(case, &choice(Carol, false)).await, "AlreadyCommitted");
    // Dave commits to the same hash, whatever it hides.
    let copied = disputes.commit(U256::from(case), commitment).from(address(Dave));
    copied.send().await.unwrap().get_receipt().await.unwrap();

    assert_denied(carol.reveal(case, address(Carol), &hers).await, "WrongPhase");
    court.until(case, Phase::Reveal).await;
    assert_denied(court.stage.of(Erin).commit(case, &choice(Erin, true)).await, "WrongPhase");
    let changed = carol.reveal(case, address(Carol), &Choice { upheld: false, ..hers }).await;
    assert_denied(changed, "CommitmentUnmatched");
    // Whoever knows the salt may bring her word, but it is hers.
    court.stage.of(Node).reveal(case, address(Carol), &hers).await.unwrap();
    assert_denied(carol.reveal(case, address(Carol), &hers).await, "AlreadyRevealed");
    let copy = court.stage.of(Dave).reveal(case, address(Dave), &hers).await;
    assert_denied(copy, "CommitmentUnmatched");
    assert_denied(
        court.stage.of(Erin).reveal(case, address(Erin), &choice(Erin, true)).await,
        "CommitmentUnmatched",
    );
}

#[tokio::test]
async fn stake_decides_and_not_heads() {
    let court = Court::new().await;
    let case = court.challenge().await;
    let words = [(Carol, true), (Dave, false), (Erin, false)];
    assert_eq!(court.vote(case, &words).await, Verdict::Upheld, "60 against 40");
}

#[tokio::test]
async fn a_tie_is_undecided() {
    let court = Court::new().await;
    // Thirty more behind Dave: sixty against sixty.
    let (role, dave) = (StakeRole::Validator, address(Dave));
    court.stage.of(Bob).stake(role, dave, open(30)).await.unwrap();
    court.stage.pass(1).await;
    let case = court.challenge().await;
    let verdict = court.vote(case, &[(Carol, true), (Dave, false)]).await;
    assert_eq!(verdict, Verdict::Undecided, "a delegation votes with its operator");
}

#[tokio::test]
async fn those_who_judge_have_stake_from_before_and_are_no_party() {
    let court = Court::new().await;
    let role = StakeRole::Validator;
    court.stage.of(Alice).stake(role, address(Alice), open(1_000)).await.unwrap();
    court.stage.of(Node).stake(role, address(Node), open(1_000)).await.unwrap();
    let case = court.challenge().await;
    court.stage.of(Bob).stake(role, address(Bob), open(1_000)).await.unwrap();
    court.until(case, Phase::Commit).await;
    for (person, reason) in
        [(Alice, "PartyVotes"), (Node, "PartyVotes"), (Bob, "NoWeight"), (Treasury, "NoWeight")]
    {
        let vote = court.stage.of(person).commit(case, &choice(person, true)).await;
        assert_denied(vote, reason);
    }
}

#[tokio::test]
async fn the_losers_bond_is_split_between_winner_and_those_who_were_right_to_the_unit() {
    // An odd number of units, so that every division has a remainder.
    let court = Court::with_bond(amount(1_001)).await;
    let case = court.challenge().await;
    assert_denied(court.stage.of(Bob).defend(case).await, "NotAccused");
    court.stage.of(Node).defend(case).await.unwrap();
    assert_denied(court.stage.of(Node).defend(case).await, "AlreadyDefended");
    assert_eq!(court.held_by_disputes().await, 2_002);
    let words = [(Carol, true), (Dave, false), (Erin, true)];
    assert_eq!(court.vote(case, &words).await, Verdict::Upheld);
    court.finalise(case).await;

    // The winner has its own bond back and the smaller half of the other's.
    assert_eq!(court.paid(Alice).await, 1_001 + 500);
    assert_eq!(court.paid(Node).await, 0);
    // Of the 501 that are left, 60 parts to Carol and 10 to Erin.
    let early = court.stage.chain.claim_part(case, address(Dave)).await;
    assert_denied(early, "NothingToClaim");
    let parts = [court.part(case, Erin).await, court.part(case, Carol).await];
    assert_eq!(parts.iter().sum::<u128>(), 501, "nothing is lost");
    assert_eq!(parts, [501 - 501 * 60 / 70, 501 * 60 / 70]);
    let again = court.stage.chain.claim_part(case, address(Carol)).await;
    assert_denied(again, "NothingToClaim");
    assert_eq!([court.paid(Carol).await, court.paid(Erin).await], [parts[1], parts[0]]);
    assert_eq!(court.held_by_disputes().await, 0);
}

#[tokio::test]
async fn a_challenger_who_is_wrong_pays_the_node_it_accused() {
    let court = Court::with_bond(amount(99)).await;
    let case = court.challenge().await;
    assert_eq!(court.vote(case, &[(Dave, false)]).await, Verdict::Dismissed);
    court.finalise(case).await;
    assert_eq!(court.paid(Alice).await, 0);
    assert_eq!(court.paid(Node).await, 49, "though it put nothing down");
    assert_eq!(court.part(case, Dave).await, 50);
    let stake = court.stage.chain.stake_of(StakeRole::Agent, address(Node)).await.unwrap();
    assert_eq!((stake.penalty, stake.pending_slashes), (0, 0));
}

#[tokio::test]
async fn who_does_not_reveal_did_not_vote() {
    let court = Court::new().await;
    let case = court.challenge().await;
    court.stage.of(Node).defend(case).await.unwrap();
    court.until(case, Phase::Commit).await;
    for validator in [Carol, Dave, Erin] {
        court.stage.of(validator).commit(case, &choice(validator, true)).await.unwrap();
    }
    court.until(case, Phase::Reveal).await;
    court.stage.of(Erin).reveal(case, address(Erin), &choice(Erin, true)).await.unwrap();
    court.until(case, Phase::Tally).await;
    let late = court.stage.of(Carol).reveal(case, address(Carol), &choice(Carol, true)).await;
    assert_denied(late, "WrongPhase");
    court.stage.chain.tally(case).await.unwrap();
    let verdict = court.stage.chain.case(case).await.unwrap().verdict;
    assert_eq!(verdict, Verdict::Undecided, "a tenth of the stake is under the quorum");
    court.finalise(case).await;
    for validator in [Carol, Erin] {
        let part = court.stage.chain.claim_part(case, address(validator)).await;
        assert_denied(part, "NothingToClaim");
    }
    let bond = units(open(100));
    assert_eq!([court.paid(Alice).await, court.paid(Node).await], [bond, bond]);
    court.settle().await.unwrap();
}

#[tokio::test]
async fn a_case_keeps_the_terms_it_was_opened_with() {
    let court = Court::with_bond(amount(500)).await;
    let case = court.challenge().await;
    let disputes = court.stage.chain.contracts().disputes;
    let window = Uint::from(DAY);
    let changed = Dispute::setTermsCall {
        changed: Dispute::Terms {
            bond: Uint::from(7),
            defence: window,
            commit: window,
            reveal: window,
            appeal: window,
            ruling: window,
            quorumBps: 10_000,
            slashBps: 0,
            penalty: 0,
        },
    };
    court.stage.govern(disputes, changed).await;
    let status = court.stage.chain.case(case).await.unwrap();
    assert_eq!((units(status.bond), &status.windows[..4]), (500, &[STEP; 4][..]));
    court.stage.of(Node).defend(case).await.unwrap();
    assert_eq!(court.held_by_disputes().await, 1_000);
    court.stage.pass(DAY).await;
    assert_eq!(court.phase(case).await, Phase::Defence);
    assert_eq!(court.vote(case, &[(Carol, true)]).await, Verdict::Upheld, "by the quorum of then");
    court.stage.of(Node).appeal(case).await.unwrap();
    assert_eq!(court.held_by_disputes().await, 2_000, "two bonds of the case's");
    court.finalise(case).await;
    let stake = court.stage.chain.stake_of(StakeRole::Agent, address(Node)).await.unwrap();
    assert_eq!((stake.penalty, stake.pending_slashes), (10, 1));
}

#[tokio::test]
async fn only_a_party_that_has_not_won_appeals_and_not_too_late() {
    let court = Court::new().await;
    let case = court.challenge().await;
    court.vote(case, &[(Carol, true)]).await;
    assert_denied(court.stage.of(Bob).appeal(case).await, "NotParty");
    assert_denied(court.stage.of(Alice).appeal(case).await, "AppealByWinner");
    court.stage.pass(STEP).await;
    assert_denied(court.stage.of(Node).appeal(case).await, "WrongPhase");
}

#[tokio::test]
async fn an_appeal_nobody_rules_on_ends_as_the_vote_did() {
    let court = Court::with_bond(amount(100)).await;
    let case = court.challenge().await;
    assert_eq!(court.vote(case, &[(Carol, false)]).await, Verdict::Dismissed);
    court.stage.of(Alice).appeal(case).await.unwrap();
    assert_eq!(court.phase(case).await, Phase::Ruling);
    assert_denied(court.stage.chain.finalise(case).await, "WrongPhase");
    court.finalise(case).await;
    assert_eq!(court.stage.chain.case(case).await.unwrap().verdict, Verdict::Dismissed);
    assert_eq!([court.paid(Node).await, court.part(case, Carol).await], [150, 150]);
}

#[tokio::test]
async fn governance_as_it_is_deployed_can_overrule_the_validators_in_time() {
    let court = Court::with_bond(amount(100)).await;
    court.stage.chain.lock_votes(open(50_000), address(Treasury)).await.unwrap();
    let case = court.challenge().await;
    assert_eq!(court.vote(case, &[(Carol, false), (Erin, true)]).await, Verdict::Dismissed);
    let alice = court.stage.of(Alice);
    alice.appeal(case).await.unwrap();
    let disputes = court.stage.chain.contracts().disputes;
    let call = Dispute::ruleCall { id: U256::from(case), upheld: true };
    let action = Action { target: disputes, value: U256::ZERO, call: call.abi_encode().into() };
    let description = "The shares of case 0 are wrong".to_owned();
    let proposal = Proposal { actions: vec![action], description };

    let chain = &court.stage.chain;
    let preset = GovernancePreset::current();
    let id = chain.propose(&proposal).await.unwrap().value;
    court.stage.pass(preset.voting_delay + 1).await;
    chain.vote(id, Support::For).await.unwrap();
    court.stage.pass(preset.voting_period).await;
    chain.queue(&proposal).await.unwrap();
    court.stage.pass(preset.timelock).await;
    chain.execute(&proposal).await.unwrap();
    assert_eq!(chain.state(id).await.unwrap(), ProposalState::Executed);

    let status = chain.case(case).await.unwrap();
    assert_eq!((status.phase, status.verdict), (Phase::Closed, Verdict::Upheld));
    assert!(chain.batch(court.batch).await.unwrap().rejected);
    // The node had put nothing down, so there is nothing to divide; the appeal's bond comes back.
    assert_eq!(court.paid(Alice).await, 300);
    assert_eq!(court.held_by_disputes().await, 0);
}

#[tokio::test]
async fn the_accused_cannot_leave_before_the_verdict() {
    let court = Court::new().await;
    let staking =
        StakingContract::new(court.stage.chain.contracts().staking, court.stage.chain.provider());
    let case = court.challenge().await;
    let longest: u64 = court.stage.chain.case(case).await.unwrap().windows.iter().sum();
    for role in [StakeRole::Contributor, StakeRole::Agent] {
        let terms = staking.terms(role as u8).call().await.unwrap();
        assert!(terms.cooldown.to::<u64>() > longest, "{role:?} has {} s", terms.cooldown);
    }
    for preset in [GovernancePreset::current(), GovernancePreset::genesis()] {
        let GovernancePreset { voting_delay, voting_period, extension, timelock, .. } = preset;
        let needed = voting_delay + voting_period + extension + timelock;
        let ruling = DisputeTerms::default().windows[4];
        assert!(needed < ruling, "governance needs {needed} s to rule and has {ruling} s");
    }
}

#[tokio::test]
async fn a_contribution_that_loses_a_dispute_is_revoked_for_good_and_its_contributor_punished() {
    let court = Court::new().await;
    let (stage, owner) = (&court.stage, court.stage.of(Dave));
    let entry = DatanetEntry::new("bread", B256::repeat_byte(9));
    let datanet = owner.create_datanet(&entry).await.unwrap().value;
    let bob = stage.of(Bob);
    let role = StakeRole::Contributor;
    bob.stake(role, address(Bob), open(100)).await.unwrap();
    let root = B256::repeat_byte(0x11);
    let offer = Offer { datanet, root, rows: 40, da: B256::repeat_byte(0xda) };
    bob.contribute(&offer).await.unwrap();
    let name = ContributionName { datanet, contributor: address(Bob), root };
    owner.decide(&name, true).await.unwrap();

    let alice = stage.of(Alice);
    let other = ContributionName { contributor: address(Carol), ..name };
    let unknown = alice.dispute_contribution(&other, Ground::Biased, EVIDENCE).await;
    assert_denied(unknown, "ContributionUnknown");
    let opened = alice.dispute_contribution(&name, Ground::Adversarial, EVIDENCE).await.unwrap();
    let case = opened.value;
    let status = stage.chain.case(case).await.unwrap();
    assert_eq!((status.challenger, status.accused), (address(Alice), address(Bob)));
    assert_eq!(court.vote(case, &[(Carol, true)]).await, Verdict::Upheld);
    let status = stage.chain.contribution(&name).await.unwrap();
    assert_eq!(status, ContributionStatus::Accepted, "until the case is closed");
    court.finalise(case).await;
    assert_eq!(stage.chain.contribution(&name).await.unwrap(), ContributionStatus::Revoked);
    assert_denied(bob.contribute(&offer).await, "ContributionExists");
    assert_denied(owner.decide(&name, true).await, "ContributionNotPending");
    let stake = stage.chain.stake_of(role, address(Bob)).await.unwrap();
    assert_eq!((stake.penalty, stake.pending_slashes), (10, 1));
    stage.pass(STEP).await;
    stage.chain.execute_slash(0).await.unwrap();
    let stake = stage.chain.stake_of(role, address(Bob)).await.unwrap();
    assert_eq!(units(stake.active), units(open(90)));
}

#[tokio::test]
async fn a_contribution_that_is_cleared_stays() {
    let court = Court::new().await;
    let (bob, datanet) = (court.stage.of(Bob), B256::repeat_byte(1).into());
    let root = B256::repeat_byte(0x11);
    bob.contribute(&Offer { datanet, root, rows: 1, da: B256::ZERO }).await.unwrap();
    let name = ContributionName { datanet, contributor: address(Bob), root };
    let alice = court.stage.of(Alice);
    let opened = alice.dispute_contribution(&name, Ground::Redundant, EVIDENCE).await.unwrap();
    assert_eq!(court.vote(opened.value, &[(Carol, false)]).await, Verdict::Dismissed);
    court.finalise(opened.value).await;
    let status = court.stage.chain.contribution(&name).await.unwrap();
    assert_eq!(status, ContributionStatus::Pending);
}
