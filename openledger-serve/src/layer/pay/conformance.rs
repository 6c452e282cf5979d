//! The contract of a till, executable: every one runs [`check`].

use std::fmt;

use async_trait::async_trait;
use futures::{FutureExt, future::join_all};
use openledger_core::Amount;

use super::{PaymentRequired, Till};
use crate::Generate;

/// How to look into the books of the account that pays. Waits for charges that are queued.
#[async_trait]
pub trait Books: fmt::Debug + Send + Sync {
    /// Returns what it can pay with.
    async fn free(&self) -> Amount;

    /// Returns what it was charged, in all.
    async fn spent(&self) -> Amount;
}

/// Checks `till` against the contract of [`Till`] with a `request` whose payer has exactly 100 units and
/// was never charged.
///
/// # Panics
/// On the first line of the contract that does not hold.
pub async fn check(till: &dyn Till, books: &dyn Books, request: &Generate) {
    let amount = Amount::from;
    let state = async || (books.free().await, books.spent().await);
    let hold = async |units| till.reserve(request, amount(units)).await.expect("there is enough");
    assert_eq!(state().await, (amount(100), amount(0)), "the payer has 100 units");

    let held = hold(60).await;
    assert_eq!(state().await, (amount(40), amount(0)), "what is held is not free");
    drop(held);
    assert_eq!(state().await, (amount(100), amount(0)), "a dropped hold gives everything back");

    hold(60).await.charge(amount(25));
    assert_eq!(state().await, (amount(75), amount(25)), "a charge takes its amount, no more");
    hold(30).await.charge(amount(0));
    assert_eq!(state().await, (amount(75), amount(25)), "a charge of nothing takes nothing");
    hold(10).await.charge(amount(11));
    assert_eq!(state().await, (amount(65), amount(35)), "a charge takes no more than is held");

    let refused = till.reserve(request, amount(66)).await.expect_err("65 are left");
    let required = PaymentRequired::of(&refused).expect("a refusal says what is required");
    assert_eq!(required.amount, amount(66), "a refusal names the amount");
    assert_eq!(state().await, (amount(65), amount(35)), "a refusal takes nothing");

    let rush = join_all((0..20).map(|_| till.reserve(request, amount(10)))).await;
    let holds: Vec<_> = rush.into_iter().filter_map(Result::ok).collect();
    assert_eq!(holds.len(), 6, "holds made at once do not share money");
    holds.into_iter().for_each(|hold| hold.charge(amount(5)));
    assert_eq!(state().await, (amount(35), amount(65)), "each is charged once");

    // Polled once, then dropped: whether it was ready or not.
    let _ = till.reserve(request, amount(35)).now_or_never();
    assert_eq!(state().await, (amount(35), amount(65)), "a dropped reserve holds nothing");
}
