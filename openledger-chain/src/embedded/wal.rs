//! The format of the log of a durable chain.
//!
//! ```text
//! file    magic(8) genesis(32) check(8)  record*
//! record  len(4) check of len(4)  payload(len)  check(8)
//! ```
//!
//! A check is the beginning of the Keccak-256 of the check before it and what it covers, so that a
//! record counts at its place only. The length has a check of its own: were it believed, one wrong
//! bit in it would make the rest of the file look like a record that was never written whole.
//!
//! The end of the file may be the beginning of a record, with zeros after it or without: its writing
//! was cut off, and some file systems grow a file before they write into it. Whatever else is not
//! what it should be is corruption. The two look the same only where the last record's check has
//! rotted to zeros at its end, which is taken for a write that was cut off.

use std::io::{self, Read};

use alloy::primitives::{B256, Keccak256};
use borsh::{BorshDeserialize, BorshSerialize};
use openledger_core::{Error, ErrorKind, Result};

use super::op::Op;

const MAGIC: &[u8; 8] = b"OLCHAIN1";
/// Bytes before the first record.
pub(super) const HEADER: usize = 48;
/// Bytes of a record's payload at the most; a transaction that fits a block is far smaller.
pub(super) const LARGEST: usize = 4 << 20;

type Check = [u8; 8];

/// What a record says: a change, and the last block after it.
#[derive(BorshDeserialize, BorshSerialize, Clone, Debug, Eq, PartialEq)]
pub(super) struct Record {
    pub(super) op: Op,
    /// Replay must come to the same block, or the rules are not those the log was written under.
    pub(super) head: B256,
}

/// Writes records one after another.
#[derive(Clone, Copy, Debug)]
pub(super) struct Writer {
    check: Check,
}

/// Reads records one after another.
#[derive(Debug)]
pub(super) struct Reader<R> {
    from: R,
    offset: u64,
    check: Check,
}

/// What comes next in a log.
#[derive(Debug)]
pub(super) enum Next {
    /// A whole record.
    Record(Box<Record>),
    /// The end of the file.
    End,
    /// The beginning of a record whose writing was cut off, and perhaps zeros.
    Torn,
}

/// Returns the beginning of a log.
pub(super) fn header(genesis: B256) -> ([u8; HEADER], Writer) {
    let mut header = [0; HEADER];
    header[..8].copy_from_slice(MAGIC);
    header[8..40].copy_from_slice(genesis.as_slice());
    let check = digest(&[0; 8], &header[..40]);
    header[40..].copy_from_slice(&check);
    (header, Writer { check })
}

impl Writer {
    /// Appends a record to `out`.
    ///
    /// # Errors
    /// [`ErrorKind::Limit`] if it is larger than a record may be; then nothing was appended.
    pub(super) fn write(&mut self, record: &Record, out: &mut Vec<u8>) -> Result<()> {
        let cannot = |e: io::Error| Error::invalid("encode a change of the chain").with_source(e);
        let payload = borsh::to_vec(record).map_err(cannot)?;
        let len = u32::try_from(payload.len()).ok().filter(|_| payload.len() <= LARGEST);
        let len = len.ok_or_else(|| {
            let message = format!("a change of {} bytes, more than {LARGEST}", payload.len());
            Error::new(ErrorKind::Limit, message)
        })?;
        let len = len.to_be_bytes();
        out.extend_from_slice(&len);
        out.extend_from_slice(&digest(&self.check, &len)[..4]);
        out.extend_from_slice(&payload);
        self.check = digest(&self.check, &payload);
        out.extend_from_slice(&self.check);
        Ok(())
    }
}

impl<R: Read> Reader<R> {
    /// Reads the header of a log that began with `genesis`.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`] if this is no log; [`ErrorKind::Conflict`] if it is that of another
    /// genesis; [`ErrorKind::Unavailable`] if it cannot be read.
    pub(super) fn new(mut from: R, genesis: B256) -> Result<Self> {
        let mut found = [0; HEADER];
        let read = fill(&mut from, &mut found)?;
        let (expected, Writer { check }) = header(genesis);
        let other = B256::from_slice(&found[8..40]);
        if read < HEADER || found != header(other).0 {
            return Err(Error::corrupt("not the log of an embedded chain"));
        }
        if found != expected {
            let message = format!("the log of a chain with genesis {other}, not {genesis}");
            return Err(Error::new(ErrorKind::Conflict, message));
        }
        Ok(Self { from, offset: HEADER as u64, check })
    }

