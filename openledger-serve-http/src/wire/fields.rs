//! The fields of a request.

use std::ops::RangeInclusive;

use http::StatusCode;
use openledger_model::Json;

use crate::error::Failure;

/// The most values of a body. In memory each takes about fifty bytes, in a body two.
const MAX_VALUES: usize = 1 << 18;

/// Reads a body of JSON, at most `depth` levels deep.
pub(crate) fn parse(body: &[u8], depth: usize) -> Result<Json, Failure> {
    let bad =
        |message: String| Failure::new(StatusCode::BAD_REQUEST, message).with_code("invalid_json");
    let (levels, values) = shape(body);
    if levels > depth {
        return Err(bad(format!("the body is JSON of more than {depth} levels")));
    }
    if values > MAX_VALUES {
        return Err(bad(format!("the body is JSON of more than {MAX_VALUES} values")));
    }
    // What it says of the place names no more than line and column.
    let json = Json::from_bytes(body).map_err(|e| bad(format!("the body is {}", e.report())))?;
    match json {
        Json::Object(_) => Ok(json),
        other => Err(bad(format!("the body is {}, not an object", other.kind()))),
    }
}

/// Returns how many brackets are open at most, and how many values there can be: brackets and commas,
/// outside of strings.
fn shape(body: &[u8]) -> (usize, usize) {
    let (mut open, mut levels, mut values) = (0usize, 0, 1);
    let (mut quoted, mut escaped) = (false, false);
    for byte in body {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'[' | b'{' if !quoted => {
                (open, values) = (open + 1, values + 1);
                levels = levels.max(open);
            }
            b']' | b'}' if !quoted => open = open.saturating_sub(1),
            b',' if !quoted => values += 1,
            _ => {}
        }
    }
    (levels, values)
}

/// An object's fields. One that is `null` is as good as absent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fields<'a> {
    json: &'a Json,
    /// Where the object is, for messages: empty, or `tools[0].`.
    place: &'a str,
}

impl<'a> Fields<'a> {
    pub(crate) const fn new(json: &'a Json) -> Self {
        Self { json, place: "" }
    }

    /// The fields of a value that has to be an object.
    pub(crate) fn within(json: &'a Json, place: &'a str) -> Result<Self, Failure> {
        match json {
            Json::Object(_) => Ok(Self { json, place }),
            other => {
                let name = place.trim_end_matches('.');
                Err(Failure::field(name, format!("`{name}` is {}, not an object", other.kind())))
            }
        }
    }

    pub(crate) fn get(&self, name: &str) -> Option<&'a Json> {
        self.json.get(name).filter(|json| **json != Json::Null)
    }

    /// An error about a field.
    pub(crate) fn wrong(&self, name: &str, says: &str) -> Failure {
        let name = format!("{}{name}", self.place);
        let message = format!("`{name}` {says}");
        Failure::field(name, message)
    }

    fn not(&self, name: &str, json: &Json, wanted: &str) -> Failure {
        self.wrong(name, &format!("is {}, not {wanted}", json.kind()))
    }

    pub(crate) fn text(&self, name: &str) -> Result<Option<&'a str>, Failure> {
        self.get(name)
            .map(|json| json.as_str().ok_or_else(|| self.not(name, json, "a string")))
            .transpose()
    }

    pub(crate) fn required(&self, name: &str) -> Result<&'a str, Failure> {
        self.text(name)?.ok_or_else(|| self.wrong(name, "is missing"))
    }

    pub(crate) fn flag(&self, name: &str) -> Result<Option<bool>, Failure> {
        match self.get(name) {
            None => Ok(None),
            Some(Json::Bool(yes)) => Ok(Some(*yes)),
            Some(other) => Err(self.not(name, other, "true or false")),
        }
    }

    pub(crate) fn list(&self, name: &str) -> Result<Option<&'a [Json]>, Failure> {
        self.get(name)
            .map(|json| json.as_array().ok_or_else(|| self.not(name, json, "an array")))
            .transpose()
    }

    pub(crate) fn number(
        &self,
        name: &str,
        range: RangeInclusive<f64>,
    ) -> Result<Option<f64>, Failure> {
        let Some(json) = self.get(name) else { return Ok(None) };
        let Json::Number(number) = json else { return Err(self.not(name, json, "a number")) };
        let value = number.as_f64().filter(|value| range.contains(value));
        let (from, to) = (range.start(), range.end());
        let out = || self.wrong(name, &format!("is {number}, allowed are {from} to {to}"));
        value.map(Some).ok_or_else(out)
    }

    pub(crate) fn integer(
        &self,
        name: &str,
        range: RangeInclusive<usize>,
    ) -> Result<Option<usize>, Failure> {
        let Some(json) = self.get(name) else { return Ok(None) };
        let Json::Number(number) = json else { return Err(self.not(name, json, "a number")) };
        let value = number.as_u64().and_then(|value| usize::try_from(value).ok());
        let (from, to) = (range.start(), range.end());
        let out = || self.wrong(name, &format!("is {number}, allowed are integers {from} to {to}"));
        value.filter(|value| range.contains(value)).map(Some).ok_or_else(out)
    }

    /// Refuses a field that is known and cannot be done, unless it asks for what is done anyway.
    pub(crate) fn refuse(
        &self,
        name: &str,
        harmless: impl Fn(&Json) -> bool,
    ) -> Result<(), Failure> {
        match self.get(name) {
            Some(json) if !harmless(json) => {
                let name = format!("{}{name}", self.place);
                let message = format!("`{name}` is not supported here: leave it out");
                Err(Failure::unsupported(name, message))
            }
            _ => Ok(()),
        }
    }
}

/// Whether a number is this one.
pub(super) fn is(number: f64) -> impl Fn(&Json) -> bool {
    move |json| matches!(json, Json::Number(found) if found.as_f64() == Some(number))
}

/// Whether it says no, or nothing.
pub(super) fn is_empty(json: &Json) -> bool {
    match json {
        Json::Null | Json::Bool(false) => true,
        Json::String(text) => text.is_empty(),
        Json::Array(items) => items.is_empty(),
        Json::Object(fields) => fields.is_empty(),
        _ => false,
    }
}
