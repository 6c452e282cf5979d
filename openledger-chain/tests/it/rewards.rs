//! Money: deposited, charged, claimed; by whom, when, how often.

use openledger_chain::{
    Attributions, Batch, BatchName, Charge, EvmChain, Payments, Revert, Rewards,
    abi::fee_policy::FeePolicy,
    settlement::{Claim, Distributor, FeeSplit},
};
use openledger_core::{
    Address, Amount, B256, ReceiptId,
    merkle::{Leaf, StandardTree},
};

use crate::{DELAY, WINDOW, World, assert_denied, open};

/// A world in which the payer has 100 OPEN in escrow, allows the node 50, and a batch is logged.
async fn paid_world() -> (World, EvmChain) {
    let world = World::new().await;
    world.chain.transfer(world.payer.address(), open(100)).await.unwrap();
    let payer = world.sending_as(&world.payer);
    payer.deposit(open(100)).await.unwrap();
    let later = world.chain.now().await.unwrap() + EXPIRY;
    payer.authorize(world.node.address(), open(50), later).await.unwrap();
    let node = world.sending_as(&world.node);
    let name = node.log_batch(&batch(FIRST, 3)).await.unwrap().value;
    assert_eq!(name, BatchName { node: world.node.address(), root: FIRST });
    assert_denied(node.settle(FIRST, &[charge(&world, open(1))]).await, "BatchNotFinal");
    world.pass(WINDOW).await;
    (world, node)
}

/// The root of the batch that a paid world has.
const FIRST: B256 = B256::repeat_byte(1);
/// What somebody without the power is told.
const UNAUTHORIZED: &str = "AccessManagedUnauthorized";
/// Seconds for which the payer reserves money.
const EXPIRY: u64 = 100_000;

fn batch(root: B256, receipts: u64) -> Batch {
    Batch { epoch: 0, model: B256::ZERO, root, body: B256::repeat_byte(2), receipts }
}

fn charge(world: &World, amount: Amount) -> Charge {
    Charge { payer: world.payer.address(), amount }
}

/// The claims of three accounts and their tree for this world's distributor.
fn claims(
    world: &World,
    amounts: [u64; 3],
) -> (StandardTree<openledger_chain::settlement::ClaimLeaf>, Vec<Claim>) {
    let accounts = [world.contributor.address(), world.owner.address(), world.stakers];
    let claims: Vec<Claim> = accounts
        .iter()
        .zip(amounts)
        .map(|(&account, amount)| Claim { account, cumulative: open(amount) })
        .collect();
    let distributor = distributor(world);
    (
        StandardTree::new(claims.iter().map(|claim| claim.leaf(&distributor)).collect()).unwrap(),
        claims,
    )
}

fn distributor(world: &World) -> Distributor {
    Distributor {
        chain_id: 31337,
        contract: world.chain.contracts().distributor,
        token: world.chain.contracts().token,
    }
}

#[tokio::test]
async fn a_batch_is_settled_once_within_cap_balance_and_time() {
    let (world, node) = paid_world().await;
    assert_denied(node.settle(FIRST, &[charge(&world, open(51))]).await, "LockTooLow");
    let other = world.sending_as(&world.owner);
    assert_denied(other.settle(FIRST, &[charge(&world, open(1))]).await, "BatchNotFinal");
    let charges = [charge(&world, open(20)), charge(&world, open(10))];
    let sent = node.settle(FIRST, &charges).await.unwrap();
    assert_eq!(sent.value, open(30));
    let payer = world.payer.address();
    assert_eq!(node.deposited(payer).await.unwrap(), open(50), "what is not reserved is untouched");
    let reserved = node.reserved(payer, world.node.address()).await.unwrap();
    assert_eq!(reserved.amount, open(20));
    let distributor = world.chain.contracts().distributor;
    assert_eq!(node.balance(distributor).await.unwrap(), open(30));
    assert_denied(node.settle(FIRST, &charges).await, "BatchSettled");
    let second = B256::repeat_byte(3);
    node.log_batch(&batch(second, 1)).await.unwrap();
    world.pass(WINDOW).await;
    assert_denied(node.settle(second, &[charge(&world, open(21))]).await, "LockTooLow");
    assert_denied(node.release(payer, world.node.address()).await, "LockLive");
    world.pass(EXPIRY).await;
    assert_denied(node.settle(second, &[charge(&world, open(1))]).await, "LockExpired");
    node.release(payer, world.node.address()).await.unwrap();
    assert_eq!(node.deposited(payer).await.unwrap(), open(70), "an expired lock returns");
}

