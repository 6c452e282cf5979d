//! Files that are cut, changed or lie: an error, never a panic.

use openledger_core::ErrorKind;
use openledger_model::{
    Adapter, AdapterFiles, Batch, Decoder, LlamaConfig, LoraConfig, Model, ModelFiles, NamedTensor,
    Network, Tape, Tokenizer, Trainable, Weights, testing,
};
use proptest::prelude::*;
use serde_json::{Map, Value};

fn files() -> ModelFiles {
    let network = testing::tiny(1).unwrap().network().clone();
    let tokenizer = Tokenizer::train(&[], 258).unwrap();
    let mut config = LlamaConfig::small(258, 32, 2, 4, 1).unwrap();
    config.key_value_heads = 2;
    ModelFiles::new(config.to_json(), tokenizer.to_json(), network.weights().to_safetensors())
}

#[test]
fn a_model_cut_short_is_refused_with_the_file_named() {
    let folder = tempfile::tempdir().unwrap();
    files().write(folder.path()).unwrap();
    assert!(Model::open(folder.path()).is_ok());
    let path = folder.path().join("model.safetensors");
    let whole = std::fs::read(&path).unwrap();
    for len in [0, 7, 8, 100, whole.len() / 2, whole.len() - 1] {
        std::fs::write(&path, &whole[..len]).unwrap();
        let error = Model::open(folder.path()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{len} bytes");
        assert!(error.report().contains("model.safetensors"), "{}", error.report());
        assert_eq!(error.report().lines().count(), 1);
    }
}

#[test]
fn a_missing_file_is_named() {
    for name in ["config.json", "model.safetensors", "tokenizer.json"] {
        let folder = tempfile::tempdir().unwrap();
        files().write(folder.path()).unwrap();
        std::fs::remove_file(folder.path().join(name)).unwrap();
        let error = Model::open(folder.path()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
        assert!(error.report().contains(name), "{}", error.report());
    }
}

#[test]
fn an_index_that_leaves_its_folder_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    files().write(folder.path()).unwrap();
    for name in ["../model.safetensors", "/etc/passwd", "a/b", ".."] {
        let index = format!(r#"{{"weight_map":{{"x":"{name}"}}}}"#);
        std::fs::write(folder.path().join("model.safetensors.index.json"), index).unwrap();
        let error = Model::open(folder.path()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{name}");
    }
}

#[test]
fn shards_are_read_together() {
    let folder = tempfile::tempdir().unwrap();
    let whole = files();
    whole.write(folder.path()).unwrap();
    let single = Model::open(folder.path()).unwrap();
    let weights = Weights::from_safetensors(whole.weights["model.safetensors"].clone()).unwrap();
    let mut map = serde_json::Map::new();
    for (half, name) in ["one.safetensors", "two.safetensors"].into_iter().enumerate() {
        let part: Vec<_> =
            weights.params().filter(|p| weights.name(*p).len() % 2 == half).collect();
        let tensors = part.iter().map(|&p| {
            map.insert(weights.name(p).to_owned(), name.into());
            NamedTensor {
                name: weights.name(p).to_owned(),
                shape: weights.shape(p).to_vec(),
                data: weights.data(p).to_vec(),
            }
        });
        let bytes = Weights::from_tensors(tensors).unwrap().to_safetensors();
        std::fs::write(folder.path().join(name), bytes).unwrap();
    }
    let index = serde_json::json!({ "weight_map": map });
    std::fs::write(folder.path().join("model.safetensors.index.json"), index.to_string()).unwrap();
    let sharded = Model::open(folder.path()).unwrap();
    for param in weights.params() {
        let (a, b) = (single.network().weights(), sharded.network().weights());
        let found = b.find(weights.name(param), weights.shape(param)).unwrap();
        let other = a.find(weights.name(param), weights.shape(param)).unwrap();
        assert_eq!(a.data(other), b.data(found));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn changed_bytes_never_panic(place in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let weights = Weights::from_tensors([NamedTensor {
            name: "a".to_owned(),
            shape: vec![2, 3],
            data: vec![1.0; 6],
        }])
        .unwrap();
        let mut bytes = weights.to_safetensors();
        let place = place.index(bytes.len());
        bytes[place] = byte;
        let _ = Weights::from_safetensors(bytes);
    }

    #[test]
    fn foreign_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300), json in "\\PC{0,80}") {
        let _ = Weights::from_safetensors(bytes);
        let _ = LlamaConfig::parse(json.as_bytes());
        let _ = LoraConfig::parse(json.as_bytes());
        let _ = Tokenizer::parse(json.as_bytes());
    }
}

/// What a field may be that was something else.
const VALUES: [&str; 14] = [
    "0",
    "1",
    "2",
    "3",
    "-1",
    "67108864",
    "18446744073709551615",
    "1e300",
    "null",
    "true",
    "\"x\"",
    "[]",
    "{}",
    "[\"sliding_attention\"]",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn a_changed_configuration_never_panics(
        family in prop::sample::select(&testing::FAMILIES[..]),
        changes in prop::collection::vec(
            (any::<prop::sample::Index>(), prop::sample::select(&VALUES[..])), 1..4,
        ),
    ) {
        let files = testing::tiny_files_of(family, 1).unwrap();
        let weights = Weights::from_files(&files.weights).unwrap();
        let mut config: Map<String, Value> = serde_json::from_slice(&files.config).unwrap();
        let names: Vec<String> = config.keys().cloned().collect();
        for (at, value) in changes {
            config.insert(at.get(&names).clone(), serde_json::from_str(value).unwrap());
        }
        let config = Value::Object(config).to_string();
        let _ = Decoder::tensors(config.as_bytes());
        let Ok(network) = Network::new(config.as_bytes(), weights) else { return Ok(()) };
        let batch = Batch::new([&[1, 2, 3, 4, 5, 6, 7, 8][..]]);
        let mut tape = Tape::new(&network, None, Trainable::Nothing, &batch);
        let hidden = tape.run().unwrap();
        prop_assert_eq!(tape.logits(&hidden).len(), 8 * network.decoder().vocabulary());
    }
}

/// What a field of an adapter's configuration may be.
const ADAPTER_VALUES: [&str; 22] = [
    "0",
    "3",
    "4097",
    "18446744073709551615",
    "-1",
    "1e308",
    "true",
    "null",
    "[]",
    "[1]",
    "[0,1]",
    "[99999999999]",
    "\"pissa\"",
    "\"all-linear\"",
    "\"(\"",
    "\".*((((a{99}){99}){99}){99})\"",
    "[\"q_proj\"]",
    "[\"lm_head\",\"embed_tokens\"]",
    "[\"gate_up_proj\",\"down_proj\"]",
    "{\".*\":4096}",
    "{\"q_proj\":0}",
    "{\".*_proj\":1e300}",
];

/// The fields that decide which tensors there are, and their sizes.
const ADAPTER_FIELDS: [&str; 14] = [
    "r",
    "lora_alpha",
    "target_modules",
    "target_parameters",
    "exclude_modules",
    "layers_to_transform",
    "layers_pattern",
    "rank_pattern",
    "alpha_pattern",
    "modules_to_save",
    "use_dora",
    "use_rslora",
    "init_lora_weights",
    "bias",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn a_changed_adapter_never_panics(
        deepseek in any::<bool>(),
        changes in prop::collection::vec(
            (prop::sample::select(&ADAPTER_FIELDS[..]), prop::sample::select(&ADAPTER_VALUES[..])), 1..4,
        ),
        byte in prop::option::of((any::<prop::sample::Index>(), any::<u8>())),
    ) {
        let model = testing::tiny_of(if deepseek { "deepseek_v2" } else { "llama" }, 1).unwrap();
        let like = LoraConfig::default().with_rank(2, 4.0).with_dora(true).with_pattern("all-linear");
        let files = testing::lora(&model, &like, 1).unwrap().to_files(model.network(), &like);
        let mut config: Map<String, Value> = serde_json::from_slice(&files.config).unwrap();
        for (field, value) in changes {
            config.insert(field.to_owned(), serde_json::from_str(value).unwrap());
        }
        let mut weights = files.weights.to_vec();
        if let Some((place, byte)) = byte {
            let place = place.index(weights.len());
            weights[place] = byte;
        }
        let files = AdapterFiles::new(Value::Object(config).to_string().into_bytes(), weights);
        if let Ok(adapter) = Adapter::load(model.network(), &files) {
            let again = adapter.lora().to_files(model.network(), adapter.config());
            let again = Adapter::load(model.network(), &again);
            prop_assert!(again.is_ok(), "{:?}", again.err());
        }
    }
}

#[test]
fn a_header_that_claims_more_than_the_file_has_is_refused() {
    let mut bytes = u64::MAX.to_le_bytes().to_vec();
    bytes.extend(b"{}");
    assert_eq!(Weights::from_safetensors(bytes).unwrap_err().kind(), ErrorKind::Corrupt);
    let header = br#"{"a":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,8]}}"#;
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend(header);
    bytes.extend([0; 8]);
    assert_eq!(Weights::from_safetensors(bytes).unwrap_err().kind(), ErrorKind::Corrupt);
}
