//! The tape's gradients, computed two other ways: candle's autograd and finite differences.

use candle_core::Device;
use openledger_model::{
    Batch, Gradients, Lora, LoraConfig, Network, Part, Saved, Tape, Tokens, Trainable,
    reference::{self, Reference},
    testing,
};

use crate::{distance, shared};

struct Case {
    network: Network,
    lora: Lora,
    rows: Vec<Tokens>,
}

impl Case {
    fn new(family: &str, seed: u64) -> Self {
        Self::of(family, seed, &LoraConfig::default())
    }

    /// With an adapter that is `like` this at all layers.
    fn of(family: &str, seed: u64, like: &LoraConfig) -> Self {
        let model = testing::tiny_of(family, seed).unwrap();
        let config = like.clone().with_rank(3, 6.0).with_pattern("all-linear");
        let lora = testing::lora(&model, &config, seed).unwrap();
        let texts = [
            ("Why?", "Because it is so."),
            ("", "A passage."),
            ("How?", "Like this, and so on, for long."),
        ];
        let template = openledger_model::Template::default();
        let rows = texts.map(|(prompt, completion)| {
            let prompt = template.prompt(model.tokenizer(), prompt).unwrap();
            Tokens::new(&prompt, &model.tokenizer().encode(completion, false).unwrap())
        });
        Self { network: model.network().clone(), lora, rows: rows.to_vec() }
    }

    fn batch(&self) -> (Batch, Vec<Option<u32>>) {
        let batch = Batch::new(self.rows.iter().map(|row| &row.tokens[..]));
        (batch, self.rows.iter().flat_map(Tokens::labels).collect())
    }

    /// Loss (a sum) and its gradient.
    fn loss(&self, trainable: Trainable) -> (f64, Gradients) {
        self.loss_with(trainable, false)
    }

    fn loss_with(&self, trainable: Trainable, checkpointing: bool) -> (f64, Gradients) {
        let (batch, labels) = self.batch();
        let mut gradients = match trainable {
            Trainable::Base => Gradients::of_base(self.network.weights()),
            _ => Gradients::of_lora(&self.lora),
        };
        let mut tape = Tape::new(&self.network, Some(&self.lora), trainable, &batch)
            .with_checkpointing(checkpointing);
        let hidden = tape.run().unwrap();
        let loss = tape.loss(&hidden, &labels, 1.0);
        if trainable != Trainable::Nothing {
            tape.backward(&mut gradients);
        }
        (loss.sum, gradients)
    }
}

#[test]
fn loss_logits_and_adapter_gradients_equal_candles() {
    for (family, seed) in testing::FAMILIES.into_iter().flat_map(|f| [(f, 0), (f, 1)]) {
        equals_candles(family, &Case::new(family, seed));
    }
}

#[test]
fn magnitudes_and_tables_equal_candles() {
    let tables = [Saved::Embedding, Saved::Head];
    let patterns = LoraConfig::default()
        .with_rank_pattern("o_proj", 5)
        .with_alpha_pattern("(q|kv_b|down)_proj", 2.5);
    for family in testing::FAMILIES {
        let dora = patterns.clone().with_dora(true);
        equals_candles(family, &Case::of(family, 2, &dora));
        equals_candles(family, &Case::of(family, 3, &dora.with_saved(tables)));
        for table in tables {
            equals_candles(family, &Case::of(family, 4, &patterns.clone().with_saved([table])));
        }
    }
}

fn equals_candles(family: &str, case: &Case) {
    let (loss, gradients) = case.loss(Trainable::Lora);
    let (batch, labels) = case.batch();
    let adapter = reference::Adapter::new(&case.lora, &case.network, &Device::Cpu).unwrap();
    let mut ops = Reference::new(&case.network, &adapter, &batch, Device::Cpu);
    let hidden = ops.run().unwrap();
    let theirs = ops.loss(&hidden, &labels).unwrap();
    let theirs_loss: f32 = theirs.to_scalar().unwrap();
    assert!((loss - f64::from(theirs_loss)).abs() < 1e-4 * loss, "{loss} and {theirs_loss}");

    let store = theirs.backward().unwrap();
    for (ours, var) in gradients.matrices().zip(adapter.vars()) {
        let theirs = store.get(&var).expect("candle has a gradient for every matrix");
        let theirs: Vec<f32> = theirs.flatten_all().unwrap().to_vec1().unwrap();
        let largest = distance(&theirs, &vec![0.0; theirs.len()]);
        // An expert that no token was sent to learns nothing.
        assert!(largest > 0.0 || family.starts_with("deepseek"), "no gradient is zero");
        assert!(distance(ours, &theirs) <= 1e-4 * largest, "{family}");
    }

    let mut tape = Tape::new(&case.network, Some(&case.lora), Trainable::Nothing, &batch);
    let ours = tape.run().unwrap();
    let ours = tape.logits(&ours);
    let theirs = ops.logits(&hidden).unwrap();
    assert!(distance(&ours, &theirs.flatten_all().unwrap().to_vec1::<f32>().unwrap()) < 5e-5);
}

