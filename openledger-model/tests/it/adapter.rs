//! Adapters: in and out of files, and refused when they do not fit.

use openledger_core::ErrorKind;
use openledger_model::{
    Adapter, AdapterFiles, Batch, Lora, LoraConfig, Model, NamedTensor, Network, Saved, Tape,
    Trainable, Weights, testing,
};
use serde_json::{Value, json};

use crate::distance;

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

fn logits(network: &Network, lora: &Lora) -> Vec<f32> {
    let batch = Batch::new([&[1, 2, 3, 4, 5, 6, 7, 8, 9][..]]);
    let mut tape = Tape::new(network, Some(lora), Trainable::Nothing, &batch);
    let hidden = tape.run().unwrap();
    tape.logits(&hidden)
}

/// The tensors of an adapter, to change them.
fn tensors(files: &AdapterFiles) -> Vec<NamedTensor> {
    let weights = Weights::from_safetensors(files.weights.clone()).unwrap();
    let tensor = |param| NamedTensor {
        name: weights.name(param).to_owned(),
        shape: weights.shape(param).to_vec(),
        data: weights.data(param).to_vec(),
    };
    weights.params().map(tensor).collect()
}

fn with_tensors(files: &AdapterFiles, tensors: Vec<NamedTensor>) -> AdapterFiles {
    let weights = Weights::from_tensors(tensors).unwrap().to_safetensors();
    AdapterFiles::new(files.config.clone(), weights)
}

#[test]
fn every_kind_survives_its_files() {
    let plain = LoraConfig::default().with_rank(3, 6.0);
    for config in [
        plain.clone().with_dora(true),
        plain.clone().with_saved([Saved::Head]),
        plain.clone().with_saved([Saved::Embedding, Saved::Head]).with_dora(true),
        plain.with_rank_pattern(r"layers\.1\.mlp\..*", 5).with_alpha_pattern("v_proj", 1.5),
    ] {
        let model = testing::tiny_of("qwen3", 1).unwrap();
        let lora = testing::lora(&model, &config, 2).unwrap();
        let files = lora.to_files(model.network(), &config);
        let adapter = Adapter::load(model.network(), &files).unwrap();
        assert_eq!((adapter.lora(), adapter.config()), (&lora, &config));
        let parts: Vec<usize> = lora.parts().map(|(_, part)| part.len()).collect();
        let shapes = lora.tensors(model.network()).into_iter();
        assert!(shapes.map(|(_, shape)| shape.iter().product::<usize>()).eq(parts));
    }
}

#[test]
fn patterns_change_rank_and_scale_of_some_layers() {
    let model = testing::tiny(1).unwrap();
    let config = LoraConfig::default()
        .with_rank(4, 8.0)
        .with_rank_pattern("layers.1.self_attn.q_proj", 2)
        .with_alpha_pattern("q_proj", 16.0);
    let lora = Lora::init(model.network(), &config, 1).unwrap();
    let of = |name: &str| {
        let site = |site| model.network().weights().name(site) == format!("model.{name}.weight");
        let (_, pair) = lora.pairs().find(|(found, _)| site(*found)).unwrap();
        (pair.rank, pair.scale)
    };
    assert_eq!(of("layers.0.self_attn.k_proj"), (4, 2.0));
    assert_eq!(of("layers.0.self_attn.q_proj"), (4, 4.0));
    assert_eq!(of("layers.1.self_attn.q_proj"), (2, 8.0));
}

#[test]
fn an_untrained_adapter_changes_nothing_whatever_its_kind() {
    let model = testing::tiny(1).unwrap();
    let base = logits(model.network(), &Lora::default());
    for config in [
        LoraConfig::default().with_dora(true),
        LoraConfig::default().with_saved([Saved::Embedding, Saved::Head]),
    ] {
        let lora = Lora::init(model.network(), &config, 1).unwrap();
        assert!(distance(&logits(model.network(), &lora), &base) < 2e-5);
    }
}

