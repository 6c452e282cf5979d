//! Data files to tokens.

use std::{io::Write, path::Path};

use openledger_core::{
    Address, B256, DatanetId, DatanetVersion, ErrorKind, Row, U256,
    message::{Grant, Scope, Verified},
};
use openledger_model::{ChatTemplate, Json, Model, Template, Tokens, testing};
use openledger_train::{
    Rows,
    data::{
        Column, ColumnMap, DataFile, DataOptions, DataStatistics, Encode, Example, LossMask, Marks,
        TokenFile, granted, show_mask,
    },
};
use proptest::prelude::*;

const CHATML: &str = "{% for m in messages %}<{{ m.role }}>{{ m.content }}</s>{% endfor %}\
    {% if add_generation_prompt %}<assistant>{% endif %}";

fn read(kind: &str, text: &str) -> Vec<openledger_core::Result<Example>> {
    read_with(kind, text.as_bytes(), &DataOptions::default())
}

fn read_with(
    kind: &str,
    bytes: &[u8],
    options: &DataOptions,
) -> Vec<openledger_core::Result<Example>> {
    match DataFile::read(kind, std::io::Cursor::new(bytes.to_vec()), "rows", options) {
        Ok(rows) => rows.collect(),
        Err(e) => vec![Err(e)],
    }
}

fn exchange(prompt: &str, completion: &str) -> Example {
    Example::Exchange { prompt: prompt.to_owned(), completion: completion.to_owned() }
}

fn one(kind: &str, text: &str) -> Example {
    let mut rows = read(kind, text);
    assert_eq!(rows.len(), 1, "{rows:?}");
    rows.remove(0).unwrap()
}

