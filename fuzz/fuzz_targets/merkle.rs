#![no_main]
use libfuzzer_sys::fuzz_target;
use openledger_core::{Address, B256, U256, merkle::{Leaf, StandardTree}};

fn check<L: Leaf>(json: &str) {
    if let Ok(tree) = StandardTree::<L>::load(json) {
        let again = StandardTree::<L>::load(&tree.dump()).expect("what was dumped loads");
        assert_eq!(again.root(), tree.root());
    }
}

fuzz_target!(|json: &str| {
    check::<(B256,)>(json);
    check::<(Address, U256)>(json);
});
