//! Answers as they come.

use openledger_core::{Error, ErrorKind};
use openledger_serve::Event;
use serde_json::{Value, json};

use crate::client::{BASE, Script, api, post, serve};

fn chunks(events: &[String]) -> Vec<Value> {
    assert_eq!(events.last().unwrap(), "[DONE]");
    let json = events[..events.len() - 1].iter();
    json.map(|event| serde_json::from_str(event).unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chat_streams_as_openais() {
    let address = serve(Script::saying(&["Hel", "", "lo"]).api()).await;
    let body = json!({
        "model": BASE, "messages": [{"role": "user", "content": "x"}], "stream": true,
        "stream_options": {"include_usage": true},
    });
    let answer = post(address, "/v1/chat/completions", &body.to_string()).await;
    assert_eq!(answer.header("content-type"), Some("text/event-stream"));
    let chunks = chunks(&answer.events());
    let deltas: Vec<_> = chunks.iter().map(|chunk| chunk["choices"][0]["delta"].clone()).collect();
    assert_eq!(
        deltas[..4],
        [
            json!({"role": "assistant", "content": ""}),
            json!({"content": "Hel"}),
            json!({"content": "lo"}),
            json!({})
        ]
    );
    assert_eq!(chunks[3]["choices"][0]["finish_reason"], "stop");
    assert!(chunks[..4].iter().all(|chunk| chunk["usage"].is_null()));
    let last = &chunks[4];
    assert_eq!(last["choices"], json!([]));
    assert_eq!(
        (&last["usage"]["prompt_tokens"], &last["usage"]["completion_tokens"]),
        (&json!(7), &json!(3))
    );
    assert!(chunks.iter().all(|chunk| chunk["id"] == chunks[0]["id"]
        && chunk["object"] == "chat.completion.chunk"
        && chunk["model"] == BASE));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_of_the_engine_says_what_the_whole_answer_says() {
    let address = serve(api()).await;
    let mut body = json!({
        "model": BASE, "prompt": "abc", "n": 2, "seed": 5, "max_tokens": 12, "ignore_eos": true,
    });
    let whole = post(address, "/v1/completions", &body.to_string()).await.json();
    body["stream"] = json!(true);
    let events = post(address, "/v1/completions", &body.to_string()).await.events();
    let mut texts = [String::new(), String::new()];
    for chunk in chunks(&events) {
        assert!(chunk.get("usage").is_none());
        let choice = &chunk["choices"][0];
        texts[choice["index"].as_u64().unwrap() as usize]
            .push_str(choice["text"].as_str().unwrap());
    }
    for (index, text) in texts.iter().enumerate() {
        assert_eq!(whole["choices"][index]["text"], **text);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_in_the_middle_is_the_last_event() {
    let script = Script::new(|| {
        let broken =
            Error::new(ErrorKind::Unavailable, "the device is gone").with_source("secret reason");
        vec![Ok(Event::token(65, "A")), Err(broken)]
    });
    let address = serve(script.api()).await;
    let body = json!({"model": BASE, "prompt": "x", "stream": true});
    let answer = post(address, "/v1/completions", &body.to_string()).await;
    let events = answer.events();
    let last: Value = serde_json::from_str(events.last().unwrap()).unwrap();
    assert_eq!(last["error"]["type"], "server_error");
    assert!(!answer.body.contains("secret") && !answer.body.contains("[DONE]"));
    // Without a stream it is a status.
    let answer = post(address, "/v1/completions", r#"{"model": "tiny", "prompt": "x"}"#).await;
    assert_eq!((answer.status, answer.header("retry-after")), (503, Some("1")));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_takes_too_long_is_a_timeout_either_way() {
    let script = Script::new(|| vec![Ok(Event::token(65, "A"))]).endless();
    let address = serve(script.api()).await;
    let mut body = json!({"model": BASE, "prompt": "x", "timeout": 0.05});
    let answer = post(address, "/v1/completions", &body.to_string()).await;
    assert_eq!((answer.status, &answer.json()["error"]["code"]), (504, &json!("timeout")));
    body["stream"] = json!(true);
    let events = post(address, "/v1/completions", &body.to_string()).await.events();
    assert!(events.last().unwrap().contains(r#""code":"timeout""#), "{events:?}");
    script.idle().await;
}
