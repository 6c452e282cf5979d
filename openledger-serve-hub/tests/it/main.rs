//! Adapters from a server on loopback, by behaviour.
#![expect(clippy::unwrap_used, reason = "helpers of tests may panic")]

mod server;

use openledger_core::ErrorKind;
use openledger_hub::{Hub, HubOptions, Token, Web};
use openledger_model::AdapterFiles;
use openledger_serve::{AdapterSource, FileLimits, conformance};
use openledger_serve_hub::{HubAdapters, WebAdapters};
use server::Server;

const CONFIG: &str = AdapterFiles::CONFIG;
const WEIGHTS: &str = AdapterFiles::WEIGHTS;
const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// The adapters of the conformance suite as a plain server has them.
fn plain() -> Server {
    let mut server = Server::default();
    for (name, files) in conformance::shelf() {
        server.put(&format!("/base/{name}/{CONFIG}"), files.config);
        server.put(&format!("/base/{name}/{WEIGHTS}"), files.weights.into());
    }
    server
}

/// The same as a hub has them.
fn hub() -> Server {
    let mut server = Server::default();
    for (name, files) in conformance::shelf() {
        let info = format!(
            r#"{{"sha": "{COMMIT}", "siblings": [{{"rfilename": "{CONFIG}"}}, {{"rfilename": "{WEIGHTS}"}}]}}"#
        );
        for revision in ["main", COMMIT] {
            server.put(&format!("/api/models/{name}/revision/{revision}"), info.clone().into());
        }
        server.put(&format!("/{name}/resolve/{COMMIT}/{CONFIG}"), files.config);
        server.put(&format!("/{name}/resolve/{COMMIT}/{WEIGHTS}"), files.weights.into());
    }
    server
}

#[tokio::test]
async fn a_server_keeps_the_contract() {
    let serving = plain().serve().await;
    let web = Web::new(&format!("{}/base/", serving.url)).unwrap();
    conformance::check(WebAdapters::new(web)).await;
}

#[tokio::test]
async fn the_hub_keeps_the_contract() {
    let serving = hub().serve().await;
    let cache = tempfile::tempdir().unwrap();
    let options = HubOptions::new(cache.path()).with_endpoint(&serving.url);
    conformance::check(HubAdapters::new(Hub::new(options).unwrap())).await;
}

#[tokio::test]
async fn what_is_too_large_is_not_downloaded() {
    let cache = tempfile::tempdir().unwrap();
    let limits = FileLimits::default().with_weights(10);
    let large = 64 << 20;
    let mut plain = plain();
    plain.put(&format!("/base/law/{WEIGHTS}"), vec![0; large]);
    let (plain, hub) = (plain.serve().await, hub().serve().await);
    let web = WebAdapters::new(Web::new(&format!("{}/base", plain.url)).unwrap());
    let options = HubOptions::new(cache.path()).with_endpoint(&hub.url);
    let from_hub = HubAdapters::new(Hub::new(options).unwrap());
    let law = "law".parse().unwrap();
    for source in [&web as &dyn AdapterSource, &from_hub] {
        let error = source.fetch(&law, limits).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Limit, "{error:?}");
    }
    assert!(plain.sent() < large, "a server is left as soon as it says how much there is");
    let gets: Vec<String> = hub.gets().into_iter().filter(|path| path.ends_with(WEIGHTS)).collect();
    assert!(gets.is_empty(), "{gets:?}");
    // A server that does not say how long a file is, is cut off.
    let endless = server::Server::endless().serve().await;
    let web = WebAdapters::new(Web::new(&endless.url).unwrap());
    let error = web.fetch(&law, FileLimits::default()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Limit, "{error:?}");
}

#[tokio::test]
async fn refusals_have_kinds() {
    for (status, kind) in [
        (401, ErrorKind::Denied),
        (403, ErrorKind::Denied),
        (404, ErrorKind::NotFound),
        (429, ErrorKind::Unavailable),
        (500, ErrorKind::Unavailable),
        (302, ErrorKind::Corrupt),
    ] {
        let serving = Server::failing(status).serve().await;
        let web = Web::new(&serving.url).unwrap().with_token(Token::new("secret").unwrap());
        let error = WebAdapters::new(web.clone())
            .fetch(&"law".parse().unwrap(), FileLimits::default())
            .await
            .unwrap_err();
        assert_eq!(error.kind(), kind, "{error:?}");
        assert!(!error.report().contains("secret"));
    }
    let nobody = Web::new("http://127.0.0.1:1").unwrap();
    let error = nobody.get("law", 1).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    for hostile in ["", "/law", "../law", "a//b", "a?b", "a#b", "a%2fb"] {
        assert_eq!(nobody.get(hostile, 1).await.unwrap_err().kind(), ErrorKind::Invalid);
    }
}

#[tokio::test]
async fn an_adapter_that_changes_meanwhile_is_not_mixed() {
    let mut server = plain();
    server.change_after_head(&format!("/base/law/{WEIGHTS}"), b"other".to_vec());
    let serving = server.serve().await;
    let web = WebAdapters::new(Web::new(&format!("{}/base", serving.url)).unwrap());
    let error = web.fetch(&"law".parse().unwrap(), FileLimits::default()).await.unwrap_err();
    assert!(error.kind() == ErrorKind::Unavailable && error.is_retryable(), "{error:?}");
}
