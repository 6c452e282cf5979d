//! Aliases, leases, replacement.

use std::sync::Arc;

use openledger_core::ErrorKind;
use openledger_model::{Adapter, LoraConfig, Model, testing};
use openledger_serve::{AdapterOptions, Adapters, Engine, EngineOptions, Generate};
use tower::{Service, ServiceExt};

use crate::shelf::files_like;

/// One at every layer: those at the queries alone have the tiny model say the same.
fn adapter(model: &Model, seed: u64) -> Arc<Adapter> {
    let files = files_like(model, &LoraConfig::default(), seed);
    Arc::new(Adapter::load(model.network(), &files).unwrap())
}

#[tokio::test]
async fn an_unknown_name_is_an_error() {
    let model = Arc::new(testing::tiny(1).unwrap());
    let adapters = Adapters::new(Arc::clone(&model));
    assert_eq!(adapters.lease("law").await.unwrap_err().kind(), ErrorKind::NotFound);
    adapters.insert("law", adapter(&model, 1)).unwrap();
    assert!(adapters.lease("law").await.is_ok());
    adapters.unload("law").unwrap();
    assert_eq!(adapters.lease("law").await.unwrap_err().to_string(), "no adapter `law`");
    assert!(adapters.unload("law").is_err());
    assert!(adapters.ready("law").is_none());
}

#[tokio::test]
async fn replacing_an_alias_changes_new_answers_only() {
    let model = Arc::new(testing::tiny(1).unwrap());
    let adapters = Adapters::new(Arc::clone(&model));
    let [old, new] = [1, 2].map(|seed| adapter(&model, seed));
    let lease = adapters.insert("law", old).unwrap();
    let mut engine = Engine::start(Arc::clone(&model), EngineOptions::default()).unwrap();
    let request = |lease| Generate::new(vec![1, 2, 3]).with_adapter(lease).with_max_tokens(40);
    let running = engine.ready().await.unwrap().call(request(lease.clone())).await.unwrap();
    adapters.insert("law", new).unwrap();
    let named = adapters.lease("law").await.unwrap();
    assert_ne!(named.id(), lease.id());
    let fresh = engine.ready().await.unwrap().call(request(named)).await.unwrap();
    let fresh = fresh.collect_all().await.unwrap();
    let running = running.collect_all().await.unwrap();
    let again = engine.ready().await.unwrap().call(request(lease)).await.unwrap();
    assert_eq!(again.collect_all().await.unwrap().tokens, running.tokens);
    assert_ne!(fresh.tokens, running.tokens);
}

#[tokio::test]
async fn answers_go_on_while_an_adapter_is_loaded() {
    let model = Arc::new(testing::tiny(1).unwrap());
    let shelf = crate::shelf::Shelf::default();
    shelf.put("slow", crate::shelf::files(&model, 1));
    let release = shelf.hold("slow");
    let adapters = shelf.serve(&model, AdapterOptions::default());
    let lease = adapters.insert("law", adapter(&model, 1)).unwrap();
    let mut slow = Box::pin(adapters.lease("slow"));
    assert!(futures::future::poll_immediate(&mut slow).await.is_none());
    let mut engine = Engine::start(Arc::clone(&model), EngineOptions::default()).unwrap();
    let request = Generate::new(vec![1, 2, 3]).with_adapter(lease).with_max_tokens(20);
    let answer = engine.ready().await.unwrap().call(request).await.unwrap();
    assert!(!answer.collect_all().await.unwrap().tokens.is_empty());
    assert!(futures::future::poll_immediate(&mut slow).await.is_none(), "it is still loaded");
    drop(release);
    slow.await.unwrap();
}

#[test]
fn a_lease_may_be_waited_for_on_any_thread() {
    fn assert_send<T: Send>(_: &T) {}
    let adapters = Adapters::new(Arc::new(testing::tiny(1).unwrap()));
    assert_send(&adapters.lease("law"));
    assert_send(&adapters.load("law"));
    assert_send(&adapters.replace("law", None, "law"));
}
