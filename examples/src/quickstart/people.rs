//! Who takes part. Keys are derived from names: this is a demonstration, and must come out the same
//! every time.

use std::collections::BTreeMap;

use openledger_core::{Address, B256, Key, Result, digest};

use super::data::Source;

/// Everybody's keys.
pub(super) struct People {
    /// Administers the contracts.
    pub(super) admin: Key,
    /// The platform's treasury, which holds all OPEN at first.
    pub(super) treasury: Key,
    /// The stakers' pool.
    pub(super) stakers: Key,
    /// Trains adapters and owns them.
    pub(super) builder: Key,
    /// Serves answers, attributes them, settles.
    pub(super) node: Key,
    /// Asks and pays.
    pub(super) user: Key,
    /// Contributors and owners of Datanets, by name.
    others: BTreeMap<String, Key>,
    names: BTreeMap<Address, String>,
}

impl People {
    pub(super) fn new(sources: &[Source]) -> Result<Self> {
        let mut others = BTreeMap::new();
        for source in sources {
            for name in source.files.iter().map(|file| &file.contributor).chain([&source.owner]) {
                others.insert(name.clone(), key(name)?);
            }
        }
        let mut people = Self {
            admin: key("admin")?,
            treasury: key("treasury")?,
            stakers: key("stakers")?,
            builder: key("builder")?,
            node: key("node")?,
            user: key("user")?,
            others,
            names: BTreeMap::new(),
        };
        let fixed = [
            ("the platform", &people.treasury),
            ("the stakers", &people.stakers),
            ("the builder", &people.builder),
        ];
        people.names = fixed
            .into_iter()
            .map(|(name, key)| (key.address(), name.to_owned()))
            .chain(people.others.iter().map(|(name, key)| (key.address(), name.clone())))
            .collect();
        Ok(people)
    }

    /// Returns a contributor's or owner's key.
    ///
    /// # Panics
    /// For a name that is in no source.
    pub(super) fn key(&self, name: &str) -> &Key {
        self.others.get(name).expect("names come from the sources the people were made of")
    }

    /// Returns what a person would call an account.
    pub(super) fn name(&self, account: Address) -> String {
        self.names.get(&account).cloned().unwrap_or_else(|| account.to_string())
    }

    /// Returns all keys, for the wallet.
    pub(super) fn keys(&self) -> Vec<Key> {
        let fixed =
            [&self.admin, &self.treasury, &self.stakers, &self.builder, &self.node, &self.user];
        fixed.into_iter().chain(self.others.values()).cloned().collect()
    }
}

/// The secret that blinds a contributor's row names.
pub(super) fn secret(name: &str) -> B256 {
    digest("openledger.quickstart.secret", &name.to_owned())
}

fn key(name: &str) -> Result<Key> {
    Key::from_bytes(digest("openledger.quickstart.key", &name.to_owned()))
}
