//! The pages of a Parquet column, none larger than a limit.
//!
//! The library's own reader takes as much memory as a page claims to need and unpacks gzip to its
//! end. Here a page's claims are checked before memory is taken for them, and unpacking stops
//! where the claim does.

use std::{
    fs::File,
    io::{self, BufReader, Read, Seek, SeekFrom},
    sync::Arc,
};

use bytes::Bytes;
use flate2::read::MultiGzDecoder;
use parquet::{
    basic::{Compression, Encoding},
    column::page::{Page, PageMetadata, PageReader},
    errors::{ParquetError, Result},
    file::metadata::ColumnChunkMetaData,
};

use super::thrift::{Compact, Value};

/// The largest page, packed or not: 64 MiB. Writers aim at 1 MiB.
const MAX_PAGE: usize = 64 << 20;
/// The largest header of a page; statistics in it can be long.
const MAX_HEADER: usize = 1 << 20;

/// Reads the pages of one column chunk.
pub(super) struct Pages {
    reader: BufReader<Cursor>,
    /// Bytes of the chunk that are left.
    left: usize,
    /// Values that are left.
    values: i64,
    compression: Compression,
    /// The header of the next page, if it has been read.
    peeked: Option<Header>,
}

/// A place of its own in a file that several columns are read from.
struct Cursor {
    file: Arc<File>,
    place: u64,
}

impl Read for Cursor {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut file = &*self.file;
        file.seek(SeekFrom::Start(self.place))?;
        let read = file.read(buffer)?;
        self.place += read as u64;
        Ok(read)
    }
}

impl Seek for Cursor {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let place = match to {
            SeekFrom::Start(place) => Some(place),
            SeekFrom::Current(by) => self.place.checked_add_signed(by),
            SeekFrom::End(by) => self.file.metadata()?.len().checked_add_signed(by),
        };
        self.place = place.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.place)
    }
}

/// What a page says of itself.
#[derive(Clone, Copy, Debug, Default)]
struct Header {
    kind: i64,
    unpacked: usize,
    packed: usize,
    values: u32,
    encoding: i64,
    levels: [i64; 2],
    nulls: u32,
    rows: u32,
    /// Bytes of definition and repetition levels, never packed.
    level_bytes: [usize; 2],
    is_packed: bool,
    is_sorted: bool,
}

impl Pages {
    pub(super) fn new(file: &Arc<File>, chunk: &ColumnChunkMetaData) -> Result<Self> {
        let start = chunk.dictionary_page_offset().filter(|&offset| offset > 0);
        let start = start.unwrap_or(i64::MAX).min(chunk.data_page_offset());
        let [Ok(start), Ok(len)] = [start, chunk.compressed_size()].map(u64::try_from) else {
            return Err(broken("a column that lies before the file"));
        };
        let size = file.metadata()?.len();
        if start.checked_add(len).is_none_or(|end| end > size) {
            return Err(broken("a column that ends behind the file"));
        }
        let reader = BufReader::new(Cursor { file: Arc::clone(file), place: start });
        Ok(Self {
            reader,
            left: usize::try_from(len).map_err(|_| broken("a column that is too large"))?,
            values: chunk.num_values(),
            compression: chunk.compression(),
            peeked: None,
        })
    }

    /// Reads the header of the next page that holds values.
    fn header(&mut self) -> Result<Option<Header>> {
        loop {
            if let Some(header) = self.peeked {
                return Ok(Some(header));
            }
            if self.left == 0 || self.values <= 0 {
                return Ok(None);
            }
            let most = self.left.min(MAX_HEADER);
            let mut compact = Compact::new(&mut self.reader, most);
            let header = Header::read(&mut compact)?;
            self.left -= most - compact.left();
            if header.packed > self.left || header.packed.max(header.unpacked) > MAX_PAGE {
                return Err(broken(&format!(
                    "a page of {} bytes, {} unpacked; {} are left and {MAX_PAGE} are allowed",
                    header.packed, header.unpacked, self.left
                )));
            }
            match header.kind {
                // Data, dictionary, data of version 2; an index has no values.
                0 | 2 | 3 => self.peeked = Some(header),
                _ => self.skip(header.packed)?,
            }
        }
    }

