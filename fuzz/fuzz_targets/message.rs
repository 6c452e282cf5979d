#![no_main]
use libfuzzer_sys::fuzz_target;
use openledger_core::{Receipt, decode, encode, message::Signed};

fuzz_target!(|data: &[u8]| {
    if let Ok(receipt) = decode::<Signed<Receipt>>(data) {
        assert_eq!(encode(&receipt), data, "there is one way to encode");
    }
});
