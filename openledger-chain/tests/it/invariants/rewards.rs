//! Funders, updaters honest and not, a guardian, governance and claimants, who do anything in any
//! order: nobody is paid twice, too early, too much, or with somebody else's leaf.

use openledger_chain::{
    Rewards,
    abi::{open_token::OpenToken, reward_distributor::RewardDistributor},
    alloy::primitives::{Uint, keccak256},
    settlement::{Claim, ClaimLeaf, Distributor},
};
use openledger_core::{Address, B256, U256, merkle::StandardTree};
use proptest::prelude::*;

use super::{Done, Said, around, explore, judge, judge_revert, set};
use crate::stage::{
    Person::{Alice, Bob, Carol, Dave, Erin, Guardian, Node, Treasury},
    Stage, address, amount, units,
};

const EARNERS: [crate::stage::Person; 4] = [Alice, Bob, Carol, Dave];
/// Seconds that roots of this test wait.
const WAIT: u64 = 1_000;

#[derive(Clone, Debug)]
enum Step {
    Fund(u32),
    /// Everybody has earned so much more.
    Submit([u16; 4]),
    /// Leaves that fall, or promise what nobody put in.
    Lie([u32; 4]),
    /// Leaves of another chain, another contract or another token.
    SubmitForeign(u8, [u16; 4]),
    SubmitZero,
    Veto(u8),
    Disable(u8),
    SetDelay(u16),
    Pass(u16),
    SetClaimer(u8, Option<u8>),
    Claim {
        root: u8,
        who: u8,
    },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => any::<u32>().prop_map(Step::Fund),
        4 => any::<[u16; 4]>().prop_map(Step::Submit),
        1 => any::<[u32; 4]>().prop_map(Step::Lie),
        1 => (0..3_u8, any::<[u16; 4]>()).prop_map(|(what, parts)| Step::SubmitForeign(what, parts)),
        1 => Just(Step::SubmitZero),
        1 => any::<u8>().prop_map(Step::Veto),
        1 => any::<u8>().prop_map(Step::Disable),
        1 => (0..2_000_u16).prop_map(Step::SetDelay),
        3 => (0..1_500_u16).prop_map(Step::Pass),
        1 => (any::<u8>(), any::<Option<u8>>()).prop_map(|(who, to)| Step::SetClaimer(who, to)),
        12 => any::<(u8, u8)>().prop_map(|(root, who)| Step::Claim { root, who }),
    ]
}

struct Root {
    tree: StandardTree<ClaimLeaf>,
    cumulatives: [u128; 4],
    total: u128,
    activates_at: u64,
    is_disabled: bool,
    is_foreign: bool,
}

#[derive(Default)]
struct Model {
    roots: Vec<Root>,
    /// What an honest updater would write.
    earned: [u128; 4],
    paid: [u128; 4],
    claimers: [Option<Address>; 4],
    funded: u128,
    delay: u64,
}

impl Model {
    fn last_total(&self) -> u128 {
        self.roots.iter().rev().find(|root| !root.is_disabled).map_or(0, |root| root.total)
    }

    fn rest(&self) -> u128 {
        self.funded - self.paid.iter().sum::<u128>()
    }

    fn claimable(&self, root: &Root, who: usize, time: u64) -> Said {
        let cumulative = root.cumulatives[who];
        match () {
            () if root.is_disabled => Some("RootIsDisabled"),
            () if time < root.activates_at => Some("RootPending"),
            () if root.is_foreign => Some("ProofInvalid"),
            () if cumulative <= self.paid[who] => Some("NothingToClaim"),
            () if cumulative - self.paid[who] > self.rest() => Some("ERC20InsufficientBalance"),
            () => None,
        }
    }

    async fn submit(
        &mut self,
        stage: &Stage,
        cumulatives: [u128; 4],
        total: u128,
        foreign: Option<u8>,
    ) {
        let tree = tree(&distributor(stage, foreign), cumulatives);
        let said = match () {
            () if total < self.last_total() => Some("TotalFalls"),
            () if total > self.funded => Some("TotalNotFunded"),
            () => None,
        };
        let body = B256::repeat_byte(0xbd);
        let sent = stage.of(Node).submit_root(tree.root(), body, amount(total)).await;
        let Some(sent) = judge(sent, [said; 2]) else { return };
        assert_eq!(sent.value, self.roots.len() as u64, "roots are appended");
        let activates_at = stage.now().await + self.delay;
        let is_foreign = foreign.is_some();
        self.roots.push(Root {
            tree,
            cumulatives,
            total,
            activates_at,
            is_disabled: false,
            is_foreign,
        });
        if foreign.is_none() && total == cumulatives.iter().sum::<u128>() {
            self.earned = cumulatives;
        }
    }

