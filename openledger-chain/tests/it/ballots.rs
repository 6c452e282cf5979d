//! Votes off chain: signed, gathered, counted, submitted under a bond, challenged.

use std::collections::BTreeMap;

use openledger_chain::{
    EvmChain, Governance, Proposal, SignedVote,
    abi::{open_governor::OpenGovernor, open_timelock::OpenTimelock},
    alloy::providers::Provider,
    ballots::{
        Ballot, BallotBox, Ballots, CountedBallot, Fate, Fault, PollState, SignedBallot, Support,
        Tally, Totals,
    },
};
use openledger_core::{
    Address, Amount, B256, ErrorKind, Key, U256, keccak256,
    message::{Domain, Signature},
};
use proptest::{
    prelude::*,
    sample::{Index, select},
    test_runner::{Config, TestRunner},
};

use crate::{
    assert_denied, open,
    town::{DAY, Town},
};

/// A poll whose ballots are signed and counted, at the moment when tallies begin.
struct Poll {
    town: Town,
    proposal: Proposal,
    id: U256,
    domain: Domain,
    /// By ascending address, as ballots are counted.
    voters: Vec<Key>,
    weights: BTreeMap<Address, U256>,
    honest: Tally,
}

/// Bonds of tallies and of demands.
const BOND: u64 = 1_000;
const DEMAND_BOND: u64 = 10;
/// Seconds to challenge a tally, and to answer a demand.
const WINDOW: u64 = 3 * DAY;
const ANSWER: u64 = DAY;

impl Poll {
    async fn closed() -> Self {
        let town = Town::new().await;
        // Others with votes, and one who has some and does not use them.
        for key in [&town.stranger, &town.deployer, &town.node] {
            town.by(key).lock_votes(open(50_000), key.address()).await.unwrap();
        }
        town.chain.lock_votes(open(300_000), town.treasury.address()).await.unwrap();
        for key in [&town.node, &town.guardian] {
            town.chain.transfer(key.address(), open(10_000)).await.unwrap();
        }
        let timelock = town.chain.contracts().timelock;
        let call = OpenTimelock::updateDelayCall { newDelay: U256::from(3 * DAY) };
        let proposal = Proposal::call(timelock, &call, "a shorter timelock");
        let id = town.by(&town.voters[0]).open_poll(&proposal).await.unwrap().value;
        assert_eq!(town.chain.poll(id).await.unwrap().state, PollState::Pending);
        town.pass(DAY + 1).await;
        assert_eq!(town.chain.poll(id).await.unwrap().state, PollState::Voting);

        let mut voters: Vec<Key> = town.voters.to_vec();
        voters.extend([&town.stranger, &town.deployer, &town.node].map(Key::clone));
        voters.sort_by_key(Key::address);
        let domain = town.chain.ballot_domain();
        let mut gathered = BallotBox::new(domain, id);
        for voter in &voters {
            gathered.add(signed(&domain, id, voter, side(&town, voter))).unwrap();
        }
        let addresses: Vec<Address> = gathered.voters().collect();
        let weights = town.chain.weights(id, &addresses).await.unwrap();
        let honest = gathered.count(&weights).unwrap();
        town.reach(town.chain.poll(id).await.unwrap().deadline).await;
        Self { town, proposal, id, domain, voters, weights, honest }
    }

    fn submitter(&self) -> EvmChain {
        self.town.by(&self.town.node)
    }

    fn watcher(&self) -> EvmChain {
        self.town.by(&self.town.guardian)
    }

    async fn submit(&self, tally: &Tally) -> u64 {
        self.submitter().submit_tally(self.id, tally).await.unwrap().value
    }

    async fn fate(&self, number: u64) -> Fate {
        self.town.chain.tally(number).await.unwrap().fate
    }

    async fn state(&self) -> PollState {
        self.town.chain.poll(self.id).await.unwrap().state
    }

    fn faults(&self, tally: &Tally) -> Vec<Fault> {
        tally.faults(&self.domain, self.id, &self.weights)
    }
}

fn signed(domain: &Domain, proposal: U256, voter: &Key, support: Support) -> SignedBallot {
    let (voter_address, reason) = (voter.address(), keccak256("because"));
    let ballot = Ballot { proposal, voter: voter_address, support, reason };
    ballot.sign(domain, voter).unwrap()
}

