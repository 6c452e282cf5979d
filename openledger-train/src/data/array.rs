//! JSON: an array of objects, or objects one after another, read element by element.

use std::{io::BufRead, sync::Arc};

use openledger_core::{ErrorKind, Result};

use super::record::{Place, Record};

/// Finds where elements begin and end, and holds one of them.
pub(super) struct Elements<R> {
    reader: R,
    file: Arc<str>,
    /// The longest element in bytes.
    limit: usize,
    number: u64,
    state: State,
}

#[derive(Clone, Copy, PartialEq)]
enum State {
    Start,
    /// In the array, before its first element or behind one.
    Inside,
    /// Elements without an array around them.
    Bare,
    End,
}

impl<R: BufRead> Elements<R> {
    pub(super) const fn new(reader: R, file: Arc<str>, limit: usize) -> Self {
        Self { reader, file, limit, number: 0, state: State::Start }
    }

    fn read(&mut self) -> Result<Option<Record>> {
        self.number += 1;
        let place = Place { file: Arc::clone(&self.file), unit: "row", number: self.number };
        let corrupt = |why: &str| place.error(ErrorKind::Corrupt, why);
        if self.state == State::Start {
            self.state = match self.skip_space(&place)? {
                None => State::End,
                Some(b'[') => {
                    self.reader.consume(1);
                    State::Inside
                }
                Some(_) => State::Bare,
            };
        }
        if self.state == State::End {
            return Ok(None);
        }
        let mut next = self.skip_space(&place)?;
        if self.state == State::Inside {
            if next == Some(b',') && self.number > 1 {
                self.reader.consume(1);
                next = self.skip_space(&place)?;
                if next == Some(b']') {
                    return Err(corrupt("nothing behind the last comma"));
                }
            } else if next == Some(b']') {
                self.reader.consume(1);
                self.state = State::End;
                return match self.skip_space(&place)? {
                    None => Ok(None),
                    Some(_) => Err(corrupt("more behind the end of the array")),
                };
            } else if self.number > 1 && next.is_some() {
                return Err(corrupt("no comma before it"));
            }
        }
        match (next, self.state) {
            (None, State::Inside) => Err(corrupt("the file ends before its array does")),
            (None, _) => Ok(None),
            (Some(_), _) => {
                let element = self.element(&place)?;
                Record::from_json(place, &element).map(Some)
            }
        }
    }

    /// Skips white space and returns the byte behind it, which stays.
    fn skip_space(&mut self, place: &Place) -> Result<Option<u8>> {
        loop {
            let bytes =
                self.reader.fill_buf().map_err(|e| place.error(ErrorKind::Unavailable, e))?;
            if bytes.is_empty() {
                return Ok(None);
            }
            let space = |byte: &u8| byte.is_ascii_whitespace() || b"\xef\xbb\xbf".contains(byte);
            let skipped = bytes.iter().take_while(|byte| space(byte)).count();
            let found = bytes.get(skipped).copied();
            self.reader.consume(skipped);
            if found.is_some() {
                return Ok(found);
            }
        }
    }

    /// Takes bytes up to the end of an element: where all it opened is closed again.
    fn element(&mut self, place: &Place) -> Result<Vec<u8>> {
        let (mut element, mut open, mut text, mut escaped) = (Vec::new(), 0usize, false, false);
        loop {
            let bytes =
                self.reader.fill_buf().map_err(|e| place.error(ErrorKind::Unavailable, e))?;
            if bytes.is_empty() {
                return Ok(element);
            }
            let mut taken = 0;
            let mut done = false;
            for &byte in bytes {
                if text {
                    match byte {
                        _ if escaped => escaped = false,
                        b'\\' => escaped = true,
                        b'"' => (text, done) = (false, open == 0),
                        _ => {}
                    }
                } else {
                    match byte {
                        b'"' => text = true,
                        b'{' | b'[' => open += 1,
                        b',' | b']' | b'}' if open == 0 => {
                            done = true;
                            // Not the element's own; a stray `}` is, for the parser to refuse.
                            taken += usize::from(byte == b'}');
                            break;
                        }
                        b']' | b'}' => {
                            open -= 1;
                            done = open == 0;
                        }
                        space if open == 0 && space.is_ascii_whitespace() => done = true,
                        _ => {}
                    }
                }
                taken += 1;
                if done {
                    break;
                }
            }
            if element.len() + taken > self.limit {
                let why =
                    format!("longer than {} bytes; raise `max_row` if that is right", self.limit);
                return Err(place.error(ErrorKind::Limit, why));
            }
            element.extend_from_slice(&bytes[..taken]);
            self.reader.consume(taken);
            if done {
                return Ok(element);
            }
        }
    }
}

impl<R: BufRead> Iterator for Elements<R> {
    type Item = Result<Record>;

    fn next(&mut self) -> Option<Self::Item> {
        self.read().transpose()
    }
}
