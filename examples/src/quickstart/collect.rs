//! Datanets: created, contributed to, recorded, published.

use openledger_chain::{DatanetEntry, Registry};
use openledger_core::{
    DatanetId, Error, Result, U256, digest,
    message::{Contribution, Nonces, Signed},
};
use openledger_datanet::{Checks, Datanet, Info, Stamp, Submission, Terms, Version};

use super::{
    World,
    data::{Prompt, Source},
    people,
};

/// A Datanet with its first version.
pub(super) struct Collected {
    pub(super) name: String,
    pub(super) id: DatanetId,
    pub(super) version: Version,
    pub(super) contributors: usize,
    pub(super) held_out: Vec<Prompt>,
    /// The transaction that published the version.
    pub(super) tx: String,
    /// One of the signed contributions, for the checks.
    pub(super) signed: Signed<Contribution>,
    /// A submission, for the checks.
    pub(super) submission: Submission,
}

const LICENCE: &str = "CC-BY-4.0";

pub(super) async fn collect(world: &mut World, sources: &[Source]) -> Result<Vec<Collected>> {
    let mut collected = Vec::new();
    for source in sources {
        collected.push(collect_one(world, source).await?);
    }
    Ok(collected)
}

async fn collect_one(world: &mut World, source: &Source) -> Result<Collected> {
    let owner = world.people.key(&source.owner).address();
    let chain = world.chain.sending_as(owner);
    let domain = chain.contribution_domain();
    let info =
        Info::new(&source.name, owner, chain.datanet_domain(), LICENCE).with_contributions(domain);
    let metadata = digest("openledger.quickstart.datanet", &source.name);
    let created = chain.create_datanet(&DatanetEntry::new(&source.name, metadata)).await?;
    world.journal.add("create a Datanet", &created.tx);
    let mut datanet = Datanet::create(world.store.clone(), info, Checks::default()).await?;

    let mut nonces = Nonces::default();
    let mut last = None;
    for file in &source.files {
        let review = datanet.review(file.drafts.clone());
        let refused = review.refused.len();
        let kept = review.kept.len();
        let now = chain.now().await?;
        let stamp = Stamp {
            domain,
            secret: people::secret(&file.contributor),
            nonce: U256::from(1),
            deadline: now + 3_600,
        };
        let rows = review.kept.into_iter().map(|draft| draft.row);
        let terms = Terms::new(LICENCE, now).with_field(&source.name);
        let key = world.people.key(&file.contributor);
        let submission = Submission::sign(datanet.id(), rows, terms, stamp, key)?;
        datanet.accept(&submission, now).await?;
        let verified = submission.signed().verify(&domain, now, &mut nonces)?;
        let recorded = chain.record(&verified).await?;
        world.journal.add("record a contribution", &recorded.tx);
        let refused = if refused > 0 { format!(", {refused} refused") } else { String::new() };
        println!(
            "  {}: {} signs for {kept} rows{refused}; recorded for {} gas",
            source.name, file.contributor, recorded.tx.gas
        );
        last = Some(submission);
    }
    let version = datanet.publish(chain.now().await?).await?;
    let published = chain.publish(&version.pin(), version.records().len() as u64).await?;
    let tx = world.journal.add("publish a version", &published.tx);
    println!(
        "  {}: version 1 of {} rows, root {}",
        source.name,
        version.records().len(),
        version.pin().root
    );
    let submission = last.ok_or_else(|| Error::invalid("a Datanet without contributors"))?;
    Ok(Collected {
        name: source.name.clone(),
        id: datanet.id(),
        version,
        contributors: source.files.len(),
        held_out: source.held_out.clone(),
        tx,
        signed: submission.signed().clone(),
        submission,
    })
}