/// 400,000 for, 250,000 against, 100,000 neither.
fn side(town: &Town, voter: &Key) -> Support {
    let is = |other: &Key| voter.address() == other.address();
    match () {
        () if is(&town.voters[1]) || is(&town.node) => Support::Against,
        () if is(&town.voters[2]) => Support::Abstain,
        () => Support::For,
    }
}

fn sum(balance: Amount, more: u64) -> Amount {
    [balance, open(more)].into_iter().sum()
}

#[tokio::test]
async fn ballots_that_cost_their_voters_nothing_decide_what_the_timelock_does() {
    let poll = Poll::closed().await;
    let (town, stranger) = (&poll.town, poll.town.by(&poll.town.stranger));
    let totals = Totals {
        for_votes: open(400_000).units(),
        against: open(250_000).units(),
        abstain: open(100_000).units(),
    };
    assert_eq!(poll.honest.totals(), totals);
    let before = poll.submitter().balance(town.node.address()).await.unwrap();
    let number = poll.submit(&poll.honest).await;
    let submitted = town.chain.tally(number).await.unwrap();
    assert_eq!(submitted.root, poll.honest.root(), "the tree is the contract's");
    assert_eq!((submitted.count, submitted.claimed), (6, totals));
    assert_eq!(submitted.submitter, town.node.address());
    assert_eq!(poll.state().await, PollState::Tallying);
    assert_denied(stranger.queue_poll(&poll.proposal).await, "TallyNotFinal");
    assert_denied(stranger.withdraw_bond(number).await, "TallyNotFinal");

    town.reach(submitted.settles_at).await;
    assert_eq!(poll.state().await, PollState::Succeeded);
    stranger.withdraw_bond(number).await.unwrap();
    assert_eq!(poll.submitter().balance(town.node.address()).await.unwrap(), before);
    assert_denied(stranger.withdraw_bond(number).await, "TallyNotStanding");
    stranger.queue_poll(&poll.proposal).await.unwrap();
    assert_eq!(poll.state().await, PollState::Queued);
    let early = stranger.execute_poll(&poll.proposal).await;
    assert_denied(early, "TimelockUnexpectedOperationState");
    town.pass(town.preset.timelock).await;
    stranger.execute_poll(&poll.proposal).await.unwrap();
    assert_eq!(poll.state().await, PollState::Executed);
    let timelock = OpenTimelock::new(town.chain.contracts().timelock, town.chain.provider());
    assert_eq!(timelock.getMinDelay().call().await.unwrap(), U256::from(3 * DAY));
    assert_denied(stranger.queue_poll(&poll.proposal).await, "ProposalNotOpen");
}

#[tokio::test]
async fn an_honest_tally_survives_every_attempt_to_challenge_it() {
    let poll = Poll::closed().await;
    let (watcher, honest) = (poll.watcher(), &poll.honest);
    assert_eq!(poll.faults(honest), []);
    let number = poll.submit(honest).await;
    let places = || 0..honest.ballots().len();
    for a in places() {
        assert_denied(watcher.challenge(number, honest, Fault::Ballot(a)).await, "NoFault");
        assert_denied(watcher.challenge(number, honest, Fault::Ends(a)).await, "NoFault");
        for b in places() {
            let order = Fault::Order(a, b);
            assert_denied(watcher.challenge(number, honest, order).await, "NoFault");
        }
    }
    // Leaves that are not in it prove nothing, however wrong they are.
    for wrong in Wrong::ALL {
        for place in places() {
            let other = wrong.tamper(&poll, place, 7);
            for fault in poll.faults(&other) {
                // What is missing there is here, and is shown below.
                if !matches!(fault, Fault::Missing(_)) && other.root() != honest.root() {
                    let refused = watcher.challenge(number, &other, fault).await;
                    assert_denied(refused, "ProofInvalid");
                }
            }
        }
    }
    let outside = Fault::Missing(6);
    assert_denied(watcher.challenge(number, honest, outside).await, "IndexOutside");
    // Each leaf can be asked for, once and for a price, half of which pays the answer.
    let before = watcher.balance(watcher.sender()).await.unwrap();
    let paid = poll.submitter().balance(poll.town.node.address()).await.unwrap();
    for place in places() {
        let index = honest.ballots()[place].index;
        watcher.challenge(number, honest, Fault::Missing(index)).await.unwrap();
        let again = watcher.challenge(number, honest, Fault::Missing(index)).await;
        assert_denied(again, "DemandExists");
        assert_denied(watcher.foreclose(number, index).await, "AnswerDue");
        poll.town.by(&poll.town.stranger).answer(number, honest, place).await.unwrap();
        assert_denied(watcher.foreclose(number, index).await, "DemandNotOpen");
    }
    let spent = 6 * DEMAND_BOND;
    assert_eq!(sum(watcher.balance(watcher.sender()).await.unwrap(), spent), before);
    let earned = poll.submitter().balance(poll.town.node.address()).await.unwrap();
    assert_eq!(earned, sum(paid, spent / 2));

    assert_eq!(poll.fate(number).await, Fate::Standing);
    poll.town.pass(WINDOW + ANSWER).await;
    assert_eq!(poll.state().await, PollState::Succeeded);
    let late = watcher.challenge(number, honest, Fault::Ballot(0)).await;
    assert_denied(late, "TallyFinal");
    let late = watcher.challenge(number, honest, Fault::Missing(0)).await;
    assert_denied(late, "WindowClosed");
}

