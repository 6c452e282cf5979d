//! What the ABI calls `NothingToClaim { account: 0x…, cumulative: 5 }`, as people say it:
//! "nothing to claim: account 0x…, cumulative 5".
//!
//! The text comes from the derived `Debug` of the bindings, which carries every name of the ABI;
//! so no table of sentences can fall behind the contracts.

use std::fmt;

/// Splits the `Debug` of an interface's enum, `Name(Name { a: 1 })`, into the inner name and the
/// inner fields.
pub(super) fn parts(debug: &str) -> (&str, &str) {
    let inner = debug.split_once('(').map_or(debug, |(_, rest)| rest.trim_end_matches(')'));
    let end = inner.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(inner.len());
    let (name, fields) = inner.split_at(end);
    // The outer parenthesis is closed by the trim above; one that belonged to the fields, as in
    // `Name(7)`, has lost its end only.
    let fields = fields.trim().trim_start_matches(['{', '(']).trim_end_matches('}');
    (name, fields.trim())
}

/// Writes name and fields as a sentence.
pub(super) fn write(f: &mut fmt::Formatter<'_>, debug: &str) -> fmt::Result {
    let (name, fields) = parts(debug);
    f.write_str(&words(name))?;
    if fields.is_empty() {
        return Ok(());
    }
    f.write_str(": ")?;
    let mut separate = "";
    for field in split(fields) {
        f.write_str(separate)?;
        match field.split_once(": ") {
            Some((label, value)) if is_position(label) => f.write_str(value)?,
            Some((label, value)) if is_name(label) => {
                write!(f, "{} {value}", words(&label.replace('_', "")))?;
            }
            _ => f.write_str(field)?,
        }
        separate = ", ";
    }
    Ok(())
}

fn is_name(label: &str) -> bool {
    label.chars().all(|c| c.is_alphanumeric() || c == '_')
}

/// What the bindings call a parameter that has no name.
fn is_position(label: &str) -> bool {
    label.strip_prefix('_').is_some_and(|rest| rest.chars().all(|c| c.is_ascii_digit()))
}

/// Splits at the commas that are neither in brackets nor in a text.
fn split(fields: &str) -> Vec<&str> {
    let (mut depth, mut in_text, mut escaped, mut start) = (0i32, false, false, 0);
    let mut all = Vec::new();
    for (at, c) in fields.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' if in_text => escaped = true,
            '"' => in_text = !in_text,
            '{' | '[' | '(' if !in_text => depth += 1,
            '}' | ']' | ')' if !in_text => depth -= 1,
            ',' if !in_text && depth == 0 => {
                all.push(fields[start..at].trim());
                start = at + 1;
            }
            _ => {}
        }
    }
    all.push(fields[start..].trim());
    all.retain(|field| !field.is_empty());
    all
}

/// Splits `ERC20InsufficientBalance` into "ERC20 insufficient balance".
fn words(name: &str) -> String {
    let letters: Vec<char> = name.chars().collect();
    let mut all: Vec<String> = Vec::new();
    for (at, &c) in letters.iter().enumerate() {
        let before = at.checked_sub(1).map(|at| letters[at]);
        let after = letters.get(at + 1);
        let begins = before.is_none_or(|before| {
            c.is_uppercase()
                && (!before.is_uppercase() || after.is_some_and(|after| after.is_lowercase()))
        });
        match all.last_mut() {
            Some(word) if !begins => word.push(c),
            _ => all.push(c.to_string()),
        }
    }
    for word in &mut all {
        // An abbreviation keeps its capitals.
        if word.chars().filter(|c| c.is_uppercase()).count() < 2 {
            *word = word.to_lowercase();
        }
    }
    all.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Said(&'static str);

    impl fmt::Display for Said {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write(f, self.0)
        }
    }

    #[test]
    fn names_become_words_and_fields_become_pairs() {
        for (debug, said) in [
            (
                "NothingToClaim(NothingToClaim { account: 0x01, cumulative: 5 })",
                "nothing to claim: account 0x01, cumulative 5",
            ),
            ("RootEmpty(RootEmpty)", "root empty"),
            ("RootEmpty(RootEmpty {})", "root empty"),
            (
                "ERC20InsufficientBalance(ERC20InsufficientBalance { sender: 0x, balance: 1 })",
                "ERC20 insufficient balance: sender 0x, balance 1",
            ),
            (
                r#"StringTooLong(StringTooLong { str: "a, b: {\"(" })"#,
                r#"string too long: str "a, b: {\"(""#,
            ),
            (
                "SplitChanged(SplitChanged { split: Split { platform: 1, model: 2 } })",
                "split changed: split Split { platform: 1, model: 2 }",
            ),
            ("TooFar(TooFar { activatesAt: 7 })", "too far: activates at 7"),
            ("Odd(Odd { _0: 7, who: 0x })", "odd: 7, who 0x"),
            ("Odd(Odd(7))", "odd: 7"),
        ] {
            assert_eq!(Said(debug).to_string(), said);
        }
    }
}
