//! Pinned adapters.

use std::future::ready;

use futures::FutureExt;
use openledger_core::{Error, ErrorKind};
use openledger_model::testing;
use openledger_serve::{Generate, PinLayer};
use tower::{Layer, Service};

use super::{lease, script::Scripted};

#[test]
fn every_request_is_answered_by_the_pinned_adapter_and_by_no_other() {
    let model = testing::tiny(1).unwrap();
    let [law, other] = [1, 2].map(|seed| lease(&model, seed));
    let inner = Scripted::default();
    let mut service = PinLayer::new(law.clone()).layer(inner.clone());
    let request = || Generate::new(vec![1]);
    service.call(request()).now_or_never().unwrap().unwrap();
    service.call(request().with_adapter(law.clone())).now_or_never().unwrap().unwrap();
    let error = service.call(request().with_adapter(other)).now_or_never().unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    let seen: Vec<_> = inner.seen().iter().map(|seen| seen.adapter.clone().unwrap().id()).collect();
    assert_eq!(seen, [law.id(), law.id()]);
}

#[test]
fn a_name_that_means_nothing_is_an_error_and_never_the_base_model() {
    let inner = Scripted::default();
    let unknown = |name: std::sync::Arc<str>| {
        ready(Err(Error::new(ErrorKind::NotFound, format!("no adapter `{name}`"))))
    };
    let mut service = PinLayer::named("law", unknown).layer(inner.clone());
    let error = service.call(Generate::new(vec![1])).now_or_never().unwrap().unwrap_err();
    assert_eq!(error.to_string(), "no adapter `law`");
    assert!(inner.seen().is_empty());
}
