//! Files to drafts.
//!
//! | file | a row is |
//! |---|---|
//! | `.jsonl` | a line: an object |
//! | `.json` | an element of an array, or a value of an object: an object or a string |
//! | `.csv` | a record below the header |
//! | `.txt` | a paragraph |
//! | `.md` | a paragraph; headings are no rows |
//!
//! Objects and records have fields; which of them make the text is [found or named](Fields).

mod fields;
mod json;
mod table;
mod text;

use std::path::Path;

use openledger_core::{Error, ErrorKind, Result, file};

pub use fields::Fields;

use crate::{Draft, Limits};

/// Reads the rows of the file at `path`.
///
/// # Errors
/// [`ErrorKind::NotFound`] or [`ErrorKind::Unavailable`] if it cannot be read, [`ErrorKind::Limit`]
/// if it is too large, otherwise those of [`parse`]; each names the file.
pub fn read(path: impl AsRef<Path>, fields: &Fields, limits: &Limits) -> Result<Vec<Draft>> {
    let path = path.as_ref();
    let bytes = file::read(path, limits.submission)?;
    parse(&path.display().to_string(), &bytes, fields, limits)
}

/// Parses the bytes of a file called `name`.
///
/// # Errors
/// [`ErrorKind::Unsupported`] for an ending that is not in the table above; [`ErrorKind::Corrupt`]
/// naming the place if the bytes are not what the ending says; [`ErrorKind::Invalid`] if the text
/// fields are not found or there is no row; [`ErrorKind::Limit`] if it or a row is too large.
///
/// # Examples
/// ```
/// use openledger_datanet::{Limits, intake::{Fields, parse}};
///
/// let csv = b"question,answer\nWhy knead?,\"For gluten, mostly.\"\n";
/// let drafts = parse("rows.csv", csv, &Fields::Found, &Limits::default())?;
/// assert_eq!(drafts[0].row.completion(), "For gluten, mostly.");
/// assert_eq!(drafts[0].origin.to_string(), "rows.csv:2");
/// # Ok::<(), openledger_core::Error>(())
/// ```
pub fn parse(name: &str, bytes: &[u8], fields: &Fields, limits: &Limits) -> Result<Vec<Draft>> {
    limits.check_submission(&format!("`{name}`"), bytes.len() as u64)?;
    let format = Format::of(name)?;
    let text = utf8(bytes).map_err(|e| in_file(name, e))?;
    let drafts = match format {
        Format::JsonLines => json::lines(name, text, fields),
        Format::Json => json::document(name, text, fields),
        Format::Csv => table::csv(name, text, fields),
        Format::Text => text::paragraphs(name, text),
        Format::Markdown => text::markdown(name, text),
    }
    .map_err(|e| in_file(name, e))?;
    if drafts.is_empty() {
        return Err(Error::invalid(format!("`{name}` holds no row")));
    }
    if let Some(draft) = drafts.iter().find(|draft| draft.row.len() as u64 > limits.row) {
        let message = format!(
            "{}: a row of {} bytes, over the {} a row may have",
            draft.origin,
            draft.row.len(),
            limits.row
        );
        return Err(Error::new(ErrorKind::Limit, message));
    }
    Ok(drafts)
}

#[derive(Clone, Copy)]
enum Format {
    JsonLines,
    Json,
    Csv,
    Text,
    Markdown,
}

impl Format {
    fn of(name: &str) -> Result<Self> {
        let ending = Path::new(name).extension().and_then(|ending| ending.to_str());
        Ok(match ending.map(str::to_ascii_lowercase).as_deref() {
            Some("jsonl") => Self::JsonLines,
            Some("json") => Self::Json,
            Some("csv") => Self::Csv,
            Some("txt") => Self::Text,
            Some("md") => Self::Markdown,
            _ => {
                return Err(Error::new(
                    ErrorKind::Unsupported,
                    format!("`{name}` is of no known kind; known: .jsonl, .json, .csv, .txt, .md"),
                ));
            }
        })
    }
}

fn utf8(bytes: &[u8]) -> Result<&str> {
    if let Some(kind) = infer::get(bytes) {
        let mime = kind.mime_type();
        if !mime.starts_with("text/") {
            return Err(Error::corrupt(format!("the file is {mime}, not what its name says")));
        }
    }
    let text = std::str::from_utf8(bytes).map_err(|e| {
        let place = e.valid_up_to();
        Error::corrupt(format!("byte {place} is not UTF-8 text"))
    })?;
    if text.contains('\0') {
        return Err(Error::corrupt("the file holds zero bytes: it is not text"));
    }
    Ok(text.strip_prefix('\u{feff}').unwrap_or(text))
}

fn in_file(name: &str, error: Error) -> Error {
    Error::new(error.kind(), format!("cannot take in `{name}`")).with_source(error)
}
