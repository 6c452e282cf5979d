//! One value, one encoding.

use openledger_core::{B256, ErrorKind, Row, RowId, decode, digest, encode};
use proptest::prelude::*;

fn row() -> impl Strategy<Value = Row> {
    prop_oneof![
        "[ -~]{0,20}[!-~]".prop_map(|text| Row::passage(&text).expect("text")),
        ("[!-~]{1,20}", "\\PC{0,20}[!-~]").prop_map(|(p, c)| Row::exchange(&p, &c).expect("text")),
    ]
}

proptest! {
    #[test]
    fn what_is_encoded_decodes(row in row(), ids in prop::collection::vec(any::<[u8; 32]>(), 0..4)) {
        let ids: Vec<RowId> = ids.into_iter().map(|id| B256::from(id).into()).collect();
        let value = (row, ids);
        prop_assert_eq!(decode::<(Row, Vec<RowId>)>(&encode(&value)).unwrap(), value);
    }

    #[test]
    fn bytes_that_decode_are_the_encoding(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(value) = decode::<(Row, Option<u8>, Vec<String>)>(&bytes) {
            prop_assert_eq!(encode(&value), bytes);
        }
    }

    #[test]
    fn a_byte_more_or_less_is_refused(row in row(), byte in any::<u8>()) {
        let mut bytes = encode(&row);
        bytes.push(byte);
        prop_assert_eq!(decode::<Row>(&bytes).unwrap_err().kind(), ErrorKind::Corrupt);
        bytes.truncate(bytes.len() - 2);
        prop_assert_eq!(decode::<Row>(&bytes).unwrap_err().kind(), ErrorKind::Corrupt);
    }
}

#[test]
fn a_length_that_lies_allocates_nothing_large() {
    let four_billion = u32::MAX.to_le_bytes();
    assert!(decode::<Vec<u64>>(&four_billion).is_err());
    assert!(decode::<String>(&four_billion).is_err());
}

#[test]
fn untidy_rows_do_not_decode() {
    let untidy = encode(&(String::new(), " text ".to_owned()));
    assert_eq!(decode::<Row>(&untidy).unwrap_err().kind(), ErrorKind::Corrupt);
}

#[test]
fn digests_of_different_domains_differ() {
    assert_ne!(digest("a", &1u8), digest("b", &1u8));
    assert_ne!(digest("a", &1u8), digest("a", &1u16));
}
