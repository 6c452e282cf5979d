//! What is said in a conversation.

use openledger_core::{Error, Result};
use serde::{Deserialize, Serialize};

use crate::Json;

/// One message: a role, and whatever else the template of the model reads.
///
/// Templates read `content` and, depending on the model, `tool_calls`, `tool_call_id`, `name`,
/// `reasoning_content` and more; so a message is an object of JSON whose `role` is certain.
///
/// # Examples
/// ```
/// use openledger_model::{Json, Message};
///
/// let call = Json::parse(r#"[{"type": "function", "function": {"name": "now", "arguments": {}}}]"#)?;
/// let message = Message::assistant("").with("tool_calls", call);
/// assert_eq!((message.role(), message.content()), ("assistant", Some("")));
/// assert!(Message::from_json(Json::parse(r#"{"content": "no role"}"#)?).is_err());
/// # Ok::<(), openledger_core::Error>(())
/// ```
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(try_from = "Json", into = "Json")]
pub struct Message(Vec<(String, Json)>);

impl Message {
    /// Makes a message of any role.
    pub fn new(role: impl Into<String>, content: impl Into<String>) -> Self {
        let field = |name: &str, text: String| (name.to_owned(), Json::String(text));
        Self(vec![field("role", role.into()), field("content", content.into())])
    }

    /// Makes an instruction for the whole conversation.
    pub fn system(content: impl Into<String>) -> Self {
        Self::new("system", content)
    }

    /// Makes what a user says.
    pub fn user(content: impl Into<String>) -> Self {
        Self::new("user", content)
    }

    /// Makes what the model says.
    pub fn assistant(content: impl Into<String>) -> Self {
        Self::new("assistant", content)
    }

    /// Makes what a tool gave back.
    pub fn tool(content: impl Into<String>) -> Self {
        Self::new("tool", content)
    }

    /// Takes an object of JSON.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`](openledger_core::ErrorKind::Invalid) without a `role` that is a string.
    pub fn from_json(json: Json) -> Result<Self> {
        match (&json.get("role"), json.as_object()) {
            (Some(Json::String(_)), _) => {}
            (Some(other), _) => {
                return Err(Error::invalid(format!("`role` is {}, not a string", other.kind())));
            }
            (None, Some(_)) => return Err(Error::invalid("a message without `role`")),
            (None, None) => return Err(Error::invalid(format!("a message is {}", json.kind()))),
        }
        match json {
            Json::Object(fields) => Ok(Self(fields)),
            _ => Err(Error::invalid("a message that is no object")),
        }
    }

    /// Returns this with another field, or another value of it.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Json>) -> Self {
        self.0.retain(|(found, _)| found != name);
        self.0.push((name.to_owned(), value.into()));
        self
    }

    /// Returns who says it.
    pub fn role(&self) -> &str {
        self.get("role").and_then(Json::as_str).unwrap_or_default()
    }

    /// Returns what is said, if it is a text.
    pub fn content(&self) -> Option<&str> {
        self.get("content").and_then(Json::as_str)
    }

    /// Returns all fields, in order.
    pub fn fields(&self) -> &[(String, Json)] {
        &self.0
    }

    /// Returns a field.
    pub fn get(&self, name: &str) -> Option<&Json> {
        self.0.iter().rev().find(|(found, _)| found == name).map(|(_, value)| value)
    }
}

impl TryFrom<Json> for Message {
    type Error = Error;

    fn try_from(json: Json) -> Result<Self> {
        Self::from_json(json)
    }
}

impl From<Message> for Json {
    fn from(message: Message) -> Self {
        Self::Object(message.0)
    }
}

/// A conversation as a template is given it.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Chat {
    /// What was said, in order.
    pub messages: Vec<Message>,
    /// What the model may call, each as a JSON schema.
    pub tools: Vec<Json>,
    /// More that the template reads, such as `enable_thinking`.
    pub variables: Vec<(String, Json)>,
}

impl Chat {
    /// Takes messages.
    pub fn new(messages: impl Into<Vec<Message>>) -> Self {
        Self { messages: messages.into(), ..Self::default() }
    }

    /// Returns this with tools, each a JSON schema.
    #[must_use]
    pub fn with_tools(mut self, tools: impl Into<Vec<Json>>) -> Self {
        self.tools = tools.into();
        self
    }

    /// Returns this with another variable of the template.
    #[must_use]
    pub fn with_variable(mut self, name: &str, value: impl Into<Json>) -> Self {
        self.variables.retain(|(found, _)| found != name);
        self.variables.push((name.to_owned(), value.into()));
        self
    }

    /// Returns the first `count` messages with the same tools and variables.
    pub(super) fn first(&self, count: usize) -> Self {
        Self { messages: self.messages[..count].to_vec(), ..self.clone() }
    }
}
