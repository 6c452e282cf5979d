//! Models as GGUF files: read, written, and cut, changed or lying.

use std::ops::Range;

use bytes::Bytes;
use candle_core::{
    Device,
    quantized::{GgmlDType, QStorage, QTensor},
};
use openledger_core::ErrorKind;
use openledger_kernels::Precision;
use openledger_model::{
    Batch, Chat, ChatTemplate, LoraConfig, Message, Model, ModelFiles, Network, Tape, Trainable,
    gguf::{GgmlType, Gguf, GgufWriter, write_adapter},
    testing,
};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

use crate::{distance, shared};

fn logits(network: &Network, tokens: &[u32]) -> Vec<f32> {
    let batch = Batch::new([tokens]);
    let mut tape = Tape::new(network, None, Trainable::Nothing, &batch);
    let hidden = tape.run().unwrap();
    tape.logits(&hidden)
}

fn write(files: &ModelFiles, ty: GgmlType) -> Vec<u8> {
    let model = Model::load(files).unwrap();
    let mut file = Vec::new();
    GgufWriter::new(&files.config, model.tokenizer(), model.network().weights())
        .with_type(ty)
        .with_name("tiny")
        .with_chat_template("{{ messages }}")
        .write(&mut file)
        .unwrap();
    file
}

/// Files of a family that GGUF has words for.
fn files_of(family: &str) -> ModelFiles {
    let mut files = testing::tiny_files_of(family, 3).unwrap();
    if family.starts_with("deepseek") {
        let mut config: Value = serde_json::from_slice(&files.config).unwrap();
        config["rope_scaling"]["mscale"] = json!(0.8);
        files.config = config.to_string().into_bytes();
    }
    files
}

/// What can be written.
const WRITTEN: [GgmlType; 5] =
    [GgmlType::F32, GgmlType::F16, GgmlType::BF16, GgmlType::Q8_0, GgmlType::Q4_0];

const TOKENS: [u32; 9] = [256, 84, 104, 101, 32, 99, 97, 116, 33];

#[test]
fn a_model_written_in_f32_is_the_same_when_read() {
    for family in testing::FAMILIES {
        let files = files_of(family);
        let ours = Model::load(&files).unwrap();
        let file = write(&files, GgmlType::F32);
        let read = Model::from_gguf(&file).unwrap();
        assert_eq!(read.network().decoder().family(), family);
        assert_eq!(read.eos(), ours.eos());
        let (a, b) = (ours.network().weights(), read.network().weights());
        assert_eq!(a.params().len(), b.params().len());
        for param in a.params() {
            let found = b.find(a.name(param), a.shape(param)).unwrap();
            assert_eq!(a.data(param), b.data(found), "{family}: {}", a.name(param));
        }
        assert_eq!(logits(ours.network(), &TOKENS), logits(read.network(), &TOKENS), "{family}");
        for text in ["The cat, thé çat 猫 🐈!\n 12345", "", " a  b"] {
            let tokens = ours.tokenizer().encode(text, true).unwrap();
            assert_eq!(read.tokenizer().encode(text, true).unwrap(), tokens);
            assert_eq!(read.tokenizer().decode(&tokens).unwrap(), text);
        }
    }
}

#[test]
fn matrices_stay_as_a_file_has_them_where_products_can_be_computed_with_them() {
    for family in testing::FAMILIES {
        let files = files_of(family);
        for ty in WRITTEN {
            let file = Bytes::from(write(&files, ty));
            let exact = Model::from_gguf(&file).unwrap();
            let stored = Model::from_gguf_as_stored(&file).unwrap();
            assert_eq!(stored.id(), exact.id());
            let (exact, stored) = (exact.network().weights(), stored.network().weights());
            let mut kept = 0;
            for (param, same) in exact.params().zip(stored.params()) {
                assert_eq!(exact.name(param), stored.name(same));
                assert_eq!(exact.data(param), stored.data(same), "{family} {ty}");
                if let [_, _] = *stored.shape(same) {
                    let precision = stored.matrix(same).storage().precision();
                    kept += usize::from(precision != Precision::F32);
                }
            }
            assert_eq!(kept > 0, ty != GgmlType::F32, "{family} {ty}");
        }
    }
}