/// A way to make a wrong tally.
#[derive(Clone, Copy, Debug)]
enum Wrong {
    /// Another key's signature.
    Forged,
    /// A signature that no key made.
    Noise,
    /// The upper of the two signatures that the curve allows.
    HighS,
    /// Signed for another chain.
    OtherChain,
    /// Signed for another contract.
    OtherContract,
    /// Signed for another poll.
    OtherPoll,
    /// Counted for another side than signed.
    OtherSide,
    /// A reason the voter did not give.
    OtherReason,
    /// Counted for no side there is.
    NoSide,
    /// Counted for no side there is, as signed, and left out of the totals.
    NoSideSigned,
    /// Another weight than the voter had.
    Weight,
    /// Somebody without votes.
    Stranger,
    /// A voter who counts twice.
    Twice,
    /// Two voters in each other's place.
    Swapped,
    /// Running totals wrong at one place.
    SoFar,
    /// Running totals wrong from one place on.
    SoFarOn,
    /// A running total near 2^256.
    Wrapped,
    /// A claim that is not the last running totals.
    Claim,
    /// A claim of more ballots than there are.
    More,
    /// A claim of fewer ballots than there are.
    Fewer,
    /// Two different leaves with one index.
    SameIndex,
    /// One leaf twice.
    SameLeaf,
    /// An index left out, the last leaf beyond the count.
    Gap,
    /// The largest index there is.
    FarIndex,
}

/// A tally in the making.
struct Draft {
    ballots: Vec<CountedBallot>,
    claim: Totals,
    more: u64,
    fewer: u64,
}

impl Draft {
    fn of(tally: &Tally) -> Self {
        let ballots = tally.ballots().to_vec();
        Self { ballots, claim: tally.totals(), more: 0, fewer: 0 }
    }

    /// Numbers the ballots and adds them up, from a place on.
    fn resum(&mut self, from: usize) {
        let mut so_far = match from.checked_sub(1) {
            Some(before) => self.ballots[before].so_far,
            None => Totals::default(),
        };
        for (index, ballot) in self.ballots.iter_mut().enumerate().skip(from) {
            let side = match ballot.support {
                0 => &mut so_far.against,
                1 => &mut so_far.for_votes,
                2 => &mut so_far.abstain,
                _ => &mut U256::ZERO.clone(),
            };
            *side = side.wrapping_add(ballot.weight);
            (ballot.index, ballot.so_far) = (index as u64, so_far);
        }
        self.claim = so_far;
    }

    fn finish(self, honest: &Tally) -> Tally {
        let most = open(1_000_000).units();
        let Totals { for_votes, against, abstain } = self.claim;
        let weight = for_votes.saturating_add(against).saturating_add(abstain);
        // The chain does not take a tally of more votes than there are.
        let claim = if weight > most { honest.totals() } else { self.claim };
        let count = self.ballots.len() as u64 + self.more - self.fewer;
        Tally::new(self.ballots, claim).unwrap().with_claim(count, claim)
    }
}

impl Wrong {
    const ALL: [Self; 24] = [
        Self::Forged,
        Self::Noise,
        Self::HighS,
        Self::OtherChain,
        Self::OtherContract,
        Self::OtherPoll,
        Self::OtherSide,
        Self::OtherReason,
        Self::NoSide,
        Self::NoSideSigned,
        Self::Weight,
        Self::Stranger,
        Self::Twice,
        Self::Swapped,
        Self::SoFar,
        Self::SoFarOn,
        Self::Wrapped,
        Self::Claim,
        Self::More,
        Self::Fewer,
        Self::SameIndex,
        Self::SameLeaf,
        Self::Gap,
        Self::FarIndex,
    ];

