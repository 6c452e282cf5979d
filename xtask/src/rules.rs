//! Which crate may depend on what.

use std::collections::BTreeSet;

use crate::shell::{Result, cargo, output};

/// A crate, and what must not be below it in the default build.
const RULES: [(&str, &[&str]); 14] = [
    ("openledger-core", &["tokio", "candle-core", "alloy", "revm", "rayon"]),
    ("openledger-kernels", &["tokio", "candle-core", "openledger-core", "alloy-primitives"]),
    ("openledger-model", &["tokio", "alloy", "revm"]),
    ("openledger-hub", &["candle-core", "alloy", "revm", "openledger-model"]),
    ("openledger-datanet", &["candle-core", "alloy", "revm", "openledger-model"]),
    ("openledger-train", &["tokio", "alloy", "revm", "openledger-datanet"]),
    ("openledger-train-http", &["alloy", "revm", "openledger-datanet"]),
    (
        "openledger-attribution",
        &["tokio", "alloy", "revm", "openledger-datanet", "openledger-train"],
    ),
    ("openledger-serve", &["alloy", "revm", "openledger-datanet", "openledger-train"]),
    // Serving and the chain meet here, and nobody else does.
    (
        "openledger-serve-escrow",
        &["openledger-attribution", "openledger-datanet", "openledger-train"],
    ),
    ("openledger-serve-hub", &["alloy", "revm", "openledger-datanet", "openledger-train"]),
    ("openledger-http", &["candle-core", "alloy", "revm", "openledger-model"]),
    ("openledger-serve-http", &["alloy", "revm", "openledger-datanet", "openledger-train"]),
    ("openledger-chain", &["candle-core", "openledger-model", "openledger-datanet"]),
];

/// Bindings of system interfaces that compile no C.
const SYSTEM: [&str; 8] = [
    "linux-raw-sys",
    "windows-sys",
    "js-sys",
    "web-sys",
    "core-foundation-sys",
    "security-framework-sys",
    "wasi",
    "hermit-abi",
];

/// Checks every rule.
///
/// # Errors
/// Names the crate and what it must not depend on.
pub(crate) fn check() -> Result {
    for (name, forbidden) in RULES {
        let below = dependencies(name)?;
        if let Some(found) = forbidden.iter().find(|name| below.contains(**name)) {
            return Err(format!(
                "{name} must not depend on {found}; see `cargo tree -p {name} -i {found}`"
            )
            .into());
        }
        let binding =
            below.iter().find(|name| name.ends_with("-sys") && !SYSTEM.contains(&name.as_str()));
        if let Some(found) = binding {
            return Err(format!("{name} depends on {found}, which needs a C library").into());
        }
        println!("{name}: {} crates below it, none forbidden", below.len());
    }
    Ok(())
}

/// Returns the names of all crates a crate is built of, itself left out.
fn dependencies(name: &str) -> Result<BTreeSet<String>> {
    let flags = ["tree", "--prefix", "none", "--edges", "normal", "--format", "{lib}|{p}", "-p"];
    let listed = output(cargo().args(flags).arg(name))?;
    let names = listed.lines().filter_map(|line| {
        let (_, package) = line.split_once('|')?;
        package.split(' ').next()
    });
    let names: BTreeSet<&str> = names.collect();
    if names.is_empty() {
        return Err(format!("cargo tree says nothing of {name}").into());
    }
    Ok(names.into_iter().filter(|&found| found != name).map(str::to_owned).collect())
}
