//! What the columns of a file mean.

use std::collections::BTreeMap;

use openledger_core::{ErrorKind, Result};
use openledger_model::{Chat, Json, Message};
use serde::{Deserialize, Serialize};

use super::{
    Example,
    record::{Place, Record},
};

/// What a column can be.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Column {
    /// What is given: `instruction`, `prompt`, `question`.
    Prompt,
    /// What is added to the prompt: `input`; may be empty.
    Input,
    /// What is learned: `output`, `completion`, `answer`, `response`.
    Completion,
    /// A conversation: `messages`, `conversations`.
    Messages,
    /// An instruction before a conversation: `system`; may be empty.
    System,
    /// What the model may call: `tools`; may be empty.
    Tools,
    /// The better of two answers: `chosen`.
    Chosen,
    /// The other: `rejected`.
    Rejected,
    /// Whether an answer is good: `label`.
    Label,
    /// Plain text: `text`.
    Text,
}

impl Column {
    /// The names it is known by, in order of preference.
    const fn names(self) -> &'static [&'static str] {
        match self {
            Self::Prompt => &["instruction", "prompt", "question"],
            Self::Input => &["input"],
            Self::Completion => &["output", "completion", "answer", "response"],
            Self::Messages => &["messages", "conversations", "conversation"],
            Self::System => &["system"],
            Self::Tools => &["tools"],
            Self::Chosen => &["chosen"],
            Self::Rejected => &["rejected"],
            Self::Label => &["label"],
            Self::Text => &["text"],
        }
    }
}

/// Which column of a file is what, where their names do not say it.
///
/// # Examples
/// ```
/// use openledger_train::data::{Column, ColumnMap};
///
/// let map = ColumnMap::default().with(Column::Prompt, "frage").with(Column::Completion, "antwort");
/// assert_eq!(map.get(Column::Prompt), Some("frage"));
/// ```
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(transparent)]
pub struct ColumnMap(BTreeMap<Column, String>);

impl ColumnMap {
    /// Returns this with another column's name.
    #[must_use]
    pub fn with(mut self, column: Column, name: impl Into<String>) -> Self {
        self.0.insert(column, name.into());
        self
    }

    /// Returns the name given to a column.
    pub fn get(&self, column: Column) -> Option<&str> {
        self.0.get(&column).map(String::as_str)
    }
}

/// What the rows of a file are, found at its first row.
#[derive(Clone, Debug)]
pub(super) struct Format {
    kind: Kind,
    columns: BTreeMap<Column, String>,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Chat,
    Pair,
    Judged,
    Exchange,
    Text,
}

impl Format {
    /// Decides by the columns of the first row.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] naming the columns there are and what was looked for.
    pub(super) fn detect(first: &Record, map: &ColumnMap) -> Result<Self> {
        let there: Vec<&str> = first.fields.iter().map(|(name, _)| name.as_str()).collect();
        if let Some(missing) = map.0.values().find(|name| !there.contains(&name.as_str())) {
            let why = format!("no column `{missing}`, there are {}", list(&there));
            return Err(first.place.error(ErrorKind::Invalid, why));
        }
        use Column::{
            Chosen, Completion, Input, Label, Messages, Prompt, Rejected, System, Text, Tools,
        };
        let mut columns = map.0.clone();
        for column in
            [Prompt, Input, Completion, Messages, System, Tools, Chosen, Rejected, Label, Text]
        {
            let known = column.names().iter().find(|name| there.contains(name));
            if let Some(name) = known {
                columns.entry(column).or_insert_with(|| (*name).to_owned());
            }
        }
        // Who names columns wants them used: what they make goes before what else is there.
        let has = |wanted: &[Column]| wanted.iter().all(|column| columns.contains_key(column));
        let named = |wanted: &[Column]| wanted.iter().any(|column| map.0.contains_key(column));
        let judged = match columns.get(&Label).and_then(|name| first.get(name)) {
            Some(label) => named(&[Label]) || matches!(label, Json::Bool(_)),
            None => false,
        };
        let kinds = [
            (Kind::Chat, &[Messages][..], true),
            (Kind::Pair, &[Chosen, Rejected], true),
            (Kind::Judged, &[Prompt, Completion, Label], judged),
            (Kind::Exchange, &[Prompt, Completion], true),
            (Kind::Text, &[Text], true),
        ];
        let possible = || kinds.iter().filter(|(_, wanted, allowed)| *allowed && has(wanted));
        let kind = possible().find(|(_, wanted, _)| named(wanted)).or_else(|| possible().next());
        match kind {
            Some(&(kind, ..)) => Ok(Self { kind, columns }),
            None => Err(first.place.error(
                ErrorKind::Invalid,
                format!(
                    "columns {} are none of: messages; conversations; prompt, chosen, rejected; \
                     prompt, completion[, label]; instruction[, input], output; question, answer; \
                     text. Say which column is what with a column map",
                    list(&there)
                ),
            )),
        }
    }