    async fn play(&mut self, stage: &Stage, step: Step, done: &Done) {
        let at = stage.chain.contracts().distributor;
        let now = stage.now().await;
        let pick = |index: u8| usize::from(index) % self.roots.len().max(1);
        match step {
            Step::Fund(units) => {
                fund(stage, units.into()).await;
                self.funded += u128::from(units) + 1;
            }
            Step::Submit(more) => {
                let mut next = self.earned;
                next.iter_mut().zip(more).for_each(|(sum, more)| *sum += u128::from(more));
                self.submit(stage, next, next.iter().sum(), None).await;
            }
            Step::Lie(any) => {
                self.submit(stage, any.map(u128::from), self.last_total(), None).await;
            }
            Step::SubmitForeign(what, any) => {
                self.submit(stage, any.map(u128::from), self.last_total(), Some(what)).await;
            }
            Step::SubmitZero => {
                let total = amount(self.last_total());
                let sent = stage.of(Node).submit_root(B256::ZERO, B256::ZERO, total).await;
                judge(sent, [Some("RootEmpty"); 2]);
            }
            Step::Veto(index) => {
                let index = pick(index);
                let said = around(now, |time| match self.roots.get(index) {
                    None => Some("RootUnknown"),
                    Some(root) if time >= root.activates_at => Some("RootActive"),
                    Some(root) if root.is_disabled => Some("RootIsDisabled"),
                    Some(_) => None,
                });
                if judge(stage.of(Guardian).veto(index as u64).await, said).is_some() {
                    self.roots[index].is_disabled = true;
                    done.note("veto");
                }
            }
            Step::Disable(index) => {
                let index = pick(index);
                let said = match self.roots.get(index) {
                    None => Some("RootUnknown"),
                    Some(root) => root.is_disabled.then_some("RootIsDisabled"),
                };
                let call = RewardDistributor::disableCall { index: U256::from(index) };
                let came = stage.act(stage.chain.contracts().timelock, at, call).await;
                if judge_revert(came, [said; 2]).is_some() {
                    self.roots[index].is_disabled = true;
                    done.note("disable");
                }
            }
            Step::SetDelay(delay) => {
                let delay = Uint::from(delay);
                stage.govern(at, RewardDistributor::setActivationDelayCall { delay }).await;
                self.delay = delay.to();
            }
            Step::Pass(seconds) => stage.pass(seconds.into()).await,
            Step::SetClaimer(who, to) => {
                let (who, to) = (usize::from(who) % 4, to.map(Address::repeat_byte));
                let to = to.filter(|to| !to.is_zero());
                stage.of(EARNERS[who]).set_claimer(to.unwrap_or_default()).await.unwrap();
                self.claimers[who] = to;
            }
            Step::Claim { root, who } => {
                let (index, who) = (pick(root), usize::from(who) % 4);
                let Some(root) = self.roots.get(index) else { return };
                let paid = self.claim(stage, index, root, who, now, done).await;
                self.paid[who] = paid.unwrap_or(self.paid[who]);
            }
        }
    }

    /// Returns what the account was paid so far if it was paid now.
    async fn claim(
        &self,
        stage: &Stage,
        index: usize,
        root: &Root,
        who: usize,
        now: u64,
        done: &Done,
    ) -> Option<u128> {
        let (account, cumulative) = (address(EARNERS[who]), root.cumulatives[who]);
        let payee = self.claimers[who].unwrap_or(account);
        let before = stage.balance(payee).await;
        let said = around(now, |time| self.claimable(root, who, time));
        let claim = Claim { account, cumulative: amount(cumulative) };
        let sent = stage.of(Erin).claim(index as u64, &claim, &root.tree.proof(who)).await;
        let paid = judge(sent, said).map(|sent| units(sent.value));
        let due = paid.map(|_| cumulative - self.paid[who]);
        assert_eq!(paid, due, "what was earned beyond what was paid");
        assert_eq!(stage.balance(payee).await, before + paid.unwrap_or_default(), "to its claimer");
        match (said[0], paid) {
            (None, Some(_)) => done.note("claim"),
            (Some(reason), None) => done.note(reason),
            _ => {}
        }
        paid.map(|_| cumulative)
    }

    async fn check(&self, stage: &Stage) {
        for (person, paid) in EARNERS.into_iter().zip(self.paid) {
            let claimed = units(stage.chain.claimed(address(person)).await.unwrap());
            assert_eq!(claimed, paid, "claims never fall, and are what was paid");
        }
        assert!(self.paid.iter().sum::<u128>() <= self.funded, "no more than was put in");
        let there = stage.balance(stage.chain.contracts().distributor).await;
        assert_eq!(there, self.rest(), "and the rest is there");
    }

    async fn check_roots(&self, stage: &Stage) {
        for (index, root) in self.roots.iter().enumerate() {
            let status = stage.chain.root(index as u64).await.unwrap();
            let have = (status.root, units(status.total), status.activates_at, status.disabled);
            let want = (root.tree.root(), root.total, root.activates_at, root.is_disabled);
            assert_eq!(have, want, "what is submitted stays, whatever is decided later");
        }
    }
}

/// Where leaves are for, or another place.
fn distributor(stage: &Stage, foreign: Option<u8>) -> Distributor {
    let at = stage.chain.contracts();
    let (chain_id, contract, token) = (stage.chain.chain_id(), at.distributor, at.token);
    match foreign {
        None => Distributor { chain_id, contract, token },
        Some(0) => Distributor { chain_id: chain_id + 1, contract, token },
        Some(1) => Distributor { chain_id, contract: at.escrow, token },
        Some(_) => Distributor { chain_id, contract, token: at.wrapped },
    }
}

