//! Merkle trees in the layout of OpenZeppelin's `StandardMerkleTree`.
//!
//! Leaves are `keccak256(keccak256(abi.encode(value)))`, sorted; a node is the keccak of its two
//! children in ascending order; the tree is one array with the root first. Roots, proofs and the
//! JSON of [`StandardTree::dump`] are byte-equal to `@openzeppelin/merkle-tree` 1.0, and
//! OpenZeppelin's `MerkleProof.verify` accepts the proofs.
//!
//! ```text
//!            [0]            values: v2 v0 v1, by ascending leaf hash from the array's end
//!           /   \
//!        [1]     [2]=v2
//!       /   \
//!    [3]=v1 [4]=v0
//! ```

use std::io;

use alloy_primitives::{Address, B256, Bytes, U256, hex, keccak256};
use alloy_sol_types::SolValue;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser::SerializeStruct};
use serde_json::Value;

use crate::{Error, ErrorKind, Result};

/// A value that can be a leaf: a tuple of Solidity values.
///
/// Implemented for tuples of up to six [`Field`]s.
pub trait Leaf: Sized {
    /// The Solidity types, as `abi.encode` takes them.
    const ENCODING: &'static [&'static str];

    /// Returns `abi.encode` of the values.
    fn abi_encode(&self) -> Vec<u8>;

    /// Returns the values as ethers and OpenZeppelin write them in JSON.
    fn to_json(&self) -> Vec<Value>;

    /// Reads what [`to_json`](Self::to_json) wrote.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`] naming the value that is not of its type.
    fn from_json(values: &[Value]) -> Result<Self>;

    /// Returns the leaf's hash.
    fn hash(&self) -> B256 {
        keccak256(keccak256(self.abi_encode()))
    }
}

/// One Solidity value of a [`Leaf`].
pub trait Field: SolValue + Sized {
    /// The Solidity type.
    const TYPE: &'static str;

    /// Writes the value as JSON.
    fn to_json(&self) -> Value;

    /// Reads the value from JSON, or `None`.
    fn from_json(value: &Value) -> Option<Self>;
}

/// A tree over values of type `L`.
///
/// # Examples
/// ```
/// use openledger_core::{Address, U256, merkle::{StandardTree, verify, Leaf}};
///
/// // The example of OpenZeppelin's own documentation.
/// let values = [
///     ("0x1111111111111111111111111111111111111111".parse::<Address>()?, U256::from(5000000000000000000u64)),
///     ("0x2222222222222222222222222222222222222222".parse::<Address>()?, U256::from(2500000000000000000u64)),
/// ];
/// let tree = StandardTree::new(values.to_vec())?;
/// let root = "0xd4dee0beab2d53f2cc83e567171bd2820e49898130a22622b10ead383e90bd77".parse()?;
/// assert_eq!(tree.root(), root);
/// assert!(verify(root, values[0].hash(), &tree.proof(0)));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct StandardTree<L> {
    nodes: Vec<B256>,
    values: Vec<(L, usize)>,
}

impl<L: Leaf> StandardTree<L> {
    /// Builds the tree. The order of `values` does not change the root. Costs `2n` keccaks and a sort.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] without values: an empty tree has no root.
    pub fn new(values: Vec<L>) -> Result<Self> {
        if values.is_empty() {
            return Err(Error::invalid("a Merkle tree needs at least one value"));
        }
        let mut leaves: Vec<(B256, usize)> =
            values.iter().enumerate().map(|(index, value)| (value.hash(), index)).collect();
        // By hash, equal hashes in the order given: as JavaScript's stable sort does.
        leaves.sort_unstable();
        let last = 2 * values.len() - 2;
        let mut nodes = vec![B256::ZERO; last + 1];
        let mut values: Vec<(L, usize)> = values.into_iter().map(|value| (value, 0)).collect();
        for (position, &(hash, index)) in leaves.iter().enumerate() {
            nodes[last - position] = hash;
            values[index].1 = last - position;
        }
        for index in (0..values.len() - 1).rev() {
            nodes[index] = node_hash(nodes[2 * index + 1], nodes[2 * index + 2]);
        }
        Ok(Self { nodes, values })
    }

    /// Returns the root.
    pub fn root(&self) -> B256 {
        self.nodes[0]
    }

