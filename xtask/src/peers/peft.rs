//! Adapters: those written here in PEFT, and those written by PEFT here, with equal logits.

use std::{
    collections::HashMap,
    io::Write,
    path::Path,
    process::{Command, Stdio},
};

use openledger_model::{
    Adapter, AdapterFiles, Batch, Lora, LoraConfig, Model, Saved, Tape, Trainable, testing,
};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    Peers,
    engine::{self, Written},
};
use crate::shell::{Result, output, root};

/// What is installed. Where torch's own index cannot be reached its wheel from `PyPI` is taken, which is
/// for CUDA and does not start without CUDA's libraries, though none is used: 5.7 GB on disk, not 1.
const PACKAGES: [&str; 10] = [
    "--retries",
    "1",
    "--timeout",
    "10",
    "--extra-index-url",
    "https://download.pytorch.org/whl/cpu",
    "torch==2.15.0",
    "transformers==5.23.0",
    "peft==0.21.2",
    "numpy",
];

/// What has to be free on disk for them, packed and unpacked.
const ROOM: u64 = 12_000_000_000;

/// The largest difference of logits.
const LOGITS: f32 = 5e-5;

const TOKENS: [u32; 12] = [3, 141, 59, 26, 53, 58, 97, 93, 238, 46, 26, 43];

#[derive(Deserialize)]
struct Said {
    model: String,
    adapter: String,
    logits: Vec<f32>,
    #[serde(flatten)]
    written: Written,
}

