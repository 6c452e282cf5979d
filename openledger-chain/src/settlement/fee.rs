//! The fee rule: what an inference costs, and whose that is.

use openledger_core::{Amount, Error, Result, U256, share::split};
use serde::{Deserialize, Serialize};

use crate::Price;

/// One hundred percent in basis points.
const WHOLE_BPS: u64 = 10_000;

/// How a fee is divided, in basis points.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(try_from = "[u16; 4]", into = "[u16; 4]")]
pub struct FeeSplit {
    platform: u16,
    model: u16,
    stakers: u16,
    contributors: u16,
}

impl Default for FeeSplit {
    /// 10 % platform, 20 % model, 20 % stakers, 50 % contributors.
    fn default() -> Self {
        Self { platform: 1000, model: 2000, stakers: 2000, contributors: 5000 }
    }
}

impl FeeSplit {
    /// Takes the parts of platform, model, stakers and contributors.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`](openledger_core::ErrorKind::Invalid) unless they add up to 10,000 and the platform's is below it.
    pub fn new(platform: u16, model: u16, stakers: u16, contributors: u16) -> Result<Self> {
        let sum: u64 = [platform, model, stakers, contributors].map(u64::from).iter().sum();
        if sum != WHOLE_BPS || u64::from(platform) == WHOLE_BPS {
            return Err(Error::invalid(format!("fee parts add up to {sum} basis points")));
        }
        Ok(Self { platform, model, stakers, contributors })
    }

    /// Returns the fee of an inference: `T_in/1000 * R_in + T_out/1000 * R_out + F_platform`, where
    /// the platform's part makes up its basis points of the whole. Rounded up to the unit.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`](openledger_core::ErrorKind::Invalid) if a price is so large that the fee passes 2^256.
    ///
    /// # Examples
    /// ```
    /// use openledger_chain::{Price, settlement::FeeSplit};
    /// use openledger_core::Amount;
    ///
    /// let price = Price { per_thousand_in: 100.into(), per_thousand_out: 800.into() };
    /// // 0.5 * 100 + 1.0625 * 800 = 900 for the tokens; with the platform's 10 % it is 1,000.
    /// assert_eq!(FeeSplit::default().fee(&price, 500, 1_062)?, Amount::from(1_000));
    /// # Ok::<(), openledger_core::Error>(())
    /// ```
    pub fn fee(&self, price: &Price, tokens_in: u64, tokens_out: u64) -> Result<Amount> {
        let compute = || {
            let read = price.per_thousand_in.units().checked_mul(U256::from(tokens_in))?;
            let written = price.per_thousand_out.units().checked_mul(U256::from(tokens_out))?;
            let usage = Amount::new(read.checked_add(written)?);
            let net = WHOLE_BPS - u64::from(self.platform);
            usage.checked_mul_div_ceil(U256::from(WHOLE_BPS), U256::from(1000 * net))
        };
        compute().ok_or_else(|| Error::invalid("the price is too large"))
    }

    /// Divides a fee, losing nothing.
    pub fn divide(&self, fee: Amount) -> Parts {
        let weights = [self.platform, self.model, self.stakers, self.contributors].map(u64::from);
        let parts = split(fee, &weights).expect("the parts add up to 10,000");
        let [platform, model, stakers, contributors] =
            parts.try_into().expect("as many parts as weights");
        Parts { platform, model, stakers, contributors }
    }
}

impl TryFrom<[u16; 4]> for FeeSplit {
    type Error = Error;

    fn try_from([platform, model, stakers, contributors]: [u16; 4]) -> Result<Self> {
        Self::new(platform, model, stakers, contributors)
    }
}

impl From<FeeSplit> for [u16; 4] {
    fn from(split: FeeSplit) -> Self {
        [split.platform, split.model, split.stakers, split.contributors]
    }
}

/// The parts of a fee, or of many.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[expect(clippy::exhaustive_structs, reason = "a fee has these four parts")]
pub struct Parts {
    /// The platform's.
    pub platform: Amount,
    /// The model owner's.
    pub model: Amount,
    /// The stakers'.
    pub stakers: Amount,
    /// The contributors'.
    pub contributors: Amount,
}

impl Parts {
    /// Adds another fee's parts; the caller has checked that the sum of all fees is below 2^256.
    pub(super) fn add(&mut self, other: &Self) {
        for (sum, part) in [
            (&mut self.platform, other.platform),
            (&mut self.model, other.model),
            (&mut self.stakers, other.stakers),
            (&mut self.contributors, other.contributors),
        ] {
            *sum = sum.checked_add(part).expect("a part of a sum that was checked");
        }
    }
}
