//! Renders conversations as a checkpoint's chat template does: one JSON object a line in, one out.
//!
//! ```text
//! {"source": "…jinja…", "config": {"bos_token": "<s>"}, "messages": […], "tools": […],
//!  "variables": {}, "prompt": true, "now": 0}
//! ─▶ {"text": "…", "generated": [[from, to], …]}   bytes, null without generation blocks
//! ─▶ {"error": "…"}
//! ```
#![expect(clippy::print_stdout, reason = "a command line")]

use std::io::BufRead;

use openledger_core::Result;
use openledger_model::{Chat, ChatTemplate, Json, Message};
use serde::Deserialize;
use serde_json::{Value, json};

#[derive(Deserialize)]
struct Case {
    source: String,
    #[serde(default)]
    config: Option<Json>,
    messages: Vec<Message>,
    #[serde(default)]
    tools: Vec<Json>,
    #[serde(default)]
    variables: Option<Json>,
    #[serde(default)]
    prompt: bool,
    #[serde(default)]
    now: u64,
}

fn main() -> std::io::Result<()> {
    for line in std::io::stdin().lock().lines() {
        let rendered = render(&line?).unwrap_or_else(|e| json!({ "error": e.report() }));
        println!("{rendered}");
    }
    Ok(())
}

fn render(line: &str) -> Result<Value> {
    let case: Case = serde_json::from_str(line)
        .map_err(|e| openledger_core::Error::invalid("not a case").with_source(e))?;
    let config = case.config.unwrap_or(Json::Object(Vec::new())).to_string();
    let template = ChatTemplate::new(&case.source, config.as_bytes())?;
    let mut chat = Chat::new(case.messages).with_tools(case.tools);
    for (name, value) in case.variables.as_ref().and_then(Json::as_object).unwrap_or_default() {
        chat = chat.with_variable(name, value.clone());
    }
    if case.prompt {
        return Ok(json!({ "text": template.prompt(&chat, case.now)?, "generated": null }));
    }
    let rendered = template.render(&chat, case.now)?;
    let spans = rendered
        .generated
        .map(|spans| -> Vec<_> { spans.into_iter().map(|span| [span.start, span.end]).collect() });
    Ok(json!({ "text": rendered.text, "generated": spans }))
}
