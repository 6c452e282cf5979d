//! What anybody can check afterwards, and what is refused when something was changed.

use std::{collections::BTreeMap, sync::Arc};

use openledger_chain::{Attributions, Registry, Rewards, settlement::Claim};
use openledger_core::{
    Amount, B256, Receipt, Result, Row, RowShare, Shares, merkle,
    message::{Nonces, Signature, Signed},
    share::split,
};
use openledger_datanet::{Checks, Datanet, Submission};

use super::{World, answer::Answered, collect::Collected, learn::Trained, settle::Settled};

use crate::Checker;

/// All that happened.
pub(super) struct Story<'a> {
    pub(super) datanets: &'a [Collected],
    pub(super) trained: &'a [Trained],
    pub(super) answers: &'a [Answered],
    pub(super) settled: &'a Settled,
}

/// Checks by name; each is true if it came out as it should.
pub(super) type CheckList = BTreeMap<&'static str, bool>;

pub(super) async fn verify(world: &mut World, story: &Story<'_>) -> Result<CheckList> {
    let mut checks = CheckList::new();
    let mut check = |name: &'static str, said: String, holds: bool| {
        println!("  [{}] {said}", if holds { "ok" } else { "FAILED" });
        checks.insert(name, holds);
    };

    let same = recompute(world, story).await?;
    check(
        "receipt_recomputed",
        "a receipt's shares recomputed from model and data: the same bytes".into(),
        same,
    );

    let (proven, on_chain, changed) = row_proofs(world, story).await?;
    check(
        "row_proven",
        "a row of its contributor is in the version, by proof".into(),
        proven && on_chain,
    );
    check(
        "changed_row_refused",
        format!("a changed row: {changed}"),
        changed.contains("covers other rows"),
    );

    let (share, refused) = changed_share(world, story).await?;
    check("changed_share_refused", format!("a changed share: {share}"), refused);
    let (signature, refused) = changed_signature(world, story).await?;
    check("changed_signature_refused", format!("a changed signature: {signature}"), refused);
    let (replay, refused) = replayed(world, story).await?;
    check("replayed_contribution_refused", format!("a contribution sent twice: {replay}"), refused);

    let in_batch = receipt_in_batch(world, story).await?;
    check("receipt_in_batch", "every receipt is in the batch on chain, by proof".into(), in_batch);
    let (proof, refused) = changed_proof(world, story).await?;
    check("changed_proof_refused", format!("a changed proof: {proof}"), refused);
    let (twice, refused) = claimed_twice(world, story).await?;
    check("second_claim_refused", format!("a second claim: {twice}"), refused);
    let early = story.settled.early_claim_refused;
    check("early_claim_refused", "a claim before the activation time was refused".into(), early);

    let early = story.settled.early_settle_refused;
    check(
        "early_settle_refused",
        "a settlement while receipts could still be disputed was refused".into(),
        early,
    );

    let paid_out: Amount = story.settled.claims.iter().map(|claim| claim.amount).sum();
    let exact = paid_out == story.settled.paid_in && paid_out == story.settled.settlement.total();
    let said = format!("{paid_out} units paid out, {} paid in", story.settled.paid_in);
    check("paid_out_is_paid_in", said, exact);
    check(
        "fees_split_10_20_20_50",
        "10 % platform, 20 % model, 20 % stakers, 50 % contributors".into(),
        split_holds(story)?,
    );
    let raised = story.settled.claims.iter();
    let raised =
        raised.clone().all(|claim| claim.before.checked_add(claim.amount) == Some(claim.after));
    check(
        "claims_raise_balances",
        "each claim raised the balance by exactly its amount".into(),
        raised,
    );
    let falls = story.trained.iter().all(|trained| trained.loss_last < trained.loss_first);
    check("losses_fall", "every adapter's loss fell".into(), falls);
    Ok(checks)
}

/// Computes one receipt's shares again, as somebody else would.
async fn recompute(world: &World, story: &Story<'_>) -> Result<bool> {
    // Of the adapter with the fewest rows: the checker computes all their gradients.
    let rows = |answer: &&Answered| story.trained[answer.trained].corpus.rows().len();
    let Some(answer) = story.answers.iter().min_by_key(rows) else { return Ok(false) };
    let receipt = answer.receipt.unverified();
    let mut checker = Checker::new(world.store.clone(), Arc::clone(&world.model));
    Ok(checker.check(receipt, &answer.tokens).await.is_ok())
}

async fn row_proofs(world: &World, story: &Story<'_>) -> Result<(bool, bool, String)> {
    let datanet = &story.datanets[0];
    let record = &datanet.version.records()[0];
    let pin = datanet.version.pin();
    let (leaf, proof) = datanet.version.proof(record.id)?;
    let proven = merkle::verify(pin.root, leaf, &proof);
    let on_chain = world.chain.contains_row(&pin, record.id, record.contributor, &proof).await?
        && !world.chain.contains_row(&pin, record.id, world.people.user.address(), &proof).await?;

    // The same submission with one word more in one row.
    let mut rows = datanet.submission.rows().to_vec();
    let longer = format!("{} Really.", rows[0].0.completion());
    rows[0].0 = match rows[0].0.prompt() {
        "" => Row::passage(&longer)?,
        prompt => Row::exchange(prompt, &longer)?,
    };
    let terms = datanet.submission.terms().clone();
    let changed = Submission::from_parts(rows, terms, datanet.signed.clone());
    let refused = accept(world, datanet, &changed).await?;
    Ok((proven, on_chain, refused))
}

