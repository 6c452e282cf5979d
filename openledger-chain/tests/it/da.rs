//! Bytes that anybody can fetch, and a layer that fails in every way it can.

use std::{
    fs,
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use openledger_chain::da::{
    Availability, Backoff, Bytes, Certificate, DataLayer, EigenDa, FailOver, Local,
    MAX_CERTIFICATE_BYTES, MAX_PAYLOAD_BYTES, Pause, Scheme, conformance,
    mock::{Fault, Proxy},
};
use openledger_core::{B256, ErrorKind, Result, Store, keccak256};
use proptest::prelude::*;

/// Time that passes at once, and what of it passed.
#[derive(Clone, Debug, Default)]
struct Waits(Arc<Mutex<Vec<u64>>>);

const ANSWER: Duration = Duration::from_secs(7_777);

#[async_trait]
impl Pause for Waits {
    async fn pause(&self, time: Duration) {
        if time != ANSWER {
            self.0.lock().unwrap().push(time.as_secs());
        }
    }
}

impl Waits {
    fn take(&self) -> Vec<u64> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

/// A proxy in this process, its client, and how long the client waited.
fn eigen_da() -> (Proxy, EigenDa<Proxy>, Waits) {
    let (proxy, waits) = (Proxy::default(), Waits::default());
    let client = EigenDa::new(proxy.clone(), "http://proxy/")
        .with_backoff(Backoff::default().with_answer_within(ANSWER))
        .with_pause(waits.clone());
    (proxy, client, waits)
}

#[tokio::test]
async fn every_layer_keeps_the_contract() {
    conformance::check(&Availability::new(Local::new(Store::memory()))).await;
    conformance::check(&Availability::new(eigen_da().1)).await;
    conformance::check(&Availability::new(FailOver::new(eigen_da().1, Store::memory()))).await;

    let folder = tempfile::tempdir().unwrap();
    let disk = Store::local(folder.path()).await.unwrap();
    conformance::check(&Availability::new(Local::new(disk))).await;

    let (proxy, client, _) = eigen_da();
    proxy.fail_all(Some(Fault::Status(503)));
    conformance::check(&Availability::new(FailOver::new(client, Store::memory()))).await;
}

#[tokio::test]
async fn the_hash_on_chain_finds_local_bytes() {
    let da = Availability::new(Local::new(Store::memory()));
    da.put("rows").await.unwrap();
    assert_eq!(da.get(&Certificate::local(keccak256("rows"))).await.unwrap(), "rows");
}

#[tokio::test]
async fn changed_bytes_on_disk_are_not_returned() {
    let folder = tempfile::tempdir().unwrap();
    let da = Availability::new(Local::new(Store::local(folder.path()).await.unwrap()));
    let certificate = da.put("rows").await.unwrap();
    let mut changed = 0;
    let mut folders = vec![folder.path().join("blobs")];
    while let Some(path) = folders.pop() {
        for entry in fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()) {
            if entry.is_dir() {
                folders.push(entry);
            } else {
                fs::write(entry, "rowz").unwrap();
                changed += 1;
            }
        }
    }
    assert_eq!(changed, 1);
    assert_eq!(da.get(&certificate).await.unwrap_err().kind(), ErrorKind::Corrupt);
}

/// A layer that lies.
#[derive(Debug)]
struct Liar;

#[async_trait]
impl DataLayer for Liar {
    async fn put(&self, _: Bytes) -> Result<Certificate> {
        Ok(Certificate::local(keccak256("something else")))
    }

    async fn get(&self, _: &Certificate) -> Result<Bytes> {
        Ok(Bytes::from_static(b"something else"))
    }
}

#[tokio::test]
async fn a_layer_that_lies_is_found_out_at_every_call() {
    let da = Availability::new(Liar);
    assert_eq!(da.put("rows").await.unwrap_err().kind(), ErrorKind::Corrupt);
    let certificate = Certificate::local(keccak256("rows"));
    for _ in 0..2 {
        assert_eq!(da.get(&certificate).await.unwrap_err().kind(), ErrorKind::Corrupt);
    }
}

#[tokio::test]
async fn a_busy_proxy_is_asked_again_ever_more_slowly() {
    let (proxy, client, waits) = eigen_da();
    let da = Availability::new(client);
    for faults in [vec![429; 9], vec![500, 429, 502], vec![]] {
        let tries = faults.len();
        proxy.fail_next(faults.into_iter().map(Fault::Status));
        let certificate = da.put("rows").await.unwrap();
        assert_eq!(waits.take(), [1, 2, 4, 8, 10, 10, 10, 10, 10][..tries]);
        assert_eq!(da.get(&certificate).await.unwrap(), "rows");
    }
    proxy.fail_all(Some(Fault::Status(429)));
    let before = proxy.requests();
    let error = da.put("rows").await.unwrap_err();
    assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Unavailable, true));
    assert_eq!(proxy.requests() - before, 10);
    assert_eq!(waits.take(), [1, 2, 4, 8, 10, 10, 10, 10, 10]);
}

