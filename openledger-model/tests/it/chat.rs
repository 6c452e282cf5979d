//! Conversations to text and tokens.

use openledger_core::ErrorKind;
use openledger_model::{Chat, ChatTemplate, Json, Message, Tokenizer};
use proptest::prelude::*;

/// `ChatML`, as many checkpoints have it.
const CHATML: &str = "{% for message in messages %}\
    {{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n' }}\
    {% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}";

fn chatml() -> ChatTemplate {
    ChatTemplate::new(CHATML, br#"{"eos_token": "<|im_end|>"}"#).unwrap()
}

fn chat() -> Chat {
    Chat::new([
        Message::system("Be brief."),
        Message::user("One?"),
        Message::assistant("1"),
        Message::user("Two?"),
        Message::assistant("2"),
    ])
}

/// A byte-level tokenizer that knows `ChatML`'s tokens and begins every text with `<s>`.
fn tokenizer() -> Tokenizer {
    let plain = Tokenizer::train(&[], 258).unwrap();
    let mut json: serde_json::Value = serde_json::from_slice(&plain.to_json()).unwrap();
    let added = json["added_tokens"].as_array_mut().unwrap();
    for (id, content) in [(258, "<|im_start|>"), (259, "<|im_end|>")] {
        let mut token = added[0].clone();
        token["id"] = id.into();
        token["content"] = content.into();
        added.push(token);
    }
    Tokenizer::parse(json.to_string().as_bytes()).unwrap()
}

#[test]
fn chatml_is_rendered() {
    let expected = "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nOne?<|im_end|>\n";
    let two = Chat::new(&chat().messages[..2]);
    assert_eq!(chatml().render(&two, 0).unwrap().text, expected);
    let prompt = chatml().prompt(&two, 0).unwrap();
    assert_eq!(prompt, expected.to_owned() + "<|im_start|>assistant\n");
}

#[test]
fn a_configuration_holds_one_template_or_several_and_tokens_of_both_kinds() {
    let one = br#"{"chat_template": "{{ bos_token }}{{ eos_token }}",
        "bos_token": {"content": "<s>", "lstrip": false}, "eos_token": "</s>", "pad_token": null}"#;
    let one = ChatTemplate::parse(one).unwrap();
    assert_eq!(one.render(&chat(), 0).unwrap().text, "<s></s>");
    assert_eq!((one.special("bos_token"), one.special("pad_token")), (Some("<s>"), None));
    let several = br#"{"chat_template": [{"name": "default", "template": "plain"},
        {"name": "tool_use", "template": "{{ tools[0].name }}"}]}"#;
    let several = ChatTemplate::parse(several).unwrap();
    assert_eq!(several.render(&chat(), 0).unwrap().text, "plain");
    let tool = Json::parse(r#"{"name": "add"}"#).unwrap();
    assert_eq!(several.render(&chat().with_tools([tool]), 0).unwrap().text, "add");
    assert_eq!(ChatTemplate::parse(b"{}").unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(ChatTemplate::parse(b"[").unwrap_err().kind(), ErrorKind::Corrupt);
}

#[test]
fn a_folder_is_read_and_the_file_of_its_own_wins() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(ChatTemplate::open(&folder).unwrap_err().kind(), ErrorKind::NotFound);
    let config = br#"{"chat_template": "old", "bos_token": "<s>"}"#;
    std::fs::write(folder.path().join("tokenizer_config.json"), config).unwrap();
    let text = || ChatTemplate::open(&folder).unwrap().render(&chat(), 0).unwrap().text;
    assert_eq!(text(), "old");
    std::fs::write(folder.path().join("chat_template.jinja"), "{{ bos_token }}new").unwrap();
    assert_eq!(text(), "<s>new");
}

#[test]
fn what_a_template_refuses_is_the_error() {
    let source =
        "{% if messages[0].role != 'user' %}\n{{ raise_exception('user first') }}{% endif %}";
    let template = ChatTemplate::new(source, b"{}").unwrap();
    let error = template.render(&chat(), 0).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(
        error.report().contains("user first") && error.report().contains("line 2"),
        "{error:?}"
    );
}

#[test]
fn the_time_is_an_argument() {
    let template = ChatTemplate::new("{{ strftime_now('%d %b %Y') }}", b"{}").unwrap();
    assert_eq!(template.render(&chat(), 1_721_952_000).unwrap().text, "26 Jul 2024");
}

#[test]
fn generation_blocks_say_what_the_model_says() {
    let source = "{%- for m in messages %}\n    {%- if m.role == 'assistant' %}\n        \
        {%- generation %}\n        {{- m.content + '.' }}\n        {%- endgeneration %}\n    \
        {%- else %}[{{ m.content }}]{%- endif %}\n{%- endfor %}";
    let template = ChatTemplate::new(source, b"{}").unwrap();
    let rendered = template.render(&chat(), 0).unwrap();
    assert_eq!(rendered.text, "[Be brief.][One?]1.[Two?]2.");
    let said = rendered.generated.clone().unwrap();
    assert_eq!(said.iter().map(|s| &rendered.text[s.clone()]).collect::<Vec<_>>(), ["1.", "2."]);
    let (_, turns) = template.turns(&chat(), &["</s>"], 0).unwrap();
    assert_eq!(turns, said);
}

