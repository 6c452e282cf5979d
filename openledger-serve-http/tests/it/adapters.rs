//! Adapters that come, change and go while the server runs.

use std::{fs, net::SocketAddr, path::Path, time::Duration};

use futures::{FutureExt, future::BoxFuture};
use openledger_model::{AdapterFiles, LoraConfig, testing};
use openledger_serve::{
    AdapterName, AdapterOptions, AdapterSource, Adapters, Directory, FileLimits, Sources,
};
use openledger_serve_http::{ApiLimits, Keys};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::client::{Answer, BASE, api, model, raw, request, serve, with_key};

pub(crate) const ADMIN: &str = "sk-admin-0123456789";
pub(crate) const PRESS: &str = "sk-0123456789abcdef";
pub(crate) const COURT: &str = "sk-fedcba9876543210";

pub(crate) fn write(folder: &Path, seed: u64) {
    let (model, config) = (model(), LoraConfig::default());
    let lora = testing::lora(&model, &config, seed).unwrap();
    lora.to_files(model.network(), &config).write(folder).unwrap();
}

/// A server with the adapters `law` and `tax`, of which the court may use the first.
pub(crate) async fn server() -> (TempDir, SocketAddr) {
    let scratch = tempfile::tempdir().unwrap();
    let folder = scratch.path().join("adapters");
    write(&folder.join("law"), 1);
    write(&folder.join("tax"), 2);
    let keys = Keys::default()
        .with_lines(&format!("press {PRESS}\ncourt {COURT} law\n"))
        .and_then(|keys| keys.with_admin(ADMIN))
        .unwrap();
    let sources = Sources::new().with_default(Directory::open(&folder).unwrap());
    let options = AdapterOptions::default().with_sources(sources);
    let adapters = Adapters::with_options(model(), options);
    let api = api().with_keys(keys).with_adapters(adapters, Some(&folder)).await.unwrap();
    (scratch, serve(api).await)
}

async fn text(address: SocketAddr, model: &str, key: &str) -> (Answer, Value) {
    let body = json!({"model": model, "prompt": "abc", "temperature": 2, "seed": 1, "max_tokens": 40, "ignore_eos": true});
    let answer = with_key(address, "POST", "/v1/completions", key, &body.to_string()).await;
    let text = answer.json()["choices"][0]["text"].clone();
    (answer, text)
}

