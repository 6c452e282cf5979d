//! Where rows come from: the user's files, or three Datanets of our own.

use std::path::{Path, PathBuf};

use openledger_core::{Error, Result, Row};
use openledger_datanet::{
    Draft, Limits,
    intake::{self, Fields},
};
use openledger_model::{Template, Tokenizer};
use serde::Deserialize;

use super::Options;

/// A Datanet to be: drafts by contributor, and prompts nobody trains on.
pub(super) struct Source {
    pub(super) name: String,
    pub(super) owner: String,
    pub(super) files: Vec<Contributed>,
    pub(super) held_out: Vec<Prompt>,
}

/// Something to answer.
#[derive(Clone)]
pub(super) enum Prompt {
    /// A question, asked in the words the model was trained with.
    Question(String),
    /// The beginning of a text, to be continued.
    Beginning(String),
}

impl Prompt {
    pub(super) fn text(&self) -> &str {
        match self {
            Self::Question(text) | Self::Beginning(text) => text,
        }
    }

    /// Returns the tokens of the prompt, at most `limit`.
    pub(super) fn tokens(
        &self,
        tokenizer: &Tokenizer,
        template: &Template,
        limit: usize,
    ) -> Result<Vec<u32>> {
        let tokens = match self {
            Self::Question(text) => template.prompt(tokenizer, text)?,
            Self::Beginning(text) => tokenizer.encode(text, true)?,
        };
        Ok(Template::cut(tokens, limit))
    }
}

/// What one person brings.
pub(super) struct Contributed {
    pub(super) contributor: String,
    pub(super) drafts: Vec<Draft>,
}

/// Held-out prompts for each Datanet.
const HELD_OUT: usize = 10;
/// A passage is held out only if it has this many words: half of it must say something.
const PASSAGE_WORDS: usize = 12;
/// People among whom the rows of a user's file are dealt in turn.
const DEALT: usize = 3;

const OURS: [(&str, [&str; 3]); 3] = [
    ("bread", ["amara.jsonl", "jonas.csv", "mei.jsonl"]),
    ("bicycles", ["petra.jsonl", "tomas.json", "ines.jsonl"]),
    ("stars", ["yusuf.jsonl", "elena.csv", "kofi.jsonl"]),
];

/// Reads `NAME=FILE`.
pub(super) fn parse_argument(text: &str) -> Result<(String, PathBuf), String> {
    match text.split_once('=') {
        Some((name, file)) if !name.is_empty() && !file.is_empty() => {
            Ok((name.to_owned(), file.into()))
        }
        _ => Err("give NAME=FILE".to_owned()),
    }
}

pub(super) fn sources(options: &Options) -> Result<Vec<Source>> {
    if options.data.is_empty() {
        return ours();
    }
    if options.rows < DEALT {
        return Err(Error::invalid(format!("`--rows` is {}, at least {DEALT}", options.rows)));
    }
    options.data.iter().map(|(name, file)| theirs(name, file, options.rows)).collect()
}

/// Cuts a user's file into rows to train on, dealt in turn to three people, and prompts held out
/// from the rows after them.
fn theirs(name: &str, file: &Path, rows: usize) -> Result<Source> {
    let limits = Limits::default();
    let mut drafts = intake::read(file, &Fields::Found, &limits)?;
    let needed = DEALT + 1;
    if drafts.len() < needed {
        let message = format!("`{}` holds {} rows, {needed} needed", file.display(), drafts.len());
        return Err(Error::invalid(message));
    }
    let rest = drafts.split_off(rows.min(drafts.len() * 9 / 10).max(DEALT));
    let held_out = rest.iter().filter_map(|draft| prompt(&draft.row)).take(HELD_OUT).collect();
    let mut files: Vec<Contributed> = (1..=DEALT)
        .map(|number| Contributed { contributor: format!("{name}-{number}"), drafts: Vec::new() })
        .collect();
    for (index, draft) in drafts.into_iter().enumerate() {
        files[index % DEALT].drafts.push(draft);
    }
    Ok(Source { name: name.to_owned(), owner: format!("the owner of {name}"), files, held_out })
}

/// What to ask with: an exchange's prompt, or the first half of a long passage.
fn prompt(row: &Row) -> Option<Prompt> {
    if !row.prompt().is_empty() {
        return Some(Prompt::Question(row.prompt().to_owned()));
    }
    let words = row.completion().split_whitespace().count();
    (words >= PASSAGE_WORDS).then(|| {
        let half = row.completion().len() / 2;
        let cut = row.completion()[..row.completion().floor_char_boundary(half)].trim_end();
        let whole = cut.rsplit_once(char::is_whitespace).map_or(cut, |(whole, _)| whole);
        Prompt::Beginning(whole.to_owned())
    })
}

fn ours() -> Result<Vec<Source>> {
    #[derive(Deserialize)]
    struct HeldOut {
        datanet: String,
        question: String,
    }
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("data");
    let text = openledger_core::file::read(folder.join("held_out.jsonl"), 1 << 20)?;
    let held_out = serde_json::Deserializer::from_slice(&text)
        .into_iter()
        .collect::<serde_json::Result<Vec<HeldOut>>>()
        .map_err(|e| Error::corrupt("cannot read `held_out.jsonl`").with_source(e))?;
    OURS.into_iter()
        .map(|(name, files)| {
            let files = files
                .into_iter()
                .map(|file| {
                    let path = folder.join(name).join(file);
                    let drafts = intake::read(&path, &Fields::Found, &Limits::default())?;
                    let contributor = file.split('.').next().unwrap_or(file).to_owned();
                    Ok(Contributed { contributor, drafts })
                })
                .collect::<Result<_>>()?;
            let questions = held_out.iter().filter(|held_out| held_out.datanet == name);
            Ok(Source {
                name: name.to_owned(),
                owner: format!("the owner of {name}"),
                files,
                held_out: questions
                    .map(|held_out| Prompt::Question(held_out.question.clone()))
                    .collect(),
            })
        })
        .collect()
}
