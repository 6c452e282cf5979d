//! Guessing the next tokens from what was written before.

use std::collections::HashMap;

/// Proposes tokens that may come next: those that followed the same few tokens before (prompt lookup,
/// Saxena 2023).
///
/// Answers repeat their prompts: names, code, quotations. A draft costs a few table look-ups; an engine
/// ([`draft_tokens`](crate::EngineOptions::draft_tokens)) checks all of it in one pass and keeps what
/// [`follow`](Self::follow) accepts, so the answer does not change.
///
/// The longest match counts, of 4 tokens down to 2, and of those the latest. Where the match runs into
/// the end of the text, the draft goes on with itself: a loop is continued as a loop.
///
/// # Examples
/// ```
/// use openledger_serve::Lookup;
///
/// let mut lookup = Lookup::new(3);
/// lookup.extend([5, 6, 7, 8, 9, 1, 5, 6]);
/// assert_eq!(lookup.propose(), [7, 8, 9]);
/// lookup.push(2);
/// assert!(lookup.propose().is_empty());
/// ```
#[derive(Clone, Debug)]
pub struct Lookup {
    tokens: Vec<u32>,
    /// Where each run of tokens last ended, the runs that end now left out.
    ends: HashMap<Run, usize>,
    most: usize,
    draft: Vec<u32>,
}

/// The longest run that is looked up.
const LONGEST: usize = 4;
/// The shortest: single tokens match everywhere and predict nothing.
const SHORTEST: usize = 2;

/// A few tokens, filled up in front with what no token is.
type Run = [Option<u32>; LONGEST];

impl Lookup {
    /// Proposes at most `most` tokens at a time.
    pub fn new(most: usize) -> Self {
        Self { tokens: Vec::new(), ends: HashMap::new(), most, draft: Vec::new() }
    }

    /// Takes the next token of the prompt or the answer.
    pub fn push(&mut self, token: u32) {
        // Now that something follows them, the runs that ended are worth knowing.
        for length in SHORTEST..=LONGEST {
            if let Some(run) = self.run(length) {
                self.ends.insert(run, self.tokens.len());
            }
        }
        self.tokens.push(token);
        self.draft.clear();
        let end = (SHORTEST..=LONGEST)
            .rev()
            .find_map(|length| self.ends.get(&self.run(length)?).copied());
        let Some(end) = end else { return };
        for at in end..end + self.most {
            let known = self.tokens.get(at).or_else(|| self.draft.get(at - self.tokens.len()));
            let Some(&next) = known else { return };
            self.draft.push(next);
        }
    }

    /// Returns what may come next; nothing if nothing like it came before.
    pub fn propose(&self) -> &[u32] {
        &self.draft
    }

    /// Chooses tokens along a draft; returns them, at least one unless the answer is over before.
    ///
    /// `choose(n)` is asked for the token that ordinary decoding takes from the logits after `n` tokens of
    /// the draft, and for `None` where the answer is over. It is asked again only while it agrees with
    /// the draft, so it sees exactly the logits that it would see without one, in the same order: greedy or
    /// by chance, an answer is the same with any draft (the rule of Leviathan et al. 2023 for one sample that
    /// is fixed by its seed).
    ///
    /// # Errors
    /// Those of `choose`.
    ///
    /// # Examples
    /// ```
    /// use openledger_serve::Lookup;
    ///
    /// let text = [4, 5, 6, 7];
    /// let tokens = Lookup::follow(&[4, 5, 9, 9], |n| Ok::<_, ()>(text.get(n).copied()))?;
    /// assert_eq!(tokens, [4, 5, 6]);
    /// # Ok::<(), ()>(())
    /// ```
    pub fn follow<E>(
        draft: &[u32],
        mut choose: impl FnMut(usize) -> Result<Option<u32>, E>,
    ) -> Result<Vec<u32>, E> {
        let mut chosen = Vec::new();
        loop {
            let index = chosen.len();
            let Some(token) = choose(index)? else { return Ok(chosen) };
            chosen.push(token);
            if draft.get(index) != Some(&token) {
                return Ok(chosen);
            }
        }
    }