fn tree(distributor: &Distributor, cumulatives: [u128; 4]) -> StandardTree<ClaimLeaf> {
    let leaf = |(person, units)| {
        Claim { account: address(person), cumulative: amount(units) }.leaf(distributor)
    };
    StandardTree::new(EARNERS.into_iter().zip(cumulatives).map(leaf).collect()).unwrap()
}

/// Puts one unit more in, so that it is never nothing.
async fn fund(stage: &Stage, units: u128) {
    let (at, node) = (stage.chain.contracts(), stage.chain.provider());
    let units = U256::from(units + 1);
    let token = OpenToken::new(at.token, node);
    let from = address(Treasury);
    let allowed = token.approve(at.distributor, units).from(from).send().await.unwrap();
    allowed.get_receipt().await.unwrap();
    let distributor = RewardDistributor::new(at.distributor, node);
    let funded = distributor.fund(units).from(from).send().await.unwrap();
    funded.get_receipt().await.unwrap();
}

async fn shorten_delay(stage: &Stage) {
    let call = RewardDistributor::setActivationDelayCall { delay: Uint::from(WAIT) };
    stage.govern(stage.chain.contracts().distributor, call).await;
}

#[test]
fn claims_are_what_the_roots_say_and_never_more_than_was_put_in() {
    let (stage, done) = (set(shorten_delay), Done::default());
    explore(&stage, (16, 30..=60), step(), async |stage, steps| {
        let mut model = Model { delay: WAIT, ..Model::default() };
        for step in steps {
            model.play(stage, step, &done).await;
            model.check(stage).await;
        }
        model.check_roots(stage).await;
    });
    done.assert_all(&["claim", "RootPending", "RootIsDisabled", "ProofInvalid", "NothingToClaim"]);
}

#[test]
fn any_order_and_repetition_of_claims_pays_the_maximum_once() {
    let stage = set(shorten_delay);
    let roots = prop::collection::vec(any::<[u32; 4]>(), 1..5);
    let orders = prop::collection::vec(any::<(u8, u8)>(), 1..20);
    explore(&stage, (16, 1..=1), (roots, orders), async |stage, case| {
        let [(roots, order)] = &case[..] else { panic!("one list") };
        fund(stage, 4 * u128::from(u32::MAX)).await;
        let mut model = Model { delay: WAIT, funded: u128::MAX, ..Model::default() };
        for cumulatives in roots {
            model.submit(stage, cumulatives.map(u128::from), 0, None).await;
        }
        stage.pass(WAIT).await;
        let mut most = [0_u128; 4];
        let mut paid = [0_u128; 4];
        for (index, who) in order {
            let (index, who) = (usize::from(*index) % roots.len(), usize::from(*who) % 4);
            let Root { tree, cumulatives, .. } = &model.roots[index];
            let claim =
                Claim { account: address(EARNERS[who]), cumulative: amount(cumulatives[who]) };
            most[who] = most[who].max(cumulatives[who]);
            let claimed = stage.chain.claim(index as u64, &claim, &tree.proof(who)).await;
            paid[who] += claimed.map_or(0, |sent| units(sent.value));
        }
        assert_eq!(paid, most);
    });
}

#[test]
fn no_proof_pays_another_account_or_another_amount() {
    let stage = set(shorten_delay);
    let case = (any::<[u32; 4]>(), 0..4_usize, 0..4_usize, any::<u32>(), any::<u8>());
    explore(&stage, (48, 1..=1), case, async |stage, case| {
        let [(cumulatives, who, other, units, flip)] = case[..] else { panic!("one case") };
        fund(stage, 4 * u128::from(u32::MAX)).await;
        let mut model = Model { delay: WAIT, funded: u128::MAX, ..Model::default() };
        model.submit(stage, cumulatives.map(u128::from), 0, None).await;
        stage.pass(WAIT).await;
        let mut proof = model.roots[0].tree.proof(who);
        let account = address(EARNERS[other]);
        let mut claim = Claim { account, cumulative: amount(units.into()) };
        if other == who && units == cumulatives[who] {
            claim.cumulative = amount(u128::from(units) + 1);
        }
        let same =
            Claim { account: address(EARNERS[who]), cumulative: amount(cumulatives[who].into()) };
        judge(stage.chain.claim(0, &claim, &proof).await, [Some("ProofInvalid"); 2]);
        let step = usize::from(flip) % proof.len();
        proof[step] = keccak256(proof[step]);
        judge(stage.chain.claim(0, &same, &proof).await, [Some("ProofInvalid"); 2]);
        judge(stage.chain.claim(0, &same, &[]).await, [Some("ProofInvalid"); 2]);
        let long = vec![B256::ZERO; 33];
        judge(stage.chain.claim(0, &same, &long).await, [Some("ProofTooLong"); 2]);
    });
}
