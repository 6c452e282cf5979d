//! Refuses fields that nothing would read.

use openledger_core::{Error, Result};
use serde_json::Value;

/// Checks that every field of `given` came through: that it is in `known`, what was understood,
/// written again. serde passes over unknown fields, and one misspelt would train with a default.
///
/// # Errors
/// `Invalid` naming the field and the nearest that is known in its place.
pub(super) fn check(given: &Value, known: &Value, at: &str) -> Result<()> {
    match (given, known) {
        (Value::Object(given), Value::Object(known)) => {
            for (name, value) in given {
                let path = if at.is_empty() { name.clone() } else { format!("{at}.{name}") };
                match known.get(name) {
                    Some(known) => check(value, known, &path)?,
                    None => return Err(unknown(&path, name, known.keys())),
                }
            }
        }
        (Value::Array(given), Value::Array(known)) => {
            for (index, (given, known)) in given.iter().zip(known).enumerate() {
                check(given, known, &format!("{at}[{index}]"))?;
            }
        }
        _ => {}
    }
    Ok(())
}

fn unknown<'a>(path: &str, name: &str, known: impl Iterator<Item = &'a String>) -> Error {
    let nearest = known.min_by_key(|known| strsim::damerau_levenshtein(name, known));
    Error::invalid(match nearest {
        Some(nearest) => format!("unknown field `{path}`, did you mean `{nearest}`?"),
        None => format!("unknown field `{path}`"),
    })
}
