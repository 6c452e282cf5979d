//! Every backend keeps the contract, and they agree.

use std::sync::Arc;

use openledger_model::{Lora, LoraConfig, Tokens, testing};
use openledger_train::{AdamW, Backend, Candle, Native, backend::conformance};

#[test]
fn native_keeps_the_contract() {
    conformance::check(&Native, &Arc::new(testing::tiny(1).unwrap().network().clone()));
}

#[test]
fn candle_keeps_the_contract() {
    conformance::check(&Candle::default(), &Arc::new(testing::tiny(1).unwrap().network().clone()));
}

#[test]
fn native_and_candle_learn_the_same() {
    let model = testing::tiny(2).unwrap();
    let network = Arc::new(model.network().clone());
    let config = LoraConfig::default().with_rank(4, 8.0);
    let start = testing::lora(&model, &config, 3).unwrap().to_files(&network, &config);
    let rows = [Tokens::new(&[5, 6, 7], &[8, 9, 10, 11]), Tokens::new(&[], &[20, 30, 40])];
    let rows: Vec<&Tokens> = rows.iter().collect();
    let backends: [&dyn Backend; 2] = [&Native, &Candle::default()];
    let [ours, theirs] = backends.map(|backend| {
        let options = AdamW::default().with_weight_decay(0.1).into();
        let mut run =
            backend.start(Arc::clone(&network), &config, options, &start.weights).unwrap();
        let losses: Vec<f64> =
            (0..20).map(|_| run.step(&rows, 5e-3, Some(0.5)).unwrap().loss).collect();
        (losses, Lora::from_safetensors(&network, &config, &run.snapshot().unwrap()).unwrap())
    });
    for (step, (ours, theirs)) in ours.0.iter().zip(&theirs.0).enumerate() {
        assert!((ours - theirs).abs() < 1e-4 * theirs, "step {step}: {ours} {theirs}");
    }
    for ((_, ours), (_, theirs)) in ours.1.pairs().zip(theirs.1.pairs()) {
        assert!(ours.a.iter().zip(&theirs.a).all(|(a, b)| (a - b).abs() < 2e-3));
        assert!(ours.b.iter().zip(&theirs.b).all(|(a, b)| (a - b).abs() < 2e-3));
    }
}
