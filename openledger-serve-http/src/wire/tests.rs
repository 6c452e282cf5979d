use openledger_model::Json;
use openledger_serve::{Constraint, Sampling};
use proptest::prelude::*;

use super::{ChatRequest, CompletionRequest, Prompt, fields::parse};
use crate::ApiLimits;

fn chat(more: &str) -> Result<ChatRequest, String> {
    let text =
        format!(r#"{{"model": "m", "messages": [{{"role": "user", "content": "x"}}]{more}}}"#);
    let json = parse(text.as_bytes(), 64).map_err(|e| e.to_json().to_string())?;
    ChatRequest::read(&json, &ApiLimits::default()).map_err(|e| e.to_json().to_string())
}

fn completion(prompt: &str, more: &str) -> Result<CompletionRequest, String> {
    let text = format!(r#"{{"model": "m", "prompt": {prompt}{more}}}"#);
    let json = parse(text.as_bytes(), 64).map_err(|e| e.to_json().to_string())?;
    CompletionRequest::read(&json, &ApiLimits::default()).map_err(|e| e.to_json().to_string())
}

#[test]
fn a_field_that_is_wrong_is_named() {
    for (more, param) in [
        (r#", "temperature": 3"#, "temperature"),
        (r#", "temperature": "hot""#, "temperature"),
        (r#", "n": 0"#, "n"),
        (r#", "n": 17"#, "n"),
        (r#", "max_tokens": -1"#, "max_tokens"),
        (r#", "max_completion_tokens": 1.5"#, "max_completion_tokens"),
        (r#", "stop": 7"#, "stop"),
        (r#", "stop": [""]"#, "stop"),
        (r#", "seed": 0.5"#, "seed"),
        (r#", "stream": 1"#, "stream"),
        (r#", "stream_options": {}"#, "stream_options"),
        (r#", "stream": true, "stream_options": 1"#, "stream_options"),
        (r#", "logprobs": true, "top_logprobs": 21"#, "top_logprobs"),
        (r#", "tools": [{}]"#, "tools[0].type"),
        (
            r#", "tools": [{"type": "function", "function": {"name": "a b"}}]"#,
            "tools[0].function.name",
        ),
        (r#", "messages": []"#, "messages"),
        (r#", "messages": [{"role": "user"}]"#, "messages[0].content"),
        (r#", "messages": [{"content": "x"}]"#, "messages[0].role"),
        (
            r#", "messages": [{"role": "user", "content": [{"type": "image_url"}]}]"#,
            "messages[0].content",
        ),
        (r#", "model": 7"#, "model"),
        (r#", "guided_grammar": "root ::= x""#, "guided_grammar"),
        (r#", "top_p": 1.5"#, "top_p"),
        (r#", "min_p": -1"#, "min_p"),
        (r#", "frequency_penalty": 3"#, "frequency_penalty"),
        (r#", "logit_bias": {"a": 1}"#, "logit_bias.a"),
        (r#", "logit_bias": {"7": 101}"#, "logit_bias.7"),
        (r#", "response_format": {"type": "xml"}"#, "response_format.type"),
        (
            r#", "response_format": {"type": "json_schema", "json_schema": {}}"#,
            "response_format.json_schema.schema",
        ),
        (r#", "guided_choice": [1]"#, "guided_choice"),
        (r#", "guided_regex": "a", "guided_choice": ["b"]"#, "response_format"),
        (r#", "functions": [{"name": "f"}]"#, "functions"),
        (r#", "modalities": ["text", "audio"]"#, "modalities"),
        (r#", "top_logprobs": 2"#, "top_logprobs"),
        (r#", "timeout": 0"#, "timeout"),
    ] {
        let error = chat(more).unwrap_err();
        assert!(error.contains(&format!(r#""param":"{param}""#)), "{more}: {error}");
    }
}

#[test]
fn what_clients_send_beside_is_passed_over() {
    let request = chat(
        r#", "user": "u", "metadata": {"a": 1}, "store": false, "service_tier": "auto", "n": null,
            "tools": null, "functions": null, "suffix": "", "never_heard_of": [1],
            "modalities": ["text"], "top_k": -1, "stop": null"#,
    );
    let request = request.unwrap();
    assert_eq!((request.settings.n, request.tools.len()), (1, 0));
    assert_eq!((request.settings.max_tokens, request.settings.seed), (None, None));
}

#[test]
fn how_tokens_are_chosen_and_what_form_the_answer_has() {
    let settings = chat(
        r#", "top_p": 0.5, "min_p": 0.1, "repetition_penalty": 1.5, "frequency_penalty": -1,
            "presence_penalty": 2, "logit_bias": {"7": -100}, "min_tokens": 3,
            "response_format": {"type": "json_schema", "json_schema": {"schema": {"type": "null"}}}"#,
    )
    .unwrap()
    .settings;
    let asked = settings.request(vec![1], 9, 4);
    let sampling = Sampling::with_temperature(1.0, 4)
        .with_top_p(0.5)
        .with_min_p(0.1)
        .with_repetition_penalty(1.5)
        .with_frequency_penalty(-1.0)
        .with_presence_penalty(2.0)
        .with_bias(7, -100.0);
    assert_eq!((asked.sampling, asked.min_tokens), (sampling, 3));
    assert_eq!(asked.constraint, Constraint::json_schema(r#"{"type":"null"}"#).ok());
    let json = chat(r#", "response_format": {"type": "json_object"}"#).unwrap().settings;
    assert_eq!(json.request(vec![1], 9, 4).constraint, Some(Constraint::json()));
}

#[test]
fn messages_come_as_templates_read_them() {
    let request = chat(
        r#", "messages": [
            {"role": "developer", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
            {"role": "assistant", "tool_calls": [
                {"id": "1", "function": {"name": "f", "arguments": "{\"z\": 1, \"a\": 2}"}}]},
            {"role": "tool", "tool_call_id": "1", "content": "3"}]"#,
    )
    .unwrap();
    let [first, second, _] = &request.chat.messages[..] else { panic!("{:?}", request.chat) };
    assert_eq!((first.role(), first.content()), ("system", Some("ab")));
    let calls = second.get("tool_calls").unwrap().to_string();
    assert!(calls.contains(r#""arguments":{"z":1,"a":2}"#), "{calls}");
}

#[test]
fn prompts_are_texts_or_tokens_one_or_several() {
    let read = |prompt: &str| completion(prompt, "").map(|request| request.prompts);
    let text = |text: &str| Prompt::Text(text.to_owned());
    assert_eq!(read(r#""a""#).unwrap(), [text("a")]);
    assert_eq!(read(r#"["a", "b"]"#).unwrap(), [text("a"), text("b")]);
    assert_eq!(read("[1, 2]").unwrap(), [Prompt::Tokens(vec![1, 2])]);
    assert_eq!(read("[[1], [2, 3]]").unwrap()[1], Prompt::Tokens(vec![2, 3]));
    for wrong in ["[]", "7", "[1, \"a\"]", "[-1]", "[4294967296]", "{}", "[[\"a\"]]", "null"] {
        assert!(read(wrong).unwrap_err().contains(r#""param":"prompt""#), "{wrong}");
    }
    assert!(completion(r#"["a", "b", "c"]"#, r#", "n": 6"#).unwrap_err().contains("18 answers"));
    assert_eq!(completion(r#""a""#, "").unwrap().settings.max_tokens, Some(16));
}

#[test]
fn depth_is_counted_outside_of_texts() {
    let nested = |levels: usize| format!("{{\"a\":{}1{}}}", "[".repeat(levels), "]".repeat(levels));
    assert!(parse(nested(63).as_bytes(), 64).is_ok());
    let error = parse(nested(64).as_bytes(), 64).unwrap_err().to_json().to_string();
    assert!(error.contains("more than 64 levels"), "{error}");
    assert!(parse(nested(100_000).as_bytes(), 64).is_err());
    assert!(parse(format!(r#"{{"a": "{}\"["}}"#, "[{".repeat(500)).as_bytes(), 64).is_ok());
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = parse(&bytes, 64);
    }

    #[test]
    fn any_value_of_any_field_is_read_or_refused_with_a_name(
        name in "[a-z_]{1,20}|n|stop|seed|tools|messages|prompt|stream|logprobs|top_logprobs|timeout",
        value in r#"null|true|-?[1-9][0-9]{0,18}|[0-9]\.[0-9]{1,3}|"[a-z]{0,5}"|\[\]|\{\}|\[\[1\]\]|\[\{"role":"user"\}\]"#,
    ) {
        let more = format!(r#", "{name}": {value}"#);
        for error in [chat(&more).err(), completion("\"a\"", &more).err()].into_iter().flatten() {
            prop_assert!(error.contains(r#""param":""#), "{}", error);
        }
    }

    #[test]
    fn what_is_deep_is_what_nests(text in r#"[\[\]{}",:\\a1 ]{0,60}"#) {
        if let Ok(json) = Json::parse(&text) {
            fn depth(json: &Json) -> usize {
                match json {
                    Json::Array(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
                    Json::Object(fields) => 1 + fields.iter().map(|(_, v)| depth(v)).max().unwrap_or(0),
                    _ => 0,
                }
            }
            let deep = depth(&json);
            if matches!(json, Json::Object(_)) {
                prop_assert!(parse(text.as_bytes(), deep).is_ok());
                prop_assert!(parse(text.as_bytes(), deep - 1).is_err());
            }
        }
    }
}
