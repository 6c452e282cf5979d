//! JSON and JSON lines.

use std::collections::BTreeMap;

use openledger_core::{Error, Result, Row};
use serde_json::{Map, Value};

use super::{Fields, fields::Chosen};
use crate::{Draft, Origin};

pub(super) fn lines(name: &str, text: &str, fields: &Fields) -> Result<Vec<Draft>> {
    let mut reader = Reader::new(name, fields);
    for (line, text) in (1..).zip(text.lines()).filter(|(_, text)| !text.trim().is_empty()) {
        let value: Value = serde_json::from_str(text)
            .map_err(|e| Error::corrupt(format!("line {line} is not JSON")).with_source(e))?;
        reader.take(line, "line", &value)?;
    }
    Ok(reader.drafts)
}

pub(super) fn document(name: &str, text: &str, fields: &Fields) -> Result<Vec<Draft>> {
    let value: Value =
        serde_json::from_str(text).map_err(|e| Error::corrupt("not JSON").with_source(e))?;
    let mut reader = Reader::new(name, fields);
    match value {
        Value::Array(items) => {
            for (place, item) in (1..).zip(&items) {
                reader.take(place, "record", item)?;
            }
        }
        Value::Object(records) if records.values().all(Value::is_object) => {
            for (place, record) in (1..).zip(records.values()) {
                reader.take(place, "record", record)?;
            }
        }
        Value::Object(record) => reader.take(1, "record", &Value::Object(record))?,
        _ => return Err(Error::corrupt("neither an array nor an object of records")),
    }
    Ok(reader.drafts)
}

struct Reader<'a> {
    name: &'a str,
    fields: &'a Fields,
    /// Chosen at the first object, for all.
    chosen: Option<Chosen>,
    drafts: Vec<Draft>,
}

impl<'a> Reader<'a> {
    const fn new(name: &'a str, fields: &'a Fields) -> Self {
        Self { name, fields, chosen: None, drafts: Vec::new() }
    }

    fn take(&mut self, place: usize, unit: &str, value: &Value) -> Result<()> {
        let row = match value {
            Value::String(text) => Row::passage(text),
            Value::Object(record) => self.row(record),
            other => {
                Err(Error::corrupt(format!("neither an object nor a string: {}", kind(other))))
            }
        };
        let row =
            row.map_err(|e| Error::new(e.kind(), format!("{unit} {place}")).with_source(e))?;
        self.drafts.push(Draft::new(row, Origin::new(self.name, place)));
        Ok(())
    }

    fn row(&mut self, record: &Map<String, Value>) -> Result<Row> {
        let chosen = match &self.chosen {
            Some(chosen) => chosen,
            None => self.chosen.insert(self.fields.choose(record.keys().map(String::as_str))?),
        };
        let texts: BTreeMap<&str, String> =
            record.iter().filter_map(|(name, value)| Some((name.as_str(), text(value)?))).collect();
        chosen.row(&texts)
    }
}

/// The text of a field: a string, a number, a truth value, or a list of these, one a line.
fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(_) | Value::Bool(_) => Some(value.to_string()),
        Value::Array(items) => Some(items.iter().map(text).collect::<Option<Vec<_>>>()?.join("\n")),
        Value::Null | Value::Object(_) => None,
    }
}

const fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a truth value",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}
