//! The contract of [`DataLayer`](super::DataLayer), executable: every layer runs [`check`].

use openledger_core::{ErrorKind, keccak256};

use super::{Availability, Bytes, Certificate, Scheme};

/// Checks a layer against the contract.
///
/// # Panics
/// On the first line of the contract that does not hold.
pub async fn check(da: &Availability) {
    put_is_idempotent_and_read_back(da).await;
    what_was_never_put_is_refused_for_good(da).await;
    another_scheme_is_refused(da).await;
}

async fn put_is_idempotent_and_read_back(da: &Availability) {
    for bytes in [Bytes::from_static(b"a"), Bytes::from_static(b"rows"), vec![7; 1 << 20].into()] {
        let first = da.put(bytes.clone()).await.expect("bytes are taken");
        let second = da.put(bytes.clone()).await.expect("twice is harmless");
        for certificate in [first, second] {
            assert_eq!(certificate.hash(), keccak256(&bytes), "a certificate names its bytes");
            let text = certificate.to_string().parse().expect("its text is read back");
            assert_eq!(da.get(&text).await.expect("what was taken can be read"), bytes);
        }
    }
}

async fn what_was_never_put_is_refused_for_good(da: &Availability) {
    let real = da.put(Bytes::from_static(b"somebody's")).await.expect("bytes are taken");
    let mut body = real.body().to_vec();
    if let Some(last) = body.last_mut() {
        *last ^= 1;
    }
    let unknown = Certificate::new(real.scheme(), keccak256("nobody's"), body).expect("short");
    let error = da.get(&unknown).await.expect_err("nobody put it");
    assert!(matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Corrupt), "{error:?}");
    assert!(!error.is_retryable(), "{error:?}");
}

async fn another_scheme_is_refused(da: &Availability) {
    let foreign = Certificate::new(Scheme::new(255), keccak256("elsewhere"), vec![1]);
    let error = da.get(&foreign.expect("short")).await.expect_err("another layer's");
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error:?}");
}
