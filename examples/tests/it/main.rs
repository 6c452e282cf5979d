//! The apps, as their users run them, on a tiny model.
#![expect(clippy::unwrap_used, reason = "helpers of tests may panic")]

mod hostile;
mod line;
mod paid;
mod train;

use std::path::{Path, PathBuf};

use openledger_examples::quickstart::{MethodName, Options};
use openledger_model::testing;

/// A folder with a tiny model and two files of rows.
struct World {
    folder: tempfile::TempDir,
}

impl World {
    fn new() -> Self {
        let world = Self { folder: tempfile::tempdir().unwrap() };
        testing::tiny_files(1).unwrap().write(world.path("model")).unwrap();
        let mut questions = String::new();
        let mut passages = String::from("text\n");
        for number in 0..12 {
            let sum = number + 3;
            questions += &format!(
                "{{\"question\":\"What is {number} and 3?\",\"answer\":\"It makes {sum}, I say.\"}}\n"
            );
            passages += &format!(
                "\"On day {number} the ship of the old king sailed for {sum} leagues to the east.\"\n"
            );
        }
        std::fs::write(world.path("sums.jsonl"), questions).unwrap();
        std::fs::write(world.path("ships.csv"), passages).unwrap();
        world
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn options(&self) -> Options {
        Options {
            model: self.path("model"),
            data: ["sums.jsonl", "ships.csv"]
                .map(|file| (file.split('.').next().unwrap().to_owned(), self.path(file)))
                .to_vec(),
            rows: 9,
            epochs: Some(6),
            rank: 4,
            rate: 4e-3,
            max_tokens: 128,
            method: MethodName::BlockExact,
            json: Some(self.path("result.json")),
            rpc: None,
            chain_log: Some(self.path("chain.json")),
            store: Some(self.path("store")),
        }
    }
}

/// Returns an app, which `cargo test` builds beside the tests.
fn app(name: &str) -> std::process::Command {
    let tests = std::env::current_exe().unwrap();
    let built = tests.ancestors().nth(2).unwrap().join("examples").join(name);
    let built = built.with_extension(std::env::consts::EXE_EXTENSION);
    assert!(Path::new(&built).exists(), "build it first: cargo build --example {name}");
    std::process::Command::new(built)
}
