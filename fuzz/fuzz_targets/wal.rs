//! The log of a durable chain: any file is read or refused; reading again up to the end found
//! finds the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use openledger_chain::{Genesis, read_log};

fuzz_target!(|bytes: &[u8]| {
    let genesis = Genesis::default();
    let Ok((records, end)) = read_log(bytes, &genesis) else { return };
    let whole = &bytes[..usize::try_from(end).expect("no further than the bytes")];
    assert_eq!(read_log(whole, &genesis).expect("it was read"), (records, end));
});
