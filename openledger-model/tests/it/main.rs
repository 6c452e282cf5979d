//! Models, adapters and gradients, by behaviour.
#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "helpers of tests may panic and print"
)]

mod adapter;
mod chat;
mod gguf;
mod golden;
mod gradient;
mod hostile;
mod tokenizer;

use std::path::PathBuf;

/// Returns a file of the shared test data, or prints why the test is skipped.
fn shared(path: &str) -> Option<PathBuf> {
    let path = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared")).join(path);
    if !path.exists() {
        println!("skipped: `{}` is not there", path.display());
        return None;
    }
    Some(path)
}

/// Returns the largest difference between two vectors.
fn distance(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).fold(0f32, |most, (a, b)| most.max((a - b).abs()))
}
