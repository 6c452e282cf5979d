//! A hub on loopback, by behaviour.
#![expect(clippy::unwrap_used, reason = "helpers of tests may panic")]

#[cfg(feature = "tls")]
mod https;
mod server;

use std::{
    fs,
    path::Path,
    sync::{Arc, Mutex},
};

use openledger_core::ErrorKind;
use openledger_hub::{Hub, HubOptions, Repo, Token, Wanted};
use server::{File, Server};

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

fn repo(revision: &str) -> Repo {
    format!("owner/name@{revision}").parse().unwrap()
}

/// A model with a small file and a large one.
fn model() -> Server {
    Server::new(COMMIT)
        .with("config.json", File::small(b"{\"a\": 1}"))
        .with("model.safetensors", File::large(&[7; 100_000]))
        .with("pytorch_model.bin", File::large(b"pickle"))
        .with("README.md", File::small(b"text"))
}

fn options(cache: &Path, server: &str) -> HubOptions {
    HubOptions::new(cache).with_endpoint(server)
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[tokio::test]
async fn a_model_is_downloaded_once_in_the_layout_of_python() {
    let cache = tempfile::tempdir().unwrap();
    let server = model().serve().await;
    let seen = Arc::new(Mutex::new(Vec::new()));
    let told = Arc::clone(&seen);
    let hub = Hub::new(options(cache.path(), &server.url)).unwrap().with_progress(move |p| {
        told.lock().unwrap().push((p.file.to_owned(), p.done, p.total));
    });
    let folder = hub.fetch(&repo("main"), &Wanted::Model).await.unwrap();

    let root = cache.path().join("models--owner--name");
    assert_eq!(folder, root.join("snapshots").join(COMMIT));
    assert_eq!(names(&folder), ["config.json", "model.safetensors"]);
    assert_eq!(fs::read(folder.join("model.safetensors")).unwrap(), [7; 100_000]);
    assert_eq!(fs::read_to_string(root.join("refs/main")).unwrap(), COMMIT);
    let weights = File::large(&[7; 100_000]);
    let link = fs::read_link(folder.join("model.safetensors")).unwrap();
    assert_eq!(link, Path::new("../../blobs").join(&weights.etag));
    assert_eq!(names(&root.join("blobs")).len(), 2, "no partial file is left");
    let last = seen.lock().unwrap().last().cloned().unwrap();
    assert_eq!(last, ("model.safetensors".to_owned(), 100_000, 100_000));

    let before = server.downloads();
    assert_eq!(hub.fetch(&repo("main"), &Wanted::Model).await.unwrap(), folder);
    assert_eq!(server.downloads(), before, "nothing is downloaded twice");
    let offline = options(cache.path(), "https://nowhere").with_offline(true);
    let found = Hub::new(offline).unwrap().fetch(&repo("main"), &Wanted::Model).await.unwrap();
    assert_eq!(found, folder);
    // A commit never changes, so nobody is asked.
    drop(server);
    assert_eq!(hub.fetch(&repo(COMMIT), &Wanted::Model).await.unwrap(), folder);
    let error = hub.fetch(&repo("main"), &Wanted::Model).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.to_string().contains("HF_HUB_OFFLINE"), "{error}");
}

#[tokio::test]
async fn offline_says_what_is_not_cached() {
    let cache = tempfile::tempdir().unwrap();
    let hub = Hub::new(HubOptions::new(cache.path()).with_offline(true)).unwrap();
    let error = hub.fetch(&repo("main"), &Wanted::Model).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.to_string().contains("owner/name@main"), "{error}");

    let server = model().serve().await;
    let online = Hub::new(options(cache.path(), &server.url)).unwrap();
    online.fetch(&repo("main"), &Wanted::File("README.md".to_owned())).await.unwrap();
    let error = hub.fetch(&repo("main"), &Wanted::Model).await.unwrap_err();
    assert!(error.to_string().contains("config.json"), "{error}");
}

#[tokio::test]
async fn a_cut_connection_is_taken_up_where_it_was() {
    let cache = tempfile::tempdir().unwrap();
    let bytes: Vec<u8> = (0..100_000u32).map(|i| (i % 251) as u8).collect();
    let server = model().with("model.safetensors", File::large(&bytes).cut(30_000)).serve().await;
    let hub = Hub::new(options(cache.path(), &server.url)).unwrap();
    let folder = hub.fetch(&repo("main"), &Wanted::Model).await.unwrap();
    assert_eq!(fs::read(folder.join("model.safetensors")).unwrap(), bytes);
    let ranges = server.ranges();
    assert!(ranges.iter().any(Option::is_some), "{ranges:?}");
    assert!(ranges.len() >= 4, "{ranges:?}");
}

#[tokio::test]
async fn what_an_earlier_process_left_is_used_or_thrown_away() {
    let bytes: Vec<u8> = (0..1000u32).map(|i| (i % 251) as u8).collect();
    for (left, wrong) in
        [(bytes[..400].to_vec(), false), (vec![9; 400], true), (vec![9; 2000], true)]
    {
        let cache = tempfile::tempdir().unwrap();
        let file = File::large(&bytes);
        let blobs = cache.path().join("models--owner--name/blobs");
        fs::create_dir_all(&blobs).unwrap();
        fs::write(blobs.join(format!("{}.incomplete", file.etag)), left).unwrap();
        let server = model().with("model.safetensors", file).serve().await;
        let hub = Hub::new(options(cache.path(), &server.url)).unwrap();
        let folder = hub.fetch(&repo("main"), &Wanted::Model).await.unwrap();
        assert_eq!(fs::read(folder.join("model.safetensors")).unwrap(), bytes);
        let whole = server.ranges().iter().filter(|range| range.is_none()).count();
        assert_eq!(whole, if wrong { 2 } else { 1 }, "the configuration, and what was wrong");
    }
}

