//! Benchmarks live in `benches/`; `cargo bench -p openledger-benches` runs them all, and what they
//! said last is in BENCHMARKS.md.
