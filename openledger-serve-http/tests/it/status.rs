//! What watches the server.

use openledger_serve::{Embed, Engine, EngineOptions};
use openledger_serve_http::Keys;
use serde_json::json;

use crate::client::{BASE, Script, api, get, model, post, serve};

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_ends_says_so_and_lives_on() {
    let script = Script::saying(&["x"]);
    let api = script.api();
    let address = serve(api.clone()).await;
    assert_eq!(get(address, "/ready").await.status, 200);
    api.drain();
    let ready = get(address, "/ready").await;
    assert_eq!((ready.status, &ready.json()["error"]["code"]), (503, &json!("draining")));
    let body = r#"{"model": "tiny", "prompt": "x"}"#;
    assert_eq!(post(address, "/v1/completions", body).await.status, 503);
    assert_eq!(get(address, "/health").await.status, 200);
    assert!(script.asked.lock().unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn watchers_need_no_key_and_read_what_the_engine_tells() {
    let keys = Keys::default().with_tenant("press", "sk-0123456789abcdef", None).unwrap();
    let engine = Engine::start(model(), EngineOptions::default()).unwrap();
    let pages = engine.stats().pages_total;
    let address = serve(api().with_keys(keys).with_engine(engine)).await;
    for path in ["/health", "/ready", "/metrics"] {
        assert_eq!(get(address, path).await.status, 200);
    }
    let metrics = get(address, "/metrics").await;
    assert!(metrics.header("content-type").unwrap().contains("version=0.0.4"));
    for line in [
        "vllm:num_requests_waiting{model_name=\"tiny\"} 0",
        "vllm:kv_cache_usage_perc{model_name=\"tiny\"} 0",
        "# TYPE vllm:lora_requests_info gauge",
        &format!("vllm:cache_config_info{{block_size=\"16\",num_gpu_blocks=\"{pages}\"}} 1"),
    ] {
        assert!(metrics.body.lines().any(|found| found == line), "{}", metrics.body);
    }
    assert_eq!(get(address, "/v1/models").await.status, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_base_model_is_listed_by_content() {
    let address = serve(api().with_clock(|| 1_700_000_000)).await;
    let models = get(address, "/v1/models").await.json();
    let one = &models["data"][0];
    assert_eq!(
        (&models["object"], &one["id"], &one["created"]),
        (&json!("list"), &json!(BASE), &json!(1_700_000_000))
    );
    assert!(one["hash"].as_str().unwrap().starts_with("0x") && one["parent"].is_null());
    assert_eq!(get(address, "/v1/models/tiny").await.json(), *one);
    assert_eq!(get(address, "/v1/models/other").await.status, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn embeddings_are_the_engines_as_numbers_or_packed() {
    let engine = Engine::start(model(), EngineOptions::default()).unwrap();
    let expected = engine.embed(Embed::new(model().tokenizer().encode("bc", true).unwrap()));
    let expected = expected.await.unwrap();
    let address = serve(api().with_engine(engine)).await;
    let body = json!({"model": BASE, "input": ["a", "bc"]}).to_string();
    let list = post(address, "/v1/embeddings", &body).await.json();
    let told: Vec<f32> = serde_json::from_value(list["data"][1]["embedding"].clone()).unwrap();
    assert_eq!((told, &list["data"][1]["index"]), (expected.clone(), &json!(1)));
    assert_eq!(list["usage"]["prompt_tokens"], 5);
    let body = json!({"model": BASE, "input": "bc", "encoding_format": "base64"}).to_string();
    let packed = post(address, "/v1/embeddings", &body).await.json();
    // Four bytes a number, four letters for three bytes.
    let letters = (expected.len() * 4).div_ceil(3) * 4;
    assert_eq!(packed["data"][0]["embedding"].as_str().unwrap().len(), letters);
    for (field, value) in
        [("dimensions", json!(4)), ("encoding_format", json!("x")), ("input", json!([]))]
    {
        let mut body = json!({"model": BASE, "input": "a"});
        body[field] = value;
        let answer = post(address, "/v1/embeddings", &body.to_string()).await;
        assert_eq!((answer.status, &answer.json()["error"]["param"]), (400, &json!(field)));
    }
    let body = json!({"model": "no", "input": "a"}).to_string();
    assert_eq!(post(address, "/v1/embeddings", &body).await.status, 404);
}
