//! The store's contract, executable: every backend runs [`check`].

use bytes::Bytes;
use futures::future::join_all;

use super::{Head, Store};
use crate::{ContentHash, ErrorKind};

/// Checks `store` against the contract of [`Store`].
///
/// # Panics
/// On the first line of the contract that does not hold.
pub async fn check(store: &Store) {
    put_is_idempotent_and_read_back(store).await;
    absent_is_not_found(store).await;
    one_of_sixteen_writers_wins(store).await;
    heads_are_listed_in_order(store).await;
}

async fn put_is_idempotent_and_read_back(store: &Store) {
    for bytes in [Bytes::new(), Bytes::from_static(b"rows"), Bytes::from(vec![7; 1 << 20])] {
        let hash = store.put(bytes.clone()).await.expect("a blob is taken");
        assert_eq!(hash, ContentHash::of(&bytes), "a blob's name is the hash of its bytes");
        assert_eq!(store.put(bytes.clone()).await.expect("twice is harmless"), hash);
        assert_eq!(store.get(hash).await.expect("what was taken can be read"), bytes);
    }
}

async fn absent_is_not_found(store: &Store) {
    let hash = ContentHash::of(b"nobody wrote this");
    assert_eq!(store.get(hash).await.expect_err("absent").kind(), ErrorKind::NotFound);
    let head = head("conformance/absent");
    assert_eq!(store.read(&head).await.expect_err("absent").kind(), ErrorKind::NotFound);
}

async fn one_of_sixteen_writers_wins(store: &Store) {
    for round in 0..8 {
        let head = head(&format!("conformance/race/{round}"));
        let writes = (0..16u8).map(|writer| store.create(&head, Bytes::from(vec![writer])));
        let results = join_all(writes).await;
        let winners: Vec<usize> = (0..16).filter(|&writer| results[writer].is_ok()).collect();
        assert_eq!(winners.len(), 1, "exactly one writer takes a name");
        for lost in results.iter().filter_map(|result| result.as_ref().err()) {
            assert_eq!(lost.kind(), ErrorKind::Conflict, "the others are told: {lost:?}");
        }
        let kept = store.read(&head).await.expect("the winner's bytes are there");
        assert_eq!(usize::from(kept[0]), winners[0], "and they are the winner's");
    }
}

async fn heads_are_listed_in_order(store: &Store) {
    let names = ["conformance/list/a", "conformance/list/b", "conformance/list/c/d"];
    for name in names.iter().rev() {
        store.create(&head(name), Bytes::new()).await.expect("a fresh name is free");
    }
    let listed = store.heads(&head("conformance/list")).await.expect("listed");
    assert_eq!(listed, names.map(head));
    assert_eq!(store.heads(&head("conformance/nothing")).await.expect("listed"), []);
}

fn head(name: &str) -> Head {
    name.parse().expect("a plain name")
}
