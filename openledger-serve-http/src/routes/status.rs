//! What is here, and how it goes.

use http::{HeaderValue, Response, header::CONTENT_TYPE};
use openledger_core::AdapterId;
use openledger_serve::Engine;
use serde_json::{Value, json};

use super::whole;
use crate::{Body, desk::Desk, door::Caller, error::Failure};

pub(super) fn metrics(desk: &Desk) -> Response<Body> {
    let stats = desk.engine.as_ref().map(Engine::stats);
    let text = desk.metrics.text(stats, &desk.subject.name, desk.now());
    let mut response = Response::new(Body::whole(text));
    let kind = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}

pub(super) fn models(desk: &Desk, caller: &Caller) -> Response<Body> {
    whole(&json!({"object": "list", "data": all(desk, caller)}))
}

pub(super) fn model(desk: &Desk, caller: &Caller, name: &str) -> Result<Response<Body>, Failure> {
    let found = all(desk, caller).into_iter().find(|model| model["id"] == name);
    found.map(|model| whole(&model)).ok_or_else(|| Failure::unknown_model(name))
}

/// The base model, and the adapters this caller may use.
fn all(desk: &Desk, caller: &Caller) -> Vec<Value> {
    let subject = &desk.subject;
    let decoder = subject.model.network().decoder();
    let created = desk.now();
    let one = |id: &str, root: &str, parent: Option<&str>, hash: Option<String>| {
        json!({
            "id": id, "object": "model", "created": created, "owned_by": "openledger", "root": root,
            "parent": parent, "max_model_len": decoder.max_positions(), "hash": hash,
        })
    };
    let hash = subject.model.id().to_string();
    let mut models = vec![one(&subject.name, &subject.name, None, Some(hash))];
    for (name, known) in desk.shelf.list() {
        if caller.may_use(&name) {
            // What is not loaded yet has no hash: its bytes were not read.
            let hash = known.id.as_ref().map(AdapterId::to_string);
            models.push(one(&name, &known.path, Some(&subject.name), hash));
        }
    }
    models
}