pub(super) fn check(peers: &Peers) -> Result<String> {
    let free = free_bytes()?;
    if free < ROOM {
        let gigabytes = |bytes: u64| bytes / 1_000_000_000;
        let (free, room) = (gigabytes(free), gigabytes(ROOM));
        return Ok(format!(
            "skipped: {free} GB of disk are free, torch may take {room}; `cargo xtask peers peft`"
        ));
    }
    let python = peers.python_packages("python-peft", &PACKAGES)?;
    let folder = peers.scratch("peft")?;
    let mut models = HashMap::new();
    for family in ["llama", "qwen3", "deepseek_v2"] {
        let files = testing::tiny_files_of(family, 5)?;
        files.write(folder.join(family))?;
        models.insert(family.to_owned(), Model::load(&files)?);
    }

    let mut expected: HashMap<(String, String), Vec<f32>> = HashMap::new();
    let mut load = Vec::new();
    for (family, name, config) in ours() {
        let model = &models[family];
        let lora = testing::lora(model, &config, 11)?;
        lora.to_files(model.network(), &config).write(folder.join(family).join(name))?;
        expected.insert((family.to_owned(), name.to_owned()), logits(model, &lora)?);
        load.push(json!({"model": family, "adapter": name}));
    }
    for (family, name) in pissa(&folder, &models, &mut expected)? {
        load.push(json!({"model": family, "adapter": name}));
    }
    let make: Vec<Value> = theirs()
        .into_iter()
        .map(|(model, adapter, config)| json!({"model": model, "adapter": adapter, "config": config}))
        .collect();
    let plan = json!({
        "folder": folder, "tokens": TOKENS, "write": engine::TOKENS, "load": load, "make": make,
    });

    let mut child = Command::new(python)
        .arg(root().join("xtask/peers/adapters.py"))
        .env("HF_HUB_OFFLINE", "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut input = child.stdin.take().ok_or("no standard input")?;
    input.write_all(&serde_json::to_vec(&plan)?)?;
    drop(input);
    let done = child.wait_with_output()?;
    if !done.status.success() {
        return Err(format!("python ended with {}", done.status).into());
    }

    let said = String::from_utf8(done.stdout)?;
    let (mut read, mut written) = (0, 0);
    let mut largest = 0f32;
    let mut served: HashMap<String, Vec<(String, Written)>> = HashMap::new();
    for line in said.lines() {
        let Said { model: family, adapter: name, logits: theirs, written: following } =
            serde_json::from_str(line)?;
        served.entry(family.clone()).or_default().push((name.clone(), following));
        let model = &models[&family];
        let ours = match expected.remove(&(family.clone(), name.clone())) {
            Some(ours) => {
                written += 1;
                ours
            }
            None => {
                let files = AdapterFiles::read(folder.join(&family).join(&name))?;
                let adapter = Adapter::load(model.network(), &files)
                    .map_err(|e| format!("{family}, {name}: {}", e.report()))?;
                read += 1;
                logits(model, adapter.lora())?
            }
        };
        let base = logits(model, &Lora::default())?;
        let apart = distance(&ours, &theirs);
        if distance(&ours, &base) < 100.0 * LOGITS {
            return Err(format!("{family}, {name}: the adapter does nothing").into());
        }
        if apart > LOGITS {
            return Err(format!("{family}, {name}: logits {apart:e} apart").into());
        }
        largest = largest.max(apart);
    }
    if !expected.is_empty() || read != make.len() {
        return Err(
            format!("{written} and {read} answers of {} and {}", load.len(), make.len()).into()
        );
    }
    let mut apart = 0f32;
    for (family, adapters) in &served {
        apart = apart.max(engine::check(&folder.join(family), &TOKENS, adapters)?);
    }
    Ok(format!(
        "{written} adapters read by PEFT and {read} of its own read here, logits {largest:.1e} apart; \
         all of them served at once write the same tokens, logprobs {apart:.1e} apart"
    ))
}

fn free_bytes() -> Result<u64> {
    let mut df = Command::new("df");
    let said = output(df.args(["--output=avail", "-B1"]).arg(root()))?;
    let free = said.lines().last().and_then(|line| line.trim().parse().ok());
    Ok(free.ok_or("`df` does not say what is free")?)
}

/// Adapters written here.
fn ours() -> Vec<(&'static str, &'static str, LoraConfig)> {
    let plain = LoraConfig::default().with_rank(4, 6.0);
    // PEFT looks for experts' layers without their index.
    let experts = plain
        .clone()
        .with_pattern(r".*\.(self_attn\.(q|kv_b|o)_proj|experts\.([0-9]+\.)?(gate|up|down)_proj)");
    let mut at_once = plain
        .clone()
        .with_targets(["o_proj"])
        .with_rank_pattern("experts.gate_up_proj", 3)
        .with_rank_pattern("experts.down_proj", 2);
    at_once.parameters = ["gate_up_proj", "down_proj"].map(str::to_owned).to_vec();
    vec![
        ("llama", "plain", plain.clone()),
        ("llama", "rslora", plain.clone().with_rank_stabilised(true)),
        ("llama", "dora", plain.clone().with_dora(true)),
        (
            "llama",
            "patterns",
            plain
                .clone()
                .with_rank_pattern("layers.1.self_attn.q_proj", 2)
                .with_rank_pattern(".*_proj", 3)
                .with_alpha_pattern("mlp.(up|down)_proj", 2.5),
        ),
        ("llama", "tied", plain.clone().with_saved([Saved::Head])),
        ("qwen3", "tables", plain.clone().with_saved([Saved::Embedding, Saved::Head])),
        ("qwen3", "dora", plain.clone().with_dora(true).with_saved([Saved::Head])),
        ("deepseek_v2", "attention", plain.with_targets(["q_proj", "kv_b_proj", "o_proj"])),
        ("deepseek_v2", "experts", experts),
        ("deepseek_v2", "experts-of-other-rank", at_once),
    ]
}

/// An adapter trained from singular parts, which PEFT reads as one of twice the rank.
fn pissa(
    folder: &Path,
    models: &HashMap<String, Model>,
    expected: &mut HashMap<(String, String), Vec<f32>>,
) -> Result<Vec<(&'static str, &'static str)>> {
    let (family, name) = ("llama", "pissa");
    let network = models[family].network();
    let config = LoraConfig::default().with_rank(4, 6.0).with_rank_pattern("down_proj", 2);
    let (_, start) = Lora::pissa(network, &config)?;
    let mut trained = start.clone();
    for (_, part) in trained.parts_mut() {
        part.iter_mut().enumerate().for_each(|(at, w)| *w += 0.05 * (at as f32).sin());
    }
    let lora = trained.without_pissa(&start)?;
    lora.to_files(network, &config.without_pissa()?).write(folder.join(family).join(name))?;
    expected.insert((family.to_owned(), name.to_owned()), logits(&models[family], &lora)?);
    Ok(vec![(family, name)])
}

/// Adapters PEFT makes.
fn theirs() -> Vec<(&'static str, &'static str, Value)> {
    let all = json!(["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]);
    vec![
        ("llama", "their-plain", json!({"r": 4, "lora_alpha": 6, "target_modules": all})),
        (
            "llama",
            "their-rslora",
            json!({"r": 4, "lora_alpha": 6, "use_rslora": true, "target_modules": all}),
        ),
        (
            "llama",
            "their-dora",
            json!({"r": 4, "lora_alpha": 6, "use_dora": true, "target_modules": all}),
        ),
        ("llama", "their-linear", json!({"r": 4, "lora_alpha": 6, "target_modules": "all-linear"})),
        (
            "llama",
            "their-tied",
            json!({"r": 4, "target_modules": ["v_proj"], "modules_to_save": ["lm_head"]}),
        ),
        (
            "llama",
            "their-tied-embedding",
            json!({"r": 4, "target_modules": ["v_proj"], "modules_to_save": ["embed_tokens"]}),
        ),
        // PEFT writes patterns in the order of their letters, and the first that fits counts: here that is
        // the order given, too.
        (
            "llama",
            "their-patterns",
            json!({
                "r": 4, "lora_alpha": 6, "target_modules": all, "exclude_modules": ["layers.0.mlp.up_proj"],
                "rank_pattern": {"layers.1.self_attn.q_proj": 2, "self_attn.._proj": 3}, "alpha_pattern": {"mlp.(up|down)_proj": 2.5},
            }),
        ),
        (
            "llama",
            "their-layers",
            json!({"r": 4, "target_modules": ["q_proj", "up_proj"], "layers_to_transform": [1], "layers_pattern": "layers"}),
        ),
        (
            "llama",
            "their-fan",
            json!({"r": 4, "target_modules": ["q_proj"], "fan_in_fan_out": true}),
        ),
        (
            "qwen3",
            "their-tables",
            json!({"r": 4, "target_modules": all, "modules_to_save": ["lm_head", "embed_tokens"]}),
        ),
        (
            "deepseek_v2",
            "their-attention",
            json!({"r": 4, "target_modules": ["q_proj", "kv_a_proj_with_mqa", "kv_b_proj", "o_proj"]}),
        ),
        (
            "deepseek_v2",
            "their-experts",
            json!({"r": 4, "lora_alpha": 6, "target_modules": ["q_proj", "gate_proj", "up_proj", "down_proj"]}),
        ),
        (
            "deepseek_v2",
            "their-down",
            json!({"r": 4, "target_modules": ["o_proj"], "target_parameters": ["experts.down_proj"]}),
        ),
    ]
}

fn logits(model: &Model, lora: &Lora) -> Result<Vec<f32>> {
    let batch = Batch::new([&TOKENS[..]]);
    let mut tape = Tape::new(model.network(), Some(lora), Trainable::Nothing, &batch);
    let hidden = tape.run()?;
    Ok(tape.logits(&hidden))
}

fn distance(ours: &[f32], theirs: &[f32]) -> f32 {
    if ours.len() != theirs.len() {
        return f32::INFINITY;
    }
    let apart = ours.iter().zip(theirs).map(|(a, b)| (a - b).abs());
    apart.fold(0.0, |most, one| if one.is_nan() { f32::INFINITY } else { most.max(one) })
}
