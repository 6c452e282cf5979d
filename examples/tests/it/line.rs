//! The line from a row to a payout holds, and somebody else can check it.

use std::{collections::BTreeSet, sync::Arc};

use openledger_core::{Amount, Receipt, RowShare, Shares, Store, file, share::WHOLE};
use openledger_examples::{Checker, quickstart::run};
use openledger_model::{Model, Tokens};
use serde_json::Value;

use crate::{World, app};

const CHECKS: [&str; 15] = [
    "changed_proof_refused",
    "changed_row_refused",
    "changed_share_refused",
    "changed_signature_refused",
    "claims_raise_balances",
    "early_claim_refused",
    "early_settle_refused",
    "fees_split_10_20_20_50",
    "losses_fall",
    "paid_out_is_paid_in",
    "receipt_in_batch",
    "receipt_recomputed",
    "replayed_contribution_refused",
    "row_proven",
    "second_claim_refused",
];

#[tokio::test]
async fn rows_become_payouts_that_add_up_and_every_check_holds() {
    let world = World::new();
    let report = run(&world.options()).await.unwrap();
    assert_eq!(report.checks.keys().copied().collect::<Vec<_>>(), CHECKS);
    let failed: Vec<_> = report.checks.iter().filter(|(_, holds)| !**holds).collect();
    assert!(failed.is_empty(), "{failed:?}");

    assert_eq!(report.settlement.paid_in, report.settlement.paid_out);
    assert!(report.settlement.paid_in > Amount::ZERO);
    let fees: Amount = report.inferences.iter().map(|inference| inference.fee).sum();
    assert_eq!(fees, report.settlement.paid_in);
    for inference in &report.inferences {
        assert_eq!(inference.shares_by_datanet.values().sum::<u64>(), WHOLE);
        assert_eq!(inference.shares_by_contributor.values().sum::<u64>(), WHOLE);
    }
    // One adapter of both, which answers all held-out prompts, and one of each.
    let datanets: Vec<_> = report.adapters.iter().map(|adapter| adapter.datanets.len()).collect();
    assert_eq!(datanets, [2, 1, 1]);
    let held_out = report.inferences.iter().filter(|i| i.adapter == report.adapters[0].id);
    assert_eq!(held_out.count(), 3 + 3, "of 12 rows in each file 9 are learned");

    let written: Value =
        serde_json::from_slice(&file::read(world.path("result.json"), 1 << 24).unwrap()).unwrap();
    assert_eq!(written, serde_json::to_value(&report).unwrap());
    assert!(written["settlement"]["paid_in"].is_string(), "amounts are text");
    let keys = |value: &Value| -> BTreeSet<String> {
        value.as_object().unwrap().keys().cloned().collect()
    };
    for (part, expected) in [
        ("datanets", &["name", "rows", "contributors", "root", "tx"][..]),
        ("adapters", &["id", "datanets", "loss_first", "loss_last", "tx"][..]),
        (
            "inferences",
            &[
                "adapter",
                "prompt",
                "completion",
                "fee",
                "expected_datanet",
                "top_datanet",
                "shares_by_datanet",
                "shares_by_contributor",
                "receipt",
            ][..],
        ),
    ] {
        let found = keys(&written[part][0]);
        assert!(expected.iter().all(|name| found.contains(*name)), "{part}: {found:?}");
    }
}

#[tokio::test]
async fn somebody_else_recomputes_every_receipt_and_sees_what_was_changed() {
    let world = World::new();
    let report = run(&world.options()).await.unwrap();
    let model = Arc::new(Model::open(world.path("model")).unwrap());
    let store = Store::local(world.path("store")).await.unwrap();
    let mut checker = Checker::new(store, model);
    for inference in &report.inferences {
        let receipt = inference.receipt.unverified();
        let tokens = Tokens::from_parts(inference.tokens.clone(), inference.prompt_tokens);
        checker.check(receipt, &tokens).await.unwrap();

        let mut changed = tokens.clone();
        *changed.tokens.last_mut().unwrap() ^= 1;
        let error = checker.check(receipt, &changed).await.unwrap_err();
        assert_eq!(error.to_string(), "the receipt is for another answer");
        let greedy = RowShare { weight: WHOLE, ..receipt.shares.rows()[0] };
        let shares = Shares::new(vec![greedy]).unwrap();
        let error =
            checker.check(&Receipt { shares, ..receipt.clone() }, &tokens).await.unwrap_err();
        assert_eq!(error.to_string(), "the shares are not those of the rows");
        let fewer = Receipt { datanets: Vec::new(), ..receipt.clone() };
        assert!(checker.check(&fewer, &tokens).await.is_err());
    }

    let mut verify = app("verify");
    verify.arg(world.path("result.json")).arg("--store").arg(world.path("store"));
    let done = verify.arg("--model").arg(world.path("model")).output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let said = String::from_utf8(done.stdout).unwrap();
    assert_eq!(said.lines().count(), report.inferences.len());
}
