//! Answers as JSON: those of chats and those of completions.

use serde_json::{Map, Value, json};

use super::choice::{Likely, Piece};
use crate::{ToolFormat, ids::Ids, tools::ToolCall};

/// Which of the two an answer is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Shape {
    /// A message.
    Chat {
        /// How calls are written, which decides what their ids look like.
        format: Option<ToolFormat>,
    },
    /// A text.
    Text,
}

impl Shape {
    /// Returns the name of the field with the prompt.
    pub(crate) const fn prompt(self) -> &'static str {
        match self {
            Self::Chat { .. } => "messages",
            Self::Text => "prompt",
        }
    }

    /// Returns what ids begin with.
    pub(crate) const fn prefix(self) -> &'static str {
        match self {
            Self::Chat { .. } => "chatcmpl-",
            Self::Text => "cmpl-",
        }
    }

    /// Returns the `object` of an answer, or of a part of it.
    pub(crate) const fn object(self, part: bool) -> &'static str {
        match (self, part) {
            (Self::Chat { .. }, false) => "chat.completion",
            (Self::Chat { .. }, true) => "chat.completion.chunk",
            (Self::Text, _) => "text_completion",
        }
    }

    /// Returns a whole choice.
    pub(crate) fn whole(
        self,
        index: usize,
        Piece { text, calls, .. }: &Piece,
        finish: &str,
        logprobs: Option<&[Likely]>,
        ids: &Ids,
    ) -> Value {
        let logprobs = logprobs.map(|tokens| self.logprobs(tokens, &mut 0));
        match self {
            Self::Text => {
                json!({"index": index, "text": text, "finish_reason": finish, "logprobs": logprobs})
            }
            Self::Chat { .. } => {
                let mut message = Map::new();
                message.insert("role".to_owned(), json!("assistant"));
                // A message that is nothing but calls has no content.
                let only_calls = !calls.is_empty() && text.trim().is_empty();
                let content = if only_calls { Value::Null } else { json!(text) };
                message.insert("content".to_owned(), content);
                if !calls.is_empty() {
                    message.insert("tool_calls".to_owned(), self.calls(calls, false, ids));
                }
                json!({
                    "index": index, "message": message, "finish_reason": finish,
                    "logprobs": logprobs,
                })
            }
        }
    }

    /// Returns a part of a choice.
    pub(crate) fn part(
        self,
        index: usize,
        text: &str,
        calls: &[ToolCall],
        logprobs: Option<&Value>,
        ids: &Ids,
    ) -> Value {
        match self {
            Self::Text => {
                json!({"index": index, "text": text, "finish_reason": null, "logprobs": logprobs})
            }
            Self::Chat { .. } => {
                let mut delta = Map::new();
                if !text.is_empty() || calls.is_empty() {
                    delta.insert("content".to_owned(), json!(text));
                }
                if !calls.is_empty() {
                    delta.insert("tool_calls".to_owned(), self.calls(calls, true, ids));
                }
                json!({"index": index, "delta": delta, "finish_reason": null, "logprobs": logprobs})
            }
        }
    }

    /// Returns the part that begins a choice, if one does.
    pub(crate) fn begin(self, index: usize) -> Option<Value> {
        let delta = json!({"role": "assistant", "content": ""});
        (self != Self::Text).then(
            || json!({"index": index, "delta": delta, "finish_reason": null, "logprobs": null}),
        )
    }

    /// Returns the part that ends a choice.
    pub(crate) fn end(self, index: usize, finish: &str) -> Value {
        match self {
            Self::Text => {
                json!({"index": index, "text": "", "finish_reason": finish, "logprobs": null})
            }
            Self::Chat { .. } => {
                json!({"index": index, "delta": {}, "finish_reason": finish, "logprobs": null})
            }
        }
    }

    fn calls(self, calls: &[ToolCall], part: bool, ids: &Ids) -> Value {
        let short = self == Self::Chat { format: Some(ToolFormat::Mistral) };
        let calls = calls.iter().enumerate().map(|(index, call)| {
            // Mistral's templates take ids of nine letters and digits only.
            let id = match short {
                true => ids.name("").chars().take(9).collect(),
                false => ids.name("call_"),
            };
            let function = json!({"name": call.name, "arguments": call.arguments});
            let mut call = json!({"id": id, "type": "function", "function": function});
            if part {
                call["index"] = json!(index);
            }
            call
        });
        calls.collect()
    }

    /// Returns how likely tokens were. `offset` counts the letters of a completion's text.
    pub(crate) fn logprobs(self, tokens: &[Likely], offset: &mut usize) -> Value {
        match self {
            Self::Chat { .. } => {
                let entry = |token: &str, logprob: f32| {
                    // A token that is a part of a character has no text of its own.
                    let bytes =
                        (!token.contains(char::REPLACEMENT_CHARACTER)).then_some(token.as_bytes());
                    json!({"token": token, "logprob": finite(logprob), "bytes": bytes})
                };
                let content = tokens.iter().map(|likely| {
                    let mut one = entry(&likely.token, likely.logprob);
                    let others =
                        likely.others.iter().map(|(token, logprob)| entry(token, *logprob));
                    one["top_logprobs"] = others.collect();
                    one
                });
                json!({"content": content.collect::<Value>()})
            }
            Self::Text => {
                let mut offsets = Vec::new();
                for likely in tokens {
                    offsets.push(*offset);
                    *offset += likely.token.chars().count();
                }
                let others = tokens.iter().map(|likely| {
                    let others = likely.others.iter();
                    let named =
                        others.map(|(token, logprob)| (token.clone(), json!(finite(*logprob))));
                    Value::Object(named.collect())
                });
                json!({
                    "tokens": tokens.iter().map(|likely| &likely.token).collect::<Vec<_>>(),
                    "token_logprobs": tokens.iter().map(|likely| finite(likely.logprob)).collect::<Vec<_>>(),
                    "top_logprobs": others.collect::<Vec<_>>(),
                    "text_offset": offsets,
                })
            }
        }
    }
}

/// Returns a choice with what layers told of it.
pub(crate) fn with_told(mut choice: Value, told: Option<&Value>) -> Value {
    if let Some(told) = told {
        choice["openledger"] = told.clone();
    }
    choice
}

/// JSON has no infinities; OpenAI's API says this for what is as good as impossible.
const fn finite(logprob: f32) -> f32 {
    if logprob.is_finite() { logprob } else { -9999.0 }
}
