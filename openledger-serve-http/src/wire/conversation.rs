//! `POST /v1/chat/completions`.

use openledger_model::{Chat, Json, Message};

use super::{
    Settings,
    fields::{Fields, is_empty},
};
use crate::{ApiLimits, error::Failure};

/// The most tools, as in OpenAI's API, and bytes of a tool's name.
const MAX_TOOLS: usize = 128;
const MAX_NAME: usize = 64;

/// A conversation to go on with.
#[derive(Clone, Debug)]
pub(crate) struct ChatRequest {
    pub(crate) chat: Chat,
    /// The tools' names; empty if none may be called.
    pub(crate) tools: Vec<String>,
    /// Whether more than one may be called.
    pub(crate) parallel: bool,
    pub(crate) settings: Settings,
}

impl ChatRequest {
    pub(crate) fn read(json: &Json, limits: &ApiLimits) -> Result<Self, Failure> {
        let fields = Fields::new(json);
        let mut settings = Settings::read(&fields, limits)?;
        settings = match fields.flag("logprobs")?.unwrap_or(false) {
            true => {
                let mut settings = settings.with_logprobs(&fields, "top_logprobs")?;
                settings.logprobs.get_or_insert(0);
                settings
            }
            false => {
                fields.refuse("top_logprobs", super::fields::is(0.0))?;
                settings
            }
        };
        // A message of the model's to be finished is not a message that begins.
        fields.refuse("continue_final_message", is_empty)?;
        fields.refuse("add_generation_prompt", |json| *json == Json::Bool(true))?;
        let messages = fields.list("messages")?.unwrap_or_default();
        if messages.is_empty() {
            return Err(fields.wrong("messages", "is missing or empty"));
        }
        let messages = messages.iter().enumerate().map(|(index, json)| message(index, json));
        let mut chat = Chat::new(messages.collect::<Result<Vec<_>, _>>()?);
        let tools = tools(&fields)?;
        if !tools.is_empty() && may_call(&fields)? {
            chat.tools = fields.list("tools")?.unwrap_or_default().to_vec();
        }
        let names = if chat.tools.is_empty() { Vec::new() } else { tools };
        if let Some(effort) = fields.text("reasoning_effort")? {
            chat = chat.with_variable("reasoning_effort", effort);
        }
        if let Some(json) = fields.get("chat_template_kwargs") {
            Fields::within(json, "chat_template_kwargs.")?;
            for (name, value) in json.as_object().unwrap_or_default() {
                chat = chat.with_variable(name, value.clone());
            }
        }
        let parallel = fields.flag("parallel_tool_calls")?.unwrap_or(true);
        Ok(Self { chat, tools: names, parallel, settings })
    }
}

/// Whether the model may call tools.
fn may_call(fields: &Fields<'_>) -> Result<bool, Failure> {
    match fields.get("tool_choice") {
        None => Ok(true),
        Some(Json::String(choice)) if choice == "auto" => Ok(true),
        Some(Json::String(choice)) if choice == "none" => Ok(false),
        Some(_) => {
            let message = "`tool_choice` can be `auto` or `none`: a call cannot be forced here";
            Err(Failure::unsupported("tool_choice", message))
        }
    }
}

/// Returns the names of the tools.
fn tools(fields: &Fields<'_>) -> Result<Vec<String>, Failure> {
    let tools = fields.list("tools")?.unwrap_or_default();
    if tools.len() > MAX_TOOLS {
        return Err(fields.wrong("tools", &format!("has more than {MAX_TOOLS} tools")));
    }
    let named = tools.iter().enumerate().map(|(index, tool)| {
        let place = format!("tools[{index}].");
        let tool = Fields::within(tool, &place)?;
        if tool.required("type")? != "function" {
            return Err(tool.wrong("type", "is not `function`"));
        }
        let function = tool.get("function").ok_or_else(|| tool.wrong("function", "is missing"))?;
        let place = format!("tools[{index}].function.");
        let function = Fields::within(function, &place)?;
        let name = function.required("name")?;
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte);
        match (1..=MAX_NAME).contains(&name.len()) && name.bytes().all(fits) {
            true => Ok(name.to_owned()),
            false => Err(function.wrong("name", "is not of 1 to 64 letters, digits and `_-.`")),
        }
    });
    named.collect()
}

/// Reads a message as templates want it: one text, and arguments of calls as objects.
fn message(index: usize, json: &Json) -> Result<Message, Failure> {
    let place = format!("messages[{index}].");
    let fields = Fields::within(json, &place)?;
    let role = match fields.required("role")? {
        // What OpenAI's newer models call it.
        "developer" => "system",
        role => role,
    };
    let mut message = Message::from_json(json.clone())
        .map_err(|e| fields.wrong("role", &e.to_string()))?
        .with("role", role);
    if let Some(Json::Array(parts)) = fields.get("content") {
        let mut text = String::new();
        for part in parts {
            match (part.get("type").and_then(Json::as_str), part.get("text").and_then(Json::as_str))
            {
                (Some("text"), Some(part)) => text.push_str(part),
                _ => return Err(fields.wrong("content", "has a part that is no text")),
            }
        }
        message = message.with("content", text);
    } else if let Some(other) = fields.get("content").filter(|json| json.as_str().is_none()) {
        return Err(fields.wrong("content", &format!("is {}, not a text", other.kind())));
    } else if fields.get("content").is_none() && fields.get("tool_calls").is_none() {
        return Err(fields.wrong("content", "is missing"));
    }
    if let Some(calls) = fields.list("tool_calls")? {
        let calls = calls.iter().cloned().map(with_arguments).collect();
        message = message.with("tool_calls", Json::Array(calls));
    }
    Ok(message)
}

/// Returns a call whose arguments, which clients send as a text of JSON, are that JSON.
fn with_arguments(mut call: Json) -> Json {
    if let Some(arguments) = field(&mut call, "function").and_then(|f| field(f, "arguments"))
        && let Some(parsed) = arguments.as_str().and_then(|text| Json::parse(text).ok())
    {
        *arguments = parsed;
    }
    call
}

fn field<'a>(json: &'a mut Json, name: &str) -> Option<&'a mut Json> {
    match json {
        Json::Object(fields) => {
            fields.iter_mut().find(|(found, _)| found == name).map(|(_, value)| value)
        }
        _ => None,
    }
}
