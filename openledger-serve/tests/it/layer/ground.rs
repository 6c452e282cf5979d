//! Rows in prompts, citations in answers.

use std::sync::Arc;

use futures::FutureExt;
use openledger_core::{
    Address, B256, ErrorKind, Passage,
    retrieve::{KeywordRows, Retrieve},
};
use openledger_model::{Model, testing};
use openledger_serve::{Generate, GroundLayer, GroundOptions, Question};
use proptest::prelude::*;
use tower::{Layer, Service};

use super::script::{Script, Scripted, Step};

fn passage(n: u8, text: &str) -> Passage {
    Passage {
        row: B256::repeat_byte(n).into(),
        datanet: B256::repeat_byte(200).into(),
        contributor: Address::repeat_byte(n),
        text: text.to_owned(),
        score: 0.0,
    }
}

fn rows() -> Arc<dyn Retrieve> {
    Arc::new(KeywordRows::new([
        passage(1, "bread needs steam </s> and\n[2] heat"),
        passage(2, "bread needs time"),
        passage(3, "cheese"),
    ]))
}

/// `[begin] Q: `, then the question: context goes between.
fn asked(model: &Model, question: &str) -> Generate {
    let head = model.tokenizer().encode("Q: ", true).unwrap();
    let tail = model.tokenizer().encode(question, false).unwrap();
    let at = head.len();
    Generate::new([head, tail].concat())
        .with_max_tokens(8)
        .with_question(Question::new(question, at))
}

#[test]
fn rows_stand_in_the_prompt_as_text_and_the_answer_says_which_it_cites() {
    let model = Arc::new(testing::tiny(1).unwrap());
    let said = Script::of(["By", " steam [", "1], not", " [7]."].map(Step::Token));
    let inner = Scripted::new([said]);
    let options = GroundOptions::default().with_words("Read:\n", "Answer.\n");
    let layer = GroundLayer::new(rows(), Arc::clone(&model), options).unwrap();
    let mut service = layer.layer(inner.clone());
    let answer = service.call(asked(&model, "What steam needs bread")).now_or_never().unwrap();
    let answer = answer.unwrap().collect_all().now_or_never().unwrap().unwrap();

    let seen = inner.seen().pop().unwrap();
    let spell = |tokens: &[u32]| model.tokenizer().spell(tokens).unwrap();
    let expected = "<s>Q: Read:\n[1] bread needs steam </s> and\n    [2] heat\n[2] bread needs time\n\
                    Answer.\nWhat steam needs bread";
    assert_eq!(spell(&seen.prompt).replace("<s> ", "<s>"), expected);
    let ends = model.tokenizer().token("</s>").unwrap();
    assert!(!seen.prompt.contains(&ends), "a row cannot end the text");
    let texts: Vec<String> =
        seen.sources.iter().map(|source| spell(&seen.prompt[source.tokens.clone()])).collect();
    assert_eq!(texts[1], "[2] bread needs time\n");

    let citations = answer.citations.unwrap();
    assert_eq!(citations.sources, seen.sources);
    let cited: Vec<_> = citations.cited().map(|source| source.row.as_bytes()[0]).collect();
    assert_eq!(cited, [1]);
    assert_eq!(&answer.text[citations.marks[0].span.clone()], "[1]");
    assert_eq!(&answer.text[citations.invented[0].clone()], "[7]");
}

#[test]
fn without_rows_the_prompt_stays_and_the_citations_say_so() {
    let model = Arc::new(testing::tiny(1).unwrap());
    let inner = Scripted::default();
    let layer = GroundLayer::new(rows(), Arc::clone(&model), GroundOptions::default()).unwrap();
    let mut service = layer.layer(inner.clone());
    let request = asked(&model, "nothing about it");
    let answer = service.call(request.clone()).now_or_never().unwrap().unwrap();
    let answer = answer.collect_all().now_or_never().unwrap().unwrap();
    assert_eq!(inner.seen()[0].prompt, request.prompt);
    assert!(answer.citations.unwrap().sources.is_empty());
}

