//! Roots of the state and proofs of what is in it: Ethereum's Merkle-Patricia tries.
//!
//! A trie is built from its sorted leaves each time it is asked for, which costs time in
//! proportion to its size; the roots of storages are kept until the storage changes.

use alloy::{
    primitives::{Address, B256, Bytes, U256, keccak256},
    rlp,
    rpc::types::{EIP1186AccountProofResponse, EIP1186StorageProof},
    serde::JsonStorageKey,
    trie::{HashBuilder, Nibbles, TrieAccount, proof::ProofRetainer},
};

use super::state::{Account, State};

/// What a trie holds: hashed keys with the encoded values, in order.
type Leaves = Vec<(B256, Vec<u8>)>;

impl State {
    /// Returns the root that a header of this state has.
    pub(super) fn root(&self) -> B256 {
        prove(&self.leaves(), &[]).0
    }

    /// Proves an account and slots of its storage, or that they are not there.
    pub(super) fn prove(
        &self,
        address: Address,
        keys: &[JsonStorageKey],
    ) -> EIP1186AccountProofResponse {
        let absent = Account::default();
        let account = self.get(address).unwrap_or(&absent);
        let (_, account_proofs) = prove(&self.leaves(), &[keccak256(address)]);
        let hashed: Vec<B256> = keys.iter().map(|key| keccak256(key.as_b256())).collect();
        let (storage_hash, storage_proofs) = prove(&account.leaves(), &hashed);
        let storage_proof = keys.iter().zip(storage_proofs).map(|(&key, proof)| {
            let slot = U256::from_be_bytes(key.as_b256().0);
            let value = account.storage.get(&slot).copied().unwrap_or_default();
            EIP1186StorageProof { key, value, proof }
        });
        EIP1186AccountProofResponse {
            address,
            balance: account.info.balance,
            code_hash: account.info.code_hash,
            nonce: account.info.nonce,
            storage_hash,
            account_proof: account_proofs.into_iter().next().unwrap_or_default(),
            storage_proof: storage_proof.collect(),
        }
    }

    fn leaves(&self) -> Leaves {
        sorted(self.iter().map(|(address, account)| {
            let leaf = TrieAccount {
                nonce: account.info.nonce,
                balance: account.info.balance,
                storage_root: account.storage_root(),
                code_hash: account.info.code_hash,
            };
            (keccak256(address), rlp::encode(leaf))
        }))
    }
}

impl Account {
    fn storage_root(&self) -> B256 {
        *self.storage_root.get_or_init(|| prove(&self.leaves(), &[]).0)
    }

    fn leaves(&self) -> Leaves {
        sorted(self.storage.iter().map(|(slot, value)| {
            (keccak256(B256::from(*slot)), rlp::encode_fixed_size(value).to_vec())
        }))
    }
}

fn sorted(leaves: impl Iterator<Item = (B256, Vec<u8>)>) -> Leaves {
    let mut leaves: Leaves = leaves.collect();
    leaves.sort_unstable_by_key(|(key, _)| *key);
    leaves
}

/// Returns the root of a trie and, for each target, the nodes on the way to it.
fn prove(leaves: &Leaves, targets: &[B256]) -> (B256, Vec<Vec<Bytes>>) {
    let targets: Vec<Nibbles> = targets.iter().map(Nibbles::unpack).collect();
    let retainer = ProofRetainer::new(targets.clone());
    let mut trie = HashBuilder::default().with_proof_retainer(retainer);
    for (key, value) in leaves {
        trie.add_leaf(Nibbles::unpack(key), value);
    }
    let root = trie.root();
    let nodes = trie.take_proof_nodes();
    let path = |target: &Nibbles| {
        nodes.matching_nodes_sorted(target).into_iter().map(|(_, node)| node).collect()
    };
    (root, targets.iter().map(path).collect())
}
