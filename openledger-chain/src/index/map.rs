//! An ordered map whose copies share what did not change.

use std::{
    io::{Error, ErrorKind, Read, Result, Write},
    ops::RangeInclusive,
};

use borsh::{BorshDeserialize, BorshSerialize};
use rpds::RedBlackTreeMapSync;

/// A map with one order and one encoding; a copy costs nothing, so a state for each of the last
/// blocks can be kept.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Map<K: Ord, V>(RedBlackTreeMapSync<K, V>);

impl<K: Ord, V> Default for Map<K, V> {
    fn default() -> Self {
        Self(RedBlackTreeMapSync::new_sync())
    }
}

impl<K: Ord, V> Map<K, V> {
    pub(super) fn at(&self, key: &K) -> Option<&V> {
        self.0.get(key)
    }

    pub(super) fn has(&self, key: &K) -> bool {
        self.0.contains_key(key)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.0.iter()
    }

    pub(super) fn range(&self, keys: RangeInclusive<K>) -> impl Iterator<Item = (&K, &V)> {
        self.0.range(keys)
    }
}

impl<K: Clone + Ord, V: Clone> Map<K, V> {
    pub(super) fn put(&mut self, key: K, value: V) {
        self.0.insert_mut(key, value);
    }

    pub(super) fn drop(&mut self, key: &K) {
        self.0.remove_mut(key);
    }

    pub(super) fn at_mut(&mut self, key: &K) -> Option<&mut V> {
        self.0.get_mut(key)
    }

    /// Changes the value of a key, which begins as the default.
    pub(super) fn change(&mut self, key: K, change: impl FnOnce(&mut V))
    where
        V: Default,
    {
        let mut value = self.0.get(&key).cloned().unwrap_or_default();
        change(&mut value);
        self.0.insert_mut(key, value);
    }
}

impl<K: BorshSerialize + Ord, V: BorshSerialize> BorshSerialize for Map<K, V> {
    fn serialize<W: Write>(&self, out: &mut W) -> Result<()> {
        (self.0.size() as u64).serialize(out)?;
        self.0.iter().try_for_each(|(key, value)| {
            key.serialize(out)?;
            value.serialize(out)
        })
    }
}

impl<K, V> BorshDeserialize for Map<K, V>
where
    K: BorshDeserialize + Clone + Ord,
    V: BorshDeserialize + Clone,
{
    /// Entries must ascend: there is one encoding of a map.
    fn deserialize_reader<R: Read>(from: &mut R) -> Result<Self> {
        let size = u64::deserialize_reader(from)?;
        let mut map = RedBlackTreeMapSync::new_sync();
        let mut before: Option<K> = None;
        for _ in 0..size {
            let key = K::deserialize_reader(from)?;
            if before.is_some_and(|before| before >= key) {
                return Err(Error::new(ErrorKind::InvalidData, "keys that do not ascend"));
            }
            before = Some(key.clone());
            map.insert_mut(key, V::deserialize_reader(from)?);
        }
        Ok(Self(map))
    }
}