    /// Makes an example of a row.
    pub(super) fn example(&self, record: &Record) -> Result<Example> {
        Ok(match self.kind {
            Kind::Text => Example::Text(self.text(record, Column::Text)?),
            Kind::Exchange => self.exchange(record)?,
            Kind::Judged => {
                let (name, value) = self.value(record, Column::Label)?;
                let good = truth(value).ok_or_else(|| {
                    let why = format!("{} where true or false should be", value.kind());
                    record.place.column(name, why)
                })?;
                Example::Judged { answer: Box::new(self.exchange(record)?), good }
            }
            Kind::Chat => {
                let (name, value) = self.value(record, Column::Messages)?;
                Example::Chat(self.chat(record, messages(&record.place, name, value)?)?)
            }
            Kind::Pair => {
                let [chosen, rejected] =
                    [Column::Chosen, Column::Rejected].map(|column| self.answer(record, column));
                Example::Pair { chosen: Box::new(chosen?), rejected: Box::new(rejected?) }
            }
        })
    }

    /// The better or the other answer: a text, or messages behind those of the prompt.
    fn answer(&self, record: &Record, column: Column) -> Result<Example> {
        let (name, value) = self.value(record, column)?;
        let prompt = self.columns.get(&Column::Prompt);
        let prompt = prompt.and_then(|name| Some((name.as_str(), record.get(name)?)));
        if !matches!(value, Json::Array(_)) {
            let Some((prompt_name, prompt)) = prompt else {
                return Err(record.place.column(name, "a text, and there is no column `prompt`"));
            };
            return Ok(Example::Exchange {
                prompt: text(&record.place, prompt_name, prompt)?,
                completion: text(&record.place, name, value)?,
            });
        }
        let mut said = match prompt {
            Some((name, prompt @ Json::Array(_))) => messages(&record.place, name, prompt)?,
            _ => Vec::new(),
        };
        let answer = messages(&record.place, name, value)?;
        if said.is_empty()
            && answer.len() == 1
            && let Some((name, prompt)) = prompt
        {
            said.push(Message::user(text(&record.place, name, prompt)?));
        }
        said.extend(answer);
        if said.last().is_none_or(|last| last.role() != "assistant") {
            return Err(record.place.column(name, "the last message is not the assistant's"));
        }
        Ok(Example::Chat(self.chat(record, said)?))
    }

    fn exchange(&self, record: &Record) -> Result<Example> {
        let mut prompt = self.text(record, Column::Prompt)?;
        if let Some(input) = self.optional(record, Column::Input)
            && let Some(input) = input.1.as_str().filter(|input| !input.trim().is_empty())
        {
            prompt.push_str("\n\n");
            prompt.push_str(input);
        }
        Ok(Example::Exchange { prompt, completion: self.text(record, Column::Completion)? })
    }

    /// Adds what stands in other columns to a conversation.
    fn chat(&self, record: &Record, mut messages: Vec<Message>) -> Result<Chat> {
        if let Some((_, system)) = self.optional(record, Column::System)
            && let Some(system) = system.as_str().filter(|system| !system.is_empty())
        {
            messages.insert(0, Message::system(system));
        }
        let mut chat = Chat::new(messages);
        if let Some((name, tools)) = self.optional(record, Column::Tools) {
            match list_of(tools) {
                Some(tools) => chat = chat.with_tools(tools),
                None if tools.as_str().is_some_and(|text| text.trim().is_empty()) => {}
                None => return Err(record.place.column(name, "not a list of JSON schemas")),
            }
        }
        Ok(chat)
    }