    /// Makes the honest tally wrong at a place.
    fn tamper(self, poll: &Poll, place: usize, noise: u64) -> Tally {
        let mut draft = Draft::of(&poll.honest);
        self.apply(poll, &mut draft, place, noise);
        draft.finish(&poll.honest)
    }

    fn apply(self, poll: &Poll, draft: &mut Draft, place: usize, noise: u64) {
        let word = keccak256(noise.to_be_bytes());
        let more = U256::from(noise % 1_000 + 1);
        let last = draft.ballots.len() - 1;
        let ballot = &mut draft.ballots[place];
        let key = poll.voters.iter().find(|key| key.address() == ballot.voter);
        let support = [Support::Against, Support::For, Support::Abstain]
            .into_iter()
            .find(|support| *support as u8 == ballot.support)
            .unwrap_or(Support::For);
        let resigned = |domain: &Domain, proposal: U256| {
            key.map(|key| *signed(domain, proposal, key, support).signature())
        };
        match self {
            Self::Forged => {
                let other = Key::from_bytes(word).unwrap();
                let said = Ballot {
                    proposal: poll.id,
                    voter: ballot.voter,
                    support,
                    reason: ballot.reason,
                };
                ballot.signature = other.sign(said.digest(&poll.domain));
            }
            Self::Noise => {
                let mut bytes = [0; 65];
                bytes.iter_mut().zip(word.iter().cycle()).for_each(|(to, from)| *to = *from);
                ballot.signature = Signature::from_bytes(bytes);
            }
            Self::HighS => {
                let order = U256::from_str_radix(
                    "fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141",
                    16,
                );
                let mut bytes = *ballot.signature.as_bytes();
                let s = U256::from_be_slice(&bytes[32..64]);
                let high: [u8; 32] = order.unwrap().wrapping_sub(s).to_be_bytes();
                bytes[32..64].copy_from_slice(&high);
                bytes[64] = 55 - bytes[64].clamp(27, 28);
                ballot.signature = Signature::from_bytes(bytes);
            }
            Self::OtherChain => {
                let domain = Domain { chain_id: poll.domain.chain_id + 1, ..poll.domain };
                ballot.signature = resigned(&domain, poll.id).unwrap_or(ballot.signature);
            }
            Self::OtherContract => {
                let domain = Domain { contract: Address::from_word(word), ..poll.domain };
                ballot.signature = resigned(&domain, poll.id).unwrap_or(ballot.signature);
            }
            Self::OtherPoll => {
                let other = poll.id.wrapping_add(more);
                ballot.signature = resigned(&poll.domain, other).unwrap_or(ballot.signature);
            }
            Self::OtherSide => {
                ballot.support =
                    (ballot.support.min(2) + 1 + u8::from(noise.is_multiple_of(2))) % 3;
                draft.resum(0);
            }
            Self::OtherReason => ballot.reason = word,
            Self::NoSide => ballot.support = 3 + (noise % 253) as u8,
            Self::NoSideSigned => {
                ballot.support = 3 + (noise % 253) as u8;
                draft.resum(0);
            }
            Self::Weight => {
                ballot.weight = match noise % 2 {
                    0 => ballot.weight.wrapping_add(more),
                    _ => ballot.weight.wrapping_sub(more),
                };
                draft.resum(0);
            }
            Self::Stranger => {
                let nobody = Key::from_bytes(word).unwrap();
                let said = signed(&poll.domain, poll.id, &nobody, Support::For);
                let counted = CountedBallot {
                    voter: nobody.address(),
                    support: 1,
                    weight: more,
                    signature: *said.signature(),
                    ..*ballot
                };
                draft.ballots.push(counted);
                draft.ballots.sort_by_key(|ballot| ballot.voter);
                draft.resum(0);
            }
            Self::Twice => {
                let again = *ballot;
                draft.ballots.insert(place, again);
                draft.resum(0);
            }
            Self::Swapped => {
                draft.ballots.swap(place, (place + 1) % (last + 1));
                draft.resum(0);
            }
            Self::SoFar => ballot.so_far.for_votes = ballot.so_far.for_votes.wrapping_add(more),
            Self::SoFarOn => {
                ballot.so_far.against = ballot.so_far.against.wrapping_add(more);
                draft.claim = ballot.so_far;
                if place < last {
                    draft.resum(place + 1);
                }
            }
            Self::Wrapped => ballot.so_far.abstain = U256::MAX - more,
            Self::Claim => draft.claim.for_votes = draft.claim.for_votes.wrapping_add(more),
            Self::More => draft.more += noise % 1_000 + 1,
            Self::Fewer => draft.fewer = 1 + noise % 3,
            Self::SameIndex => ballot.index = ballot.index.wrapping_add(1) % (last as u64 + 1),
            Self::SameLeaf => {
                let again = *ballot;
                draft.ballots.push(again);
            }
            Self::Gap => {
                for ballot in &mut draft.ballots[place..] {
                    ballot.index = ballot.index.saturating_add(1);
                }
            }
            Self::FarIndex => ballot.index = u64::MAX,
        }
    }
}

