//! The mesh.

use std::{collections::BTreeMap, sync::Arc};

use openledger_chain::{
    alloy::sol_types::SolValue,
    bridge::{
        Attest, Attestor, Bridge, MeshBridge, Route, Side, Withdrawal, WithdrawalStatus,
        abi::{attested_gateway::AttestedGateway, mesh_home::MeshHome},
    },
};
use openledger_core::{Amount, B256, ErrorKind, U256};
use proptest::prelude::*;

use super::{Crossing, Relay, keys, nobody_sends_what_he_has_not, there_and_back};
use crate::{assert_denied, open};

/// The same crossing with some of the attestors only.
async fn believing(crossing: &Crossing, which: &[usize]) -> MeshBridge {
    let Relay::Mesh { attestors, home, remote } = &crossing.relay else { unreachable!() };
    let some = which.iter().map(|&index| attestors[index].clone()).collect();
    let ends = ((crossing.l1.clone(), *home), (crossing.l2.clone(), *remote));
    MeshBridge::connect(ends.0, ends.1, some).await.unwrap()
}

fn admin(side: &Side) -> Side {
    side.sending_as(keys()[0].address())
}

#[tokio::test]
async fn open_goes_to_another_chain_and_back() {
    there_and_back(Crossing::mesh().await).await;
}

#[tokio::test]
async fn what_is_not_there_is_not_sent() {
    nobody_sends_what_he_has_not(Crossing::mesh().await).await;
}

#[tokio::test]
async fn fewer_attestors_than_the_threshold_prove_nothing() {
    let mut crossing = Crossing::mesh().await;
    crossing.bring(open(10)).await;
    let withdrawal = crossing.bridge.withdraw(crossing.bob, open(4)).await.unwrap().value;
    // One of three, and the same one twice.
    for which in [&[1][..], &[1, 1]] {
        let bridge = believing(&crossing, which).await;
        assert_eq!(bridge.status(&withdrawal).await.unwrap(), WithdrawalStatus::Initiated);
        let few = bridge.prove(&withdrawal).await.unwrap_err();
        assert_eq!((few.kind(), few.is_retryable()), (ErrorKind::Unavailable, true));
        assert!(few.to_string().contains("1 of 2 attestations"), "{few}");
        assert_denied(bridge.finalise(&withdrawal).await, "not proven");
    }
    let two = believing(&crossing, &[2, 0]).await;
    two.prove(&withdrawal).await.unwrap();
    two.finalise(&withdrawal).await.unwrap();
    crossing.assert_sum(Amount::ZERO).await;
}

#[tokio::test]
async fn an_attestor_that_was_removed_is_passed_over() {
    let mut crossing = Crossing::mesh().await;
    crossing.bring(open(10)).await;
    let withdrawal = crossing.bridge.withdraw(crossing.bob, open(4)).await.unwrap().value;
    let Relay::Mesh { home, .. } = &crossing.relay else { unreachable!() };
    let admin = admin(&crossing.l1);
    let gateway = AttestedGateway::new(home.gateway, admin.provider());
    let removed = keys()[3].address();
    drop(gateway.removeAttestor(removed).from(admin.sender()).send().await.unwrap());
    crossing.bridge.prove(&withdrawal).await.unwrap();
    crossing.bridge.finalise(&withdrawal).await.unwrap();
    assert_eq!(crossing.l1_balance(crossing.bob).await, open(4));
}

#[tokio::test]
async fn a_changed_withdrawal_has_no_attestations() {
    let mut crossing = Crossing::mesh().await;
    crossing.bring(open(10)).await;
    let withdrawal = crossing.proven(open(4)).await;
    let mut message = AttestedGateway::Message::abi_decode_params(&withdrawal.message).unwrap();
    let last = message.payload.len() - 1;
    let mut payload = message.payload.to_vec();
    payload[last] ^= 1;
    message.payload = payload.into();
    let changed = Withdrawal { message: message.abi_encode_params().into(), ..withdrawal.clone() };
    assert_denied(crossing.bridge.finalise(&changed).await, "SignatureInvalid");
    let renamed = Withdrawal { id: B256::repeat_byte(9), ..changed };
    assert_eq!(crossing.status(&renamed).await, WithdrawalStatus::Initiated);
    let unseen = crossing.bridge.prove(&renamed).await.unwrap_err();
    assert_eq!(unseen.kind(), ErrorKind::Unavailable, "{}", unseen.report());
    crossing.bridge.finalise(&withdrawal).await.unwrap();
    crossing.assert_sum(Amount::ZERO).await;
}

