//! How families write calls.

use super::parse;

/// How a family of models writes that it calls a tool.
///
/// # Examples
/// ```
/// use openledger_serve_http::ToolFormat;
///
/// let text = "<tool_call>\n{\"name\": \"add\", \"arguments\": {\"a\": 1}}\n</tool_call>";
/// let calls = ToolFormat::Hermes.parse(text).unwrap();
/// assert_eq!((&*calls[0].name, &*calls[0].arguments), ("add", r#"{"a":1}"#));
/// assert!(ToolFormat::Hermes.parse("add(1)").is_none());
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum ToolFormat {
    /// `<tool_call>{"name": .., "arguments": {..}}</tool_call>`, as often as there are calls: Hermes,
    /// Qwen.
    Hermes,
    /// `{"name": .., "parameters": {..}}` and nothing else, several divided by `;`, after
    /// `<|python_tag|>` or not: Llama 3.1 and later.
    Llama,
    /// `[TOOL_CALLS]` and an array of `{"name": .., "arguments": {..}}`, or a name and arguments after
    /// each: Mistral.
    Mistral,
}

/// A call of a tool.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct ToolCall {
    /// The tool.
    pub name: String,
    /// What it is called with, an object of JSON as the model wrote it without white space.
    pub arguments: String,
}

impl ToolFormat {
    /// Returns the format that a chat template tells the model to write, if it is one of these.
    pub fn of_template(template: &str) -> Option<Self> {
        [
            (Self::Hermes, "<tool_call>"),
            (Self::Mistral, "[TOOL_CALLS]"),
            (Self::Llama, "<|python_tag|>"),
            (Self::Llama, "\"parameters\": dictionary of argument"),
        ]
        .into_iter()
        .find(|(_, sign)| template.contains(sign))
        .map(|(format, _)| format)
    }

    /// Returns the calls that `text`, which is nothing but calls, is made of; none if it is anything
    /// else, or more than 1 MiB.
    pub fn parse(self, text: &str) -> Option<Vec<ToolCall>> {
        parse::calls(self, text)
    }

    /// What begins calls.
    pub(crate) const fn marker(self) -> &'static str {
        match self {
            Self::Hermes => "<tool_call>",
            Self::Llama => "<|python_tag|>",
            Self::Mistral => "[TOOL_CALLS]",
        }
    }
}
