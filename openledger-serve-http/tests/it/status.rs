//! What watches the server.

use openledger_serve_http::{Keys, Stats};
use serde_json::json;

use crate::client::{BASE, Script, api, get, post, serve};

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
    let stats = || Stats::default().with_cache(0.5, [16, 100]).with_max_adapters(4);
    let address = serve(api().with_keys(keys).with_stats(stats)).await;
    for path in ["/health", "/ready", "/metrics"] {
        assert_eq!(get(address, path).await.status, 200);
    }
    let metrics = get(address, "/metrics").await;
    assert!(metrics.header("content-type").unwrap().contains("version=0.0.4"));
    for line in [
        "vllm:num_requests_waiting{model_name=\"tiny\"} 0",
        "vllm:kv_cache_usage_perc{model_name=\"tiny\"} 0.5",
        "# TYPE vllm:lora_requests_info gauge",
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
