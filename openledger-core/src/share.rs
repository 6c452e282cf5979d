//! Splitting money and credit: whole units, exact sums, the same result on every node.

use std::collections::BTreeMap;

use alloy_primitives::{U256, U512};

use crate::{Amount, Error, ErrorKind, Result};

/// What all the shares of one answer add up to: a million millionths of a millionth.
pub const WHOLE: u64 = 1_000_000_000_000;

/// Splits `amount` in proportion to `weights`, losing nothing.
///
/// Floors each part, then gives the remainder one unit at a time to the largest fractions
/// (the largest-remainder or Hamilton method), ties to the smaller index. Where the order of the
/// parties is not fixed, use [`split_keyed`].
///
/// # Errors
/// [`ErrorKind::Invalid`] if the weights sum to zero.
///
/// # Examples
/// ```
/// use openledger_core::share::split;
///
/// let parts = split(10u64.into(), &[1, 1, 1])?;
/// assert_eq!(parts, [4u64.into(), 3u64.into(), 3u64.into()]);
/// # Ok::<(), openledger_core::Error>(())
/// ```
pub fn split(amount: Amount, weights: &[u64]) -> Result<Vec<Amount>> {
    let total: u128 = weights.iter().map(|&weight| u128::from(weight)).sum();
    if total == 0 {
        return Err(Error::new(ErrorKind::Invalid, "weights that sum to zero split nothing"));
    }
    let (mut parts, fractions): (Vec<U256>, Vec<u128>) =
        weights.iter().map(|&weight| floor(amount.units(), weight, total)).unzip();
    let handed_out: U256 = parts.iter().sum();
    let remainder: usize = (amount.units() - handed_out).to();
    let mut order: Vec<usize> = (0..weights.len()).collect();
    order.sort_by(|&a, &b| fractions[b].cmp(&fractions[a]).then(a.cmp(&b)));
    for &index in order.iter().take(remainder) {
        parts[index] += U256::ONE;
    }
    Ok(parts.into_iter().map(Amount::new).collect())
}

/// Splits `amount` among named parties; the order in which they are given does not matter.
///
/// A party named twice has the sum of its weights. Ties go to the smaller key. Parties of weight
/// zero are in the result with nothing.
///
/// # Errors
/// [`ErrorKind::Invalid`] if the weights sum to zero or one party's pass `u64::MAX`.
pub fn split_keyed<K: Ord>(
    amount: Amount,
    weights: impl IntoIterator<Item = (K, u64)>,
) -> Result<BTreeMap<K, Amount>> {
    let mut merged = BTreeMap::<K, u64>::new();
    for (key, weight) in weights {
        let sum = merged.entry(key).or_default();
        *sum = sum
            .checked_add(weight)
            .ok_or_else(|| Error::invalid("the weights of one party pass 2^64"))?;
    }
    let weights: Vec<u64> = merged.values().copied().collect();
    let parts = split(amount, &weights)?;
    Ok(merged.into_keys().zip(parts).collect())
}

/// Returns `amount * weight / total` and the remainder.
fn floor(amount: U256, weight: u64, total: u128) -> (U256, u128) {
    // Nearly all amounts of money fit, and 128 bits divide several times as fast as 512.
    let narrow = u128::try_from(amount).ok().and_then(|amount| amount.checked_mul(weight.into()));
    if let Some(product) = narrow {
        return (U256::from(product / total), product % total);
    }
    let product: U512 = amount.widening_mul(U256::from(weight));
    let (part, fraction) = product.div_rem(U512::from(total));
    (U256::from(part), fraction.to())
}
