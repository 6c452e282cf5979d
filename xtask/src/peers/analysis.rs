//! What other people's analysers say of the contracts.

use serde_json::Value;

use super::Peers;
use crate::shell::{Result, complaints, json, output};

const HALMOS: &str = "halmos==0.3.3";
const SLITHER: &str = "slither-analyzer==0.11.6";

/// Proves the small properties for every input: the functions `check_…` of `test/symbolic`.
pub(super) fn halmos(peers: &Peers) -> Result<String> {
    let halmos = peers.python(HALMOS, "halmos")?;
    let report = peers.scratch("halmos")?.join("report.json");
    let mut command = peers.in_contracts(&halmos)?;
    command.args(["--function", "check_", "--no-status", "--json-output"]).arg(&report);
    output(&mut command)?;
    let report: Value = json(&report)?;
    let contracts = report["test_results"].as_object().ok_or("halmos reported nothing")?;
    let results: Vec<&Value> = contracts.values().filter_map(Value::as_array).flatten().collect();
    if let Some(failed) = results.iter().find(|result| result["exitcode"] != 0) {
        return Err(format!("{} is not proven", failed["name"]).into());
    }
    if results.is_empty() {
        return Err("halmos found no property".into());
    }
    Ok(format!("{} properties proven for every input", results.len()))
}

/// Looks for known mistakes. A finding that is none has its reason beside the line, after
/// `slither-disable-next-line`.
pub(super) fn slither(peers: &Peers) -> Result<String> {
    let slither = peers.python(SLITHER, "slither")?;
    let report = peers.scratch("slither")?.join("report.json");
    let mut command = peers.in_contracts(&slither)?;
    command.args([
        ".",
        "--filter-paths",
        "/contracts/(node_modules|test)/",
        "--exclude-informational",
    ]);
    command.args(["--exclude-optimization", "--exclude-low", "--fail-none", "--json"]).arg(&report);
    // A function that it cannot read is one that it does not check.
    if complaints(&mut command)?.contains("Impossible to generate IR") {
        return Err("slither passed over a function".into());
    }
    let report: Value = json(&report)?;
    if report["success"] != true {
        return Err(format!("slither failed: {}", report["error"]).into());
    }
    let none = Vec::new();
    let findings = report["results"]["detectors"].as_array().unwrap_or(&none);
    for finding in findings {
        println!("{}", finding["description"].as_str().unwrap_or_default());
    }
    match findings.len() {
        0 => Ok("no high or medium finding without a written reason".into()),
        count => Err(format!("{count} findings of high or medium impact").into()),
    }
}
