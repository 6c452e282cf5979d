//! Text to tokens and back, one at a time.

use openledger_model::Tokenizer;
use proptest::prelude::*;

fn corpus() -> Vec<String> {
    vec!["the cat sat on the mat, the cat sat".to_owned(), "thé çat 猫 🐈 sat".to_owned()]
}

#[test]
fn a_learned_tokenizer_is_the_same_every_time_and_merges_what_is_frequent() {
    let one = Tokenizer::train(&corpus(), 280).unwrap();
    assert_eq!(one.to_json(), Tokenizer::train(&corpus(), 280).unwrap().to_json());
    assert!(one.encode("the cat", true).unwrap().len() < "the cat".len());
    assert_eq!(one.encode("", true).unwrap(), [one.token("<s>").unwrap()]);
    assert!(Tokenizer::train(&corpus(), 257).is_err());
}

#[test]
fn what_is_not_a_tokenizer_is_an_error() {
    for bad in ["", "{}", "[1]", r#"{"model":{"type":"BPE"}}"#] {
        assert!(Tokenizer::parse(bad.as_bytes()).is_err());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_text_is_said_to_exceed_what_it_does_not(
        words in prop::collection::vec(0usize..8, 0..2_000), letters in "[a-z]{0,40}", most in 0usize..400,
    ) {
        // Words of one token each, ten letters long, and of letters by themselves.
        let known = ["abcdefghij", "bcdefghija", "cdefghijab", "defghijabc", "efghijabcd", "fghijabcde"];
        let learned: Vec<String> = known.iter().map(|word| format!("{word} ").repeat(9)).collect();
        let tokenizer = Tokenizer::train(&learned, 400).unwrap();
        let words = words.iter().map(|&n| known.get(n).copied().unwrap_or(&letters));
        let text = words.collect::<Vec<_>>().join(" ");
        let tokens = tokenizer.encode(&text, false).unwrap().len();
        let exceeds = tokenizer.surely_exceeds(&text, most);
        prop_assert!(!exceeds || tokens > most, "{} tokens, {most}", tokens);
        // Words of a token are eleven bytes.
        prop_assert!(exceeds || text.len() <= 4 * most.max(1) || tokens <= 2 * most + 200, "{tokens}, {most}");
    }

    #[test]
    fn any_text_survives_tokens_and_their_stream(text in "\\PC{0,40}") {
        let tokenizer = Tokenizer::train(&corpus(), 300).unwrap();
        let tokens = tokenizer.encode(&text, true).unwrap();
        prop_assert_eq!(&tokenizer.decode(&tokens).unwrap(), &text);
        let mut stream = tokenizer.stream();
        let mut streamed = String::new();
        for token in tokens {
            let piece = stream.push(&tokenizer, token).unwrap();
            prop_assert!(!piece.contains(char::REPLACEMENT_CHARACTER) || text.contains(char::REPLACEMENT_CHARACTER));
            streamed.push_str(&piece);
        }
        streamed.push_str(&stream.finish(&tokenizer).unwrap());
        prop_assert_eq!(streamed, text);
    }
}

/// A vocabulary with byte fallback as `SentencePiece` models have it: some pieces, a mark for spaces,
/// and a token for each byte.
fn byte_fallback() -> Tokenizer {
    let mut vocabulary = serde_json::Map::new();
    let mut add = |token: String| {
        let id = vocabulary.len();
        vocabulary.entry(token).or_insert_with(|| id.into());
    };
    ["<unk>", "<s>", "</s>"].into_iter().for_each(|token| add(token.to_owned()));
    (0..=255u8).for_each(|byte| add(format!("<0x{byte:02X}>")));
    ["▁", "a", "b", "é", "猫", "▁a", "ab", "▁ab"]
        .into_iter()
        .for_each(|token| add(token.to_owned()));
    let special = |id: u32, content: &str| {
        serde_json::json!({"id": id, "content": content, "single_word": false, "lstrip": false,
            "rstrip": false, "normalized": false, "special": true})
    };
    let json = serde_json::json!({
        "version": "1.0",
        "added_tokens": [special(0, "<unk>"), special(1, "<s>"), special(2, "</s>")],
        "normalizer": {"type": "Sequence", "normalizers": [
            {"type": "Prepend", "prepend": "▁"},
            {"type": "Replace", "pattern": {"String": " "}, "content": "▁"},
        ]},
        "pre_tokenizer": null,
        "post_processor": null,
        "decoder": {"type": "Sequence", "decoders": [
            {"type": "Replace", "pattern": {"String": "▁"}, "content": " "},
            {"type": "ByteFallback"},
            {"type": "Fuse"},
            {"type": "Strip", "content": " ", "start": 1, "stop": 0},
        ]},
        "model": {"type": "BPE", "dropout": null, "unk_token": "<unk>",
            "continuing_subword_prefix": null, "end_of_word_suffix": null, "fuse_unk": true,
            "byte_fallback": true, "ignore_merges": false, "vocab": vocabulary,
            "merges": ["a b", "▁ a", "▁a b"]},
    });
    Tokenizer::parse(json.to_string().as_bytes()).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn a_stream_never_has_half_a_character_whatever_the_tokenizer(
        text in "[ab é猫🐈ñ\n ]{0,24}", fallback in any::<bool>(), stop in any::<prop::sample::Index>(),
    ) {
        let tokenizer = match fallback {
            true => byte_fallback(),
            false => Tokenizer::train(&corpus(), 300).unwrap(),
        };
        let mut tokens = tokenizer.encode(&text, true).unwrap();
        // Any prefix, which may end within a character.
        tokens.truncate(stop.index(tokens.len() + 1));
        let mut stream = tokenizer.stream();
        let mut streamed = String::new();
        for &token in &tokens {
            let piece = stream.push(&tokenizer, token).unwrap();
            prop_assert!(!piece.contains(char::REPLACEMENT_CHARACTER), "{piece:?}");
            streamed.push_str(&piece);
            prop_assert!(text.starts_with(&streamed), "{streamed:?} of {text:?}");
        }
        let end = stream.finish(&tokenizer).unwrap();
        let replaced = end.trim_start_matches(|c| c != char::REPLACEMENT_CHARACTER);
        prop_assert!(replaced.chars().all(|c| c == char::REPLACEMENT_CHARACTER), "{end:?}");
        streamed.push_str(&end);
        let whole = tokenizer.decode(&tokens).unwrap();
        // Cut within a character, byte fallback loses the whole characters before it too: it decodes
        // a run of bytes or none of it. The stream had them already.
        if !fallback || !whole.contains(char::REPLACEMENT_CHARACTER) {
            prop_assert_eq!(streamed, whole);
        }
    }

    #[test]
    fn a_stream_of_any_bytes_is_their_text(
        tokens in prop::collection::vec(prop_oneof![0u32..265, 130u32..258], 0..96),
    ) {
        let tokenizer = Tokenizer::train(&corpus(), 265).unwrap();
        let mut stream = tokenizer.stream();
        let mut streamed = String::new();
        for &token in &tokens {
            streamed.push_str(&stream.push(&tokenizer, token).unwrap());
        }
        streamed.push_str(&stream.finish(&tokenizer).unwrap());
        prop_assert_eq!(streamed, tokenizer.decode(&tokens).unwrap());
    }
}

proptest::proptest! {
    #[test]
    fn text_from_elsewhere_never_becomes_a_special_token(
        parts in proptest::collection::vec("(<s>|</s>|<|/|s|>|[a-z ]|\\PC){0,4}", 0..8),
    ) {
        let tokenizer = openledger_model::Tokenizer::train(&[], 258).unwrap();
        let special = ["<s>", "</s>"].map(|text| tokenizer.token(text).unwrap());
        let text = parts.concat();
        let tokens = tokenizer.for_data().unwrap().encode(&text).unwrap();
        proptest::prop_assert!(!tokens.iter().any(|token| special.contains(token)), "{text}");
        proptest::prop_assert_eq!(tokenizer.spell(&tokens).unwrap(), text);
    }
}

#[test]
fn words_of_the_vocabulary_that_are_special_are_split_and_what_is_unknown_stays_unknown() {
    let special = |id: u32, content: &str| {
        serde_json::json!({
            "id": id, "content": content, "special": true, "single_word": false, "lstrip": false,
            "rstrip": false, "normalized": false,
        })
    };
    let json = serde_json::json!({
        "version": "1.0",
        "added_tokens": [special(0, "<unk>"), special(2, "<end>")],
        "pre_tokenizer": { "type": "WhitespaceSplit" },
        "model": {
            "type": "WordLevel", "vocab": { "<unk>": 0, "a": 1, "<end>": 2 }, "unk_token": "<unk>",
        },
    });
    let tokenizer = Tokenizer::parse(json.to_string().as_bytes()).unwrap();
    assert_eq!(tokenizer.encode("a <end>", false).unwrap(), [1, 2]);
    let data = tokenizer.for_data().unwrap();
    assert_eq!(data.encode("a b").unwrap(), [1, 0]);
    assert_eq!(data.encode("a <end>").unwrap(), [1, 0, 0, 0, 0, 0]);
}
