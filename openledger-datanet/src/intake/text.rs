//! Plain text and Markdown: a row is a paragraph.

use openledger_core::{Result, Row};

use crate::{Draft, Origin};

pub(super) fn paragraphs(name: &str, text: &str) -> Result<Vec<Draft>> {
    split(name, text, |_| false)
}

/// Paragraphs of Markdown. A fenced block stays together with its empty lines; a heading ends the
/// paragraph before it and is no row, since it says nothing by itself.
pub(super) fn markdown(name: &str, text: &str) -> Result<Vec<Draft>> {
    split(name, text, |line| {
        let hashes = line.bytes().take_while(|&byte| byte == b'#').count();
        (1..=6).contains(&hashes) && line[hashes..].starts_with([' ', '\t'])
            || hashes > 0 && line.len() == hashes
    })
}

fn split(name: &str, text: &str, is_heading: impl Fn(&str) -> bool) -> Result<Vec<Draft>> {
    let markdown = is_heading("# ");
    let mut drafts = Vec::new();
    let mut paragraph = String::new();
    let (mut begins, mut fence) = (1, false);
    for (number, line) in (1..).zip(text.lines()) {
        let heading = !fence && is_heading(line);
        if markdown && line.trim_start().starts_with("```") {
            fence = !fence;
        }
        if (line.trim().is_empty() && !fence) || heading {
            finish(name, begins, &mut paragraph, &mut drafts)?;
            continue;
        }
        if paragraph.is_empty() {
            begins = number;
        }
        paragraph.push_str(line);
        paragraph.push('\n');
    }
    finish(name, begins, &mut paragraph, &mut drafts)?;
    Ok(drafts)
}

fn finish(
    name: &str,
    begins: usize,
    paragraph: &mut String,
    drafts: &mut Vec<Draft>,
) -> Result<()> {
    let text = std::mem::take(paragraph);
    if !text.trim().is_empty() {
        drafts.push(Draft::new(Row::passage(&text)?, Origin::new(name, begins)));
    }
    Ok(())
}