    fn optional<'a>(&self, record: &'a Record, column: Column) -> Option<(&str, &'a Json)> {
        let name = self.columns.get(&column)?;
        Some((name, record.get(name)?))
    }

    fn value<'a>(&self, record: &'a Record, column: Column) -> Result<(&str, &'a Json)> {
        let name = self.columns.get(&column).map_or("", String::as_str);
        match record.get(name) {
            Some(value) => Ok((name, value)),
            None => Err(record.place.column(name, "nothing there; fill it or drop the row")),
        }
    }

    fn text(&self, record: &Record, column: Column) -> Result<String> {
        let (name, value) = self.value(record, column)?;
        text(&record.place, name, value)
    }
}

fn text(place: &Place, name: &str, value: &Json) -> Result<String> {
    let text = match value {
        Json::String(text) => text.clone(),
        Json::Number(_) | Json::Bool(_) => value.to_string(),
        other => return Err(place.column(name, format!("{} where a text should be", other.kind()))),
    };
    if text.trim().is_empty() {
        return Err(place.column(name, "empty; fill it or drop the row"));
    }
    Ok(text)
}

fn truth(value: &Json) -> Option<bool> {
    let text = match value {
        Json::Bool(good) => return Some(*good),
        Json::Number(number) => number.to_string(),
        other => other.as_str()?.trim().to_ascii_lowercase(),
    };
    match text.as_str() {
        "true" | "1" | "1.0" => Some(true),
        "false" | "0" | "-1" | "0.0" => Some(false),
        _ => None,
    }
}

/// An array, or the text of one, as tables have it.
fn list_of(value: &Json) -> Option<Vec<Json>> {
    match value {
        Json::Array(items) => Some(items.clone()),
        Json::String(text) => match Json::parse(text) {
            Ok(Json::Array(items)) => Some(items),
            _ => None,
        },
        _ => None,
    }
}

/// Reads a conversation: `role` and `content`, or `from` and `value`.
fn messages(place: &Place, column: &str, value: &Json) -> Result<Vec<Message>> {
    let Some(items) = list_of(value) else {
        let why = format!("{} where a list of messages should be", value.kind());
        return Err(place.column(column, why));
    };
    let mut messages = Vec::with_capacity(items.len());
    for (number, item) in (1..).zip(items) {
        let wrong = |why: String| place.column(column, format!("message {number}: {why}"));
        let message = match (item.get("from"), item.get("value")) {
            (Some(from), Some(value)) => {
                let from = from.as_str().unwrap_or_default();
                let role = match from {
                    "human" | "user" => "user",
                    "gpt" | "assistant" | "chatgpt" | "bard" | "model" => "assistant",
                    "system" => "system",
                    "tool" | "observation" | "function_response" => "tool",
                    _ => {
                        let why = format!("from `{from}`; known are human, gpt, system, tool");
                        return Err(wrong(why));
                    }
                };
                let said = value.as_str().ok_or_else(|| wrong("`value` is no text".to_owned()))?;
                let others = item.as_object().unwrap_or_default().iter();
                let others = others.filter(|(name, _)| name != "from" && name != "value");
                others.fold(Message::new(role, said), |message, (name, value)| {
                    message.with(name, value.clone())
                })
            }
            _ => Message::from_json(item).map_err(|e| wrong(e.to_string()))?,
        };
        if message.get("content").is_none() && message.get("tool_calls").is_none() {
            return Err(wrong("neither `content` nor `tool_calls`".to_owned()));
        }
        messages.push(message);
    }
    if messages.is_empty() {
        return Err(place.column(column, "no message; fill it or drop the row"));
    }
    Ok(messages)
}

fn list(names: &[&str]) -> String {
    match names {
        [] => "none".to_owned(),
        names => {
            names.iter().take(20).map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
        }
    }
}
