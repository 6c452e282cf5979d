//! Values for some layers, by patterns of module names.

use std::fmt;

use openledger_core::{Error, ErrorKind, Result};
use regex::{Regex, RegexBuilder};
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{MapAccess, Visitor},
};

/// The most bytes a pattern may take once compiled: 1 MiB.
const MAX_COMPILED: usize = 1 << 20;
/// The most patterns of one kind: a configuration names layers, and no model has more kinds.
const MAX_PATTERNS: usize = 4096;

/// A value for each of some patterns, in the order in which they are tried.
///
/// A module has the value of the first pattern that matches the end of its name from a dot on, or
/// all of it: `^(.*\.)?(PATTERN)$`, as `get_pattern_key` of PEFT 0.21 has it.
#[derive(Clone, Debug, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "a list is all there is")]
pub struct Patterns<T>(pub Vec<(String, T)>);

impl<T> Default for Patterns<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T> Patterns<T> {
    /// Returns whether there is no pattern.
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<T: Copy> Patterns<T> {
    /// Returns each module's value, or `otherwise`. One pattern is compiled at a time.
    pub(super) fn of_each(&self, modules: &[&str], otherwise: T) -> Result<Vec<T>> {
        if self.0.len() > MAX_PATTERNS {
            let message = format!("{} patterns, at most {MAX_PATTERNS}", self.0.len());
            return Err(Error::new(ErrorKind::Limit, message));
        }
        let mut found = vec![None; modules.len()];
        for (pattern, value) in &self.0 {
            let end = compile(pattern, &format!(r"^(?:.*\.)?(?:{pattern})$"))?;
            let unset = found.iter_mut().zip(modules).filter(|(found, _)| found.is_none());
            for (found, module) in unset {
                *found = end.is_match(module).then_some(*value);
            }
        }
        Ok(found.into_iter().map(|found| found.unwrap_or(otherwise)).collect())
    }
}

/// Compiles a pattern of whole module names.
pub(super) fn whole(pattern: &str) -> Result<Regex> {
    compile(pattern, &format!("^(?:{pattern})$"))
}

/// Compiles `regex`, made of the adapter's `pattern`.
pub(super) fn compile(pattern: &str, regex: &str) -> Result<Regex> {
    RegexBuilder::new(regex).size_limit(MAX_COMPILED).build().map_err(|e| {
        let message =
            format!("the adapter's pattern `{pattern}` is no regular expression known here");
        Error::new(ErrorKind::Unsupported, message).with_source(e)
    })
}

impl<T: Serialize> Serialize for Patterns<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(pattern, value)| (pattern, value)))
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Patterns<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct Pairs<T>(std::marker::PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Pairs<T> {
            type Value = Vec<(String, T)>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a value for each pattern")
            }

            fn visit_map<M: MapAccess<'de>>(
                self,
                mut map: M,
            ) -> std::result::Result<Self::Value, M::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(pairs)
            }
        }
        deserializer.deserialize_map(Pairs(std::marker::PhantomData)).map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MODULES: [&str; 3] =
        ["model.layers.0.self_attn.q_proj", "model.layers.0.mlp.up_proj", "q_proj"];

    fn found(patterns: &[(&str, usize)]) -> Vec<usize> {
        let patterns = patterns.iter().map(|&(pattern, value)| (pattern.to_owned(), value));
        Patterns(patterns.collect()).of_each(&MODULES, 8).unwrap()
    }

    #[test]
    fn a_name_is_matched_from_a_dot_on_and_the_first_pattern_counts() {
        assert_eq!(found(&[]), [8, 8, 8]);
        assert_eq!(found(&[("q_proj", 2)]), [2, 8, 2]);
        assert_eq!(found(&[("proj", 2)]), [8, 8, 8], "a part of a name is none");
        assert_eq!(found(&[("self_attn.q_proj", 2), (".*_proj", 4)]), [2, 4, 4]);
        assert_eq!(found(&[(".*_proj", 4), ("q_proj", 2)]), [4, 4, 4]);
        assert_eq!(found(&[("a|up_proj", 3)]), [8, 3, 8]);
    }

    #[test]
    fn the_order_of_a_file_is_kept() {
        let json = r#"{"z":1,"a":2,"m":3}"#;
        let patterns: Patterns<usize> = serde_json::from_str(json).unwrap();
        assert_eq!(patterns.0[0].0, "z");
        assert_eq!(serde_json::to_string(&patterns).unwrap(), json);
    }

    #[test]
    fn a_pattern_that_blows_up_is_refused() {
        for pattern in ["(", "(?=a)", r"(a)\1", "((((a{1000}){1000}){1000}){1000})", "a{999999999}"]
        {
            let patterns = Patterns(vec![(pattern.to_owned(), 1)]);
            let error = patterns.of_each(&MODULES, 8).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unsupported, "{pattern}");
            assert!(error.to_string().contains(pattern), "{error}");
        }
        let many = Patterns(vec![("a".to_owned(), 1); MAX_PATTERNS + 1]);
        assert_eq!(many.of_each(&MODULES, 8).unwrap_err().kind(), ErrorKind::Limit);
    }
}
