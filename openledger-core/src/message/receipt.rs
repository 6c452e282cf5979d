//! A receipt: who is owed what for one answer, and everything needed to compute it again.

use std::{collections::BTreeMap, sync::LazyLock};

use alloy_primitives::{Address, B256, Keccak256, U256};
use alloy_sol_types::SolStruct;
use borsh::{BorshDeserialize, BorshSerialize};
use serde::{Deserialize, Serialize};

use super::{Message, Verified, typed};
use crate::{
    AdapterId, Amount, DatanetId, Error, ModelId, ReceiptId, Result, RowId, keccak256, share::WHOLE,
};

/// One inference: what answered, to what, for how much, and whose rows it came from.
///
/// Whoever holds the model, the adapter and the Datanet versions named here can recompute
/// [`shares`](Self::shares) with [`method`](Self::method) and must get the same bytes.
#[derive(BorshDeserialize, BorshSerialize, Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[expect(clippy::exhaustive_structs, reason = "the typed struct is fixed by deployed contracts")]
pub struct Receipt {
    /// The base model.
    pub model: ModelId,
    /// The adapter on top of it.
    pub adapter: AdapterId,
    /// The Datanet versions the adapter was trained on.
    pub datanets: Vec<DatanetVersion>,
    /// The attribution method with its parameters, as the method describes itself.
    pub method: String,
    /// Keccak-256 of the prompt's UTF-8 bytes.
    pub prompt: B256,
    /// Keccak-256 of the output's UTF-8 bytes.
    pub output: B256,
    /// Tokens read.
    pub tokens_in: u64,
    /// Tokens written.
    pub tokens_out: u64,
    /// What the payer owes.
    pub fee: Amount,
    /// Whose rows it came from.
    pub shares: Shares,
    /// Who pays.
    pub payer: Address,
    /// The node that answered, and signs.
    pub node: Address,
    /// Never used before by this node.
    pub nonce: U256,
    /// The last second (Unix time) at which the receipt may be settled.
    pub deadline: u64,
}

impl Receipt {
    /// Returns the receipt's name, its leaf in the epoch's Merkle tree.
    pub fn id(&self) -> ReceiptId {
        ReceiptId::from(self.struct_hash())
    }

    /// Returns the hash under which a prompt or an output stands in a receipt.
    pub fn text_hash(text: &str) -> B256 {
        keccak256(text)
    }
}

impl Verified<Receipt> {
    /// Returns the receipt's name without hashing it again.
    pub fn id(&self) -> ReceiptId {
        ReceiptId::from(self.struct_hash())
    }
}

impl Message for Receipt {
    fn struct_hash(&self) -> B256 {
        let datanets = self.datanets.iter().map(|version| {
            let number = word(version.version);
            hash_words([*DATANET_VERSION, version.datanet.into(), number, version.root])
        });
        let shares = self.shares.rows().iter().map(|share| {
            let RowShare { row, datanet, contributor, weight } = *share;
            let contributor = contributor.into_word();
            hash_words([*ROW_SHARE, row.into(), datanet.into(), contributor, word(weight)])
        });
        hash_words([
            *RECEIPT,
            self.model.into(),
            self.adapter.into(),
            hash_words(datanets),
            keccak256(&self.method),
            self.prompt,
            self.output,
            word(self.tokens_in),
            word(self.tokens_out),
            self.fee.units().into(),
            hash_words(shares),
            self.payer.into_word(),
            self.node.into_word(),
            self.nonce.into(),
            word(self.deadline),
        ])
    }

    fn signer(&self) -> Address {
        self.node
    }

    fn nonce(&self) -> U256 {
        self.nonce
    }

    fn deadline(&self) -> u64 {
        self.deadline
    }
}

/// EIP-712's `typeHash` of the three structs. They never change, and `typed` would make the text
/// and hash it again for every row: a million receipts spend 30 seconds on that.
static RECEIPT: LazyLock<B256> = LazyLock::new(type_hash::<typed::Receipt>);
static DATANET_VERSION: LazyLock<B256> = LazyLock::new(type_hash::<typed::DatanetVersion>);
static ROW_SHARE: LazyLock<B256> = LazyLock::new(type_hash::<typed::RowShare>);

fn type_hash<T: SolStruct>() -> B256 {
    keccak256(T::eip712_encode_type().as_bytes())
}

/// EIP-712's `encodeData` of a number.
fn word(number: u64) -> B256 {
    U256::from(number).into()
}

/// Hashes a struct's type and fields, or an array's items.
fn hash_words(words: impl IntoIterator<Item = B256>) -> B256 {
    let mut hasher = Keccak256::new();
    for word in words {
        hasher.update(word);
    }
    hasher.finalize()
}

/// A published state of a Datanet.
#[derive(
    BorshDeserialize,
    BorshSerialize,
    Clone,
    Copy,
    Debug,
    Deserialize,
    Eq,
    Hash,
    PartialEq,
    Serialize,
)]
#[expect(clippy::exhaustive_structs, reason = "the typed struct is fixed by deployed contracts")]
pub struct DatanetVersion {
    /// The Datanet.
    pub datanet: DatanetId,
    /// Its version, from 1.
    pub version: u64,
    /// Merkle root over the version's rows, leaves `(bytes32 row, address contributor)`.
    pub root: B256,
}

