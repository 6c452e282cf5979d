#![no_main]
use std::path::{Component, Path};

use libfuzzer_sys::fuzz_target;
use openledger_hub::Repo;
use openledger_serve::AdapterName;

fuzz_target!(|text: &str| {
    let stays = |path: &str| Path::new(path).components().all(|c| matches!(c, Component::Normal(_)));
    if let Ok(name) = text.parse::<AdapterName>() {
        assert!(stays(name.as_str()));
    }
    if let Ok(repo) = text.parse::<Repo>() {
        assert!(stays(repo.name()) && stays(repo.revision()));
    }
});
