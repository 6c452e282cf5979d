//! Money: whole numbers of a token's smallest unit.

use std::{fmt, iter::Sum, str::FromStr};

use alloy_primitives::U256;
use borsh::{BorshDeserialize, BorshSerialize};
use serde::{Deserialize, Serialize};

/// An amount of a token in its smallest unit, never negative, never rounded.
///
/// As text and in JSON it is a decimal string. 1 OPEN is [`Amount::OPEN`], 10^18 units.
///
/// # Examples
/// ```
/// use openledger_core::Amount;
///
/// let fee: Amount = "125000000000000000".parse()?;
/// assert_eq!(fee.to_string(), "125000000000000000");
/// assert_eq!(fee.to_open(), "0.125");
/// assert_eq!(fee.checked_sub(Amount::OPEN), None);
/// # Ok::<(), openledger_core::ParseAmountError>(())
/// ```
#[derive(
    BorshDeserialize,
    BorshSerialize,
    Clone,
    Copy,
    Default,
    Deserialize,
    Eq,
    Hash,
    Ord,
    PartialEq,
    PartialOrd,
    Serialize,
)]
#[serde(try_from = "String", into = "String")]
pub struct Amount(U256);

impl Amount {
    /// Nothing.
    pub const ZERO: Self = Self(U256::ZERO);
    /// One OPEN: 10^18 units.
    pub const OPEN: Self = Self(U256::from_limbs([1_000_000_000_000_000_000, 0, 0, 0]));

    /// Makes an amount of `units` smallest units.
    pub const fn new(units: U256) -> Self {
        Self(units)
    }

    /// Returns the number of smallest units.
    pub const fn units(self) -> U256 {
        self.0
    }

    /// Returns the sum, or `None` past 2^256 - 1.
    #[must_use]
    pub fn checked_add(self, other: Self) -> Option<Self> {
        self.0.checked_add(other.0).map(Self)
    }

    /// Returns the difference, or `None` below zero.
    #[must_use]
    pub fn checked_sub(self, other: Self) -> Option<Self> {
        self.0.checked_sub(other.0).map(Self)
    }

    /// Returns `self * numerator / denominator` rounded up, or `None` on overflow or division by zero.
    #[must_use]
    pub fn checked_mul_div_ceil(self, numerator: U256, denominator: U256) -> Option<Self> {
        if denominator.is_zero() {
            return None;
        }
        Some(Self(self.0.checked_mul(numerator)?.div_ceil(denominator)))
    }

    /// Writes the amount in OPEN, with as many decimals as it needs.
    pub fn to_open(self) -> String {
        let (whole, rest) = self.0.div_rem(Self::OPEN.0);
        if rest.is_zero() {
            return whole.to_string();
        }
        format!("{whole}.{}", format!("{rest:0>18}").trim_end_matches('0'))
    }
}

impl From<u64> for Amount {
    fn from(units: u64) -> Self {
        Self(U256::from(units))
    }
}

/// Adds amounts.
///
/// # Panics
/// Past 2^256 - 1 units, which no token of a fixed supply reaches.
impl Sum for Amount {
    fn sum<I: Iterator<Item = Self>>(amounts: I) -> Self {
        amounts.fold(Self::ZERO, |sum, amount| {
            sum.checked_add(amount).expect("a sum of token amounts is below 2^256")
        })
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Amount({})", self.0)
    }
}

/// The text is not a decimal number of units below 2^256.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ParseAmountError(String);

impl fmt::Display for ParseAmountError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` is not an amount: give decimal digits of the smallest unit", self.0)
    }
}

impl std::error::Error for ParseAmountError {}

impl FromStr for Amount {
    type Err = ParseAmountError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = || ParseAmountError(text.chars().take(90).collect());
        if text.is_empty() || text.len() > 78 || !text.bytes().all(|b| b.is_ascii_digit()) {
            return Err(error());
        }
        U256::from_str_radix(text, 10).map(Self).map_err(|_| error())
    }
}

impl TryFrom<String> for Amount {
    type Error = ParseAmountError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Amount> for String {
    fn from(amount: Amount) -> Self {
        amount.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_only_plain_decimal_digits() {
        for bad in ["", "-1", "+1", "1.0", "0x10", " 1", "1_000"] {
            assert!(bad.parse::<Amount>().is_err(), "{bad}");
        }
        let largest = U256::MAX.to_string();
        assert_eq!(largest.parse::<Amount>().unwrap().units(), U256::MAX);
        assert!(format!("{largest}0").parse::<Amount>().is_err());
        assert!("9".repeat(78).parse::<Amount>().is_err());
    }

    #[test]
    fn shows_open_with_the_decimals_it_needs() {
        assert_eq!(Amount::ZERO.to_open(), "0");
        assert_eq!(Amount::OPEN.to_open(), "1");
        assert_eq!(Amount::from(1).to_open(), "0.000000000000000001");
        assert_eq!(Amount::from(1_500_000_000_000_000_000).to_open(), "1.5");
    }

    #[test]
    fn multiplication_rounds_up_and_reports_overflow() {
        let seven = Amount::from(7);
        assert_eq!(seven.checked_mul_div_ceil(U256::from(1), U256::from(2)), Some(4.into()));
        assert_eq!(seven.checked_mul_div_ceil(U256::from(1), U256::ZERO), None);
        assert_eq!(seven.checked_mul_div_ceil(U256::MAX, U256::from(2)), None);
    }
}
