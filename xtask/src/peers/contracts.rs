//! The committed artifacts are what the committed sources compile to.

use std::{collections::BTreeMap, path::Path};

use super::Peers;
use crate::shell::{Result, output, root};

pub(super) fn check(peers: &Peers) -> Result<String> {
    let chain = root().join("openledger-chain");
    let fresh = peers.scratch("artifacts")?;
    output(peers.script(&peers.contracts().join("compile.mjs")).arg(&fresh))?;
    let ours = compare(&chain.join("artifacts"), &fresh, "compile.mjs")?;
    output(peers.script(&peers.contracts().join("op.mjs")).arg(fresh.join("op")))?;
    let theirs = compare(&chain.join("artifacts/op"), &fresh.join("op"), "op.mjs")?;
    Ok(format!(
        "{ours} artifacts recompiled, {theirs} of the OP Stack trimmed, each the same to the byte"
    ))
}

/// Compares the artifacts of two folders and returns how many they are.
fn compare(committed: &Path, fresh: &Path, script: &str) -> Result<usize> {
    let [committed, fresh] = [files(committed)?, files(fresh)?];
    for name in committed.keys().chain(fresh.keys()) {
        if committed.get(name) != fresh.get(name) {
            return Err(
                format!("{name} is not what its source gives; run contracts/{script}").into()
            );
        }
    }
    if committed.is_empty() {
        return Err(format!("contracts/{script} made nothing").into());
    }
    Ok(committed.len())
}

fn files(folder: &Path) -> Result<BTreeMap<String, Vec<u8>>> {
    let entries = std::fs::read_dir(folder)?.collect::<std::io::Result<Vec<_>>>()?;
    let paths = entries.iter().map(std::fs::DirEntry::path);
    paths
        .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
        .map(|path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            Ok((name, std::fs::read(path)?))
        })
        .collect()
}
