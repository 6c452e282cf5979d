//! Over TLS, from the server that `cargo xtask peers hub` starts.

use std::env;

use openledger_core::ErrorKind;
use openledger_hub::{Hub, HubOptions, Repo, Wanted};

fn hub(cache: &tempfile::TempDir) -> (Hub, Repo) {
    let endpoint = env::var("HF_ENDPOINT").unwrap();
    assert!(endpoint.starts_with("https://"), "{endpoint}");
    let options = HubOptions::new(cache.path()).with_endpoint(&endpoint);
    (Hub::new(options).unwrap(), "owner/name@main".parse().unwrap())
}

#[tokio::test]
#[ignore = "wants a server: `cargo xtask peers hub`"]
async fn a_model_comes_from_whom_the_system_trusts() {
    let cache = tempfile::tempdir().unwrap();
    let (hub, repo) = hub(&cache);
    let folder = hub.fetch(&repo, &Wanted::Model).await.unwrap();
    assert_eq!(std::fs::read(folder.join("model.safetensors")).unwrap(), [7; 5000]);
}

#[tokio::test]
#[ignore = "wants a server: `cargo xtask peers hub`"]
async fn nothing_comes_from_whom_nobody_vouches_for() {
    let cache = tempfile::tempdir().unwrap();
    let (hub, repo) = hub(&cache);
    let error = hub.fetch(&repo, &Wanted::Model).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.report().contains("UnknownIssuer"), "{}", error.report());
}

#[test]
#[ignore = "wants an environment: `cargo xtask peers hub`"]
fn no_other_list_takes_the_place_of_one_that_is_not_there() {
    let cache = tempfile::tempdir().unwrap();
    let error = Hub::new(HubOptions::new(cache.path())).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.to_string().contains("SSL_CERT_FILE"), "{error}");
}
