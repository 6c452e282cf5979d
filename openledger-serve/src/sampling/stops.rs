//! Texts that end an answer.

use openledger_core::{Error, Result};

/// Lets text through up to the first stop string, whatever pieces it comes in.
///
/// An answer ends where the first of its stop strings is complete; of several that end there the
/// longest counts. Text that may be the beginning of one is held back until it is known not to be.
#[derive(Clone, Debug, Default)]
pub(super) struct Stops {
    patterns: Vec<Pattern>,
    /// Text that may be the beginning of a stop string.
    held: String,
}

/// A stop string read byte by byte (Knuth, Morris, Pratt 1977).
#[derive(Clone, Debug)]
struct Pattern {
    text: Box<str>,
    /// For each length of matched text, the longest shorter one that matches at the same place.
    shorter: Vec<usize>,
    /// Bytes of `text` that the text so far ends with.
    matched: usize,
}

/// Text let through by [`Stops`].
#[derive(Debug, Eq, PartialEq)]
pub(super) struct Passed {
    pub(super) text: String,
    /// Whether a stop string followed it.
    pub(super) stopped: bool,
}

const MOST: usize = 64;
const LONGEST: usize = 1024;

impl Stops {
    /// # Errors
    /// [`ErrorKind::Invalid`](openledger_core::ErrorKind::Invalid) for too many, an empty one or one too long.
    pub(super) fn new(stops: &[String]) -> Result<Self> {
        if stops.len() > MOST {
            let message = format!("{} stop strings, allowed are {MOST}", stops.len());
            return Err(Error::invalid(message));
        }
        if stops.iter().any(String::is_empty) {
            return Err(Error::invalid("an empty stop string would end every answer"));
        }
        if let Some(long) = stops.iter().find(|stop| stop.len() > LONGEST) {
            let message = format!("a stop string of {} bytes, allowed are {LONGEST}", long.len());
            return Err(Error::invalid(message));
        }
        let patterns = stops.iter().map(|stop| Pattern::new(stop)).collect();
        Ok(Self { patterns, held: String::new() })
    }

    /// Takes more text; returns what certainly belongs to the answer. Nothing may follow a stop.
    pub(super) fn push(&mut self, text: &str) -> Passed {
        if self.patterns.is_empty() {
            return Passed { text: text.to_owned(), stopped: false };
        }
        let before = self.held.len();
        self.held.push_str(text);
        for (index, byte) in text.bytes().enumerate() {
            let complete = self.patterns.iter_mut().filter_map(|pattern| pattern.push(byte));
            if let Some(longest) = complete.max() {
                let mut text = std::mem::take(&mut self.held);
                text.truncate(before + index + 1 - longest);
                return Passed { text, stopped: true };
            }
        }
        let open = self.patterns.iter().map(|pattern| pattern.matched).max().unwrap_or_default();
        let rest = self.held.split_off(self.held.len() - open);
        Passed { text: std::mem::replace(&mut self.held, rest), stopped: false }
    }

    /// Returns what was held back, when no more text comes.
    pub(super) fn finish(&mut self) -> String {
        std::mem::take(&mut self.held)
    }
}

impl Pattern {
    fn new(text: &str) -> Self {
        let bytes = text.as_bytes();
        let mut shorter = vec![0; bytes.len() + 1];
        let mut matched = 0;
        for end in 1..bytes.len() {
            while matched > 0 && bytes[end] != bytes[matched] {
                matched = shorter[matched];
            }
            if bytes[end] == bytes[matched] {
                matched += 1;
            }
            shorter[end + 1] = matched;
        }
        Self { text: text.into(), shorter, matched: 0 }
    }

    /// Takes a byte; returns the length if the whole is matched.
    fn push(&mut self, byte: u8) -> Option<usize> {
        let bytes = self.text.as_bytes();
        while self.matched > 0 && bytes[self.matched] != byte {
            self.matched = self.shorter[self.matched];
        }
        if bytes[self.matched] == byte {
            self.matched += 1;
        }
        (self.matched == bytes.len()).then_some(self.matched)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn stops(texts: &[&str]) -> Stops {
        Stops::new(&texts.iter().map(|&text| text.to_owned()).collect::<Vec<_>>()).unwrap()
    }

    #[test]
    fn what_may_be_a_beginning_is_held_back() {
        let mut stops = stops(&["\n\nHuman:", "END"]);
        let mut push = |text: &str| stops.push(text);
        let passes = |text: &str| Passed { text: text.to_owned(), stopped: false };
        assert_eq!(push("So.\n"), passes("So."));
        assert_eq!(push("\nHu"), passes(""));
        assert_eq!(push("h? E"), passes("\n\nHuh? "));
        assert_eq!(push("NEN"), passes("EN"));
        assert_eq!(push("D and"), Passed { text: String::new(), stopped: true });
    }

    #[test]
    fn the_end_gives_back_what_was_held() {
        let mut stops = stops(&["abc"]);
        assert_eq!(stops.push("xab").text, "x");
        assert_eq!(stops.finish(), "ab");
    }

    #[test]
    fn the_first_complete_stop_counts_and_the_longest_of_those() {
        let passed = stops(&["bcd", "c", "abc"]).push("xabcd");
        assert_eq!(passed, Passed { text: "x".to_owned(), stopped: true });
    }

    #[test]
    fn what_cannot_stop_an_answer_is_refused() {
        for (stops, says) in [
            (vec![String::new()], "empty"),
            (vec!["x".to_owned(); 65], "65 stop strings"),
            (vec!["x".repeat(1025)], "1025 bytes"),
        ] {
            let error = Stops::new(&stops).unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
        }
    }

    /// The text before the stop string that ends first, by trying all ends and all strings.
    fn naively<'a>(text: &'a str, stops: &[String]) -> Option<&'a str> {
        (0..=text.len()).find_map(|end| {
            let head = text.as_bytes().get(..end)?;
            let longest = stops.iter().filter(|stop| head.ends_with(stop.as_bytes()));
            longest.map(|stop| &text[..end - stop.len()]).min_by_key(|before| before.len())
        })
    }

    proptest! {
        #[test]
        fn pieces_do_not_matter(
            pieces in proptest::collection::vec("[abé€]{0,4}", 0..20),
            stops in proptest::collection::vec("[abé€]{1,5}", 0..4),
        ) {
            let whole: String = pieces.concat();
            let mut matcher = Stops::new(&stops).unwrap();
            let mut shown = String::new();
            let mut stopped = false;
            for piece in &pieces {
                let passed = matcher.push(piece);
                shown.push_str(&passed.text);
                if passed.stopped {
                    stopped = true;
                    break;
                }
                // Nothing is held back without a reason.
                prop_assert!(matcher.held.is_empty() || stops.iter().any(|stop| stop.starts_with(&matcher.held)));
            }
            if !stopped {
                shown.push_str(&matcher.finish());
            }
            let expected = naively(&whole, &stops);
            prop_assert_eq!(stopped, expected.is_some());
            prop_assert_eq!(shown, expected.unwrap_or(&whole));
        }
    }
}