#[tokio::test]
async fn an_attestor_waits_until_a_message_is_final() {
    let mut crossing = Crossing::mesh().await;
    crossing.bring(open(10)).await;
    let Relay::Mesh { home, remote, .. } = &crossing.relay else { unreachable!() };
    let route = |side: &Side, gateway| Route {
        provider: side.provider().clone(),
        gateway,
        confirmations: 3,
    };
    let routes: BTreeMap<u64, Route> =
        [(1, route(&crossing.l1, home.gateway)), (1612, route(&crossing.l2, remote.gateway))]
            .into();
    let attestor = Attestor::new(keys()[3].clone(), routes);
    let (old, next) = attestor.watch(1612, 0).await.unwrap();
    assert_eq!(old, [], "nothing has left yet");
    let withdrawal = crossing.bridge.withdraw(crossing.bob, open(4)).await.unwrap().value;
    for _ in 0..3 {
        let early = attestor.attest(1612, withdrawal.id).await.unwrap_err();
        assert_eq!((early.kind(), early.is_retryable()), (ErrorKind::Unavailable, true));
        assert_eq!(attestor.watch(1612, next).await.unwrap().0, []);
        openledger_chain::DevNode::new(crossing.l2.provider().clone()).mine().await.unwrap();
    }
    let attestation = attestor.attest(1612, withdrawal.id).await.unwrap();
    let (seen, after) = attestor.watch(1612, next).await.unwrap();
    assert_eq!(seen.len(), 1);
    assert_eq!((seen[0].0.id, &seen[0].1), (withdrawal.id, &attestation));
    assert_eq!(after, withdrawal.block + 1);
    assert_eq!(attestor.watch(1612, after).await.unwrap().0, [], "and once only");
    let elsewhere = attestor.attest(10, withdrawal.id).await.unwrap_err();
    assert_eq!(elsewhere.kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn what_is_over_the_limit_arrives_when_the_limit_allows() {
    let mut crossing = Crossing::mesh().await;
    crossing.bring(open(900)).await;
    assert_denied(crossing.bridge.deposit(crossing.bob, open(101)).await, "OverLimit");
    let withdrawal = crossing.proven(open(800)).await;
    let Relay::Mesh { home, .. } = &crossing.relay else { unreachable!() };
    let admin = admin(&crossing.l1);
    let adapter = MeshHome::new(home.adapter, admin.provider());
    let limit = |amount: u64| open(amount).units().to();
    let lower = adapter.setLimits(limit(1_000), limit(400));
    drop(lower.from(admin.sender()).send().await.unwrap());
    assert_denied(crossing.bridge.finalise(&withdrawal).await, "OverLimit");
    assert_eq!(crossing.status(&withdrawal).await, WithdrawalStatus::Finalisable);
    let higher = adapter.setLimits(limit(1_000), limit(1_600));
    drop(higher.from(admin.sender()).send().await.unwrap());
    crossing.bridge.finalise(&withdrawal).await.unwrap();
    crossing.assert_sum(Amount::ZERO).await;
}

#[tokio::test]
async fn ends_that_are_not_linked_are_no_bridge() {
    let (one, other) = (Crossing::mesh().await, Crossing::mesh().await);
    let Relay::Mesh { home, .. } = &one.relay else { unreachable!() };
    let Relay::Mesh { remote, attestors, .. } = &other.relay else { unreachable!() };
    let mut wrong = *remote;
    wrong.adapter = home.adapter;
    let ends = ((one.l1.clone(), *home), (one.l1.clone(), wrong));
    let refused = MeshBridge::connect(ends.0, ends.1, attestors.clone()).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Invalid, "{}", refused.report());
}

/// An attestor that signs whatever it is asked for.
#[derive(Debug)]
struct Liar(openledger_core::Key);

#[async_trait::async_trait]
impl Attest for Liar {
    async fn attest(
        &self,
        _: u64,
        id: B256,
    ) -> openledger_core::Result<openledger_chain::bridge::Attestation> {
        let signature = self.0.sign(id).as_bytes().to_vec().into();
        Ok(openledger_chain::bridge::Attestation { attestor: self.0.address(), signature })
    }
}

#[tokio::test]
async fn one_liar_and_strangers_release_nothing() {
    let mut crossing = Crossing::mesh().await;
    crossing.bring(open(10)).await;
    let Relay::Mesh { home, remote, .. } = &crossing.relay else { unreachable!() };
    let liars: Vec<Arc<dyn Attest>> =
        [3, 0, 1].map(|index| Arc::new(Liar(keys()[index].clone())) as Arc<dyn Attest>).to_vec();
    let ends = ((crossing.l1.clone(), *home), (crossing.l2.clone(), *remote));
    let bridge = MeshBridge::connect(ends.0, ends.1, liars).await.unwrap();
    let mut message = AttestedGateway::Message {
        sourceChain: U256::from(1612),
        sourceGateway: remote.gateway,
        nonce: U256::from(77),
        sender: remote.adapter,
        recipient: home.adapter,
        payload: Default::default(),
    };
    message.payload =
        (interop(), crossing.bob.to_vec(), open(10).units()).abi_encode_params().into();
    let gateway = AttestedGateway::new(home.gateway, crossing.l1.provider());
    let id = gateway.messageId(message.clone()).call().await.unwrap();
    let forged = Withdrawal { id, block: 0, message: message.abi_encode_params().into() };
    let few = bridge.prove(&forged).await.unwrap_err();
    assert!(few.to_string().contains("1 of 2 attestations"), "{few}");
    crossing.assert_sum(Amount::ZERO).await;
}

/// Some account of chain 1612, as ERC-7930 writes it.
fn interop() -> Vec<u8> {
    [&[0, 1, 0, 0, 2, 0x06, 0x4c, 20][..], &[7; 20]].concat()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn whatever_goes_to_and_fro_is_backed(
        steps in proptest::collection::vec((any::<bool>(), 1u64..200, any::<bool>()), 1..8),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let crossing = Crossing::mesh().await;
            let mut on_its_way = Amount::ZERO;
            for (there, amount, completed) in steps {
                let amount = open(amount);
                if there {
                    let Ok(deposit) = crossing.bridge.deposit(crossing.bob, amount).await else {
                        continue; // over the day's limit
                    };
                    match completed {
                        true => drop(crossing.bridge.land(&deposit.value).await.unwrap()),
                        false => on_its_way = on_its_way.checked_add(amount).unwrap(),
                    }
                } else if crossing.l2_balance(crossing.bob).await >= amount {
                    let withdrawal = crossing.bridge.withdraw(crossing.bob, amount).await.unwrap();
                    match completed {
                        true => {
                            crossing.bridge.prove(&withdrawal.value).await.unwrap();
                            crossing.bridge.finalise(&withdrawal.value).await.unwrap();
                        }
                        false => on_its_way = on_its_way.checked_add(amount).unwrap(),
                    }
                }
                crossing.assert_sum(on_its_way).await;
            }
        });
    }
}
