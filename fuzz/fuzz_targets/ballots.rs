//! The published body of a tally: any bytes are read or refused, there is one way to write a tally, and
//! whatever it claims is judged without a panic.
#![no_main]

use std::collections::BTreeMap;

use libfuzzer_sys::fuzz_target;
use openledger_chain::ballots::{Fault, Tally};
use openledger_core::{Address, U256, message::Domain};

fuzz_target!(|bytes: &[u8]| {
    let Ok(tally) = Tally::parse(bytes) else { return };
    assert_eq!(&tally.body()[..], bytes);
    let domain = Domain { chain_id: 1, contract: Address::ZERO };
    let (count, totals) = (tally.count(), tally.totals());
    for claimed in [count, 1, u64::MAX] {
        let tally = tally.clone().with_claim(claimed, totals);
        for fault in tally.faults(&domain, U256::ZERO, &BTreeMap::new()) {
            if let Fault::Ballot(place) | Fault::Ends(place) = fault {
                let _ = tally.proof(place);
            }
        }
    }
});
