//! How a conversation becomes text: the Jinja template a checkpoint ships.
//!
//! ```text
//! messages, tools ─ render ─▶ text, and what of it the model says ─ tokens ─▶ Tokens
//! ```

mod environment;
mod generation;
mod message;
mod python;
mod turns;

use std::{fmt, ops::Range, path::Path};

use minijinja::Environment;
use openledger_core::{Error, ErrorKind, Result, file};
use serde::Deserialize;

pub use message::{Chat, Message};

use crate::{Json, Tokenizer, Tokens, gguf::Gguf, model::map};

const JINJA: &str = "chat_template.jinja";
const CONFIG: &str = "tokenizer_config.json";
/// The largest `tokenizer_config.json` read: 16 MiB, most of it tokens.
const MAX_CONFIG: u64 = 16 << 20;
/// The largest template: 1 MiB; the longest that checkpoints ship have 20 KiB.
const MAX_TEMPLATE: usize = 1 << 20;
/// The name of the template that is taken unless there are tools and one for these.
const DEFAULT: &str = "default";
const TOOL_USE: &str = "tool_use";

/// A chat template as checkpoints ship it, rendered as transformers renders it.
///
/// Templates are foreign programs: one of more than 1 MiB is refused, one that runs too long or
/// writes more than 64 MiB ends in an error.
///
/// # Deviations from transformers
/// - Integers beyond 64 bits become floats.
/// - `strftime_now` gives the time passed to [`render`](Self::render), in UTC.
/// - `{% generation %}` also counts inside macros and `{% set %}` blocks.
///
/// # Examples
/// ```
/// use openledger_model::{Chat, ChatTemplate, Message};
///
/// let source = "{% for m in messages %}<{{ m.role }}>{{ m.content | trim }}{{ eos_token }}\n{% endfor %}";
/// let template = ChatTemplate::new(source, br#"{"eos_token": "</s>"}"#)?;
/// let chat = Chat::new([Message::user(" Hello! ")]);
/// assert_eq!(template.render(&chat, 0)?.text, "<user>Hello!</s>\n");
/// # Ok::<(), openledger_core::Error>(())
/// ```
#[derive(Clone)]
pub struct ChatTemplate {
    /// As they were given, by name.
    sources: Vec<(String, String)>,
    /// `bos_token`, `eos_token` and the like.
    special: Vec<(String, String)>,
    environment: Environment<'static>,
}

impl ChatTemplate {
    /// Reads a `tokenizer_config.json`: the template and the special tokens it writes.
    ///
    /// `chat_template` is one template or a list of named ones, of which `default` is taken, or
    /// `tool_use` where there are tools. Tokens are strings or objects with `content`.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`] if it is not such JSON; [`ErrorKind::NotFound`] without a template;
    /// those of [`new`](Self::new).
    pub fn parse(config: &[u8]) -> Result<Self> {
        let config = Config::parse(config)?;
        let sources = match &config.chat_template {
            Some(Named::One(source)) => vec![(DEFAULT.to_owned(), source.clone())],
            Some(Named::Several(named)) => {
                named.iter().map(|one| (one.name.clone(), one.template.clone())).collect()
            }
            None => {
                let message = format!("`{CONFIG}` has no `chat_template`");
                return Err(Error::new(ErrorKind::NotFound, message));
            }
        };
        Self::build(sources, config.special())
    }

