//! The rows in memory keep the contract of retrieval.

use openledger_core::{
    Address, B256,
    retrieve::{KeywordRows, Passage, Retrieve, conformance},
};

fn passage(n: u8, text: &str) -> Passage {
    Passage {
        row: B256::repeat_byte(n).into(),
        datanet: B256::repeat_byte(200).into(),
        contributor: Address::repeat_byte(n),
        text: text.to_owned(),
        score: f32::NAN,
    }
}

#[tokio::test]
async fn rows_in_memory_conform() {
    let rows = [
        passage(3, "the sea is deep"),
        passage(1, "the deep blue sea"),
        passage(1, "the same name again: deep deep"),
        passage(2, "no"),
    ];
    let index = KeywordRows::new(rows);
    conformance::check(&index, &["deep blue", "sea", "nothing of it"]).await;
    let found = index.retrieve("Deep, BLUE?", 9).await.unwrap();
    let names: Vec<_> = found.iter().map(|passage| passage.row.as_bytes()[0]).collect();
    assert_eq!(names, [1, 3]);
}
