//! The result, for people and for programs.

use std::collections::BTreeMap;

use openledger_core::{Amount, Receipt, message::Signed};
use serde::Serialize;

use super::verify::{CheckList, Story};

/// What `--json` writes. Amounts are decimal strings of the smallest unit.
#[derive(Debug, Serialize)]
#[non_exhaustive]
pub struct Report {
    /// The Datanets.
    pub datanets: Vec<DatanetReport>,
    /// The adapters.
    pub adapters: Vec<AdapterReport>,
    /// The answers.
    pub inferences: Vec<InferenceReport>,
    /// The money.
    pub settlement: SettlementReport,
    /// What was checked, and whether it held.
    pub checks: BTreeMap<&'static str, bool>,
    /// Seconds from start to end.
    pub seconds: f64,
    /// The most memory the process held, if the system says.
    pub peak_rss_mb: Option<f64>,
}

/// A Datanet.
#[derive(Debug, Serialize)]
#[non_exhaustive]
pub struct DatanetReport {
    /// Its name.
    pub name: String,
    /// Rows of its version.
    pub rows: usize,
    /// People who contributed.
    pub contributors: usize,
    /// The version's root.
    pub root: String,
    /// The transaction that published it.
    pub tx: String,
}

/// An adapter.
#[derive(Debug, Serialize)]
#[non_exhaustive]
pub struct AdapterReport {
    /// The hash of its files.
    pub id: String,
    /// The Datanets it learned from.
    pub datanets: Vec<String>,
    /// Mean loss of the first pass over the rows.
    pub loss_first: f64,
    /// Mean loss of the last pass.
    pub loss_last: f64,
    /// The transaction that registered it.
    pub tx: String,
}

/// An answer.
#[derive(Debug, Serialize)]
#[non_exhaustive]
pub struct InferenceReport {
    /// The adapter that answered.
    pub adapter: String,
    /// What was asked; nobody trained on it.
    pub prompt: String,
    /// What it said.
    pub completion: String,
    /// What was attributed: prompt and answer.
    pub tokens: Vec<u32>,
    /// How many of the tokens are the prompt.
    pub prompt_tokens: usize,
    /// What it cost.
    pub fee: Amount,
    /// The Datanet the prompt belongs to.
    pub expected_datanet: String,
    /// The Datanet with the largest share.
    pub top_datanet: String,
    /// Shares in trillionths.
    pub shares_by_datanet: BTreeMap<String, u64>,
    /// Shares in trillionths.
    pub shares_by_contributor: BTreeMap<String, u64>,
    /// The signed receipt.
    pub receipt: Signed<Receipt>,
}

/// The money.
#[derive(Debug, Serialize)]
#[non_exhaustive]
pub struct SettlementReport {
    /// The root of claims.
    pub root: String,
    /// The transaction that submitted it.
    pub tx: String,
    /// Charged from escrow.
    pub paid_in: Amount,
    /// Claimed in all.
    pub paid_out: Amount,
    /// Each claim.
    pub claims: Vec<ClaimReport>,
}

/// A claim.
#[derive(Debug, Serialize)]
#[non_exhaustive]
pub struct ClaimReport {
    /// Who claimed.
    pub contributor: String,
    /// Under which name they appear in the story.
    pub name: String,
    /// What they are paid for: contributor, model, stakers or platform.
    pub role: &'static str,
    /// How much they got.
    pub amount: Amount,
    /// What they had before.
    pub balance_before: Amount,
    /// What they had after.
    pub balance_after: Amount,
    /// The transaction.
    pub tx: String,
}

pub(super) fn report(story: &Story<'_>, checks: CheckList, seconds: f64) -> Report {
    let datanet_name = |index: usize| story.datanets[index].name.clone();
    let name_of = |id| {
        let datanet = story.datanets.iter().find(|datanet| datanet.id == id);
        datanet.map_or_else(|| id.to_string(), |datanet| datanet.name.clone())
    };
    let inferences = story.answers.iter().map(|answer| {
        let receipt = answer.receipt.unverified();
        let shares = &receipt.shares;
        let by_contributor = shares.by_contributor().into_iter();
        InferenceReport {
            adapter: receipt.adapter.to_string(),
            prompt: answer.prompt.clone(),
            completion: answer.text.clone(),
            tokens: answer.tokens.tokens.clone(),
            prompt_tokens: answer.tokens.prompt(),
            fee: receipt.fee,
            expected_datanet: datanet_name(answer.expected),
            top_datanet: datanet_name(answer.top),
            shares_by_datanet: shares
                .by_datanet()
                .into_iter()
                .map(|(id, w)| (name_of(id), w))
                .collect(),
            shares_by_contributor: by_contributor.map(|(who, w)| (who.to_string(), w)).collect(),
            receipt: answer.receipt.clone(),
        }
    });
    let settled = story.settled;
    Report {
        datanets: story
            .datanets
            .iter()
            .map(|datanet| DatanetReport {
                name: datanet.name.clone(),
                rows: datanet.version.records().len(),
                contributors: datanet.contributors,
                root: datanet.version.pin().root.to_string(),
                tx: datanet.tx.clone(),
            })
            .collect(),
        adapters: story
            .trained
            .iter()
            .map(|trained| AdapterReport {
                id: trained.adapter.id().to_string(),
                datanets: trained.datanets.iter().map(|&index| datanet_name(index)).collect(),
                loss_first: trained.loss_first,
                loss_last: trained.loss_last,
                tx: trained.tx.clone(),
            })
            .collect(),
        inferences: inferences.collect(),
        settlement: SettlementReport {
            root: settled.settlement.root().to_string(),
            tx: settled.root_tx.clone(),
            paid_in: settled.paid_in,
            paid_out: settled.claims.iter().map(|claim| claim.amount).sum(),
            claims: settled
                .claims
                .iter()
                .map(|claim| ClaimReport {
                    contributor: claim.account.to_string(),
                    name: claim.name.clone(),
                    role: claim.role,
                    amount: claim.amount,
                    balance_before: claim.before,
                    balance_after: claim.after,
                    tx: claim.tx.clone(),
                })
                .collect(),
        },
        checks,
        seconds,
        peak_rss_mb: crate::peak_mb(),
    }
}

pub(super) fn print(report: &Report) {
    let memory = report.peak_rss_mb.map_or_else(String::new, |mb| format!(", {mb:.0} MB at most"));
    let failed = report.checks.values().filter(|holds| !**holds).count();
    match failed {
        0 => println!(
            "\nall {} checks hold; {:.0} seconds{memory}",
            report.checks.len(),
            report.seconds
        ),
        _ => println!("\n{failed} checks FAILED; {:.0} seconds{memory}", report.seconds),
    }
}
