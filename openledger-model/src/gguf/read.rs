//! A file taken apart: metadata, and tensors checked against its length.

use std::collections::BTreeMap;

use openledger_core::{Error, ErrorKind, Result};

use super::{GgmlType, Value, cursor::Cursor};

const MAGIC: [u8; 4] = *b"GGUF";
/// The most entries of metadata: files have a few dozen.
const MAX_ENTRIES: u64 = 1 << 16;
/// The most tensors: as many as a decoder may have.
const MAX_TENSORS: u64 = 1 << 18;
/// The longest key or name, in bytes; the specification says 65,535 and 64.
const MAX_NAME: usize = 1 << 10;
/// Where data begins, if the file does not say, is a multiple of this.
const ALIGNMENT: u64 = 32;
const MAX_ALIGNMENT: u64 = 1 << 16;

/// A GGUF file of version 2 or 3, little-endian, borrowed from its bytes.
///
/// Nothing is copied: text, arrays and tensors stay where they are. Every count, length and offset
/// was checked against the bytes that are there before anything was allocated for it.
///
/// Format: `docs/gguf.md` of <https://github.com/ggml-org/ggml>.
#[derive(Clone, Debug)]
pub struct Gguf<'a> {
    version: u32,
    metadata: BTreeMap<&'a str, Value<'a>>,
    tensors: BTreeMap<&'a str, GgufTensor<'a>>,
}

/// A tensor of a GGUF file.
#[derive(Clone, Debug)]
pub struct GgufTensor<'a> {
    shape: Vec<usize>,
    ty: GgmlType,
    bytes: &'a [u8],
}

/// What the table of tensors says of one.
struct Entry<'a> {
    name: &'a str,
    shape: Vec<usize>,
    ty: GgmlType,
    offset: u64,
    len: u64,
}

impl<'a> Gguf<'a> {
    /// Takes a file apart.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`] if it is not such a file, is cut, or its tensors overlap or lie
    /// outside; [`ErrorKind::Unsupported`] naming a version, or a tensor and its type, that is not
    /// there; [`ErrorKind::Limit`] for too many entries or tensors.
    pub fn parse(file: &'a [u8]) -> Result<Self> {
        let mut cursor = Cursor::new(file);
        if cursor.array::<4>().ok() != Some(MAGIC) {
            return Err(Error::corrupt("not a GGUF file: it does not begin with `GGUF`"));
        }
        let version = version(cursor.u32()?)?;
        let tensors = within("tensors", cursor.u64()?, MAX_TENSORS)?;
        let entries = within("entries of metadata", cursor.u64()?, MAX_ENTRIES)?;
        let mut metadata = BTreeMap::new();
        for _ in 0..entries {
            let key = name(&mut cursor)?;
            let value = Value::read(&mut cursor).map_err(|e| {
                Error::new(e.kind(), format!("cannot read the metadata `{key}`")).with_source(e)
            })?;
            if metadata.insert(key, value).is_some() {
                return Err(Error::corrupt(format!("the metadata `{key}` comes twice")));
            }
        }
        let alignment = match metadata.get("general.alignment") {
            None => ALIGNMENT,
            Some(value) => value
                .as_u64()
                .filter(|bytes| bytes.is_power_of_two() && *bytes <= MAX_ALIGNMENT)
                .ok_or_else(|| {
                    Error::corrupt(format!("an alignment of {value:?}, not a power of two"))
                })?,
        };
        let table = (0..tensors).map(|_| Entry::read(&mut cursor)).collect::<Result<Vec<_>>>()?;
        let begin = (file.len() - cursor.rest().len()).next_multiple_of(alignment as usize);
        // A file without tensors may end before its data would begin.
        let data = file.get(begin..).unwrap_or_default();
        Ok(Self { version, metadata, tensors: place(table, data, alignment)? })
    }

    /// Returns the version of the format.
    pub const fn version(&self) -> u32 {
        self.version
    }

    /// Returns an entry of the metadata, such as `general.architecture`.
    pub fn get(&self, key: &str) -> Option<Value<'a>> {
        self.metadata.get(key).copied()
    }

    /// Returns all metadata by ascending key.
    pub fn metadata(&self) -> impl ExactSizeIterator<Item = (&'a str, Value<'a>)> {
        self.metadata.iter().map(|(key, value)| (*key, *value))
    }

    /// Returns the tensor called `name`.
    pub fn tensor(&self, name: &str) -> Option<&GgufTensor<'a>> {
        self.tensors.get(name)
    }

    /// Returns all tensors by ascending name.
    pub fn tensors(&self) -> impl ExactSizeIterator<Item = (&'a str, &GgufTensor<'a>)> {
        self.tensors.iter().map(|(name, tensor)| (*name, tensor))
    }
}