    /// Where the records read so far end.
    pub(super) const fn offset(&self) -> u64 {
        self.offset
    }

    /// Returns a writer that goes on where this ended.
    pub(super) const fn writer(&self) -> Writer {
        Writer { check: self.check }
    }

    /// Reads the next record.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`] with the offset of a record that is whole and wrong;
    /// [`ErrorKind::Unavailable`] if the log cannot be read.
    pub(super) fn next(&mut self) -> Result<Next> {
        let mut start = [0; 8];
        match fill(&mut self.from, &mut start)? {
            0 => return Ok(Next::End),
            8 => {}
            _ => return Ok(Next::Torn),
        }
        let len_bytes = [start[0], start[1], start[2], start[3]];
        let expected = digest(&self.check, &len_bytes);
        if expected[..4] != start[4..] {
            return self.wrong(is_cut(&start[4..], &expected[..4]), "the length of a record");
        }
        let len = u32::from_be_bytes(len_bytes) as usize;
        if len > LARGEST {
            return self.wrong(false, "the length of a record");
        }
        let mut body = vec![0; len + 8];
        if fill(&mut self.from, &mut body)? < body.len() {
            return Ok(Next::Torn);
        }
        let (payload, check) = body.split_at(len);
        let expected = digest(&self.check, payload);
        if check != expected {
            return self.wrong(is_cut(check, &expected), "a record");
        }
        let record =
            borsh::from_slice(payload).map_err(|e| self.corrupt("a record").with_source(e))?;
        self.check.copy_from_slice(check);
        self.offset += (8 + body.len()) as u64;
        Ok(Next::Record(Box::new(record)))
    }

    /// Judges bytes that are not what they should be: cut off if they look so and nothing but zeros
    /// follows, which was never acknowledged.
    fn wrong(&mut self, is_cut: bool, what: &str) -> Result<Next> {
        match is_cut && only_zeros(&mut self.from)? {
            true => Ok(Next::Torn),
            false => Err(self.corrupt(what)),
        }
    }

    fn corrupt(&self, what: &str) -> Error {
        Error::corrupt(format!("{what} at offset {} is not what was written", self.offset))
    }
}

/// Whether `found` is the beginning of what should be there and then zeros. Of a check, no byte is
/// there if what it covers was not written whole.
pub(super) fn is_cut(found: &[u8], expected: &[u8]) -> bool {
    let right =
        found.iter().zip(expected).take_while(|(found, expected)| found == expected).count();
    found[right..].iter().all(|byte| *byte == 0)
}

/// Whether zeros are all there is to the end.
pub(super) fn only_zeros(from: &mut impl Read) -> Result<bool> {
    let mut chunk = [0; 4096];
    loop {
        match fill(from, &mut chunk)? {
            0 => return Ok(true),
            read if chunk[..read].iter().any(|byte| *byte != 0) => return Ok(false),
            _ => {}
        }
    }
}

fn digest(before: &Check, covered: &[u8]) -> Check {
    let mut hasher = Keccak256::new();
    hasher.update(before);
    hasher.update(covered);
    let mut check = Check::default();
    check.copy_from_slice(&hasher.finalize()[..8]);
    check
}

