//! What hostile clients do, one test for each.

use std::{fs, time::Duration};

use openledger_http::Limits;
use openledger_serve::Event;
use openledger_serve_http::{ApiLimits, Keys};
use proptest::test_runner::{Config, TestRunner};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::{
    adapters::{ADMIN, COURT, PRESS, server, write},
    client::{BASE, Script, api, get, post, raw, request, serve, serve_within, with_key},
};

#[tokio::test(flavor = "multi_thread")]
async fn paths_and_names_do_not_lead_out_of_the_folder() {
    let (scratch, address) = server().await;
    write(&scratch.path().join("secret"), 9);
    let outside = scratch.path().join("secret").to_string_lossy().into_owned();
    for (name, path, status) in [
        ("x", "../secret", 403),
        ("x", "law/../../secret", 403),
        ("x", &*outside, 403),
        ("x", "/etc", 403),
        ("x", "..", 403),
        ("x", "nothing", 404),
        ("../x", "law", 400),
        ("a/b", "law", 400),
        (".x", "law", 400),
        ("", "law", 400),
        ("x\ny", "law", 400),
    ] {
        let body = json!({"lora_name": name, "lora_path": path}).to_string();
        let answer = with_key(address, "POST", "/v1/load_lora_adapter", ADMIN, &body).await;
        assert_eq!(answer.status, status, "{name:?} {path:?}: {answer:?}");
        assert!(!answer.body.contains(&*scratch.path().to_string_lossy()), "{answer:?}");
    }
    for name in ["../secret", "%2e%2e%2fsecret", "..", "/etc/passwd", "law/../../secret", "."] {
        let body = json!({"model": name, "prompt": "x"}).to_string();
        assert_eq!(with_key(address, "POST", "/v1/completions", PRESS, &body).await.status, 404);
        let path = format!("/v1/models/{name}");
        assert_eq!(with_key(address, "GET", &path, PRESS, "").await.status, 404);
    }
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread")]
async fn links_do_not_lead_out_of_the_folder() {
    use std::os::unix::fs::symlink;
    let (scratch, address) = server().await;
    let adapters = scratch.path().join("adapters");
    write(&scratch.path().join("secret"), 9);
    symlink(scratch.path().join("secret"), adapters.join("folder")).unwrap();
    fs::create_dir(adapters.join("files")).unwrap();
    for file in ["adapter_config.json", "adapter_model.safetensors"] {
        symlink(scratch.path().join("secret").join(file), adapters.join("files").join(file))
            .unwrap();
    }
    symlink("law", adapters.join("inside")).unwrap();
    for (path, status) in [("folder", 403), ("files", 403), ("inside", 200)] {
        let body = json!({"lora_name": "x", "lora_path": path}).to_string();
        let answer = with_key(address, "POST", "/v1/load_lora_adapter", ADMIN, &body).await;
        assert_eq!(answer.status, status, "{path}: {answer:?}");
    }
}

/// A file of tensors that begins with this header.
fn tensors(header: &str, data: usize) -> Vec<u8> {
    let length = (header.len() as u64).to_le_bytes();
    [&length[..], header.as_bytes(), &vec![0; data]].concat()
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_lie_about_their_sizes_are_refused_and_nothing_is_taken_for_them() {
    let (scratch, address) = server().await;
    let folder = scratch.path().join("adapters/lies");
    write(&folder, 1);
    let file = folder.join("adapter_model.safetensors");
    let one = |shape: &str, offsets: &str| {
        format!(r#"{{"a": {{"dtype": "F32", "shape": {shape}, "data_offsets": {offsets}}}}}"#)
    };
    let name = "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight";
    for lie in [
        Vec::new(),
        u64::MAX.to_le_bytes().to_vec(),
        [&(1u64 << 40).to_le_bytes()[..], b"{}"].concat(),
        tensors(&one("[4]", "[0, 18446744073709551615]"), 16),
        tensors(&one("[4]", "[16, 0]"), 16),
        tensors(&one("[1099511627776]", "[0, 4398046511104]"), 16),
        tensors(&one("[4294967296, 4294967296, 4294967296]", "[0, 16]"), 16),
        tensors(&one("[1024]", "[0, 16]"), 16),
        tensors(&one("[4]", "[0, 16]").replace("\"a\"", &format!("\"{name}\"")), 16),
        tensors(&"[".repeat(100_000), 0),
        tensors(&format!("{{{}}}", r#""x": {},"#.repeat(1000)), 0),
    ] {
        fs::write(&file, &lie).unwrap();
        let body =
            json!({"lora_name": "lies", "lora_path": "lies", "load_inplace": true}).to_string();
        let loaded = with_key(address, "POST", "/v1/load_lora_adapter", ADMIN, &body).await;
        assert_eq!(loaded.status, 422, "{} bytes: {loaded:?}", lie.len());
    }
    // One of a terabyte, which takes no room on the disk, is not read.
    fs::File::create(&file).unwrap().set_len(1 << 40).unwrap();
    let body = json!({"lora_name": "lies", "lora_path": "lies", "load_inplace": true}).to_string();
    let loaded = with_key(address, "POST", "/v1/load_lora_adapter", ADMIN, &body).await;
    assert_eq!(
        (loaded.status, &loaded.json()["error"]["code"]),
        (422, &json!("adapter_too_large")),
        "{loaded:?}"
    );
    // Nobody got it, and the others are as they were.
    for (model, status) in [("lies", 422), ("law", 200)] {
        let body = json!({"model": model, "prompt": "x", "max_tokens": 1}).to_string();
        let answer = with_key(address, "POST", "/v1/completions", PRESS, &body).await;
        assert_eq!(answer.status, status, "{answer:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_is_packed_is_not_unpacked() {
    let address = serve(api()).await;
    for encoding in ["gzip", "br", "zstd", "deflate, gzip"] {
        let headers = format!("content-encoding: {encoding}\r\n");
        let request = request("POST", "/v1/completions", &headers, "packed a thousand times");
        assert_eq!(raw(address, request.as_bytes()).await.status, 415);
    }
    let plain = request(
        "POST",
        "/v1/completions",
        "content-encoding: identity\r\n",
        &json!({"model": BASE, "prompt": "x", "max_tokens": 1}).to_string(),
    );
    assert_eq!(raw(address, plain.as_bytes()).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn json_that_is_small_and_takes_much_to_read_is_refused() {
    let address = serve(api()).await;
    let many =
        |count: usize, one: fn(usize) -> String| (0..count).map(one).collect::<Vec<_>>().join(",");
    let named = |n: usize| format!("\"{n}\":0");
    let values = format!("[{}]", many(1_500_000, |_| "0".to_owned()));
    for (field, value, param) in [
        ("prompt", values, "null"),
        ("logit_bias", format!("{{{}}}", many(200_000, named)), "logit_bias"),
        ("chat_template_kwargs", format!("{{{}}}", many(200_000, named)), "chat_template_kwargs"),
    ] {
        let body = format!(
            r#"{{"model": "{BASE}", "messages": [{{"role": "user", "content": "x"}}], "{field}": {value}}}"#
        );
        let answer = post(address, "/v1/chat/completions", &body).await;
        let found = answer.json()["error"]["param"].as_str().unwrap_or("null").to_owned();
        assert_eq!((answer.status, found.as_str()), (400, param), "{field}");
        assert!(answer.body.len() < 1000, "errors do not grow with what was sent");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_without_end_is_refused_at_the_limit() {
    let address = serve(api()).await;
    let head = "POST /v1/completions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n";
    // One that says it is large is refused before any of it comes.
    let said = raw(address, format!("{head}content-length: 1073741824\r\n\r\n").as_bytes()).await;
    assert_eq!(said.status, 413);
    // One that does not say is read no further than the limit.
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(format!("{head}transfer-encoding: chunked\r\n\r\n").as_bytes()).await.unwrap();
    let chunk = [b"10000\r\n".to_vec(), vec![b'['; 0x10000], b"\r\n".to_vec()].concat();
    let (mut reader, mut writer) = stream.into_split();
    let sent = tokio::spawn(async move {
        let mut sent = 0u64;
        while sent < 1 << 30 && writer.write_all(&chunk).await.is_ok() {
            sent += 0x10000;
        }
        sent
    });
    let mut status = [0; 12];
    reader.read_exact(&mut status).await.unwrap();
    assert_eq!(&status, b"HTTP/1.1 413");
    drop(reader);
    let sent = sent.await.unwrap();
    assert!(sent < 64 << 20, "{sent} bytes were taken");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_does_not_come_is_given_up() {
    let limits = ApiLimits::default().with_body(1000, Duration::from_millis(100));
    let address = serve(api().with_limits(limits)).await;
    let head = "POST /v1/completions HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: 9\r\n\r\n{";
    assert_eq!(raw(address, head.as_bytes()).await.status, 408);
}

#[tokio::test(flavor = "multi_thread")]
async fn deep_json_is_refused() {
    let address = serve(api()).await;
    for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
        for levels in [65, 100_000] {
            let deep = format!("{}1{}", open.repeat(levels), close.repeat(levels));
            let body = format!(r#"{{"model": "{BASE}", "prompt": {deep}}}"#);
            let answer = post(address, "/v1/completions", &body).await;
            assert_eq!(
                (answer.status, &answer.json()["error"]["code"]),
                (400, &json!("invalid_json"))
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_heads_and_floods_of_headers_are_ended() {
    let limits = Limits::default().with_head_time(Duration::from_millis(200)).with_connections(2);
    let address = serve_within(api(), limits).await;
    let mut slow = Vec::new();
    for _ in 0..2 {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(b"POST /v1/completions HTTP/1.1\r\nhost: ").await.unwrap();
        slow.push(stream);
    }
    // Both places are taken by nobody in particular, and become free.
    assert_eq!(get(address, "/health").await.status, 200);
    let flood: String = (0..10_000).map(|n| format!("x-{n}: 1\r\n")).collect();
    let said = raw(address, request("GET", "/health", &flood, "").as_bytes()).await;
    assert!(said.status == 431 || said.status == 0, "{said:?}");
    assert_eq!(get(address, "/health").await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn guessing_keys_is_slowed() {
    let keys = Keys::default().with_tenant("press", PRESS, None).unwrap();
    let limits = ApiLimits::default().with_failures(3, Duration::from_millis(700));
    let address = serve(api().with_keys(keys).with_limits(limits)).await;
    for guess in 0..3 {
        let key = format!("sk-guess-000000000{guess}");
        assert_eq!(with_key(address, "GET", "/v1/models", &key, "").await.status, 401);
    }
    // Now not even the right key tells that it is right.
    let refused = with_key(address, "GET", "/v1/models", PRESS, "").await;
    assert_eq!((refused.status, refused.header("retry-after")), (429, Some("1")));
    for _ in 0..1000 {
        if with_key(address, "GET", "/v1/models", PRESS, "").await.status == 200 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("the address stays refused");
}

#[tokio::test(flavor = "multi_thread")]
async fn guessing_the_administrators_key_is_slowed_where_others_need_none() {
    let keys = Keys::default().with_admin(ADMIN).unwrap();
    let limits = ApiLimits::default().with_failures(3, Duration::from_secs(60));
    let address = serve(api().with_keys(keys).with_limits(limits)).await;
    // A client that has to send some key guesses nothing.
    for _ in 0..10 {
        assert_eq!(with_key(address, "GET", "/v1/models", "sk-any", "").await.status, 200);
    }
    for guess in 0..3 {
        let key = format!("sk-guess-000000000{guess}");
        assert_eq!(with_key(address, "GET", "/v1/adapters", &key, "").await.status, 403);
    }
    assert_eq!(with_key(address, "GET", "/v1/adapters", ADMIN, "").await.status, 429);
    // Who sends none is no guesser.
    assert_eq!(get(address, "/v1/models").await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_tenant_asked_is_in_no_cache_of_anothers() {
    let keys = Keys::default().with_lines(&format!("press {PRESS}\ncourt {COURT}\n")).unwrap();
    let address = serve(api().with_keys(keys)).await;
    let secret = "the settlement is of seven million, to be paid on the first of May";
    let body =
        json!({"model": BASE, "prompt": secret, "max_tokens": 2, "ignore_eos": true}).to_string();
    let cached = async |key: &str| {
        let answer = with_key(address, "POST", "/v1/completions", key, &body).await.json();
        answer["usage"]["prompt_tokens_details"]["cached_tokens"].as_u64().unwrap()
    };
    assert_eq!(cached(PRESS).await, 0);
    assert!(cached(PRESS).await >= 32, "one's own is");
    assert_eq!(cached(COURT).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_neither_uses_nor_sees_what_is_not_theirs() {
    let (_scratch, address) = server().await;
    let body = |model: &str| json!({"model": model, "prompt": "x", "max_tokens": 1}).to_string();
    for (model, status) in [("law", 200), (BASE, 200), ("tax", 404), ("tiny:tax", 404)] {
        let answer = with_key(address, "POST", "/v1/completions", COURT, &body(model)).await;
        assert_eq!(answer.status, status, "{model}");
    }
    // What is not theirs is as if it did not exist.
    let hidden = with_key(address, "POST", "/v1/completions", COURT, &body("tax")).await.body;
    let unknown = with_key(address, "POST", "/v1/completions", COURT, &body("xat")).await.body;
    assert_eq!(hidden.replace("tax", "xat"), unknown);
    let list = with_key(address, "GET", "/v1/models", COURT, "").await.body;
    assert!(list.contains("law") && !list.contains("tax"), "{list}");
    assert_eq!(with_key(address, "GET", "/v1/models/tax", COURT, "").await.status, 404);
    assert_eq!(with_key(address, "GET", "/v1/models/tax", PRESS, "").await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_engine_is_told_whose_request_it_is() {
    let script = Script::saying(&["x"]);
    let keys = Keys::default().with_tenant("press", PRESS, None).unwrap();
    let address = serve(script.api().with_keys(keys)).await;
    let body =
        json!({"model": BASE, "prompt": "x", "tenant": "court", "user": "court"}).to_string();
    with_key(address, "POST", "/v1/completions", PRESS, &body).await;
    assert_eq!(script.last().tenant.as_deref(), Some("press"));
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_is_a_bad_request() {
    let address = serve(api()).await;
    for garbage in
        ["\0\0\0\0", "\u{feff}{}", "nul", "{\"model\": \"\\ud800\"}", "{} {}", "9", "\"x\""]
    {
        for path in ["/v1/chat/completions", "/v1/completions", "/v1/embeddings"] {
            assert_eq!(post(address, path, garbage).await.status, 400, "{garbage:?}");
        }
    }
    let runtime = tokio::runtime::Handle::current();
    let body = "(\\{\"model\": ?\"tiny\"(, ?\"(prompt|messages|n|stop|tools)\": ?(1|\"x\"|\\[\\]|\\{\\}|null))*\\})|\\PC{0,40}";
    let checked = tokio::task::spawn_blocking(move || {
        let mut runner = TestRunner::new(Config::with_cases(40));
        runner.run(&body, |body| {
            let answer = runtime.block_on(post(address, "/v1/completions", &body));
            assert!([200, 400].contains(&answer.status), "{body}: {answer:?}");
            Ok(())
        })
    });
    checked.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_leaves_frees_the_engine() {
    let script = Script::new(|| vec![Ok(Event::token(65, "A"))]).endless();
    let address = serve(script.api()).await;
    for stream in [true, false] {
        let body = json!({"model": BASE, "prompt": "x", "n": 2, "stream": stream}).to_string();
        let mut client = TcpStream::connect(address).await.unwrap();
        client.write_all(request("POST", "/v1/completions", "", &body).as_bytes()).await.unwrap();
        let asked = async {
            while script.open.load(std::sync::atomic::Ordering::SeqCst) < 2 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), asked).await.unwrap();
        drop(client);
        script.idle().await;
    }
    let metrics = get(address, "/metrics").await.body;
    assert!(metrics.contains("openledger_abandoned_total 4"), "{metrics}");
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_are_in_no_debug_text() {
    let keys =
        Keys::default().with_tenant("press", PRESS, None).unwrap().with_admin(ADMIN).unwrap();
    let shown = format!("{:?} {:?}", keys, api().with_keys(keys.clone()));
    assert!(shown.contains("press") && !shown.contains("0123456789"), "{shown}");
}
