//! The little of Thrift's compact protocol that a Parquet page header needs
//! ([specification](https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md)).

use std::io::{self, Read};

/// How deep structs may be nested; a page header has three levels.
const MAX_DEPTH: usize = 8;

/// Reads the fields of structs, byte by byte, from what has at most so many.
pub(super) struct Compact<R> {
    reader: R,
    /// Bytes that may still be read.
    left: usize,
}

/// A field's value, as far as a page header has them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Value {
    Bool(bool),
    Integer(i64),
    /// A struct begins: its fields are next.
    Struct,
    /// Anything else, which was skipped.
    Other,
}

impl<R: Read> Compact<R> {
    pub(super) const fn new(reader: R, most: usize) -> Self {
        Self { reader, left: most }
    }

    /// Returns how many bytes may still be read.
    pub(super) const fn left(&self) -> usize {
        self.left
    }

    /// Reads the next field of a struct: its number and value; `None` at the struct's end.
    pub(super) fn field(&mut self, last: &mut i64) -> io::Result<Option<Value>> {
        let head = self.byte()?;
        if head == 0 {
            return Ok(None);
        }
        *last = match head >> 4 {
            0 => self.integer()?,
            step => last.saturating_add(i64::from(step)),
        };
        self.value(head & 15, 0).map(Some)
    }

    /// Skips what is left of a struct.
    pub(super) fn skip_struct(&mut self, depth: usize) -> io::Result<()> {
        if depth > MAX_DEPTH {
            return Err(broken());
        }
        let mut number = 0;
        while let Some(value) = self.field(&mut number)? {
            if value == Value::Struct {
                self.skip_struct(depth + 1)?;
            }
        }
        Ok(())
    }

    fn value(&mut self, kind: u8, depth: usize) -> io::Result<Value> {
        Ok(match kind {
            1 => Value::Bool(true),
            2 => Value::Bool(false),
            3 => Value::Integer(i64::from(self.byte()?)),
            4..=6 => Value::Integer(self.integer()?),
            7 => self.skip(8)?,
            8 => {
                let len = self.varint()?;
                self.skip(usize::try_from(len).map_err(|_| broken())?)?
            }
            9 | 10 => {
                let head = self.byte()?;
                let count = match head >> 4 {
                    15 => self.varint()?,
                    few => u64::from(few),
                };
                for _ in 0..count {
                    match self.value(head & 15, depth + 1)? {
                        _ if depth > MAX_DEPTH => return Err(broken()),
                        Value::Struct => self.skip_struct(depth + 1)?,
                        // In a list a truth value takes a byte.
                        Value::Bool(_) => drop(self.byte()?),
                        _ => {}
                    }
                }
                Value::Other
            }
            12 => Value::Struct,
            _ => return Err(broken()),
        })
    }

    fn skip(&mut self, count: usize) -> io::Result<Value> {
        if count > self.left {
            return Err(broken());
        }
        self.left -= count;
        let skipped = io::copy(&mut (&mut self.reader).take(count as u64), &mut io::sink())?;
        if skipped == count as u64 { Ok(Value::Other) } else { Err(broken()) }
    }

    fn byte(&mut self) -> io::Result<u8> {
        self.left = self.left.checked_sub(1).ok_or_else(broken)?;
        let mut byte = [0];
        self.reader.read_exact(&mut byte)?;
        Ok(byte[0])
    }

    fn varint(&mut self) -> io::Result<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 127) << shift;
            if byte & 128 == 0 {
                return Ok(value);
            }
        }
        Err(broken())
    }

    fn integer(&mut self) -> io::Result<i64> {
        let value = self.varint()?;
        Ok((value >> 1).cast_signed() ^ -((value & 1).cast_signed()))
    }
}

fn broken() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "a page header that is none")
}