    fn run(&self, length: usize) -> Option<Run> {
        let from = self.tokens.len().checked_sub(length)?;
        let mut run = [None; LONGEST];
        let places = run[LONGEST - length..].iter_mut();
        places.zip(&self.tokens[from..]).for_each(|(place, &token)| *place = Some(token));
        Some(run)
    }
}

impl Extend<u32> for Lookup {
    fn extend<T: IntoIterator<Item = u32>>(&mut self, tokens: T) {
        tokens.into_iter().for_each(|token| self.push(token));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::sampling::{Sampling, sampler::Sampler};

    /// The draft by looking at every place.
    fn naively(tokens: &[u32], most: usize) -> Vec<u32> {
        for length in (SHORTEST..=LONGEST).rev() {
            let Some(from) = tokens.len().checked_sub(length) else { continue };
            let places = (length..tokens.len()).rev();
            let found = places.into_iter().find(|&end| tokens[end - length..end] == tokens[from..]);
            let Some(end) = found else { continue };
            let mut text = tokens.to_vec();
            (0..most).for_each(|n| text.push(text[end + n]));
            return text.split_off(tokens.len());
        }
        Vec::new()
    }

    /// Logits that depend on the tokens before.
    fn logits(text: &[u32]) -> Vec<f32> {
        let hash = text.iter().rev().take(2).fold(7u32, |hash, token| hash * 31 + token);
        (0..6u32).map(|token| ((hash ^ (token * 77)) % 13) as f32 / 3.0).collect()
    }

    proptest! {
        #[test]
        fn drafts_are_what_followed_the_latest_longest_match(
            tokens in proptest::collection::vec(0u32..4, 0..60),
            most in 0usize..6,
        ) {
            let mut lookup = Lookup::new(most);
            for end in 0..tokens.len() {
                lookup.push(tokens[end]);
                prop_assert_eq!(lookup.propose(), naively(&tokens[..=end], most));
            }
        }

        #[test]
        fn an_answer_is_the_same_with_drafts(
            prompt in proptest::collection::vec(0u32..6, 1..20),
            seed in any::<u64>(),
            temperature in prop_oneof![Just(0.0f32), Just(1.0)],
        ) {
            let sampling = Sampling::with_temperature(temperature, seed)
                .with_frequency_penalty(0.25)
                .with_top_p(0.9);
            let count = 60;
            let mut plain = prompt.clone();
            let mut sampler = Sampler::new(sampling.clone(), &prompt);
            for _ in 0..count {
                let token = sampler.choose(&logits(&plain), Default::default()).unwrap();
                plain.push(token);
            }
            let mut text = prompt.clone();
            let mut sampler = Sampler::new(sampling, &prompt);
            let mut lookup = Lookup::new(5);
            lookup.extend(prompt.iter().copied());
            while text.len() < plain.len() {
                let draft = lookup.propose();
                // What one pass over the draft gives: a row after each of its tokens.
                let rows: Vec<Vec<f32>> = (0..=draft.len())
                    .map(|n| logits(&[&text[..], &draft[..n]].concat()))
                    .collect();
                let chosen = Lookup::follow(draft, |n| {
                    let over = text.len() + n >= plain.len();
                    Ok::<_, ()>((!over).then(|| sampler.choose(&rows[n], Default::default()).unwrap()))
                }).unwrap();
                text.extend(&chosen);
                lookup.extend(chosen);
            }
            prop_assert_eq!(text, plain);
        }
    }

    #[test]
    fn a_loop_goes_on_as_a_loop() {
        let mut lookup = Lookup::new(7);
        lookup.extend([1, 2, 3, 1, 2, 3, 1, 2]);
        assert_eq!(lookup.propose(), [3, 1, 2, 3, 1, 2, 3]);
    }
}
