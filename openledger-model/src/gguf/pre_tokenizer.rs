//! How text is split before byte-pair encoding, by the names of llama.cpp.
//!
//! Source: the names are those of `llama-vocab.cpp`; the expressions are those of each
//! model's own `tokenizer.json`.

use openledger_core::{Error, ErrorKind, Result};
use serde_json::{Value as Json, json};

/// A way to split text.
#[derive(Debug)]
pub(super) struct PreTokenizer {
    /// As `tokenizer.ggml.pre` calls it; the first is written, all are read.
    names: &'static [&'static str],
    /// Splits in this order, each into its matches and what is between; then byte by byte. Without
    /// any, GPT-2's own expression.
    splits: &'static [&'static str],
    /// Whether text is composed first.
    composed: bool,
    /// Whether a piece that is a token is not taken apart.
    pub(super) ignore_merges: bool,
}

const KNOWN: [PreTokenizer; 5] = [
    PreTokenizer { names: &["gpt-2"], splits: &[], composed: false, ignore_merges: false },
    PreTokenizer {
        names: &["llama-bpe", "llama3", "llama-v3", "falcon3"],
        splits: &[
            r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
        ],
        composed: false,
        ignore_merges: true,
    },
    PreTokenizer {
        names: &["qwen2", "deepseek-r1-qwen"],
        splits: &[
            r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
        ],
        composed: true,
        ignore_merges: false,
    },
    PreTokenizer {
        names: &["tekken"],
        splits: &[
            r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+",
        ],
        composed: false,
        ignore_merges: true,
    },
    PreTokenizer {
        names: &["deepseek-v3"],
        splits: &[
            r"\p{N}{1,3}",
            "[\u{4e00}-\u{9fa5}\u{3040}-\u{309f}\u{30a0}-\u{30ff}]+",
            r##"[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"##,
        ],
        composed: false,
        ignore_merges: false,
    },
];

/// Finds the one that a file names.
pub(super) fn named(name: Option<&str>) -> Result<&'static PreTokenizer> {
    let found = KNOWN.iter().find(|pre| name.is_some_and(|name| pre.names.contains(&name)));
    found.ok_or_else(|| {
        let known: Vec<&str> = KNOWN.iter().flat_map(|pre| pre.names).copied().collect();
        let message = match name {
            Some(name) => format!("`tokenizer.ggml.pre` is `{name}`; known: {}", known.join(", ")),
            None => "a byte-level tokenizer without `tokenizer.ggml.pre`, which says how text is \
                     split; convert the model again"
                .to_owned(),
        };
        Error::new(ErrorKind::Unsupported, message)
    })
}

/// Finds the one that a `tokenizer.json` describes.
pub(super) fn described(tokenizer: &Json) -> Result<&'static PreTokenizer> {
    let splits = splits(&tokenizer["pre_tokenizer"]);
    let composed = tokenizer["normalizer"]["type"] == "NFC";
    let plain = composed || tokenizer["normalizer"].is_null();
    let found = KNOWN
        .iter()
        .find(|pre| splits.as_deref() == Some(pre.splits) && pre.composed == composed && plain);
    found.ok_or_else(|| {
        let known: Vec<&str> = KNOWN.iter().map(|pre| pre.names[0]).collect();
        let message = format!(
            "text is split in a way that GGUF has no name for here; known: {}",
            known.join(", ")
        );
        Error::new(ErrorKind::Unsupported, message)
    })
}

/// Returns the expressions of a pre-tokenizer that ends byte by byte.
fn splits(pre: &Json) -> Option<Vec<&str>> {
    let byte_level = |step: &Json, regex: bool| {
        step["type"] == "ByteLevel"
            && step["use_regex"].as_bool().unwrap_or(true) == regex
            && step["add_prefix_space"] == false
    };
    if byte_level(pre, true) {
        return Some(Vec::new());
    }
    let (last, steps) = pre["pretokenizers"].as_array()?.split_last()?;
    let splits = steps.iter().map(|step| match step["behavior"].as_str() {
        Some("Isolated") => step["pattern"]["Regex"].as_str(),
        _ => None,
    });
    byte_level(last, false).then(|| splits.collect::<Option<Vec<_>>>()).flatten()
}

impl PreTokenizer {
    pub(super) const fn name(&self) -> &'static str {
        self.names[0]
    }

    pub(super) fn normalizer(&self) -> Json {
        if self.composed { json!({"type": "NFC"}) } else { Json::Null }
    }

    pub(super) fn pre_tokenizer(&self) -> Json {
        let bytes = |regex: bool| {
            json!({
                "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true,
                "use_regex": regex,
            })
        };
        if self.splits.is_empty() {
            return bytes(true);
        }
        let split = |regex: &&str| {
            json!({
                "type": "Split", "pattern": {"Regex": regex}, "behavior": "Isolated",
                "invert": false,
            })
        };
        let steps: Vec<Json> = self.splits.iter().map(split).chain([bytes(false)]).collect();
        json!({"type": "Sequence", "pretokenizers": steps})
    }
}
