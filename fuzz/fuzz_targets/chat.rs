#![no_main]
use libfuzzer_sys::fuzz_target;
use openledger_model::{Chat, ChatTemplate, Message};

fuzz_target!(|parts: (&[u8], &str)| {
    let (config, source) = parts;
    let chat = Chat::new([Message::user("Why?"), Message::assistant("So."), Message::user("And?")]);
    let templates = [ChatTemplate::parse(config), ChatTemplate::new(source, b"{}")];
    for template in templates.into_iter().flatten() {
        if let Ok((rendered, turns)) = template.turns(&chat, &["</s>"], 0) {
            for turn in turns {
                let _ = &rendered.text[turn];
            }
        }
    }
});