/// Submits a tally and asserts that each of its faults, alone, brings it down for half the bond.
async fn loses(poll: &Poll, tally: &Tally, faults: &[Fault]) {
    let (dev, watcher) = (&poll.town.dev, poll.watcher());
    let beginning = dev.snapshot().await.unwrap();
    let number = poll.submit(tally).await;
    // A watcher has what was published and what the chain says.
    let submitted = watcher.tally(number).await.unwrap();
    let read = Tally::parse(&tally.body()).unwrap();
    assert_eq!(read.root(), submitted.root);
    let read = read.with_claim(submitted.count, submitted.claimed);
    assert_eq!(poll.faults(&read), faults);
    let before = watcher.balance(watcher.sender()).await.unwrap();
    for &fault in faults {
        let standing = dev.snapshot().await.unwrap();
        watcher.challenge(number, &read, fault).await.unwrap_or_else(|error| {
            panic!("{fault:?} is none: {}", error.report());
        });
        if let Fault::Missing(index) = fault {
            poll.town.pass(ANSWER + 1).await;
            watcher.foreclose(number, index).await.unwrap();
        }
        assert_eq!(poll.fate(number).await, Fate::Lost, "{fault:?}");
        let after = watcher.balance(watcher.sender()).await.unwrap();
        assert_eq!(after, sum(before, BOND / 2), "{fault:?}");
        assert_eq!(watcher.poll(poll.id).await.unwrap().tally, None);
        dev.revert(standing).await.unwrap();
    }
    dev.revert(beginning).await.unwrap();
}

#[tokio::test]
async fn one_wrong_ballot_loses_the_challenge_wherever_it_stands_and_whatever_is_wrong() {
    let poll = Poll::closed().await;
    let mut kinds = std::collections::BTreeSet::new();
    for wrong in Wrong::ALL {
        for place in 0..poll.honest.ballots().len() {
            let tally = wrong.tamper(&poll, place, 11);
            let faults = poll.faults(&tally);
            assert!(!faults.is_empty(), "{wrong:?} at {place} was not noticed");
            kinds.extend(faults.iter().map(|fault| match fault {
                Fault::Ballot(_) => "ballot",
                Fault::Order(..) => "order",
                Fault::Ends(_) => "ends",
                Fault::Missing(_) => "missing",
                other => panic!("a new kind: {other:?}"),
            }));
            loses(&poll, &tally, &faults).await;
        }
    }
    assert_eq!(kinds.len(), 4, "each kind of fault was tried: {kinds:?}");
}

/// What of a tally counts: neither the order of its leaves nor a leaf that is there twice.
fn said(tally: &Tally) -> (Vec<CountedBallot>, u64, Totals) {
    let mut ballots = tally.ballots().to_vec();
    ballots.sort_by_key(openledger_core::encode);
    ballots.dedup();
    (ballots, tally.count(), tally.totals())
}

#[test]
fn several_mistakes_never_hide_each_other() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let poll = runtime.block_on(Poll::closed());
    let config = Config { cases: 64, failure_persistence: None, ..Config::default() };
    let mistake = (select(Wrong::ALL.to_vec()), any::<Index>(), any::<u64>());
    let mistakes = prop::collection::vec(mistake, 2..=4);
    let tried = TestRunner::new(config).run(&mistakes, |mistakes| {
        let mut draft = Draft::of(&poll.honest);
        for (wrong, place, noise) in mistakes {
            let place = place.index(draft.ballots.len());
            wrong.apply(&poll, &mut draft, place, noise);
        }
        let tally = draft.finish(&poll.honest);
        let faults = poll.faults(&tally);
        // Two mistakes can undo each other.
        prop_assert_eq!(faults.is_empty(), said(&tally) == said(&poll.honest));
        if !faults.is_empty() {
            runtime.block_on(loses(&poll, &tally, &faults));
        }
        Ok(())
    });
    tried.unwrap();
}

