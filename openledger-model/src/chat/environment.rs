//! Jinja as transformers sets it up, with limits.

use std::{collections::BTreeMap, io};

use jiff::{Timestamp, fmt::strtime::BrokenDownTime, tz::Offset};
use minijinja::{
    Environment, Error as Failure, ErrorKind as Kind, Value, syntax::SyntaxConfig, value::ValueKind,
};
use minijinja_contrib::pycompat::unknown_method_callback;
use openledger_core::{Error, ErrorKind, Result};

use super::{Chat, ChatTemplate, DEFAULT, MAX_TEMPLATE, Rendered, TOOL_USE, generation, python};
use crate::{Json, Message};

/// Instructions a template may run: a conversation of 10,000 messages takes about two million.
const FUEL: u64 = 50_000_000;
/// Bytes a template may write.
const MAX_TEXT: usize = 64 << 20;
/// Calls within calls.
const MAX_CALLS: usize = 100;

/// Compiles templates, each under its name.
pub(super) fn compile(sources: &[(String, String)]) -> Result<Environment<'static>> {
    let mut jinja = Environment::new();
    let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build();
    jinja.set_syntax(syntax.map_err(|e| Error::invalid("Jinja's syntax").with_source(e))?);
    jinja.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
    jinja.set_unknown_method_callback(|state, value, method, arguments| {
        match (method, value.as_str(), arguments) {
            ("title", Some(text), []) => Ok(Value::from(python::title(text))),
            _ => unknown_method_callback(state, value, method, arguments),
        }
    });
    jinja.set_fuel(Some(FUEL));
    jinja.set_recursion_limit(MAX_CALLS);
    jinja.set_formatter(|out, _, value| {
        let written = match value.as_str() {
            Some(text) => out.write_str(text),
            None => out.write_str(&python::text(value)?),
        };
        written.map_err(Failure::from)
    });
    // Nothing is not iterable in Python, and some templates ask.
    jinja.add_test("iterable", |value: Value| {
        matches!(
            value.kind(),
            ValueKind::String | ValueKind::Seq | ValueKind::Map | ValueKind::Iterable
        )
    });
    jinja.add_filter("tojson", python::tojson);
    jinja.add_filter("string", |value: Value| python::text(&value));
    jinja.add_filter(generation::FILTER, |said: String, marks: String| {
        let mut marks = marks.chars();
        [marks.next(), marks.next()]
            .map(|mark| mark.map(String::from).unwrap_or_default())
            .join(&said)
    });
    jinja.add_function("raise_exception", |message: String| -> Result<Value, Failure> {
        Err(Failure::new(Kind::InvalidOperation, message))
    });
    for (name, source) in sources {
        if source.len() > MAX_TEMPLATE {
            let message = format!(
                "the chat template `{name}` has {} bytes, {MAX_TEMPLATE} are allowed",
                source.len()
            );
            return Err(Error::new(ErrorKind::Limit, message));
        }
        let (source, _) = generation::rewrite(source);
        jinja.add_template_owned(name.clone(), source).map_err(|e| {
            Error::invalid(format!("the chat template `{name}` cannot be read")).with_source(e)
        })?;
    }
    Ok(jinja)
}

