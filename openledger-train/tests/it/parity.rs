//! Every case of the reference, number by number.

use std::path::PathBuf;

use openledger_train::parity;

#[track_caller]
fn check(case: &str) {
    let shared = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared"));
    let folder = shared.join("cases/train").join(case);
    if !folder.exists() {
        println!("skipped: `{}` is not there", folder.display());
        return;
    }
    let checks = parity::compare(&folder).unwrap().checks;
    for check in &checks {
        println!("{:<48} {:.2e} of {:.0e}", check.name, check.max_difference, check.tolerance);
    }
    let failed: Vec<_> = checks.iter().filter(|check| !check.pass).collect();
    assert!(checks.len() > 6 && failed.is_empty(), "{failed:?}");
}

#[test]
fn mistral() {
    check("arch/mistral");
}

#[test]
fn qwen2() {
    check("arch/qwen2");
}

#[test]
fn deepseek_v2() {
    check("arch/deepseek_v2_lite");
}

#[test]
fn deepseek_v3() {
    check("arch/deepseek_v3");
}

#[test]
fn llama_mini() {
    check("llama-mini");
}

#[test]
fn llama() {
    check("llama");
}
