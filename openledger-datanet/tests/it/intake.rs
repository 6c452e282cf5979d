//! Files in, or one clear error.

use openledger_core::{ErrorKind, Row};
use openledger_datanet::{
    Draft, Limits,
    intake::{Fields, parse},
};
use proptest::prelude::*;

fn rows(name: &str, text: &str) -> Vec<Row> {
    let drafts = parse(name, text.as_bytes(), &Fields::Found, &Limits::default()).unwrap();
    drafts.into_iter().map(|draft| draft.row).collect()
}

fn error(name: &str, bytes: &[u8]) -> openledger_core::Error {
    parse(name, bytes, &Fields::Found, &Limits::default()).unwrap_err()
}

fn exchange(prompt: &str, completion: &str) -> Row {
    Row::exchange(prompt, completion).unwrap()
}

fn passage(text: &str) -> Row {
    Row::passage(text).unwrap()
}

#[test]
fn the_same_rows_come_out_of_every_kind_of_file() {
    let expected = [exchange("Why?", "It is so,\nmostly."), exchange("How?", "\"Thus\"")];
    for (name, text) in [
        (
            "a.jsonl",
            "{\"question\":\"Why?\",\"answer\":\"It is so,\\nmostly.\"}\n\n{\"answer\":\"\\\"Thus\\\"\",\"question\":\"How?\"}",
        ),
        (
            "a.JSON",
            r#"[{"Question":"Why?","ANSWER":"It is so,\nmostly."},{"Question":"How?","ANSWER":"\"Thus\""}]"#,
        ),
        (
            "b.json",
            r#"{"7":{"QUESTION":"Why?","LONG_ANSWER":["It is so,","mostly."],"n":1},"8":{"QUESTION":"How?","LONG_ANSWER":"\"Thus\"","n":null}}"#,
        ),
        (
            "a.csv",
            "\u{feff}id, question ,answer\r\n1,Why?,\"It is so,\r\nmostly.\"\r\n2,How?,\"\"\"Thus\"\"\"\r\n",
        ),
    ] {
        assert_eq!(rows(name, text), expected, "{name}");
    }
}

#[test]
fn paragraphs_are_rows() {
    assert_eq!(
        rows("a.txt", "one\ntwo\n\n \n# three\n"),
        [passage("one\ntwo"), passage("# three")]
    );
    let markdown = "# Bread\n\nKnead it.\nWell.\n## Crust\nSteam it.\n\n```\ncode\n\n# not a heading\n```\n#tag\n";
    assert_eq!(
        rows("a.md", markdown),
        [
            passage("Knead it.\nWell."),
            passage("Steam it."),
            passage("```\ncode\n\n# not a heading\n```\n#tag")
        ]
    );
}

