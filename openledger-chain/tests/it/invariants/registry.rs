//! Contributions: a name is taken once, whoever tries, and nothing comes back from revoked.

use openledger_chain::{
    ContributionName, ContributionStatus, DatanetEntry, Offer, Registry,
    abi::contribution_registry::ContributionRegistry,
};
use openledger_core::{
    B256, DatanetId, U256,
    message::{Contribution, Message, Nonces, Signed, Verified, Withdrawal},
};
use proptest::prelude::*;
use std::collections::BTreeMap;

use super::{Done, Said, explore, judge, judge_revert, set};
use crate::stage::{
    Person::{self, Alice, Bob, Carol, Dave},
    Stage, address, key,
};

use ContributionStatus::{Accepted, None as Nothing, Pending, Rejected, Revoked};

const CONTRIBUTORS: [Person; 2] = [Alice, Bob];
/// Owns the Datanets; Dave is somebody else.
const OWNER: Person = Carol;

/// A Datanet, a contributor, a root.
type Place = (usize, usize, u8);

#[derive(Clone, Copy, Debug)]
enum Step {
    Offer(Place, u8),
    Record(Place),
    Decide { place: Place, by_owner: bool, accept: bool },
    Withdraw(Place),
    LoseDispute(Place),
}

fn step() -> impl Strategy<Value = Step> {
    let place = (0..2_usize, 0..2_usize, 1..4_u8);
    prop_oneof![
        3 => (place.clone(), 0..3_u8).prop_map(|(place, rows)| Step::Offer(place, rows)),
        2 => place.clone().prop_map(Step::Record),
        3 => (place.clone(), prop::bool::weighted(0.8), any::<bool>())
            .prop_map(|(place, by_owner, accept)| Step::Decide { place, by_owner, accept }),
        1 => place.clone().prop_map(Step::Withdraw),
        1 => place.prop_map(Step::LoseDispute),
    ]
}

struct Model {
    datanets: [DatanetId; 2],
    statuses: BTreeMap<Place, ContributionStatus>,
    nonce: u64,
}

impl Model {
    fn name(&self, (datanet, contributor, root): Place) -> ContributionName {
        ContributionName {
            datanet: self.datanets[datanet],
            contributor: address(CONTRIBUTORS[contributor]),
            root: B256::repeat_byte(root),
        }
    }

    fn status(&self, place: Place) -> ContributionStatus {
        self.statuses.get(&place).copied().unwrap_or(Nothing)
    }

    /// Notes what a step came to, if it came to anything.
    fn set(&mut self, place: Place, status: ContributionStatus, came: bool, done: &Done) {
        if came {
            let before = self.statuses.insert(place, status);
            assert_ne!(before, Some(Revoked), "nothing comes back");
            done.note(match status {
                Nothing => "none",
                Pending => "offered",
                Accepted => "accepted",
                Rejected => "rejected",
                Revoked => "revoked",
            });
        }
    }