#[tokio::test]
async fn what_asking_again_cannot_change_is_asked_once() {
    for (fault, kind) in [
        (Fault::Status(400), ErrorKind::Invalid),
        (Fault::Status(404), ErrorKind::Invalid),
        (Fault::Status(403), ErrorKind::Denied),
        (Fault::Status(418), ErrorKind::Corrupt),
        (Fault::Status(503), ErrorKind::Unavailable),
        (Fault::TooMuch, ErrorKind::Limit),
    ] {
        let (proxy, client, waits) = eigen_da();
        let da = Availability::new(client);
        let certificate = da.put("rows").await.unwrap();
        for (request, result) in [
            ("put", {
                proxy.fail_next([fault]);
                da.put("rows").await.map(|_| ())
            }),
            ("get", {
                proxy.fail_next([fault]);
                da.get(&certificate).await.map(|_| ())
            }),
        ] {
            let error = result.unwrap_err();
            assert_eq!(error.kind(), kind, "{request}: {error:?}");
            assert_eq!(error.is_retryable(), kind == ErrorKind::Unavailable, "{error:?}");
        }
        assert_eq!((proxy.requests(), waits.take().len()), (3, 0));
    }
}

#[tokio::test]
async fn a_derivation_error_says_what_the_proxy_said() {
    let (_, client, _) = eigen_da();
    let unknown = Certificate::new(Scheme::EIGEN_DA, B256::ZERO, vec![1, 2, 3]).unwrap();
    let report = client.get(&unknown).await.unwrap_err().report();
    assert!(report.contains("418"), "{report}");
    assert!(report.ends_with("derivation error 2: cert verification failed"), "{report}");
}

#[tokio::test]
async fn a_proxy_that_does_not_answer_is_asked_again() {
    let (proxy, client, waits) = eigen_da();
    let da = Availability::new(client);
    proxy.fail_next([Fault::Silence, Fault::Truncated]);
    let certificate = da.put("rows").await.unwrap();
    assert_eq!(waits.take(), [1, 2]);
    proxy.fail_all(Some(Fault::Silence));
    let error = da.get(&certificate).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.to_string().contains("within"), "{error}");
}

#[tokio::test]
async fn wrong_bytes_are_never_returned() {
    let (proxy, client, _) = eigen_da();
    let da = Availability::new(client);
    let certificate = da.put("rows").await.unwrap();
    proxy.fail_next([Fault::WrongBytes]);
    assert_eq!(da.get(&certificate).await.unwrap_err().kind(), ErrorKind::Corrupt);
    assert_eq!(da.get(&certificate).await.unwrap(), "rows");
}

#[tokio::test]
async fn unknown_certificate_versions_are_refused_both_ways() {
    let (proxy, client, _) = eigen_da();
    for version in 0..=u8::MAX {
        let known = version < 3;
        proxy.fail_next([Fault::Version(version)]);
        let put = client.put(Bytes::from_static(b"rows")).await;
        assert_eq!(put.is_ok(), known, "{version}");
        let certificate =
            Certificate::new(Scheme::EIGEN_DA, keccak256("rows"), vec![version, 1]).unwrap();
        let error = client.get(&certificate).await.unwrap_err();
        let kind = if known { ErrorKind::Corrupt } else { ErrorKind::Unsupported };
        assert_eq!(error.kind(), kind, "{version}: {error:?}");
    }
    let empty = Certificate::new(Scheme::EIGEN_DA, B256::ZERO, vec![]).unwrap();
    assert_eq!(client.get(&empty).await.unwrap_err().kind(), ErrorKind::Corrupt);
}

