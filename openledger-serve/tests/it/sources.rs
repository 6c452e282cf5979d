//! Every source keeps the contract.

use std::sync::Arc;

use object_store::{ObjectStore, ObjectStoreExt, memory::InMemory, path::Path};
use openledger_model::AdapterFiles;
use openledger_serve::{CONFIG, Directory, ListAdapters, Objects, Only, WEIGHTS, conformance};

async fn put(store: &dyn ObjectStore, folder: &str, files: AdapterFiles) {
    for (file, bytes) in [(CONFIG, files.config), (WEIGHTS, files.weights)] {
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
