//! What each adapter says to each prompt.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::{client, server::Server, shell::Result};

pub(super) const PROMPTS: [&str; 6] = [
    "river stone",
    "seven market",
    "blood paper engine",
    "winter",
    "the silver window of the house",
    "orange doctor number train garden orange doctor number train garden orange doctor",
];
/// Tokens of an answer, by the prompt's number: short ones and long ones.
pub(super) const fn tokens(prompt: usize) -> usize {
    12 + 4 * prompt
}

/// What each adapter says to each prompt, by its content, and which contents each name has had.
#[derive(Debug, Default)]
pub(super) struct Answers {
    texts: BTreeMap<(String, usize), String>,
    named: BTreeMap<String, String>,
}

impl Answers {
    /// Asks the adapter of a name everything.
    ///
    /// # Errors
    /// If it does not answer, or otherwise than the same content by another name.
    pub(super) fn learn(&mut self, server: &Server, name: &str) -> Result {
        for prompt in 0..PROMPTS.len() {
            let (content, text) = ask(server, name, prompt)?;
            self.named.insert(name.to_owned(), content.clone());
            let before = self.texts.insert((content, prompt), text.clone());
            if before.is_some_and(|before| before != text) {
                return Err(format!("`{name}` answers otherwise than the same content did").into());
            }
        }
        Ok(())
    }

    /// Checks that answers tell adapters apart.
    ///
    /// # Errors
    /// If they do not.
    pub(super) fn check(&self) -> Result {
        let contents: BTreeSet<_> = self.texts.keys().map(|(content, _)| content).collect();
        let texts: BTreeSet<_> = self.texts.values().collect();
        println!(
            "{} contents, {} answers, {} different",
            contents.len(),
            self.texts.len(),
            texts.len()
        );
        match texts.len() * 10 > self.texts.len() * 9 {
            true => Ok(()),
            false => Err("adapters answer alike: nothing would be noticed".into()),
        }
    }

    /// Returns the names that are known.
    pub(super) fn names(&self) -> Vec<String> {
        self.named.keys().cloned().collect()
    }

    /// Returns whether this is what the content says, and one that the name can stand for.
    pub(super) fn is_right(&self, name: &str, content: &str, prompt: usize, text: &str) -> bool {
        let is_moving = name.starts_with("moving");
        let is_named = match is_moving {
            true => self.named.iter().any(|(pool, id)| pool.starts_with("pool") && id == content),
            false => self.named.get(name).is_some_and(|id| id == content),
        };
        let expected = self.texts.get(&(content.to_owned(), prompt));
        is_named && expected.is_some_and(|expected| expected == text)
    }

    /// Asks a name everything again.
    ///
    /// # Errors
    /// If it answers otherwise.
    pub(super) fn same(&self, server: &Server, name: &str) -> Result {
        for prompt in 0..PROMPTS.len() {
            let (content, text) = ask(server, name, prompt)?;
            if !self.is_right(name, &content, prompt, &text) {
                return Err(format!("`{name}` answers otherwise afterwards").into());
            }
        }
        Ok(())
    }
}

/// What is asked.
pub(super) fn request(name: &str, prompt: usize) -> Value {
    json!({
        "model": name, "prompt": PROMPTS[prompt], "max_tokens": tokens(prompt), "temperature": 0,
        "ignore_eos": true,
    })
}

/// Returns the content and the text of an answer.
fn ask(server: &Server, name: &str, prompt: usize) -> Result<(String, String)> {
    let asked = request(name, prompt);
    let said = client::post(server.address(), "/v1/completions", &asked)?.json()?;
    read(&said).ok_or_else(|| format!("no answer: {said}").into())
}

/// Reads the content that answered and the text.
pub(super) fn read(said: &Value) -> Option<(String, String)> {
    let content = said["system_fingerprint"].as_str()?;
    Some((content.to_owned(), said["choices"][0]["text"].as_str()?.to_owned()))
}