#[tokio::test]
async fn after_a_lost_tally_the_next_one_decides() {
    let poll = Poll::closed().await;
    let wrong = Wrong::Weight.tamper(&poll, 2, 0);
    let number = poll.submit(&wrong).await;
    let fault = poll.faults(&wrong)[0];
    poll.watcher().challenge(number, &wrong, fault).await.unwrap();
    let again = poll.watcher().challenge(number, &wrong, fault).await;
    assert_denied(again, "TallyNotStanding");
    let second = poll.watcher().submit_tally(poll.id, &poll.honest).await.unwrap().value;
    poll.town.pass(WINDOW).await;
    assert_eq!(poll.state().await, PollState::Succeeded);
    poll.watcher().withdraw_bond(second).await.unwrap();
}

#[tokio::test]
async fn a_ballot_that_was_left_out_is_put_on_top_and_can_turn_the_outcome() {
    let poll = Poll::closed().await;
    let (town, id) = (&poll.town, poll.id);
    let stranger = town.by(&town.stranger);
    // Only those against are counted.
    let mut some = BallotBox::new(poll.domain, id);
    for voter in poll.voters.iter().filter(|voter| side(town, voter) == Support::Against) {
        some.add(signed(&poll.domain, id, voter, Support::Against)).unwrap();
    }
    let partial = some.count(&poll.weights).unwrap();
    assert_eq!(poll.faults(&partial), [], "to leave ballots out is no fault");
    let number = poll.submit(&partial).await;
    for voter in &poll.voters {
        let said = side(town, voter);
        let ballot = signed(&poll.domain, id, voter, said);
        let included = stranger.include(number, &partial, &ballot).await;
        match said {
            Support::Against => assert_denied(included, "BallotNotOmitted"),
            Support::For | Support::Abstain => {
                included.unwrap();
                let twice = stranger.include(number, &partial, &ballot).await;
                assert_denied(twice, "BallotNotOmitted");
            }
        }
    }
    let tally = town.chain.tally(number).await.unwrap();
    assert_eq!(tally.claimed.against, poll.honest.totals().against);
    assert_eq!(tally.included.for_votes, poll.honest.totals().for_votes);
    assert_eq!(tally.included.abstain, poll.honest.totals().abstain);
    town.pass(WINDOW).await;
    assert_eq!(poll.state().await, PollState::Succeeded);
}

#[tokio::test]
async fn a_tally_of_more_votes_replaces_one_of_fewer_and_a_wrong_one_is_still_challenged() {
    let poll = Poll::closed().await;
    let wrong = Wrong::Weight.tamper(&poll, 0, 1); // a unit or two less than is right
    let first = poll.submit(&wrong).await;
    let fewer = poll.watcher().submit_tally(poll.id, &wrong).await;
    assert_denied(fewer, "WeightTooLow");
    let second = poll.watcher().submit_tally(poll.id, &poll.honest).await.unwrap().value;
    assert_eq!(poll.town.chain.poll(poll.id).await.unwrap().tally, Some(second));
    let fault = poll.faults(&wrong)[0];
    poll.watcher().challenge(first, &wrong, fault).await.unwrap();
    assert_eq!(poll.fate(first).await, Fate::Lost);
    assert_eq!(poll.fate(second).await, Fate::Standing);
    poll.town.pass(WINDOW).await;
    assert_eq!(poll.state().await, PollState::Succeeded);
}

#[tokio::test]
async fn the_guardian_takes_a_poll_back_even_from_the_timelock_and_nobody_else_does() {
    let poll = Poll::closed().await;
    poll.submit(&poll.honest).await;
    poll.town.pass(WINDOW).await;
    poll.submitter().queue_poll(&poll.proposal).await.unwrap();
    for other in [&poll.town.deployer, &poll.town.node, &poll.town.voters[0]] {
        let refused = poll.town.by(other).cancel_poll(poll.id).await;
        assert_denied(refused, "AccessManagedUnauthorized");
    }
    poll.watcher().cancel_poll(poll.id).await.unwrap();
    assert_eq!(poll.state().await, PollState::Canceled);
    poll.town.pass(poll.town.preset.timelock).await;
    let refused = poll.submitter().execute_poll(&poll.proposal).await;
    assert_denied(refused, "TimelockUnexpectedOperationState");
}

