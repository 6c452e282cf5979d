//! `POST /v1/embeddings`.

use std::{sync::Arc, time::Instant};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use http::{Response, StatusCode};
use openledger_serve::Embed;
use serde_json::{Value, json};

use super::{json, whole};
use crate::{
    Body, answer,
    desk::Desk,
    door::Caller,
    error::Failure,
    wire::{Fields, Prompt},
};

/// The most texts of a request, as in OpenAI's API.
const MAX_TEXTS: usize = 2048;
/// Those of them that wait for the engine at a time.
const AT_ONCE: usize = 16;

/// A request for vectors.
struct Wanted {
    model: String,
    texts: Vec<Vec<u32>>,
    /// Whether they come as bytes in base64.
    packed: bool,
}

pub(super) async fn answer(
    desk: &Arc<Desk>,
    caller: &Caller,
    body: Bytes,
) -> Result<Response<Body>, Failure> {
    let Wanted { model, texts, packed } = desk.read(move |desk| read(desk, &body)).await?;
    let engine = desk.engine.as_ref().filter(|_| desk.embeds).ok_or_else(|| {
        let message = "what answers here makes no embeddings";
        Failure::new(StatusCode::NOT_IMPLEMENTED, message).with_code("unsupported")
    })?;
    let deadline = Instant::now() + desk.limits.time;
    let adapter = answer::adapter(desk, caller, &model, deadline).await?;
    let tokens: usize = texts.iter().map(Vec::len).sum();
    let asked = texts.into_iter().map(|tokens| {
        let mut request = Embed::new(tokens).with_deadline(deadline);
        if let Some((_, lease)) = &adapter {
            request = request.with_adapter(lease.clone());
        }
        if let Some(tenant) = caller.name() {
            request = request.with_tenant(tenant);
        }
        request
    });
    // Each is asked for when one before it is there.
    let vectors = stream::iter(asked).map(|request| engine.embed(request)).buffered(AT_ONCE);
    let vectors: Vec<Vec<f32>> = vectors.try_collect().await?;
    let data = vectors.iter().enumerate().map(|(index, vector)| {
        let vector = match packed {
            true => json!(pack(vector)),
            false => json!(vector),
        };
        json!({"object": "embedding", "index": index, "embedding": vector})
    });
    Ok(whole(&json!({
        "object": "list", "model": model, "data": data.collect::<Vec<Value>>(),
        "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
    })))
}

fn read(desk: &Desk, body: &[u8]) -> Result<Wanted, Failure> {
    let json = json(desk, body)?;
    let fields = Fields::new(&json);
    let model = fields.required("model")?.to_owned();
    let texts = Prompt::read(&fields, "input")?;
    if texts.len() > MAX_TEXTS {
        return Err(fields.wrong("input", &format!("has more than {MAX_TEXTS} texts")));
    }
    fields.refuse("dimensions", |_| false)?;
    let packed = match fields.text("encoding_format")? {
        None | Some("float") => false,
        Some("base64") => true,
        Some(_) => return Err(fields.wrong("encoding_format", "is not `float` or `base64`")),
    };
    let texts = texts.into_iter().map(|text| answer::tokens(desk, text, "input"));
    let texts = texts.collect::<Result<_, _>>()?;
    Ok(Wanted { model, texts, packed })
}

/// The bytes of the numbers, least significant first, as OpenAI's client unpacks them.
fn pack(vector: &[f32]) -> String {
    let bytes: Vec<u8> = vector.iter().flat_map(|x| x.to_le_bytes()).collect();
    BASE64_STANDARD.encode(bytes)
}
