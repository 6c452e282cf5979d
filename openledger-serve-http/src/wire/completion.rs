//! `POST /v1/completions`.

use openledger_model::Json;

use super::{
    Prompt, Settings,
    fields::{Fields, is_empty},
};
use crate::{ApiLimits, error::Failure};

/// Tokens of an answer where nothing is said, as in OpenAI's API.
const FEW: usize = 16;

/// A text to go on from.
#[derive(Clone, Debug)]
pub(crate) struct CompletionRequest {
    pub(crate) prompts: Vec<Prompt>,
    pub(crate) settings: Settings,
}

impl CompletionRequest {
    pub(crate) fn read(json: &Json, limits: &ApiLimits) -> Result<Self, Failure> {
        let fields = Fields::new(json);
        fields.refuse("echo", is_empty)?;
        let mut settings = Settings::read(&fields, limits)?.with_logprobs(&fields, "logprobs")?;
        settings.max_tokens.get_or_insert_with(|| FEW.min(limits.max_tokens));
        if let Some(best) = fields.integer("best_of", 1..=limits.choices)?
            && best != settings.n
        {
            return Err(fields.wrong("best_of", "is not `n`: every answer is returned here"));
        }
        let prompts = Prompt::read(&fields, "prompt")?;
        let choices = prompts.len().saturating_mul(settings.n);
        if choices > limits.choices {
            let says = format!("asks for {choices} answers, allowed are {}", limits.choices);
            return Err(fields.wrong("prompt", &says));
        }
        Ok(Self { prompts, settings })
    }
}