impl<'a> GgufTensor<'a> {
    /// Returns the sizes of each dimension, rows before columns as elsewhere in this crate; the file
    /// has them the other way round.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Returns how elements are stored.
    pub const fn ty(&self) -> GgmlType {
        self.ty
    }

    /// Returns the stored bytes, row by row.
    pub const fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Returns the elements, row by row.
    pub fn to_f32(&self) -> Vec<f32> {
        let mut elements = vec![0.0; self.shape.iter().product()];
        self.ty.decode(self.bytes, &mut elements);
        elements
    }
}

impl<'a> Entry<'a> {
    fn read(cursor: &mut Cursor<'a>) -> Result<Self> {
        let name = name(cursor)?;
        let wrong = |what: String| Error::corrupt(format!("the tensor `{name}` {what}"));
        let dimensions = cursor.u32()?;
        if !(1..=4).contains(&dimensions) {
            return Err(wrong(format!("has {dimensions} dimensions, not 1 to 4")));
        }
        let mut shape = (0..dimensions)
            .map(|_| {
                let size = cursor.u64()?;
                usize::try_from(size)
                    .ok()
                    .filter(|&size| size > 0)
                    .ok_or_else(|| wrong(format!("has a dimension of {size}")))
            })
            .collect::<Result<Vec<usize>>>()?;
        let ty = GgmlType::from_code(cursor.u32()?).map_err(|e| {
            Error::new(e.kind(), format!("cannot read the tensor `{name}`")).with_source(e)
        })?;
        let row = shape[0];
        if !row.is_multiple_of(ty.block()) {
            return Err(wrong(format!(
                "has rows of {row}, not a multiple of the {} in a block of {ty}",
                ty.block()
            )));
        }
        // The elements must have 64 bits too: they are counted when they are decoded.
        let elements = shape.iter().try_fold(1u64, |all, &size| all.checked_mul(size as u64));
        let len = elements
            .map(|elements| elements / ty.block() as u64)
            .and_then(|blocks| blocks.checked_mul(ty.block_bytes() as u64))
            .ok_or_else(|| wrong(format!("of shape {shape:?} is larger than any file")))?;
        shape.reverse();
        Ok(Self { name, shape, ty, offset: cursor.u64()?, len })
    }
}

/// Finds the bytes of every tensor, no byte twice.
fn place<'a>(
    mut table: Vec<Entry<'a>>,
    data: &'a [u8],
    alignment: u64,
) -> Result<BTreeMap<&'a str, GgufTensor<'a>>> {
    table.sort_by_key(|entry| entry.offset);
    let mut free = 0;
    let mut tensors = BTreeMap::new();
    for Entry { name, shape, ty, offset, len } in table {
        let wrong = |what: String| Error::corrupt(format!("the tensor `{name}` {what}"));
        if !offset.is_multiple_of(alignment) {
            return Err(wrong(format!("begins at {offset}, not a multiple of {alignment}")));
        }
        if offset < free {
            return Err(wrong(format!("begins at {offset}, inside of one that ends at {free}")));
        }
        let bytes = offset.checked_add(len).and_then(|end| {
            free = end;
            data.get(usize::try_from(offset).ok()?..usize::try_from(end).ok()?)
        });
        let bytes = bytes.ok_or_else(|| {
            wrong(format!("takes {len} bytes at {offset}, the file has {} in all", data.len()))
        })?;
        if tensors.insert(name, GgufTensor { shape, ty, bytes }).is_some() {
            return Err(wrong("comes twice".to_owned()));
        }
    }
    Ok(tensors)
}

fn version(version: u32) -> Result<u32> {
    let unsupported = |what: String| Err(Error::new(ErrorKind::Unsupported, what));
    match version {
        2 | 3 => Ok(version),
        swapped if (1..=3).contains(&swapped.swap_bytes()) => {
            unsupported("a big-endian GGUF file".to_owned())
        }
        other => unsupported(format!("GGUF version {other}; known: 2, 3")),
    }
}

fn within(what: &str, count: u64, most: u64) -> Result<u64> {
    match count > most {
        true => Err(Error::new(ErrorKind::Limit, format!("{count} {what}, at most {most}"))),
        false => Ok(count),
    }
}

fn name<'a>(cursor: &mut Cursor<'a>) -> Result<&'a str> {
    let name = cursor.text()?;
    match name.len() > MAX_NAME {
        true => {
            let message = format!("a name of {} bytes, at most {MAX_NAME}", name.len());
            Err(Error::new(ErrorKind::Limit, message))
        }
        false => Ok(name),
    }
}
