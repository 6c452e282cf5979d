//! Layers: each alone, all in a stack, and whatever way an answer ends.

mod attribute;
mod books;
mod ground;
mod limit;
mod pin;
mod receipt;
mod script;
mod stack;
mod trace;

use openledger_core::{Address, B256, DatanetId, RowShare, Shares, share::WHOLE};
use openledger_model::{Adapter, LoraConfig, Model, testing};
use openledger_serve::Lease;

fn lease(model: &Model, seed: u64) -> Lease {
    let config = LoraConfig::default();
    let files = testing::lora(model, &config, seed).unwrap().to_files(model.network(), &config);
    Lease::new(model.network(), &Adapter::load(model.network(), &files).unwrap())
}

/// All of an answer to one row.
fn one_row() -> Shares {
    let share = RowShare {
        row: B256::repeat_byte(1).into(),
        datanet: DatanetId::from(B256::repeat_byte(2)),
        contributor: Address::repeat_byte(3),
        weight: WHOLE,
    };
    Shares::new(vec![share]).unwrap()
}