#[tokio::test]
async fn too_large_a_payload_is_not_sent() {
    let (proxy, client, _) = eigen_da();
    let da = Availability::new(FailOver::new(client, Store::memory()));
    let error = da.put(vec![1; MAX_PAYLOAD_BYTES + 1]).await.unwrap_err();
    assert_eq!((error.kind(), proxy.requests()), (ErrorKind::Limit, 0));
    let certificate = da.put(vec![1; MAX_PAYLOAD_BYTES]).await.unwrap();
    assert_eq!(certificate.scheme(), Scheme::EIGEN_DA);
}

#[tokio::test]
async fn an_outage_loses_nothing_and_ends() {
    let (proxy, client, _) = eigen_da();
    let store = Store::memory();
    let layer = FailOver::new(client.clone(), store.clone());
    let da = Availability::new(layer.clone());
    proxy.fail_all(Some(Fault::Status(503)));
    let mut certificates = Vec::new();
    for minute in 0..60u8 {
        let certificate = da.put(vec![minute; 100]).await.unwrap();
        assert_eq!(certificate.scheme(), Scheme::LOCAL);
        certificates.push(certificate);
    }
    let during = layer.repost().await.unwrap();
    assert_eq!((during.certificates.len(), during.left), (0, 60));
    assert_eq!(during.reason.unwrap().kind(), ErrorKind::Unavailable);

    // The process is killed, and another opens the same store.
    drop((layer, da));
    let layer = FailOver::new(client.clone(), store);
    let da = Availability::new(layer.clone());
    assert_eq!(layer.pending().await.unwrap().len(), 60);
    proxy.fail_all(None);
    let after = layer.repost().await.unwrap();
    assert_eq!((after.certificates.len(), after.left), (60, 0));
    assert!(after.reason.is_none());
    assert!(layer.pending().await.unwrap().is_empty());

    for (minute, certificate) in (0u8..).zip(&certificates) {
        assert_eq!(da.get(certificate).await.unwrap(), vec![minute; 100]);
        let posted = layer.posted(certificate.hash()).await.unwrap();
        let directly = Availability::new(client.clone()).get(&posted).await.unwrap();
        assert_eq!(directly, vec![minute; 100], "the layer has it itself");
    }
    let requests = proxy.requests();
    assert_eq!(layer.repost().await.unwrap().certificates, []);
    assert_eq!(proxy.requests(), requests, "nothing is posted twice");
}