    fn skip(&mut self, bytes: usize) -> Result<()> {
        self.reader.seek_relative(i64::try_from(bytes).map_err(|_| broken("too far"))?)?;
        self.left -= bytes;
        Ok(())
    }

    fn page(&mut self) -> Result<Option<Page>> {
        let Some(header) = self.header()? else { return Ok(None) };
        self.peeked = None;
        let mut packed = Vec::new();
        (&mut self.reader).take(header.packed as u64).read_to_end(&mut packed)?;
        if packed.len() != header.packed {
            return Err(broken("a page that ends behind the file"));
        }
        self.left -= header.packed;
        let levels: usize = header.level_bytes.iter().sum();
        let plain = if header.kind == 3 { levels } else { 0 };
        if plain > packed.len() || plain > header.unpacked {
            return Err(broken("levels that are longer than their page"));
        }
        let unpack = header.kind != 3 || header.is_packed;
        let buf = match self.compression {
            Compression::UNCOMPRESSED => packed,
            _ if !unpack => packed,
            compression => {
                let mut whole = packed[..plain].to_vec();
                unpack_into(&mut whole, compression, &packed[plain..], header.unpacked - plain)?;
                whole
            }
        };
        if header.kind == 2 && header.values as usize > 8 * buf.len() {
            return Err(broken("a dictionary with more values than bytes"));
        }
        if header.kind != 2 {
            self.values -= i64::from(header.values);
        }
        let (buf, num_values) = (Bytes::from(buf), header.values);
        let encoding = encoding(header.encoding)?;
        let [definition, repetition] = header.levels;
        Ok(Some(match header.kind {
            0 => Page::DataPage {
                buf,
                num_values,
                encoding,
                def_level_encoding: self::encoding(definition)?,
                rep_level_encoding: self::encoding(repetition)?,
                statistics: None,
            },
            2 => Page::DictionaryPage { buf, num_values, encoding, is_sorted: header.is_sorted },
            _ => Page::DataPageV2 {
                buf,
                num_values,
                encoding,
                num_nulls: header.nulls,
                num_rows: header.rows,
                def_levels_byte_len: size(header.level_bytes[0])?,
                rep_levels_byte_len: size(header.level_bytes[1])?,
                is_compressed: false,
                statistics: None,
            },
        }))
    }
}

impl Header {
    /// Reads `PageHeader` of parquet.thrift.
    fn read<R: Read>(compact: &mut Compact<R>) -> Result<Self> {
        let mut header = Self { is_packed: true, ..Self::default() };
        let mut number = 0;
        while let Some(value) = compact.field(&mut number)? {
            match (number, value) {
                (1, Value::Integer(kind)) => header.kind = kind,
                (2, Value::Integer(bytes)) => header.unpacked = count(bytes)?,
                (3, Value::Integer(bytes)) => header.packed = count(bytes)?,
                (5 | 7 | 8, Value::Struct) => header.read_kind(compact, number)?,
                (_, Value::Struct) => compact.skip_struct(0)?,
                _ => {}
            }
        }
        Ok(header)
    }

    fn read_kind<R: Read>(&mut self, compact: &mut Compact<R>, kind: i64) -> Result<()> {
        let mut number = 0;
        while let Some(value) = compact.field(&mut number)? {
            match (kind, number, value) {
                (_, 1, Value::Integer(values)) => self.values = size(count(values)?)?,
                (5 | 7, 2, Value::Integer(encoding)) | (8, 4, Value::Integer(encoding)) => {
                    self.encoding = encoding;
                }
                (5, 3, Value::Integer(encoding)) => self.levels[0] = encoding,
                (5, 4, Value::Integer(encoding)) => self.levels[1] = encoding,
                (7, 3, Value::Bool(sorted)) => self.is_sorted = sorted,
                (8, 2, Value::Integer(nulls)) => self.nulls = size(count(nulls)?)?,
                (8, 3, Value::Integer(rows)) => self.rows = size(count(rows)?)?,
                (8, 5, Value::Integer(bytes)) => self.level_bytes[0] = count(bytes)?,
                (8, 6, Value::Integer(bytes)) => self.level_bytes[1] = count(bytes)?,
                (8, 7, Value::Bool(packed)) => self.is_packed = packed,
                (_, _, Value::Struct) => compact.skip_struct(0)?,
                _ => {}
            }
        }
        Ok(())
    }
}

