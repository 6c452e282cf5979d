//! Calls of tools, from the template to the client.

use openledger_serve_http::ToolFormat;
use serde_json::{Value, json};

use crate::client::{BASE, Script, model, post, serve};

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