    async fn play(&mut self, stage: &Stage, step: Step, done: &Done) {
        match step {
            Step::Offer(place, rows) => {
                let said = match (rows, self.status(place)) {
                    (0, _) => Some("ContributionEmpty"),
                    (_, Nothing) => None,
                    _ => Some("ContributionExists"),
                };
                let ContributionName { datanet, root, .. } = self.name(place);
                let offer = Offer { datanet, root, rows: rows.into(), da: B256::repeat_byte(0xda) };
                let sent = stage.of(CONTRIBUTORS[place.1]).contribute(&offer).await;
                self.set(place, Pending, judge(sent, [said; 2]).is_some(), done);
            }
            Step::Record(place) => {
                let said = (self.status(place) != Nothing).then_some("ContributionExists");
                let signed = self.contribution(stage, place).await;
                let sent = stage.of(OWNER).record(&signed).await;
                self.set(place, Accepted, judge(sent, [said; 2]).is_some(), done);
            }
            Step::Decide { place, by_owner, accept } => {
                let said: Said = match (by_owner, self.status(place)) {
                    (false, _) => Some("NotOwner"),
                    (_, Pending) => None,
                    _ => Some("ContributionNotPending"),
                };
                let by = stage.of(if by_owner { OWNER } else { Dave });
                let sent = by.decide(&self.name(place), accept).await;
                let status = if accept { Accepted } else { Rejected };
                self.set(place, status, judge(sent, [said; 2]).is_some(), done);
            }
            Step::Withdraw(place) => {
                let said = (self.status(place) == Revoked).then_some("ContributionIsRevoked");
                let signed = self.withdrawal(stage, place).await;
                let sent = stage.of(Dave).withdraw_consent(&signed).await;
                self.set(place, Revoked, judge(sent, [said; 2]).is_some(), done);
            }
            Step::LoseDispute(place) => {
                let said = match self.status(place) {
                    Nothing => Some("ContributionUnknown"),
                    Revoked => Some("ContributionIsRevoked"),
                    _ => None,
                };
                let ContributionName { datanet, contributor, root } = self.name(place);
                let datanet = datanet.into();
                let call = ContributionRegistry::revokeDisputedCall { datanet, contributor, root };
                let at = stage.chain.contracts();
                let came = stage.act(at.disputes, at.contributions, call).await;
                self.set(place, Revoked, judge_revert(came, [said; 2]).is_some(), done);
            }
        }
    }

    async fn contribution(&mut self, stage: &Stage, place: Place) -> Verified<Contribution> {
        self.nonce += 1;
        let ContributionName { datanet, contributor, root } = self.name(place);
        let message = Contribution {
            datanet,
            root,
            rows: 7,
            size: 700,
            terms: B256::repeat_byte(0x22),
            contributor,
            nonce: U256::from(self.nonce),
            deadline: stage.now().await + 60,
        };
        signed(stage, message, CONTRIBUTORS[place.1]).await
    }

    async fn withdrawal(&mut self, stage: &Stage, place: Place) -> Verified<Withdrawal> {
        self.nonce += 1;
        let ContributionName { datanet, contributor, root } = self.name(place);
        let message = Withdrawal {
            datanet,
            root,
            rows: 7,
            contributor,
            nonce: U256::from(self.nonce),
            deadline: stage.now().await + 60,
        };
        signed(stage, message, CONTRIBUTORS[place.1]).await
    }

    async fn check(&self, stage: &Stage) {
        for datanet in 0..2 {
            for contributor in 0..2 {
                for root in 1..4 {
                    let place = (datanet, contributor, root);
                    let status = stage.chain.contribution(&self.name(place)).await.unwrap();
                    assert_eq!(status, self.status(place), "{place:?}, and no other's name");
                }
            }
        }
    }
}

async fn signed<M: Message + Clone>(stage: &Stage, message: M, by: Person) -> Verified<M> {
    let domain = stage.chain.contribution_domain();
    let now = stage.now().await;
    Signed::sign(message, domain, &key(by)).verify(&domain, now, &mut Nonces::default()).unwrap()
}

#[test]
fn a_contribution_is_there_once_and_what_is_revoked_stays_revoked() {
    let (stage, done) = (set(async |_| {}), Done::default());
    explore(&stage, (16, 20..=40), step(), async |stage, steps| {
        let owner = stage.of(OWNER);
        let mut datanets = [DatanetId::from(B256::ZERO); 2];
        for (datanet, name) in datanets.iter_mut().zip(["bread", "wine"]) {
            let entry = DatanetEntry::new(name, B256::repeat_byte(9));
            *datanet = owner.create_datanet(&entry).await.unwrap().value;
        }
        let mut model = Model { datanets, statuses: BTreeMap::new(), nonce: 0 };
        for step in steps {
            model.play(stage, step, &done).await;
            model.check(stage).await;
        }
    });
    done.assert_all(&["offered", "accepted", "rejected", "revoked"]);
}