#[test]
fn merged_weights_answer_as_the_adapter() {
    for family in testing::FAMILIES {
        let model = testing::tiny_of(family, 1).unwrap();
        let config = LoraConfig::default().with_dora(true).with_pattern("all-linear");
        let lora = testing::lora(&model, &config, 2).unwrap();
        let mut merged = model.network().clone();
        for (site, _) in lora.pairs() {
            let weight = lora.merged(model.network(), site);
            merged.data_mut(site).copy_from_slice(&weight);
        }
        let apart = distance(&logits(&merged, &Lora::default()), &logits(model.network(), &lora));
        assert!(apart < 5e-5, "{family}: {apart}");
    }
}

#[test]
fn what_a_kind_needs_and_the_file_lacks_is_named() {
    let model = testing::tiny(1).unwrap();
    let config = LoraConfig::default().with_dora(true).with_saved([Saved::Head]);
    let files = testing::lora(&model, &config, 2).unwrap().to_files(model.network(), &config);
    for missing in ["layers.1.mlp.up_proj.lora_magnitude_vector", "base_model.model.lm_head.weight"]
    {
        let mut fewer = tensors(&files);
        fewer.retain(|tensor| !tensor.name.ends_with(missing));
        let error = Adapter::load(model.network(), &with_tensors(&files, fewer)).unwrap_err();
        assert!(error.to_string().contains(missing), "{error}");
    }
    for (option, value) in [("use_dora", json!(false)), ("modules_to_save", Value::Null)] {
        let error = Adapter::load(model.network(), &with(&files, option, value)).unwrap_err();
        assert!(error.to_string().contains("belongs to no layer"), "{error}");
    }
}

#[test]
fn a_pissa_adapter_is_read_for_the_base_as_it_was() {
    let model = testing::tiny(1).unwrap();
    let network = model.network();
    for rank_stabilised in [false, true] {
        let config = LoraConfig::default()
            .with_rank(4, 6.0)
            .with_rank_pattern("down_proj", 3)
            .with_rank_stabilised(rank_stabilised);
        let (base, start) = Lora::pissa(network, &config).unwrap();
        assert!(distance(&logits(&base, &start), &logits(network, &Lora::default())) < 2e-5);

        let mut trained = start.clone();
        for (_, part) in trained.parts_mut() {
            part.iter_mut().enumerate().for_each(|(at, w)| *w += 0.02 * (at as f32).sin());
        }
        let expected = logits(&base, &trained);
        assert!(distance(&expected, &logits(network, &Lora::default())) > 1e-2);
        // As PEFT converts it, and as it saves it unconverted.
        let converted = trained.without_pissa(&start).unwrap();
        let converted = converted.to_files(network, &config.without_pissa().unwrap());
        let whole = trained.to_files(network, &config);
        let whole = with(&whole, "init_lora_weights", json!("pissa"));
        for files in [converted, whole] {
            let adapter = Adapter::load(network, &files).unwrap();
            assert!(distance(&logits(network, adapter.lora()), &expected) < 5e-5);
        }
    }
}

/// What is taken out are the largest parts: no other matrices of the rank leave less.
#[test]
fn pissa_takes_out_as_much_as_can_be() {
    let model = testing::tiny(1).unwrap();
    let config = LoraConfig::default().with_rank(32, 32.0).with_targets(["q_proj"]);
    let (base, start) = Lora::pissa(model.network(), &config).unwrap();
    for (site, _) in start.pairs() {
        let largest = base.weights().data(site).iter().fold(0f32, |most, w| most.max(w.abs()));
        assert!(largest < 1e-6, "a rank as large as the weight leaves nothing: {largest}");
    }
}

