//! A composition that a request asks for: any coefficients and settings give an adapter of finite numbers,
//! or an error.
#![no_main]
use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;
use openledger_model::{Adapter, Combine, Election, LoraConfig, Model, testing};

static PARTS: OnceLock<(Model, [Adapter; 2])> = OnceLock::new();

fn parts() -> (Model, [Adapter; 2]) {
    let model = testing::tiny(1).expect("a model of our own");
    let adapter = |rank, seed| {
        let config = LoraConfig::default().with_rank(rank, 4.0).with_targets(["q_proj"]);
        let lora = testing::lora(&model, &config, seed).expect("a Llama has the layer");
        let files = lora.to_files(model.network(), &config);
        Adapter::load(model.network(), &files).expect("a file of our own")
    };
    let both = [adapter(1, 1), adapter(2, 2)];
    (model, both)
}

fuzz_target!(|asked: (u8, u16, f64, u64, bool, Vec<(bool, f64)>)| {
    let (kind, rank, density, seed, total, chosen) = asked;
    let election = if total { Election::Total } else { Election::Frequency };
    let rank = usize::from(rank);
    let combine = match kind % 4 {
        0 => Combine::Sum,
        1 => Combine::Ties { rank, density, election },
        2 => Combine::Dare { rank, density, seed, election: None },
        _ => Combine::Dare { rank, density, seed, election: Some(election) },
    };
    let (model, both) = PARTS.get_or_init(parts);
    let parts: Vec<(&Adapter, f64)> =
        chosen.iter().take(4).map(|(which, c)| (&both[usize::from(*which)], *c)).collect();
    let _ = combine.id(parts.iter().map(|(part, c)| (part.id(), *c)));
    if let Ok(composed) = combine.adapters(model.network(), &parts) {
        for (_, numbers) in composed.adapter.lora().parts() {
            assert!(numbers.iter().all(|x| x.is_finite()));
        }
    }
});
