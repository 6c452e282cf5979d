//! The tokenizer of a file's metadata, as a `tokenizer.json`.

use std::collections::{HashMap, HashSet};

use openledger_core::{Error, ErrorKind, Result};
use serde_json::{Map, Value as Json, json};

use super::{
    Gguf, Value,
    keys::{missing, wrong},
    pre_tokenizer,
};

/// The longest token that merges are derived for, in bytes.
const MAX_PIECE: usize = 512;
/// What `SentencePiece` writes for a space.
pub(super) const SPACE: &str = "\u{2581}";

/// `llama_token_type` of llama.cpp.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum TokenType {
    Normal = 1,
    Unknown = 2,
    Control = 3,
    UserDefined = 4,
    Unused = 5,
    Byte = 6,
}

struct Vocabulary<'a> {
    tokens: Vec<&'a str>,
    types: Vec<TokenType>,
}

pub(super) fn read(file: &Gguf<'_>) -> Result<Json> {
    let vocabulary = Vocabulary::read(file)?;
    let key = "tokenizer.ggml.model";
    let model = file.get(key).ok_or_else(|| missing(key))?;
    match model.as_str() {
        Some("gpt2") => byte_level(file, &vocabulary),
        Some("llama") => sentence_piece(file, &vocabulary),
        other => {
            let message = format!("tokenizer `{}`; known: gpt2, llama", other.unwrap_or("?"));
            Err(Error::new(ErrorKind::Unsupported, message))
        }
    }
}

/// Divides a merge at its first space behind the first character, which may be a space itself.
fn halves(merge: &str) -> Option<(&str, &str)> {
    let first = merge.chars().next()?.len_utf8();
    let at = first + merge[first..].find(' ')?;
    Some((&merge[..at], &merge[at + 1..]))
}

/// Byte-level byte-pair encoding: merges are listed, how text is split first is named.
fn byte_level(file: &Gguf<'_>, vocabulary: &Vocabulary<'_>) -> Result<Json> {
    let key = "tokenizer.ggml.merges";
    let merges = texts(file, key)?.ok_or_else(|| missing(key))?;
    let merges = merges
        .into_iter()
        .map(|merge| {
            let (left, right) = halves(merge)
                .ok_or_else(|| Error::corrupt(format!("the merge `{merge}` is not two tokens")))?;
            Ok(json!([left, right]))
        })
        .collect::<Result<Vec<Json>>>()?;
    let named = file.get("tokenizer.ggml.pre").and_then(|pre| pre.as_str());
    let pre = pre_tokenizer::named(named)?;
    let model = json!({
        "type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
        "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false,
        "ignore_merges": pre.ignore_merges, "vocab": vocabulary.ids(), "merges": merges,
    });
    Ok(json!({
        "version": "1.0", "truncation": null, "padding": null,
        "added_tokens": vocabulary.added(),
        "normalizer": pre.normalizer(),
        "pre_tokenizer": pre.pre_tokenizer(),
        "post_processor": post_processor(file, vocabulary, false)?,
        "decoder": {
            "type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true,
        },
        "model": model,
    }))
}

/// `SentencePiece` of Llama 2: tokens have scores, and unknown characters become bytes.
fn sentence_piece(file: &Gguf<'_>, vocabulary: &Vocabulary<'_>) -> Result<Json> {
    let key = "tokenizer.ggml.scores";
    let scores = list(file, key, "a list of numbers", |value| match value {
        Value::Float(score) => Some(*score),
        _ => None,
    })?;
    let scores = scores.ok_or_else(|| missing(key))?;
    if scores.len() != vocabulary.tokens.len() {
        let (scores, tokens) = (scores.len(), vocabulary.tokens.len());
        return Err(Error::corrupt(format!("{scores} scores of {tokens} tokens")));
    }
    let pieces: Vec<(&str, f32)> = vocabulary
        .tokens
        .iter()
        .zip(&vocabulary.types)
        .zip(scores)
        .filter(|((_, ty), _)| **ty == TokenType::Normal)
        .map(|((token, _), score)| (*token, score))
        .collect();
    let merges = merges(&pieces, &vocabulary.ids_of())?;
    let unknown = match id(file, "unknown")? {
        Some(id) => Some(vocabulary.token(id)?),
        None => vocabulary.of_type(TokenType::Unknown),
    };
    let prefix = flag(file, "add_space_prefix")?.unwrap_or(true);
    let replace = json!({"type": "Replace", "pattern": {"String": " "}, "content": SPACE});
    let mut normalizers = vec![replace];
    let mut decoders = vec![
        json!({"type": "Replace", "pattern": {"String": SPACE}, "content": " "}),
        json!({"type": "ByteFallback"}),
        json!({"type": "Fuse"}),
    ];
    if prefix {
        normalizers.insert(0, json!({"type": "Prepend", "prepend": SPACE}));
        decoders.push(json!({"type": "Strip", "content": " ", "start": 1, "stop": 0}));
    }
    let model = json!({
        "type": "BPE", "dropout": null, "unk_token": unknown, "continuing_subword_prefix": null,
        "end_of_word_suffix": null, "fuse_unk": true, "byte_fallback": true,
        "ignore_merges": false, "vocab": vocabulary.ids(), "merges": merges,
    });
    Ok(json!({
        "version": "1.0", "truncation": null, "padding": null,
        "added_tokens": vocabulary.added(),
        "normalizer": {"type": "Sequence", "normalizers": normalizers},
        "pre_tokenizer": null,
        "post_processor": post_processor(file, vocabulary, true)?,
        "decoder": {"type": "Sequence", "decoders": decoders},
        "model": model,
    }))
}

