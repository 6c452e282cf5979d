//! The OP Stack's standard bridge.

use openledger_chain::{
    abi::open_token_l2::OpenTokenL2,
    alloy::{providers::Provider, sol_types::SolValue},
    bridge::{
        Bridge, Deposit, OpBridge, Withdrawal, WithdrawalStatus,
        abi::optimism_portal::{
            OptimismPortal,
            Types::{OutputRootProof, WithdrawalTransaction},
        },
        testing::{CHALLENGE_PERIOD, OpDevnet, OpRelayer},
    },
};
use openledger_core::{Address, Amount, B256, Bytes, ErrorKind, U256, keccak256};

use super::{
    Crossing, Relay, chain, deploy_l1_token, deploy_l2_token, keys, nobody_sends_what_he_has_not,
    nonce, pass, side, there_and_back,
};
use crate::{assert_denied, open};

const STANDARD_BRIDGE: &str = "0x4200000000000000000000000000000000000010";
const MESSAGE_PASSER: &str = "0x4200000000000000000000000000000000000016";

#[tokio::test]
async fn open_goes_to_l2_and_back() {
    there_and_back(Crossing::op().await).await;
}

#[tokio::test]
async fn what_is_not_there_is_not_sent() {
    nobody_sends_what_he_has_not(Crossing::op().await).await;
}

#[tokio::test]
async fn open_on_l2_votes() {
    let mut crossing = Crossing::op().await;
    crossing.bring(open(40)).await;
    let token = OpenTokenL2::new(crossing.l2_token, crossing.l2.provider().clone());
    let bob = crossing.bob;
    let votes = async || token.getVotes(bob).call().await.unwrap();
    assert_eq!(votes().await, U256::ZERO);
    drop(token.delegate(crossing.bob).from(crossing.bob).send().await.unwrap());
    assert_eq!(votes().await, open(40).units());
    crossing.bring(open(2)).await;
    assert_eq!(votes().await, open(42).units(), "what arrives later too");
    crossing.bridge.withdraw(crossing.bob, open(12)).await.unwrap();
    assert_eq!(votes().await, open(30).units(), "what is burnt no more");
}

#[tokio::test]
async fn a_deposit_lands_when_the_rollup_has_seen_it() {
    let mut crossing = Crossing::op().await;
    let deposit = crossing.bridge.deposit(crossing.bob, open(1)).await.unwrap().value;
    let early = crossing.bridge.land(&deposit).await.unwrap_err();
    assert_eq!((early.kind(), early.is_retryable()), (ErrorKind::Unavailable, true));
    crossing.derive().await;
    crossing.bridge.land(&deposit).await.unwrap();
}

#[tokio::test]
async fn a_deposit_that_failed_on_l2_is_sent_again() {
    let [admin, alice, bob, ..] = keys();
    let (l1, l2) = (chain(1).await, chain(1612).await);
    let (l1_admin, l2_admin) = (side(&l1, &admin).await, side(&l2, &admin).await);
    let devnet = OpDevnet::start(l1_admin.clone(), l2_admin.clone()).await.unwrap();
    let l1_token = deploy_l1_token(&l1_admin, alice.address()).await;
    // The token is not on L2 yet, so that nothing can be minted.
    let l2_token = l2_admin.sender().create(nonce(&l2_admin).await);
    let contracts = devnet.contracts(l1_token, l2_token);
    let (l1_side, l2_side) = (side(&l1, &alice).await, side(&l2, &bob).await);
    let bridge = OpBridge::connect(l1_side, l2_side.clone(), contracts).await.unwrap();
    let deposit = bridge.deposit(bob.address(), open(5)).await.unwrap().value;
    OpRelayer::new(devnet).derive().await.unwrap();
    let failed = bridge.land(&deposit).await.unwrap_err();
    assert_eq!(failed.kind(), ErrorKind::Denied, "it fails once more: {}", failed.report());

    let bridge_of_l2 = STANDARD_BRIDGE.parse().unwrap();
    assert_eq!(deploy_l2_token(&l2_admin, bridge_of_l2, l1_token, Address::ZERO).await, l2_token);
    let landed = bridge.land(&deposit).await.unwrap();
    assert_eq!(landed.txs.len(), 1);
    assert_eq!(super::balance(&l2_side, l2_token, bob.address()).await, open(5));
    assert_eq!(bridge.land(&deposit).await.unwrap().txs, [], "and only once");
}

