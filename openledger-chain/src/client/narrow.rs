//! Numbers of one width as numbers of another.

use std::fmt::Display;

use alloy::primitives::Uint;
use openledger_core::{Error, Result};

/// Narrows a number that a node gave, as 256 bits or fewer.
///
/// # Errors
/// [`ErrorKind::Corrupt`](openledger_core::ErrorKind::Corrupt) if it is past 2^64: nothing that is
/// counted or timed here comes there.
pub(super) fn narrow<const BITS: usize, const LIMBS: usize>(
    value: Uint<BITS, LIMBS>,
    what: &str,
) -> Result<u64> {
    u64::try_from(value).map_err(|_| {
        Error::corrupt(format!("{what} {value} from the node, more than {}", u64::MAX))
    })
}

/// Fits a number of the caller's into the bits a contract has for it.
///
/// # Errors
/// [`ErrorKind::Invalid`](openledger_core::ErrorKind::Invalid) if they are too few.
pub(super) fn fit<const BITS: usize, const LIMBS: usize>(
    value: impl Copy + Display + TryInto<Uint<BITS, LIMBS>>,
    what: &str,
) -> Result<Uint<BITS, LIMBS>> {
    value.try_into().map_err(|_| {
        Error::invalid(format!("{what} of {value}, more than {}", Uint::<BITS, LIMBS>::MAX))
    })
}

#[cfg(test)]
mod tests {
    use alloy::primitives::{
        U256,
        aliases::{U40, U96},
    };
    use openledger_core::ErrorKind;

    use super::*;

    #[test]
    fn a_number_past_the_limit_is_an_error_that_names_both() {
        assert_eq!(narrow(U256::from(u64::MAX), "case").unwrap(), u64::MAX);
        let error = narrow(U256::from(1) << 64, "case").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt);
        let said = "case 18446744073709551616 from the node, more than 18446744073709551615";
        assert_eq!(error.to_string(), said);

        let time = (1u64 << 40) - 1;
        assert_eq!(fit::<40, 1>(time, "a time").unwrap(), U40::MAX);
        let error = fit::<40, 1>(time + 1, "a time").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert_eq!(error.to_string(), "a time of 1099511627776, more than 1099511627775");
        assert_eq!(fit::<96, 2>(5u128, "a bond").unwrap(), U96::from(5));
        assert!(fit::<96, 2>(u128::MAX, "a bond").is_err());
    }
}
