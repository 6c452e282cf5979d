//! One client: asks, reads slowly, leaves, sends garbage.

use std::{
    collections::BTreeMap,
    fmt, thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use super::{
    Soak,
    answers::{self, PROMPTS},
    is_typed,
};
use crate::{client, random::Random, shell::Result};

/// Bytes of a body that no server of ours takes.
const LARGE: usize = 5 << 20;
/// What is kept of what went wrong.
const KEPT: usize = 8;

/// What happened, and how often.
#[derive(Clone, Debug, Default)]
pub(super) struct Count {
    ended: BTreeMap<&'static str, u64>,
    wrong: Vec<String>,
    broken: Vec<String>,
}

pub(super) struct Client<'a> {
    soak: &'a Soak,
    names: Vec<String>,
    random: Random,
    count: Count,
}

impl<'a> Client<'a> {
    pub(super) fn new(soak: &'a Soak, seed: u64) -> Self {
        let names = soak.answers.names();
        Self { soak, names, random: Random::new(seed), count: Count::default() }
    }

    /// Goes on until the time is over.
    pub(super) fn run(mut self) -> Count {
        while Instant::now() < self.soak.end {
            let ended = match self.random.below(100) {
                0..50 => self.stream(0),
                50..64 => self.whole(),
                64..72 => self.stream(20),
                72..82 => self.leave(),
                82..84 => self.leave_at_once(),
                84..90 => self.garbage(),
                90..94 => self.long(),
                94..95 => self.large(),
                95..98 => self.refused(&json!({"model": "nobody", "prompt": "x"})),
                _ => self.many(),
            };
            match ended {
                Ok(how) => *self.count.ended.entry(how).or_default() += 1,
                Err(e) => self.count.broken.push(e.to_string()),
            }
        }
        self.count
    }

    fn name(&mut self) -> String {
        self.random.one_of(&self.names).clone()
    }

    /// Asks without a stream.
    fn whole(&mut self) -> Result<&'static str> {
        let (name, prompt) = self.question();
        let answer = self.post(&answers::request(&name, prompt))?;
        if answer.status() != 200 {
            return typed(&name, answer);
        }
        let said = answer.json()?;
        let (content, text) = answers::read(&said).ok_or_else(|| format!("no answer: {said}"))?;
        Ok(self.judge(&name, &content, prompt, &text))
    }

    /// Reads a stream to its end, with up to so many milliseconds before each event.
    fn stream(&mut self, pause: u64) -> Result<&'static str> {
        let (name, prompt) = self.question();
        let mut answer = self.post(&streaming(answers::request(&name, prompt)))?;
        if answer.status() != 200 {
            return typed(&name, answer);
        }
        let (mut content, mut text) = (String::new(), String::new());
        while let Some(event) = answer.event()? {
            if event["error"].is_object() {
                return Err(format!("a stream of `{name}` ended in {event}").into());
            }
            if let Some((of, part)) = answers::read(&event) {
                content = of;
                text.push_str(&part);
            }
            if pause > 0 {
                thread::sleep(Duration::from_millis(self.random.below(pause)));
            }
        }
        Ok(self.judge(&name, &content, prompt, &text))
    }

    /// Leaves in the middle of a long answer.
    fn leave(&mut self) -> Result<&'static str> {
        let (name, prompt) = self.question();
        let mut asked = streaming(answers::request(&name, prompt));
        asked["max_tokens"] = json!(100);
        let mut answer = self.post(&asked)?;
        if answer.status() != 200 {
            return typed(&name, answer);
        }
        for _ in 0..self.random.below(12) {
            if answer.event()?.is_none() {
                break;
            }
        }
        Ok("left")
    }

    /// Leaves before anything was said.
    fn leave_at_once(&mut self) -> Result<&'static str> {
        let (name, prompt) = self.question();
        let asked = answers::request(&name, prompt);
        client::leave(self.soak.server.address(), "/v1/completions", &asked)?;
        Ok("left at once")
    }

    /// Sends what is no JSON, or other JSON than is asked for.
    fn garbage(&mut self) -> Result<&'static str> {
        let bytes: Vec<u8> =
            (0..self.random.below(400)).map(|_| self.random.next() as u8).collect();
        let asked = answers::request(&self.name(), 0).to_string();
        let cut = self.random.below(asked.len() as u64) as usize;
        let body = [&bytes[..], &asked.as_bytes()[..cut], b"{\"model\": 5, \"prompt\": {}}"];
        let body = body[self.random.below(3) as usize];
        let server = self.soak.server.address();
        let answer = client::send(server, "POST", "/v1/completions", None, body)?;
        expect_refusal(answer, "garbage")
    }

    /// Sends a body that is too large.
    fn large(&mut self) -> Result<&'static str> {
        let body = vec![b' '; LARGE];
        let server = self.soak.server.address();
        expect_refusal(client::send(server, "POST", "/v1/completions", None, &body)?, "too large")
    }

    /// Asks for more than the model holds.
    fn long(&mut self) -> Result<&'static str> {
        let name = self.name();
        self.refused(&json!({"model": name, "prompt": "x ".repeat(5_000)}))
    }

    fn refused(&self, asked: &Value) -> Result<&'static str> {
        expect_refusal(self.post(asked)?, "refused")
    }

    /// Asks for answers to all prompts at once.
    fn many(&mut self) -> Result<&'static str> {
        let name = self.name();
        let mut asked = answers::request(&name, 0);
        asked["prompt"] = json!(PROMPTS);
        let answer = self.post(&asked)?;
        if answer.status() != 200 {
            return typed(&name, answer);
        }
        let said = answer.json()?;
        let first = answers::read(&said).ok_or_else(|| format!("no answer: {said}"))?;
        Ok(self.judge(&name, &first.0, 0, &first.1))
    }

    fn question(&mut self) -> (String, usize) {
        (self.name(), self.random.below(PROMPTS.len() as u64) as usize)
    }

    fn post(&self, asked: &Value) -> Result<client::Answer> {
        client::post(self.soak.server.address(), "/v1/completions", asked)
    }

    fn judge(&mut self, name: &str, content: &str, prompt: usize, text: &str) -> &'static str {
        if self.soak.answers.is_right(name, content, prompt, text) {
            return "right";
        }
        self.count.wrong.push(format!("{name} {content} {prompt}: {text:?}"));
        "wrong"
    }
}