#[tokio::test]
async fn a_deposit_lands_by_its_own_message_only() {
    let mut crossing = Crossing::op().await;
    let mut deposits = Vec::new();
    for amount in [1, 2] {
        let deposited = crossing.bridge.deposit(crossing.bob, open(amount)).await;
        deposits.push(deposited.unwrap().value);
    }
    crossing.derive().await;
    let renamed = Deposit { id: deposits[0].id, ..deposits[1].clone() };
    let error = crossing.bridge.land(&renamed).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt, "not what its name says");
}

#[tokio::test]
async fn nothing_can_be_proven_before_an_output_covers_it() {
    let mut crossing = Crossing::op().await;
    crossing.bring(open(10)).await;
    let withdrawal = crossing.bridge.withdraw(crossing.bob, open(10)).await.unwrap().value;
    assert_eq!(crossing.status(&withdrawal).await, WithdrawalStatus::Initiated);
    let early = crossing.bridge.prove(&withdrawal).await.unwrap_err();
    assert_eq!((early.kind(), early.is_retryable()), (ErrorKind::Unavailable, true));
}

#[tokio::test]
async fn nothing_is_released_before_the_challenge_period_is_over() {
    let mut crossing = Crossing::op().await;
    crossing.bring(open(10)).await;
    let withdrawal = crossing.bridge.withdraw(crossing.bob, open(10)).await.unwrap().value;
    crossing.propose().await;
    assert_denied(crossing.bridge.finalise(&withdrawal).await, "has not been proven");
    crossing.bridge.prove(&withdrawal).await.unwrap();
    let WithdrawalStatus::Proven { until } = crossing.status(&withdrawal).await else {
        panic!("it is being challenged");
    };
    assert_denied(crossing.bridge.finalise(&withdrawal).await, "period has not elapsed");
    crossing.dev.set_next_timestamp(until).await.unwrap();
    crossing.dev.mine().await.unwrap();
    assert_eq!(crossing.status(&withdrawal).await, WithdrawalStatus::Proven { until });
    pass(&crossing.l1, &crossing.dev, 1).await;
    assert_eq!(crossing.status(&withdrawal).await, WithdrawalStatus::Finalisable);
    crossing.bridge.finalise(&withdrawal).await.unwrap();
    assert_eq!(crossing.l1_balance(crossing.bob).await, open(10));
}

#[tokio::test]
async fn a_changed_withdrawal_cannot_be_proven() {
    let mut crossing = Crossing::op().await;
    crossing.bring(open(10)).await;
    let withdrawal = crossing.bridge.withdraw(crossing.bob, open(10)).await.unwrap().value;
    crossing.propose().await;
    let mut transaction = WithdrawalTransaction::abi_decode_params(&withdrawal.message).unwrap();
    transaction.data = {
        // The last word but two of the bridge's call is the amount; any bit will do.
        let mut data = transaction.data.to_vec();
        let middle = data.len() / 2;
        data[middle] ^= 1;
        data.into()
    };
    let message = Bytes::from(transaction.abi_encode_params());
    let renamed = Withdrawal { message: message.clone(), ..withdrawal.clone() };
    let error = crossing.bridge.prove(&renamed).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt, "not what its name says");
    let forged = Withdrawal { id: keccak256(&message), message, ..withdrawal.clone() };
    assert_denied(crossing.bridge.prove(&forged).await, "no withdrawal");

    // Nor does the portal take it with the proof of the true one.
    let Relay::Op(relayer) = &crossing.relay else { unreachable!() };
    let OpDevnet { portal, oracle, .. } = *relayer.devnet();
    let (index, output, proof) = true_proof(&crossing, oracle, &withdrawal).await;
    let portal = OptimismPortal::new(portal, crossing.l1.provider());
    let call = portal.proveWithdrawalTransaction(transaction, index, output, proof);
    let refused = call.from(crossing.alice).call().await.err().unwrap();
    let reason = openledger_chain::alloy::sol_types::decode_revert_reason(
        &refused.as_revert_data().unwrap(),
    );
    assert!(reason.unwrap().contains("MerkleTrie"), "an inclusion proof of something else");
    crossing.bridge.prove(&withdrawal).await.unwrap();
}