/// Derives the merges of pieces from their scores: all ways to split a piece into two others, those
/// of the highest score first.
///
/// Source: `generate_merges` in `convert_slow_tokenizer.py` of transformers.
pub(super) fn merges<'a>(
    pieces: &[(&'a str, f32)],
    ids: &HashMap<&str, usize>,
) -> Result<Vec<[&'a str; 2]>> {
    let mut merges: Vec<([&str; 2], f32)> = Vec::new();
    for &(piece, score) in pieces {
        if piece.len() > MAX_PIECE {
            let message = format!("a token of {} bytes, at most {MAX_PIECE}", piece.len());
            return Err(Error::new(ErrorKind::Limit, message));
        }
        if score.is_nan() {
            return Err(Error::corrupt(format!("the score of the token `{piece}` is no number")));
        }
        let splits = piece.char_indices().skip(1).map(|(at, _)| piece.split_at(at));
        let mut of_piece: Vec<((usize, usize), [&str; 2])> = splits
            .filter_map(|(left, right)| Some(((*ids.get(left)?, *ids.get(right)?), [left, right])))
            .collect();
        of_piece.sort_unstable();
        merges.extend(of_piece.into_iter().map(|(_, merge)| (merge, score)));
    }
    // In the original the lengths of both parts, in characters, follow, larger first.
    let lengths = |merge: &[&str; 2]| merge.map(|part| part.chars().count());
    merges.sort_by(|(a, one), (b, other)| {
        other.total_cmp(one).then_with(|| lengths(b).cmp(&lengths(a)))
    });
    Ok(merges.into_iter().map(|(merge, _)| merge).collect())
}

/// Says which tokens begin and end a text.
fn post_processor(file: &Gguf<'_>, vocabulary: &Vocabulary<'_>, begins: bool) -> Result<Json> {
    let mut parts = vec![json!({"Sequence": {"id": "A", "type_id": 0}})];
    let mut special = Map::new();
    let mut add = |which: &str, default: bool| -> Result<Option<Json>> {
        let Some(id) = id(file, which)? else { return Ok(None) };
        if !flag(file, &format!("add_{which}_token"))?.unwrap_or(default) {
            return Ok(None);
        }
        let token = vocabulary.token(id)?;
        let entry = json!({"id": token, "ids": [id], "tokens": [token]});
        special.insert(token.to_owned(), entry);
        Ok(Some(json!({"SpecialToken": {"id": token, "type_id": 0}})))
    };
    if let Some(bos) = add("bos", begins)? {
        parts.insert(0, bos);
    }
    if let Some(eos) = add("eos", false)? {
        parts.push(eos);
    }
    if special.is_empty() {
        return Ok(Json::Null);
    }
    Ok(json!({
        "type": "TemplateProcessing", "single": parts,
        "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
        "special_tokens": special,
    }))
}

impl<'a> Vocabulary<'a> {
    fn read(file: &Gguf<'a>) -> Result<Self> {
        let key = "tokenizer.ggml.tokens";
        let tokens = texts(file, key)?.ok_or_else(|| missing(key))?;
        let key = "tokenizer.ggml.token_type";
        let types = list(file, key, "a list of types of tokens", |value| {
            Some(match value.as_u64()? {
                1 => TokenType::Normal,
                2 => TokenType::Unknown,
                3 => TokenType::Control,
                4 => TokenType::UserDefined,
                5 => TokenType::Unused,
                6 => TokenType::Byte,
                _ => return None,
            })
        })?;
        let types = types.unwrap_or_else(|| vec![TokenType::Normal; tokens.len()]);
        if types.len() != tokens.len() {
            let (types, tokens) = (types.len(), tokens.len());
            return Err(Error::corrupt(format!("types of {types} tokens, there are {tokens}")));
        }
        let mut seen = HashSet::new();
        let used = tokens.iter().zip(&types).filter(|(_, ty)| **ty != TokenType::Unused);
        if let Some((twice, _)) = used.into_iter().find(|(token, _)| !seen.insert(**token)) {
            return Err(Error::corrupt(format!("the token `{twice}` comes twice")));
        }
        Ok(Self { tokens, types })
    }

    fn token(&self, id: u64) -> Result<&'a str> {
        let token = usize::try_from(id).ok().and_then(|id| self.tokens.get(id));
        token
            .copied()
            .ok_or_else(|| Error::corrupt(format!("token {id}, there are {}", self.tokens.len())))
    }

    fn of_type(&self, wanted: TokenType) -> Option<&'a str> {
        self.types.iter().position(|ty| *ty == wanted).map(|id| self.tokens[id])
    }

    /// All tokens that are used, with their numbers.
    fn used(&self) -> impl Iterator<Item = (&'a str, usize, TokenType)> {
        let numbered = self.tokens.iter().zip(&self.types).enumerate();
        numbered
            .map(|(id, (token, ty))| (*token, id, *ty))
            .filter(|(_, _, ty)| *ty != TokenType::Unused)
    }

    fn ids_of(&self) -> HashMap<&'a str, usize> {
        self.used().map(|(token, id, _)| (token, id)).collect()
    }

    fn ids(&self) -> Map<String, Json> {
        self.used().map(|(token, id, _)| (token.to_owned(), json!(id))).collect()
    }

    /// Tokens that are found in text before it is split.
    fn added(&self) -> Vec<Json> {
        let special = |ty| match ty {
            TokenType::Control | TokenType::Unknown => Some(true),
            TokenType::UserDefined => Some(false),
            _ => None,
        };
        let added = self.used().filter_map(|(token, id, ty)| {
            Some(json!({
                "id": id, "content": token, "single_word": false, "lstrip": false,
                "rstrip": false, "normalized": false, "special": special(ty)?,
            }))
        });
        added.collect()
    }
}

