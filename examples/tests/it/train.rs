//! Training on files.

use std::process::Output;

use openledger_train::{EventLog, TrainingConfig, TrainingRecord, curve};

use crate::{World, app};

const CONFIG: &[u8] = br#"{"data": {"max_tokens": 64}, "lora": {"rank": 2}, "checkpoint_every": 2,
    "plan": {"epochs": 2, "batch": 3, "rate": 0.01}, "evaluation": {"every": 3, "share": 0.2}}"#;

/// Trains in the folder `out` of `world`, with more arguments.
fn train(world: &World, out: &str, more: &[&str]) -> Output {
    train_by(CONFIG, world, out, more)
}

fn train_by(config: &[u8], world: &World, out: &str, more: &[&str]) -> Output {
    std::fs::write(world.path("config.json"), config).unwrap();
    let mut app = app("train");
    app.arg("--model").arg(world.path("model"));
    app.arg("--data").arg(world.path("sums.jsonl"));
    app.arg("--out").arg(world.path(out));
    app.arg("--config").arg(world.path("config.json"));
    app.args(more).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn rows_become_an_adapter_a_record_and_events() {
    let world = World::new();
    let done = train(&world, "out", &["--merge", "f32"]);
    assert!(done.status.success(), "{}", text(&done.stderr));
    let said = text(&done.stdout);
    for expected in ["9 rows to learn in 6 steps, 3 held out", "gradient", "held out", "merged"] {
        assert!(said.contains(expected), "{expected}: {said}");
    }
    let out = world.path("out");
    let record = TrainingRecord::parse(&std::fs::read(out.join("training.json")).unwrap()).unwrap();
    assert!(record.config.data.files[0].hash.is_some());
    let events = EventLog::read(out.join("events.jsonl"), None).unwrap().map(Result::unwrap);
    assert_eq!(curve(&events.collect::<Vec<_>>()).len(), 6);
    assert!(openledger_model::Model::open(out.join("merged")).is_ok());

    let again = train(&world, "out", &[]);
    assert!(text(&again.stderr).contains("resume it or remove it"), "{}", text(&again.stderr));
    let adapter = std::fs::read(out.join("adapter_model.safetensors")).unwrap();
    assert!(train(&world, "out", &["--resume"]).status.success());
    assert_eq!(std::fs::read(out.join("adapter_model.safetensors")).unwrap(), adapter);
    assert!(train(&world, "other", &["--threads", "2"]).status.success());
    let other = world.path("other").join("adapter_model.safetensors");
    assert_eq!(std::fs::read(other).unwrap(), adapter, "on other threads");
}

#[test]
fn an_adapter_from_a_pissa_start_is_for_the_base_as_it_was() {
    let world = World::new();
    let config =
        br#"{"data": {"max_tokens": 64}, "lora": {"rank": 2, "alpha": 2, "start": "pissa"},
        "plan": {"epochs": 1, "tokens_per_step": 128, "rate": 0.001}}"#;
    let done = train_by(config, &world, "pissa", &["--merge", "f32"]);
    assert!(done.status.success(), "{}", text(&done.stderr));
    let base = openledger_model::Model::open(world.path("model")).unwrap();
    let files = openledger_model::AdapterFiles::read(world.path("pissa")).unwrap();
    let adapter = openledger_model::Adapter::load(base.network(), &files).unwrap();
    assert_eq!((adapter.config().rank, adapter.config().start), (4, openledger_model::Start::Zero));
    // Little was learned, so little is changed: a start left in would change the weights by their
    // largest parts.
    let apart = |(site, _): (openledger_model::Param, _)| {
        let merged = adapter.lora().merged(base.network(), site);
        let before = base.network().weights().data(site);
        let largest = before.iter().fold(0f32, |m, x| m.max(x.abs()));
        let differences = merged.iter().zip(&*before).map(|(a, b)| (a - b).abs());
        differences.fold(0f32, f32::max) / largest
    };
    let apart = adapter.lora().pairs().map(apart).fold(0f32, f32::max);
    assert!(apart > 0.0 && apart < 0.1, "{apart}");
}

#[test]
fn what_is_wrong_is_said_on_one_line() {
    let world = World::new();
    std::fs::write(world.path("bad.jsonl"), "{\"question\": \"Why?\"}\n").unwrap();
    for (more, expected) in [
        (&["--memory", "0"][..], "take a smaller base model"),
        (&["--eval", "no.jsonl"], "no.jsonl"),
        (
            &["--eval", world.path("bad.jsonl").to_str().unwrap()],
            "line 1: columns `question` are none of",
        ),
    ] {
        let failed = train(&world, "out", more);
        let said = text(&failed.stderr);
        assert_eq!(failed.status.code(), Some(1), "{said}");
        assert!(said.contains(expected) && said.lines().count() == 1, "{said}");
    }
}

#[test]
fn the_configurations_that_ship_are_read() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/configs");
    for file in std::fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "json") {
            TrainingConfig::parse(&std::fs::read(path).unwrap()).unwrap();
        }
    }
}
