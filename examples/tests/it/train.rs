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
fn a_gguf_file_is_written_and_checked_on_the_way() {
    let world = World::new();
    let file = world.path("trained.gguf");
    let adapter = world.path("adapter.gguf");
    let [file_name, adapter_name] = [&file, &adapter].map(|path| path.to_str().unwrap());
    let gguf = ["--gguf", file_name, "--gguf-type", "q8_0", "--gguf-adapter", adapter_name];
    let done = train(&world, "gguf", &gguf);
    assert!(done.status.success(), "{}", text(&done.stderr));
    let said = text(&done.stdout);
    assert_eq!(said.matches("logits within").count(), 2, "{said}");
    assert!(openledger_model::gguf::Gguf::parse(&std::fs::read(adapter).unwrap()).is_ok());
    let base = openledger_model::Model::open(world.path("model")).unwrap();
    let trained = openledger_model::Model::open(&file).unwrap();
    assert_eq!(trained.network().decoder().layers(), base.network().decoder().layers());
}

/// Trains on `rows` with `objective`.
fn prefer(world: &World, rows: &str, objective: &str, more: &[&str]) -> Output {
    let config = format!(
        r#"{{"data": {{"max_tokens": 64, "files": [{{"path": {:?}}}]}}, "lora": {{"rank": 2}},
            "objective": {objective}, "checkpoint_every": 2, "evaluation": {{"share": 0.2}},
            "plan": {{"epochs": 2, "batch": 3, "rate": 0.01}}}}"#,
        world.path("answers.jsonl")
    );
    std::fs::write(world.path("answers.jsonl"), rows).unwrap();
    std::fs::write(world.path("config.json"), config).unwrap();
    let mut app = app("train");
    app.arg("--model").arg(world.path("model")).arg("--out").arg(world.path("prefers"));
    app.arg("--config").arg(world.path("config.json"));
    app.args(more).output().unwrap()
}

#[test]
fn what_people_think_of_answers_becomes_an_adapter() {
    let pairs = |number: usize| {
        format!(
            r#"{{"prompt": "Is {number} odd?", "chosen": "I say so.", "rejected": "Who knows"}}"#
        )
    };
    let labels = |number: usize| {
        let good = number.is_multiple_of(2);
        format!(r#"{{"prompt": "Is {number} odd?", "completion": "No.", "label": {good}}}"#)
    };
    let rows = |row: &dyn Fn(usize) -> String| (0..12).map(row).collect::<Vec<_>>().join("\n");
    for (rows, objective, what) in [
        (rows(&pairs), r#"{"preference": {"dpo": {"beta": 0.1}}}"#, "pairs of answers"),
        (rows(&pairs), r#"{"preference": {"orpo": {"beta": 0.1}}}"#, "pairs of answers"),
        (rows(&labels), r#"{"kto": {}}"#, "judged answers"),
    ] {
        let world = World::new();
        let done = prefer(&world, &rows, objective, &["--merge", "f32"]);
        assert!(done.status.success(), "{}", text(&done.stderr));
        let said = text(&done.stdout);
        for expected in
            [&format!("9 {what} to learn in 6 steps, 3 held out"), "% told right", "merged"]
        {
            assert!(said.contains(expected), "{expected}: {said}");
        }
        let out = world.path("prefers");
        let record = std::fs::read(out.join("training.json")).unwrap();
        let named = serde_json::to_value(TrainingRecord::parse(&record).unwrap()).unwrap();
        let asked: serde_json::Value = serde_json::from_str(objective).unwrap();
        let (named, asked) = (named["config"]["objective"].to_string(), asked.to_string());
        assert!(named.starts_with(asked.trim_end_matches(['{', '}'])), "{named}");
        let log = std::fs::read_to_string(out.join("events.jsonl")).unwrap();
        assert!(log.lines().next().unwrap().contains(&named), "{log}");
    }
    let world = World::new();
    let failed = prefer(&world, &rows(&labels), r#"{"preference": {"dpo": {"beta": 1}}}"#, &[]);
    let said = text(&failed.stderr);
    assert!(said.contains("answers.jsonl`, row 1") && said.contains("two answers"), "{said}");
}

#[test]
#[cfg(unix)]
fn ctrl_c_leaves_an_adapter_and_a_checkpoint_that_goes_on_to_the_same_bytes() {
    use std::{
        io::{BufRead, BufReader, Read},
        process::{Child, Command, Stdio},
    };

    let world = World::new();
    let config = br#"{"data": {"max_tokens": 64}, "lora": {"rank": 2},
        "plan": {"epochs": 100, "batch": 3, "rate": 0.001}}"#;
    std::fs::write(world.path("long.json"), config).unwrap();
    let begin = |out: &str, more: &[&str]| -> Child {
        let mut app = app("train");
        app.arg("--model").arg(world.path("model"));
        app.arg("--data").arg(world.path("sums.jsonl"));
        app.arg("--out").arg(world.path(out));
        app.arg("--config").arg(world.path("long.json"));
        app.args(more).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap()
    };
    let interrupt = |child: &Child| {
        let sent = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
        assert!(sent.success());
    };
    let steps = |out: &str| {
        let log = EventLog::read(world.path(out).join("events.jsonl"), None);
        log.map_or(0, |log| curve(&log.map_while(Result::ok).collect::<Vec<_>>()).len())
    };
    let mut child = begin("stopped", &[]);
    while steps("stopped") < 3 {
        std::thread::yield_now();
    }
    interrupt(&child);
    let mut said = String::new();
    child.stdout.take().unwrap().read_to_string(&mut said).unwrap();
    assert!(child.wait().unwrap().success(), "{said}");
    assert!(said.contains("of 400, stopped") && said.contains("`--resume`"), "{said}");
    let out = world.path("stopped");
    assert!(out.join("checkpoint").exists() && !out.join("training.json").exists());
    assert!(openledger_model::AdapterFiles::read(&out).is_ok());
    let so_far = steps("stopped");
    assert!((3..400).contains(&so_far), "{so_far}");

    // The second ends it at once, even where the step would take long.
    let mut child = begin("killed", &[]);
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    while steps("killed") < 1 {
        std::thread::yield_now();
    }
    interrupt(&child);
    lines.find(|line| line.as_ref().unwrap().contains("once more ends at once")).unwrap().unwrap();
    interrupt(&child);
    // It may have ended by the first before the second came.
    assert!(matches!(child.wait().unwrap().code(), Some(0 | 130)));

    let whole = begin("whole", &[]).wait_with_output().unwrap();
    let rest = begin("stopped", &["--resume"]).wait_with_output().unwrap();
    assert!(whole.status.success() && rest.status.success(), "{}", text(&rest.stdout));
    let adapter =
        |out: &str| std::fs::read(world.path(out).join("adapter_model.safetensors")).unwrap();
    assert_eq!(adapter("stopped"), adapter("whole"));
    assert_eq!(steps("stopped"), 400);
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
