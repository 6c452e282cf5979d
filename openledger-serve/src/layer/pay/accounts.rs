//! Prepaid accounts in memory.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use openledger_core::{Amount, Error, Result};

use super::{Hold, PaymentRequired, Till};
use crate::Generate;

/// Prepaid accounts in memory, named as tenants are. Clones share them.
///
/// For one process that may forget: nothing here is written down.
#[derive(Clone, Debug, Default)]
pub struct Accounts(Arc<Mutex<HashMap<Arc<str>, Account>>>);

/// What an account has. What was deposited is the sum of the three.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct Account {
    /// What it can pay with.
    pub free: Amount,
    /// What is held for answers under way.
    pub held: Amount,
    /// What was charged.
    pub spent: Amount,
}

impl Accounts {
    /// Starts without accounts.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds to an account.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`](openledger_core::ErrorKind::Invalid) if all that was ever deposited there
    /// passes 2^256.
    pub fn deposit(&self, name: impl Into<Arc<str>>, amount: Amount) -> Result<()> {
        let name = name.into();
        let mut accounts = self.lock();
        let Account { free, held, spent } = accounts.get(&name).copied().unwrap_or_default();
        let sum = [free, held, spent]
            .into_iter()
            .try_fold(amount, Amount::checked_add)
            .ok_or_else(|| Error::invalid(format!("account `{name}` passes 2^256 units")))?;
        let free = sum.checked_sub(held).and_then(|sum| sum.checked_sub(spent));
        let free = free.expect("a sum is not below its parts");
        accounts.insert(name, Account { free, held, spent });
        Ok(())
    }

    /// Returns what an account has: nothing, if nobody deposited there.
    pub fn account(&self, name: &str) -> Account {
        self.lock().get(name).copied().unwrap_or_default()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Arc<str>, Account>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Till for Accounts {
    async fn reserve(&self, request: &Generate, amount: Amount) -> Result<Box<dyn Hold>> {
        let refuse = |message: String| PaymentRequired::new(amount).into_error(message);
        let Some(name) = request.tenant.clone() else {
            return Err(refuse("nobody is named whose account pays".to_owned()));
        };
        let mut accounts = self.lock();
        let account = accounts.get_mut(&name);
        let Some(account) = account else { return Err(refuse(format!("no account `{name}`"))) };
        let Some(free) = account.free.checked_sub(amount) else {
            let has = account.free;
            return Err(refuse(format!("account `{name}` has {has} units, {amount} are needed")));
        };
        account.free = free;
        account.held = sum(account.held, amount);
        Ok(Box::new(Held { accounts: self.clone(), name: Arc::clone(&name), amount }))
    }
}

/// Money held in an account; what is left of it is given back at the end.
#[derive(Debug)]
struct Held {
    accounts: Accounts,
    name: Arc<str>,
    amount: Amount,
}

impl Hold for Held {
    fn charge(mut self: Box<Self>, amount: Amount) {
        let taken = amount.min(self.amount);
        if let Some(account) = self.accounts.lock().get_mut(&self.name) {
            account.held = rest(account.held, taken);
            account.spent = sum(account.spent, taken);
        }
        self.amount = rest(self.amount, taken);
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Some(account) = self.accounts.lock().get_mut(&self.name) {
            account.held = rest(account.held, self.amount);
            account.free = sum(account.free, self.amount);
        }
    }
}

fn sum(a: Amount, b: Amount) -> Amount {
    a.checked_add(b)
        .expect("parts of an account add up to what was deposited, which is below 2^256")
}

fn rest(a: Amount, b: Amount) -> Amount {
    a.checked_sub(b).expect("no more is taken of an account than is held in it")
}

#[cfg(test)]
mod tests {
    use super::{super::conformance, *};

    #[async_trait]
    impl conformance::Books for Accounts {
        async fn free(&self) -> Amount {
            self.account("payer").free
        }

        async fn spent(&self) -> Amount {
            self.account("payer").spent
        }
    }

    #[tokio::test]
    async fn accounts_conform() {
        let accounts = Accounts::new();
        accounts.deposit("payer", Amount::from(100)).unwrap();
        accounts.deposit("other", Amount::from(1_000)).unwrap();
        let request = Generate::new(vec![1]).with_tenant("payer");
        conformance::check(&accounts, &accounts, &request).await;
        assert_eq!(accounts.account("other").free, Amount::from(1_000));
        assert_eq!(accounts.account("payer").held, Amount::ZERO);
    }

    #[tokio::test]
    async fn whoever_is_not_known_cannot_pay() {
        let accounts = Accounts::new();
        for request in [Generate::new(vec![1]), Generate::new(vec![1]).with_tenant("nobody")] {
            let error = accounts.reserve(&request, Amount::from(1)).await.unwrap_err();
            assert_eq!(PaymentRequired::of(&error).unwrap().amount, Amount::from(1));
        }
    }

    #[test]
    fn what_was_deposited_stays_below_2_to_the_256() {
        let accounts = Accounts::new();
        let most = Amount::new(openledger_core::U256::MAX);
        accounts.deposit("a", most).unwrap();
        assert!(accounts.deposit("a", Amount::from(1)).is_err());
        assert_eq!(accounts.account("a").free, most);
    }
}
