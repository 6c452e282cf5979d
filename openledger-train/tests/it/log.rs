//! The log of a run, also after its writer was killed.

use openledger_core::ErrorKind;
use openledger_train::{Event, EventLog, Events, Happening};
use proptest::prelude::*;

fn happened(step: u64) -> Happening {
    let line = format!(r#"{{"number":0,"seconds":0,"event":"checkpoint","step":{step}}}"#);
    Event::parse(line.as_bytes()).unwrap().what
}

proptest! {
    #[test]
    fn a_log_cut_anywhere_goes_on_behind_its_last_whole_line(count in 1u64..6, cut in 0usize..500) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("events.jsonl");
        let mut log = EventLog::open(&path).unwrap();
        let written: Vec<Event> =
            (0..count).map(|step| log.append(step as f64, happened(step)).unwrap()).collect();
        drop(log);
        let bytes = std::fs::read(&path).unwrap();
        let cut = cut.min(bytes.len());
        std::fs::write(&path, &bytes[..cut]).unwrap();
        let whole = bytes[..cut].iter().filter(|&&byte| byte == b'\n').count();

        let mut log = EventLog::open(&path).unwrap();
        let next = log.append(9.0, happened(9)).unwrap();
        log.sync().unwrap();
        prop_assert_eq!(next.number, whole as u64);
        let read: Vec<Event> = EventLog::read(&path, None).unwrap().map(Result::unwrap).collect();
        prop_assert_eq!(&read[..whole], &written[..whole]);
        prop_assert_eq!(&read[whole..], &[next]);
    }

    #[test]
    fn events_of_any_bytes_end(bytes: Vec<u8>) {
        let events: Vec<_> = Events::new(&bytes[..]).collect();
        prop_assert!(events.len() <= bytes.len());
        prop_assert!(events.iter().rev().skip(1).all(Result::is_ok), "nothing behind an error");
        for event in events.into_iter().flatten() {
            prop_assert_eq!(Event::parse(&event.to_json()).unwrap(), event);
        }
    }
}

#[test]
fn what_is_no_log_is_refused_with_its_line_and_left_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("events.jsonl");
    let first = r#"{"number":0,"seconds":0.0,"event":"checkpoint","step":3}"#;
    let long = format!("{first}\n{{\"number\":1,\"pad\":\"{}\"}}\n", "x".repeat(70_000));
    for (text, kind) in [
        (format!("{first}\nrubbish\n"), ErrorKind::Corrupt),
        (format!("{first}\n{first}\n"), ErrorKind::Corrupt),
        (long, ErrorKind::Limit),
    ] {
        std::fs::write(&path, &text).unwrap();
        let error = EventLog::open(&path).unwrap_err();
        assert_eq!(error.kind(), kind);
        assert!(error.report().contains("line 2"), "{error:?}");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
    }
    assert_eq!(
        EventLog::read(folder.path().join("none"), None).err().unwrap().kind(),
        ErrorKind::NotFound
    );
}