#[test]
fn biases_are_in_the_order_of_a_checkpoint_however_a_file_is_opened() {
    let mut files = testing::tiny_files(1).unwrap();
    let mut config: Value = serde_json::from_slice(&files.config).unwrap();
    config["attention_bias"] = json!(true);
    files.config = config.to_string().into_bytes();
    let mut network = Network::init(&files.config, 1).unwrap();
    for param in network.weights().params() {
        if network.weights().name(param).ends_with("bias") {
            let numbers = (0u8..).map(f32::from);
            network.data_mut(param).iter_mut().zip(numbers).for_each(|(x, n)| *x = n);
        }
    }
    let weights = network.weights().to_safetensors();
    let files = ModelFiles::new(files.config, files.tokenizer, weights);
    let file = Bytes::from(write(&files, GgmlType::F32));
    for read in [Model::from_gguf(&file).unwrap(), Model::from_gguf_as_stored(&file).unwrap()] {
        let (read, ours) = (read.network().weights(), network.weights());
        for param in ours.params() {
            let name = ours.name(param);
            let same = read.find(name, ours.shape(param)).unwrap();
            assert_eq!(read.data(same), ours.data(param), "{name}");
        }
    }
}

#[test]
fn what_has_a_precision_already_is_not_rounded_to_it_again() {
    let files = testing::tiny_files(1).unwrap();
    let mut file = write(&files, GgmlType::Q4_0);
    // A block of threes and ones, which who rounds by the largest would never write: rounded again, the ones
    // would be 1.125.
    let parsed = Gguf::parse(&file).unwrap();
    let matrix = parsed.tensor("blk.0.ffn_gate.weight").unwrap().bytes();
    let at = matrix.as_ptr().addr() - file.as_ptr().addr();
    file[at + 2..at + 18].fill(0x9B);
    let file = Bytes::from(file);
    let model = Model::from_gguf_as_stored(&file).unwrap().map_network(Network::in_q4_0);
    let exact = Model::from_gguf(&file).unwrap();
    let data = |model: &Model| {
        let weights = model.network().weights();
        weights.params().flat_map(|param| weights.data(param).to_vec()).collect::<Vec<f32>>()
    };
    assert_eq!(data(&model), data(&exact));
}

#[test]
fn a_file_says_what_it_is() {
    let files = testing::tiny_files(1).unwrap();
    let bytes = write(&files, GgmlType::Q8_0);
    let file = Gguf::parse(&bytes).unwrap();
    assert_eq!(file.version(), 3);
    assert_eq!(file.get("general.architecture").unwrap().as_str(), Some("llama"));
    assert_eq!(file.get("general.name").unwrap().as_str(), Some("tiny"));
    assert_eq!(file.get("llama.attention.head_count_kv").unwrap().as_u64(), Some(2));
    assert_eq!(file.chat_template(), Some("{{ messages }}"));
    let query = file.tensor("blk.1.attn_q.weight").unwrap();
    assert_eq!((query.ty(), query.shape()), (GgmlType::Q8_0, &[32, 32][..]));
    assert_eq!(file.tensor("output_norm.weight").unwrap().ty(), GgmlType::F32);
    // Rows of 96 are three blocks of 32; the head is the embedding table.
    assert_eq!(file.tensor("blk.0.ffn_down.weight").unwrap().ty(), GgmlType::Q8_0);
    assert!(file.tensor("output.weight").is_none());
}

#[test]
fn a_files_chat_template_writes_its_tokens() {
    let files = testing::tiny_files(1).unwrap();
    let model = Model::load(&files).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.gguf");
    let written = |template: Option<&str>| {
        let mut file = Vec::new();
        let writer = GgufWriter::new(&files.config, model.tokenizer(), model.network().weights());
        let writer = match template {
            Some(template) => writer.with_chat_template(template),
            None => writer,
        };
        writer.write(&mut file).unwrap();
        std::fs::write(&path, file).unwrap();
        ChatTemplate::open(&path)
    };
    let template = written(Some("{{ messages[0].content }}{{ eos_token }}")).unwrap();
    let chat = Chat::new(vec![Message::user("hello")]);
    let rendered = template.render(&chat, 0).unwrap();
    assert_eq!(rendered.text, "hello</s>");
    assert_eq!(written(None).unwrap_err().kind(), ErrorKind::NotFound);
}

