//! Which sources an answer cites, and where.

use std::ops::Range;

use openledger_core::{Address, DatanetId, RowId};

/// A row in a prompt's context.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Source {
    /// Its number in the prompt, from 1.
    pub number: usize,
    /// The row's public name.
    pub row: RowId,
    /// Its Datanet.
    pub datanet: DatanetId,
    /// Who contributed it.
    pub contributor: Address,
    /// How relevant the index found it.
    pub score: f32,
    /// Which of the prompt's tokens are its text, number and all.
    pub tokens: Range<usize>,
}

/// What an answer cites.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Citations {
    /// The rows that were in context, cited or not, by ascending number.
    pub sources: Vec<Source>,
    /// Where the answer's text cites one of them, in order.
    pub marks: Vec<Mark>,
    /// Where it cites a number that no source has: bytes of its text.
    pub invented: Vec<Range<usize>>,
}

/// A place where an answer cites a source.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Mark {
    /// Which bytes of the answer's text, brackets included: those of `[1]`, or of `[1, 2]` for each
    /// of its numbers.
    pub span: Range<usize>,
    /// The source's number.
    pub number: usize,
}

impl Citations {
    /// Finds the markers in an answer: `[1]`, `[1][2]`, `[1, 2]`. Anything else in brackets is text.
    ///
    /// # Examples
    /// ```
    /// use openledger_serve::Citations;
    ///
    /// let citations = Citations::read(Vec::new(), "It rained [1].");
    /// assert_eq!(citations.invented, [10..13]);
    /// ```
    pub fn read(sources: Vec<Source>, answer: &str) -> Self {
        let mut citations = Self { sources, ..Self::default() };
        for (open, _) in answer.match_indices('[') {
            let inside = &answer[open + 1..];
            // Brackets in brackets: the inner ones are found at their own opening.
            let Some(close) = inside.find(['[', ']']).filter(|&at| inside[at..].starts_with(']'))
            else {
                continue;
            };
            let Some(numbers) = numbers(&inside[..close]) else { continue };
            let span = open..open + close + 2;
            for number in numbers {
                match citations.sources.iter().any(|source| source.number == number) {
                    true => citations.marks.push(Mark { span: span.clone(), number }),
                    false => citations.invented.push(span.clone()),
                }
            }
        }
        citations
    }

    /// Returns the sources that the answer cites at least once.
    pub fn cited(&self) -> impl Iterator<Item = &Source> {
        let is_cited =
            |source: &&Source| self.marks.iter().any(|mark| mark.number == source.number);
        self.sources.iter().filter(is_cited)
    }
}

/// The numbers of a marker; `None` if it is not one.
fn numbers(inside: &str) -> Option<Vec<usize>> {
    // A number of more digits is no source's, and a list of more is no marker.
    const LONGEST: usize = 64;
    if inside.len() > LONGEST {
        return None;
    }
    let number = |text: &str| {
        let digits = text.trim_matches(' ');
        let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        if plain { digits.parse().ok() } else { None }
    };
    inside.split(',').map(number).collect()
}

#[cfg(test)]
mod tests {
    use openledger_core::B256;
    use proptest::prelude::*;

    use super::*;

    fn sources(count: usize) -> Vec<Source> {
        (1..=count)
            .map(|number| Source {
                number,
                row: B256::repeat_byte(number as u8).into(),
                datanet: B256::ZERO.into(),
                contributor: Address::ZERO,
                score: 1.0,
                tokens: 0..0,
            })
            .collect()
    }

    #[test]
    fn markers_are_found_where_they_stand() {
        let text = "Ü[1] and [2][3], [ 1, 3 ]. Not [a], [1-2], [], [[2]], [1";
        let found = Citations::read(sources(3), text);
        let spans: Vec<(&str, usize)> =
            found.marks.iter().map(|mark| (&text[mark.span.clone()], mark.number)).collect();
        let expected =
            [("[1]", 1), ("[2]", 2), ("[3]", 3), ("[ 1, 3 ]", 1), ("[ 1, 3 ]", 3), ("[2]", 2)];
        assert_eq!(spans, expected);
        assert!(found.invented.is_empty());
        assert_eq!(found.cited().count(), 3);
    }

    #[test]
    fn a_number_that_no_source_has_is_invented() {
        let found = Citations::read(sources(2), "[2] [0] [3] [99999999999999999999999999]");
        assert_eq!((found.marks.len(), found.invented), (1, vec![4..7, 8..11]));
    }

    proptest! {
        #[test]
        fn spans_are_markers_and_in_order(text in "([\\[\\]0-3, a]|\\PC){0,60}") {
            let found = Citations::read(sources(2), &text);
            for mark in &found.marks {
                let shown = &text[mark.span.clone()];
                prop_assert!(shown.starts_with('[') && shown.ends_with(']'));
                prop_assert!(shown.contains(&mark.number.to_string()));
            }
            prop_assert!(found.marks.windows(2).all(|m| m[0].span.start <= m[1].span.start));
        }
    }
}
