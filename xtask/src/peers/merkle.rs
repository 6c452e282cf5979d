//! Trees equal OpenZeppelin's, and a contract verifies their proofs.

use std::time::{SystemTime, UNIX_EPOCH};

use openledger_chain::{Attributions, Batch, DeployOptions, Deployed, EvmChain, Genesis, embedded};
use openledger_core::{B256, Key, ReceiptId, digest, merkle::StandardTree};
use serde::Deserialize;
use serde_json::Value;

use super::Peers;
use crate::shell::{Result, output, root};

/// A tree as the library printed it.
#[derive(Deserialize)]
struct Theirs {
    root: B256,
    dump: Value,
    proofs: Vec<(usize, Vec<B256>)>,
}

pub(super) fn check(peers: &Peers) -> Result<String> {
    let seed = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    println!("merkle: seed {seed}");
    let mut script = peers.script(&root().join("xtask/peers/merkle.mjs"));
    let printed = output(script.arg(seed.to_string()))?;
    let trees =
        printed.lines().map(serde_json::from_str).collect::<serde_json::Result<Vec<Theirs>>>()?;
    if trees.iter().all(|tree| tree.proofs.is_empty()) {
        return Err("nothing to compare".into());
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (leaves, proofs) = runtime.block_on(compare(&trees))?;
    Ok(format!(
        "{} trees of {leaves} leaves: roots, dumps and {proofs} proofs the same, verified by a contract",
        trees.len()
    ))
}

async fn compare(trees: &[Theirs]) -> Result<(usize, usize)> {
    let chain = chain().await?;
    let (mut leaves, mut proofs) = (0, 0);
    for (number, theirs) in trees.iter().enumerate() {
        let differs = |what: &str| format!("tree {number}: {what} is not OpenZeppelin's");
        let loaded = StandardTree::<(B256,)>::load(&theirs.dump.to_string())?;
        let values: Vec<(B256,)> = loaded.values().copied().collect();
        let ours = StandardTree::new(values.clone())?;
        if ours.root() != theirs.root || loaded.root() != theirs.root {
            return Err(differs("the root").into());
        }
        if serde_json::from_str::<Value>(&ours.dump())? != theirs.dump {
            return Err(differs("the dump").into());
        }
        let batch = Batch {
            epoch: 0,
            model: B256::ZERO,
            root: theirs.root,
            body: B256::ZERO,
            receipts: values.len() as u64,
        };
        let batch = chain.log_batch(&batch).await?.value;
        for (leaf, proof) in &theirs.proofs {
            if ours.proof(*leaf) != *proof {
                return Err(differs(&format!("the proof of leaf {leaf}")).into());
            }
            let id = ReceiptId::from(values[*leaf].0);
            let other = ReceiptId::from(digest("xtask.other", &values[*leaf].0));
            let verified = chain.contains_receipt(batch, id, proof).await?;
            if !verified || chain.contains_receipt(batch, other, proof).await? {
                return Err(format!("tree {number}: the contract disagrees on leaf {leaf}").into());
            }
        }
        leaves += values.len();
        proofs += theirs.proofs.len();
    }
    Ok((leaves, proofs))
}

/// A chain in this process, with one account that may do everything.
async fn chain() -> Result<EvmChain> {
    let key = Key::from_bytes(B256::repeat_byte(1))?;
    let account = key.address();
    let options = DeployOptions::new(account);
    let Deployed { chain, .. } =
        EvmChain::deploy(embedded(Genesis::default(), &[key])?, options).await?;
    Ok(chain.sending_as(account))
}
