//! What administrators do with adapters.

use http::{
    HeaderMap, HeaderValue, Response, StatusCode,
    header::{ETAG, IF_MATCH, IF_NONE_MATCH},
};
use openledger_core::AdapterId;
use openledger_model::Json;
use serde_json::json;

use super::{header, whole};
use crate::{Body, desk::Desk, error::Failure, shelf::Expected, wire::Fields};

/// `GET /v1/adapters`: what is known, and which of it is loaded.
pub(super) fn list(desk: &Desk) -> Response<Body> {
    let listed = desk.shelf.list().into_iter().map(|(name, known)| {
        let id = known.id.as_ref().map(AdapterId::to_string);
        let state = match (known.merged, id.is_some()) {
            (true, _) => "merged",
            (false, true) => "loaded",
            (false, false) => "known",
        };
        json!({"name": name, "id": id, "path": known.path, "state": state})
    });
    whole(&json!({"object": "list", "data": listed.collect::<Vec<_>>()}))
}

/// `POST /v1/load_lora_adapter` `{"lora_name", "lora_path"}`, as vLLM has it: the name must be new,
/// unless `load_inplace` says otherwise.
pub(super) async fn load(desk: &Desk, json: &Json) -> Result<Response<Body>, Failure> {
    let fields = Fields::new(json);
    let [name, path] = [fields.required("lora_name")?, fields.required("lora_path")?];
    let known = desk.shelf.list().contains_key(name);
    let expected = match known && fields.flag("load_inplace")?.unwrap_or(false) {
        true => Expected::Anything,
        false => Expected::Nothing,
    };
    put_as(desk, name, path, expected).await.map_err(|failure| match failure.status {
        // As vLLM says it; a comparison was not asked for.
        StatusCode::PRECONDITION_FAILED => {
            let message =
                format!("the adapter `{name}` is there already: unload it, or `load_inplace`");
            Failure::field("lora_name", message).with_code("adapter_exists")
        }
        _ => failure,
    })
}

/// `POST /v1/unload_lora_adapter` `{"lora_name"}`.
pub(super) async fn unload(desk: &Desk, json: &Json) -> Result<Response<Body>, Failure> {
    let name = Fields::new(json).required("lora_name")?;
    desk.shelf.remove(name).await?;
    Ok(whole(&json!({"name": name, "state": "unloaded"})))
}

/// `POST /v1/merge_lora_adapter` `{"lora_name"}`: answers it from a merged copy, at the base's speed and for
/// as much memory.
pub(super) async fn merge(desk: &Desk, json: &Json) -> Result<Response<Body>, Failure> {
    let name = Fields::new(json).required("lora_name")?;
    let id = desk.shelf.merge(name).await?;
    Ok(whole(&json!({"name": name, "id": id.to_string(), "state": "merged"})))
}

/// `POST /v1/unmerge_lora_adapter` `{"lora_name"}`.
pub(super) async fn unmerge(desk: &Desk, json: &Json) -> Result<Response<Body>, Failure> {
    let name = Fields::new(json).required("lora_name")?;
    let id = desk.shelf.unmerge(name).await?;
    Ok(whole(&json!({"name": name, "id": id.to_string(), "state": "loaded"})))
}

/// `PUT /v1/adapters/{name}` `{"lora_path"}` with `If-Match: "ID"`, `If-Match: *` or
/// `If-None-Match: *`: the name is given anew only if it stands for what is expected.
pub(super) async fn put(
    desk: &Desk,
    name: &str,
    headers: &HeaderMap,
    json: &Json,
) -> Result<Response<Body>, Failure> {
    let path = Fields::new(json).required("lora_path")?;
    put_as(desk, name, path, expected(headers)?).await
}

async fn put_as(
    desk: &Desk,
    name: &str,
    path: &str,
    expected: Expected,
) -> Result<Response<Body>, Failure> {
    if name == &*desk.subject.name {
        let message = format!("`{name}` is the base model's name");
        return Err(Failure::field("lora_name", message));
    }
    let id = desk.shelf.put(name, path, expected, &desk.metrics).await?;
    let mut response = whole(&json!({"name": name, "id": id.to_string(), "state": "loaded"}));
    response.headers_mut().insert(ETAG, header(&format!("\"{id}\"")));
    Ok(response)
}

/// Reads what a name has to stand for.
fn expected(headers: &HeaderMap) -> Result<Expected, Failure> {
    let value = |name| headers.get(name).map(HeaderValue::as_bytes);
    match (value(IF_MATCH), value(IF_NONE_MATCH)) {
        (None, Some(b"*")) => Ok(Expected::Nothing),
        (Some(b"*"), None) => Ok(Expected::Anything),
        (Some(id), None) => {
            let text = std::str::from_utf8(id).unwrap_or_default().trim_matches('"');
            let wrong = |_| {
                let message = "`If-Match` is not the id of an adapter in quotes";
                Failure::new(StatusCode::BAD_REQUEST, message)
            };
            text.parse::<AdapterId>().map(Expected::Id).map_err(wrong)
        }
        _ => {
            let message =
                "say what is replaced: `If-Match: \"ID\"`, or `If-None-Match: *` for a new one";
            Err(Failure::new(StatusCode::PRECONDITION_REQUIRED, message))
        }
    }
}