#[tokio::test]
async fn only_the_node_logs_and_submits_and_only_the_guardian_vetoes() {
    let (world, node) = paid_world().await;
    node.settle(FIRST, &[charge(&world, open(10))]).await.unwrap();
    let stranger = world.sending_as(&world.owner);
    let root = B256::repeat_byte(1);
    assert_denied(stranger.log_batch(&batch(B256::repeat_byte(4), 1)).await, "NodeNotAdmitted");
    assert_denied(stranger.submit_root(root, B256::ZERO, open(1)).await, UNAUTHORIZED);
    let index = node.submit_root(root, B256::ZERO, open(1)).await.unwrap().value;
    assert_denied(node.veto(index).await, UNAUTHORIZED);
    world.chain.veto(index).await.unwrap();
    assert!(world.chain.root(index).await.unwrap().disabled);
}

#[tokio::test]
async fn a_claim_pays_its_account_exactly_once_after_the_delay() {
    let (world, node) = paid_world().await;
    node.settle(FIRST, &[charge(&world, open(10))]).await.unwrap();
    let (tree, claims) = claims(&world, [5, 3, 2]);
    let index = node.submit_root(tree.root(), B256::ZERO, open(10)).await.unwrap().value;
    let account = claims[0].account;
    let anyone = world.sending_as(&world.payer);
    assert_denied(anyone.claim(index, &claims[0], &tree.proof(0)).await, "RootPending");
    world.pass(DELAY).await;

    let more = Claim { cumulative: open(6), ..claims[0] };
    assert_denied(anyone.claim(index, &more, &tree.proof(0)).await, "ProofInvalid");
    let thief = Claim { account: world.payer.address(), ..claims[0] };
    assert_denied(anyone.claim(index, &thief, &tree.proof(0)).await, "ProofInvalid");
    assert_denied(anyone.claim(index, &claims[0], &tree.proof(1)).await, "ProofInvalid");
    assert_denied(anyone.claim(index + 1, &claims[0], &tree.proof(0)).await, "RootUnknown");

    let before = anyone.balance(account).await.unwrap();
    let paid = anyone.claim(index, &claims[0], &tree.proof(0)).await.unwrap().value;
    assert_eq!((paid, anyone.claimed(account).await.unwrap()), (open(5), open(5)));
    assert_eq!(anyone.balance(account).await.unwrap(), before.checked_add(paid).unwrap());
    assert_denied(anyone.claim(index, &claims[0], &tree.proof(0)).await, "NothingToClaim");
}

#[tokio::test]
async fn a_later_root_pays_the_difference_and_an_earlier_one_nothing_more() {
    let (world, node) = paid_world().await;
    node.settle(FIRST, &[charge(&world, open(30))]).await.unwrap();
    let (first, early) = claims(&world, [5, 3, 2]);
    node.submit_root(first.root(), B256::ZERO, open(10)).await.unwrap();
    let (second, late) = claims(&world, [9, 3, 8]);
    node.submit_root(second.root(), B256::ZERO, open(20)).await.unwrap();
    world.pass(DELAY).await;
    assert_eq!(node.claim(0, &early[0], &first.proof(0)).await.unwrap().value, open(5));
    assert_eq!(node.claim(1, &late[0], &second.proof(0)).await.unwrap().value, open(4));
    assert_eq!(node.claim(1, &late[2], &second.proof(2)).await.unwrap().value, open(8));
    assert_denied(node.claim(0, &early[2], &first.proof(2)).await, "NothingToClaim");
    assert_denied(node.claim(0, &early[0], &first.proof(0)).await, "NothingToClaim");
}

#[tokio::test]
async fn roots_commit_to_no_more_than_was_funded_and_never_to_less_than_before() {
    let (world, node) = paid_world().await;
    node.settle(FIRST, &[charge(&world, open(10))]).await.unwrap();
    let root = B256::repeat_byte(9);
    assert_denied(node.submit_root(root, B256::ZERO, open(11)).await, "TotalNotFunded");
    assert_denied(node.submit_root(B256::ZERO, B256::ZERO, open(1)).await, "RootEmpty");
    node.submit_root(root, B256::ZERO, open(8)).await.unwrap();
    assert_denied(node.submit_root(root, B256::ZERO, open(7)).await, "TotalFalls");
    world.chain.veto(0).await.unwrap();
    node.submit_root(root, B256::ZERO, open(7)).await.unwrap();
    world.pass(DELAY).await;
    assert_denied(world.chain.veto(1).await, "RootActive");
}

