//! What OpenAI's API does not know: the field `openledger` of a request.

use openledger_model::Json;

use super::Fields;
use crate::error::Failure;

/// What an answer is to tell beside itself, and what it is to rest on.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Wishes {
    /// Whether its receipt comes with it.
    pub(crate) receipt: bool,
    /// For what rows are put into its prompt, if any are.
    pub(crate) ground: Option<Ground>,
}

/// What rows are looked for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Ground {
    /// Those for what is asked: the last message of the user, or the prompt.
    Asked,
    /// Those for these words.
    Words(String),
}

/// The place of the field, for errors.
pub(crate) const RECEIPT: &str = "openledger.receipt";
pub(crate) const GROUND: &str = "openledger.ground";

impl Wishes {
    /// Reads `{"receipt": true, "ground": true}`; `ground` may be words of its own.
    pub(crate) fn read(fields: &Fields<'_>) -> Result<Self, Failure> {
        let Some(json) = fields.get("openledger") else { return Ok(Self::default()) };
        let fields = Fields::within(json, "openledger.")?;
        let ground = match fields.get("ground") {
            None | Some(Json::Bool(false)) => None,
            Some(Json::Bool(true)) => Some(Ground::Asked),
            Some(Json::String(words)) if !words.trim().is_empty() => {
                Some(Ground::Words(words.clone()))
            }
            Some(_) => return Err(fields.wrong("ground", "is not true, false or words")),
        };
        Ok(Self { receipt: fields.flag("receipt")?.unwrap_or(false), ground })
    }
}