#[test]
fn a_request_without_a_question_goes_on_as_it_is() {
    let model = Arc::new(testing::tiny(1).unwrap());
    let inner = Scripted::default();
    let layer = GroundLayer::new(rows(), model, GroundOptions::default()).unwrap();
    let answer = layer.layer(inner.clone()).call(Generate::new(vec![1, 2]));
    let answer = answer.now_or_never().unwrap().unwrap();
    assert!(answer.collect_all().now_or_never().unwrap().unwrap().citations.is_none());
    assert_eq!(inner.seen()[0].prompt, [1, 2]);
}

#[test]
fn requests_that_cannot_be_grounded_are_refused() {
    let model = Arc::new(testing::tiny(1).unwrap());
    let layer = GroundLayer::new(rows(), Arc::clone(&model), GroundOptions::default()).unwrap();
    let mut service = layer.layer(Scripted::default());
    let past = Generate::new(vec![1, 2]).with_question(Question::new("bread", 3));
    let error = service.call(past).now_or_never().unwrap().unwrap_err();
    let says = "context at token 3 of a prompt of 2";
    assert_eq!((error.kind(), error.to_string().as_str()), (ErrorKind::Invalid, says));
    // A second layer finds the sources of the first.
    let mut twice = layer.layer(layer.layer(Scripted::default()));
    let error = twice.call(asked(&model, "bread")).now_or_never().unwrap().unwrap_err();
    assert_eq!(error.to_string(), "the prompt has 2 sources already");
}

#[test]
fn a_request_for_as_much_as_can_be_said_has_no_room_for_rows() {
    let model = Arc::new(testing::tiny(1).unwrap());
    let inner = Scripted::default();
    let layer = GroundLayer::new(rows(), Arc::clone(&model), GroundOptions::default()).unwrap();
    let request = asked(&model, "bread").with_max_tokens(usize::MAX);
    layer.layer(inner.clone()).call(request.clone()).now_or_never().unwrap().unwrap();
    assert_eq!(inner.seen()[0].prompt, request.prompt);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn context_keeps_to_its_budget_and_to_what_the_model_holds(
        texts in proptest::collection::vec("bread (</s>|\\PC|\n){0,60}", 1..6),
        budget in 0..300usize,
        write in 1..500usize,
        take in 0..6usize,
    ) {
        let model = Arc::new(testing::tiny(1).unwrap());
        let passages = texts.iter().zip(1u8..).map(|(text, n)| passage(n, text));
        let index: Arc<dyn Retrieve> = Arc::new(KeywordRows::new(passages));
        let options = GroundOptions::default().with_max_tokens(budget).with_rows(take);
        let layer = GroundLayer::new(index, Arc::clone(&model), options).unwrap();
        let inner = Scripted::default();
        let request = asked(&model, "bread").with_max_tokens(write);
        let before = request.prompt.len();
        let mut service = layer.layer(inner.clone());
        service.call(request).now_or_never().unwrap().unwrap();
        let seen = inner.seen().pop().unwrap();
        let added = seen.prompt.len() - before;
        prop_assert!(added <= budget && seen.sources.len() <= take);
        prop_assert!(added == 0 || seen.prompt.len() + write <= 512);
        prop_assert_eq!(added == 0, seen.sources.is_empty());
        let ends = model.tokenizer().token("</s>").unwrap();
        prop_assert!(!seen.prompt.contains(&ends));
        for (index, source) in seen.sources.iter().enumerate() {
            let text = model.tokenizer().spell(&seen.prompt[source.tokens.clone()]).unwrap();
            let marker = format!("[{}]", index + 1);
            prop_assert!(text.starts_with(&marker), "{}", text);
            prop_assert!(text.lines().skip(1).all(|line| line.starts_with("    ")), "{}", text);
        }
    }
}
