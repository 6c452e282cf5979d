//! Calls that a model has to make: the form of an answer that is nothing but one.

use openledger_core::Result;
use openledger_model::Json;
use openledger_serve::{Constraint, Part};
use serde_json::json;

use super::ToolFormat;

/// A tool that a request offers.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Tool {
    /// Letters, digits and `_-.`.
    pub(crate) name: String,
    /// The schema of an object; nothing for a tool without arguments.
    pub(crate) parameters: Option<Json>,
}

impl ToolFormat {
    /// Returns the form of an answer that calls one of these tools, and says nothing beside.
    ///
    /// # Errors
    /// Those of [`Constraint::parts`].
    pub(crate) fn forced<'a>(
        self,
        tools: impl IntoIterator<Item = &'a Tool>,
    ) -> Result<Constraint> {
        Constraint::parts(tools.into_iter().map(|tool| self.call(tool)))
    }

    fn call(self, tool: &Tool) -> Vec<Part> {
        let text = |text: String| Part::Text(text.into());
        let token = |text: &str| Part::Token(text.into());
        let (name, arguments) = (&tool.name, Part::Json(tool.arguments().into()));
        match self {
            Self::Hermes => vec![
                token("<tool_call>"),
                text(format!("\n{{\"name\": \"{name}\", \"arguments\": ")),
                arguments,
                text("}\n".to_owned()),
                token("</tool_call>"),
            ],
            Self::Llama => vec![
                text(format!("{{\"name\": \"{name}\", \"parameters\": ")),
                arguments,
                text("}".to_owned()),
            ],
            Self::Mistral => vec![
                token("[TOOL_CALLS]"),
                text(format!(" [{{\"name\": \"{name}\", \"arguments\": ")),
                arguments,
                text("}]".to_owned()),
            ],
        }
    }
}

impl Tool {
    /// Returns the schema of the arguments, which are an object of the fields that are named: a model that
    /// may add others has no end to come to.
    fn arguments(&self) -> String {
        let Some(Json::Object(fields)) = &self.parameters else {
            return json!({"type": "object", "additionalProperties": false}).to_string();
        };
        let mut fields = fields.clone();
        let mut add = |name: &str, value: Json| {
            if fields.iter().all(|(found, _)| found != name) {
                fields.push((name.to_owned(), value));
            }
        };
        add("type", Json::from("object"));
        if self.parameters.as_ref().is_some_and(|schema| schema.get("properties").is_some()) {
            add("additionalProperties", Json::Bool(false));
        }
        Json::Object(fields).to_string()
    }
}
