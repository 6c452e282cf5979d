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
