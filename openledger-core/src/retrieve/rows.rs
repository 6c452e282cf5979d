//! Rows in memory, found by the words they share with a query.

use std::collections::BTreeSet;

use async_trait::async_trait;

use super::{Passage, Retrieve};
use crate::Result;

/// A handful of rows in memory. A row's score is the part of the query's words that it has.
///
/// For tests, examples and collections of a few hundred rows: every query reads every row.
///
/// # Examples
/// ```
/// # use openledger_core::retrieve::{KeywordRows, Passage, Retrieve};
/// # use openledger_core::{Address, B256};
/// # futures::executor::block_on(async {
/// let passage = |n: u8, text: &str| Passage {
///     row: B256::repeat_byte(n).into(),
///     datanet: B256::repeat_byte(9).into(),
///     contributor: Address::repeat_byte(n),
///     text: text.to_owned(),
///     score: 0.0,
/// };
/// let rows = KeywordRows::new([passage(1, "Steam makes the crust thin."), passage(2, "Knead for gluten.")]);
/// let found = rows.retrieve("What makes a crust thin?", 5).await?;
/// assert_eq!(found.len(), 1);
/// assert_eq!(found[0].score, 0.6);
/// # Ok::<(), openledger_core::Error>(())
/// # }).unwrap();
/// ```
#[derive(Clone, Debug, Default)]
pub struct KeywordRows(Vec<Passage>);

impl KeywordRows {
    /// Takes rows; what their `score` says is not read. Of rows with one name the first counts.
    pub fn new(rows: impl IntoIterator<Item = Passage>) -> Self {
        let mut seen = BTreeSet::new();
        Self(rows.into_iter().filter(|passage| seen.insert(passage.row)).collect())
    }
}

#[async_trait]
impl Retrieve for KeywordRows {
    async fn retrieve(&self, query: &str, limit: usize) -> Result<Vec<Passage>> {
        let asked = words(query);
        let score = |text: &str| asked.intersection(&words(text)).count() as f32;
        let mut found: Vec<Passage> = self
            .0
            .iter()
            .map(|row| Passage {
                score: score(&row.text) / asked.len().max(1) as f32,
                ..row.clone()
            })
            .filter(|row| row.score > 0.0)
            .collect();
        found.sort_by(|a, b| b.score.total_cmp(&a.score).then(a.row.cmp(&b.row)));
        found.truncate(limit);
        Ok(found)
    }
}

fn words(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
    words.map(str::to_lowercase).collect()
}
