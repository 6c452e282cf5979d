//! `{% generation %}` blocks: what of a conversation the model says.
//!
//! transformers adds this block to Jinja. We have no such tag, so the template is rewritten: the
//! block becomes a `{% filter %}` block, which handles white space as any block does, and the
//! filter puts a mark on both sides of what the block writes. The marks are taken out again after
//! rendering.

use std::ops::Range;

use openledger_core::{Error, Result};

/// The filter's name, no name of Jinja's.
pub(super) const FILTER: &str = "__generation";
/// The variable that holds the two marks.
pub(super) const MARKS: &str = "__generation_marks";

/// Returns the template with generation blocks as filter blocks, and whether there were any.
pub(super) fn rewrite(source: &str) -> (String, bool) {
    let (mut out, mut rest, mut found) = (String::with_capacity(source.len()), source, false);
    while let Some(open) = rest.find("{%") {
        let (before, tag) = rest.split_at(open + 2);
        out.push_str(before);
        rest = tag;
        let Some(close) = tag.find("%}") else { break };
        let inside = &tag[..close];
        let sign = |c: char| c == '-' || c == '+';
        let word = inside.trim_start_matches(sign).trim_end_matches(sign).trim();
        let replacement = match word {
            "generation" => format!("filter {FILTER}({MARKS})"),
            "endgeneration" => "endfilter".to_owned(),
            _ => continue,
        };
        found = true;
        out.push_str(&inside.replacen(word, &replacement, 1));
        rest = &tag[close..];
    }
    out.push_str(rest);
    (out, found)
}

/// Two characters that occur in none of `texts`.
///
/// They are noncharacters, which no text should hold; where one does, another pair is taken.
pub(super) fn marks(texts: &[&str]) -> Result<[char; 2]> {
    let mut free =
        ('\u{FDD0}'..='\u{FDEF}').filter(|&mark| texts.iter().all(|text| !text.contains(mark)));
    match (free.next(), free.next()) {
        (Some(open), Some(close)) => Ok([open, close]),
        _ => Err(Error::invalid("the conversation holds every noncharacter of Unicode")),
    }
}

/// Takes the marks out of `marked`; returns the text, and the bytes of it between marks.
///
/// # Errors
/// [`ErrorKind::Invalid`](openledger_core::ErrorKind::Invalid) if marks are nested or single, as
/// where a template cuts what a block wrote.
pub(super) fn unmark(
    marked: &str,
    [open, close]: [char; 2],
) -> Result<(String, Vec<Range<usize>>)> {
    let broken = || Error::invalid("the template nests or cuts its generation blocks");
    let (mut text, mut spans, mut begun) = (String::with_capacity(marked.len()), vec![], None);
    for character in marked.chars() {
        if character == open {
            if begun.replace(text.len()).is_some() {
                return Err(broken());
            }
        } else if character == close {
            spans.push(begun.take().ok_or_else(broken)?..text.len());
        } else {
            text.push(character);
        }
    }
    match begun {
        Some(_) => Err(broken()),
        None => Ok((text, spans)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_rewritten_with_their_white_space_control() {
        let (source, found) =
            rewrite("a{%- generation -%}b{% endgeneration %}{% if x %}{%generation%}");
        assert!(found);
        assert_eq!(
            source,
            "a{%- filter __generation(__generation_marks) -%}b{% endfilter %}{% if x %}\
             {%filter __generation(__generation_marks)%}"
        );
        for plain in ["no block", "{% set generation = 1 %}", "{{ generation }}", "{% generation"] {
            assert_eq!(rewrite(plain), (plain.to_owned(), false));
        }
    }

    #[test]
    fn marks_come_out_as_spans() {
        let (text, spans) = unmark("q<é>!<>", ['<', '>']).unwrap();
        assert_eq!((text.as_str(), spans), ("qé!", vec![1..3, 4..4]));
        for broken in ["<", ">", "<<>>", "><"] {
            assert!(unmark(broken, ['<', '>']).is_err());
        }
    }

    #[test]
    fn a_mark_in_the_text_is_not_taken() {
        assert_eq!(marks(&["a"]).unwrap(), ['\u{FDD0}', '\u{FDD1}']);
        assert_eq!(marks(&["\u{FDD0}", "\u{FDD1}"]).unwrap(), ['\u{FDD2}', '\u{FDD3}']);
        let all: String = ('\u{FDD0}'..='\u{FDEF}').collect();
        assert!(marks(&[&all]).is_err());
    }
}
