//! GGUF files mean the same to llama.cpp's own package, both ways, bit for bit.

use std::{
    fs,
    path::Path,
    process::Command,
    time::{SystemTime, UNIX_EPOCH},
};

use openledger_model::{
    Model,
    gguf::{GgmlType, Gguf, GgufWriter},
    testing,
};
use serde_json::Value;

use super::Peers;
use crate::shell::{Result, json, output, root};

const PACKAGE: &str = "gguf==0.19.0";
const FAMILIES: [&str; 4] = ["llama", "mistral", "qwen2", "qwen3"];
const WRITTEN: [GgmlType; 5] =
    [GgmlType::F32, GgmlType::F16, GgmlType::BF16, GgmlType::Q8_0, GgmlType::Q4_0];

pub(super) fn check(peers: &Peers) -> Result<String> {
    let python = peers.python(PACKAGE, "gguf-dump")?.with_file_name("python");
    let script = root().join("xtask/peers/gguf_files.py");
    let folder = peers.scratch("gguf")?;
    let seed = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    println!("gguf: seed {seed}");

    let (mut files, mut tensors) = (0, 0);
    for family in FAMILIES {
        for ty in WRITTEN {
            fs::write(folder.join(format!("{family}-{ty}.gguf")), write(family, ty, seed)?)?;
        }
    }
    output(Command::new(&python).arg(&script).arg("read").arg(&folder))?;
    for family in FAMILIES {
        for ty in WRITTEN {
            tensors += read(&folder.join(format!("{family}-{ty}")))?;
            files += 1;
        }
    }
    output(Command::new(&python).arg(&script).arg("write").arg(&folder).arg(seed.to_string()))?;
    let theirs = theirs(&folder)?;
    Ok(format!(
        "{files} files of ours with {tensors} tensors read the same there, one of theirs with \
         {theirs} types reads the same here"
    ))
}

fn write(family: &str, ty: GgmlType, seed: u64) -> Result<Vec<u8>> {
    let files = testing::tiny_files_of(family, seed)?;
    let model = Model::load(&files)?;
    let mut file = Vec::new();
    GgufWriter::new(&files.config, model.tokenizer(), model.network().weights())
        .with_type(ty)
        .with_name(family)
        .write(&mut file)?;
    Ok(file)
}

/// Compares a file of ours with what the package read in it; returns the number of tensors.
fn read(folder: &Path) -> Result<usize> {
    let bytes = fs::read(format!("{}.gguf", folder.display()))?;
    let file = Gguf::parse(&bytes)?;
    let said: Value = json(&folder.join("said.json"))?;
    let differs = |what: &str| format!("{}: {what} differs", folder.display());
    for key in ["general.architecture", "general.name", "tokenizer.ggml.model"] {
        if file.get(key).and_then(|value| value.as_str()) != said["metadata"][key].as_str() {
            return Err(differs(key).into());
        }
    }
    let tokens = file.get("tokenizer.ggml.tokens").and_then(|tokens| tokens.as_list());
    let tokens = tokens.ok_or("no tokens")?.iter().map(|token| token.as_str().map(Value::from));
    if tokens.collect::<Option<Vec<Value>>>().as_ref()
        != said["metadata"]["tokenizer.ggml.tokens"].as_array()
    {
        return Err(differs("the list of tokens").into());
    }
    let shapes = said["shapes"].as_object().ok_or("no tensors")?;
    if shapes.len() != file.tensors().len() {
        return Err(differs("the number of tensors").into());
    }
    for (name, tensor) in file.tensors() {
        if shapes.get(name) != Some(&Value::from(tensor.shape().to_vec())) {
            return Err(differs(&format!("the shape of {name}")).into());
        }
        compare(name, &tensor.to_f32(), &folder.join(format!("{name}.f32")))?;
    }
    Ok(shapes.len())
}

/// Compares a file of theirs with what they say is in it; returns the number of types.
fn theirs(folder: &Path) -> Result<usize> {
    let bytes = fs::read(folder.join("theirs.gguf"))?;
    let file = Gguf::parse(&bytes)?;
    if file.get("llama.rope.freq_base").and_then(|base| base.as_f64()) != Some(5e5) {
        return Err("theirs: the base of rotary frequencies differs".into());
    }
    for (name, tensor) in file.tensors() {
        compare(name, &tensor.to_f32(), &folder.join(format!("{name}.f32")))?;
        let elements = folder.join(format!("{name}.in"));
        if elements.exists() && WRITTEN.contains(&tensor.ty()) {
            let mut encoded = Vec::new();
            tensor.ty().encode(&floats(&elements)?, &mut encoded)?;
            if encoded != tensor.bytes() {
                return Err(format!("{name} is encoded otherwise").into());
            }
        }
    }
    match file.tensors().len() {
        all if all == GgmlType::ALL.len() => Ok(all),
        some => Err(format!("theirs: {some} tensors of {} types", GgmlType::ALL.len()).into()),
    }
}

fn compare(name: &str, ours: &[f32], theirs: &Path) -> Result<()> {
    let theirs = floats(theirs)?;
    let same = |(a, b): (&f32, &f32)| a.to_bits() == b.to_bits() || a == b;
    match ours.len() == theirs.len() && ours.iter().zip(&theirs).all(same) {
        true => Ok(()),
        false => Err(format!("{name}: the elements differ").into()),
    }
}

fn floats(path: &Path) -> Result<Vec<f32>> {
    let bytes = fs::read(path).map_err(|e| format!("cannot read {}: {e}", path.display()))?;
    Ok(bytes.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect())
}
