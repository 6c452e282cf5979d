//! Whole answers.

use openledger_serve::{End, Event, Finish, Logprobs};
use serde_json::json;

use crate::client::{BASE, Script, api, get, post, serve};

#[tokio::test(flavor = "multi_thread")]
async fn chats_and_completions_of_the_engine_have_openais_shape() {
    let address = serve(api()).await;
    let body = format!(
        r#"{{"model": "{BASE}", "messages": [{{"role": "user", "content": "Hi"}}], "max_tokens": 5,
            "temperature": 0, "ignore_eos": true}}"#
    );
    let answer = post(address, "/v1/chat/completions", &body).await;
    let chat = answer.json();
    assert_eq!(answer.status, 200, "{chat}");
    assert_eq!(chat["object"], "chat.completion");
    assert_eq!(chat["choices"][0]["message"]["role"], "assistant");
    let usage = &chat["usage"];
    // "user: Hi\n" in bytes, and what the template begins with is its own affair.
    assert_eq!(usage["prompt_tokens"], 9);
    let used = usage["completion_tokens"].as_u64().unwrap();
    assert!((1..=5).contains(&used));
    assert_eq!(usage["total_tokens"], 9 + used);
    assert!(answer.header("x-request-id").unwrap().starts_with("req_"));

    let body = format!(
        r#"{{"model": "{BASE}", "prompt": ["a", "bc"], "n": 2, "seed": 3, "max_tokens": 3}}"#
    );
    let text = post(address, "/v1/completions", &body).await.json();
    assert_eq!(text["object"], "text_completion");
    let choices = text["choices"].as_array().unwrap();
    let indices: Vec<_> = choices.iter().map(|choice| choice["index"].as_u64().unwrap()).collect();
    assert_eq!(indices, [0, 1, 2, 3]);
    // Each prompt is told once, with the token that begins it; the counter has what was read for each answer.
    assert_eq!(text["usage"]["prompt_tokens"], 5);
    let again = post(address, "/v1/completions", &body).await.json();
    assert_eq!(again["choices"], text["choices"], "the seed decides");

    let metrics = get(address, "/metrics").await.body;
    assert!(metrics.contains("openledger_prompt_tokens_total 29"), "{metrics}");
    assert!(
        metrics.contains(r#"openledger_requests_total{route="/v1/completions",status="200"} 2"#),
        "{metrics}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_asked_reaches_the_engine() {
    let script = Script::saying(&["x"]);
    let address = serve(script.api()).await;
    let body = json!({
        "model": BASE, "prompt": [1, 2, 3], "max_tokens": 9, "stop": ["END", "\n"], "ignore_eos": true,
        "temperature": 0.5, "top_k": 4, "seed": -1, "timeout": 2,
    });
    let answer = post(address, "/v1/completions", &body.to_string()).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let asked = script.last();
    assert_eq!(asked.prompt, [1, 2, 3]);
    assert_eq!((asked.max_tokens, asked.ignore_eos), (9, true));
    assert_eq!(asked.stop, ["END", "\n"]);
    assert_eq!((asked.sampling.temperature, asked.sampling.top_k), (0.5, Some(4)));
    assert_eq!(asked.sampling.seed, u64::MAX);
    assert!(
        asked.deadline.unwrap() <= std::time::Instant::now() + std::time::Duration::from_secs(3)
    );
    assert!(asked.adapter.is_none() && asked.tenant.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chat_may_be_as_long_as_the_model_holds() {
    let script = Script::saying(&["x"]);
    let address = serve(script.api()).await;
    let body = json!({"model": BASE, "messages": [{"role": "user", "content": "Hi"}]});
    post(address, "/v1/chat/completions", &body.to_string()).await;
    assert_eq!(script.last().max_tokens, 512 - 9);
    let body = json!({"model": BASE, "messages": [{"role": "user", "content": "x".repeat(600)}]});
    let answer = post(address, "/v1/chat/completions", &body.to_string()).await;
    assert_eq!(
        (answer.status, &answer.json()["error"]["code"]),
        (400, &json!("context_length_exceeded"))
    );
}

/// What OpenAI's API calls a prompt that is too long.
const CODE: &str = "context_length_exceeded";

#[tokio::test(flavor = "multi_thread")]
async fn megabytes_of_text_are_refused_before_they_are_split() {
    let address = serve(Script::saying(&["x"]).api()).await;
    let text = "a word ".repeat(500_000);
    let messages = json!([{"role": "user", "content": text}]);
    for (path, field, asked) in [
        ("/v1/completions", "prompt", json!({"model": BASE, "prompt": text})),
        ("/v1/chat/completions", "messages", json!({"model": BASE, "messages": messages})),
        ("/v1/embeddings", "input", json!({"model": BASE, "input": [text]})),
    ] {
        let answer = post(address, path, &asked.to_string()).await;
        let error = &answer.json()["error"];
        assert_eq!((answer.status, &error["param"]), (400, &json!(field)));
        // Of what is split to its end the number of tokens is told.
        let what = if field == "input" { "text" } else { "prompt" };
        let message = format!("the {what} has more than 512 tokens, the model holds 512");
        assert_eq!((&error["message"], &error["code"]), (&json!(message), &json!(CODE)));
    }
    // A little too long, it is told alike.
    let asked = json!({"model": BASE, "input": "x".repeat(600)});
    let answer = post(address, "/v1/embeddings", &asked.to_string()).await;
    let error = &answer.json()["error"];
    assert_eq!((&error["param"], &error["code"]), (&json!("input"), &json!(CODE)));
    assert_eq!(error["message"], "the text has 601 tokens, the model holds 512");
}

#[tokio::test(flavor = "multi_thread")]
async fn probabilities_come_in_the_shape_of_each_route() {
    let script = Script::new(|| {
        let told = Logprobs::new(-0.5, vec![(65, -0.5), (66, f32::NEG_INFINITY)]);
        let end = End::new(Finish::Length, 2, 1);
        vec![Ok(Event::token(65, "A").with_logprobs(told)), Ok(Event::End(end))]
    });
    let address = serve(script.api()).await;
    let token = |token: u32| {
        openledger_model::testing::tiny(1).unwrap().tokenizer().spell(&[token]).unwrap()
    };
    let body = json!({
        "model": BASE, "messages": [{"role": "user", "content": "x"}], "logprobs": true, "top_logprobs": 2,
    });
    let chat = post(address, "/v1/chat/completions", &body.to_string()).await.json();
    let one = &chat["choices"][0]["logprobs"]["content"][0];
    assert_eq!((&one["token"], &one["logprob"]), (&json!(token(65)), &json!(-0.5)));
    assert_eq!(one["bytes"], json!(token(65).as_bytes()));
    assert_eq!(one["top_logprobs"][1]["token"], token(66));
    assert_eq!(one["top_logprobs"][1]["logprob"], -9999.0);
    assert_eq!(chat["choices"][0]["finish_reason"], "length");
    assert_eq!(script.last().logprobs, Some(2));

    let body = json!({"model": BASE, "prompt": "x", "logprobs": 2});
    let text = post(address, "/v1/completions", &body.to_string()).await.json();
    let told = &text["choices"][0]["logprobs"];
    assert_eq!((&told["tokens"], &told["text_offset"]), (&json!([token(65)]), &json!([0])));
    assert_eq!(told["top_logprobs"][0][token(65)], -0.5);
}

#[tokio::test(flavor = "multi_thread")]
async fn probabilities_that_nobody_tells_are_an_error() {
    let address = serve(Script::saying(&["x"]).api()).await;
    let body = json!({"model": BASE, "prompt": "x", "logprobs": 2});
    let answer = post(address, "/v1/completions", &body.to_string()).await;
    assert_eq!((answer.status, &answer.json()["error"]["param"]), (501, &json!("logprobs")));
}
