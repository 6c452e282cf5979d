//! A `tokenizer.json` to the tables of the metadata.

use std::collections::{HashMap, HashSet};

use openledger_core::{Error, ErrorKind, Result};
use serde_json::Value as Json;

use super::{
    entries::Entries,
    metadata::Written,
    pre_tokenizer,
    vocabulary::{SPACE, TokenType, merges},
};
use crate::Tokenizer;

/// The tokens of a tokenizer, by number; some numbers may have none.
struct Table<'a> {
    tokens: Vec<Option<&'a str>>,
    types: Vec<TokenType>,
}

pub(super) fn write(tokenizer: &Tokenizer, model: &Written, entries: &mut Entries) -> Result<()> {
    let json: Json = serde_json::from_slice(&tokenizer.to_json())
        .map_err(|e| Error::corrupt("not a tokenizer").with_source(e))?;
    let bpe = &json["model"];
    if bpe["type"] != "BPE" {
        return Err(unsupported(format!("a tokenizer of type {} in GGUF", bpe["type"])));
    }
    let listed = listed_merges(bpe)?;
    let table = Table::read(&json, model.vocabulary)?;
    if bpe["byte_fallback"] == true {
        let (scores, prefix) = (scores(&table, &listed)?, space_prefix(&json)?);
        entries.text("tokenizer.ggml.model", "llama");
        entries.text("tokenizer.ggml.pre", "default");
        entries.f32s("tokenizer.ggml.scores", &scores);
        entries.flag("tokenizer.ggml.add_space_prefix", prefix);
    } else {
        let pre = pre_tokenizer::described(&json)?;
        if (bpe["ignore_merges"] == true) != pre.ignore_merges {
            let name = pre.name();
            return Err(unsupported(format!("`ignore_merges` differs from that of `{name}`")));
        }
        entries.text("tokenizer.ggml.model", "gpt2");
        entries.text("tokenizer.ggml.pre", pre.name());
        let merges: Vec<String> =
            listed.iter().map(|[left, right]| format!("{left} {right}")).collect();
        entries.texts("tokenizer.ggml.merges", merges.iter().map(String::as_str));
    }
    // Numbers that no token has are padding of the embedding table.
    let padded: Vec<String> = table
        .tokens
        .iter()
        .enumerate()
        .map(|(id, token)| token.map_or_else(|| format!("[PAD{id}]"), str::to_owned))
        .collect();
    entries.texts("tokenizer.ggml.tokens", padded.iter().map(String::as_str));
    let types: Vec<i32> = table.types.iter().map(|ty| *ty as i32).collect();
    entries.i32s("tokenizer.ggml.token_type", &types);
    if let Some(unknown) = table.types.iter().position(|ty| *ty == TokenType::Unknown) {
        entries.u32("tokenizer.ggml.unknown_token_id", unknown as u32);
    }
    ends(&json, model, entries)
}

/// The tokens that begin and end texts, and whether the tokenizer puts them there.
fn ends(json: &Json, model: &Written, entries: &mut Entries) -> Result<()> {
    let id = |special: &Json| {
        let token = special["SpecialToken"]["id"].as_str()?;
        let added = json["added_tokens"].as_array()?;
        let id = added.iter().find(|added| added["content"] == token)?["id"].as_u64()?;
        u32::try_from(id).ok()
    };
    let template = template(&json["post_processor"]);
    let text =
        template.and_then(|parts| parts.iter().position(|part| part.get("Sequence").is_some()));
    let (before, after) = match (template, text) {
        (Some(parts), Some(at)) => (&parts[..at], &parts[at + 1..]),
        _ => Default::default(),
    };
    if before.len() > 1 || after.len() > 1 {
        return Err(unsupported("several tokens before or after a text in GGUF".to_owned()));
    }
    let [put_before, put_after] = [before, after].map(|parts| parts.first().and_then(id));
    if let Some(bos) = put_before.or(model.bos) {
        entries.u32("tokenizer.ggml.bos_token_id", bos);
    }
    entries.flag("tokenizer.ggml.add_bos_token", put_before.is_some());
    entries.flag("tokenizer.ggml.add_eos_token", put_after.is_some());
    let mut eos = model.eos.clone();
    if let Some(after) = put_after {
        eos.retain(|id| *id != after);
        eos.insert(0, after);
    }
    if eos.len() > 3 {
        return Err(unsupported(format!(
            "{} tokens that end a text in GGUF, at most 3",
            eos.len()
        )));
    }
    for (key, eos) in ["eos", "eot", "eom"].iter().zip(eos) {
        entries.u32(&format!("tokenizer.ggml.{key}_token_id"), eos);
    }
    Ok(())
}

/// Finds what is put around a text.
fn template(processor: &Json) -> Option<&Vec<Json>> {
    match processor["type"].as_str()? {
        "TemplateProcessing" => processor["single"].as_array(),
        "Sequence" => processor["processors"].as_array()?.iter().find_map(template),
        _ => None,
    }
}

