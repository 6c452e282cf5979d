//! Answers within a form, from models that know nothing of it.

use openledger_core::ErrorKind;
use openledger_serve::{Completion, Constraint, Engine, Finish, Generate, Part, Sampling};
use proptest::prelude::*;
use serde::de::IgnoredAny;
use serde_json::Value;
use tower::{Service, ServiceExt};

use crate::{sampling::engine, support::ask};

const PERSON: &str = r##"{
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 6},
        "age": {"type": "integer", "minimum": 0, "maximum": 130},
        "kind": {"enum": ["cat", "dog"]},
        "tags": {"type": "array", "items": {"$ref": "#/$defs/tag"}, "minItems": 1, "maxItems": 2}
    },
    "required": ["name", "age", "kind", "tags"],
    "additionalProperties": false,
    "$defs": {"tag": {"type": "string", "pattern": "^[a-z]{2}$"}}
}"##;

fn fits_person(text: &str) -> bool {
    let Ok(Value::Object(person)) = serde_json::from_str(text) else { return false };
    let names: Vec<&str> = person.keys().map(String::as_str).collect();
    let two = |tag: &Value| {
        tag.as_str()
            .is_some_and(|tag| tag.len() == 2 && tag.bytes().all(|b| b.is_ascii_lowercase()))
    };
    names == ["name", "age", "kind", "tags"]
        && person["name"].as_str().is_some_and(|name| name.chars().count() <= 6)
        && person["age"].as_u64().is_some_and(|age| age <= 130)
        && (person["kind"] == "cat" || person["kind"] == "dog")
        && person["tags"]
            .as_array()
            .is_some_and(|tags| matches!(tags.len(), 1..=2) && tags.iter().all(two))
}

fn asks(engine: &Engine, constraint: Constraint, temperature: f32, seed: u64) -> Generate {
    // No white space, or a model at random spends its tokens on it.
    let space = engine.model().tokenizer().encode(" \n\t\r", false).unwrap();
    let sampling = Sampling::with_temperature(temperature, seed);
    let sampling =
        space.iter().fold(sampling, |sampling, &token| sampling.with_bias(token, -100.0));
    Generate::new(vec![1, 2])
        .with_constraint(constraint)
        .with_sampling(sampling)
        .with_max_tokens(400)
}

