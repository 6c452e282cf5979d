//! Comma-separated values (RFC 4180).

use std::collections::BTreeMap;

use openledger_core::{Error, Result};

use super::Fields;
use crate::{Draft, Origin};

pub(super) fn csv(name: &str, text: &str, fields: &Fields) -> Result<Vec<Draft>> {
    let corrupt = |e: csv::Error| Error::corrupt("not comma-separated values").with_source(e);
    let mut reader =
        csv::ReaderBuilder::new().trim(csv::Trim::Headers).from_reader(text.as_bytes());
    let header = reader.headers().map_err(corrupt)?.clone();
    let chosen = fields.choose(header.iter())?;
    let mut drafts = Vec::new();
    for record in reader.records() {
        let record = record.map_err(corrupt)?;
        let line = record.position().map_or(0, csv::Position::line) as usize;
        let texts: BTreeMap<&str, String> =
            header.iter().zip(record.iter().map(str::to_owned)).collect();
        let row = chosen.row(&texts);
        let row = row.map_err(|e| Error::new(e.kind(), format!("line {line}")).with_source(e))?;
        drafts.push(Draft::new(row, Origin::new(name, line)));
    }
    Ok(drafts)
}