/// Packs the matrices of experts as PEFT 0.21 has them on transformers 5.
fn at_all_experts_at_once(files: &AdapterFiles, experts: usize, rank: usize) -> AdapterFiles {
    let all = tensors(files);
    let (mine, mut others): (Vec<_>, Vec<_>) =
        all.into_iter().partition(|tensor| tensor.name.contains(".experts."));
    let prefix = "base_model.model.model.layers.1.mlp.experts";
    let find = |expert: usize, leaf: &str, side: &str| {
        let name = format!("{prefix}.{expert}.{leaf}.lora_{side}.weight");
        mine.iter().find(|tensor| tensor.name == name).unwrap()
    };
    for (wrapper, leaves) in [(".base_layer", &["gate_proj", "up_proj"][..]), ("", &["down_proj"])]
    {
        let width = find(0, leaves[0], "A").shape[1];
        let half = find(0, leaves[0], "B").shape[0];
        let a: Vec<f32> =
            (0..experts).flat_map(|expert| find(expert, leaves[0], "A").data.clone()).collect();
        let mut b = vec![0.0; half * leaves.len() * rank * experts];
        for (part, leaf) in leaves.iter().enumerate() {
            for expert in 0..experts {
                let data = &find(expert, leaf, "B").data;
                for (row, column) in (0..half).flat_map(|row| (0..rank).map(move |c| (row, c))) {
                    let row_of_all = part * half + row;
                    b[row_of_all * rank * experts + column * experts + expert] =
                        data[row * rank + column];
                }
            }
        }
        let name = |side: &str| format!("{prefix}{wrapper}.lora_{side}.weight");
        let shape = vec![experts * rank, width];
        others.push(NamedTensor { name: name("A"), shape, data: a });
        let shape = vec![half * leaves.len(), experts * rank];
        others.push(NamedTensor { name: name("B"), shape, data: b });
    }
    with_tensors(files, others)
}

#[test]
fn experts_at_once_are_read_as_each_alone() {
    let model = testing::tiny_of("deepseek_v2", 1).unwrap();
    let network = model.network();
    let config = LoraConfig::default()
        .with_rank(3, 6.0)
        .with_pattern(r".*\.(o_proj|experts\.[0-9]+\.[a-z]+_proj)");
    let mut lora = testing::lora(&model, &config, 2).unwrap();
    // Gate and up share `A` there.
    let name = |site| network.weights().name(site).to_owned();
    let gates: Vec<Vec<f32>> = lora
        .pairs()
        .filter(|(site, _)| name(*site).contains(".experts.") && name(*site).contains("gate_proj"))
        .map(|(_, pair)| pair.a.clone())
        .collect();
    let ups = lora
        .pairs_mut()
        .filter(|(site, _)| name(*site).contains(".experts.") && name(*site).contains("up_proj"));
    ups.zip(gates).for_each(|((_, pair), gate)| pair.a = gate);

    let files = lora.to_files(network, &config);
    let at_once = at_all_experts_at_once(&files, 6, 3);
    let at_once = with(&at_once, "target_modules", json!(["o_proj"]));
    let at_once =
        with(&at_once, "target_parameters", json!(["gate_up_proj", "mlp.experts.down_proj"]));
    let adapter = Adapter::load(network, &at_once).unwrap();
    assert_eq!(adapter.lora(), &lora);
    // Written again it is expert by expert, and what it says of itself is right.
    let again = adapter.lora().to_files(network, adapter.config());
    assert_eq!(again.weights, files.weights);
    assert_eq!(Adapter::load(network, &again).unwrap().lora(), &lora);

    for (changed, named) in [
        (with(&at_once, "target_parameters", json!(["gate_proj"])), "gate_proj"),
        (
            with(&at_once, "rank_pattern", json!({".*experts.gate_up_proj": 6})),
            "rank 6 for 6 experts",
        ),
        (with(&at_once, "target_parameters", json!(["down_proj"])), "belongs to no layer"),
    ] {
        let error = Adapter::load(network, &changed).unwrap_err();
        assert!(error.to_string().contains(named), "{error}");
    }
}
