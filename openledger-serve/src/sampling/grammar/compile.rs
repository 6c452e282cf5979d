//! Constraints to automata, which are kept for the next request.

use std::{
    collections::VecDeque,
    fmt,
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::Duration,
};

use llguidance::{JsonCompileOptions, Matcher, ParserFactory, api::TopLevelGrammar};
use openledger_core::{Error, ErrorKind, Result};
use openledger_model::{Model, Tokenizer};
use serde_json::{Map, Value, json};

use super::{Grammar, patience::Patience, vocabulary};
use crate::{Constraint, Part, sampling::constraint::Form};

/// The automata of one model; clones share them.
#[derive(Clone)]
pub(crate) struct Grammars {
    shared: Arc<Shared>,
    patience: Patience,
}

struct Shared {
    model: Arc<Model>,
    /// Made with the first constraint. An error has no clones, so its report is kept.
    factory: OnceLock<Result<ParserFactory, String>>,
    /// The latest used at the back.
    compiled: Mutex<VecDeque<(Constraint, Matcher)>>,
}

/// How long one constraint may take to compile.
const PATIENCE: Duration = Duration::from_secs(10);
/// How many are compiled at a time.
const PLACES: usize = 4;
/// How many automata are kept.
const KEPT: usize = 64;

impl Grammars {
    pub(crate) fn new(model: Arc<Model>) -> Self {
        let (factory, compiled) = (OnceLock::new(), Mutex::default());
        let shared = Arc::new(Shared { model, factory, compiled });
        Self { shared, patience: Patience::new(PATIENCE, PLACES) }
    }

    /// Returns an automaton for one answer. Waits for other threads, never works on this one.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] if the constraint cannot be read, nothing fits it or it is too large;
    /// [`ErrorKind::Unsupported`] if the model's tokens cannot be constrained; [`ErrorKind::Limit`] if it
    /// takes too long, or too many are being compiled, which is worth trying again.
    pub(crate) async fn compile(&self, constraint: Constraint) -> Result<Grammar> {
        if let Some(grammar) = self.shared.kept(&constraint) {
            return Ok(grammar);
        }
        let (prepared, shared) = (Arc::clone(&self.shared), Arc::clone(&self.shared));
        let prepare = move || {
            prepared.factory();
        };
        self.patience.run(prepare, move || shared.compile(constraint)).await?
    }
}

impl Shared {
    fn factory(&self) -> &Result<ParserFactory, String> {
        self.factory.get_or_init(|| vocabulary::factory(&self.model).map_err(|e| e.report()))
    }

    fn kept(&self, constraint: &Constraint) -> Option<Grammar> {
        let mut compiled = self.compiled.lock().unwrap_or_else(PoisonError::into_inner);
        let place = compiled.iter().position(|(kept, _)| kept == constraint)?;
        let entry = compiled.remove(place)?;
        let grammar = Grammar::new(&entry.1);
        compiled.push_back(entry);
        Some(grammar)
    }

    fn compile(&self, constraint: Constraint) -> Result<Grammar> {
        let factory =
            self.factory().as_ref().map_err(|e| Error::new(ErrorKind::Unsupported, e.as_str()))?;
        let bad = |e: String| Error::invalid("a constraint that cannot be followed").with_source(e);
        let parser = factory.create_parser(grammar(&constraint.0, self.model.tokenizer())?);
        let mut matcher = Matcher::new(Ok(parser.map_err(|e| bad(e.to_string()))?));
        // What allows no first token allows no answer.
        matcher.compute_mask().map_err(|e| {
            Error::invalid("nothing fits the constraint").with_source(e.to_string())
        })?;
        let grammar = Grammar::new(&matcher);
        let mut compiled = self.compiled.lock().unwrap_or_else(PoisonError::into_inner);
        if compiled.len() >= KEPT {
            compiled.pop_front();
        }
        compiled.push_back((constraint, matcher));
        Ok(grammar)
    }
}

impl fmt::Debug for Grammars {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Grammars").field("patience", &self.patience).finish_non_exhaustive()
    }
}

fn grammar(form: &Form, tokenizer: &Tokenizer) -> Result<TopLevelGrammar> {
    Ok(match form {
        Form::Schema(text) => TopLevelGrammar::from_json_schema(schema(text)?),
        Form::Regex(regex) => TopLevelGrammar::from_regex(regex),
        Form::Choice(choices) => {
            let choices: Vec<String> = choices.iter().map(|choice| literally(choice)).collect();
            TopLevelGrammar::from_regex(&choices.join("|"))
        }
        Form::Parts(ways) => {
            let ways = ways.iter().map(|parts| {
                let parts = parts.iter().map(|part| lark(part, tokenizer));
                Ok(parts.collect::<Result<Vec<_>>>()?.join(" "))
            });
            let ways: Vec<String> = ways.collect::<Result<_>>()?;
            TopLevelGrammar::from_lark(format!("start: {}", ways.join(" | ")))
        }
    })
}

/// Writes a part as an item of a rule.
fn lark(part: &Part, tokenizer: &Tokenizer) -> Result<String> {
    Ok(match part {
        // A string of theirs is one of JSON.
        Part::Text(text) => json!(&**text).to_string(),
        Part::Token(text) => match tokenizer.token(text) {
            Some(token) => format!("<[{token}]>"),
            None => json!(&**text).to_string(),
        },
        Part::Json(text) => format!("%json {}", schema(text)?),
    })
}

/// Reads a schema, and says in it how it is compiled.
fn schema(text: &str) -> Result<Value> {
    let read = serde_json::from_str(text);
    let mut schema =
        match read.map_err(|e| Error::invalid("the schema is not JSON").with_source(e))? {
            Value::Bool(true) => Value::Object(Map::new()),
            schema @ Value::Object(_) => schema,
            other => {
                let message = format!("a schema is an object or `true`, this is `{other:.40}`");
                return Err(Error::invalid(message));
            }
        };
    let options = JsonCompileOptions {
        whitespace_pattern: Some(r" |\r?\n[ \t]{0,64}".to_owned()),
        ..JsonCompileOptions::default()
    };
    options.apply_to(&mut schema);
    Ok(schema)
}

/// Writes a regular expression that matches a text and nothing else.
fn literally(text: &str) -> String {
    let mut regex = String::with_capacity(text.len());
    for character in text.chars() {
        if r"\.+*?()|[]{}^$#&-~".contains(character) {
            regex.push('\\');
        }
        regex.push(character);
    }
    regex
}