#[test]
fn base_gradients_are_the_slope_of_the_loss() {
    for family in testing::FAMILIES {
        slopes(Case::new(family, 5));
    }
}

fn slopes(mut case: Case) {
    let (_, gradients) = case.loss(Trainable::Base);
    let params: Vec<_> = case.network.weights().params().collect();
    for (param, gradient) in params.into_iter().zip(gradients.matrices()) {
        // The element with the steepest slope; the rest of the matrix came from the same product.
        let steepest = (0..gradient.len())
            .max_by(|&a, &b| gradient[a].abs().total_cmp(&gradient[b].abs()))
            .unwrap();
        let before = case.network.weights().data(param)[steepest];
        let step = 2e-3 * before.abs().max(0.1);
        let mut at = |value: f32| {
            case.network.data_mut(param)[steepest] = value;
            case.loss(Trainable::Nothing).0
        };
        let slope =
            (at(before + step) - at(before - step)) / f64::from((before + step) - (before - step));
        at(before);
        let ours = f64::from(gradient[steepest]);
        let name = case.network.weights().name(param);
        assert!((slope - ours).abs() < 2e-2 * ours.abs().max(0.05), "{name}: {ours} and {slope}");
    }
}

/// Of `A` and `B` it is not, as the norm counts as constant; a magnitude does not change the norm.
#[test]
fn the_gradient_of_a_magnitude_is_the_slope_of_the_loss() {
    let mut case = Case::of("qwen2", 3, &LoraConfig::default().with_dora(true));
    let (_, gradients) = case.loss(Trainable::Lora);
    let kinds: Vec<Part> = case.lora.parts().map(|(part, _)| part).collect();
    let magnitudes = (0..kinds.len()).filter(|&at| kinds[at] == Part::Magnitude);
    for at in magnitudes {
        let gradient = gradients.matrices().nth(at).unwrap();
        let steepest = (0..gradient.len())
            .max_by(|&a, &b| gradient[a].abs().total_cmp(&gradient[b].abs()))
            .unwrap();
        let mut slope = 0.0;
        for step in [2e-2f32, -2e-2] {
            let before = case.lora.clone();
            case.lora.parts_mut().nth(at).unwrap().1[steepest] += step;
            slope += case.loss(Trainable::Nothing).0 / f64::from(2.0 * step);
            case.lora = before;
        }
        let ours = f64::from(gradient[steepest]);
        assert!((slope - ours).abs() < 2e-2 * ours.abs().max(0.05), "{ours} and {slope}");
    }
}

#[test]
fn a_row_has_the_same_bits_alone_and_in_a_batch() {
    let case = Case::new("llama", 8);
    let logits = |rows: &[Tokens]| {
        let batch = Batch::new(rows.iter().map(|row| &row.tokens[..]));
        let mut tape = Tape::new(&case.network, Some(&case.lora), Trainable::Nothing, &batch);
        let hidden = tape.run().unwrap();
        tape.logits(&hidden)
    };
    let together = logits(&case.rows);
    let alone: Vec<f32> =
        case.rows.iter().flat_map(|row| logits(std::slice::from_ref(row))).collect();
    assert_eq!(together, alone);
}

#[test]
fn frozen_weights_get_no_gradient_and_every_adapter_matrix_gets_one() {
    let case = Case::new("llama", 6);
    let (_, gradients) = case.loss(Trainable::Lora);
    assert_eq!(gradients.matrices().len(), 2 * 7 * 2, "two layers of seven pairs, nothing else");
    assert!(gradients.matrices().all(|matrix| matrix.iter().any(|&g| g != 0.0)));
}

