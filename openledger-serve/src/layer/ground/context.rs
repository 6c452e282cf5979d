//! The part of a prompt that holds rows.

use openledger_core::{Passage, Result};
use openledger_model::DataTokenizer;

use super::GroundOptions;
use crate::{Generate, Source};

/// What ends a line, somewhere: a row must not begin one of its own with a marker.
const BREAKS: [char; 7] = ['\n', '\r', '\u{b}', '\u{c}', '\u{85}', '\u{2028}', '\u{2029}'];

/// Rows in tokens, with the words around them.
#[derive(Debug, Default)]
pub(super) struct Context {
    tokens: Vec<u32>,
    /// Their ranges count from the context's first token.
    sources: Vec<Source>,
}

impl Context {
    /// Takes of `found` what fits into `room` tokens.
    pub(super) fn new(
        tokenizer: &DataTokenizer,
        options: &GroundOptions,
        room: usize,
        found: Vec<Passage>,
    ) -> Result<Self> {
        let mut tokens = tokenizer.encode(&options.before)?;
        let after = tokenizer.encode(&options.after)?;
        let mut sources: Vec<Source> = Vec::new();
        for passage in found.into_iter().take(options.rows) {
            let number = sources.len() + 1;
            let text = tokenizer.encode(&entry(number, &passage.text))?;
            let start = tokens.len();
            if start + text.len() + after.len() > room {
                continue;
            }
            tokens.extend(text);
            sources.push(Source {
                number,
                row: passage.row,
                datanet: passage.datanet,
                contributor: passage.contributor,
                score: passage.score,
                tokens: start..tokens.len(),
            });
        }
        if sources.is_empty() {
            return Ok(Self::default());
        }
        tokens.extend(after);
        Ok(Self { tokens, sources })
    }

    /// Puts it in after the first `at` tokens of the prompt.
    pub(super) fn put_into(self, request: &mut Generate, at: usize) {
        request.prompt.splice(at..at, self.tokens);
        request.sources = self.sources;
        for source in &mut request.sources {
            source.tokens = source.tokens.start + at..source.tokens.end + at;
        }
    }
}

/// A row as it stands in the prompt: its number, and its lines indented.
fn entry(number: usize, text: &str) -> String {
    let lines = text.split(BREAKS).map(str::trim_end).filter(|line| !line.is_empty());
    let mut entry = format!("[{number}]");
    for (index, line) in lines.enumerate() {
        entry.push_str(if index == 0 { " " } else { "\n    " });
        entry.push_str(line);
    }
    entry.push('\n');
    entry
}
