//! Which fields of a record make its text.

use std::collections::BTreeMap;

use openledger_core::{Error, Result, Row};

/// Which fields of a record make the row's text.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum Fields {
    /// Those usual for prompts and completions, whatever the case of their letters.
    #[default]
    Found,
    /// Those named: the prompt's, which may be none and are joined by line breaks, and the
    /// completion's.
    Named {
        /// The prompt's fields, in order.
        prompt: Vec<String>,
        /// The completion's field.
        completion: String,
    },
}

/// What prompts and completions are called in datasets, the most telling first. A record needs the
/// last of one line; the others of the line join the prompt.
const USUAL: [(&[&str], &str); 12] = [
    (&["prompt"], "completion"),
    (&["prompt"], "response"),
    (&["instruction", "input"], "output"),
    (&["instruction", "input"], "response"),
    (&["instruction"], "completion"),
    (&["question"], "answer"),
    (&["question"], "long_answer"),
    (&["question"], "response"),
    (&["input"], "output"),
    (&[], "text"),
    (&[], "content"),
    (&[], "body"),
];

/// Fields chosen for a file, by the names its records have.
#[derive(Clone, Debug)]
pub(super) struct Chosen {
    prompt: Vec<String>,
    completion: String,
}

impl Fields {
    /// Names the fields.
    pub fn named<'a>(prompt: impl IntoIterator<Item = &'a str>, completion: &str) -> Self {
        let prompt = prompt.into_iter().map(str::to_owned).collect();
        Self::Named { prompt, completion: completion.to_owned() }
    }

    /// Chooses among the fields that a file's first record has.
    pub(super) fn choose<'a>(&self, names: impl IntoIterator<Item = &'a str>) -> Result<Chosen> {
        let mut names: Vec<&str> = names.into_iter().collect();
        // What is chosen must not depend on whether a parser keeps the order of a file.
        names.sort_unstable();
        let list = || names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
        match self {
            Self::Named { prompt, completion } => {
                let wanted = prompt.iter().chain([completion]);
                if let Some(missing) =
                    wanted.into_iter().find(|name| !names.contains(&name.as_str()))
                {
                    return Err(Error::invalid(format!("no field `{missing}` among {}", list())));
                }
                Ok(Chosen { prompt: prompt.clone(), completion: completion.clone() })
            }
            Self::Found => {
                let find = |usual: &str| {
                    let found = names.iter().find(|name| name.eq_ignore_ascii_case(usual));
                    found.map(|&name| name.to_owned())
                };
                let fitting = USUAL.iter().find_map(|(prompt, completion)| {
                    let completion = find(completion)?;
                    let found: Vec<String> =
                        prompt.iter().filter_map(|usual| find(usual)).collect();
                    let first = prompt.first().is_none_or(|usual| find(usual).is_some());
                    first.then_some(Chosen { prompt: found, completion })
                });
                fitting.ok_or_else(|| {
                    let list = list();
                    Error::invalid(format!("which fields hold the text? found {list}: name them"))
                })
            }
        }
    }
}

impl Chosen {
    /// Makes a row of one record's fields.
    pub(super) fn row(&self, record: &BTreeMap<&str, String>) -> Result<Row> {
        let field = |name: &String| {
            let text = record.get(name.as_str()).map(|text| text.trim());
            text.ok_or_else(|| Error::invalid(format!("the record lacks the field `{name}`")))
        };
        // A part of the prompt may be empty or absent, as Alpaca's `input` often is.
        let (first, others) = match self.prompt.split_first() {
            Some((first, others)) => (Some(field(first)?), others),
            None => (None, &[][..]),
        };
        let others = others.iter().filter_map(|name| field(name).ok());
        let prompt: Vec<&str> =
            first.into_iter().chain(others).filter(|text| !text.is_empty()).collect();
        let completion = field(&self.completion)?;
        if self.prompt.is_empty() {
            return Row::passage(completion);
        }
        Row::exchange(&prompt.join("\n"), completion)
    }
}