#[tokio::test]
async fn an_outage_in_the_middle_of_reposting_leaves_the_rest_pending() {
    let (proxy, client, _) = eigen_da();
    let layer = FailOver::new(client, Store::memory());
    proxy.fail_all(Some(Fault::Status(503)));
    let mut hashes = Vec::new();
    for n in 0..3u8 {
        hashes.push(layer.put(vec![n].into()).await.unwrap().hash());
    }
    hashes.sort();
    assert_eq!(layer.pending().await.unwrap(), hashes);
    proxy.fail_all(None);
    // The first is refused for good, the second taken, at the third the layer is down again.
    proxy.fail_next([Fault::Status(400), Fault::Version(2), Fault::Status(503)]);
    let done = layer.repost().await.unwrap();
    assert_eq!((done.certificates.len(), done.left), (1, 2));
    assert_eq!(done.reason.unwrap().kind(), ErrorKind::Invalid);
    assert_eq!(layer.pending().await.unwrap(), [hashes[0], hashes[2]]);
    assert_eq!(layer.posted(hashes[0]).await.unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(layer.repost().await.unwrap().left, 0);
}

#[tokio::test]
async fn a_lost_copy_of_what_was_pending_is_read_from_where_it_was_posted() {
    let (proxy, client, _) = eigen_da();
    let folder = tempfile::tempdir().unwrap();
    let layer = FailOver::new(client, Store::local(folder.path()).await.unwrap());
    let da = Availability::new(layer.clone());
    proxy.fail_all(Some(Fault::Status(503)));
    let [posted, pending] = ["posted", "pending"].map(|text| da.put(text));
    let posted = posted.await.unwrap();
    proxy.fail_all(None);
    assert_eq!(layer.repost().await.unwrap().left, 0);
    proxy.fail_all(Some(Fault::Status(503)));
    let pending = pending.await.unwrap();
    assert_eq!([&posted, &pending].map(Certificate::scheme), [Scheme::LOCAL; 2]);
    fs::remove_dir_all(folder.path().join("blobs")).unwrap();

    assert_eq!(da.get(&posted).await.unwrap_err().kind(), ErrorKind::Unavailable, "down still");
    proxy.fail_all(None);
    assert_eq!(da.get(&posted).await.unwrap(), "posted");
    assert_eq!(da.get(&pending).await.unwrap_err().kind(), ErrorKind::NotFound);
    let unknown = Certificate::local(keccak256("unknown"));
    assert_eq!(da.get(&unknown).await.unwrap_err().kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn what_the_layer_forgot_or_changed_is_read_from_the_copy() {
    let (proxy, client, _) = eigen_da();
    let store = Store::memory();
    let da = Availability::new(FailOver::new(client.clone(), store.clone()));
    let certificate = da.put("rows").await.unwrap();
    assert_eq!(certificate.scheme(), Scheme::EIGEN_DA);
    proxy.forget();
    assert_eq!(da.get(&certificate).await.unwrap(), "rows");

    // Another machine has the certificate and no copy.
    let elsewhere = Availability::new(FailOver::new(client, Store::memory()));
    assert_eq!(elsewhere.get(&certificate).await.unwrap_err().kind(), ErrorKind::Corrupt);
    da.put("rows").await.unwrap();
    assert_eq!(elsewhere.get(&certificate).await.unwrap(), "rows");
}

proptest! {
    #[test]
    fn certificates_have_one_encoding(
        scheme in any::<u8>(), hash in any::<[u8; 32]>(), body in prop::collection::vec(any::<u8>(), 0..400)
    ) {
        let certificate = Certificate::new(Scheme::new(scheme), hash.into(), body).unwrap();
        let bytes = certificate.encode();
        prop_assert_eq!(&Certificate::decode(&bytes).unwrap(), &certificate);
        prop_assert_eq!(&certificate.to_string().parse::<Certificate>().unwrap(), &certificate);
        let json = serde_json::to_string(&certificate).unwrap();
        prop_assert_eq!(&serde_json::from_str::<Certificate>(&json).unwrap(), &certificate);
        let short = Certificate::decode(&bytes[..32]).unwrap_err();
        prop_assert_eq!(short.kind(), ErrorKind::Corrupt);
    }

    #[test]
    fn foreign_bytes_and_text_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..80), text in "\\PC{0,80}") {
        if let Ok(certificate) = Certificate::decode(&bytes) {
            prop_assert_eq!(certificate.encode(), bytes);
        }
        if let Ok(certificate) = text.parse::<Certificate>() {
            prop_assert_eq!(certificate.to_string().to_lowercase(), text.to_lowercase());
        }
    }
}

#[test]
fn certificates_are_short() {
    let most = MAX_CERTIFICATE_BYTES - 33;
    let largest = Certificate::new(Scheme::EIGEN_DA, B256::ZERO, vec![2; most]).unwrap();
    assert_eq!(Certificate::decode(&largest.encode()).unwrap(), largest);
    let error = Certificate::new(Scheme::EIGEN_DA, B256::ZERO, vec![2; most + 1]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Limit);
    let error = Certificate::decode(&vec![2; MAX_CERTIFICATE_BYTES + 1]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Limit);
    let text = format!("0x{}", "02".repeat(MAX_CERTIFICATE_BYTES + 1));
    assert_eq!(text.parse::<Certificate>().unwrap_err().kind(), ErrorKind::Limit);
    for bad in ["", "0x", "0x0", "00", "0xzz"] {
        let error = bad.parse::<Certificate>().unwrap_err();
        let kind = if bad == "0x" { ErrorKind::Corrupt } else { ErrorKind::Invalid };
        assert_eq!(error.kind(), kind, "{bad}");
    }
}

/// The same client over a socket.
mod loopback {
    use hyper::server::conn::http1;
    use hyper_util::{rt::TokioIo, service::TowerToHyperService};
    use tokio::net::TcpListener;

    use super::*;

    /// A proxy on a port of its own, and a client whose tries take milliseconds.
    async fn served() -> (Proxy, EigenDa<openledger_chain::da::HttpClient>) {
        let proxy = Proxy::default();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let service = TowerToHyperService::new(proxy.clone());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let connection =
                    http1::Builder::new().serve_connection(TokioIo::new(stream), service.clone());
                tokio::spawn(async move { connection.await.is_ok() });
            }
        });
        let brief = Duration::from_millis(1);
        let backoff = Backoff::default().with_waits(brief, brief).with_tries(3);
        (proxy, EigenDa::connect(&format!("http://{address}")).unwrap().with_backoff(backoff))
    }

    #[tokio::test]
    async fn the_contract_holds_over_a_socket() {
        let (_, client) = served().await;
        conformance::check(&Availability::new(client)).await;
    }

    #[tokio::test]
    async fn the_largest_payload_and_certificate_fit() {
        let (_, client) = served().await;
        let da = Availability::new(client.clone());
        let certificate = da.put(vec![3; MAX_PAYLOAD_BYTES]).await.unwrap();
        assert_eq!(da.get(&certificate).await.unwrap().len(), MAX_PAYLOAD_BYTES);
        let body = [vec![2], vec![0; MAX_CERTIFICATE_BYTES - 34]].concat();
        let largest = Certificate::new(Scheme::EIGEN_DA, B256::ZERO, body).unwrap();
        assert_eq!(da.get(&largest).await.unwrap_err().kind(), ErrorKind::Corrupt, "418, not 414");
    }

    #[tokio::test]
    async fn an_answer_that_breaks_off_is_asked_for_again() {
        let (proxy, client) = served().await;
        let da = Availability::new(client);
        let certificate = da.put("rows").await.unwrap();
        proxy.fail_next([Fault::Truncated, Fault::Truncated]);
        assert_eq!(da.get(&certificate).await.unwrap(), "rows");
        assert_eq!(proxy.requests(), 4);
        proxy.fail_all(Some(Fault::Truncated));
        assert_eq!(da.get(&certificate).await.unwrap_err().kind(), ErrorKind::Unavailable);
    }

    #[tokio::test]
    async fn silence_ends() {
        let (proxy, client) = served().await;
        let brief = Duration::from_millis(20);
        let backoff = Backoff::default().with_waits(brief, brief).with_tries(2);
        let da = Availability::new(client.with_backoff(backoff.with_answer_within(brief)));
        proxy.fail_all(Some(Fault::Silence));
        assert_eq!(da.put("rows").await.unwrap_err().kind(), ErrorKind::Unavailable);
        assert_eq!(proxy.requests(), 2);
    }

    #[tokio::test]
    async fn a_closed_port_fails_over() {
        let address = {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            listener.local_addr().unwrap()
        };
        let brief = Duration::from_millis(1);
        let client = EigenDa::connect(&format!("http://{address}"))
            .unwrap()
            .with_backoff(Backoff::default().with_waits(brief, brief).with_tries(2));
        let layer = FailOver::new(client, Store::memory());
        let certificate = Availability::new(layer.clone()).put("rows").await.unwrap();
        assert_eq!(certificate.scheme(), Scheme::LOCAL);
        assert_eq!(layer.pending().await.unwrap(), [keccak256("rows")]);
    }

    #[test]
    fn only_plain_http_is_built_in() {
        for url in ["https://proxy", "proxy:3100", ""] {
            assert_eq!(EigenDa::connect(url).unwrap_err().kind(), ErrorKind::Unsupported);
        }
    }
}
