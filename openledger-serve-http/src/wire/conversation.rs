//! `POST /v1/chat/completions`.

use openledger_model::{Chat, Json, Message};

use super::{
    Settings,
    fields::{Fields, is_empty},
};
use crate::{ApiLimits, error::Failure, tools::Tool};

/// The most tools, as in OpenAI's API, and bytes of a tool's name.
const MAX_TOOLS: usize = 128;
const MAX_NAME: usize = 64;
/// The most variables of a template.
const MAX_VARIABLES: usize = 64;

/// A conversation to go on with.
#[derive(Clone, Debug)]
pub(crate) struct ChatRequest {
    pub(crate) chat: Chat,
    /// Those that may be called.
    pub(crate) tools: Vec<Tool>,
    /// Whether one of them has to be, and nothing else said.
    pub(crate) forced: bool,
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
        let mut tools = tools(&fields)?;
        let choice = ToolChoice::read(&fields)?;
        match choice {
            ToolChoice::None => tools.clear(),
            ToolChoice::Named(name) => tools.retain(|tool| tool.name == name),
            ToolChoice::Auto | ToolChoice::Required => {}
        }
        let forced = matches!(choice, ToolChoice::Required | ToolChoice::Named(_));
        if forced && tools.is_empty() {
            return Err(
                fields.wrong("tool_choice", "asks for a call of a tool that is not in `tools`")
            );
        }
        if !tools.is_empty() {
            chat.tools = fields.list("tools")?.unwrap_or_default().to_vec();
        }
        if let Some(effort) = fields.text("reasoning_effort")? {
            chat = chat.with_variable("reasoning_effort", effort);
        }
        if let Some(json) = fields.get("chat_template_kwargs") {
            Fields::within(json, "chat_template_kwargs.")?;
            let variables = json.as_object().unwrap_or_default();
            if variables.len() > MAX_VARIABLES {
                let says = format!("has more than {MAX_VARIABLES} variables");
                return Err(fields.wrong("chat_template_kwargs", &says));
            }
            for (name, value) in variables {
                chat = chat.with_variable(name, value.clone());
            }
        }
        let parallel = fields.flag("parallel_tool_calls")?.unwrap_or(true);
        Ok(Self { chat, tools, forced, parallel, settings })
    }
}

/// Which tools the model may call, or must.
enum ToolChoice<'a> {
    Auto,
    None,
    Required,
    Named(&'a str),
}

impl<'a> ToolChoice<'a> {
    fn read(fields: &Fields<'a>) -> Result<Self, Failure> {
        let unknown = || {
            let message =
                "`tool_choice` can be `auto`, `none`, `required` or a function by its name";
            Failure::unsupported("tool_choice", message)
        };
        match fields.get("tool_choice") {
            None => Ok(Self::Auto),
            Some(Json::String(choice)) => match choice.as_str() {
                "auto" => Ok(Self::Auto),
                "none" => Ok(Self::None),
                "required" => Ok(Self::Required),
                _ => Err(unknown()),
            },
            Some(named) => {
                let is_function = named.get("type").and_then(Json::as_str) == Some("function");
                let function = named.get("function").filter(|_| is_function);
                let name = function.and_then(|function| function.get("name")?.as_str());
                name.map(Self::Named).ok_or_else(unknown)
            }
        }
    }
}

/// Reads the tools.
fn tools(fields: &Fields<'_>) -> Result<Vec<Tool>, Failure> {
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
        if !(1..=MAX_NAME).contains(&name.len()) || !name.bytes().all(fits) {
            return Err(function.wrong("name", "is not of 1 to 64 letters, digits and `_-.`"));
        }
        Ok(Tool { name: name.to_owned(), parameters: function.get("parameters").cloned() })
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