impl ChatTemplate {
    pub(super) fn run(&self, chat: &Chat, now: u64, prompt: bool) -> Result<Rendered> {
        let source = self.source(chat)?;
        let name = match self.environment.get_template(TOOL_USE) {
            Ok(_) if !chat.tools.is_empty() => TOOL_USE,
            _ => DEFAULT,
        };
        let (_, marked) = generation::rewrite(source);
        let mut context: BTreeMap<String, Value> = BTreeMap::new();
        let mut set = |name: &str, value: Value| context.insert(name.to_owned(), value);
        let messages = chat.messages.iter().map(message).collect();
        let tools = match chat.tools.is_empty() {
            true => Value::from(()),
            false => chat.tools.iter().map(value).collect(),
        };
        set("messages", messages);
        set("tools", tools);
        set("documents", Value::from(()));
        set("add_generation_prompt", Value::from(prompt));
        set("strftime_now", Value::from_function(move |format: String| strftime(now, &format)));
        for (name, token) in &self.special {
            set(name, Value::from(token.as_str()));
        }
        for (name, value) in &chat.variables {
            set(name, self::value(value));
        }
        let mut marks = ['\0'; 2];
        if marked {
            let said: String =
                chat.messages.iter().cloned().map(|m: Message| Json::from(m).to_string()).collect();
            let tools: String = chat.tools.iter().map(Json::to_string).collect();
            marks = generation::marks(&[&said, &tools, source])?;
            set(generation::MARKS, Value::from(String::from_iter(marks)));
        }
        let mut out = Limited(Vec::new());
        let template = self.environment.get_template(name).map_err(|e| failed(&e))?;
        template.render_captured_to(Value::from(context), &mut out).map_err(|e| failed(&e))?;
        let text = String::from_utf8(out.0).map_err(|e| {
            Error::invalid("the chat template writes what is no text").with_source(e)
        })?;
        match marked {
            false => Ok(Rendered { text, generated: None }),
            true => {
                let (text, spans) = generation::unmark(&text, marks)?;
                Ok(Rendered { text, generated: Some(spans) })
            }
        }
    }
}

/// A message with its reasoning under the names that templates read.
fn message(message: &Message) -> Value {
    let names = ["reasoning_content", "thinking", "reasoning"];
    let reasoning = names.into_iter().filter_map(|name| message.get(name));
    let Some(reasoning) = reasoning.into_iter().find(|&said| *said != Json::Null) else {
        return object(message.fields());
    };
    let mut fields = vec![("thinking".to_owned(), reasoning.clone())];
    fields.extend(message.fields().iter().cloned());
    fields.push(("reasoning_content".to_owned(), reasoning.clone()));
    object(&fields)
}

fn value(json: &Json) -> Value {
    match json {
        Json::Null => Value::from(()),
        Json::Bool(yes) => Value::from(*yes),
        Json::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(integer), _) => Value::from(integer),
            (None, Some(integer)) => Value::from(integer),
            (None, None) => Value::from(number.as_f64().unwrap_or(f64::NAN)),
        },
        Json::String(text) => Value::from(text.as_str()),
        Json::Array(items) => items.iter().map(value).collect(),
        Json::Object(fields) => object(fields),
    }
}

fn object(fields: &[(String, Json)]) -> Value {
    Value::from_pairs(fields.iter().map(|(name, field)| (name.as_str(), value(field))))
}

/// `datetime.strftime` of Python, in UTC.
fn strftime(now: u64, format: &str) -> Result<String, Failure> {
    let bad = |e: String| Failure::new(Kind::InvalidOperation, format!("strftime_now: {e}"));
    let seconds = i64::try_from(now).map_err(|e| bad(e.to_string()))?;
    let now = Timestamp::from_second(seconds).map_err(|e| bad(e.to_string()))?;
    let now = BrokenDownTime::from(Offset::UTC.to_datetime(now));
    now.to_string(format).map_err(|e| bad(e.to_string()))
}

fn failed(failure: &Failure) -> Error {
    let line = failure.line().map_or_else(String::new, |line| format!(" at line {line}"));
    let mut reason: &dyn std::error::Error = failure;
    while let Some(deeper) = reason.source() {
        reason = deeper;
    }
    let kind = match failure.kind() {
        Kind::OutOfFuel | Kind::WriteFailure => ErrorKind::Limit,
        _ => ErrorKind::Invalid,
    };
    Error::new(kind, format!("the chat template stopped{line}")).with_source(reason.to_string())
}

/// Takes what a template writes, up to [`MAX_TEXT`].
struct Limited(Vec<u8>);

impl io::Write for Limited {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.len() + bytes.len() > MAX_TEXT {
            return Err(io::Error::other(format!("more than {MAX_TEXT} bytes of text")));
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