#[test]
fn a_file_opens_like_a_folder_and_its_bytes_are_its_name() {
    let files = testing::tiny_files(1).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let mut ids = Vec::new();
    for ty in [GgmlType::F32, GgmlType::BF16] {
        let path = folder.path().join(format!("{ty}.gguf"));
        std::fs::write(&path, write(&files, ty)).unwrap();
        ids.push(Model::open(&path).unwrap().id());
        assert_eq!(Model::open(&path).unwrap().id(), ids[ids.len() - 1]);
    }
    assert_ne!(ids[0], ids[1]);
    let path = folder.path().join("bf16.gguf");
    std::fs::write(&path, write(&files, GgmlType::BF16)).unwrap();
    assert_eq!(Model::open_as_stored(&path).unwrap().id(), ids[1]);
    let path = folder.path().join("cut.gguf");
    let whole = write(&files, GgmlType::F32);
    std::fs::write(&path, &whole[..whole.len() - 100]).unwrap();
    let error = Model::open(&path).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(error.report().contains("cut.gguf"), "{}", error.report());
}

#[test]
fn quantised_weights_are_within_half_a_step() {
    // Steps of a block: 127 or 8 to its largest element, and what a half keeps of the scale.
    for (ty, steps) in [(GgmlType::Q8_0, 127.0), (GgmlType::Q4_0, 8.0)] {
        let files = testing::tiny_files(5).unwrap();
        let ours = Model::load(&files).unwrap();
        let read = Model::from_gguf(&write(&files, ty)).unwrap();
        let (a, b) = (ours.network().weights(), read.network().weights());
        let mut differs = false;
        for param in a.params() {
            let found = b.find(a.name(param), a.shape(param)).unwrap();
            // Half a step, and a whole one at the end that 4 bits do not reach.
            let share = if ty == GgmlType::Q8_0 { 0.5 } else { 1.0 };
            for (a, b) in a.data(param).chunks(32).zip(b.data(found).chunks(32)) {
                let most = a.iter().fold(0f32, |most, x| most.max(x.abs()));
                assert!(distance(a, b) <= most * (share / steps + 1e-3), "{ty}");
                differs |= a != b;
            }
        }
        assert!(differs);
        let near = distance(&logits(ours.network(), &TOKENS), &logits(read.network(), &TOKENS));
        assert!(near > 0.0 && near.is_finite(), "{ty}: {near}");
    }
}