fn id(file: &Gguf<'_>, which: &str) -> Result<Option<u64>> {
    let key = format!("tokenizer.ggml.{which}_token_id");
    let id = file.get(&key);
    id.map(|id| id.as_u64().ok_or_else(|| wrong(&key, id, "a token"))).transpose()
}

fn flag(file: &Gguf<'_>, key: &str) -> Result<Option<bool>> {
    let key = format!("tokenizer.ggml.{key}");
    let flag = file.get(&key);
    flag.map(|flag| flag.as_bool().ok_or_else(|| wrong(&key, flag, "true or false"))).transpose()
}

fn texts<'a>(file: &Gguf<'a>, key: &str) -> Result<Option<Vec<&'a str>>> {
    list(file, key, "a list of text", Value::as_str)
}

fn list<'a, T>(
    file: &Gguf<'a>,
    key: &str,
    kind: &str,
    read: impl Fn(&Value<'a>) -> Option<T>,
) -> Result<Option<Vec<T>>> {
    let Some(value) = file.get(key) else { return Ok(None) };
    let elements = value.as_list().and_then(|list| list.iter().map(|value| read(&value)).collect());
    elements.map(Some).ok_or_else(|| wrong(key, value, kind))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_merge_is_divided_behind_its_first_character_however_many_bytes_that_has() {
        assert_eq!(halves("h e"), Some(("h", "e")));
        assert_eq!(
            halves("\u{120} t"),
            Some(("\u{120}", "t")),
            "what a space is in GPT-2's alphabet"
        );
        assert_eq!(halves("  t"), Some((" ", "t")));
        for none in ["", " ", "ab", "\u{120}"] {
            assert_eq!(halves(none), None);
        }
    }
}
