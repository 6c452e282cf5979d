//! Aliases, leases, replacement.

use std::sync::Arc;

use openledger_core::ErrorKind;
use openledger_model::{Adapter, LoraConfig, Model, testing};
use openledger_serve::{Adapters, Engine, EngineOptions, Generate};
use tower::{Service, ServiceExt};

fn adapter(model: &Model, seed: u64) -> Adapter {
    let config = LoraConfig::default();
    let files = testing::lora(model, &config, seed).unwrap().to_files(model.network(), &config);
    Adapter::load(model.network(), &files).unwrap()
}

#[test]
fn an_unknown_name_is_an_error() {
    let model = testing::tiny(1).unwrap();
    let adapters = Adapters::new();
    assert_eq!(adapters.lease("law").unwrap_err().kind(), ErrorKind::NotFound);
    adapters.insert("law", model.network(), &adapter(&model, 1));
    assert!(adapters.lease("law").is_ok());
    adapters.remove("law").unwrap();
    assert_eq!(adapters.lease("law").unwrap_err().to_string(), "no adapter `law`");
    assert!(adapters.remove("law").is_err());
}

#[tokio::test]
async fn replacing_an_alias_changes_new_answers_only() {
    let model = Arc::new(testing::tiny(1).unwrap());
    let adapters = Adapters::new();
    let [old, new] = [1, 2].map(|seed| adapter(&model, seed));
    adapters.insert("law", model.network(), &old);
    let mut engine = Engine::start(Arc::clone(&model), EngineOptions::default()).unwrap();
    let request = |lease| Generate::new(vec![1, 2, 3]).with_adapter(lease).with_max_tokens(40);
    let lease = adapters.lease("law").unwrap();
    let running = engine.ready().await.unwrap().call(request(lease.clone())).await.unwrap();
    adapters.insert("law", model.network(), &new);
    assert_ne!(adapters.lease("law").unwrap().id(), lease.id());
    let fresh = request(adapters.lease("law").unwrap());
    let fresh =
        engine.ready().await.unwrap().call(fresh).await.unwrap().collect_all().await.unwrap();
    let running = running.collect_all().await.unwrap();
    let again = engine.ready().await.unwrap().call(request(lease)).await.unwrap();
    assert_eq!(again.collect_all().await.unwrap().tokens, running.tokens);
    assert_ne!(fresh.tokens, running.tokens);
}
