//! Escrow, batch, root, delay, claims.

use openledger_chain::{
    Attributions, Batch, BatchName, Charge, Payments, Revert, Rewards,
    da::{Availability, Local},
    settlement::{Before, Claim, Distributor, EpochBuilder, Parts, Published, Settlement},
};
use openledger_core::{
    Address, Amount, B256, Receipt, Result, encode,
    merkle::StandardTree,
    message::{Nonces, Signed, Verified},
};

use super::{ACTIVATION_DELAY, CHALLENGE_WINDOW, World, answer::Answered};

/// What settlement left behind.
pub(super) struct Settled {
    pub(super) settlement: Settlement,
    pub(super) parts: Parts,
    /// The batch of receipts.
    pub(super) batch: BatchName,
    pub(super) receipts: StandardTree<(B256,)>,
    /// The root of claims.
    pub(super) root: u64,
    pub(super) root_tx: String,
    pub(super) paid_in: Amount,
    pub(super) claims: Vec<Paid>,
    /// Whether a claim before the activation time was refused.
    pub(super) early_claim_refused: bool,
    /// Whether a settlement before the end of the challenge window was refused.
    pub(super) early_settle_refused: bool,
}

/// A claim that was paid.
pub(super) struct Paid {
    pub(super) account: Address,
    pub(super) name: String,
    pub(super) role: &'static str,
    pub(super) amount: Amount,
    pub(super) before: Amount,
    pub(super) after: Amount,
    pub(super) tx: String,
}

pub(super) async fn settle(world: &mut World, answers: &[Answered]) -> Result<Settled> {
    let node = world.chain.sending_as(world.people.node.address());
    let verified = verify_all(world, answers).await?;
    let (split, accounts) = node.fee_split().await?;
    let mut epoch = EpochBuilder::new(split, accounts, Before::default());
    for receipt in &verified {
        epoch.add(receipt, world.people.builder.address())?;
    }
    let parts = *epoch.parts();
    let owed: Amount = epoch.charges().map(|(_, amount)| amount).sum();

    fund(world, owed).await?;
    let leaves = epoch.receipts().map(|receipt| (B256::from(receipt),)).collect();
    let receipts = StandardTree::new(leaves)?;
    let body = encode(
        &answers.iter().map(|answer| answer.receipt.clone()).collect::<Vec<Signed<Receipt>>>(),
    );
    let data = Availability::new(Local::new(world.store.clone()));
    let certificate = data.put(body).await?;
    let batch = Batch {
        epoch: 0,
        model: world.model.id().into(),
        root: receipts.root(),
        body: certificate.hash(),
        receipts: verified.len() as u64,
    };
    let logged = node.log_batch(&batch).await?;
    world.journal.add("log a batch of receipts", &logged.tx);
    let charges: Vec<Charge> =
        epoch.charges().map(|(payer, amount)| Charge { payer, amount }).collect();
    let early_settle_refused =
        is_refused(&node.settle(batch.root, &charges).await, "BatchNotFinal");
    let final_at = node.batch(logged.value).await?.final_at;
    world.dev.set_next_timestamp(final_at).await?;
    world.dev.mine().await?;
    println!(
        "  a batch of receipts is logged; {} hours to challenge it pass",
        CHALLENGE_WINDOW / 3_600
    );
    let charged = node.settle(batch.root, &charges).await?;
    world.journal.add("settle the batch", &charged.tx);
    println!(
        "  {} receipts in one batch, root {}; {} OPEN charged from escrow",
        verified.len(),
        receipts.root(),
        charged.value.to_open()
    );

    let contracts = *node.contracts();
    let distributor = Distributor {
        chain_id: node.receipt_domain().chain_id,
        contract: contracts.distributor,
        token: contracts.token,
    };
    // The claims are where anybody finds them before their root is on chain.
    let published = epoch.build(&distributor, charged.value)?.publish(&data).await?;
    let submitted = published.submit(&node).await?;
    let root_tx = world.journal.add("submit the root of claims", &submitted.tx);
    let root = submitted.value;

    let claims = Published::load(&data, published.certificate(), published.settlement().root());
    let settlement = claims.await?.settlement().clone();
    let (first, proof) = settlement.claim(settlement.claims()[0].account)?;
    let early_claim_refused = is_refused(&node.claim(root, &first, &proof).await, "RootPending");
    let activates_at = node.root(root).await?.activates_at;
    world.dev.set_next_timestamp(activates_at).await?;
    world.dev.mine().await?;
    println!("  root {} submitted; {} hours pass", settlement.root(), ACTIVATION_DELAY / 3_600);

    let claims = claim_all(world, &settlement, root).await?;
    Ok(Settled {
        settlement,
        parts,
        batch: logged.value,
        receipts,
        root,
        root_tx,
        paid_in: charged.value,
        claims,
        early_claim_refused,
        early_settle_refused,
    })
}

/// Whether a contract refused, and for this reason.
fn is_refused<T>(result: &Result<T>, reason: &str) -> bool {
    let revert = result.as_ref().err().and_then(Revert::of);
    revert.is_some_and(|revert| revert.name() == reason)
}

/// Whoever settles receipts checks their signatures first.
async fn verify_all(world: &World, answers: &[Answered]) -> Result<Vec<Verified<Receipt>>> {
    let (domain, now) = (world.chain.receipt_domain(), world.chain.now().await?);
    let mut nonces = Nonces::default();
    let verify = |answer: &Answered| Ok(answer.receipt.verify(&domain, now, &mut nonces)?);
    answers.iter().map(verify).collect()
}

/// The user puts the money into escrow and allows the node to charge it.
async fn fund(world: &mut World, owed: Amount) -> Result<()> {
    let user = world.chain.sending_as(world.people.user.address());
    for sent in user.deposit(owed).await? {
        world.journal.add("deposit into escrow", &sent.tx);
    }
    let later = user.now().await? + 7 * 24 * 3_600;
    let sent = user.authorize(world.people.node.address(), owed, later).await?;
    world.journal.add("authorize the node", &sent.tx);
    Ok(())
}

async fn claim_all(world: &mut World, settlement: &Settlement, root: u64) -> Result<Vec<Paid>> {
    let mut paid = Vec::new();
    for &Claim { account, .. } in settlement.claims() {
        // Everybody claims for themselves.
        let own = world.chain.sending_as(account);
        let (claim, proof) = settlement.claim(account)?;
        let before = own.balance(account).await?;
        let sent = own.claim(root, &claim, &proof).await?;
        let after = own.balance(account).await?;
        let tx = world.journal.add("claim", &sent.tx);
        let name = world.people.name(account);
        println!("  {name} claims {} OPEN", sent.value.to_open());
        let role = role(world, account);
        paid.push(Paid { account, name, role, amount: sent.value, before, after, tx });
    }
    Ok(paid)
}

fn role(world: &World, account: Address) -> &'static str {
    let people = &world.people;
    match account {
        _ if account == people.treasury.address() => "platform",
        _ if account == people.builder.address() => "model",
        _ if account == people.stakers.address() => "stakers",
        _ => "contributor",
    }
}
