//! Calls of tools, from the template to the client.

use openledger_serve_http::ToolFormat;
use serde_json::{Value, json};

use crate::client::{BASE, Script, api, model, post, serve};

fn asking(tools: &Value) -> Value {
    json!({"model": BASE, "messages": [{"role": "user", "content": "2+3?"}], "tools": tools})
}

fn add() -> Value {
    let schema = json!({"type": "object", "properties": {"a": {"type": "integer"}}});
    json!([{"type": "function", "function": {"name": "add", "parameters": schema}}])
}

const CALLS: &[&str] =
    &["I add", ".<tool_", "call>{\"name\": \"add\", ", "\"arguments\": {\"a\": 2}}</tool_call>"];

#[tokio::test(flavor = "multi_thread")]
async fn calls_come_as_calls_whole_or_streamed() {
    let script = Script::saying(CALLS);
    let address = serve(script.api()).await;
    let mut body = asking(&add());
    let chat = post(address, "/v1/chat/completions", &body.to_string()).await.json();
    let choice = &chat["choices"][0];
    assert_eq!(
        (&choice["finish_reason"], &choice["message"]["content"]),
        (&json!("tool_calls"), &json!("I add."))
    );
    let call = &choice["message"]["tool_calls"][0];
    assert_eq!(call["function"], json!({"name": "add", "arguments": "{\"a\":2}"}));
    assert!(call["id"].as_str().unwrap().starts_with("call_"));
    let prompt = model().tokenizer().decode(&script.last().prompt).unwrap();
    assert!(prompt.starts_with("<tool_call>add\n"), "the template was given the tool: {prompt}");

    body["stream"] = json!(true);
    let events = post(address, "/v1/chat/completions", &body.to_string()).await.events();
    let deltas: Vec<Value> = events[..events.len() - 1]
        .iter()
        .map(|event| serde_json::from_str::<Value>(event).unwrap()["choices"][0]["delta"].clone())
        .collect();
    let text: String = deltas.iter().filter_map(|delta| delta["content"].as_str()).collect();
    assert_eq!(text, "I add.");
    let calls: Vec<&Value> = deltas.iter().filter(|delta| !delta["tool_calls"].is_null()).collect();
    assert_eq!((calls.len(), &calls[0]["tool_calls"][0]["index"]), (1, &json!(0)));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_tools_nothing_is_a_call() {
    let script = Script::saying(CALLS);
    let address = serve(script.api()).await;
    let mut body = asking(&add());
    body["tool_choice"] = json!("none");
    for body in [body, asking(&json!([]))] {
        let chat = post(address, "/v1/chat/completions", &body.to_string()).await.json();
        assert_eq!(chat["choices"][0]["message"]["content"], CALLS.concat());
        assert_eq!(chat["choices"][0]["finish_reason"], "stop");
        let prompt = model().tokenizer().decode(&script.last().prompt).unwrap();
        assert!(!prompt.contains("add"), "{prompt}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn mistrals_ids_have_nine_letters() {
    let answer = &["[TOOL_CALLS]", " [{\"name\": \"add\", \"arguments\": {}}]"];
    let api = Script::saying(answer).api().with_tool_format(ToolFormat::Mistral);
    let address = serve(api).await;
    let chat = post(address, "/v1/chat/completions", &asking(&add()).to_string()).await.json();
    let message = &chat["choices"][0]["message"];
    assert!(message["content"].is_null());
    assert_eq!(message["tool_calls"][0]["id"].as_str().unwrap().len(), 9);
}

/// Two tools, each with few ways to be called.
fn two() -> Value {
    let tool = |name: &str, field: &str, values: Value| {
        let properties = json!({field: {"enum": values}});
        let schema = json!({"type": "object", "properties": properties, "required": [field]});
        json!({"type": "function", "function": {"name": name, "parameters": schema}})
    };
    let now = json!({"type": "function", "function": {"name": "now"}});
    json!([tool("add", "a", json!([1, 23])), tool("say", "it", json!(["}", "\"ü"])), now])
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forced_call_is_made_by_a_model_that_knows_nothing_of_tools() {
    let named = |name: &str| json!({"type": "function", "function": {"name": name}});
    for format in [ToolFormat::Hermes, ToolFormat::Llama, ToolFormat::Mistral] {
        let address = serve(api().with_tool_format(format)).await;
        for (seed, choice) in (1..).zip([
            json!("required"),
            json!("required"),
            named("add"),
            named("say"),
            named("now"),
        ]) {
            let mut body = asking(&two());
            body["tool_choice"] = choice.clone();
            (body["seed"], body["max_tokens"]) = (json!(seed), json!(440));
            let chat = post(address, "/v1/chat/completions", &body.to_string()).await.json();
            let one = &chat["choices"][0];
            assert_eq!(one["finish_reason"], "tool_calls", "{format:?} {choice}: {chat}");
            assert!(one["message"]["content"].is_null(), "{chat}");
            let calls = one["message"]["tool_calls"].as_array().unwrap();
            let function = &calls[0]["function"];
            let arguments: Value =
                serde_json::from_str(function["arguments"].as_str().unwrap()).unwrap();
            let fits = match function["name"].as_str().unwrap() {
                "add" => arguments == json!({"a": 1}) || arguments == json!({"a": 23}),
                "say" => arguments == json!({"it": "}"}) || arguments == json!({"it": "\"ü"}),
                "now" => arguments == json!({}),
                _ => false,
            };
            assert!(calls.len() == 1 && fits, "{chat}");
            if let Some(name) = choice["function"]["name"].as_str() {
                assert_eq!(function["name"], name);
            }
            // A stream says the same.
            body["stream"] = json!(true);
            let events = post(address, "/v1/chat/completions", &body.to_string()).await.events();
            let call = events.iter().find_map(|event| {
                let chunk: Value = serde_json::from_str(event).ok()?;
                Some(chunk["choices"][0]["delta"].get("tool_calls")?[0]["function"].clone())
            });
            assert_eq!(call.as_ref(), Some(function));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_cannot_be_forced_is_refused_by_name() {
    let script = Script::saying(&["x"]);
    let address = serve(script.api()).await;
    let rm = json!({"type": "function", "function": {"name": "rm"}});
    for (tools, choice, more, param) in [
        (json!([]), json!("required"), json!(null), "tool_choice"),
        (two(), rm, json!(null), "tool_choice"),
        (two(), json!({"type": "custom"}), json!(null), "tool_choice"),
        (two(), json!("required"), json!({"type": "json_object"}), "tool_choice"),
    ] {
        let mut body = asking(&tools);
        (body["tool_choice"], body["response_format"]) = (choice, more);
        let answer = post(address, "/v1/chat/completions", &body.to_string()).await;
        assert_eq!((answer.status, &answer.json()["error"]["param"]), (400, &json!(param)));
    }
    assert!(script.asked.lock().unwrap().is_empty());
    // What it may be called with has to be a schema that can be kept to.
    let address = serve(api()).await;
    let parameters = json!({"type": "object", "properties": {"a": {"type": "nonsense"}}});
    let tools = json!([{"type": "function", "function": {"name": "f", "parameters": parameters}}]);
    let mut body = asking(&tools);
    body["tool_choice"] = json!("required");
    let answer = post(address, "/v1/chat/completions", &body.to_string()).await;
    assert_eq!(answer.status, 400, "{answer:?}");
}