#[test]
fn formats_are_told_by_their_columns() {
    for (row, expected) in [
        (r#"{"instruction": "Add", "input": "1 2", "output": "3"}"#, exchange("Add\n\n1 2", "3")),
        (r#"{"instruction": "Add", "input": "", "output": "3"}"#, exchange("Add", "3")),
        (r#"{"prompt": "p", "completion": 7}"#, exchange("p", "7")),
        (r#"{"question": "q", "answer": "a", "label": "hard"}"#, exchange("q", "a")),
        (r#"{"text": "t", "prompt": "p"}"#, Example::Text("t".to_owned())),
        (r#""plain""#, Example::Text("plain".to_owned())),
        (
            r#"{"prompt": "p", "completion": "c", "label": false}"#,
            Example::Judged { answer: Box::new(exchange("p", "c")), good: false },
        ),
        (
            r#"{"prompt": "p", "chosen": "c", "rejected": "r"}"#,
            Example::Pair {
                chosen: Box::new(exchange("p", "c")),
                rejected: Box::new(exchange("p", "r")),
            },
        ),
    ] {
        assert_eq!(one("jsonl", row), expected, "{row}");
        assert_eq!(one("json", &format!("[{row}]")), expected, "{row}");
    }
    let shares = r#"{"conversations": [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}], "system": "s"}"#;
    let messages =
        r#"{"messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "q"},
        {"role": "assistant", "content": "a"}], "tools": [{"z": 1, "a": 2}]}"#
            .replace('\n', "");
    let [Example::Chat(one), Example::Chat(two)] = [one("jsonl", shares), one("jsonl", &messages)]
    else {
        unreachable!("no conversations")
    };
    assert_eq!(one.messages, two.messages);
    assert_eq!(two.tools, [Json::parse(r#"{"z": 1, "a": 2}"#).unwrap()]);
    assert_eq!(two.tools[0].to_string(), r#"{"z":1,"a":2}"#);
}

#[test]
fn answers_of_a_pair_may_be_conversations() {
    let row = r#"{"prompt": [{"role": "user", "content": "q"}],
        "chosen": [{"role": "assistant", "content": "c"}],
        "rejected": [{"role": "assistant", "content": "r"}]}"#
        .replace('\n', "");
    let Example::Pair { chosen, rejected } = one("jsonl", &row) else { unreachable!("no pair") };
    let model = testing::tiny(1).unwrap();
    let template = ChatTemplate::new(CHATML, br#"{"eos_token": "</s>"}"#).unwrap();
    let encode = Encode::chat(&model, &template, 100);
    let pair = encode.pair(&Example::Pair { chosen, rejected }).unwrap();
    let show = |tokens| show_mask(model.tokenizer(), tokens, Marks::Brackets).unwrap();
    assert_eq!(show(&pair.chosen), "<user>q</s><assistant>⟦c</s>⟧");
    assert_eq!(show(&pair.rejected), "<user>q</s><assistant>⟦r</s>⟧");
}

#[test]
fn tables_are_read() {
    let csv = "question,answer\n\"a, b\",\"two\nlines\"\nc,d\n";
    let rows: Vec<Example> = read("csv", csv).into_iter().map(Result::unwrap).collect();
    assert_eq!(rows, [exchange("a, b", "two\nlines"), exchange("c", "d")]);
    assert_eq!(one("tsv", "prompt\tcompletion\na,b\tc\n"), exchange("a,b", "c"));
    let judged = one("csv", "prompt,completion,label\np,c,False\n");
    assert_eq!(judged, exchange("p", "c"), "a label of text is no judgement");
}

#[test]
fn a_column_map_overrides_names() {
    let map = ColumnMap::default().with(Column::Prompt, "frage").with(Column::Completion, "text");
    let options = DataOptions::default().with_columns(map);
    let row = r#"{"frage": "q", "text": "a", "messages": []}"#;
    let rows = read_with("jsonl", row.as_bytes(), &options);
    assert_eq!(rows[0].as_ref().unwrap(), &exchange("q", "a"));
    let error = read_with("jsonl", br#"{"q": 1}"#, &options).remove(0).unwrap_err();
    assert!(error.to_string().contains("no column `frage`, there are `q`"), "{error}");
}

#[test]
fn errors_name_file_row_and_column() {
    let long = format!("{{\"text\": \"{}\"}}", "x".repeat(2000));
    let deep = format!("{{\"text\": {}1{}}}", "[".repeat(10_000), "]".repeat(10_000));
    for (kind, text, expected) in [
        (
            "jsonl",
            "{\"text\": \"a\"}\n\n{\"text\": \" \"}\n",
            "`rows`, line 3, column `text`: empty",
        ),
        ("jsonl", "{\"text\": \"a\"}\n{\"text\": ", "`rows`, line 2: not JSON"),
        ("jsonl", "[1]", "`rows`, line 1: an array where an object"),
        ("jsonl", "{\"a\": 1}", "`rows`, line 1: columns `a` are none of"),
        ("jsonl", "{\"text\": {}}", "column `text`: an object where a text should be"),
        ("jsonl", &long, "`rows`, line 1: longer than 1000 bytes"),
        ("jsonl", &deep[..900], "not JSON"),
        ("json", "[{\"text\": \"a\"}", "row 2: the file ends before its array does"),
        ("json", "[{\"text\": \"a\"},]", "row 2: nothing behind the last comma"),
        ("json", "[{\"text\": \"a\"} {\"text\": \"b\"}]", "row 2: no comma before it"),
        ("json", "[{\"text\": \"a\"}] x", "row 2: more behind the end"),
        ("json", &long, "row 1: longer than 1000 bytes"),
        ("csv", "prompt,completion\na,b\nc\n", "`rows`, line 3: 1 cells under a header of 2"),
        ("csv", "prompt,completion\na,b\nc,\n", "`rows`, line 3, column `completion`: empty"),
        ("jsonl", r#"{"messages": []}"#, "column `messages`: no message"),
        (
            "jsonl",
            r#"{"messages": [{"content": "a"}]}"#,
            "column `messages`: message 1: a message without `role`",
        ),
        (
            "jsonl",
            r#"{"conversations": [{"from": "alien", "value": "a"}]}"#,
            "message 1: from `alien`",
        ),
    ] {
        let options = DataOptions::default().with_max_row(1000);
        let rows = read_with(kind, text.as_bytes(), &options);
        let error = rows.last().unwrap().as_ref().unwrap_err();
        assert!(error.report().contains(expected), "{error:?} has no `{expected}`");
        assert!(rows.iter().rev().skip(1).all(Result::is_ok), "an error ends the rows");
    }
    let error = read_with("csv", b"text\n\xff\n", &DataOptions::default()).remove(0).unwrap_err();
    assert!(error.to_string().contains("column `text`: not UTF-8"), "{error}");
    assert_eq!(read("doc", "").remove(0).unwrap_err().kind(), ErrorKind::Unsupported);
}

/// Gives the same bytes again and again.
struct Endless(&'static [u8], usize);

impl std::io::Read for Endless {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        for byte in buffer.iter_mut() {
            *byte = self.0[self.1 % self.0.len()];
            self.1 += 1;
        }
        Ok(buffer.len())
    }
}

#[test]
fn a_row_without_end_is_refused_before_it_fills_memory() {
    for (kind, bytes) in
        [("jsonl", &b"x"[..]), ("json", b"["), ("json", b"{"), ("csv", b"\"x"), ("tsv", b"x")]
    {
        let options = DataOptions::default().with_max_row(1 << 20);
        let error = match DataFile::read(kind, Endless(bytes, 0), "rows", &options) {
            Ok(mut rows) => rows.next().unwrap().unwrap_err(),
            Err(e) => e,
        };
        assert!(matches!(error.kind(), ErrorKind::Limit | ErrorKind::Corrupt), "{kind} {error:?}");
    }
}

#[test]
fn a_file_is_streamed_whatever_its_length() {
    let options = DataOptions::default();
    let rows =
        DataFile::read("jsonl", Endless(b"{\"text\": \"a\"}\n", 0), "rows", &options).unwrap();
    assert!(rows.take(100_000).all(|row| row.unwrap() == Example::Text("a".to_owned())));
}

#[test]
fn packed_text_is_unpacked_as_it_streams() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("Rows.JSONL.gz");
    let mut packer = flate2::write::GzEncoder::new(
        std::fs::File::create(&path).unwrap(),
        flate2::Compression::fast(),
    );
    packer.write_all(b"{\"text\": \"a\"}\n").unwrap();
    // 64 MiB in one line, in 64 KiB of file.
    packer.write_all(&vec![b'x'; 64 << 20]).unwrap();
    packer.finish().unwrap();
    let rows: Vec<_> = DataFile::open(&path, &DataOptions::default()).unwrap().collect();
    assert_eq!(rows[0].as_ref().unwrap(), &Example::Text("a".to_owned()));
    assert_eq!(rows[1].as_ref().unwrap_err().kind(), ErrorKind::Limit);
}

fn model() -> Model {
    testing::tiny(1).unwrap()
}

#[test]
fn each_mask_learns_its_part_of_a_conversation() {
    let model = model();
    let template = ChatTemplate::new(CHATML, br#"{"eos_token": "</s>"}"#).unwrap();
    let row = one(
        "jsonl",
        r#"{"messages": [{"role": "user", "content": "1"}, {"role": "assistant", "content": "a", "weight": 0}, {"role": "user", "content": "2"}, {"role": "assistant", "content": "b", "weight": 1}]}"#,
    );
    for (mask, expected) in [
        (LossMask::AssistantOnly, "<user>1</s><assistant>⟦a</s>⟧<user>2</s><assistant>⟦b</s>⟧"),
        (LossMask::LastTurn, "<user>1</s><assistant>a</s><user>2</s><assistant>⟦b</s>⟧"),
        (
            LossMask::PerTurn("weight".to_owned()),
            "<user>1</s><assistant>a</s><user>2</s><assistant>⟦b</s>⟧",
        ),
        (LossMask::Prompt, "<user>1</s><assistant>⟦a</s><user>2</s><assistant>b</s>⟧"),
        (LossMask::Everything, "⟦<user>1</s><assistant>a</s><user>2</s><assistant>b</s>⟧"),
    ] {
        let encode = Encode::chat(&model, &template, 200).with_mask(mask.clone());
        let tokens = encode.tokens(&row).unwrap().tokens;
        let shown = show_mask(model.tokenizer(), &tokens, Marks::Brackets).unwrap();
        assert_eq!(shown, expected, "{mask:?}");
    }
    let plain = Template::default();
    let error = Encode::plain(&model, &plain, 200).tokens(&row).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
}

#[test]
fn statistics_say_what_is_cut_and_what_does_not_end() {
    let model = model();
    let template = Template::new("", "?");
    let encode = Encode::plain(&model, &template, 8);
    let mut statistics = DataStatistics::default();
    for row in [exchange("a", "b"), exchange("a", "bcdefghijk"), Example::Text("x".to_owned())] {
        statistics.add(&encode.tokens(&row).unwrap(), encode.ends());
    }
    let said = statistics.to_string();
    assert_eq!((statistics.rows, statistics.cut, statistics.turns, statistics.ended), (3, 1, 3, 2));
    assert!(said.contains("1 of 3 turns do not learn where to stop"), "{said}");
}

#[test]
fn rows_of_a_datanet_need_a_grant_that_allows_it() {
    let [owner, who, other] = [1, 2, 3].map(Address::repeat_byte);
    let datanet = DatanetId::from(B256::repeat_byte(4));
    let version = DatanetVersion { datanet, version: 3, root: B256::repeat_byte(5) };
    let grant = Grant {
        datanet,
        version: 3,
        scope: Scope::Train,
        purpose: B256::ZERO,
        grantee: who,
        not_before: 100,
        not_after: 200,
        owner,
        nonce: U256::from(1),
        deadline: 150,
    };
    let ask = |grant: Grant, people, now| -> openledger_core::Result<Vec<Example>> {
        let rows = [Row::exchange("q", "a").unwrap(), Row::passage("t").unwrap()];
        let rows = granted(rows, &version, &Verified::pretend(grant), people, now)?;
        Ok(rows.collect())
    };
    let rows = ask(grant, [owner, who], 150).unwrap();
    assert_eq!(rows, [exchange("q", "a"), Example::Text("t".to_owned())]);
    assert!(ask(Grant { version: 0, ..grant }, [owner, who], 200).is_ok());
    for (grant, people, now, why) in [
        (grant, [owner, who], 99, "valid from 100"),
        (grant, [owner, who], 201, "valid until 200"),
        (grant, [owner, other], 150, "not to"),
        (grant, [other, who], 150, "signed by"),
        (Grant { version: 2, ..grant }, [owner, who], 150, "version 2"),
        (Grant { scope: Scope::Read, ..grant }, [owner, who], 150, "for Read"),
        (Grant { datanet: DatanetId::from(B256::ZERO), ..grant }, [owner, who], 150, "for Datanet"),
    ] {
        let error = ask(grant, people, now).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Denied);
        assert!(error.to_string().contains(why), "{error}");
    }
}

#[test]
fn real_data_is_read() {
    let shared = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/data"));
    let path = shared.join("gsm8k/train.jsonl");
    if !path.exists() {
        println!("skipped: `{}` is not there", path.display());
        return;
    }
    let rows = DataFile::open(&path, &DataOptions::default()).unwrap();
    let model = model();
    let template = Template::default();
    let encode = Encode::plain(&model, &template, 512);
    let mut statistics = DataStatistics::default();
    let folder = tempfile::tempdir().unwrap();
    let tokens = rows.map(|row| {
        let encoded = encode.tokens(&row?)?;
        statistics.add(&encoded, encode.ends());
        Ok(encoded.tokens)
    });
    let path = folder.path().join("gsm8k.tokens");
    let file = TokenFile::write(path, encode.digest(), tokens).unwrap();
    assert_eq!((file.count(), statistics.rows), (7473, 7473));
    println!("{statistics}");
    let lengths: Vec<usize> = (0..file.count()).map(|row| file.length(row).unwrap()).collect();
    let groups = openledger_train::pack(&lengths, 4096);
    println!("{:.4} of 4096 tokens filled", openledger_train::filled(&groups, &lengths, 4096));
    assert!(openledger_train::filled(&groups, &lengths, 4096) > 0.99);
}

#[test]
fn a_stale_token_file_is_made_anew() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rows");
    let row = Tokens::new(&[1], &[2]);
    let make = |byte: u8, rows: usize| {
        let rows = vec![row.clone(); rows].into_iter().map(Ok);
        TokenFile::open_or_write(&path, B256::repeat_byte(byte), || Ok(rows)).unwrap().count()
    };
    assert_eq!([make(1, 1), make(1, 2), make(2, 3), make(2, 4)], [1, 1, 3, 3]);
    std::fs::write(&path, b"OLTOKENS").unwrap();
    assert_eq!(make(2, 5), 5);
    let model = model();
    let [one, two] = ["?", "!"].map(|between| Template::new("", between));
    let digest = |template, limit| Encode::plain(&model, template, limit).digest();
    assert_ne!(digest(&one, 8), digest(&two, 8));
    assert_ne!(digest(&one, 8), digest(&one, 9));
    let everything = Encode::plain(&model, &one, 8).with_mask(LossMask::Everything).digest();
    assert_ne!(digest(&one, 8), everything);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_token_file_gives_back_its_rows(
        rows in prop::collection::vec(prop::collection::vec((any::<u32>(), any::<bool>()), 0..40), 0..12),
    ) {
        let rows: Vec<Tokens> = rows
            .into_iter()
            .map(|row| {
                let (tokens, learn) = row.into_iter().unzip();
                Tokens::masked(tokens, learn).unwrap()
            })
            .collect();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rows");
        TokenFile::write(&path, B256::ZERO, rows.iter().cloned().map(Ok)).unwrap();
        let file = TokenFile::open(&path, B256::ZERO).unwrap();
        prop_assert_eq!(file.count(), rows.len());
        for (index, row) in rows.iter().enumerate() {
            prop_assert_eq!(&file.row(index).unwrap(), row);
            prop_assert_eq!(file.length(index).unwrap(), row.tokens.len());
        }
        prop_assert_eq!(file.row(rows.len()).unwrap_err().kind(), ErrorKind::NotFound);
    }

    #[test]
    fn a_changed_or_cut_token_file_is_an_error_or_rows(
        place in any::<prop::sample::Index>(), byte in any::<u8>(), cut in any::<prop::sample::Index>(),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rows");
        let rows = [Tokens::new(&[1, 2, 3], &[4, 5, 6, 7, 8, 9]), Tokens::new(&[], &[1])];
        TokenFile::write(&path, B256::ZERO, rows.into_iter().map(Ok)).unwrap();
        let whole = std::fs::read(&path).unwrap();
        let mut changed = whole.clone();
        let place = place.index(changed.len());
        changed[place] = byte;
        std::fs::write(&path, &changed).unwrap();
        if let Ok(file) = TokenFile::open(&path, B256::ZERO) {
            for row in 0..file.count().min(10) {
                let _ = file.row(row);
            }
        }
        std::fs::write(&path, &whole[..cut.index(whole.len())]).unwrap();
        prop_assert!(TokenFile::open(&path, B256::ZERO).is_err());
    }

    #[test]
    fn any_bytes_are_rows_or_an_error(
        kind in prop::sample::select(&["jsonl", "json", "csv", "tsv"][..]),
        bytes in prop::collection::vec(prop::sample::select(&b"{}[]\",:\\\n\t 1atex\xff"[..]), 0..120),
    ) {
        let rows = read_with(kind, &bytes, &DataOptions::default());
        prop_assert!(rows.iter().rev().skip(1).all(Result::is_ok));
    }
}