    /// Returns the values in the order they were given.
    pub fn values(&self) -> impl ExactSizeIterator<Item = &L> {
        self.values.iter().map(|(value, _)| value)
    }

    /// Returns the proof of the `index`-th value given: the sibling hashes from its leaf up.
    ///
    /// # Panics
    /// If there is no such value.
    pub fn proof(&self, index: usize) -> Vec<B256> {
        let mut node = self.values[index].1;
        let mut proof = Vec::new();
        while node > 0 {
            let sibling = if node.is_multiple_of(2) { node - 1 } else { node + 1 };
            proof.push(self.nodes[sibling]);
            node = (node - 1) / 2;
        }
        proof
    }

    /// Writes the tree as the JSON of OpenZeppelin's `tree.dump()`, about 330 bytes a leaf.
    pub fn dump(&self) -> String {
        serde_json::to_string(&Dump(self)).expect("strings and numbers are always JSON")
    }

    /// Writes [`dump`](Self::dump) leaf by leaf, without holding the text. Give a buffered writer.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`] if the writer refuses.
    pub fn dump_to(&self, writer: impl io::Write) -> Result<()> {
        serde_json::to_writer(writer, &Dump(self)).map_err(|e| {
            Error::new(ErrorKind::Unavailable, "cannot write the Merkle tree").with_source(e)
        })
    }

    /// Reads what [`dump`](Self::dump) or OpenZeppelin's `tree.dump()` wrote, and checks every hash.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`] if it is not such JSON, is for other leaf
    /// types, or any node is not the hash it should be.
    pub fn load(json: &str) -> Result<Self> {
        let dump: Loaded<L> = serde_json::from_str(json).map_err(|e| {
            // Another tree fails at some value or field; what it is, only its beginning says.
            let kind = serde_json::from_str::<Kind>(json).ok();
            let other = kind.and_then(|kind| kind.check::<L>().err());
            let error = other.unwrap_or_else(|| Error::corrupt("not the JSON of a Merkle tree"));
            error.with_source(e)
        })?;
        Kind { format: dump.format, leaf_encoding: dump.leaf_encoding }.check::<L>()?;
        let (values, indices): (Vec<L>, Vec<usize>) =
            dump.values.into_iter().map(|loaded| (loaded.value, loaded.tree_index)).unzip();
        let tree = Self::new(values)?;
        if tree.nodes != dump.tree || !tree.values.iter().map(|(_, i)| i).eq(&indices) {
            return Err(Error::corrupt("the tree's hashes are not those of its values"));
        }
        Ok(tree)
    }
}

/// Returns whether `proof` leads from `leaf` to `root`.
pub fn verify(root: B256, leaf: B256, proof: &[B256]) -> bool {
    proof.iter().fold(leaf, |node, &sibling| node_hash(node, sibling)) == root
}

const FORMAT: &str = "standard-v1";

/// A tree as it is written, one value at a time.
struct Dump<'a, L>(&'a StandardTree<L>);

impl<L: Leaf> Serialize for Dump<'_, L> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut dump = serializer.serialize_struct("Dump", 4)?;
        dump.serialize_field("format", FORMAT)?;
        dump.serialize_field("leafEncoding", L::ENCODING)?;
        dump.serialize_field("tree", &self.0.nodes)?;
        dump.serialize_field("values", &Values(&self.0.values))?;
        dump.end()
    }
}

struct Values<'a, L>(&'a [(L, usize)]);

impl<L: Leaf> Serialize for Values<'_, L> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(
            self.0.iter().map(|(value, tree_index)| Dumped {
                value: value.to_json(),
                tree_index: *tree_index,
            }),
        )
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Dumped {
    value: Vec<Value>,
    tree_index: usize,
}

/// A tree as it was written, nothing checked.
#[derive(Deserialize)]
#[serde(bound = "L: Leaf", rename_all = "camelCase")]
struct Loaded<L> {
    format: String,
    leaf_encoding: Vec<String>,
    tree: Vec<B256>,
    values: Vec<LoadedValue<L>>,
}

/// What a tree says that it is; formats other than ours may leave out the leaves' types.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Kind {
    format: String,
    #[serde(default)]
    leaf_encoding: Vec<String>,
}

