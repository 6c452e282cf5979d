//! Answers within a form, from models that know nothing of it.

use openledger_core::{ErrorKind, Result};
use openledger_serve::{Completion, Constraint, Engine, Finish, Generate, Part, Sampling};
use proptest::prelude::*;
use serde::de::IgnoredAny;
use serde_json::{Value, json};
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
    try_answer(engine, request).unwrap()
}

fn try_answer(engine: &Engine, request: Generate) -> Result<Completion> {
    let mut engine = engine.clone();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async { engine.ready().await?.call(request).await?.collect_all().await })
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
        let engine = engine(1);
        for constraint in [Constraint::json_schema(schema).unwrap(), Constraint::regex(regex).unwrap()] {
            let request = asks(&engine, constraint, 1.0, 1).with_max_tokens(9);
            match try_answer(&engine, request) {
                Ok(answer) => prop_assert!(!answer.tokens.is_empty()),
                Err(error) => prop_assert_eq!(error.kind(), ErrorKind::Invalid, "{}", error.report()),
            }
        }
    }

    #[test]
    fn json_fits_any_schema(schema in schemas(), seed in any::<u64>()) {
        let engine = engine(3);
        let constraint = Constraint::json_schema(schema.to_string()).unwrap();
        let answer = answer(&engine, asks(&engine, constraint, 1.0, seed));
        match answer.end().finish {
            Finish::Stop => {
                let value: Value = serde_json::from_str(&answer.text).unwrap();
                prop_assert!(fits(&schema, &value), "{} of {schema}", answer.text);
            }
            // Strings have no end that they must come to.
            _ => {
                let error = serde_json::from_str::<IgnoredAny>(&answer.text).unwrap_err();
                prop_assert!(error.is_eof(), "{error}: {}", answer.text);
            }
        }
    }
}

/// Small schemas of everything that is made of other schemas.
fn schemas() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(json!({"type": "string"})),
        Just(json!({"type": "boolean"})),
        Just(json!({"type": "null"})),
        (0..50i32, 0..50i32).prop_map(
            |(least, more)| json!({"type": "integer", "minimum": least, "maximum": least + more})
        ),
        prop::collection::btree_set("[a-z]{1,5}", 1..4).prop_map(|words| json!({"enum": words})),
    ];
    leaf.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            (inner.clone(), 0..3usize, 0..3usize).prop_map(|(items, least, more)| {
                json!({"type": "array", "items": items, "minItems": least, "maxItems": least + more})
            }),
            prop::collection::vec(inner.clone(), 1..3).prop_map(|any| json!({"anyOf": any})),
            prop::collection::btree_map("[a-z]{1,3}", (inner, any::<bool>()), 0..3).prop_map(|fields| {
                let required: Vec<&String> =
                    fields.iter().filter(|(_, (_, required))| *required).map(|(name, _)| name).collect();
                let properties: serde_json::Map<String, Value> =
                    fields.iter().map(|(name, (schema, _))| (name.clone(), schema.clone())).collect();
                json!({
                    "type": "object", "properties": properties, "required": required,
                    "additionalProperties": false,
                })
            }),
        ]
    })
}

/// Whether a value fits such a schema, by what the words mean.
fn fits(schema: &Value, value: &Value) -> bool {
    if let Some(any) = schema["anyOf"].as_array() {
        return any.iter().any(|schema| fits(schema, value));
    }
    if let Some(words) = schema["enum"].as_array() {
        return words.contains(value);
    }
    match (schema["type"].as_str().unwrap(), value) {
        ("string", Value::String(_)) | ("boolean", Value::Bool(_)) | ("null", Value::Null) => true,
        ("integer", Value::Number(number)) => {
            let (least, most) = (schema["minimum"].as_i64(), schema["maximum"].as_i64());
            number.as_i64().is_some_and(|n| Some(n) >= least && Some(n) <= most)
        }
        ("array", Value::Array(items)) => {
            let count = |key: &str| schema[key].as_u64().unwrap() as usize;
            (count("minItems")..=count("maxItems")).contains(&items.len())
                && items.iter().all(|item| fits(&schema["items"], item))
        }
        ("object", Value::Object(fields)) => {
            let required = schema["required"].as_array().unwrap();
            required.iter().all(|name| fields.contains_key(name.as_str().unwrap()))
                && fields.iter().all(|(name, value)| {
                    schema["properties"].get(name).is_some_and(|schema| fits(schema, value))
                })
        }
        _ => false,
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
async fn many_who_come_together_are_answered_whatever_is_compiled_already() {
    let engine = engine(4);
    let same = (0..8).map(|seed| {
        let constraint = Constraint::json_schema(PERSON).unwrap();
        ask(&engine, asks(&engine, constraint, 1.0, seed))
    });
    let same = futures::future::join_all(same).await;
    assert!(same.iter().all(|answer| fits_person(&answer.text)));
    let different = (0..12).map(|n| {
        let constraint = Constraint::choice([format!("{n}")]).unwrap();
        ask(&engine, asks(&engine, constraint, 1.0, 1))
    });
    for (n, answer) in futures::future::join_all(different).await.into_iter().enumerate() {
        assert_eq!(answer.text, n.to_string());
    }
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