#[test]
fn turns_are_what_the_model_would_say_with_the_token_that_stops_it() {
    let (rendered, turns) = chatml().turns(&chat(), &["<|im_end|>"], 0).unwrap();
    let said: Vec<&str> = turns.iter().map(|turn| &rendered.text[turn.clone()]).collect();
    assert_eq!(said, ["1<|im_end|>", "2<|im_end|>"]);
    let (_, last) = chatml().last_turn(&chat(), &["<|im_end|>"], 0).unwrap();
    assert_eq!(last.as_ref(), turns.last());
    // Without knowing what stops the model, up to where the next message begins.
    let (rendered, turns) = chatml().turns(&chat(), &[], 0).unwrap();
    assert_eq!(&rendered.text[turns[0].clone()], "1<|im_end|>\n");
}

#[test]
fn a_template_that_rewrites_what_was_said_is_found_out() {
    // The first message is written otherwise as soon as there are more.
    let source = "{% for m in messages %}{{ loop.length }}{{ m.content }};{% endfor %}";
    let template = ChatTemplate::new(source, b"{}").unwrap();
    let error = template.turns(&chat(), &[], 0).unwrap_err();
    assert!(error.report().contains("message 3 begins otherwise"), "{error:?}");
}

#[test]
fn special_tokens_are_parsed_and_no_second_beginning_is_added() {
    let tokenizer = tokenizer();
    let source = format!("{{{{ bos_token }}}}{CHATML}");
    let template = ChatTemplate::new(&source, br#"{"bos_token": "<s>"}"#).unwrap();
    let (rendered, turns) = template.turns(&chat(), &["<|im_end|>"], 0).unwrap();
    let tokens = rendered.tokens(&tokenizer, &turns).unwrap();
    let [begin, start, end] =
        ["<s>", "<|im_start|>", "<|im_end|>"].map(|token| tokenizer.token(token).unwrap());
    assert_eq!(tokens.tokens.iter().filter(|&&token| token == begin).count(), 1);
    assert_eq!(tokens.tokens[0], begin);
    assert_eq!(tokens.tokens.iter().filter(|&&token| token == start).count(), 5);
    let said: Vec<u32> = tokens.labels().into_iter().flatten().collect();
    let text = |text: &str| tokenizer.encode(text, false).unwrap();
    assert_eq!(said, [text("1"), vec![end], text("2"), vec![end]].concat());
}

#[test]
fn hostile_templates_end_in_an_error() {
    for (source, kind) in [
        (
            "{% for a in range(100000) %}{% for b in range(100000) %}{% endfor %}{% endfor %}",
            ErrorKind::Limit,
        ),
        ("{% for a in range(90000) %}{{ 'x' * 1000 }}{% endfor %}", ErrorKind::Limit),
        ("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", ErrorKind::Invalid),
        ("{{ 'x' * 10000000000 }}", ErrorKind::Invalid),
        ("{{ messages.a.b }}", ErrorKind::Invalid),
        ("{% include 'x' %}", ErrorKind::Invalid),
    ] {
        let template = ChatTemplate::new(source, b"{}").unwrap();
        assert_eq!(template.render(&chat(), 0).unwrap_err().kind(), kind, "{source}");
    }
    for source in ["{% if %}", "{{", "{% generation %}", "{% endgeneration %}"] {
        assert!(ChatTemplate::new(source, b"{}").is_err(), "{source}");
    }
    let long = "x".repeat((1 << 20) + 1);
    assert_eq!(ChatTemplate::new(&long, b"{}").unwrap_err().kind(), ErrorKind::Limit);
    let deep = "(".repeat(100_000);
    assert!(ChatTemplate::new(&format!("{{{{ {deep}"), b"{}").is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn any_template_is_text_or_an_error(source in "(\\{%|\\{\\{|%\\}|\\}\\}|[a-z .|()'-]|for|if|endif|generation|endgeneration|messages){0,30}") {
        if let Ok(template) = ChatTemplate::new(&source, b"{}") {
            let _ = template.turns(&chat(), &["</s>"], 0);
        }
    }

    #[test]
    fn the_model_learns_what_it_says_and_nothing_else(
        said in prop::collection::vec(("[^<]{0,12}", "[^<]{0,12}"), 1..4),
    ) {
        let tokenizer = tokenizer();
        let messages: Vec<Message> =
            said.iter().flat_map(|(q, a)| [Message::user(q), Message::assistant(a)]).collect();
        let (rendered, turns) = chatml().turns(&Chat::new(messages), &["<|im_end|>"], 0).unwrap();
        let tokens = rendered.tokens(&tokenizer, &turns).unwrap();
        let end = tokenizer.token("<|im_end|>").unwrap();
        let mut expected = Vec::new();
        for (_, answer) in &said {
            expected.extend(tokenizer.encode(answer, false).unwrap());
            expected.push(end);
        }
        prop_assert_eq!(tokens.labels().into_iter().flatten().collect::<Vec<_>>(), expected);
    }
}
