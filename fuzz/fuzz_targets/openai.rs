//! A request of OpenAI's API, and an answer that may be calls of tools.
#![no_main]

use libfuzzer_sys::fuzz_target;
use openledger_serve_http::{ToolFormat, testing::refusals};

fuzz_target!(|bytes: &[u8]| {
    for refusal in refusals(bytes).into_iter().flatten() {
        assert!(refusal["error"]["message"].is_string());
    }
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    for format in [ToolFormat::Hermes, ToolFormat::Llama, ToolFormat::Mistral] {
        for call in format.parse(text).into_iter().flatten() {
            let arguments: serde_json::Value =
                serde_json::from_str(&call.arguments).expect("arguments are JSON");
            assert!(arguments.is_object() && !call.name.is_empty());
        }
    }
});