async fn put(address: SocketAddr, name: &str, condition: &str, path: &str) -> Answer {
    let headers = format!("authorization: Bearer {ADMIN}\r\n{condition}");
    let body = json!({"lora_path": path}).to_string();
    raw(address, request("PUT", &format!("/v1/adapters/{name}"), &headers, &body).as_bytes()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn folders_are_models_and_are_loaded_when_asked_for() {
    let (_scratch, address) = server().await;
    let list = with_key(address, "GET", "/v1/models", PRESS, "").await.json();
    let names: Vec<&Value> =
        list["data"].as_array().unwrap().iter().map(|model| &model["id"]).collect();
    assert_eq!(names, [BASE, "law", "tax"]);
    assert_eq!(
        (&list["data"][1]["parent"], &list["data"][1]["root"]),
        (&json!(BASE), &json!("law"))
    );
    assert!(list["data"][1]["hash"].is_null(), "its bytes were not read yet");

    let (_, base) = text(address, BASE, PRESS).await;
    let (answer, law) = text(address, "law", PRESS).await;
    assert_ne!(base, law);
    assert_eq!(text(address, "tiny:law", PRESS).await.1, law);
    let id = answer.header("x-openledger-adapter").unwrap();
    let one = with_key(address, "GET", "/v1/models/law", PRESS, "").await.json();
    assert_eq!(one["hash"], id);
    let listed = with_key(address, "GET", "/v1/adapters", ADMIN, "").await.json();
    assert_eq!(
        (&listed["data"][0]["state"], &listed["data"][1]["state"]),
        (&json!("loaded"), &json!("known"))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn adapters_are_loaded_and_unloaded_as_by_vllm() {
    let (scratch, address) = server().await;
    let post = async |path: &str, body: Value| {
        with_key(address, "POST", path, ADMIN, &body.to_string()).await
    };
    let load = json!({"lora_name": "news", "lora_path": "sub/news"});
    assert_eq!(post("/v1/load_lora_adapter", load.clone()).await.status, 404);
    write(&scratch.path().join("adapters/sub/news"), 3);
    assert_eq!(post("/v1/load_lora_adapter", load.clone()).await.status, 200);
    let twice = post("/v1/load_lora_adapter", load).await;
    assert_eq!((twice.status, &twice.json()["error"]["code"]), (400, &json!("adapter_exists")));
    assert_eq!(text(address, "news", PRESS).await.0.status, 200);
    let inplace = json!({"lora_name": "news", "lora_path": "law", "load_inplace": true});
    assert_eq!(post("/v1/load_lora_adapter", inplace).await.status, 200);
    assert_eq!(text(address, "news", PRESS).await.1, text(address, "law", PRESS).await.1);
    assert_eq!(post("/v1/unload_lora_adapter", json!({"lora_name": "news"})).await.status, 200);
    assert_eq!(text(address, "news", PRESS).await.0.status, 404);
    assert_eq!(post("/v1/unload_lora_adapter", json!({"lora_name": "news"})).await.status, 404);
    // The same for one that came with the server: it does not come back by itself.
    assert_eq!(post("/v1/unload_lora_adapter", json!({"lora_name": "law"})).await.status, 200);
    assert_eq!(text(address, "law", PRESS).await.0.status, 404);
    let base = json!({"lora_name": BASE, "lora_path": "law"});
    assert_eq!(post("/v1/load_lora_adapter", base).await.status, 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_adapter_is_merged_and_taken_apart_by_administrators() {
    let (_scratch, address) = server().await;
    let post = async |path: &str, name: &str, key: &str| {
        with_key(address, "POST", path, key, &json!({"lora_name": name}).to_string()).await
    };
    let state = async || {
        let list = with_key(address, "GET", "/v1/adapters", ADMIN, "").await.json();
        list["data"][0]["state"].clone()
    };
    let (apart, expected) = text(address, "law", PRESS).await;
    let merge = "/v1/merge_lora_adapter";
    assert_eq!(post(merge, "law", PRESS).await.status, 403);
    assert_eq!(post(merge, "low", ADMIN).await.status, 404);
    assert_eq!(post(merge, "../law", ADMIN).await.status, 404);
    assert_eq!(state().await, "loaded");
    let merged = post(merge, "law", ADMIN).await;
    assert_eq!((merged.status, &merged.json()["state"]), (200, &json!("merged")));
    assert_eq!(state().await, "merged");
    let (answer, said) = text(address, "law", PRESS).await;
    assert_eq!(said, expected);
    let id = "x-openledger-adapter";
    assert_eq!(answer.header(id), apart.header(id));
    let unmerge = "/v1/unmerge_lora_adapter";
    assert_eq!(post(unmerge, "law", ADMIN).await.status, 200);
    assert_eq!(state().await, "loaded");
    assert_eq!(post(unmerge, "law", ADMIN).await.status, 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_is_given_anew_only_if_it_stands_for_what_is_expected() {
    let (_scratch, address) = server().await;
    let (answer, _) = text(address, "law", PRESS).await;
    let old = answer.header("x-openledger-adapter").unwrap().to_owned();
    assert_eq!(put(address, "law", "", "tax").await.status, 428);
    assert_eq!(put(address, "law", "if-match: nonsense\r\n", "tax").await.status, 400);
    assert_eq!(put(address, "law", "if-none-match: *\r\n", "tax").await.status, 412);
    let swapped = put(address, "law", &format!("if-match: \"{old}\"\r\n"), "tax").await;
    assert_eq!(swapped.status, 200, "{swapped:?}");
    let new = swapped.json()["id"].as_str().unwrap().to_owned();
    assert_eq!(swapped.header("etag"), Some(&*format!("\"{new}\"")));
    assert_ne!(new, old);
    // Who comes second learns what it stands for now.
    let late = put(address, "law", &format!("if-match: \"{old}\"\r\n"), "tax").await;
    assert_eq!(late.status, 412);
    assert!(late.json()["error"]["message"].as_str().unwrap().contains(&new));
    assert_eq!(text(address, "law", PRESS).await.1, text(address, "tax", PRESS).await.1);
    assert_eq!(put(address, "new", "if-match: *\r\n", "tax").await.status, 412);
    assert_eq!(put(address, "new", "if-none-match: *\r\n", "tax").await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_adapter_that_does_not_fit_is_refused_by_the_name_of_a_tensor() {
    let (scratch, address) = server().await;
    let folder = scratch.path().join("adapters/other");
    let other = testing::tiny_of("qwen3", 1).unwrap();
    let config = LoraConfig::default();
    let lora = testing::lora(&other, &config, 1).unwrap();
    lora.to_files(other.network(), &config).write(&folder).unwrap();
    let body = json!({"lora_name": "other", "lora_path": "other"}).to_string();
    let answer = with_key(address, "POST", "/v1/load_lora_adapter", ADMIN, &body).await;
    let error = answer.json()["error"].clone();
    assert_eq!((answer.status, &error["code"]), (422, &json!("adapter_does_not_fit")));
    let message = error["message"].as_str().unwrap();
    assert!(
        message.contains("proj") && !message.contains(&*scratch.path().to_string_lossy()),
        "{message}"
    );
    // Asking for it is no way round.
    assert_eq!(text(address, "other", PRESS).await.0.status, 422);
    // So is one whose bytes are none.
    fs::write(folder.join("adapter_model.safetensors"), b"nonsense").unwrap();
    let answer = with_key(address, "POST", "/v1/load_lora_adapter", ADMIN, &body).await;
    assert_eq!(answer.status, 422);
}

/// A source that takes requests and never answers.
#[derive(Debug)]
struct Silent;

impl AdapterSource for Silent {
    fn fetch<'s, 'n, 'f>(
        &'s self,
        _: &'n AdapterName,
        _: FileLimits,
    ) -> BoxFuture<'f, openledger_core::Result<AdapterFiles>>
    where
        's: 'f,
        'n: 'f,
        Self: 'f,
    {
        futures::future::pending().boxed()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_adapter_whose_source_is_silent_is_a_timeout() {
    let sources = Sources::new().with_default(Silent);
    let options = AdapterOptions::default().with_sources(sources);
    let short = ApiLimits::default().with_time(Duration::from_millis(50));
    // Whether the server allows no more or the request asks for no more.
    for (limits, body) in [
        (short, json!({"model": "law", "prompt": "x"})),
        (ApiLimits::default(), json!({"model": "law", "prompt": "x", "timeout": 0.05})),
    ] {
        let adapters = Adapters::with_options(model(), options.clone());
        let api = api().with_limits(limits).with_adapters(adapters, None).await.unwrap();
        let address = serve(api).await;
        let answer = crate::client::post(address, "/v1/completions", &body.to_string()).await;
        assert_eq!((answer.status, &answer.json()["error"]["code"]), (504, &json!("timeout")));
    }
}
