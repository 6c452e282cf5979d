//! stories260K, a real trained model, against what its authors' code says.

use openledger_kernels::argmax;
use openledger_model::{Batch, Model, Tape, Trainable};
use serde_json::Value;

use crate::shared;

fn golden() -> Option<(Model, Value)> {
    let folder = shared("models/stories260K")?;
    let golden = std::fs::read(folder.join("golden.json")).unwrap();
    Some((Model::open(folder.join("hf")).unwrap(), serde_json::from_slice(&golden).unwrap()))
}

fn ids(value: &Value) -> Vec<u32> {
    value.as_array().unwrap().iter().map(|id| id.as_u64().unwrap() as u32).collect()
}

/// Logits of all tokens, `[tokens][vocabulary]`.
fn logits(model: &Model, tokens: &[u32]) -> Vec<Vec<f32>> {
    let batch = Batch::new([tokens]);
    let mut tape = Tape::new(model.network(), None, Trainable::Nothing, &batch);
    let hidden = tape.run().unwrap();
    let logits = tape.logits(&hidden);
    logits.chunks_exact(model.network().decoder().vocabulary()).map(<[f32]>::to_vec).collect()
}

#[test]
fn logits_and_their_largest_are_those_of_the_original() {
    let Some((model, golden)) = golden() else { return };
    let prompt = ids(&golden["prompt_ids"]);
    let logits = logits(&model, &prompt);
    let largest: Vec<u32> = logits.iter().map(|row| argmax(row).unwrap() as u32).collect();
    assert_eq!(largest, ids(&golden["argmax_each"]));
    for (ours, theirs) in
        logits[prompt.len() - 1].iter().zip(golden["logits_last8"].as_array().unwrap())
    {
        let difference = (f64::from(*ours) - theirs.as_f64().unwrap()).abs();
        assert!(difference < 2e-5, "{ours} and {theirs} are {difference} apart");
    }
}

#[test]
fn the_greedy_continuation_is_that_of_the_original() {
    let Some((model, golden)) = golden() else { return };
    let expected = ids(&golden["greedy_from_bos_ids"]);
    // One pass over the text shows every greedy choice: each must be the token that follows.
    let rows = logits(&model, &expected[..expected.len() - 1]);
    let chosen: Vec<u32> = rows.iter().map(|row| argmax(row).unwrap() as u32).collect();
    assert_eq!(chosen, expected[1..]);
    let text = golden["greedy_from_bos_text"].as_str().unwrap();
    assert_eq!(model.tokenizer().decode(&expected).unwrap(), text);
}

#[test]
fn text_becomes_the_tokens_of_the_original_and_back() {
    let Some((model, golden)) = golden() else { return };
    for case in golden["tokenizer_cases"].as_array().unwrap() {
        let text = case["text"].as_str().unwrap();
        assert_eq!(model.tokenizer().encode(text, true).unwrap(), ids(&case["ids"]), "{text:?}");
    }
}
