//! Values of a file's metadata.

use openledger_core::{Error, ErrorKind, Result};

use super::cursor::Cursor;

/// A value of a GGUF file's metadata, borrowed from the file.
///
/// Integers of every width are 64 bits here, floats are `f64`.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Value<'a> {
    /// `uint8` to `uint64`.
    Unsigned(u64),
    /// `int8` to `int64`.
    Signed(i64),
    /// `float32`.
    Float(f32),
    /// `float64`.
    Double(f64),
    /// `bool`.
    Flag(bool),
    /// `string`.
    Text(&'a str),
    /// `array`.
    List(List<'a>),
}

/// An array of a GGUF file's metadata: whole and well-formed, decoded as it is read.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct List<'a> {
    kind: Kind,
    len: usize,
    bytes: &'a [u8],
}

/// `gguf_metadata_value_type` of the specification.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Kind {
    U8 = 0,
    I8 = 1,
    U16 = 2,
    I16 = 3,
    U32 = 4,
    I32 = 5,
    F32 = 6,
    Bool = 7,
    Text = 8,
    List = 9,
    U64 = 10,
    I64 = 11,
    F64 = 12,
}

impl<'a> Value<'a> {
    /// Reads a value with its type before it.
    pub(super) fn read(cursor: &mut Cursor<'a>) -> Result<Self> {
        let kind = Kind::read(cursor)?;
        kind.value(cursor)
    }

    /// Returns a whole number that is not negative, whatever its width.
    pub const fn as_u64(&self) -> Option<u64> {
        match *self {
            Self::Unsigned(value) => Some(value),
            Self::Signed(value) if value >= 0 => Some(value.unsigned_abs()),
            _ => None,
        }
    }

    /// Returns a number as the decimal that was meant: `float32` 0.1 is 0.1, not
    /// 0.10000000149011612.
    pub fn as_f64(&self) -> Option<f64> {
        match *self {
            // The shortest decimal that is this float.
            Self::Float(value) => value.to_string().parse().ok(),
            Self::Double(value) => Some(value),
            Self::Unsigned(value) => Some(value as f64),
            Self::Signed(value) => Some(value as f64),
            _ => None,
        }
    }

    /// Returns a truth value.
    pub const fn as_bool(&self) -> Option<bool> {
        match *self {
            Self::Flag(value) => Some(value),
            _ => None,
        }
    }

    /// Returns text.
    pub const fn as_str(&self) -> Option<&'a str> {
        match *self {
            Self::Text(value) => Some(value),
            _ => None,
        }
    }

    /// Returns an array.
    pub const fn as_list(&self) -> Option<List<'a>> {
        match *self {
            Self::List(value) => Some(value),
            _ => None,
        }
    }
}

impl<'a> List<'a> {
    /// Returns the number of elements.
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether there are no elements.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Returns the elements in order.
    pub fn iter(&self) -> impl Iterator<Item = Value<'a>> + use<'a> {
        let mut cursor = Cursor::new(self.bytes);
        let kind = self.kind;
        (0..self.len).map_while(move |_| kind.value(&mut cursor).ok())
    }

    /// Reads an array and checks every element.
    fn read(cursor: &mut Cursor<'a>) -> Result<Self> {
        let kind = Kind::read(cursor)?;
        let claimed = cursor.u64()?;
        let least = match kind {
            Kind::List => {
                return Err(Error::new(ErrorKind::Unsupported, "an array of arrays"));
            }
            Kind::Text => 8,
            kind => kind.width(),
        };
        let rest = cursor.rest();
        let len = usize::try_from(claimed)
            .ok()
            .filter(|len| len.checked_mul(least).is_some_and(|bytes| bytes <= rest.len()))
            .ok_or_else(|| {
                let left = rest.len();
                Error::corrupt(format!("an array of {claimed} elements, {left} bytes are left"))
            })?;
        match kind {
            Kind::Text | Kind::Bool => {
                for _ in 0..len {
                    kind.value(cursor)?;
                }
            }
            // Every bit pattern is a number.
            kind => drop(cursor.take(len * kind.width())?),
        }
        let bytes = &rest[..rest.len() - cursor.rest().len()];
        Ok(Self { kind, len, bytes })
    }
}

impl Kind {
    fn read(cursor: &mut Cursor<'_>) -> Result<Self> {
        let code = cursor.u32()?;
        Ok(match code {
            0 => Self::U8,
            1 => Self::I8,
            2 => Self::U16,
            3 => Self::I16,
            4 => Self::U32,
            5 => Self::I32,
            6 => Self::F32,
            7 => Self::Bool,
            8 => Self::Text,
            9 => Self::List,
            10 => Self::U64,
            11 => Self::I64,
            12 => Self::F64,
            _ => return Err(Error::corrupt(format!("a value of type {code}, known: 0 to 12"))),
        })
    }

    /// The bytes of a number or truth value.
    const fn width(self) -> usize {
        match self {
            Self::U8 | Self::I8 | Self::Bool => 1,
            Self::U16 | Self::I16 => 2,
            Self::U32 | Self::I32 | Self::F32 => 4,
            Self::Text | Self::List | Self::U64 | Self::I64 | Self::F64 => 8,
        }
    }

    fn value<'a>(self, cursor: &mut Cursor<'a>) -> Result<Value<'a>> {
        Ok(match self {
            Self::U8 => Value::Unsigned(u8::from_le_bytes(cursor.array()?).into()),
            Self::I8 => Value::Signed(i8::from_le_bytes(cursor.array()?).into()),
            Self::U16 => Value::Unsigned(u16::from_le_bytes(cursor.array()?).into()),
            Self::I16 => Value::Signed(i16::from_le_bytes(cursor.array()?).into()),
            Self::U32 => Value::Unsigned(cursor.u32()?.into()),
            Self::I32 => Value::Signed(i32::from_le_bytes(cursor.array()?).into()),
            Self::F32 => Value::Float(f32::from_le_bytes(cursor.array()?)),
            Self::Bool => match cursor.array()? {
                [0] => Value::Flag(false),
                [1] => Value::Flag(true),
                [other] => return Err(Error::corrupt(format!("a truth value of {other}"))),
            },
            Self::Text => Value::Text(cursor.text()?),
            Self::List => Value::List(List::read(cursor)?),
            Self::U64 => Value::Unsigned(cursor.u64()?),
            Self::I64 => Value::Signed(i64::from_le_bytes(cursor.array()?)),
            Self::F64 => Value::Double(f64::from_le_bytes(cursor.array()?)),
        })
    }
}
