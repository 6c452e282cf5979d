//! The parser of requests alone, for fuzzing.

use serde_json::Value;

use crate::{
    ApiLimits,
    error::Failure,
    wire::{ChatRequest, CompletionRequest, parse},
};

/// Reads a body as `/v1/chat/completions` and `/v1/completions` do; returns what each says against it.
pub fn refusals(body: &[u8]) -> [Option<Value>; 2] {
    let limits = ApiLimits::default();
    let chat = parse(body, limits.depth).and_then(|json| ChatRequest::read(&json, &limits));
    let text = parse(body, limits.depth).and_then(|json| CompletionRequest::read(&json, &limits));
    [chat.err(), text.err()].map(|refusal| refusal.as_ref().map(Failure::to_json))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_route_reads_its_own() {
        let [chat, text] = refusals(br#"{"model": "m", "prompt": "x"}"#);
        assert_eq!(chat.unwrap()["error"]["param"], "messages");
        assert!(text.is_none());
    }
}