#[tokio::test]
async fn a_vetoed_root_pays_nothing() {
    let (world, node) = paid_world().await;
    node.settle(FIRST, &[charge(&world, open(10))]).await.unwrap();
    let (tree, claims) = claims(&world, [5, 3, 2]);
    node.submit_root(tree.root(), B256::ZERO, open(10)).await.unwrap();
    world.chain.veto(0).await.unwrap();
    world.pass(DELAY).await;
    assert_denied(node.claim(0, &claims[0], &tree.proof(0)).await, "RootIsDisabled");
}

#[tokio::test]
async fn a_leaf_for_another_chain_contract_or_token_proves_nothing() {
    let (world, node) = paid_world().await;
    node.settle(FIRST, &[charge(&world, open(10))]).await.unwrap();
    let claim = Claim { account: world.contributor.address(), cumulative: open(5) };
    let here = distributor(&world);
    let elsewhere = [
        Distributor { chain_id: 1, ..here },
        Distributor { contract: Address::repeat_byte(1), ..here },
        Distributor { token: Address::repeat_byte(1), ..here },
    ];
    for (index, distributor) in (0..).zip(elsewhere) {
        let tree = StandardTree::new(vec![claim.leaf(&distributor)]).unwrap();
        node.submit_root(tree.root(), B256::ZERO, open(5)).await.unwrap();
        world.pass(DELAY).await;
        assert_denied(node.claim(index, &claim, &tree.proof(0)).await, "ProofInvalid");
    }
    let tree = StandardTree::new(vec![claim.leaf(&here)]).unwrap();
    node.submit_root(tree.root(), B256::ZERO, open(5)).await.unwrap();
    world.pass(DELAY).await;
    assert_eq!(node.claim(3, &claim, &[]).await.unwrap().value, open(5), "a tree of one leaf");
}

#[tokio::test]
async fn a_receipt_in_a_batch_is_proven_on_chain() {
    let world = World::new().await;
    let node = world.sending_as(&world.node);
    for receipts in [1u8, 2, 7] {
        let leaves: Vec<(B256,)> = (0..receipts).map(|n| (B256::repeat_byte(n + 1),)).collect();
        let tree = StandardTree::new(leaves.clone()).unwrap();
        let name = node.log_batch(&batch(tree.root(), receipts.into())).await.unwrap().value;
        for (index, leaf) in leaves.iter().enumerate() {
            let receipt = ReceiptId::from(leaf.0);
            assert!(node.contains_receipt(name, receipt, &tree.proof(index)).await.unwrap());
            let other = ReceiptId::from(B256::repeat_byte(0xee));
            assert!(!node.contains_receipt(name, other, &tree.proof(index)).await.unwrap());
            assert_ne!(leaf.hash(), leaf.0, "leaves are hashed twice");
        }
    }
    assert_denied(node.log_batch(&batch(B256::ZERO, 1)).await, "BatchEmpty");
}

#[tokio::test]
async fn money_not_reserved_comes_back_after_the_delay() {
    let (world, node) = paid_world().await;
    let payer = world.sending_as(&world.payer);
    payer.request_withdrawal(open(100)).await.unwrap();
    assert_denied(payer.withdraw().await, "WithdrawalPending");
    node.settle(FIRST, &[charge(&world, open(30))]).await.unwrap();
    world.pass(DELAY).await;
    assert_eq!(payer.withdraw().await.unwrap().value, open(50), "the node's 50 stay reserved");
    assert_eq!(node.balance(world.payer.address()).await.unwrap(), open(50));
    assert_denied(payer.withdraw().await, "NothingToWithdraw");
}

#[tokio::test]
async fn the_fee_split_is_read_from_the_chain_and_changed_by_nobody_but_governance() {
    let world = World::new().await;
    let (split, accounts) = world.chain.fee_split().await.unwrap();
    assert_eq!(split, FeeSplit::default());
    assert_eq!((accounts.treasury, accounts.staking_pool), (world.admin.address(), world.stakers));
    let fees = FeePolicy::new(world.chain.contracts().fees, world.chain.provider());
    let other = FeePolicy::Split { platform: 0, model: 1000, stakers: 1000, contributors: 8000 };
    for key in [&world.admin, &world.node, &world.owner] {
        let sender = world.sending_as(key);
        let refused = sender.send("set the split", fees.setSplit(other.clone())).await;
        assert_denied(refused, UNAUTHORIZED);
    }
    let timelock = world.chain.contracts().timelock;
    fees.setSplit(other.clone()).from(timelock).call().await.unwrap();
    let half = FeePolicy::Split { contributors: 1000, ..other };
    let refused = fees.setSplit(half).from(timelock).call().await.err().unwrap();
    let refused = refused.as_revert_data().map(|data| Revert::decode(&data).name());
    assert_eq!(refused.as_deref(), Some("SplitNotWhole"));
}