fn answer(engine: &Engine, request: Generate) -> Completion {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(ask(engine, request))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn json_fits_its_schema_whatever_the_model_and_the_seed(
        model in 0u64..4,
        seed in any::<u64>(),
        temperature in prop_oneof![Just(0.0f32), 0.5f32..3.0],
        ignore_eos in any::<bool>(),
    ) {
        let engine = engine(model);
        let request = asks(&engine, Constraint::json_schema(PERSON).unwrap(), temperature, seed);
        let answer = answer(&engine, request.with_ignore_eos(ignore_eos));
        prop_assert_eq!(answer.end().finish, Finish::Stop, "{}", answer.text);
        prop_assert!(fits_person(&answer.text), "{}", answer.text);
    }

    #[test]
    fn text_matches_its_expression(seed in any::<u64>()) {
        let constraint = Constraint::regex("(é|ü){1,3}-[0-9]{2}/x?").unwrap();
        let engine = engine(1);
        let answer = answer(&engine, asks(&engine, constraint, 1.5, seed));
        prop_assert_eq!(answer.end().finish, Finish::Stop);
        let (letters, rest) = answer.text.split_once('-').unwrap();
        prop_assert!(matches!(letters.chars().count(), 1..=3) && letters.chars().all(|c| "éü".contains(c)));
        prop_assert!(rest[..2].bytes().all(|b| b.is_ascii_digit()), "{rest}");
        prop_assert!(matches!(&rest[2..], "/" | "/x"), "{rest}");
    }

    #[test]
    fn parts_follow_each_other_in_one_of_the_ways(seed in any::<u64>()) {
        let text = |text: &str| Part::Text(text.into());
        let tag = || Part::Json(r#"{"type": "string", "pattern": "^[a-z]{2}$"}"#.into());
        // `<s>` is a token of the model, `<call>` is not.
        let ways = [
            vec![Part::Token("<s>".into()), text("\"add\"\n("), tag(), text(")")],
            vec![Part::Token("<call>".into()), tag()],
        ];
        let engine = engine(1);
        let begins = engine.model().tokenizer().token("<s>").unwrap();
        let mut request = asks(&engine, Constraint::parts(ways).unwrap(), 1.5, seed);
        // The line break is a part here.
        request.sampling.bias.clear();
        let answer = answer(&engine, request);
        prop_assert_eq!(answer.end().finish, Finish::Stop);
        let tag = match answer.tokens[0] == begins {
            true => answer.text.strip_prefix("\"add\"\n(").and_then(|rest| rest.strip_suffix(')')),
            false => answer.text.strip_prefix("<call>"),
        };
        let tag: String = serde_json::from_str(tag.unwrap()).unwrap();
        prop_assert!(tag.len() == 2 && tag.bytes().all(|b| b.is_ascii_lowercase()), "{tag}");
    }

    #[test]
    fn a_choice_is_one_of_them(seed in any::<u64>(), choices in proptest::collection::vec("\\PC{1,6}", 1..5)) {
        // The space is banned above, so choices do without it.
        let choices: Vec<String> = choices.iter().map(|choice| choice.replace(' ', "_")).collect();
        let constraint = Constraint::choice(choices.clone()).unwrap();
        let engine = engine(2);
        let answer = answer(&engine, asks(&engine, constraint, 1.0, seed));
        prop_assert!(choices.contains(&answer.text), "{:?} of {choices:?}", answer.text);
        prop_assert_eq!(answer.end().finish, Finish::Stop);
    }

    #[test]
    fn what_a_stranger_writes_is_followed_or_refused(schema in "[\\[\\]{}:,\"a-z0-9$ ]{0,40}", regex in "\\PC{0,20}") {
        let mut engine = engine(1);
        for constraint in [Constraint::json_schema(schema).unwrap(), Constraint::regex(regex).unwrap()] {
            let request = asks(&engine, constraint, 1.0, 1).with_max_tokens(3);
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let refused = runtime.block_on(async { engine.ready().await.unwrap().call(request).await });
            if let Err(error) = refused {
                prop_assert_eq!(error.kind(), ErrorKind::Invalid, "{}", error.report());
            }
        }
    }
}

#[tokio::test]
async fn any_object_is_json_as_far_as_it_goes() {
    let engine = engine(3);
    for seed in 0..8 {
        let answer = ask(&engine, asks(&engine, Constraint::json(), 1.0, seed)).await;
        assert!(answer.text.starts_with('{'), "{}", answer.text);
        match answer.end().finish {
            // Without its values: JSON has numbers that no `f64` holds.
            Finish::Stop => assert!(serde_json::from_str::<IgnoredAny>(&answer.text).is_ok()),
            _ => {
                let error = serde_json::from_str::<IgnoredAny>(&answer.text).unwrap_err();
                assert!(error.is_eof(), "{error}: {}", answer.text);
            }
        }
    }
}

#[tokio::test]
async fn the_same_constraint_again_gives_the_same_answer() {
    let engine = engine(4);
    let request = asks(&engine, Constraint::json_schema(PERSON).unwrap(), 1.0, 5);
    let first = ask(&engine, request.clone()).await;
    let all = futures::future::join_all((0..4).map(|_| ask(&engine, request.clone()))).await;
    // The first time less was cached; all else is the same.
    assert!(
        all.iter().all(|answer| (&answer.tokens, &answer.text) == (&first.tokens, &first.text))
    );
}

#[tokio::test]
async fn what_nothing_fits_or_nobody_understands_is_refused() {
    let mut engine = engine(1);
    let deep = format!("{}{}", r#"{"items":"#.repeat(300), "}".repeat(300));
    let many: Vec<String> = (0..24)
        .map(|n| {
            format!(
                r#"{{"anyOf": [{{"minimum": {n}}}, {{"multipleOf": {n}.5}}, {{"maximum": {n}}}]}}"#
            )
        })
        .collect();
    let product = format!(r#"{{"type": "number", "allOf": [{}]}}"#, many.join(","));
    for (constraint, says) in [
        (Constraint::json_schema("{"), "not JSON"),
        (Constraint::json_schema("[1]"), "a schema is an object or `true`"),
        (Constraint::json_schema("false"), "a schema is an object or `true`"),
        (
            Constraint::json_schema(r#"{"type": "string", "minLength": 3, "maxLength": 2}"#),
            "minLength",
        ),
        (Constraint::json_schema(r#"{"type": "rope"}"#), "rope"),
        (Constraint::json_schema(r#"{"not": {"type": "string"}}"#), "not"),
        (Constraint::json_schema(r##"{"$ref": "https://example.org/a"}"##), "$ref"),
        (Constraint::json_schema(deep), "recursion limit"),
        (Constraint::json_schema(product), "too large"),
        (Constraint::regex("(a"), "unclosed group"),
        (Constraint::regex("[a&&b]"), "nothing fits"),
    ] {
        let constraint = constraint.unwrap();
        let request = asks(&engine, constraint, 1.0, 1);
        let error = engine.ready().await.unwrap().call(request).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{}", error.report());
        assert!(error.report().contains(says), "{}", error.report());
    }
}

#[tokio::test]
async fn an_expression_of_exponentially_many_states_ends_or_is_a_limit() {
    let mut engine = engine(2);
    for regex in ["((a{1000}){1000}){1000}", "(a|b)*a(a|b){150}(a|b)*c?", "(.*a.*b.*c.*d.*){30}"] {
        let constraint = Constraint::regex(regex).unwrap();
        let request = asks(&engine, constraint, 1.0, 3).with_max_tokens(200);
        let answer = match engine.ready().await.unwrap().call(request).await {
            Ok(stream) => stream.collect_all().await,
            Err(error) => Err(error),
        };
        match answer {
            Ok(answer) => assert!(!answer.tokens.is_empty()),
            Err(e) => assert!(matches!(e.kind(), ErrorKind::Limit | ErrorKind::Invalid), "{e:?}"),
        }
    }
}