impl Kind {
    /// Refuses a tree of another format or of leaves that are no `L`.
    fn check<L: Leaf>(&self) -> Result<()> {
        let Self { format, leaf_encoding } = self;
        if format != FORMAT {
            return Err(Error::corrupt(format!("tree format `{format}`, not `{FORMAT}`")));
        }
        if leaf_encoding != L::ENCODING {
            let expected = L::ENCODING;
            return Err(Error::corrupt(format!("leaves of {leaf_encoding:?}, not {expected:?}")));
        }
        Ok(())
    }
}

#[derive(Deserialize)]
#[serde(bound = "L: Leaf", rename_all = "camelCase")]
struct LoadedValue<L> {
    #[serde(deserialize_with = "leaf")]
    value: L,
    tree_index: usize,
}

fn leaf<'de, D: Deserializer<'de>, L: Leaf>(deserializer: D) -> Result<L, D::Error> {
    L::from_json(&Vec::deserialize(deserializer)?).map_err(de::Error::custom)
}

fn node_hash(a: B256, b: B256) -> B256 {
    let (low, high) = if a < b { (a, b) } else { (b, a) };
    let mut pair = [0; 64];
    pair[..32].copy_from_slice(&low[..]);
    pair[32..].copy_from_slice(&high[..]);
    keccak256(pair)
}

/// Implements [`Leaf`] for one tuple. `leaf!(A.0, B.1)` expands to
/// `impl<A: Field, B: Field> Leaf for (A, B)`.
macro_rules! leaf {
    ($($name:ident.$index:tt),+) => {
        impl<$($name: Field),+> Leaf for ($($name,)+)
        where
            ($($name,)+): SolValue,
            for<'a> <<($($name,)+) as SolValue>::SolType as alloy_sol_types::SolType>::Token<'a>:
                alloy_sol_types::abi::TokenSeq<'a>,
        {
            const ENCODING: &'static [&'static str] = &[$($name::TYPE),+];

            fn abi_encode(&self) -> Vec<u8> {
                SolValue::abi_encode_params(self)
            }

            fn to_json(&self) -> Vec<Value> {
                vec![$(self.$index.to_json()),+]
            }

            fn from_json(values: &[Value]) -> Result<Self> {
                if values.len() != Self::ENCODING.len() {
                    return Err(Error::corrupt(format!(
                        "a leaf of {} values, expected {:?}", values.len(), Self::ENCODING
                    )));
                }
                Ok(($($name::from_json(&values[$index]).ok_or_else(|| {
                    Error::corrupt(format!("{} is not a {}", values[$index], $name::TYPE))
                })?,)+))
            }
        }
    };
}

leaf!(A.0);
leaf!(A.0, B.1);
leaf!(A.0, B.1, C.2);
leaf!(A.0, B.1, C.2, D.3);
leaf!(A.0, B.1, C.2, D.3, E.4);
leaf!(A.0, B.1, C.2, D.3, E.4, F.5);

impl Field for Address {
    const TYPE: &'static str = "address";

    fn to_json(&self) -> Value {
        self.to_string().into()
    }

    fn from_json(value: &Value) -> Option<Self> {
        value.as_str()?.parse().ok()
    }
}

impl Field for B256 {
    const TYPE: &'static str = "bytes32";

    fn to_json(&self) -> Value {
        hex::encode_prefixed(self).into()
    }

    fn from_json(value: &Value) -> Option<Self> {
        value.as_str()?.parse().ok()
    }
}

impl Field for U256 {
    const TYPE: &'static str = "uint256";

    fn to_json(&self) -> Value {
        self.to_string().into()
    }

    fn from_json(value: &Value) -> Option<Self> {
        match value {
            Value::Number(number) => number.as_u64().map(Self::from),
            _ => value.as_str()?.parse().ok(),
        }
    }
}

impl Field for String {
    const TYPE: &'static str = "string";

    fn to_json(&self) -> Value {
        self.as_str().into()
    }

    fn from_json(value: &Value) -> Option<Self> {
        value.as_str().map(str::to_owned)
    }
}

impl Field for Bytes {
    const TYPE: &'static str = "bytes";

    fn to_json(&self) -> Value {
        hex::encode_prefixed(self).into()
    }

    fn from_json(value: &Value) -> Option<Self> {
        value.as_str()?.parse().ok()
    }
}