/// Appends what `packed` unpacks to, which must be `len` bytes.
fn unpack_into(
    whole: &mut Vec<u8>,
    compression: Compression,
    packed: &[u8],
    len: usize,
) -> Result<()> {
    let start = whole.len();
    let most = len as u64 + 1;
    match compression {
        Compression::SNAPPY => {
            let claims = snap::raw::decompress_len(packed).map_err(|e| broken(&e.to_string()))?;
            if claims != len {
                return Err(broken("a page whose length is not what its header says"));
            }
            whole.resize(start + len, 0);
            snap::raw::Decoder::new()
                .decompress(packed, &mut whole[start..])
                .map_err(|e| broken(&e.to_string()))?;
        }
        Compression::GZIP(_) => {
            MultiGzDecoder::new(packed).take(most).read_to_end(whole)?;
        }
        // An empty page may be no frame at all.
        Compression::ZSTD(_) if len > 0 => {
            let decoder = ruzstd::decoding::StreamingDecoder::new(packed)
                .map_err(|e| broken(&e.to_string()))?;
            decoder.take(most).read_to_end(whole)?;
        }
        Compression::ZSTD(_) => {}
        other => {
            let message = format!("{other:?} compression: write it with Snappy, gzip or Zstandard");
            return Err(ParquetError::NYI(message));
        }
    }
    if whole.len() - start != len {
        return Err(broken("a page whose length is not what its header says"));
    }
    Ok(())
}

/// The encodings of parquet.thrift.
fn encoding(number: i64) -> Result<Encoding> {
    #[expect(deprecated, reason = "old files have it for levels")]
    Ok(match number {
        0 => Encoding::PLAIN,
        2 => Encoding::PLAIN_DICTIONARY,
        3 => Encoding::RLE,
        4 => Encoding::BIT_PACKED,
        5 => Encoding::DELTA_BINARY_PACKED,
        6 => Encoding::DELTA_LENGTH_BYTE_ARRAY,
        7 => Encoding::DELTA_BYTE_ARRAY,
        8 => Encoding::RLE_DICTIONARY,
        9 => Encoding::BYTE_STREAM_SPLIT,
        _ => return Err(broken("an encoding that is none")),
    })
}

fn count(number: i64) -> Result<usize> {
    usize::try_from(number).map_err(|_| broken("a negative count"))
}

fn size(number: usize) -> Result<u32> {
    u32::try_from(number).map_err(|_| broken("a count that is too large"))
}

fn broken(why: &str) -> ParquetError {
    ParquetError::General(why.to_owned())
}

impl Iterator for Pages {
    type Item = Result<Page>;

    fn next(&mut self) -> Option<Self::Item> {
        self.page().transpose()
    }
}

impl PageReader for Pages {
    fn get_next_page(&mut self) -> Result<Option<Page>> {
        self.page()
    }

    fn peek_next_page(&mut self) -> Result<Option<PageMetadata>> {
        Ok(self.header()?.map(|header| PageMetadata {
            num_rows: (header.kind == 3).then_some(header.rows as usize),
            num_levels: (header.kind != 2).then_some(header.values as usize),
            is_dict: header.kind == 2,
        }))
    }

    fn skip_next_page(&mut self) -> Result<()> {
        if let Some(header) = self.header()? {
            self.peeked = None;
            self.values -= i64::from(if header.kind == 2 { 0 } else { header.values });
            self.skip(header.packed)?;
        }
        Ok(())
    }
}