#[test]
fn sequences_of_a_batch_do_not_see_each_other() {
    let mut case = Case::new("llama", 7);
    let (together, all) = case.loss(Trainable::Lora);
    let rows = std::mem::take(&mut case.rows);
    let mut alone = 0.0;
    let mut sum = Gradients::of_lora(&case.lora);
    for row in rows {
        case.rows = vec![row];
        let (loss, gradients) = case.loss(Trainable::Lora);
        alone += loss;
        sum.add_scaled(1.0, &gradients);
    }
    assert!((alone - together).abs() < 1e-12 * together, "{alone} and {together}");
    for (ours, theirs) in sum.matrices().zip(all.matrices()) {
        assert!(distance(ours, theirs) < 1e-5 * distance(theirs, &vec![0.0; theirs.len()]));
    }
}

/// First-step gradients and base losses of a model made with transformers and peft.
#[test]
fn gradients_equal_pefts_on_llama_mini() {
    let Some(folder) = shared("cases/train/llama-mini") else { return };
    use openledger_model::Weights;
    let read = |name: &str| std::fs::read(folder.join(name)).unwrap();
    let weights = Weights::from_safetensors(read("model.safetensors")).unwrap();
    let ids =
        candle_core::safetensors::load_buffer(&read("ids.safetensors"), &Device::Cpu).unwrap();
    let ids = ids["batches"].to_dtype(candle_core::DType::U32).unwrap();
    let ids: Vec<Vec<Vec<u32>>> = ids.to_vec3().unwrap();
    let rows: Vec<Tokens> = ids[0].iter().map(|row| Tokens::new(&[], row)).collect();
    let labels: Vec<Option<u32>> = rows.iter().flat_map(Tokens::labels).collect();
    let count = labels.iter().flatten().count() as f32;
    let batch = Batch::new(rows.iter().map(|row| &row.tokens[..]));
    for config in ["config.json", "config.hf4.json"] {
        let network = Network::new(&read(config), weights.clone()).unwrap();
        for case in ["b0", "bnz"] {
            let lora = Lora::from_safetensors(
                &network,
                &LoraConfig::default().with_rank(8, 16.0),
                &read(&format!("adapter_init_{case}.safetensors")),
            )
            .unwrap();
            let mut tape = Tape::new(&network, Some(&lora), Trainable::Lora, &batch);
            let hidden = tape.run().unwrap();
            tape.loss(&hidden, &labels, 1.0 / count);
            let mut gradients = Gradients::of_lora(&lora);
            tape.backward(&mut gradients);
            let expected = Lora::from_safetensors(
                &network,
                &LoraConfig::default().with_rank(8, 16.0),
                &read(&format!("grads_step1_{case}.safetensors")),
            )
            .unwrap();
            let expected = expected.pairs().flat_map(|(_, pair)| [&pair.a, &pair.b]);
            for (ours, theirs) in gradients.matrices().zip(expected) {
                let largest = distance(theirs, &vec![0.0; theirs.len()]);
                let apart = distance(ours, theirs);
                assert!(apart <= 1e-4 * largest, "{case}: {apart} of {largest}");
            }
        }
    }
}

#[test]
fn checkpointing_changes_no_bit() {
    for family in testing::FAMILIES {
        for trainable in [Trainable::Lora, Trainable::Base] {
            let case = Case::new(family, 4);
            let kept = case.loss_with(trainable, false);
            assert_eq!(case.loss_with(trainable, true), kept, "{family} {trainable:?}");
        }
    }
}

#[test]
fn a_base_in_four_bits_trains_as_its_rounded_weights_do() {
    for family in testing::FAMILIES {
        let mut case = Case::new(family, 5);
        let before = case.network.weights().bytes();
        case.network = case.network.in_nf4();
        assert!(case.network.weights().bytes() < before, "{family}");
        let quantised = case.loss(Trainable::Lora);
        // The same numbers, stored as `f32`.
        let params: Vec<_> = case.network.weights().params().collect();
        for param in params {
            case.network.data_mut(param);
        }
        assert_eq!(case.loss(Trainable::Lora), quantised, "{family}");
    }
}

#[test]
fn products_in_bf16_give_nearly_the_same_gradient() {
    for family in ["llama", "qwen3", "deepseek_v3"] {
        let mut case = Case::new(family, 6);
        let (loss, exact) = case.loss(Trainable::Lora);
        case.network = case.network.in_bf16();
        let (rounded_loss, rounded) = case.loss(Trainable::Lora);
        let mut apart = rounded.clone();
        apart.add_scaled(-1.0, &exact);
        let (loss_apart, apart) = ((loss - rounded_loss).abs() / loss, apart.norm() / exact.norm());
        assert!(loss_apart > 0.0 && loss_apart < 0.01, "{family}: {loss_apart}");
        assert!(apart > 0.0 && apart < 0.05, "{family}: {apart}");
    }
}
