//! The contracts' own tests, and how much of the contracts they reach.

use std::{collections::BTreeMap, fs};

use super::Peers;
use crate::shell::{Result, output};

/// The part of the contracts' lines that tests must reach, in percent.
const COVERED: f64 = 95.0;

/// Runs unit, fuzz and invariant tests.
pub(super) fn test(peers: &Peers) -> Result<String> {
    let said = output(peers.in_contracts(&peers.foundry("forge"))?.arg("test"))?;
    let last = said.lines().rev().find(|line| line.starts_with("Ran ")).unwrap_or_default();
    let passed = last.split(": ").last().unwrap_or_default();
    if passed.starts_with("0 ") || !passed.contains(" 0 failed, 0 skipped") {
        return Err(format!("forge says `{last}`").into());
    }
    let invariants = said.lines().filter(|line| line.contains("] invariant_")).count();
    let least = said.lines().filter(|line| line.contains("] invariant_")).find(|line| {
        // `(runs: 256, calls: 32768, reverts: 7)`
        let calls = line.split("calls: ").nth(1).and_then(|rest| rest.split(',').next());
        calls.and_then(|calls| calls.parse::<u64>().ok()).is_none_or(|calls| calls < 256 * 128)
    });
    if invariants == 0 {
        return Err("forge ran no invariant".into());
    }
    if let Some(line) = least {
        return Err(format!("an invariant with fewer than 256 runs of depth 128: {line}").into());
    }
    Ok(format!("{passed}; {invariants} invariants with at least 256 runs of 128 calls"))
}

/// Measures which lines and branches, hence reverts, the tests reach. Fewer runs are enough for that.
pub(super) fn coverage(peers: &Peers) -> Result<String> {
    let report = peers.scratch("coverage")?.join("lcov.info");
    let mut forge = peers.in_contracts(&peers.foundry("forge"))?;
    forge.args(["coverage", "--report", "lcov", "--report-file"]).arg(&report);
    forge.args(["--no-match-path", "test/symbolic/*"]);
    forge.env("FOUNDRY_FUZZ_RUNS", "32").env("FOUNDRY_INVARIANT_RUNS", "8");
    output(&mut forge)?;
    let report = fs::read_to_string(&report)?;
    let branches = branches(&report);
    if branches.is_empty() {
        return Err("the report has no branches".into());
    }
    if let Some((place, _)) = branches.iter().find(|(_, reached)| !**reached) {
        return Err(format!("no test takes a branch of {place}").into());
    }
    let files = lines(&report);
    let [hit, all] = files.values().fold([0, 0], |sum, file| [sum[0] + file[0], sum[1] + file[1]]);
    let percent = 100.0 * f64::from(hit) / f64::from(all.max(1));
    if all == 0 || percent < COVERED {
        let worst: Vec<String> = files
            .iter()
            .filter(|(_, [hit, all])| f64::from(*hit) < f64::from(*all) * COVERED / 100.0)
            .map(|(name, [hit, all])| format!("{name} {hit} of {all}"))
            .collect();
        let worst = worst.join(", ");
        return Err(format!("{percent:.1} % of lines reached, {COVERED} asked: {worst}").into());
    }
    let (files, branches) = (files.len(), branches.len());
    Ok(format!(
        "{percent:.1} % of {all} lines in {files} files reached, and all {branches} branches"
    ))
}

/// Branches of `src` by file, line and number, and whether any test takes them.
fn branches(report: &str) -> BTreeMap<String, bool> {
    let mut branches = BTreeMap::new();
    let mut file = None;
    for line in report.lines() {
        if let Some(name) = line.strip_prefix("SF:") {
            file = name.starts_with("src/").then_some(name);
        } else if let (Some(name), Some(rest)) = (file, line.strip_prefix("BRDA:")) {
            let (place, taken) = rest.rsplit_once(',').unwrap_or((rest, "-"));
            *branches.entry(format!("{name}:{place}")).or_default() |= !matches!(taken, "0" | "-");
        }
    }
    branches
}

/// Lines reached and lines in all, by file of `src`, from a report in lcov's format.
fn lines(report: &str) -> BTreeMap<String, [u32; 2]> {
    let mut files = BTreeMap::new();
    let mut file = None;
    for line in report.lines() {
        if let Some(name) = line.strip_prefix("SF:") {
            file = name.starts_with("src/").then(|| name.to_owned());
        } else if let (Some(name), Some(rest)) = (&file, line.strip_prefix("DA:")) {
            let count: &mut [u32; 2] = files.entry(name.clone()).or_default();
            count[0] += u32::from(!rest.ends_with(",0"));
            count[1] += 1;
        }
    }
    files
}