fn streaming(mut asked: Value) -> Value {
    asked["stream"] = json!(true);
    asked
}

/// What may be said in place of an answer: an adapter is away, does not fit, or there is no room now.
fn typed(name: &str, answer: client::Answer) -> Result<&'static str> {
    let (status, moving) = (answer.status(), name.starts_with("moving"));
    let body = answer.text()?;
    match status {
        429 | 503 if is_typed(&body) => Ok("not now"),
        404 | 422 if moving && is_typed(&body) => Ok("adapter away"),
        _ => Err(format!("`{name}`: {status} {body}").into()),
    }
}

fn expect_refusal(answer: client::Answer, how: &'static str) -> Result<&'static str> {
    let status = answer.status();
    let body = answer.text()?;
    match (400..500).contains(&status) && is_typed(&body) {
        true => Ok(how),
        false => Err(format!("{how}: {status} {body}").into()),
    }
}

impl Count {
    pub(super) fn add(&mut self, other: Self) {
        for (how, times) in other.ended {
            *self.ended.entry(how).or_default() += times;
        }
        self.wrong.extend(other.wrong);
        self.broken.extend(other.broken);
    }

    /// # Errors
    /// If an answer was wrong, or a request ended in no answer and no typed error.
    pub(super) fn verdict(&self) -> Result {
        match self.wrong.is_empty() && self.broken.is_empty() {
            true => Ok(()),
            false => {
                Err(format!("{} wrong, {} broken", self.wrong.len(), self.broken.len()).into())
            }
        }
    }
}

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all: u64 = self.ended.values().sum();
        write!(f, "{all} requests:")?;
        for (how, times) in &self.ended {
            write!(f, " {how} {times},")?;
        }
        write!(f, " broken {}", self.broken.len())?;
        for said in self.wrong.iter().chain(&self.broken).take(KEPT) {
            write!(f, "\n  {said}")?;
        }
        Ok(())
    }
}