/// What a Datanet says to a submission it must not take.
async fn accept(world: &World, datanet: &Collected, submission: &Submission) -> Result<String> {
    let mut open = Datanet::open(world.store.clone(), datanet.id, Checks::default()).await?;
    let now = submission.terms().written_at;
    Ok(match open.accept(submission, now).await {
        Ok(_) => "taken".to_owned(),
        Err(e) => e.report(),
    })
}

async fn changed_share(world: &World, story: &Story<'_>) -> Result<(String, bool)> {
    let genuine = &story.answers[0].receipt;
    let receipt = genuine.unverified();
    // All of it to whoever has the first row.
    let greedy = RowShare { weight: openledger_core::share::WHOLE, ..receipt.shares.rows()[0] };
    let changed = Receipt { shares: Shares::new(vec![greedy])?, ..receipt.clone() };
    let domain = world.chain.receipt_domain();
    let forged = Signed::from_parts(changed, domain, *genuine.signature());
    said(forged.verify_reusable(&domain, world.chain.now().await?).err())
}

async fn changed_signature(world: &World, story: &Story<'_>) -> Result<(String, bool)> {
    let genuine = &story.answers[0].receipt;
    let mut bytes = *genuine.signature().as_bytes();
    bytes[7] ^= 1;
    let domain = world.chain.receipt_domain();
    let forged =
        Signed::from_parts(genuine.unverified().clone(), domain, Signature::from_bytes(bytes));
    said(forged.verify_reusable(&domain, world.chain.now().await?).err())
}

async fn replayed(world: &World, story: &Story<'_>) -> Result<(String, bool)> {
    let datanet = &story.datanets[0];
    let now = datanet.submission.terms().written_at;
    let mut nonces = Nonces::default();
    let domain = world.chain.contribution_domain();
    let first = datanet.signed.verify(&domain, now, &mut nonces);
    let second = datanet.signed.verify(&domain, now, &mut nonces);
    let report = accept(world, datanet, &datanet.submission).await?;
    Ok((report.clone(), first.is_ok() && second.is_err() && report.contains("used before")))
}

async fn receipt_in_batch(world: &World, story: &Story<'_>) -> Result<bool> {
    let Settled { batch, receipts, .. } = story.settled;
    let leaves: Vec<B256> = receipts.values().map(|leaf| leaf.0).collect();
    for answer in story.answers {
        let id = answer.receipt.unverified().id();
        let place = leaves.iter().position(|&leaf| leaf == B256::from(id));
        let Some(place) = place else { return Ok(false) };
        if !world.chain.contains_receipt(*batch, id, &receipts.proof(place)).await? {
            return Ok(false);
        }
    }
    Ok(true)
}

async fn changed_proof(world: &World, story: &Story<'_>) -> Result<(String, bool)> {
    let account = story.settled.claims[0].account;
    let (claim, mut proof) = story.settled.settlement.claim(account)?;
    // One more unit than earned, and a proof with a flipped bit.
    let more =
        Claim { cumulative: claim.cumulative.checked_add(1.into()).unwrap_or_default(), ..claim };
    let with_more = world.chain.claim(story.settled.root, &more, &proof).await;
    proof[0].0[0] ^= 1;
    let with_flip = world.chain.claim(story.settled.root, &claim, &proof).await;
    let reports = [with_more, with_flip]
        .map(|answer| answer.err().map_or_else(|| "taken".to_owned(), |e| e.report()));
    let both = reports.iter().all(|report| report.contains("proof invalid"));
    let [_, with_flip] = reports;
    Ok((with_flip, both))
}

async fn claimed_twice(world: &World, story: &Story<'_>) -> Result<(String, bool)> {
    let account = story.settled.claims[0].account;
    let (claim, proof) = story.settled.settlement.claim(account)?;
    let before = world.chain.balance(account).await?;
    let again = world.chain.claim(story.settled.root, &claim, &proof).await;
    let after = world.chain.balance(account).await?;
    let report = again.err().map_or_else(|| "paid".to_owned(), |e| e.report());
    let refused = report.contains("nothing to claim") && before == after;
    Ok((report, refused))
}

/// The parts of every fee, computed again the simple way.
fn split_holds(story: &Story<'_>) -> Result<bool> {
    let mut sums = [Amount::ZERO; 4];
    for answer in story.answers {
        let parts = split(answer.receipt.unverified().fee, &[1, 2, 2, 5])?;
        for (sum, part) in sums.iter_mut().zip(parts) {
            *sum = [*sum, part].into_iter().sum();
        }
    }
    let of_role = |role: &str| -> Amount {
        let claims = story.settled.claims.iter().filter(|claim| claim.role == role);
        claims.map(|claim| claim.amount).sum()
    };
    let claimed = ["platform", "model", "stakers", "contributor"].map(of_role);
    let parts = story.settled.parts;
    let counted = [parts.platform, parts.model, parts.stakers, parts.contributors];
    Ok(sums == claimed && sums == counted)
}

fn said(refusal: Option<openledger_core::message::SignatureError>) -> Result<(String, bool)> {
    Ok(match refusal {
        Some(refusal) => (refusal.to_string(), true),
        None => ("taken".to_owned(), false),
    })
}