/// Whether a space is put before a text that is split `SentencePiece`'s way.
fn space_prefix(json: &Json) -> Result<bool> {
    let steps = match &json["normalizer"] {
        Json::Null => &[][..],
        sequence if sequence["type"] == "Sequence" => {
            sequence["normalizers"].as_array().map_or(&[][..], Vec::as_slice)
        }
        one => std::slice::from_ref(one),
    };
    let prepends = |step: &Json| step["type"] == "Prepend" && step["prepend"] == SPACE;
    let replaces = |step: &Json| step["type"] == "Replace" && step["content"] == SPACE;
    let space = &json["pre_tokenizer"];
    match (steps, space["type"].as_str()) {
        ([first, second], None) if prepends(first) && replaces(second) => Ok(true),
        ([only], None) if replaces(only) => Ok(false),
        ([], Some("Metaspace")) if space["split"] == false => {
            Ok(space["prepend_scheme"] != "never")
        }
        _ => Err(unsupported("a tokenizer with byte fallback that is not Llama's".to_owned())),
    }
}

/// Finds scores from which the merges follow: of a token, how early it is made.
fn scores(table: &Table<'_>, listed: &[[&str; 2]]) -> Result<Vec<f32>> {
    let mut made: HashMap<String, usize> = HashMap::new();
    let mut last = 0;
    for (rank, [left, right]) in listed.iter().enumerate() {
        let first = *made.entry(format!("{left}{right}")).or_insert(rank);
        if first < last {
            return Err(unmergeable());
        }
        last = first;
    }
    let score = |(id, token): (usize, &Option<&str>)| match token.and_then(|token| made.get(token))
    {
        Some(rank) => -(*rank as f32),
        None => -((listed.len() + id) as f32),
    };
    let scores: Vec<f32> = table.tokens.iter().enumerate().map(score).collect();
    let pieces: Vec<(&str, f32)> = table
        .tokens
        .iter()
        .zip(&table.types)
        .zip(&scores)
        .filter(|((_, ty), _)| **ty == TokenType::Normal)
        .filter_map(|((token, _), score)| Some(((*token)?, *score)))
        .collect();
    let ids: HashMap<&str, usize> =
        table.tokens.iter().enumerate().filter_map(|(id, token)| Some(((*token)?, id))).collect();
    let follow: HashSet<[&str; 2]> = merges(&pieces, &ids)?.into_iter().collect();
    match follow == listed.iter().copied().collect() {
        true => Ok(scores),
        false => Err(unmergeable()),
    }
}

fn listed_merges(bpe: &Json) -> Result<Vec<[&str; 2]>> {
    let merges = bpe["merges"].as_array().and_then(|all| all.iter().map(pair).collect());
    merges.ok_or_else(|| Error::corrupt("the merges of the tokenizer are not pairs"))
}

/// Reads a merge in the spelling of newer or older files.
fn pair(merge: &Json) -> Option<[&str; 2]> {
    match merge {
        Json::Array(pair) => match &pair[..] {
            [left, right] => Some([left.as_str()?, right.as_str()?]),
            _ => None,
        },
        Json::String(text) => text.split_once(' ').map(|(left, right)| [left, right]),
        _ => None,
    }
}

impl<'a> Table<'a> {
    fn read(json: &'a Json, vocabulary: usize) -> Result<Self> {
        let mut table =
            Self { tokens: vec![None; vocabulary], types: vec![TokenType::Unused; vocabulary] };
        let bpe = &json["model"];
        let vocab = bpe["vocab"].as_object().into_iter().flatten();
        for (token, id) in vocab {
            let byte = bpe["byte_fallback"] == true && is_byte(token);
            let ty = if byte { TokenType::Byte } else { TokenType::Normal };
            table.set(token, id, ty)?;
        }
        for added in json["added_tokens"].as_array().into_iter().flatten() {
            let token = added["content"].as_str().unwrap_or_default();
            let ty = match added["special"] == true {
                true if bpe["unk_token"] == token => TokenType::Unknown,
                true => TokenType::Control,
                false => TokenType::UserDefined,
            };
            table.set(token, &added["id"], ty)?;
        }
        Ok(table)
    }

    fn set(&mut self, token: &'a str, id: &Json, ty: TokenType) -> Result<()> {
        let place = id.as_u64().and_then(|id| usize::try_from(id).ok());
        let place = place.filter(|&id| id < self.tokens.len()).ok_or_else(|| {
            Error::invalid(format!(
                "the token `{token}` is {id}, the model knows {}",
                self.tokens.len()
            ))
        })?;
        self.tokens[place] = Some(token);
        self.types[place] = ty;
        Ok(())
    }
}

/// Whether a token is a byte, such as `<0x0A>`.
fn is_byte(token: &str) -> bool {
    let digits = token.strip_prefix("<0x").and_then(|rest| rest.strip_suffix('>'));
    digits.is_some_and(|digits| digits.len() == 2 && u8::from_str_radix(digits, 16).is_ok())
}

fn unmergeable() -> Error {
    unsupported("a tokenizer whose merges do not follow from scores of its tokens".to_owned())
}

fn unsupported(message: String) -> Error {
    Error::new(ErrorKind::Unsupported, message)
}