#[tokio::test]
async fn a_ballot_counts_on_its_chain_in_its_box_and_on_its_poll_only() {
    let poll = Poll::closed().await;
    let (id, domain, voter) = (poll.id, poll.domain, &poll.voters[0]);
    let fresh = || BallotBox::new(domain, id);
    let chain = Domain { chain_id: domain.chain_id + 1, ..domain };
    let contract = Domain { contract: poll.town.chain.contracts().governor, ..domain };
    for elsewhere in [chain, contract] {
        let ballot = signed(&elsewhere, id, voter, Support::For);
        assert_eq!(fresh().add(ballot).unwrap_err().kind(), ErrorKind::Denied);
    }
    let other_poll = signed(&domain, id + U256::from(1), voter, Support::For);
    assert_eq!(fresh().add(other_poll).unwrap_err().kind(), ErrorKind::Denied);
    let good = signed(&domain, id, voter, Support::For);
    let turned = Ballot { support: Support::Against, ..*good.ballot() };
    let refused = SignedBallot::new(turned, *good.signature(), &domain).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Denied);
    let another = Ballot { voter: poll.voters[1].address(), ..*good.ballot() };
    let refused = SignedBallot::new(another, *good.signature(), &domain).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Denied);
    assert_eq!(another.sign(&domain, voter).unwrap_err().kind(), ErrorKind::Denied);
    let mut gathered = fresh();
    gathered.add(good).unwrap();
    assert_eq!(gathered.add(good).unwrap_err().kind(), ErrorKind::Denied, "once");

    // The chain says the same: nothing that was signed elsewhere goes on top of a tally.
    let mut others = fresh();
    for key in &poll.voters[1..] {
        others.add(signed(&domain, id, key, side(&poll.town, key))).unwrap();
    }
    let partial = others.count(&poll.weights).unwrap();
    let number = poll.submit(&partial).await;
    for elsewhere in [
        signed(&chain, id, voter, Support::For),
        signed(&contract, id, voter, Support::For),
        signed(&domain, id + U256::from(1), voter, Support::For),
    ] {
        let refused = poll.watcher().include(number, &partial, &elsewhere).await;
        assert_denied(refused, "BallotInvalid");
    }
    poll.watcher().include(number, &partial, &good).await.unwrap();
}

/// Code that answers every call with one word.
fn says(word: [u8; 4]) -> Vec<u8> {
    // PUSH4 word, PUSH1 224, SHL, PUSH0, MSTORE, PUSH1 32, PUSH0, RETURN
    [&[0x63][..], &word, &[0x60, 0xe0, 0x1b, 0x5f, 0x52, 0x60, 0x20, 0x5f, 0xf3]].concat()
}

#[tokio::test]
async fn ballots_are_relayed_one_by_one_for_keys_and_for_contracts_at_no_cost_to_them() {
    let town = Town::new().await;
    let relay = town.by(&town.stranger);
    let [yes, no] = [0xaa, 0xbb].map(Address::repeat_byte);
    // ERC-1271: the contract says whether a signature is its own.
    town.dev.set_code(yes, says([0x16, 0x26, 0xba, 0x7e]).into()).await.unwrap();
    town.dev.set_code(no, says([0xff; 4]).into()).await.unwrap();
    town.by(&town.deployer).lock_votes(open(40_000), yes).await.unwrap();
    town.by(&town.node).lock_votes(open(40_000), no).await.unwrap();

    let timelock = town.chain.contracts().timelock;
    let call = OpenTimelock::updateDelayCall { newDelay: U256::from(3 * DAY) };
    let id = town.proposed(&Proposal::call(timelock, &call, "by hand")).await;
    let domain = relay.vote_domain();
    let coins = async |account| town.chain.provider().get_balance(account).await.unwrap();
    for (voter, support) in
        town.voters.iter().zip([Support::For, Support::Against, Support::Abstain])
    {
        let before = coins(voter.address()).await;
        let nonce = relay.vote_nonce(voter.address()).await.unwrap();
        let vote = SignedVote::sign(id, support, nonce, &domain, voter);
        relay.relay_vote(&vote).await.unwrap();
        assert_eq!(coins(voter.address()).await, before);
    }
    let mut by_contract = SignedVote::sign(id, Support::For, U256::ZERO, &domain, &town.stranger);
    by_contract.voter = no;
    assert_denied(relay.relay_vote(&by_contract).await, "GovernorInvalidSignature");
    by_contract.voter = yes;
    relay.relay_vote(&by_contract).await.unwrap();

    let governor = OpenGovernor::new(town.chain.contracts().governor, town.chain.provider());
    let votes = governor.proposalVotes(id).call().await.unwrap();
    let expected = [200_000, 340_000, 100_000].map(|amount| open(amount).units());
    assert_eq!([votes.againstVotes, votes.forVotes, votes.abstainVotes], expected);

    // A contract could change its mind after its ballot was counted, so off chain only keys vote.
    let ballot = Ballot { proposal: id, voter: yes, support: Support::For, reason: B256::ZERO };
    let signature = town.stranger.sign(ballot.digest(&domain));
    let refused = SignedBallot::new(ballot, signature, &domain).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Denied);
}

