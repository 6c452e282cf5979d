//! The store's contract on each backend, and backends that break it.

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use futures::stream::BoxStream;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    ObjectStoreExt, PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
    memory::InMemory, path::Path,
};
use openledger_core::{ErrorKind, Store, store::conformance};

#[tokio::test]
async fn memory_keeps_the_contract() {
    conformance::check(&Store::memory()).await;
    conformance::check(&Store::open(Arc::new(InMemory::new())).await.unwrap()).await;
}

#[tokio::test]
async fn a_folder_keeps_the_contract_and_what_was_put_in_it() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::local(folder.path()).await.unwrap();
    conformance::check(&store).await;
    let hash = store.put("kept".into()).await.unwrap();
    drop(store);
    assert_eq!(Store::local(folder.path()).await.unwrap().get(hash).await.unwrap(), "kept");
}

#[tokio::test]
async fn a_file_in_the_place_of_the_folder_is_one_clear_error() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let error = Store::local(file.path()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.report().contains(&file.path().display().to_string()), "{}", error.report());
}

#[tokio::test]
async fn a_backend_that_ignores_put_if_absent_is_refused() {
    let error = Store::open(Arc::new(Faulty::new(Fault::IgnoresCreate))).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
}

#[tokio::test]
async fn a_full_disk_is_an_error_and_leaves_nothing() {
    let faulty = Arc::new(Faulty::new(Fault::Full));
    let error = Store::open(faulty).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.report().contains("no space left"), "{}", error.report());
}

#[tokio::test]
async fn a_flipped_bit_is_caught_on_read() {
    let memory = Arc::new(InMemory::new());
    let store = Store::open(memory.clone()).await.unwrap();
    let hash = store.put("genuine".into()).await.unwrap();
    let name = hash.to_string();
    let path = Path::from(format!("blobs/{}/{}", &name[2..4], &name[2..]));
    memory.put(&path, "Genuine".into()).await.unwrap();
    assert_eq!(store.get(hash).await.unwrap_err().kind(), ErrorKind::Corrupt);
}

#[tokio::test]
async fn a_torn_blob_is_mended_by_putting_it_again() {
    let memory = Arc::new(InMemory::new());
    let store = Store::open(memory.clone()).await.unwrap();
    let hash = store.put("whole".into()).await.unwrap();
    let name = hash.to_string();
    let path = Path::from(format!("blobs/{}/{}", &name[2..4], &name[2..]));
    memory.put(&path, "who".into()).await.unwrap();
    assert_eq!(store.put("whole".into()).await.unwrap(), hash);
    assert_eq!(store.get(hash).await.unwrap(), "whole");
}

#[derive(Clone, Copy, Debug)]
enum Fault {
    IgnoresCreate,
    Full,
}

#[derive(Debug)]
struct Faulty {
    inner: InMemory,
    fault: Fault,
}

impl Faulty {
    fn new(fault: Fault) -> Self {
        Self { inner: InMemory::new(), fault }
    }
}

impl fmt::Display for Faulty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Faulty({:?})", self.fault)
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl ObjectStore for Faulty {
    async fn put_opts(
        &self,
        path: &Path,
        payload: PutPayload,
        mut options: PutOptions,
    ) -> Result<PutResult> {
        match self.fault {
            Fault::IgnoresCreate => options.mode = PutMode::Overwrite,
            Fault::Full => {
                let source =
                    std::io::Error::new(std::io::ErrorKind::StorageFull, "no space left on device");
                return Err(object_store::Error::Generic {
                    store: "faulty",
                    source: source.into(),
                });
            }
        }
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
        self.inner.get_opts(path, options).await
    }

    async fn get_ranges(
        &self,
        path: &Path,
        ranges: &[std::ops::Range<u64>],
    ) -> Result<Vec<bytes::Bytes>> {
        self.inner.get_ranges(path, ranges).await
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

    fn list_with_offset(
        &self,
        prefix: Option<&Path>,
        offset: &Path,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list_with_offset(prefix, offset)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }

    async fn rename_opts(
        &self,
        from: &Path,
        to: &Path,
        options: object_store::RenameOptions,
    ) -> Result<()> {
        self.inner.rename_opts(from, to, options).await
    }
}