    /// Takes the text of a template, and the special tokens of a `tokenizer_config.json` (which may
    /// be `{}`).
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`] if `config` is not such JSON; [`ErrorKind::Limit`] for a template of
    /// more than 1 MiB; [`ErrorKind::Invalid`] naming the line if it is not a template.
    pub fn new(source: &str, config: &[u8]) -> Result<Self> {
        let special = Config::parse(config)?.special();
        Self::build(vec![(DEFAULT.to_owned(), source.to_owned())], special)
    }

    /// Reads the template of a checkpoint's folder: `chat_template.jinja`, or else what
    /// `tokenizer_config.json` holds; or that of a GGUF file.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] if there is none; those of [`parse`](Self::parse), of [`Gguf::parse`] and
    /// of reading, naming the file.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let folder = path.as_ref();
        let named = |e: Error| {
            let message = format!("no chat template from `{}`", folder.display());
            Error::new(e.kind(), message).with_source(e)
        };
        if folder.is_file() {
            let file = map(folder)?;
            return Gguf::parse(&file).and_then(|file| Self::of_gguf(&file)).map_err(named);
        }
        let config = match folder.join(CONFIG) {
            path if path.exists() => file::read(path, MAX_CONFIG)?,
            _ => b"{}".to_vec(),
        };
        let jinja = folder.join(JINJA);
        if !jinja.exists() {
            return Self::parse(&config).map_err(named);
        }
        let source = file::read(jinja, MAX_TEMPLATE as u64)?;
        let source = String::from_utf8(source)
            .map_err(|e| named(Error::corrupt(format!("`{JINJA}` is not UTF-8")).with_source(e)))?;
        Self::new(&source, &config).map_err(named)
    }

    /// Reads the template of a GGUF file and the tokens that begin and end a text.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] without a template; those of [`new`](Self::new).
    pub fn of_gguf(file: &Gguf<'_>) -> Result<Self> {
        let source = file.chat_template().ok_or_else(|| {
            Error::new(ErrorKind::NotFound, "the file has no `tokenizer.chat_template`")
        })?;
        let mut special = serde_json::Map::new();
        for name in ["bos", "eos"] {
            let token = file.special_token(name);
            special.extend(token.map(|token| (format!("{name}_token"), token.into())));
        }
        Self::new(source, serde_json::Value::Object(special).to_string().as_bytes())
    }

    fn build(sources: Vec<(String, String)>, special: Vec<(String, String)>) -> Result<Self> {
        let environment = environment::compile(&sources)?;
        Ok(Self { sources, special, environment })
    }

    /// Returns all that decides what is rendered, as one list of texts: names, templates, tokens.
    pub fn parts(&self) -> impl Iterator<Item = &str> {
        let named = self.sources.iter().chain(&self.special);
        named.flat_map(|(name, text)| [name.as_str(), text.as_str()])
    }

    /// Returns the special token of that name, such as `eos_token`.
    pub fn special(&self, name: &str) -> Option<&str> {
        self.special.iter().find(|(found, _)| found == name).map(|(_, token)| token.as_str())
    }

    /// Returns the text of the template `chat` is rendered with.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] if there are templates, none of them `default`.
    pub fn source(&self, chat: &Chat) -> Result<&str> {
        let named = |name: &str| self.sources.iter().find(|(found, _)| found == name);
        let tools = named(TOOL_USE).filter(|_| !chat.tools.is_empty());
        tools.or_else(|| named(DEFAULT)).map(|(_, source)| source.as_str()).ok_or_else(|| {
            let names: Vec<&str> = self.sources.iter().map(|(name, _)| name.as_str()).collect();
            let message = format!("no template `{DEFAULT}` among {}", names.join(", "));
            Error::new(ErrorKind::NotFound, message)
        })
    }

    /// Renders a conversation to its end; `now`, in seconds since 1970, is the time that templates
    /// may write.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] with what the template says against the conversation, or if it fails;
    /// [`ErrorKind::Limit`] if it runs too long or writes too much.
    pub fn render(&self, chat: &Chat, now: u64) -> Result<Rendered> {
        self.run(chat, now, false)
    }

    /// Renders a conversation and what begins the model's next message.
    ///
    /// # Errors
    /// As [`render`](Self::render).
    pub fn prompt(&self, chat: &Chat, now: u64) -> Result<String> {
        self.run(chat, now, true).map(|rendered| rendered.text)
    }
}

impl fmt::Debug for ChatTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.sources.iter().map(|(name, _)| name.as_str()).collect();
        f.debug_struct("ChatTemplate").field("names", &names).finish_non_exhaustive()
    }
}

/// A conversation as text.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Rendered {
    /// The text, special tokens spelled out.
    pub text: String,
    /// The bytes of it that the model says, where the template marks them with
    /// `{% generation %}` blocks.
    pub generated: Option<Vec<Range<usize>>>,
}

impl Rendered {
    /// Returns the tokens of the text, those of `learn` (bytes of the text) to be learned.
    ///
    /// Special tokens in the text become themselves and none is added: the template has written
    /// the one that begins a text. As in transformers a token is learned with every span it has a
    /// part in.
    ///
    /// # Errors
    /// As [`Tokenizer::encode`].
    pub fn tokens(&self, tokenizer: &Tokenizer, learn: &[Range<usize>]) -> Result<Tokens> {
        let (tokens, places) = tokenizer.encode_places(&self.text)?;
        let mut mask = vec![false; tokens.len()];
        for span in learn.iter().filter(|span| !span.is_empty()) {
            let within = |place: &Range<usize>| place.start < span.end && span.start < place.end;
            let first = places.iter().position(within);
            let last = places.iter().rposition(within);
            if let (Some(first), Some(last)) = (first, last) {
                mask[first..=last].fill(true);
            }
        }
        Tokens::masked(tokens, mask)
    }
}

/// What of a `tokenizer_config.json` matters here.
#[derive(Deserialize)]
struct Config {
    #[serde(default)]
    chat_template: Option<Named>,
    #[serde(flatten)]
    others: std::collections::BTreeMap<String, Json>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Named {
    One(String),
    Several(Vec<One>),
}

#[derive(Deserialize)]
struct One {
    name: String,
    template: String,
}

impl Config {
    fn parse(config: &[u8]) -> Result<Self> {
        serde_json::from_slice(config)
            .map_err(|e| Error::corrupt(format!("cannot use `{CONFIG}`")).with_source(e))
    }

    /// The tokens a template may write, such as `bos_token`.
    fn special(&self) -> Vec<(String, String)> {
        let tokens = self.others.iter().filter(|(name, _)| name.ends_with("_token"));
        let spelled = tokens.filter_map(|(name, token)| {
            let token = token.get("content").unwrap_or(token).as_str()?;
            Some((name.clone(), token.to_owned()))
        });
        spelled.collect()
    }
}
