//! The rows an adapter was trained on, as a method needs them.

use openledger_core::{
    Address, DatanetId, DatanetVersion, Error, Result, Row, RowId, RowShare, Shares,
    share::{WHOLE, split},
};
use openledger_model::{Model, Template, Tokens};

use crate::credit;

/// A Datanet version with its rows.
#[derive(Clone, Debug)]
#[expect(clippy::exhaustive_structs, reason = "what a Datanet hands over is these two")]
pub struct Source {
    /// The version.
    pub pin: DatanetVersion,
    /// Its rows: name, contributor, text.
    pub rows: Vec<(RowId, Address, Row)>,
}

/// A row in tokens, with whose it is.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct CorpusRow {
    /// The row's public name.
    pub id: RowId,
    /// Its Datanet.
    pub datanet: DatanetId,
    /// Who contributed it.
    pub contributor: Address,
    /// The tokens the model was trained on.
    pub tokens: Tokens,
}

/// The rows of one or more Datanet versions, in their order.
#[derive(Clone, Debug, Default)]
pub struct Corpus {
    rows: Vec<CorpusRow>,
    versions: Vec<DatanetVersion>,
}

impl Corpus {
    /// Turns rows into the tokens they were in training: by the same template, cut at the same
    /// length.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`](openledger_core::ErrorKind::Invalid) without rows, or if a row cannot
    /// be spelled or leaves nothing to learn.
    pub fn new(
        model: &Model,
        template: &Template,
        max_tokens: usize,
        sources: impl IntoIterator<Item = Source>,
    ) -> Result<Self> {
        let mut corpus = Self::default();
        for Source { pin, rows } in sources {
            corpus.versions.push(pin);
            for (id, contributor, row) in rows {
                let tokens = template.row(model.tokenizer(), &row, model.eos(), max_tokens)?;
                if tokens.labels().iter().all(Option::is_none) {
                    let message =
                        format!("row {id} leaves nothing to learn in {max_tokens} tokens");
                    return Err(Error::invalid(message));
                }
                corpus.rows.push(CorpusRow { id, datanet: pin.datanet, contributor, tokens });
            }
        }
        if corpus.rows.is_empty() {
            return Err(Error::invalid("a corpus without rows"));
        }
        Ok(corpus)
    }

    /// Returns the rows.
    pub fn rows(&self) -> &[CorpusRow] {
        &self.rows
    }

    /// Returns the Datanet versions, as receipts name them.
    pub fn versions(&self) -> &[DatanetVersion] {
        &self.versions
    }

    /// Returns the shares of rows whose influence is `influence`: in proportion to
    /// [`credit`], exact to the last part of [`WHOLE`].
    ///
    /// If no row helped, all rows share evenly: the Datanets are paid by size.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`](openledger_core::ErrorKind::Invalid) if there is not one finite
    /// number for each row.
    pub fn shares(&self, influence: &[f64]) -> Result<Shares> {
        if influence.len() != self.rows.len() {
            let (given, rows) = (influence.len(), self.rows.len());
            return Err(Error::invalid(format!("{given} influences for {rows} rows")));
        }
        if let Some(row) = influence.iter().position(|influence| !influence.is_finite()) {
            let id = self.rows[row].id;
            return Err(Error::invalid(format!("the influence of row {id} is {}", influence[row])));
        }
        let parts = split(WHOLE.into(), &weights(&credit(influence)))?;
        let shares = self.rows.iter().zip(parts).filter_map(|(row, part)| {
            let weight: u64 = part.units().to();
            let share = RowShare {
                row: row.id,
                datanet: row.datanet,
                contributor: row.contributor,
                weight,
            };
            (weight > 0).then_some(share)
        });
        Shares::new(shares.collect())
    }
}

/// Integers in proportion to `credits`, the largest 2^52: fine enough that rounding moves nothing a
/// share can show, and the same on every machine.
fn weights(credits: &[f64]) -> Vec<u64> {
    let largest = credits.iter().copied().fold(0.0, f64::max);
    if largest == 0.0 {
        return vec![1; credits.len()];
    }
    let scale = (1u64 << 52) as f64;
    #[expect(clippy::cast_sign_loss, reason = "credits are not negative")]
    credits.iter().map(|credit| (credit / largest * scale) as u64).collect()
}

#[cfg(test)]
mod tests {
    use openledger_core::B256;

    use super::*;

    fn corpus(rows: u8) -> Corpus {
        let rows = (0..rows).map(|n| CorpusRow {
            id: RowId::from(B256::repeat_byte(n + 1)),
            datanet: DatanetId::from(B256::repeat_byte(n % 2)),
            contributor: Address::repeat_byte(n / 2),
            tokens: Tokens::new(&[], &[1, 2]),
        });
        Corpus { rows: rows.collect(), versions: vec![] }
    }

    #[test]
    fn rows_that_helped_share_in_proportion_and_the_others_get_nothing() {
        let shares = corpus(4).shares(&[-3.0, 5.0, -1.0, 0.0]).unwrap();
        let weights: Vec<u64> = shares.rows().iter().map(|share| share.weight).collect();
        assert_eq!(weights, [WHOLE / 4 * 3, WHOLE / 4]);
        assert_eq!(shares.by_contributor().len(), 2);
    }

    #[test]
    fn without_help_the_datanets_share_by_size() {
        let shares = corpus(3).shares(&[0.0, 1.0, 2.0]).unwrap();
        assert_eq!(shares.rows().len(), 3);
        let by_datanet = shares.by_datanet();
        let [small, large] = [1, 0].map(|n| by_datanet[&DatanetId::from(B256::repeat_byte(n))]);
        assert!(large.abs_diff(2 * small) <= 2, "{large} {small}");
    }

    #[test]
    fn numbers_that_are_none_are_refused() {
        assert!(corpus(2).shares(&[f64::NAN, -1.0]).is_err());
        assert!(corpus(2).shares(&[f64::NEG_INFINITY, -1.0]).is_err());
        assert!(corpus(2).shares(&[-1.0]).is_err());
    }

    #[test]
    fn tiny_and_huge_credits_are_split_alike() {
        let one = corpus(2).shares(&[-1.0, -3.0]).unwrap();
        assert_eq!(corpus(2).shares(&[-1e-300, -3e-300]).unwrap(), one);
        assert_eq!(corpus(2).shares(&[-1e300, -3e300]).unwrap(), one);
    }
}
