#![no_main]
use libfuzzer_sys::fuzz_target;
use openledger_train::{Checkpoint, Event, Events, TrainingConfig};

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
});
