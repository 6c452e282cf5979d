use std::sync::Arc;

use proptest::prelude::*;

use super::{Splitter, ToolFormat};

const FORMATS: [ToolFormat; 3] = [ToolFormat::Hermes, ToolFormat::Llama, ToolFormat::Mistral];

fn splitter(format: ToolFormat) -> Splitter {
    Splitter::new(format, Arc::from(["add".to_owned(), "now".to_owned()]), true)
}

/// Returns the text and the calls, `name(arguments)`, of an answer that comes in these pieces.
fn split<'a>(
    mut splitter: Splitter,
    pieces: impl IntoIterator<Item = &'a str>,
) -> (String, Vec<String>) {
    let mut text = String::new();
    for piece in pieces {
        text.push_str(&splitter.push(piece));
    }
    let (rest, calls) = splitter.finish();
    text.push_str(&rest);
    (text, calls.iter().map(|call| format!("{}({})", call.name, call.arguments)).collect())
}

#[test]
fn calls_of_every_family_are_found() {
    let two = ["add({\"b\":1,\"a\":2})", "now({})"];
    for (format, answer, text, calls) in [
        (
            ToolFormat::Hermes,
            "So:\n<tool_call>\n{\"name\": \"add\", \"arguments\": {\"b\": 1, \"a\": 2}}\n</tool_call>\n\
             <tool_call>{\"name\": \"now\", \"arguments\": {}}</tool_call>",
            "So:\n",
            &two[..],
        ),
        (
            ToolFormat::Hermes,
            "<tool_call>{\"name\": \"now\", \"arguments\": \"{}\"}",
            "",
            &two[1..],
        ),
        (ToolFormat::Llama, "{\"name\": \"now\", \"parameters\": {}}", "", &two[1..]),
        (
            ToolFormat::Llama,
            "<|python_tag|>{\"name\": \"add\", \"parameters\": {\"b\": 1, \"a\": 2}}; \
             {\"name\": \"now\", \"parameters\": {}}",
            "",
            &two[..],
        ),
        (
            ToolFormat::Mistral,
            "[TOOL_CALLS] [{\"name\": \"add\", \"arguments\": {\"b\": 1, \"a\": 2}}, \
             {\"name\": \"now\", \"arguments\": {}}]",
            "",
            &two[..],
        ),
        (
            ToolFormat::Mistral,
            "Well[TOOL_CALLS]add[CALL_ID]x1[ARGS]{\"b\": 1, \"a\": 2}[TOOL_CALLS]now{}",
            "Well",
            &two[..],
        ),
    ] {
        let expected = (text.to_owned(), calls.iter().map(|&call| call.to_owned()).collect());
        assert_eq!(split(splitter(format), [answer]), expected, "{answer}");
    }
}

#[test]
fn what_is_no_call_of_an_offered_tool_is_text() {
    for (format, answer) in [
        (ToolFormat::Hermes, "<tool_call>{\"name\": \"rm\", \"arguments\": {}}</tool_call>"),
        (ToolFormat::Hermes, "<tool_call>{\"name\": \"now\"}</tool_call>"),
        (ToolFormat::Hermes, "<tool_call>nonsense"),
        (ToolFormat::Hermes, "a < b, <tool_"),
        (ToolFormat::Llama, "{\"name\": \"Amara\", \"parameters\": {}}"),
        (ToolFormat::Llama, "{\"answer\": 4}"),
        (ToolFormat::Llama, "{\"name\": \"now\", \"parameters\": {}} and so on"),
        (ToolFormat::Mistral, "[TOOL_CALLS]"),
        (ToolFormat::Mistral, "[TOOL_CALLS] now"),
    ] {
        assert_eq!(split(splitter(format), [answer]), (answer.to_owned(), vec![]), "{answer}");
    }
}

#[test]
fn one_call_is_enough_where_more_are_not_wanted() {
    let splitter = Splitter::new(ToolFormat::Llama, Arc::from(["now".to_owned()]), false);
    let answer = "{\"name\": \"now\", \"parameters\": {}};{\"name\": \"now\", \"parameters\": {}}";
    assert_eq!(split(splitter, [answer]).1.len(), 1);
}

#[test]
fn templates_tell_their_format() {
    assert_eq!(ToolFormat::of_template("..<tool_call></tool_call>.."), Some(ToolFormat::Hermes));
    assert_eq!(ToolFormat::of_template("'[TOOL_CALLS] ['"), Some(ToolFormat::Mistral));
    assert_eq!(ToolFormat::of_template("{{ '<|python_tag|>' }}"), Some(ToolFormat::Llama));
    assert_eq!(ToolFormat::of_template("{{ messages }}"), None);
}

proptest! {
    #[test]
    fn nothing_is_lost_and_pieces_do_not_matter(
        answer in r#"([a-z\n <\[{}"]|<tool_call>|</tool_call>|\[TOOL_CALLS\]|<\|python_tag\|>|\{"name": "now", "(arguments|parameters)": \{\}\}|ü|;){0,12}"#,
        cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..6),
    ) {
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(answer.len() + 1)).collect();
        cuts.retain(|&cut| answer.is_char_boundary(cut));
        cuts.sort_unstable();
        let mut from = 0;
        let mut pieces = Vec::new();
        for cut in cuts.into_iter().chain([answer.len()]) {
            pieces.push(&answer[from..cut]);
            from = cut;
        }
        for format in FORMATS {
            let (text, calls) = split(splitter(format), [&answer[..]]);
            prop_assert_eq!(&split(splitter(format), pieces.clone()), &(text.clone(), calls.clone()));
            prop_assert!(answer.starts_with(&text));
            prop_assert!(!calls.is_empty() || text == answer);
        }
    }

    #[test]
    fn any_text_is_calls_or_not(text in r#"\PC{0,60}|[\[\]{}"a:,; <>|/_A-Z]{0,60}"#) {
        for format in FORMATS {
            for call in format.parse(&text).into_iter().flatten() {
                let is_object = call.arguments.starts_with('{');
                prop_assert!(!call.name.is_empty() && is_object);
            }
        }
    }
}