#[test]
fn strings_and_single_records_are_rows_too() {
    assert_eq!(rows("a.json", r#"["one","two"]"#), [passage("one"), passage("two")]);
    assert_eq!(rows("a.json", r#"{"text":"one","n":1}"#), [passage("one")]);
    assert_eq!(rows("a.jsonl", "\"one\"\n"), [passage("one")]);
}

#[test]
fn the_parts_of_a_prompt_are_joined_and_may_be_empty() {
    let alpaca = r#"[{"instruction":"Add.","input":"1 2","output":"3"},{"instruction":"Greet.","input":"","output":"Hi"}]"#;
    assert_eq!(rows("a.json", alpaca), [exchange("Add.\n1 2", "3"), exchange("Greet.", "Hi")]);
}

#[test]
fn fields_can_be_named() {
    let fields = Fields::named(["title", "lead"], "story");
    let json = br#"[{"title":"T","lead":"L","story":"S","text":"other"}]"#;
    let drafts = parse("a.json", json, &fields, &Limits::default()).unwrap();
    assert_eq!(drafts[0].row, exchange("T\nL", "S"));
    let missing = parse("a.json", br#"[{"title":"T","story":"S"}]"#, &fields, &Limits::default());
    assert!(missing.unwrap_err().report().contains("no field `lead` among `story`, `title`"));
}

#[test]
fn drafts_know_where_they_come_from() {
    let text = "{\"text\":\"a\"}\n\n{\"text\":\"b\"}";
    let drafts: Vec<Draft> =
        parse("d/a.jsonl", text.as_bytes(), &Fields::Found, &Limits::default()).unwrap();
    assert_eq!(drafts[1].origin.to_string(), "d/a.jsonl:3");
}

#[test]
fn a_file_that_is_not_what_its_name_says_is_one_clear_error() {
    let png = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR";
    for (name, bytes, says) in [
        ("a.txt", &png[..], "image/png"),
        ("a.jsonl", png, "image/png"),
        ("a.txt", b"%PDF-1.7 text", "application/pdf"),
        ("a.csv", b"PK\x03\x04....", "application/zip"),
        ("a.txt", b"caf\xe9", "byte 3 is not UTF-8"),
        ("a.txt", b"a\0b", "zero bytes"),
        ("a.jsonl", b"{\"text\":\"a\"}\n{\"text\":", "line 2 is not JSON"),
        ("a.jsonl", b"question,answer\na,b\n", "line 1 is not JSON"),
        ("a.jsonl", b"[1]", "neither an object nor a string"),
        ("a.json", b"{\"text\":\"a\"}\n{\"text\":\"b\"}", "not JSON"),
        ("a.json", b"7", "neither an array"),
        ("a.json", b"[{\"text\":\"a\"},3]", "record 2"),
        ("a.csv", b"question,answer\na\n", "not comma-separated"),
        ("a.csv", b"{\"question\":\"a\"}\n", "which fields hold the text?"),
        ("a.json", br#"[{"a":1,"b":2}]"#, "found `a`, `b`: name them"),
        ("a.json", br#"[{"question":"a","answer":{"b":1}}]"#, "lacks the field `answer`"),
        ("a.json", br#"[{"question":"  ","answer":"b"}]"#, "without a prompt"),
        ("a.jsonl", b"\n\n", "holds no row"),
        ("a.md", b"# only\n## headings\n", "holds no row"),
        ("a.docx", b"text", "known: .jsonl"),
        ("rows", b"text", "known: .jsonl"),
    ] {
        let report = error(name, bytes).report();
        assert!(report.contains(says), "{name}: {report}");
        assert!(report.contains(name) && report.lines().count() == 1, "{report}");
    }
}

#[test]
fn limits_are_named() {
    let limits = Limits::default().with_submission(10);
    let error = parse("a.txt", b"eleven bytes", &Fields::Found, &limits).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Limit);
    assert!(error.to_string().contains("12, over the 10 bytes"), "{error}");
    let long = "x".repeat(300_000);
    let error = parse("a.txt", long.as_bytes(), &Fields::Found, &Limits::default()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Limit);
    assert!(error.to_string().contains("a.txt:1: a row of 300000 bytes"), "{error}");
}

#[test]
fn deeply_nested_json_is_an_error() {
    let deep = [vec![b'['; 100_000], vec![b']'; 100_000]].concat();
    assert_eq!(error("a.json", &deep).kind(), ErrorKind::Corrupt);
    assert_eq!(error("a.jsonl", &deep).kind(), ErrorKind::Corrupt);
}

proptest! {
    #[test]
    fn foreign_bytes_never_panic(
        bytes in prop::collection::vec(any::<u8>(), 0..200), ending in 0..5usize,
        text in "[\\PC\n\",{}\\[\\]:#`]{0,120}",
    ) {
        let name = ["a.jsonl", "a.json", "a.csv", "a.txt", "a.md"][ending];
        let _ = parse(name, &bytes, &Fields::Found, &Limits::default());
        let _ = parse(name, text.as_bytes(), &Fields::named(["a"], "b"), &Limits::default());
    }

    #[test]
    fn whatever_text_goes_into_json_and_csv_comes_out(
        pairs in prop::collection::vec(("[ -~é猫\n]{0,30}[!-~]", "[!-~][ -~é猫\n\"]{0,30}[!-~]"), 1..8)
    ) {
        let expected: Vec<Row> = pairs.iter().map(|(q, a)| exchange(q, a)).collect();
        let records: Vec<_> = pairs
            .iter()
            .map(|(q, a)| serde_json::json!({"question": q, "answer": a}).to_string())
            .collect();
        prop_assert_eq!(&rows("a.jsonl", &records.join("\n")), &expected);
        prop_assert_eq!(&rows("a.json", &format!("[{}]", records.join(","))), &expected);
        let quote = |text: &str| format!("\"{}\"", text.replace('"', "\"\""));
        let lines: Vec<String> =
            pairs.iter().map(|(q, a)| format!("{},{}", quote(q), quote(a))).collect();
        prop_assert_eq!(rows("a.csv", &format!("question,answer\n{}\n", lines.join("\n"))), expected);
    }
}
