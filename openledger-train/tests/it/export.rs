//! One model of a base and an adapter.

use openledger_core::ErrorKind;
use openledger_model::{
    LoraConfig, Model,
    gguf::{GgmlType, write_adapter},
    testing,
};
use openledger_train::{
    Precision, check_export, check_gguf, check_gguf_adapter, merge, merge_gguf,
};

#[test]
fn a_merged_model_of_every_family_answers_as_base_and_adapter() {
    for family in testing::FAMILIES {
        let base = testing::tiny_files_of(family, 1).unwrap();
        let model = Model::load(&base).unwrap();
        let config = LoraConfig::default().with_rank(4, 8.0).with_pattern("all-linear");
        let lora = testing::lora(&model, &config, 3).unwrap();
        let prompts: [&[u32]; 2] = [&[1, 2, 3, 4, 5, 6, 7, 8, 9], &[70]];
        for precision in [Precision::F32, Precision::Bf16] {
            let merged = merge(&base, model.network(), &lora, precision).unwrap();
            let check = check_export(&merged, precision, model.network(), &lora, &prompts);
            let check = check.unwrap_or_else(|e| panic!("{family}, {precision:?}: {e:?}"));
            assert!(check.max_difference > 0.0 && check.tolerance < 5.0, "{check:?}");
            let error = check_export(&base, precision, model.network(), &lora, &prompts);
            assert_eq!(error.unwrap_err().kind(), ErrorKind::Corrupt, "the base is not the merged");
        }
    }
}

#[test]
fn a_merged_gguf_file_answers_as_base_and_adapter_and_one_of_the_base_does_not() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.gguf");
    let prompts: [&[u32]; 2] = [&[1, 2, 3, 4, 5, 6, 7, 8, 9], &[70]];
    for family in ["llama", "mistral", "qwen2", "qwen3"] {
        let base = testing::tiny_files_of(family, 1).unwrap();
        let model = Model::load(&base).unwrap();
        let config = LoraConfig::default().with_rank(4, 8.0).with_pattern("all-linear");
        let lora = testing::lora(&model, &config, 3).unwrap();
        for ty in [GgmlType::F32, GgmlType::F16, GgmlType::BF16, GgmlType::Q8_0, GgmlType::Q4_0] {
            let file = merge_gguf(&base, &model, &lora, ty, Some("{{ messages }}")).unwrap();
            std::fs::write(&path, &file).unwrap();
            let check = check_gguf(&path, ty, model.network(), &lora, &prompts);
            let check = check.unwrap_or_else(|e| panic!("{family}, {}: {e:?}", ty.name()));
            println!(
                "{family} {} {:.1e} of {:.1e}",
                ty.name(),
                check.max_difference,
                check.tolerance
            );
        }
        let none = testing::lora(&model, &config, 4).unwrap();
        let file = merge_gguf(&base, &model, &none, GgmlType::Q8_0, None).unwrap();
        std::fs::write(&path, &file).unwrap();
        let error = check_gguf(&path, GgmlType::Q8_0, model.network(), &lora, &prompts);
        assert_eq!(error.unwrap_err().kind(), ErrorKind::Corrupt, "{family}: another adapter");
    }
}

#[test]
fn a_merged_model_is_a_folder_like_any_other() {
    let base = testing::tiny_files(1).unwrap();
    let model = Model::load(&base).unwrap();
    let lora = testing::lora(&model, &LoraConfig::default(), 3).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let merged = merge(&base, model.network(), &lora, Precision::Bf16).unwrap();
    merged.write(folder.path()).unwrap();
    let found = Model::open(folder.path()).unwrap();
    assert_ne!(found.id(), model.id());
    let config: serde_json::Value = serde_json::from_slice(&merged.config).unwrap();
    assert_eq!(config["torch_dtype"], "bfloat16");
    let half = merged.weights.values().map(|bytes| bytes.len()).sum::<usize>();
    assert!(half * 2 < base.weights.values().map(|bytes| bytes.len()).sum::<usize>() + 100_000);
}

#[test]
fn a_check_without_prompts_checks_nothing_and_is_refused() {
    let base = testing::tiny_files(1).unwrap();
    let model = Model::load(&base).unwrap();
    let lora = testing::lora(&model, &LoraConfig::default(), 3).unwrap();
    let check = |prompts: &[&[u32]]| {
        check_export(&base, Precision::F32, model.network(), &lora, prompts).unwrap_err()
    };
    assert_eq!(check(&[]).kind(), ErrorKind::Invalid);
    assert_eq!(check(&[&[]]).kind(), ErrorKind::Invalid);
    assert_eq!(check(&[&[9999]]).kind(), ErrorKind::Invalid);
}

#[test]
fn an_adapter_in_a_gguf_file_answers_as_it_did_and_another_does_not() {
    for family in ["llama", "qwen2"] {
        let base = testing::tiny_files_of(family, 1).unwrap();
        let model = Model::load(&base).unwrap();
        let config = LoraConfig::default().with_rank(4, 7.0).with_pattern("all-linear");
        let lora = testing::lora(&model, &config, 3).unwrap();
        let mut file = Vec::new();
        write_adapter(&base.config, model.network(), &lora, &mut file).unwrap();
        let prompts: [&[u32]; 2] = [&[1, 2, 3, 4, 5, 6, 7, 8, 9], &[70]];
        let check = |lora| check_gguf_adapter(&file, &base, model.network(), lora, &prompts);
        let found = check(&lora).unwrap();
        assert!(found.max_difference <= found.tolerance && found.tolerance < 1e-2, "{found:?}");
        let other = testing::lora(&model, &config, 4).unwrap();
        assert_eq!(check(&other).unwrap_err().kind(), ErrorKind::Corrupt);
    }
}
