#![no_main]
use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;
use openledger_core::{decode, encode, message::{LocalUpdate, Signed}};
use openledger_model::{Lora, LoraConfig, testing};
use openledger_train::federated::{FederationRecord, Matrices};

static LAYOUT: OnceLock<Matrices> = OnceLock::new();

fn layout() -> Matrices {
    let model = testing::tiny(1).expect("a model of our own");
    let config = LoraConfig::default().with_rank(1, 1.0).with_targets(["q_proj"]);
    let lora = Lora::init(model.network(), &config, 1).expect("a Llama has the layer");
    Matrices::parse(&lora.to_files(model.network(), &config).weights).expect("a file of our own")
}

fuzz_target!(|data: &[u8]| {
    let layout = LAYOUT.get_or_init(layout);
    for read in [layout.parse_like(data), Matrices::parse(data)].into_iter().flatten() {
        assert_eq!(&read.to_bytes()[..], data, "there is one way to write");
        assert!(read.values().iter().all(|x| x.is_finite()));
    }
    // Behind the right head every element is the fuzzer's.
    let mut file = layout.to_bytes().to_vec();
    let from = file.len() - data.len().min(4 * layout.values().len());
    let length = file.len() - from;
    file[from..].copy_from_slice(&data[..length]);
    if let Ok(update) = layout.parse_like(&file) {
        assert!(update.norm().is_finite(), "squares of f32 do not pass f64");
    }
    if let Ok(update) = decode::<Signed<LocalUpdate>>(data) {
        assert_eq!(encode(&update), data, "there is one way to encode");
    }
    let _ = serde_json::from_slice::<Signed<LocalUpdate>>(data);
    let _ = FederationRecord::parse(data);
});
