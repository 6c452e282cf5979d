//! Constraints to automata, which are kept for the next request.

use std::{
    collections::VecDeque,
    fmt,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    time::Duration,
};

use llguidance::{JsonCompileOptions, Matcher, ParserFactory, api::TopLevelGrammar};
use openledger_core::{Error, ErrorKind, Result};
use openledger_model::{Model, Tokenizer};
use serde_json::{Map, Value, json};

use super::{Grammar, patience::Patience, vocabulary};
use crate::{Constraint, Part, flights::Flights, sampling::constraint::Form};

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
    compiled: Mutex<Compiled>,
}

/// What is there, and what is under way.
struct Compiled {
    /// The latest used at the back.
    kept: VecDeque<(Constraint, Arc<Matcher>)>,
    /// Each tenant's own: nobody waits for the turn of another.
    flights: Flights<(Option<Arc<str>>, Constraint), Arc<Matcher>>,
}

/// How long one constraint may take to compile.
const PATIENCE: Duration = Duration::from_secs(10);
/// How many are compiled at a time.
const PLACES: usize = 4;
/// How many automata are kept.
const KEPT: usize = 64;

impl Grammars {
    pub(crate) fn new(model: Arc<Model>) -> Self {
        let compiled = Compiled { kept: VecDeque::new(), flights: Flights::new() };
        let (factory, compiled) = (OnceLock::new(), Mutex::new(compiled));
        let shared = Arc::new(Shared { model, factory, compiled });
        Self { shared, patience: Patience::new(PATIENCE, PLACES) }
    }

    /// Returns an automaton for one answer. Waits for other threads, never works on this one; many who ask
    /// for the same wait for one.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] if the constraint cannot be read, nothing fits it or it is too large;
    /// [`ErrorKind::Unsupported`] if the model's tokens cannot be constrained; [`ErrorKind::Limit`] if it
    /// takes too long, or too many of the tenant wait already, which is worth trying again.
    pub(crate) async fn compile(
        &self,
        tenant: Option<Arc<str>>,
        constraint: Constraint,
    ) -> Result<Grammar> {
        let flight = {
            let mut compiled = self.shared.lock();
            if let Some(matcher) = compiled.kept(&constraint) {
                return Ok(Grammar::new(matcher));
            }
            let key = (tenant.clone(), constraint.clone());
            match compiled.flights.join(&key) {
                Some(flight) => flight,
                None => compiled.flights.begin(key, self.clone().work(tenant, constraint)),
            }
        };
        Ok(Grammar::new(flight.land().await?))
    }

    async fn work(self, tenant: Option<Arc<str>>, constraint: Constraint) -> Result<Arc<Matcher>> {
        let (prepared, shared) = (Arc::clone(&self.shared), self.shared);
        let prepare = move || {
            prepared.factory();
        };
        self.patience.run(tenant, prepare, move || shared.compile(constraint)).await?
    }
}

impl Shared {
    fn factory(&self) -> &Result<ParserFactory, String> {
        self.factory.get_or_init(|| vocabulary::factory(&self.model).map_err(|e| e.report()))
    }

    fn lock(&self) -> MutexGuard<'_, Compiled> {
        // At worst something is compiled once more.
        self.compiled.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn compile(&self, constraint: Constraint) -> Result<Arc<Matcher>> {
        // Another tenant may have asked for the same in the meantime.
        if let Some(matcher) = self.lock().kept(&constraint) {
            return Ok(matcher);
        }
        let factory =
            self.factory().as_ref().map_err(|e| Error::new(ErrorKind::Unsupported, e.as_str()))?;
        let bad = |e: String| Error::invalid("a constraint that cannot be followed").with_source(e);
        let parser = factory.create_parser(grammar(&constraint.0, self.model.tokenizer())?);
        let mut matcher = Matcher::new(Ok(parser.map_err(|e| bad(e.to_string()))?));
        // What allows no first token allows no answer.
        matcher.compute_mask().map_err(|e| {
            Error::invalid("nothing fits the constraint").with_source(e.to_string())
        })?;
        Ok(self.lock().keep(constraint, matcher))
    }
}

impl Compiled {
    fn kept(&mut self, constraint: &Constraint) -> Option<Arc<Matcher>> {
        let place = self.kept.iter().position(|(kept, _)| kept == constraint)?;
        let entry = self.kept.remove(place)?;
        let matcher = Arc::clone(&entry.1);
        self.kept.push_back(entry);
        Some(matcher)
    }

    fn keep(&mut self, constraint: Constraint, matcher: Matcher) -> Arc<Matcher> {
        // Two tenants at once may have made the same.
        if let Some(matcher) = self.kept(&constraint) {
            return matcher;
        }
        if self.kept.len() >= KEPT {
            self.kept.pop_front();
        }
        let matcher = Arc::new(matcher);
        self.kept.push_back((constraint, Arc::clone(&matcher)));
        matcher
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

#[cfg(test)]
mod tests {
    use futures::future::try_join_all;
    use openledger_model::testing;

    use super::*;

    #[tokio::test]
    async fn many_who_ask_together_get_what_is_compiled_once_and_different_ones_wait_in_turn() {
        let grammars = Grammars::new(Arc::new(testing::tiny(1).unwrap()));
        let regex = |n: usize| Constraint::regex(format!("a{{{n}}}")).unwrap();
        let same = (1..9).map(|_| grammars.compile(None, regex(1)));
        let first = try_join_all(same).await.unwrap();
        assert!(first.windows(2).all(|two| two[0].begins_as(&two[1])));
        let different = (1..=4 * PLACES).map(|n| grammars.compile(None, regex(n)));
        try_join_all(different).await.unwrap();
        let tenants = (0..9).map(|n| grammars.compile(Some(format!("{n}").into()), regex(99)));
        try_join_all(tenants).await.unwrap();
        assert_eq!(grammars.shared.lock().kept.len(), 4 * PLACES + 1);
    }

    /// Its automaton remembers where in the last 200 letters an `a` or a `b` was.
    #[tokio::test]
    async fn what_takes_too_much_to_follow_is_a_limit() {
        let model = Arc::new(testing::tiny(1).unwrap());
        let letters = ["a", "b", "c", "d"].map(|letter| model.tokenizer().token(letter).unwrap());
        let constraint = Constraint::regex(".*[ab].{200}.*[cd].{200}e").unwrap();
        let grammar = Grammars::new(model).compile(None, constraint).await;
        let mut grammar = grammar.unwrap();
        let mut followed = (0..5000u64).map(|n| {
            grammar.allowed()?;
            // In no order that comes again.
            grammar.push(letters[((n * n).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 62) as usize])
        });
        let error = followed.find_map(Result::err).unwrap();
        assert_eq!(error.kind(), ErrorKind::Limit, "{}", error.report());
    }
}