#[tokio::test]
async fn a_wrong_hash_is_asked_for_once_more_and_refused() {
    let cache = tempfile::tempdir().unwrap();
    let mut file = File::large(&[1; 50]);
    file.bytes = vec![2; 50];
    let server = model().with("model.safetensors", file).serve().await;
    let hub = Hub::new(options(cache.path(), &server.url)).unwrap();
    let error = hub.fetch(&repo("main"), &Wanted::Model).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(error.to_string().contains("SHA-256"), "{error}");
    assert_eq!(server.downloads(), 3, "the configuration, and twice the file");
    let root = cache.path().join("models--owner--name");
    assert_eq!(names(&root.join("blobs")).len(), 1, "nothing of it stays");
    assert!(!root.join("refs/main").exists(), "the revision is not said to be there");
}

#[tokio::test]
async fn the_token_goes_to_the_endpoint_alone() {
    let cache = tempfile::tempdir().unwrap();
    let storage = model().serve().await;
    let server = model().stored_at(&storage.url).with_token("hf_secret").serve().await;
    let with = options(cache.path(), &server.url).with_token(Token::new("hf_secret").unwrap());
    Hub::new(with).unwrap().fetch(&repo("main"), &Wanted::Model).await.unwrap();
    assert!(storage.downloads() > 0, "large files come from there");
    assert_eq!(storage.tokens(), 0);
    assert!(server.tokens() > 0);

    let without = Hub::new(options(cache.path(), &server.url)).unwrap();
    let error = without.fetch(&repo("other"), &Wanted::Model).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Denied);
    assert!(error.to_string().contains("HF_TOKEN"), "{error}");
}

#[tokio::test]
async fn refusals_say_what_to_do() {
    for (status, kind, says) in [
        (404, ErrorKind::NotFound, "owner/name@main does not exist"),
        (403, ErrorKind::Denied, "accept the licence"),
        (429, ErrorKind::Unavailable, "wait 7 seconds"),
        (500, ErrorKind::Unavailable, "500"),
    ] {
        let cache = tempfile::tempdir().unwrap();
        let server = model().failing(status).serve().await;
        let hub = Hub::new(options(cache.path(), &server.url)).unwrap();
        let error = hub.fetch(&repo("main"), &Wanted::Model).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
        assert!(error.to_string().contains(says), "{error}");
    }
}

#[tokio::test]
async fn shards_are_those_of_the_index() {
    let cache = tempfile::tempdir().unwrap();
    let index = br#"{"weight_map": {"a": "part-1.safetensors", "b": "part-2.safetensors"}}"#;
    let server = model()
        .with("model.safetensors.index.json", File::small(index))
        .with("part-1.safetensors", File::large(b"1"))
        .with("part-2.safetensors", File::large(b"2"))
        .serve()
        .await;
    let hub = Hub::new(options(cache.path(), &server.url)).unwrap();
    let folder = hub.fetch(&repo("main"), &Wanted::Model).await.unwrap();
    let whole =
        ["config.json", "model.safetensors.index.json", "part-1.safetensors", "part-2.safetensors"];
    assert_eq!(names(&folder), whole);
}

#[tokio::test]
async fn names_that_leave_their_folder_are_refused() {
    let cache = tempfile::tempdir().unwrap();
    for name in ["../../x", "/etc/passwd", "a/../../b", "C:\\x", ""] {
        let index = format!(r#"{{"weight_map": {{"a": {name:?}}}}}"#);
        let server = model()
            .with("model.safetensors.index.json", File::small(index.as_bytes()))
            .serve()
            .await;
        let hub = Hub::new(options(cache.path(), &server.url)).unwrap();
        let error = hub.fetch(&repo(COMMIT), &Wanted::Model).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{name}: {error}");
        let error = hub.fetch(&repo("main"), &Wanted::File(name.to_owned())).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{name}: {error}");
        fs::remove_dir_all(cache.path().join("models--owner--name")).unwrap();
    }
    let mut file = File::large(b"x");
    file.etag = "../../../x".to_owned();
    let server = model().with("model.safetensors", file).serve().await;
    let hub = Hub::new(options(cache.path(), &server.url)).unwrap();
    let error = hub.fetch(&repo("main"), &Wanted::Model).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
}

#[tokio::test]
async fn sizes_have_limits() {
    let cache = tempfile::tempdir().unwrap();
    let server = model().serve().await;
    let small = options(cache.path(), &server.url).with_max_file_bytes(1000);
    let error = Hub::new(small).unwrap().fetch(&repo("main"), &Wanted::Model).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Limit);
    assert!(error.to_string().contains("model.safetensors"), "{error}");
}

#[test]
#[cfg(not(feature = "tls"))]
fn https_without_the_feature_is_said() {
    let error = Hub::new(HubOptions::new("/nowhere")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.to_string().contains("`tls`"), "{error}");
}

proptest::proptest! {
    #[test]
    fn a_name_stays_in_the_cache(text in "\\PC{0,40}|[a-z./@-]{0,20}") {
        if let Ok(repo) = text.parse::<Repo>() {
            let inside = |part: &str| part.split('/').all(|p| !p.is_empty() && !p.starts_with('.'));
            proptest::prop_assert!(inside(repo.name()) && inside(repo.revision()));
            proptest::prop_assert_eq!(repo.to_string().parse::<Repo>().unwrap(), repo);
        }
    }
}
