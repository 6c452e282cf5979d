//! A process that is killed in the middle of a run, and another that goes on.

use std::{
    ops::ControlFlow,
    path::Path,
    process::{Child, Command, Stdio},
    sync::Arc,
};

use openledger_model::{Lora, Tokens, testing};
use openledger_train::{
    AdamW8bit, Event, EventLog, NativeRun, NextToken, Session, TrainingConfig, curve,
};

/// Names the folder to the process that trains.
const FOLDER: &str = "OPENLEDGER_TEST_RUN_FOLDER";

/// What a process does that may be killed: trains, or goes on training, in a folder.
fn train(folder: &Path) {
    let json = br#"{"lora": {"rank": 4}, "checkpoint_every": 3,
        "plan": {"epochs": 10, "batch": 4, "rate": 0.005, "schedule": "cosine"},
        "evaluation": {"every": 7}}"#;
    let mut config = TrainingConfig::parse(json).unwrap();
    config.optimiser = AdamW8bit::default().with_min_size(100).into();
    let model = testing::tiny(1).unwrap();
    let network = Arc::new(model.network().clone());
    let start = Lora::init(&network, &config.lora, 7).unwrap().to_files(&network, &config.lora);
    let run = NativeRun::start(network, &config.lora, config.optimiser, &start.weights).unwrap();
    let rows: Vec<Tokens> = (0..26)
        .map(|i: u32| {
            let row: Vec<u32> = (0..20 + i % 7).map(|j| (i * 31 + j * j) % 256).collect();
            Tokens::new(&row[..4], &row[4..])
        })
        .collect();
    let (held_out, learned) = rows.split_at(4);
    let (held_out, learned) = (held_out.to_vec(), learned.to_vec());
    let mut lesson = NextToken::new(run, &learned).with_held_out(&held_out);
    let trained = Session::new(model.id(), &config)
        .with_checkpoint(folder.join("checkpoint"))
        .with_resume(true)
        .with_log(EventLog::open(folder.join("events.jsonl")).unwrap())
        .train(&mut lesson, |_| ControlFlow::Continue(()))
        .unwrap();
    openledger_core::file::write(folder.join("adapter"), &trained.adapter).unwrap();
}

#[test]
#[ignore = "the process that the next test kills"]
fn the_process() {
    if let Some(folder) = std::env::var_os(FOLDER) {
        train(Path::new(&folder));
    }
}

fn spawn(folder: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "kill::the_process", "--ignored"])
        .env(FOLDER, folder)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

fn events(folder: &Path) -> Vec<Event> {
    let log = EventLog::read(folder.join("events.jsonl"), None);
    log.map(|log| log.map(Result::unwrap).collect()).unwrap_or_default()
}

#[test]
fn a_process_killed_at_any_moment_is_gone_on_from_to_the_same_bytes() {
    let scratch = tempfile::tempdir().unwrap();
    let folder = |name: &str| {
        let folder = scratch.path().join(name);
        std::fs::create_dir(&folder).unwrap();
        folder
    };
    let whole = folder("whole");
    assert!(spawn(&whole).wait().unwrap().success());
    let (adapter, losses) = (std::fs::read(whole.join("adapter")).unwrap(), curve(&events(&whole)));
    assert_eq!(losses.len(), 60);

    let killed = folder("killed");
    let mut kills = 0;
    loop {
        let before = events(&killed).len();
        let mut child = spawn(&killed);
        // Each process gets some events further, and is killed wherever it is just then: between the
        // last of them and the next, or while it writes.
        while events(&killed).len() < before + 9 && child.try_wait().unwrap().is_none() {
            std::thread::yield_now();
        }
        // On Unix this is SIGKILL.
        child.kill().unwrap();
        if child.wait().unwrap().success() {
            break;
        }
        kills += 1;
    }
    assert!(kills >= 3, "{kills}");
    assert_eq!(std::fs::read(killed.join("adapter")).unwrap(), adapter);
    let again = curve(&events(&killed));
    assert_eq!(again.len(), losses.len());
    assert!(again.iter().zip(&losses).all(|(a, b)| a.to_bits() == b.to_bits()), "every bit");
}
