//! The body of an index's file: any bytes are read or refused; what was read is written the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use openledger_chain::{Contracts, index::read_index};
use openledger_core::Address;

fuzz_target!(|bytes: &[u8]| {
    // Each contract by one byte, which a mutation finds.
    let mut at = Contracts::default();
    let contracts = [
        &mut at.token,
        &mut at.escrow,
        &mut at.distributor,
        &mut at.datanets,
        &mut at.contributions,
        &mut at.models,
        &mut at.attributions,
        &mut at.grants,
        &mut at.agents,
        &mut at.staking,
        &mut at.governor,
        &mut at.ballots,
        &mut at.model_proposals,
    ];
    for (byte, contract) in (1..).zip(contracts) {
        *contract = Address::repeat_byte(byte);
    }
    if let Ok(again) = read_index(bytes, &at) {
        assert_eq!(again, bytes);
    }
});
