//! Gas, step by step: the same on the embedded chain and on a real node, and within its limits.

use serde_json::Value;

use super::{Peers, node::Anvil};
use crate::shell::{Result, cargo, json, output};

pub(super) fn check(peers: &Peers) -> Result<String> {
    let folder = peers.scratch("gas")?;
    let measure = |name: &str, url: Option<&str>| -> Result<Value> {
        let report = folder.join(format!("{name}.json"));
        let mut command = cargo();
        command.args(["run", "--quiet", "--release"]);
        command.args(["--example", "chain_gas", "--", "--json"]).arg(&report);
        if let Some(url) = url {
            command.args(["--rpc", url]);
        }
        output(&mut command)?;
        json(&report)
    };
    let ours = measure("embedded", None)?;
    let anvil = Anvil::start(&peers.foundry("anvil"))?;
    let theirs = measure("anvil", Some(&anvil.url))?;
    let steps = |report: &Value| report["steps"].as_array().cloned().unwrap_or_default();
    let [ours, theirs] = [&ours, &theirs].map(steps);
    if ours.is_empty() || ours.len() != theirs.len() {
        return Err(format!("{} steps here, {} on anvil", ours.len(), theirs.len()).into());
    }
    for (ours, theirs) in ours.iter().zip(&theirs) {
        if ours != theirs {
            return Err(format!("{ours} here, {theirs} on anvil").into());
        }
    }
    Ok(format!("{} steps, each the same gas on anvil and within its limit", ours.len()))
}
