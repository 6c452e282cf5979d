//! The headers of x402: any text is read or refused; what was read is written and read again the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use openledger_chain::x402::{Payment, PaymentRequired, Settlement};

/// Under the limit: what is written again can be a few bytes longer, by the `0x` of an address.
const LENGTH: usize = 16_000;

fuzz_target!(|header: &str| {
    let header = header.get(..LENGTH).unwrap_or(header);
    if let Ok(payment) = Payment::parse(header) {
        assert_eq!(Payment::parse(&payment.to_header()).expect("it was read"), payment);
        // Whatever it names, there is a digest or an error.
        let _ = payment.payload.authorization.digest(&payment.accepted);
    }
    if let Ok(required) = PaymentRequired::parse(header) {
        assert_eq!(PaymentRequired::parse(&required.to_header()).expect("it was read"), required);
    }
    if let Ok(settlement) = Settlement::parse(header) {
        assert_eq!(Settlement::parse(&settlement.to_header()).expect("it was read"), settlement);
    }
});
