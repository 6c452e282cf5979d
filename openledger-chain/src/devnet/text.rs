//! JSON-RPC 2.0 as text: one request or a batch in, the answers out.

use alloy::rpc::json_rpc::{ErrorPayload, ResponsePayload};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::Embedded;

/// Requests in a batch at the most.
const BATCH: usize = 1_000;
/// Bytes of a batch's answers after which the rest of it is refused, as many as geth's.
const ANSWERS: usize = 25_000_000;

#[derive(Deserialize)]
struct Request<'a> {
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    #[serde(borrow)]
    method: std::borrow::Cow<'a, str>,
    #[serde(borrow)]
    params: Option<&'a RawValue>,
}

#[derive(Serialize)]
struct Answer<'a> {
    jsonrpc: &'static str,
    id: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    result: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a ErrorPayload>,
}

/// Answers what was asked; `None` if nothing was asked that wants an answer.
pub(super) fn answer(chain: &Embedded, body: &[u8]) -> Option<String> {
    let first = body.iter().find(|byte| !byte.is_ascii_whitespace());
    if first != Some(&b'[') {
        return match serde_json::from_slice::<&RawValue>(body) {
            Ok(one) => answer_all(chain, &[one]).into_iter().next(),
            Err(e) => Some(refusal(-32700, format!("this is not JSON: {e}"))),
        };
    }
    match serde_json::from_slice::<Vec<&RawValue>>(body) {
        Err(e) => Some(refusal(-32700, format!("this is not JSON: {e}"))),
        Ok(batch) if batch.is_empty() => Some(refusal(-32600, "an empty batch")),
        Ok(batch) if batch.len() > BATCH => {
            let message = format!("{} requests in a batch, more than {BATCH}", batch.len());
            Some(refusal(-32600, message))
        }
        Ok(batch) => {
            let answers = answer_all(chain, &batch);
            (!answers.is_empty()).then(|| format!("[{}]", answers.join(",")))
        }
    }
}

/// Answers all requests that have an id, those that are none too; past [`ANSWERS`] bytes with an error.
fn answer_all(chain: &Embedded, raw: &[&RawValue]) -> Vec<String> {
    let requests: Vec<_> =
        raw.iter().map(|raw| serde_json::from_str::<Request<'_>>(raw.get())).collect();
    let asked = requests.iter().flatten().map(|request| (&*request.method, request.params));
    let mut answers = chain.answer(asked, ANSWERS).into_iter();
    let text = requests.iter().filter_map(|request| match request {
        Err(e) => Some(refusal(-32600, format!("this is not a request: {e}"))),
        Ok(request) => {
            let payload = answers.next()?;
            request.id.map(|id| encode(Some(id), &payload))
        }
    });
    text.collect()
}

fn refusal(code: i64, message: impl Into<std::borrow::Cow<'static, str>>) -> String {
    let error = ErrorPayload { code, message: message.into(), data: None };
    encode(None, &ResponsePayload::Failure(error))
}

fn encode(id: Option<&RawValue>, payload: &ResponsePayload) -> String {
    let (result, error) = match payload {
        ResponsePayload::Success(result) => (Some(&**result), None),
        ResponsePayload::Failure(error) => (None, Some(error)),
    };
    let answer = Answer { jsonrpc: "2.0", id, result, error };
    serde_json::to_string(&answer).expect("JSON in, JSON out")
}
