//! Metadata as it is written.

use super::value::Kind;

/// Entries of metadata, encoded one after the other.
#[derive(Debug, Default)]
pub(super) struct Entries {
    pub(super) bytes: Vec<u8>,
    pub(super) count: u64,
}

impl Entries {
    pub(super) fn u32(&mut self, key: &str, value: u32) {
        self.begin(key, Kind::U32);
        self.bytes.extend(value.to_le_bytes());
    }

    pub(super) fn f32(&mut self, key: &str, value: f32) {
        self.begin(key, Kind::F32);
        self.bytes.extend(value.to_le_bytes());
    }

    pub(super) fn flag(&mut self, key: &str, value: bool) {
        self.begin(key, Kind::Bool);
        self.bytes.push(value.into());
    }

    pub(super) fn text(&mut self, key: &str, value: &str) {
        self.begin(key, Kind::Text);
        text(&mut self.bytes, value);
    }

    pub(super) fn texts<'a>(&mut self, key: &str, values: impl ExactSizeIterator<Item = &'a str>) {
        self.list(key, Kind::Text, values.len());
        values.for_each(|value| text(&mut self.bytes, value));
    }

    pub(super) fn i32s(&mut self, key: &str, values: &[i32]) {
        self.list(key, Kind::I32, values.len());
        self.bytes.extend(values.iter().flat_map(|value| value.to_le_bytes()));
    }

    pub(super) fn f32s(&mut self, key: &str, values: &[f32]) {
        self.list(key, Kind::F32, values.len());
        self.bytes.extend(values.iter().flat_map(|value| value.to_le_bytes()));
    }

    pub(super) fn flags(&mut self, key: &str, values: impl ExactSizeIterator<Item = bool>) {
        self.list(key, Kind::Bool, values.len());
        self.bytes.extend(values.map(u8::from));
    }

    fn begin(&mut self, key: &str, kind: Kind) {
        self.count += 1;
        text(&mut self.bytes, key);
        self.bytes.extend((kind as u32).to_le_bytes());
    }

    fn list(&mut self, key: &str, of: Kind, len: usize) {
        self.begin(key, Kind::List);
        self.bytes.extend((of as u32).to_le_bytes());
        self.bytes.extend((len as u64).to_le_bytes());
    }
}

/// Appends text with its length before it.
pub(super) fn text(bytes: &mut Vec<u8>, text: &str) {
    bytes.extend((text.len() as u64).to_le_bytes());
    bytes.extend(text.as_bytes());
}
