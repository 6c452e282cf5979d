//! The committed artifacts are what the committed sources compile to.

use std::{collections::BTreeMap, path::Path};

use super::Peers;
use crate::shell::{Result, output, root};

pub(super) fn check(peers: &Peers) -> Result<String> {
    let chain = root().join("openledger-chain");
    let fresh = peers.scratch("artifacts")?;
    output(peers.script(&peers.contracts().join("compile.mjs")).arg(&fresh))?;
    let committed = files(&chain.join("artifacts"))?;
    let compiled = files(&fresh)?;
    for name in committed.keys().chain(compiled.keys()) {
        if committed.get(name) != compiled.get(name) {
            return Err(format!(
                "artifacts/{name} is not what the source compiles to; run contracts/compile.mjs"
            )
            .into());
        }
    }
    Ok(format!("{} artifacts recompiled, each the same to the byte", committed.len()))
}

fn files(folder: &Path) -> Result<BTreeMap<String, Vec<u8>>> {
    std::fs::read_dir(folder)?
        .map(|entry| {
            let path = entry?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            Ok((name, std::fs::read(path)?))
        })
        .collect()
}
