#![no_main]
use std::{cell::RefCell, sync::Arc};

use libfuzzer_sys::fuzz_target;
use openledger_model::{Lora, LoraConfig, testing};
use openledger_train::{
    Checkpoint, Event, Events, NativeRun, Optimiser, Resume, Run, TrainingConfig, TrainingRecord,
};

thread_local! {
    static RUN: RefCell<NativeRun> = RefCell::new(run());
}

fn run() -> NativeRun {
    let network = Arc::new(testing::tiny(1).expect("a model of our own").network().clone());
    let config = LoraConfig::default().with_rank(1, 1.0).with_targets(["q_proj"]);
    let start = Lora::init(&network, &config, 1).expect("a Llama has the layer");
    let start = start.to_files(&network, &config).weights;
    NativeRun::start(network, &config, Optimiser::default(), &start).expect("a file of our own")
}

fuzz_target!(|data: &[u8]| {
    if let Ok(config) = TrainingConfig::parse(data) {
        assert_eq!(TrainingConfig::parse(&config.to_json()).expect("what was written"), config);
    }
    for event in Events::new(data).flatten() {
        Event::parse(&event.to_json()).expect("what was written");
    }
    if let Ok(checkpoint) = Checkpoint::parse(data) {
        assert_eq!(checkpoint.to_bytes(), data);
    }
    // The same with a checksum that fits, or no bytes a fuzzer finds ever get past it.
    let _ = Checkpoint::parse(&Checkpoint::seal(data));
    if let Ok(record) = TrainingRecord::parse(data) {
        assert_eq!(TrainingRecord::parse(&record.to_json()).expect("what was written"), record);
    }
    RUN.with_borrow_mut(|run| {
        let before = run.snapshot().expect("no device fails");
        match run.restore(data) {
            Ok(()) => assert_eq!(run.state().expect("no device fails"), data),
            Err(_) => assert_eq!(run.snapshot().expect("no device fails"), before),
        }
        // Bytes behind a state's own beginning, where a fuzzer does not get by itself.
        let mut state = run.state().expect("no device fails");
        let from = state.len() - data.len().min(state.len());
        let length = state.len() - from;
        state[from..].copy_from_slice(&data[..length]);
        let _ = run.restore(&state);
    });
});