#[tokio::test]
async fn the_body_of_a_tally_is_read_whole_and_in_its_only_encoding() {
    let poll = Poll::closed().await;
    let body = poll.honest.body();
    let read = Tally::parse(&body).unwrap();
    assert_eq!(said(&read), said(&poll.honest));
    assert_eq!((read.root(), read.body()), (poll.honest.root(), body.clone()));
    for end in 0..body.len() {
        assert_eq!(Tally::parse(&body[..end]).unwrap_err().kind(), ErrorKind::Corrupt);
    }
    let longer = [&body[..], &[0]].concat();
    assert_eq!(Tally::parse(&longer).unwrap_err().kind(), ErrorKind::Corrupt);
    // Four thousand million ballots in four bytes.
    let mut bomb = body[..96].to_vec();
    bomb.extend([0xff; 4]);
    assert_eq!(Tally::parse(&bomb).unwrap_err().kind(), ErrorKind::Corrupt);
    let too_long = vec![0; openledger_core::MAX_ENCODED_BYTES + 1];
    assert_eq!(Tally::parse(&too_long).unwrap_err().kind(), ErrorKind::Limit);
    // And none.
    let none = Tally::parse(&[0; 100]).unwrap_err();
    assert_eq!(none.kind(), ErrorKind::Invalid, "{none:?}");

    let domain = poll.domain;
    let config = Config { cases: 256, failure_persistence: None, ..Config::default() };
    let change = (any::<Index>(), any::<u8>());
    let changes = (any::<bool>(), prop::collection::vec(change, 1..8));
    let tried = TestRunner::new(config).run(&changes, |(noise, changes)| {
        let mut bytes = if noise { vec![0; 400] } else { body.to_vec() };
        for (place, byte) in changes {
            let place = place.index(bytes.len());
            bytes[place] = byte;
        }
        if let Ok(tally) = Tally::parse(&bytes) {
            prop_assert_eq!(&tally.body()[..], &bytes[..]);
            let faults = tally.faults(&domain, poll.id, &poll.weights);
            prop_assert_eq!(faults.is_empty(), bytes == body);
        }
        Ok(())
    });
    tried.unwrap();
}

#[test]
fn a_claim_of_millions_of_ballots_that_are_not_there_is_one_fault_per_gap() {
    let ballot = |index| CountedBallot {
        index,
        voter: Address::repeat_byte(1),
        support: 9,
        weight: U256::MAX,
        reason: B256::ZERO,
        so_far: Totals::default(),
        signature: Signature::from_bytes([0; 65]),
    };
    let ballots = vec![ballot(5), ballot(u64::MAX), ballot(u64::MAX), ballot(9)];
    let tally = Tally::new(ballots, Totals::default()).unwrap();
    let tally = tally.with_claim(u32::MAX.into(), Totals::default());
    let domain = Domain { chain_id: 1, contract: Address::ZERO };
    let faults = tally.faults(&domain, U256::ZERO, &BTreeMap::new());
    let missing = faults.iter().filter(|fault| matches!(fault, Fault::Missing(_)));
    assert_eq!(
        missing.collect::<Vec<_>>(),
        [&Fault::Missing(0), &Fault::Missing(6), &Fault::Missing(10)]
    );
}
