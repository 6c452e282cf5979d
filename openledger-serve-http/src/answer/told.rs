//! What layers tell of an answer beside its tokens: the field `openledger` of each choice.

use std::ops::Range;

use openledger_core::{Amount, Receipt, message::Signed};
use openledger_serve::{Citations, Event, Lease};
use serde_json::{Map, Value, json};

/// What is told of one answer. What nobody told is no field.
#[derive(Debug, Default)]
pub(super) struct Told {
    adapter: Option<Value>,
    citations: Option<Citations>,
    receipt: Option<Box<Signed<Receipt>>>,
    charge: Option<Amount>,
    /// What the model said, where places in it may be told.
    said: Option<String>,
}

impl Told {
    /// Begins with the adapter that answers, by its name.
    pub(super) fn new(adapter: Option<&(String, Lease)>, grounded: bool) -> Self {
        let named =
            adapter.map(|(name, lease)| json!({"name": name, "id": lease.id().to_string()}));
        Self { adapter: named, said: grounded.then(String::new), ..Self::default() }
    }

    pub(super) fn text(&mut self, text: &str) {
        if let Some(said) = &mut self.said {
            said.push_str(text);
        }
    }

    pub(super) fn event(&mut self, event: Event) {
        match event {
            Event::Cited(citations) => self.citations = Some(citations),
            Event::Receipt(receipt) => self.receipt = Some(receipt),
            Event::Charged(amount) => self.charge = Some(amount),
            _ => {}
        }
    }

    /// Returns all of it, nothing if nothing was told.
    pub(super) fn to_json(&self) -> Option<Value> {
        let said = self.said.as_deref().unwrap_or_default();
        let parts = [
            ("adapter", self.adapter.clone()),
            ("citations", self.citations.as_ref().map(|citations| cited(citations, said))),
            ("receipt", self.receipt.as_ref().map(|receipt| json!(receipt))),
            ("charge", self.charge.map(|amount| json!(amount))),
        ];
        let told: Map<String, Value> =
            parts.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect();
        (!told.is_empty()).then_some(Value::Object(told))
    }
}

/// Sources and where the answer cites them, in letters as clients count them, not in bytes.
fn cited(citations: &Citations, said: &str) -> Value {
    let letters = |span: &Range<usize>| {
        let count = |bytes: usize| said.get(..bytes).unwrap_or(said).chars().count();
        (count(span.start), count(span.end))
    };
    let sources = citations.sources.iter().map(|source| {
        json!({
            "number": source.number, "row": source.row.to_string(),
            "datanet": source.datanet.to_string(), "contributor": source.contributor.to_string(),
            "score": source.score,
        })
    });
    let marks = citations.marks.iter().map(|mark| {
        let (start, end) = letters(&mark.span);
        json!({"number": mark.number, "start_index": start, "end_index": end})
    });
    let invented = citations.invented.iter().map(|span| {
        let (start, end) = letters(span);
        json!({"start_index": start, "end_index": end})
    });
    json!({
        "sources": sources.collect::<Value>(), "marks": marks.collect::<Value>(),
        "invented": invented.collect::<Value>(),
    })
}
