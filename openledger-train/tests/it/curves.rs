//! Loss curves of transformers and peft, step by step.

use std::{path::PathBuf, sync::Arc};

use openledger_model::{LoraConfig, Network, Tokens, Weights};
use openledger_train::{AdamW, Backend, Native};
use serde_json::Value;

struct Case {
    folder: PathBuf,
    reference: Value,
    network: Arc<Network>,
    batches: Vec<Vec<Tokens>>,
}

impl Case {
    fn open(name: &str) -> Option<Self> {
        let shared = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared"));
        let folder = shared.join("cases/train").join(name);
        if !folder.exists() {
            println!("skipped: `{}` is not there", folder.display());
            return None;
        }
        let read = |file: &str| std::fs::read(folder.join(file)).unwrap();
        let weights = Weights::from_safetensors(&read("model.safetensors")).unwrap();
        let network = Arc::new(Network::new(&read("config.json"), weights).unwrap());
        let ids = candle_core::safetensors::load_buffer(
            &read("ids.safetensors"),
            &candle_core::Device::Cpu,
        );
        let ids = ids.unwrap()["batches"].to_dtype(candle_core::DType::U32).unwrap();
        let ids: Vec<Vec<Vec<u32>>> = ids.to_vec3().unwrap();
        let batches = ids
            .iter()
            .map(|batch| batch.iter().map(|row| Tokens::new(&[], row)).collect())
            .collect();
        let reference = serde_json::from_slice(&read("reference.json")).unwrap();
        Some(Self { folder, reference, network, batches })
    }

    /// The first `steps` losses and gradient norms against the reference's.
    fn check(&self, curve: &str, start: &str, steps: usize) {
        let rank = self.reference["r"].as_u64().unwrap() as usize;
        let alpha = self.reference["alpha"].as_f64().unwrap();
        let config = LoraConfig::default().with_rank(rank, alpha);
        let start = std::fs::read(self.folder.join(start)).unwrap();
        let mut run = Native
            .start(Arc::clone(&self.network), &config, AdamW::default().into(), &start)
            .unwrap();
        let expected = &self.reference[curve];
        for step in 0..steps {
            let rows: Vec<&Tokens> = self.batches[step % self.batches.len()].iter().collect();
            let done = run.step(&rows, 1e-3, None).unwrap();
            let loss = expected["loss"][step].as_f64().unwrap();
            let norm = expected["grad_norm"][step].as_f64().unwrap();
            assert!((done.loss - loss).abs() <= 2e-5, "{curve} {step}: {} {loss}", done.loss);
            assert!((done.gradient_norm - norm).abs() <= 1e-4 * norm, "{curve} {step}: norm");
        }
    }
}

#[test]
fn twenty_losses_of_llama_mini_from_a_zero_start() {
    let Some(case) = Case::open("llama-mini") else { return };
    case.check("main_b0", "adapter_init_b0.safetensors", 20);
}

#[test]
fn twenty_losses_of_llama_mini_from_a_start_that_is_not_zero() {
    let Some(case) = Case::open("llama-mini") else { return };
    case.check("bnz", "adapter_init_bnz.safetensors", 20);
}

#[test]
fn twenty_losses_of_a_wider_llama() {
    let Some(case) = Case::open("llama") else { return };
    case.check("main_b0", "adapter_init_b0.safetensors", 20);
}
