//! Adapters: in and out of files, and refused when they do not fit.

use openledger_core::ErrorKind;
use openledger_model::{Adapter, AdapterFiles, Lora, LoraConfig, Model, testing};
use serde_json::Value;

fn made() -> (Model, LoraConfig, Lora) {
    let model = testing::tiny(1).unwrap();
    let config = LoraConfig::default().with_rank(3, 6.0);
    let lora = testing::lora(&model, &config, 2).unwrap();
    (model, config, lora)
}

/// Adapter files whose configuration has one field changed.
fn with(files: &AdapterFiles, field: &str, value: Value) -> AdapterFiles {
    let mut config: Value = serde_json::from_slice(&files.config).unwrap();
    config[field] = value;
    AdapterFiles::new(serde_json::to_vec(&config).unwrap(), files.weights.clone())
}

#[test]
fn an_adapter_survives_its_files() {
    let (model, config, lora) = made();
    let folder = tempfile::tempdir().unwrap();
    let files = lora.to_files(model.network(), &config);
    files.write(folder.path().join("new")).unwrap();
    let read = AdapterFiles::read(folder.path().join("new")).unwrap();
    assert_eq!(read, files);
    let adapter = Adapter::load(model.network(), &read).unwrap();
    assert_eq!((adapter.lora(), adapter.config(), adapter.id()), (&lora, &config, files.id()));
}

#[test]
fn names_and_shapes_are_pefts() {
    let (model, config, lora) = made();
    let files = lora.to_files(model.network(), &config);
    let tensors =
        candle_core::safetensors::load_buffer(&files.weights, &candle_core::Device::Cpu).unwrap();
    assert_eq!(tensors.len(), 2 * 7 * 2);
    let a = "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight";
    let b = "base_model.model.model.layers.1.mlp.down_proj.lora_B.weight";
    assert_eq!((tensors[a].dims(), tensors[b].dims()), (&[3, 32][..], &[32, 3][..]));
}

#[test]
fn equal_matrices_have_equal_names_and_different_ones_different() {
    let (model, config, lora) = made();
    let id = lora.to_files(model.network(), &config).id();
    assert_eq!(lora.to_files(model.network(), &config).id(), id);
    let other = testing::lora(&model, &config, 3).unwrap();
    assert_ne!(other.to_files(model.network(), &config).id(), id);
    assert_ne!(lora.to_files(model.network(), &config.with_rank(3, 7.0)).id(), id);
}

#[test]
fn what_does_not_fit_is_refused_by_name() {
    let (model, config, lora) = made();
    let files = lora.to_files(model.network(), &config);
    for (changed, named) in [
        (with(&files, "r", 4.into()), "q_proj.lora_A"),
        (with(&files, "target_modules", serde_json::json!(["q_proj"])), "belongs to no layer"),
        (with(&files, "target_modules", serde_json::json!(["q_proj", "w_proj"])), "w_proj"),
        (with(&files, "target_modules", serde_json::json!(["proj"])), "`proj`"),
        (with(&files, "target_modules", serde_json::json!([])), "target_modules"),
        (with(&files, "r", 0.into()), "rank"),
    ] {
        let error = Adapter::load(model.network(), &changed).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(error.to_string().contains(named), "{error}");
    }
}

#[test]
fn an_adapter_of_another_model_is_refused() {
    let (_, config, lora) = made();
    let model = testing::tiny(1).unwrap();
    let wider = {
        use openledger_model::{LlamaConfig, Network};
        let config = LlamaConfig::small(258, 64, 2, 4, 1).unwrap();
        Network::init(&config.to_json(), 1).unwrap()
    };
    let error = Adapter::load(&wider, &lora.to_files(model.network(), &config)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.to_string().contains("[3, 32]"), "{error}");
}

#[test]
fn a_missing_target_tensor_is_named() {
    let (model, config, lora) = made();
    let files = lora.to_files(model.network(), &config);
    let fewer = config.with_targets(["q_proj"]);
    let one = testing::lora(&model, &fewer, 2).unwrap().to_files(model.network(), &fewer);
    let mixed = AdapterFiles::new(files.config, one.weights);
    let error = Adapter::load(model.network(), &mixed).unwrap_err();
    assert!(error.to_string().contains("k_proj.lora_A"), "{error}");
}
