//! A transport's contract, executable: every [`Exchange`] runs [`check`].

use openledger_core::{
    Address, B256, Bytes, ErrorKind, Key, U256,
    message::{Domain, LocalUpdate, Signed},
};
use safetensors::{Dtype, tensor::TensorView};

use super::{Coordinator, Exchange, Federation, Host, Matrices, Round};

/// When everything happens.
const NOW: u64 = 1_800_000_000;

/// Checks the exchange that `open` makes of a host.
///
/// # Panics
/// On the first line of the contract that does not hold.
pub async fn check<E: Exchange>(open: impl AsyncFn(Host) -> E) {
    let keys = [3, 4].map(key);
    let host = host(&keys);
    let exchange = open(host.clone()).await;
    let round = exchange.round().await.expect("a round is open");
    assert_eq!(round, *host.gate().round());
    let matrices = exchange.matrices(&round).await.expect("the matrices are there");
    assert_eq!(&matrices, host.gate().matrices());

    what_is_not_signed_by_a_worker_is_denied(&exchange, &round, &matrices).await;
    wrong_claims_and_bytes_are_refused(&exchange, &round, &matrices, &keys[0]).await;
    assert_eq!(exchange.round().await.expect("a round is open"), round, "nothing has changed");
    one_update_counts_once(&exchange, &round, &matrices, &keys[0]).await;
    assert_eq!(exchange.round().await.expect("a round is open"), round, "one is still to come");

    let (signed, bytes) = update(&round, &matrices, &keys[1], 0.5);
    exchange.submit(signed.clone(), bytes.clone()).await.expect("an update is taken");
    let next = next(&exchange, &round).await;
    assert_eq!(next.number, 1);
    let moved = exchange.matrices(&next).await.expect("the new matrices are there");
    assert_eq!(Matrices::digest(&moved), next.start);
    assert_ne!(moved, matrices);
    let gone = exchange.matrices(&round).await.expect_err("the old ones are gone");
    assert_eq!(gone.kind(), ErrorKind::NotFound);
    let late = exchange.submit(signed, bytes).await.expect_err("its round is over");
    assert_eq!(late.kind(), ErrorKind::Conflict);

    for key in &keys {
        let (signed, bytes) = update(&next, &moved, key, 0.25);
        exchange.submit(signed, bytes).await.expect("an update is taken");
    }
    let over = self::next(&exchange, &next).await;
    assert!(over.is_over());
    assert!(exchange.matrices(&over).await.is_ok(), "the result can be fetched");
}

/// Waits for another round: a transport may close one after it has answered.
async fn next(exchange: &impl Exchange, round: &Round) -> Round {
    for _ in 0..1_000_000 {
        let now = exchange.round().await.expect("a round is open");
        if now.number != round.number {
            return now;
        }
    }
    panic!("round {} does not close", round.number)
}

async fn what_is_not_signed_by_a_worker_is_denied(
    exchange: &impl Exchange,
    round: &Round,
    matrices: &[u8],
) {
    let (signed, bytes) = update(round, matrices, &key(9), 0.5);
    let stranger = exchange.submit(signed.clone(), bytes.clone()).await;
    let said = LocalUpdate { worker: key(3).address(), ..*signed.unverified() };
    let forged = Signed::from_parts(said, signed.domain(), *signed.signature());
    let forged = exchange.submit(forged, bytes.clone()).await;
    let elsewhere = Domain { chain_id: 1, ..domain() };
    let said = *update(round, matrices, &key(3), 0.5).0.unverified();
    let moved = exchange.submit(Signed::sign(said, elsewhere, &key(3)), bytes).await;
    for refused in [stranger, forged, moved] {
        assert_eq!(refused.expect_err("nobody we know").kind(), ErrorKind::Denied);
    }
}

async fn wrong_claims_and_bytes_are_refused(
    exchange: &impl Exchange,
    round: &Round,
    matrices: &[u8],
    key: &Key,
) {
    let (signed, bytes) = update(round, matrices, key, 0.5);
    let said = *signed.unverified();
    for (wrong, expected) in [
        (LocalUpdate { run: B256::ZERO, ..said }, ErrorKind::Invalid),
        (LocalUpdate { steps: round.steps + 1, ..said }, ErrorKind::Invalid),
        (LocalUpdate { labels: u64::MAX, ..said }, ErrorKind::Invalid),
        (LocalUpdate { labels: 0, ..said }, ErrorKind::Invalid),
        (LocalUpdate { round: round.number + 1, ..said }, ErrorKind::Conflict),
        (LocalUpdate { start: B256::ZERO, ..said }, ErrorKind::Conflict),
    ] {
        let refused = exchange.submit(Signed::sign(wrong, domain(), key), bytes.clone()).await;
        assert_eq!(refused.expect_err("a wrong claim").kind(), expected, "{wrong:?}");
    }
    let longer = Bytes::from([&bytes[..], &[0]].concat());
    let refused = exchange.submit(signed.clone(), longer).await.expect_err("too many bytes");
    assert_eq!(refused.kind(), ErrorKind::Limit);
    for other in [Bytes::from(vec![7; bytes.len()]), bytes.slice(1..), Bytes::new()] {
        let refused = exchange.submit(signed.clone(), other).await.expect_err("other bytes");
        assert_eq!(refused.kind(), ErrorKind::Corrupt);
    }
}

async fn one_update_counts_once(
    exchange: &impl Exchange,
    round: &Round,
    matrices: &[u8],
    key: &Key,
) {
    let (signed, bytes) = update(round, matrices, key, 0.5);
    for _ in 0..3 {
        let sent = exchange.submit(signed.clone(), bytes.clone()).await;
        sent.expect("the same update again is the same update");
    }
    let (signed, bytes) = update(round, matrices, key, 0.75);
    let refused = exchange.submit(signed, bytes).await.expect_err("it has changed its mind");
    assert_eq!(refused.kind(), ErrorKind::Conflict);
}

fn key(byte: u8) -> Key {
    Key::from_bytes(B256::repeat_byte(byte)).expect("small numbers are keys")
}

fn domain() -> Domain {
    Domain { chain_id: 1612, contract: Address::repeat_byte(1) }
}

/// A run of two rounds with matrices of four elements.
fn host(workers: &[Key]) -> Host {
    let federation =
        Federation::new(B256::repeat_byte(2), domain(), workers.iter().map(Key::address))
            .with_rounds(2, 5);
    let data: Vec<u8> = [1f32, 2.0, 3.0, 4.0].iter().flat_map(|x| x.to_le_bytes()).collect();
    let view = TensorView::new(Dtype::F32, vec![2, 2], &data).expect("four elements");
    let start = safetensors::serialize([("w", view)], None).expect("one tensor");
    let coordinator = Coordinator::new(federation, &start, NOW).expect("terms that can be kept");
    Host::new(coordinator, || NOW)
}

/// An update that adds `by` to every element.
fn update(round: &Round, matrices: &[u8], key: &Key, by: f32) -> (Signed<LocalUpdate>, Bytes) {
    let start = Matrices::parse(matrices).expect("matrices");
    let bytes = start.with_values(vec![by; start.values().len()]).to_bytes();
    let message = LocalUpdate {
        run: round.run,
        round: round.number,
        start: round.start,
        update: Matrices::digest(&bytes),
        steps: round.steps,
        labels: 100,
        worker: key.address(),
        nonce: U256::from(round.number),
        deadline: NOW + 60,
    };
    (Signed::sign(message, domain(), key), bytes)
}
