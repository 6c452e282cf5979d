//! Every source keeps the contract.

use std::{
    fmt,
    sync::{Arc, Mutex},
};

use async_trait::async_trait;
use futures::stream::BoxStream;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    ObjectStoreExt, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
    memory::InMemory, path::Path,
};
use openledger_core::ErrorKind;
use openledger_model::AdapterFiles;
use openledger_serve::{
    AdapterSource, Directory, FileLimits, ListAdapters, Objects, Only, conformance,
};

const CONFIG: &str = AdapterFiles::CONFIG;
const WEIGHTS: &str = AdapterFiles::WEIGHTS;

async fn put(store: &dyn ObjectStore, folder: &str, files: AdapterFiles) {
    for (file, bytes) in [(CONFIG, files.config), (WEIGHTS, files.weights.into())] {
        store.put(&Path::from(format!("{folder}/{file}")), bytes.into()).await.unwrap();
    }
}

#[tokio::test]
async fn a_folder_keeps_the_contract() {
    let folder = tempfile::tempdir().unwrap();
    for (name, files) in conformance::shelf() {
        files.write(folder.path().join(name.as_str())).unwrap();
    }
    let directory = Directory::open(folder.path()).unwrap();
    conformance::check(directory.clone()).await;
    conformance::check(Only::new(directory.clone(), |_| true)).await;
    std::fs::create_dir(folder.path().join("empty")).unwrap();
    std::fs::write(folder.path().join("empty").join(CONFIG), b"{}").unwrap();
    conformance::check_list(&directory).await;
}

#[tokio::test]
async fn an_object_store_keeps_the_contract_with_a_prefix_and_without() {
    for prefix in ["", "models/adapters"] {
        let store = Arc::new(InMemory::new());
        for (name, files) in conformance::shelf() {
            put(&*store, &format!("{prefix}/{name}"), files).await;
        }
        put(&*store, "other/place", AdapterFiles::new(Vec::new(), Vec::new())).await;
        store.put(&Path::from(format!("{prefix}/half/{CONFIG}")), "{}".into()).await.unwrap();
        let objects = Objects::new(store, prefix).unwrap();
        conformance::check(objects.clone()).await;
        match prefix {
            "" => assert_eq!(objects.list().await.unwrap().len(), conformance::shelf().len() + 1),
            _ => conformance::check_list(&objects).await,
        }
    }
}

#[tokio::test]
async fn an_object_that_is_replaced_while_it_is_read_is_not_mixed_with_the_other() {
    for file in [CONFIG, WEIGHTS] {
        let store = Swapping::default();
        let shelf = conformance::shelf();
        put(&store.inner, "law", shelf[0].1.clone()).await;
        let path = Path::from(format!("law/{file}"));
        *store.swap.lock().unwrap() = Some((path, "another".into()));
        let objects = Objects::new(Arc::new(store), "").unwrap();
        let name = "law".parse().unwrap();
        let error = objects.fetch(&name, FileLimits::default()).await.unwrap_err();
        assert!(error.kind() == ErrorKind::Unavailable && error.is_retryable(), "{error:?}");
        assert!(objects.fetch(&name, FileLimits::default()).await.is_ok(), "it passes");
    }
}

/// A store in which somebody replaces an object as soon as it was looked at.
#[derive(Debug, Default)]
struct Swapping {
    inner: InMemory,
    swap: Mutex<Option<(Path, PutPayload)>>,
}

impl fmt::Display for Swapping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Swapping")
    }
}

#[async_trait]
impl ObjectStore for Swapping {
    async fn put_opts(
        &self,
        path: &Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> Result<PutResult> {
        self.inner.put_opts(path, payload, options).await
    }

    async fn put_multipart_opts(
        &self,
        path: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(path, options).await
    }

    async fn get_opts(&self, path: &Path, options: GetOptions) -> Result<GetResult> {
        let found = self.inner.get_opts(path, options).await;
        let swap = self.swap.lock().unwrap().take_if(|(which, _)| which == path);
        if let Some((path, bytes)) = swap {
            self.inner.put(&path, bytes).await?;
        }
        found
    }

    fn delete_stream(
        &self,
        paths: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(paths)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}
