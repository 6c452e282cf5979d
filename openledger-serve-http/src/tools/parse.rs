//! Texts that are calls.

use openledger_model::Json;

use super::{ToolCall, ToolFormat};

/// The longest text read: 1 MiB.
const MAX_TEXT: usize = 1 << 20;

pub(super) fn calls(format: ToolFormat, text: &str) -> Option<Vec<ToolCall>> {
    if text.len() > MAX_TEXT {
        return None;
    }
    let calls = match format {
        ToolFormat::Hermes => hermes(text),
        ToolFormat::Llama => llama(text),
        ToolFormat::Mistral => mistral(text),
    }?;
    (!calls.is_empty()).then_some(calls)
}

fn hermes(text: &str) -> Option<Vec<ToolCall>> {
    let mut calls = Vec::new();
    let mut rest = text.trim();
    while !rest.is_empty() {
        let (json, after) = value(rest.strip_prefix("<tool_call>")?)?;
        calls.push(call(&json)?);
        // An answer cut off by its length may lack the last end.
        let after = after.trim_start();
        rest = after
            .strip_prefix("</tool_call>")
            .or_else(|| after.is_empty().then_some(""))?
            .trim_start();
    }
    Some(calls)
}

fn llama(text: &str) -> Option<Vec<ToolCall>> {
    let mut calls = Vec::new();
    let text = text.trim();
    let mut rest = text.strip_prefix(ToolFormat::Llama.marker()).unwrap_or(text);
    while !rest.trim().is_empty() {
        let (json, after) = value(rest)?;
        calls.push(call(&json)?);
        let after = after.trim_start();
        rest = after.strip_prefix(';').or_else(|| after.is_empty().then_some(""))?;
    }
    Some(calls)
}

fn mistral(text: &str) -> Option<Vec<ToolCall>> {
    let mut calls = Vec::new();
    let mut rest = text.trim();
    while !rest.is_empty() {
        rest = rest.strip_prefix(ToolFormat::Mistral.marker())?.trim_start();
        if rest.starts_with('[') {
            let (json, after) = value(rest)?;
            for one in json.as_array()? {
                calls.push(call(one)?);
            }
            rest = after.trim_start();
            continue;
        }
        // `name{..}`, `name[ARGS]{..}` or `name[CALL_ID]id[ARGS]{..}`.
        let name = &rest[..rest.find(['[', '{'])?];
        let (json, after) = value(&rest[rest.find('{')?..])?;
        calls.push(made(name.trim(), &json)?);
        rest = after.trim_start();
    }
    Some(calls)
}

/// Reads one value of JSON and returns what follows it.
fn value(text: &str) -> Option<(Json, &str)> {
    let mut values = serde_json::Deserializer::from_str(text).into_iter::<Json>();
    let json = values.next()?.ok()?;
    Some((json, text.get(values.byte_offset()..)?))
}

/// Reads `{"name": .., "arguments": {..}}`; Llama says `parameters`.
fn call(json: &Json) -> Option<ToolCall> {
    let arguments = json.get("arguments").or_else(|| json.get("parameters"))?;
    made(json.get("name")?.as_str()?, arguments)
}

fn made(name: &str, arguments: &Json) -> Option<ToolCall> {
    let arguments = match arguments {
        Json::Object(_) => arguments.to_string(),
        // Some models write it as a text, as the API does.
        Json::String(text) => match Json::parse(text).ok()? {
            json @ Json::Object(_) => json.to_string(),
            _ => return None,
        },
        _ => return None,
    };
    (!name.is_empty()).then(|| ToolCall { name: name.to_owned(), arguments })
}