#[test]
fn rotary_scalings_survive() {
    let yarn = json!({"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 64});
    let mut scaled = yarn.clone();
    scaled["attention_factor"] = json!(1.5);
    for scaling in [
        json!({"rope_type": "linear", "factor": 2.5}),
        json!({
            "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
            "original_max_position_embeddings": 32,
        }),
        yarn,
        scaled,
    ] {
        let mut files = testing::tiny_files(1).unwrap();
        let mut config: Map<String, Value> = serde_json::from_slice(&files.config).unwrap();
        config.insert("rope_scaling".to_owned(), scaling.clone());
        files.config = Value::Object(config).to_string().into_bytes();
        let ours = Model::load(&files).unwrap();
        let read = Model::from_gguf(&write(&files, GgmlType::F32)).unwrap();
        let difference =
            distance(&logits(ours.network(), &TOKENS), &logits(read.network(), &TOKENS));
        assert!(difference < 2e-6, "{scaling}: {difference}");
    }
}

#[test]
fn what_gguf_has_no_words_for_is_refused() {
    let files = testing::tiny_files(1).unwrap();
    let model = Model::load(&files).unwrap();
    let mut config: Map<String, Value> = serde_json::from_slice(&files.config).unwrap();
    config.insert("rope_scaling".to_owned(), json!({"rope_type": "dynamic", "factor": 2}));
    let config = Value::Object(config).to_string().into_bytes();
    let weights = model.network().weights();
    let writer = GgufWriter::new(&config, model.tokenizer(), weights);
    let error = writer.write(std::io::sink()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.report().contains("Dynamic"), "{}", error.report());
    let writer = GgufWriter::new(&files.config, model.tokenizer(), weights);
    let error = writer.with_type(GgmlType::Q4K).write(std::io::sink()).unwrap_err();
    assert!(error.report().contains("Q4_K"), "{}", error.report());
}

#[test]
fn a_real_model_and_its_sentence_piece_tokenizer_survive() {
    let Some(folder) = shared("models/stories260K/hf") else { return };
    let files = ModelFiles::read(folder).unwrap();
    let ours = Model::load(&files).unwrap();
    let read = Model::from_gguf(&write(&files, GgmlType::F32)).unwrap();
    for text in ["Once upon a time, there was a girl.", "  two  spaces", "naïve 猫\n\tok", ""] {
        let tokens = ours.tokenizer().encode(text, true).unwrap();
        assert_eq!(read.tokenizer().encode(text, true).unwrap(), tokens, "{text}");
        assert_eq!(
            read.tokenizer().decode(&tokens).unwrap(),
            ours.tokenizer().decode(&tokens).unwrap()
        );
    }
    let tokens = ours.tokenizer().encode("Once upon a time", true).unwrap();
    assert_eq!(logits(ours.network(), &tokens), logits(read.network(), &tokens));
}

/// What candle makes of the same blocks.
fn candle(ty: GgmlType, bytes: &[u8], elements: usize) -> Vec<f32> {
    let dtype = match ty {
        GgmlType::F32 => GgmlDType::F32,
        GgmlType::F16 => GgmlDType::F16,
        GgmlType::BF16 => GgmlDType::BF16,
        GgmlType::Q4_0 => GgmlDType::Q4_0,
        GgmlType::Q5_0 => GgmlDType::Q5_0,
        GgmlType::Q8_0 => GgmlDType::Q8_0,
        GgmlType::Q4K => GgmlDType::Q4K,
        GgmlType::Q5K => GgmlDType::Q5K,
        _ => GgmlDType::Q6K,
    };
    let storage = QStorage::from_data(bytes.into(), &Device::Cpu, dtype).unwrap();
    let tensor = QTensor::new(storage, elements).unwrap();
    tensor.dequantize(&Device::Cpu).unwrap().to_vec1().unwrap()
}

#[test]
fn counts_and_offsets_that_lie_are_refused_before_anything_is_allocated() {
    let head = |tensors: u64, entries: u64, rest: &[u8]| {
        let mut bytes = b"GGUF\x03\0\0\0".to_vec();
        bytes.extend(tensors.to_le_bytes());
        bytes.extend(entries.to_le_bytes());
        bytes.extend(rest);
        bytes
    };
    let text = |text: &str| [&(text.len() as u64).to_le_bytes(), text.as_bytes()].concat();
    let tensor = |sizes: &[u64], ty: u32, offset: u64| {
        let sizes = [
            (sizes.len() as u32).to_le_bytes().to_vec(),
            sizes.iter().flat_map(|size| size.to_le_bytes()).collect(),
        ];
        let place = [&ty.to_le_bytes()[..], &offset.to_le_bytes(), &[0; 200]].concat();
        [text("a"), sizes.concat(), place].concat()
    };
    let huge = u64::MAX;
    let long = [&huge.to_le_bytes()[..], b"abc"].concat();
    let list = |of: u32| {
        [text("a"), 9u32.to_le_bytes().to_vec(), of.to_le_bytes().to_vec(), long.clone()].concat()
    };
    let two = [&tensor(&[32], 0, 0)[..33], &tensor(&[32], 0, 32)[..]].concat();
    for (bytes, kind, says) in [
        (b"GGML".to_vec(), ErrorKind::Corrupt, "GGUF"),
        (b"GGUF\0\0\0\x03".to_vec(), ErrorKind::Unsupported, "big-endian"),
        (b"GGUF\x01\0\0\0".to_vec(), ErrorKind::Unsupported, "version 1"),
        (head(huge, 0, &[]), ErrorKind::Limit, "tensors"),
        (head(0, huge, &[]), ErrorKind::Limit, "metadata"),
        (head(1 << 18, 0, &[]), ErrorKind::Corrupt, "expected"),
        (head(0, 1, &long), ErrorKind::Corrupt, "expected"),
        (head(0, 1, &list(4)), ErrorKind::Corrupt, "array of"),
        (head(0, 1, &list(8)), ErrorKind::Corrupt, "array of"),
        (head(0, 1, &list(9)), ErrorKind::Unsupported, "array of arrays"),
        (head(0, 1, &list(77)), ErrorKind::Corrupt, "type 77"),
        (head(1, 0, &tensor(&[], 0, 0)), ErrorKind::Corrupt, "0 dimensions"),
        (head(1, 0, &tensor(&[0], 0, 0)), ErrorKind::Corrupt, "dimension of 0"),
        (head(1, 0, &tensor(&[1; 5], 0, 0)), ErrorKind::Corrupt, "5 dimensions"),
        (head(1, 0, &tensor(&[huge, huge], 0, 0)), ErrorKind::Corrupt, "larger than any file"),
        (head(1, 0, &tensor(&[1 << 40], 0, 0)), ErrorKind::Corrupt, "the file has"),
        (head(1, 0, &tensor(&[8], 0, huge - 31)), ErrorKind::Corrupt, "the file has"),
        (head(1, 0, &tensor(&[8], 0, 7)), ErrorKind::Corrupt, "multiple of 32"),
        (head(1, 0, &tensor(&[33], 8, 0)), ErrorKind::Corrupt, "block of Q8_0"),
        (head(1, 0, &tensor(&[256], 10, 0)), ErrorKind::Unsupported, "Q2_K"),
        (head(1, 0, &tensor(&[256], 99, 0)), ErrorKind::Unsupported, "number 99"),
        (head(2, 0, &two), ErrorKind::Corrupt, "inside of one"),
    ] {
        let error = Gguf::parse(&bytes).unwrap_err();
        assert!(error.report().contains(says), "{says}: {}", error.report());
        assert_eq!(error.kind(), kind, "{says}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn any_block_decodes_as_in_candle(seed in prop::collection::vec(any::<u8>(), 2048)) {
        for ty in GgmlType::ALL {
            let blocks = 2048 / ty.block_bytes() / 8 * 8;
            let bytes = &seed[..blocks * ty.block_bytes()];
            let mut ours = vec![0.0; blocks * ty.block()];
            ty.decode(bytes, &mut ours);
            let theirs = candle(ty, bytes, ours.len());
            for (a, b) in ours.iter().zip(&theirs) {
                // Scales may be infinite or no number.
                prop_assert!(a == b || (a.is_nan() && b.is_nan()), "{ty}: {a} {b}");
            }
        }
    }

    #[test]
    fn encoding_errs_by_half_a_step(
        elements in prop::collection::vec(-1e3f32..1e3, 64), scale in -20i32..12,
    ) {
        let elements: Vec<f32> = elements.iter().map(|x| x * 2f32.powi(scale)).collect();
        for (ty, half_step) in
            [(GgmlType::Q8_0, 0.5 / 127.0), (GgmlType::Q4_0, 1.0 / 8.0), (GgmlType::F16, 1e-3)]
        {
            let mut bytes = Vec::new();
            match ty.encode(&elements, &mut bytes) {
                Ok(()) => {}
                Err(e) => {
                    prop_assert_eq!(e.kind(), ErrorKind::Invalid);
                    continue;
                }
            }
            let mut decoded = vec![0.0; elements.len()];
            ty.decode(&bytes, &mut decoded);
            for (a, b) in elements.chunks(32).zip(decoded.chunks(32)) {
                let most = a.iter().fold(0f32, |most, x| most.max(x.abs()));
                // A half keeps eleven bits of the scale, fewer of a tiny one.
                let bound = most * (half_step + 1e-3) + 127.0 * 6e-8;
                prop_assert!(distance(a, b) <= bound, "{ty}: {} of {most}", distance(a, b));
            }
        }
    }

    #[test]
    fn a_changed_file_never_panics(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        cut in prop::option::of(any::<prop::sample::Index>()),
    ) {
        static FILE: std::sync::OnceLock<(Vec<u8>, usize, Range<usize>)> =
            std::sync::OnceLock::new();
        let (file, head, table) = FILE.get_or_init(|| {
            let file = write(&testing::tiny_files(1).unwrap(), GgmlType::Q4_0);
            let find = |name: &[u8]| file.windows(name.len()).position(|w| w == name).unwrap();
            let head = find(b"tokenizer.ggml");
            let table = find(b"token_embd.weight")..find(b"blk.1.ffn_down.weight") + 80;
            (file, head, table)
        });
        let mut file = file.clone();
        for (at, byte) in changes {
            // Anywhere, but as often where metadata or the table of tensors is.
            let len = file.len();
            let at = at.index(len + 2 * head + table.len());
            let at = match at.checked_sub(len) {
                None => at,
                Some(at) if at < 2 * head => at / 2,
                Some(at) => table.start + at - 2 * head,
            };
            file[at] = byte;
        }
        if let Some(cut) = cut {
            file.truncate(cut.index(file.len()));
        }
        let exact = Model::from_gguf(&file);
        let stored = Model::from_gguf_as_stored(&file.into());
        prop_assert_eq!(exact.is_ok(), stored.is_ok());
    }
}

#[test]
fn an_adapter_written_and_read_changes_the_weights_the_same() {
    for family in ["llama", "qwen2", "qwen3"] {
        let files = files_of(family);
        let model = Model::load(&files).unwrap();
        let config = LoraConfig::default()
            .with_rank(4, 6.0)
            .with_pattern("all-linear")
            .with_rank_pattern("q_proj", 2)
            .with_alpha_pattern("o_proj", 1.0);
        let lora = testing::lora(&model, &config, 3).unwrap();
        let mut file = Vec::new();
        write_adapter(&files.config, model.network(), &lora, &mut file).unwrap();
        let read = Gguf::parse(&file).unwrap();
        let named = |key: &str| read.get(key).and_then(|value| value.as_str());
        assert_eq!((named("general.type"), named("adapter.type")), (Some("adapter"), Some("lora")));
        assert!(read.tensor("blk.1.ffn_down.weight.lora_a").is_some());
        let read = read.adapter(&files.config, model.network()).unwrap();
        assert_eq!(read.pairs().len(), lora.pairs().len());
        for (site, _) in lora.pairs() {
            let [ours, theirs] = [&lora, &read].map(|lora| lora.merged(model.network(), site));
            let apart = ours.iter().zip(&theirs).map(|(a, b)| (a - b).abs()).fold(0f32, f32::max);
            assert!(apart < 1e-6, "{family} {}: {apart}", model.network().weights().name(site));
        }
        let mut permuted = 0;
        for (site, pair) in lora.pairs() {
            let name = model.network().weights().name(site);
            if family == "llama" && name.contains("k_proj") {
                let name =
                    name.replace("model.layers.", "blk.").replace("self_attn.k_proj", "attn_k");
                let read = Gguf::parse(&file).unwrap();
                let b = read.tensor(&format!("{name}.lora_b")).unwrap().to_f32();
                permuted += usize::from(b != pair.b);
            }
        }
        assert_eq!(permuted > 0, family == "llama", "llama.cpp turns neighbours");
    }
}

#[test]
fn an_adapter_that_llama_cpp_has_no_words_for_is_refused() {
    let files = files_of("llama");
    let model = Model::load(&files).unwrap();
    let refused = |config: &LoraConfig| {
        let lora = testing::lora(&model, config, 3).unwrap();
        write_adapter(&files.config, model.network(), &lora, Vec::new()).unwrap_err()
    };
    assert_eq!(refused(&LoraConfig::default().with_dora(true)).kind(), ErrorKind::Unsupported);
    let saved = LoraConfig::default().with_saved([openledger_model::Saved::Head]);
    assert_eq!(refused(&saved).kind(), ErrorKind::Unsupported);
    let file = write(&files, GgmlType::F32);
    let error = Gguf::parse(&file).unwrap().adapter(&files.config, model.network()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported, "a model is no adapter");
}

proptest! {
    #[test]
    fn a_changed_adapter_is_an_error_or_fits(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let files = files_of("llama");
        let model = Model::load(&files).unwrap();
        let lora = testing::lora(&model, &LoraConfig::default().with_rank(1, 1.0), 3).unwrap();
        let mut file = Vec::new();
        write_adapter(&files.config, model.network(), &lora, &mut file).unwrap();
        for (at, byte) in changes {
            // Half of them in the head, which is a small part of the file.
            let most = if byte % 2 == 0 { file.len() } else { file.len().min(4096) };
            let at = at.index(most);
            file[at] = byte;
        }
        if let Ok(read) = Gguf::parse(&file)
            && let Ok(read) = read.adapter(&files.config, model.network())
        {
            for (site, pair) in read.pairs() {
                let [out, width] = model.network().sizes(site);
                prop_assert_eq!((pair.a.len(), pair.b.len()), (pair.rank * width, out * pair.rank));
            }
        }
    }
}
