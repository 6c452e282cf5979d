//! Every error in OpenAI's shape.

use openledger_core::{Error, ErrorKind};
use openledger_serve::{Engine, EngineOptions, Event, Generate, TokenStream};
use openledger_serve_http::{Api, Keys};
use serde_json::json;
use tower::service_fn;

use crate::client::{BASE, api, get, model, post, raw, request, serve, with_key};

/// Checks the shape; returns code and param.
fn shaped(answer: &crate::client::Answer, status: u16) -> [String; 2] {
    assert_eq!(answer.status, status, "{answer:?}");
    let json = answer.json();
    let error = json["error"].as_object().unwrap();
    let mut names: Vec<&str> = error.keys().map(String::as_str).collect();
    names.sort_unstable();
    assert_eq!(names, ["code", "message", "param", "type"]);
    assert!(!error["message"].as_str().unwrap().is_empty());
    ["code", "param"].map(|name| error[name].as_str().unwrap_or("null").to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_that_are_wrong() {
    let address = serve(api()).await;
    let chat = |more: &str| {
        format!(r#"{{"model": "{BASE}", "messages": [{{"role": "user", "content": "x"}}]{more}}}"#)
    };
    for (path, body, status, code, param) in [
        ("/v1/chat/completions", "{", 400, "invalid_json", "null"),
        ("/v1/chat/completions", "[]", 400, "invalid_json", "null"),
        ("/v1/chat/completions", "{}", 400, "invalid_value", "model"),
        (
            "/v1/chat/completions",
            r#"{"model": "no", "messages": [{"role": "user", "content": "x"}]}"#,
            404,
            "model_not_found",
            "model",
        ),
        (
            "/v1/chat/completions",
            &chat(r#", "temperature": 9"#),
            400,
            "invalid_value",
            "temperature",
        ),
        (
            "/v1/chat/completions",
            &chat(
                r#", "tool_choice": "any", "tools": [{"type": "function", "function": {"name": "f"}}]"#,
            ),
            400,
            "unsupported_parameter",
            "tool_choice",
        ),
        ("/v1/completions", r#"{"model": "tiny", "prompt": [99999]}"#, 400, "null", "null"),
        (
            "/v1/completions",
            r#"{"model": "tiny", "prompt": "x", "echo": true}"#,
            400,
            "unsupported_parameter",
            "echo",
        ),
        ("/v1/embeddings", r#"{"model": "tiny", "input": "x"}"#, 501, "unsupported", "null"),
        ("/v1/nothing", "{}", 404, "unknown_path", "null"),
    ] {
        let answer = post(address, path, body).await;
        assert_eq!(shaped(&answer, status), [code, param], "{path} {body}");
    }
    let wrong = get(address, "/v1/completions").await;
    shaped(&wrong, 405);
    assert_eq!(wrong.header("allow"), Some("POST"));
    let form = "POST /v1/completions HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 2\r\ncontent-type: text/plain\r\n\r\n{}";
    shaped(&raw(address, form.as_bytes()).await, 415);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chat_with_a_model_that_has_no_template() {
    let engine = Engine::start(model(), EngineOptions::default()).unwrap();
    let address = serve(Api::new(engine, model(), BASE)).await;
    let body = json!({"model": BASE, "messages": [{"role": "user", "content": "x"}]});
    let answer = post(address, "/v1/chat/completions", &body.to_string()).await;
    assert_eq!(shaped(&answer, 400)[1], "messages");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_service_says_has_the_right_status() {
    for (kind, retryable, status, says) in [
        (ErrorKind::Limit, true, 429, "full"),
        (ErrorKind::Limit, false, 400, "full"),
        (ErrorKind::Denied, false, 403, "full"),
        (ErrorKind::Conflict, false, 409, "full: reason"),
        (ErrorKind::Corrupt, false, 422, "full: reason"),
        (ErrorKind::Unavailable, true, 503, "full"),
        (ErrorKind::Unsupported, false, 501, "full: reason"),
        (ErrorKind::Invalid, false, 400, "full: reason"),
    ] {
        let service = service_fn(move |_: Generate| async move {
            let error = Error::new(kind, "full").with_source("reason").with_retryable(retryable);
            Err::<TokenStream, Error>(error)
        });
        let address = serve(Api::new(service, model(), BASE)).await;
        let answer = post(address, "/v1/completions", r#"{"model": "tiny", "prompt": "x"}"#).await;
        shaped(&answer, status);
        assert_eq!(answer.json()["error"]["message"], says);
        let waits = status == 429 || status == 503;
        assert_eq!(answer.header("retry-after").is_some(), waits);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_just_stops_is_an_error() {
    let service = service_fn(|_: Generate| async {
        Ok::<_, Error>(TokenStream::new(futures::stream::iter([Ok(Event::token(65, "A"))])))
    });
    let address = serve(Api::new(service, model(), BASE)).await;
    let answer = post(address, "/v1/completions", r#"{"model": "tiny", "prompt": "x"}"#).await;
    shaped(&answer, 503);
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_are_asked_for_and_judged() {
    let keys = Keys::default()
        .with_tenant("press", "sk-0123456789abcdef", None)
        .and_then(|keys| keys.with_admin("sk-admin-0123456789"))
        .unwrap();
    let address = serve(api().with_keys(keys)).await;
    let missing = get(address, "/v1/models").await;
    assert_eq!(shaped(&missing, 401)[0], "missing_api_key");
    assert_eq!(missing.header("www-authenticate"), Some("Bearer"));
    let wrong = with_key(address, "GET", "/v1/models", "sk-fedcba9876543210", "").await;
    assert_eq!(shaped(&wrong, 401)[0], "invalid_api_key");
    assert!(!wrong.body.contains("fedcba"));
    let right = with_key(address, "GET", "/v1/models", "sk-0123456789abcdef", "").await;
    assert_eq!(right.status, 200);
    let admin = with_key(address, "GET", "/v1/adapters", "sk-0123456789abcdef", "").await;
    assert_eq!(shaped(&admin, 403)[0], "admin_only");
    let admin = with_key(address, "GET", "/v1/adapters", "sk-admin-0123456789", "").await;
    assert_eq!(admin.status, 200);
    // Without an administrator's key nobody is one.
    let open = serve(api()).await;
    shaped(&get(open, "/v1/adapters").await, 403);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_keeps_the_name_its_client_gave_it_if_that_is_harmless() {
    let address = serve(api()).await;
    for (given, kept) in [("abc-1", true), ("a b", false), (&"x".repeat(200), false)] {
        let headers = format!("x-request-id: {given}\r\n");
        let answer = raw(address, request("GET", "/v1/models", &headers, "").as_bytes()).await;
        assert_eq!(answer.header("x-request-id") == Some(given), kept);
    }
}