/// One row's part in an answer.
#[derive(
    BorshDeserialize,
    BorshSerialize,
    Clone,
    Copy,
    Debug,
    Deserialize,
    Eq,
    Hash,
    PartialEq,
    Serialize,
)]
#[expect(clippy::exhaustive_structs, reason = "the typed struct is fixed by deployed contracts")]
pub struct RowShare {
    /// The row.
    pub row: RowId,
    /// The Datanet it belongs to.
    pub datanet: DatanetId,
    /// Who contributed it.
    pub contributor: Address,
    /// Its part of [`WHOLE`].
    pub weight: u64,
}

/// The parts of all rows that have one: by ascending row, none twice, none zero, together exactly
/// [`WHOLE`].
#[derive(BorshSerialize, Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(try_from = "Vec<RowShare>")]
pub struct Shares(Vec<RowShare>);

impl Shares {
    /// Takes the shares in any order.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`](crate::ErrorKind::Invalid) if a row comes twice, has weight zero, or
    /// the weights do not add up to [`WHOLE`].
    pub fn new(mut rows: Vec<RowShare>) -> Result<Self> {
        rows.sort_unstable_by_key(|share| share.row);
        Self::from_sorted(rows)
    }

    /// Returns the shares by ascending row.
    pub fn rows(&self) -> &[RowShare] {
        &self.0
    }

    /// Adds up the weights of each contributor's rows.
    pub fn by_contributor(&self) -> BTreeMap<Address, u64> {
        self.sum_by(|share| share.contributor)
    }

    /// Adds up the weights of each Datanet's rows.
    pub fn by_datanet(&self) -> BTreeMap<DatanetId, u64> {
        self.sum_by(|share| share.datanet)
    }

    fn sum_by<K: Ord>(&self, key: impl Fn(&RowShare) -> K) -> BTreeMap<K, u64> {
        let mut sums = BTreeMap::new();
        for share in &self.0 {
            *sums.entry(key(share)).or_default() += share.weight;
        }
        sums
    }

    fn from_sorted(rows: Vec<RowShare>) -> Result<Self> {
        if let Some(pair) = rows.windows(2).find(|pair| pair[0].row >= pair[1].row) {
            return Err(Error::invalid(format!("row {} is out of order or twice", pair[1].row)));
        }
        if let Some(share) = rows.iter().find(|share| share.weight == 0) {
            return Err(Error::invalid(format!("row {} has no weight", share.row)));
        }
        let sum: u128 = rows.iter().map(|share| u128::from(share.weight)).sum();
        if sum != u128::from(WHOLE) {
            return Err(Error::invalid(format!("the shares add up to {sum}, not to {WHOLE}")));
        }
        Ok(Self(rows))
    }
}

impl BorshDeserialize for Shares {
    fn deserialize_reader<R: std::io::Read>(reader: &mut R) -> std::io::Result<Self> {
        Self::from_sorted(Vec::deserialize_reader(reader)?).map_err(std::io::Error::other)
    }
}

impl TryFrom<Vec<RowShare>> for Shares {
    type Error = Error;

    fn try_from(rows: Vec<RowShare>) -> Result<Self> {
        Self::from_sorted(rows)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The hash by `alloy`, from the Solidity structs.
    fn by_alloy(receipt: &Receipt) -> B256 {
        typed::Receipt {
            model: receipt.model.into(),
            adapter: receipt.adapter.into(),
            datanets: receipt
                .datanets
                .iter()
                .map(|version| typed::DatanetVersion {
                    datanet: version.datanet.into(),
                    version: version.version,
                    root: version.root,
                })
                .collect(),
            method: receipt.method.clone(),
            prompt: receipt.prompt,
            output: receipt.output,
            tokensIn: receipt.tokens_in,
            tokensOut: receipt.tokens_out,
            fee: receipt.fee.units(),
            shares: receipt
                .shares
                .rows()
                .iter()
                .map(|share| typed::RowShare {
                    row: share.row.into(),
                    datanet: share.datanet.into(),
                    contributor: share.contributor,
                    weight: share.weight,
                })
                .collect(),
            payer: receipt.payer,
            node: receipt.node,
            nonce: receipt.nonce,
            deadline: receipt.deadline,
        }
        .eip712_hash_struct()
    }

    proptest::proptest! {
        #[test]
        fn the_struct_hash_is_that_of_the_solidity_structs(
            bytes in proptest::array::uniform32(0u8..),
            numbers in proptest::array::uniform4(0u64..),
            method in "\\PC{0,80}",
            rows in 1..5u8,
            datanets in 0..4u8,
        ) {
            let hash = |n: u8| keccak256([&bytes[..], &[n]].concat());
            let share = |n: u8| RowShare {
                row: hash(n).into(),
                datanet: hash(n + 10).into(),
                contributor: Address::from_word(hash(n + 20)),
                // All of it by one row, or a part each and the rest to the last.
                weight: if n + 1 == rows { WHOLE - u64::from(rows - 1) * 7 } else { 7 },
            };
            let version = |n: u8| DatanetVersion {
                datanet: hash(n + 30).into(), version: numbers[0] ^ u64::from(n), root: hash(n + 40),
            };
            let receipt = Receipt {
                model: hash(50).into(),
                adapter: hash(51).into(),
                datanets: (0..datanets).map(version).collect(),
                method,
                prompt: hash(52),
                output: hash(53),
                tokens_in: numbers[1],
                tokens_out: numbers[2],
                fee: Amount::new(hash(54).into()),
                shares: Shares::new((0..rows).map(share).collect()).unwrap(),
                payer: Address::from_word(hash(55)),
                node: Address::from_word(hash(56)),
                nonce: hash(57).into(),
                deadline: numbers[3],
            };
            proptest::prop_assert_eq!(receipt.struct_hash(), by_alloy(&receipt));
        }
    }
}