/// The proof that the client would send.
async fn true_proof(
    crossing: &Crossing,
    oracle: Address,
    withdrawal: &Withdrawal,
) -> (U256, OutputRootProof, Vec<Bytes>) {
    use openledger_chain::bridge::abi::l2_output_oracle::L2OutputOracle;
    let oracle = L2OutputOracle::new(oracle, crossing.l1.provider());
    let index = oracle.getL2OutputIndexAfter(U256::from(withdrawal.block)).call().await.unwrap();
    let block: u64 =
        oracle.getL2Output(index).call().await.unwrap().l2BlockNumber.try_into().unwrap();
    let node = crossing.l2.provider();
    let header = node.get_block_by_number(block.into()).await.unwrap().unwrap().header;
    let slot = keccak256((withdrawal.id, U256::ZERO).abi_encode());
    let proof = node
        .get_proof(MESSAGE_PASSER.parse().unwrap(), vec![slot])
        .block_id(block.into())
        .await
        .unwrap();
    let output = OutputRootProof {
        version: B256::ZERO,
        stateRoot: header.state_root,
        messagePasserStorageRoot: proof.storage_hash,
        latestBlockhash: header.hash,
    };
    (index, output, proof.storage_proof[0].proof.clone())
}

#[tokio::test]
async fn an_output_that_is_deleted_takes_its_proofs_along() {
    let mut crossing = Crossing::op().await;
    crossing.bring(open(10)).await;
    let withdrawal = crossing.proven(open(10)).await;
    let Relay::Op(relayer) = &crossing.relay else { unreachable!() };
    relayer.devnet().delete_outputs(0).await.unwrap();
    assert_eq!(crossing.status(&withdrawal).await, WithdrawalStatus::Initiated);
    pass(&crossing.l1, &crossing.dev, CHALLENGE_PERIOD + 1).await;
    let refused = crossing.bridge.finalise(&withdrawal).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Denied, "{}", refused.report());

    // L2 goes on, and another output is proposed in its place, by which it is proven anew.
    crossing.bring(open(1)).await;
    crossing.propose().await;
    crossing.wait().await;
    let status = crossing.status(&withdrawal).await;
    if status == WithdrawalStatus::Provable {
        crossing.bridge.prove(&withdrawal).await.unwrap();
        crossing.wait().await;
    }
    crossing.bridge.finalise(&withdrawal).await.unwrap();
    assert_eq!(crossing.l1_balance(crossing.bob).await, open(10));
    crossing.assert_sum(Amount::ZERO).await;
}

#[tokio::test]
async fn a_pause_of_l1_stops_withdrawals_until_it_ends() {
    let mut crossing = Crossing::op().await;
    crossing.bring(open(10)).await;
    let withdrawal = crossing.bridge.withdraw(crossing.bob, open(4)).await.unwrap().value;
    crossing.propose().await;
    let Relay::Op(relayer) = &crossing.relay else { unreachable!() };
    relayer.devnet().pause(true).await.unwrap();
    assert_denied(crossing.bridge.prove(&withdrawal).await, "CallPaused");
    relayer.devnet().pause(false).await.unwrap();
    crossing.bridge.prove(&withdrawal).await.unwrap();
    crossing.wait().await;
    crossing.bridge.finalise(&withdrawal).await.unwrap();
    crossing.assert_sum(Amount::ZERO).await;
}

#[tokio::test]
async fn anybody_may_prove_and_finalise_for_another() {
    let mut crossing = Crossing::op().await;
    crossing.bring(open(10)).await;
    // Alice sends on L1, and bob's withdrawal pays bob.
    let withdrawal = crossing.proven(open(10)).await;
    crossing.wait().await;
    let paid = crossing.bridge.finalise(&withdrawal).await.unwrap();
    assert_eq!(paid.txs.len(), 1);
    assert_eq!(crossing.l1_balance(crossing.bob).await, open(10));
}
