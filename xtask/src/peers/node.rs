//! The embedded EVM and a real node give the same gas, logs and results.

use std::{
    net::{TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use serde_json::Value;

use super::Peers;
use crate::shell::{Result, cargo, json, output};

/// Anvil, stopped when it goes out of scope.
pub(super) struct Anvil {
    process: Child,
    pub(super) url: String,
}

impl Anvil {
    /// Starts a node like the embedded chain: the same rules, clock and chain id.
    pub(super) fn start(program: &Path) -> Result<Self> {
        let port = TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port();
        let mut process = Command::new(program)
            .args(["--host", "127.0.0.1", "--port", &port.to_string()])
            .args(["--hardfork", "prague", "--timestamp", "1800000000", "--chain-id", "31337"])
            .stdout(Stdio::null())
            .spawn()
            .map_err(|e| format!("cannot start {}: {e}", program.display()))?;
        let begun = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            if let Some(status) = process.try_wait()? {
                return Err(format!("anvil ended with {status}").into());
            }
            if begun.elapsed() > Duration::from_secs(30) {
                process.kill()?;
                return Err("anvil does not listen".into());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(Self { process, url: format!("http://127.0.0.1:{port}") })
    }
}

impl Drop for Anvil {
    fn drop(&mut self) {
        // It may have ended already; there is nobody to tell.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

pub(super) fn check(peers: &Peers) -> Result<String> {
    let folder = peers.scratch("node")?;
    let (embedded, log) = quickstart(&folder, "embedded", None)?;
    let anvil = Anvil::start(&peers.foundry("anvil"))?;
    let (real, real_log) = quickstart(&folder, "anvil", Some(&anvil.url))?;

    let [ours, theirs] = [&log, &real_log].map(|log| log.as_array().map_or(&[][..], |all| all));
    if ours.is_empty() || ours.len() != theirs.len() {
        return Err(format!("{} transactions here, {} on anvil", ours.len(), theirs.len()).into());
    }
    for (number, (ours, theirs)) in ours.iter().zip(theirs).enumerate() {
        if ours != theirs {
            return Err(format!("transaction {number}: {ours} here, {theirs} on anvil").into());
        }
    }
    for part in ["datanets", "adapters", "inferences", "settlement", "checks"] {
        let [ours, theirs] = [&embedded[part], &real[part]].map(without_hashes);
        if ours != theirs {
            return Err(format!("`{part}`: {ours} here, {theirs} on anvil").into());
        }
    }
    let gas: u64 = ours.iter().filter_map(|tx| tx["gas"].as_u64()).sum();
    let logs: usize = ours.iter().filter_map(|tx| tx["logs"].as_array()).map(Vec::len).sum();
    Ok(format!(
        "{} transactions, {gas} gas, {logs} logs and all results the same on anvil",
        ours.len()
    ))
}

/// Runs the quickstart and returns its result and its log of transactions.
fn quickstart(folder: &Path, name: &str, url: Option<&str>) -> Result<(Value, Value)> {
    let result = folder.join(format!("{name}.json"));
    let log = folder.join(format!("{name}.log.json"));
    let mut command = cargo();
    command.args(["run", "--quiet", "--release"]);
    // One pass over the rows: the chain part is the same, only the answers are worse.
    command.args(["--example", "quickstart", "--", "--epochs", "1"]);
    command.arg("--json").arg(&result).arg("--chain-log").arg(&log);
    if let Some(url) = url {
        command.args(["--rpc", url]);
    }
    output(&mut command)?;
    Ok((json(&result)?, json(&log)?))
}

/// Drops hashes of transactions: they cover the fee a node suggests, which is not part of the
/// result.
fn without_hashes(value: &Value) -> Value {
    match value {
        Value::Array(all) => all.iter().map(without_hashes).collect(),
        Value::Object(fields) => {
            let kept = fields.iter().filter(|(name, _)| *name != "tx");
            kept.map(|(name, value)| (name.clone(), without_hashes(value))).collect()
        }
        other => other.clone(),
    }
}