/// Reads until `into` is full or the end; returns how much there was.
fn fill(from: &mut impl Read, into: &mut [u8]) -> Result<usize> {
    let mut filled = 0;
    while filled < into.len() {
        match from.read(&mut into[filled..]) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => {
                return Err(Error::new(ErrorKind::Unavailable, "read the log").with_source(e));
            }
        }
    }
    Ok(filled)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloy::primitives::{Address, U256};
    use openledger_core::ErrorKind;
    use proptest::prelude::*;

    const GENESIS: B256 = B256::repeat_byte(7);

    fn op() -> impl Strategy<Value = Op> {
        let raw = || prop::collection::vec(any::<u8>(), 0..200);
        let account = || any::<[u8; 20]>().prop_map(Address::from);
        prop_oneof![
            raw().prop_map(Op::Transaction),
            (account(), raw()).prop_map(|(from, raw)| Op::Unsigned { from, raw }),
            (any::<u64>(), any::<Option<u64>>())
                .prop_map(|(blocks, interval)| Op::Mine { blocks, interval }),
            any::<u64>().prop_map(Op::NextTimestamp),
            (account(), any::<u64>()).prop_map(|(who, n)| Op::Balance(who, U256::from(n))),
            Just(Op::Snapshot),
        ]
    }

    fn log(ops: &[Op]) -> (Vec<u8>, Vec<u64>) {
        let (header, mut writer) = header(GENESIS);
        let mut bytes = header.to_vec();
        let mut ends = vec![bytes.len() as u64];
        for op in ops {
            let record = Record { op: op.clone(), head: B256::repeat_byte(1) };
            writer.write(&record, &mut bytes).expect("small");
            ends.push(bytes.len() as u64);
        }
        (bytes, ends)
    }

    /// The whole records, where they end, and how the reading ended.
    fn read(bytes: &[u8]) -> (Vec<Op>, u64, Result<bool>) {
        let mut reader = match Reader::new(bytes, GENESIS) {
            Ok(reader) => reader,
            Err(e) => return (Vec::new(), 0, Err(e)),
        };
        let mut ops = Vec::new();
        let ended = loop {
            match reader.next() {
                Ok(Next::Record(record)) => ops.push(record.op),
                Ok(Next::End) => break Ok(true),
                Ok(Next::Torn) => break Ok(false),
                Err(e) => break Err(e),
            }
        };
        (ops, reader.offset(), ended)
    }

    proptest! {
        #[test]
        fn what_was_written_is_read(ops in prop::collection::vec(op(), 0..12)) {
            let (bytes, ends) = log(&ops);
            let (read, offset, ended) = read(&bytes);
            prop_assert_eq!(read, ops);
            prop_assert_eq!(Some(&offset), ends.last());
            prop_assert!(ended.expect("whole"));
        }

        #[test]
        fn a_cut_log_keeps_every_record_before_the_cut(
            ops in prop::collection::vec(op(), 1..8), cut in any::<prop::sample::Index>(),
            zeros in 0usize..5_000,
        ) {
            let (bytes, ends) = log(&ops);
            let cut = HEADER + cut.index(bytes.len() - HEADER);
            let kept = ends.iter().filter(|end| **end <= cut as u64).count() - 1;
            let mut torn = bytes[..cut].to_vec();
            let (found, offset, ended) = read(&torn);
            prop_assert_eq!(&found, &ops[..kept]);
            prop_assert_eq!(offset, ends[kept]);
            prop_assert_eq!(ended.expect("torn at the most"), offset == cut as u64);
            // A file that grew before it was written.
            torn.resize(cut + zeros, 0);
            let kept = whole(&torn, &bytes, &ends);
            let (found, offset, ended) = read(&torn);
            prop_assert_eq!(&found, &ops[..kept]);
            prop_assert_eq!(offset, ends[kept]);
            prop_assert_eq!(ended.expect("torn at the most"), offset == torn.len() as u64);
        }

        #[test]
        fn a_flipped_bit_is_an_error_that_names_its_record(
            ops in prop::collection::vec(op(), 1..8), at in any::<prop::sample::Index>(), bit in 0u8..8,
        ) {
            let (mut bytes, ends) = log(&ops);
            let at = HEADER + at.index(bytes.len() - HEADER);
            bytes[at] ^= 1u8 << bit;
            // With the last bit of a check's end gone, it looks as if its end had not been written.
            prop_assume!(bytes.last() != Some(&0));
            let hit = ends.iter().filter(|end| **end <= at as u64).count() - 1;
            let (found, _, ended) = read(&bytes);
            prop_assert_eq!(&found, &ops[..hit]);
            let error = ended.expect_err("nothing wrong is taken for torn");
            prop_assert_eq!(error.kind(), ErrorKind::Corrupt);
            let offset = format!("offset {} ", ends[hit]);
            prop_assert!(error.to_string().contains(&offset), "{}", error);
        }

        #[test]
        fn no_bytes_make_the_reader_panic(tail in prop::collection::vec(any::<u8>(), 0..300)) {
            prop_assert!(read(&tail).2.is_err(), "only the header begins a log");
            let (mut bytes, _) = log(&[]);
            bytes.extend(tail);
            let (ops, offset, _) = read(&bytes);
            prop_assert_eq!((ops.len(), offset), (0, HEADER as u64));
        }
    }

    /// How many records are there unchanged, among them one whose last bytes are zeros anyway.
    fn whole(torn: &[u8], bytes: &[u8], ends: &[u64]) -> usize {
        let is_there = |end: &&u64| {
            let end = **end as usize;
            torn.get(..end) == Some(&bytes[..end])
        };
        ends.iter().filter(is_there).count() - 1
    }

    #[test]
    fn a_log_cut_at_any_byte_and_filled_with_zeros_keeps_every_whole_record() {
        let raw: Vec<u8> = (1..=90).collect();
        let ops =
            [Op::Interval(1), Op::Transaction(raw.clone()), Op::Snapshot, Op::Transaction(raw)];
        let (bytes, ends) = log(&ops);
        for cut in HEADER..=bytes.len() {
            for zeros in [0, 1, 3, 4, 7, 8, 9, 40, 200, 4_096, 10_000] {
                let mut torn = bytes[..cut].to_vec();
                torn.resize(cut + zeros, 0);
                let kept = whole(&torn, &bytes, &ends);
                let (found, offset, ended) = read(&torn);
                assert_eq!(found, ops[..kept], "cut at {cut}, {zeros} zeros");
                assert_eq!(offset, ends[kept], "cut at {cut}, {zeros} zeros");
                assert!(ended.is_ok(), "cut at {cut}, {zeros} zeros: {ended:?}");
                // What follows zeros was written after them, so they were no end.
                torn.resize(cut + zeros + 16, 0);
                torn.push(1);
                let (found, _, ended) = read(&torn);
                assert_eq!(found, ops[..kept], "cut at {cut}, {zeros} zeros in the middle");
                // Fewer bytes than the length says are a cut, whatever they are.
                if zeros >= 200 {
                    assert!(ended.is_err(), "cut at {cut}, {zeros} zeros in the middle");
                }
            }
        }
    }

    #[test]
    fn a_record_that_is_zeros_in_part_before_good_ones_is_corrupt() {
        let raw: Vec<u8> = (1..=90).collect();
        let (bytes, ends) = log(&[Op::Interval(1), Op::Transaction(raw), Op::Interval(2)]);
        for from in ends[1]..ends[2] {
            let mut hole = bytes.clone();
            hole[from as usize..ends[2] as usize].fill(0);
            if hole == bytes {
                continue;
            }
            let (found, offset, ended) = read(&hole);
            assert_eq!((found.len(), offset), (1, ends[1]), "zeros from {from}");
            assert_eq!(ended.expect_err("in the middle").kind(), ErrorKind::Corrupt);
        }
    }

    #[test]
    fn records_count_at_their_place_only() {
        let (bytes, ends) = log(&[Op::Interval(1), Op::Interval(2)]);
        let [first, second] = [ends[0]..ends[1], ends[1]..ends[2]]
            .map(|range| &bytes[range.start as usize..range.end as usize]);
        let swapped = [&bytes[..HEADER], second, first].concat();
        assert_eq!(read(&swapped).2.expect_err("out of order").kind(), ErrorKind::Corrupt);
    }

    #[test]
    fn a_log_of_another_genesis_or_of_nothing_is_refused() {
        let (other, _) = header(B256::repeat_byte(8));
        assert_eq!(read(&other).2.expect_err("another").kind(), ErrorKind::Conflict);
        assert_eq!(read(&other[..20]).2.expect_err("short").kind(), ErrorKind::Corrupt);
        assert_eq!(read(&[9; 100]).2.expect_err("no log").kind(), ErrorKind::Corrupt);
    }

    #[test]
    fn a_record_past_the_limit_is_not_written() {
        let (_, mut writer) = header(GENESIS);
        let record = Record { op: Op::Transaction(vec![0; LARGEST]), head: B256::ZERO };
        let mut out = Vec::new();
        let error = writer.write(&record, &mut out).expect_err("too large");
        assert_eq!((error.kind(), out.len()), (ErrorKind::Limit, 0));
    }
}
