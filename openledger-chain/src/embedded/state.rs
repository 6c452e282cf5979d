//! Accounts and their storage, as a value: a copy costs nothing and never changes.
//!
//! Every map is persistent (a hash array mapped trie that shares what did not change), so that the
//! chain keeps the states of its last blocks, snapshots are copies, and going back is assignment.

use std::{convert::Infallible, sync::OnceLock};

use alloy::primitives::{
    Address, B256, Bytes, U256,
    map::{AddressMap, DefaultHashBuilder},
};
use revm::{
    DatabaseRef,
    bytecode::Bytecode,
    state::{Account as Changed, AccountInfo},
};
use rpds::HashTrieMapSync;

use super::block::Blocks;

/// A persistent map with the hasher that the EVM's own maps have.
pub(super) type Map<K, V> = HashTrieMapSync<K, V, DefaultHashBuilder>;

/// The accounts after some block.
#[derive(Clone, Default)]
pub(super) struct State {
    accounts: Map<Address, Account>,
}

/// An account that is not empty, by the rule of EIP-161.
#[derive(Clone, Default)]
pub(super) struct Account {
    /// With the code: a lookup by hash would cost another map.
    pub(super) info: AccountInfo,
    /// Slots that are not zero.
    pub(super) storage: Map<U256, U256>,
    /// The root of the storage, once somebody asked.
    pub(super) storage_root: OnceLock<B256>,
}

impl State {
    pub(super) fn get(&self, address: Address) -> Option<&Account> {
        self.accounts.get(&address)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&Address, &Account)> {
        self.accounts.iter()
    }

    pub(super) fn info(&self, address: Address) -> AccountInfo {
        self.get(address).map(|account| account.info.clone()).unwrap_or_default()
    }

    pub(super) fn balance(&self, address: Address) -> U256 {
        self.get(address).map(|account| account.info.balance).unwrap_or_default()
    }

    pub(super) fn nonce(&self, address: Address) -> u64 {
        self.get(address).map(|account| account.info.nonce).unwrap_or_default()
    }

    pub(super) fn code(&self, address: Address) -> Bytes {
        let code = self.get(address).and_then(|account| account.info.code.as_ref());
        code.map(Bytecode::original_bytes).unwrap_or_default()
    }

    pub(super) fn storage(&self, address: Address, slot: U256) -> U256 {
        let value = self.get(address).and_then(|account| account.storage.get(&slot));
        value.copied().unwrap_or_default()
    }

    /// Changes an account by decree.
    pub(super) fn edit(&mut self, address: Address, change: impl FnOnce(&mut AccountInfo)) {
        let mut account = self.get(address).cloned().unwrap_or_default();
        change(&mut account.info);
        self.put(address, account);
    }

    /// Sets one slot by decree.
    pub(super) fn set_storage(&mut self, address: Address, slot: U256, value: U256) {
        let mut account = self.get(address).cloned().unwrap_or_default();
        account.set(slot, value);
        self.put(address, account);
    }

    /// Replaces all slots of an account.
    pub(super) fn replace_storage(
        &mut self,
        address: Address,
        slots: impl IntoIterator<Item = (U256, U256)>,
    ) {
        let mut account = Account { info: self.info(address), ..Account::default() };
        for (slot, value) in slots {
            account.set(slot, value);
        }
        self.put(address, account);
    }

    /// Takes over what a transaction changed.
    pub(super) fn commit(&mut self, changes: AddressMap<Changed>) {
        for (address, changed) in changes {
            if !changed.is_touched() {
                continue;
            }
            if changed.is_selfdestructed() {
                self.accounts.remove_mut(&address);
                continue;
            }
            let before = self.get(address).cloned().unwrap_or_default();
            // Nothing that lay in the storage of an address before counts for a new contract.
            let mut account = match changed.is_created() {
                true => Account::default(),
                false => before.clone(),
            };
            for (slot, value) in changed.changed_storage_slots() {
                account.set(*slot, value.present_value());
            }
            account.info = AccountInfo { account_id: None, ..changed.info };
            if account.info.code.is_none() && account.info.code_hash == before.info.code_hash {
                account.info.code = before.info.code;
            }
            self.put(address, account);
        }
    }

    fn put(&mut self, address: Address, account: Account) {
        // By decree an account may have storage before it has code.
        if account.info.is_empty() && account.storage.is_empty() {
            self.accounts.remove_mut(&address);
        } else {
            self.accounts.insert_mut(address, account);
        }
    }
}

impl Account {
    fn set(&mut self, slot: U256, value: U256) {
        if value.is_zero() {
            self.storage.remove_mut(&slot);
        } else {
            self.storage.insert_mut(slot, value);
        }
        self.storage_root = OnceLock::new();
    }
}

/// What the EVM sees of a chain: a state and the hashes of the blocks before.
pub(super) struct View<'a> {
    pub(super) state: &'a State,
    pub(super) blocks: &'a Blocks,
}

impl DatabaseRef for View<'_> {
    type Error = Infallible;

    fn basic_ref(&self, address: Address) -> Result<Option<AccountInfo>, Infallible> {
        Ok(self.state.get(address).map(|account| account.info.clone()))
    }

    fn code_by_hash_ref(&self, hash: B256) -> Result<Bytecode, Infallible> {
        // Accounts carry their code, so the EVM has no reason to come here.
        let found = self.state.iter().find(|(_, account)| account.info.code_hash == hash);
        Ok(found.and_then(|(_, account)| account.info.code.clone()).unwrap_or_default())
    }

    fn storage_ref(&self, address: Address, slot: U256) -> Result<U256, Infallible> {
        Ok(self.state.storage(address, slot))
    }

    fn block_hash_ref(&self, number: u64) -> Result<B256, Infallible> {
        let block = usize::try_from(number).ok().and_then(|number| self.blocks.get(number));
        Ok(block.map(|block| block.hash).unwrap_or_default())
    }
}
