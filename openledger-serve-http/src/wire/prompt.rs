//! Prompts of completions.

use openledger_model::Json;

use super::fields::Fields;
use crate::error::Failure;

/// A prompt as text, or as tokens.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Prompt {
    Text(String),
    Tokens(Vec<u32>),
}

impl Prompt {
    /// Reads the four ways of OpenAI's API: a text, tokens, or several of either.
    pub(crate) fn read(fields: &Fields<'_>, name: &str) -> Result<Vec<Self>, Failure> {
        let wrong = || fields.wrong(name, "is not a text, an array of tokens, or several of them");
        let json = fields.get(name).ok_or_else(|| fields.wrong(name, "is missing"))?;
        match json {
            Json::Array(items) if items.is_empty() => Err(fields.wrong(name, "is empty")),
            Json::Array(items) if !matches!(items[0], Json::Number(_)) => {
                items.iter().map(|item| Self::one(item).ok_or_else(wrong)).collect()
            }
            one => Ok(vec![Self::one(one).ok_or_else(wrong)?]),
        }
    }

    fn one(json: &Json) -> Option<Self> {
        match json {
            Json::String(text) => Some(Self::Text(text.clone())),
            Json::Array(items) => {
                let token = |item: &Json| match item {
                    Json::Number(number) => number.as_u64().and_then(|id| u32::try_from(id).ok()),
                    _ => None,
                };
                items.iter().map(token).collect::<Option<_>>().map(Self::Tokens)
            }
            _ => None,
        }
    }
}
