//! Datasets as they are published.

use std::path::PathBuf;

use openledger_datanet::{
    Limits,
    intake::{Fields, read},
};

#[test]
fn published_datasets_come_in_whole() {
    for (file, count, begins) in [
        ("gsm8k/train.jsonl", 7473, "Natalia sold clips"),
        ("pubmedqa/ori_pqal.json", 1000, ""),
        ("tinyshakespeare/input.txt", 7222, ""),
    ] {
        let path =
            PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/data")).join(file);
        if !path.exists() {
            println!("skipped: `{}` is not there", path.display());
            continue;
        }
        let drafts = read(&path, &Fields::Found, &Limits::default()).unwrap();
        assert_eq!(drafts.len(), count, "{file}");
        assert!(drafts[0].row.prompt().starts_with(begins), "{file}");
    }
}

#[test]
fn naughty_strings_are_rows_like_any_other() {
    let path = PathBuf::from(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../shared/data/adversarial/blns.json"
    ));
    if !path.exists() {
        println!("skipped: `{}` is not there", path.display());
        return;
    }
    let text = std::fs::read_to_string(path).unwrap();
    let strings: Vec<String> = serde_json::from_str(&text).unwrap();
    let printable: Vec<&String> = strings.iter().filter(|text| !text.trim().is_empty()).collect();
    let json = serde_json::to_vec(&printable).unwrap();
    let parsed =
        openledger_datanet::intake::parse("blns.json", &json, &Fields::Found, &Limits::default());
    assert_eq!(parsed.unwrap().len(), printable.len());
}
