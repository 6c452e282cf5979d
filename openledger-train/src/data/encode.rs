//! Examples to tokens.

use openledger_core::{B256, Error, ErrorKind, Result, digest};
use openledger_model::{Chat, ChatTemplate, Json, Message, Model, Template, Tokenizer, Tokens};
use serde::{Deserialize, Serialize};

use super::Example;
use crate::Pair;

/// What of a row is learned.
///
/// Plain text is learned whole, and of an exchange the completion, with each of these but
/// [`Everything`](Self::Everything); they differ for conversations.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum LossMask {
    /// All that follows the first prompt, later questions too.
    Prompt,
    /// What the model says, in every turn, with the token that ends it.
    #[default]
    AssistantOnly,
    /// The model's last message.
    LastTurn,
    /// The model's messages but those whose field of this name is `false` or 0; `OpenAI` calls it
    /// `weight`.
    PerTurn(String),
    /// Every token.
    Everything,
}

/// Turns examples into tokens.
///
/// # Examples
/// ```
/// use openledger_model::{Template, testing};
/// use openledger_train::data::{Encode, Example};
///
/// let model = testing::tiny(1)?;
/// let template = Template::new("", "?");
/// let encode = Encode::plain(&model, &template, 8);
/// let row = Example::Exchange { prompt: "Why".into(), completion: "Because so".into() };
/// let encoded = encode.tokens(&row)?;
/// assert_eq!((encoded.tokens.tokens.len(), encoded.whole), (8, 16));
/// # Ok::<(), openledger_core::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Encode<'a> {
    tokenizer: &'a Tokenizer,
    form: Form<'a>,
    mask: LossMask,
    /// The longest row in tokens.
    limit: usize,
    /// What ends a text of the model: the first is written behind plain completions.
    ends: Vec<u32>,
    /// The time that templates write, in seconds since 1970.
    now: u64,
}

#[derive(Clone, Copy, Debug)]
enum Form<'a> {
    Plain(&'a Template),
    Chat(&'a ChatTemplate),
}

/// A row in tokens.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Encoded {
    /// The tokens, at most as many as allowed.
    pub tokens: Tokens,
    /// How many they were before the rest was cut.
    pub whole: usize,
}

impl<'a> Encode<'a> {
    /// Writes exchanges and texts between the words of `template`; rows of more than `limit` tokens
    /// are cut as [`Template::exchange`] does.
    pub fn plain(model: &'a Model, template: &'a Template, limit: usize) -> Self {
        Self::new(model, Form::Plain(template), limit)
    }

    /// Writes conversations and exchanges as `template` does; of rows of more than `limit` tokens the
    /// end is cut.
    pub fn chat(model: &'a Model, template: &'a ChatTemplate, limit: usize) -> Self {
        Self::new(model, Form::Chat(template), limit)
    }

    fn new(model: &'a Model, form: Form<'a>, limit: usize) -> Self {
        let tokenizer = model.tokenizer();
        let mut ends = model.network().decoder().eos().to_vec();
        if let Form::Chat(template) = form {
            let token = template.special("eos_token").and_then(|token| tokenizer.token(token));
            ends.extend(token.filter(|token| !ends.contains(token)));
        }
        Self { tokenizer, form, mask: LossMask::default(), limit, ends, now: 0 }
    }

    /// Returns this with another part of conversations to learn.
    #[must_use]
    pub fn with_mask(mut self, mask: LossMask) -> Self {
        self.mask = mask;
        self
    }

    /// Returns this with another time that templates write, in seconds since 1970.
    #[must_use]
    pub const fn with_now(mut self, now: u64) -> Self {
        self.now = now;
        self
    }

    /// Returns the tokens that end what the model says.
    pub fn ends(&self) -> &[u32] {
        &self.ends
    }

    /// Returns the tokens of a text, an exchange or a conversation.
    ///
    /// # Errors
    /// Those of the tokenizer and the template; [`ErrorKind::Invalid`] for a pair or a judged answer,
    /// which are more than one row's tokens, and for a conversation in which the model says nothing;
    /// [`ErrorKind::Unsupported`] for a conversation without a chat template.
    pub fn tokens(&self, example: &Example) -> Result<Encoded> {
        self.masked(example, &self.mask)
    }

    fn masked(&self, example: &Example, mask: &LossMask) -> Result<Encoded> {
        match (example, self.form) {
            (Example::Text(text), _) => self.text(text),
            (Example::Exchange { prompt, completion }, Form::Plain(template)) => {
                self.exchange(template, [prompt, completion], mask)
            }
            (Example::Exchange { prompt, completion }, Form::Chat(template)) => {
                let said = [Message::user(prompt), Message::assistant(completion)];
                self.conversation(template, &Chat::new(said), mask)
            }
            (Example::Chat(chat), Form::Chat(template)) => self.conversation(template, chat, mask),
            (Example::Chat(chat), Form::Plain(template)) => match &chat.messages[..] {
                [user, answer]
                    if (user.role(), answer.role()) == ("user", "assistant")
                        && chat.tools.is_empty() =>
                {
                    let said = [user, answer].map(|message| message.content().unwrap_or_default());
                    self.exchange(template, said, mask)
                }
                _ => {
                    let message = "a conversation needs a chat template: give the model's, or one \
                                   of a model that is asked the same way";
                    Err(Error::new(ErrorKind::Unsupported, message))
                }
            },
            (Example::Pair { .. } | Example::Judged { .. }, _) => Err(Error::invalid(
                "a pair or a judged answer where a row to imitate should be: choose a preference \
                 objective, or other columns",
            )),
        }
    }

    /// Returns the tokens of both answers of a pair; of each only the answer is learned.
    ///
    /// # Errors
    /// As [`tokens`](Self::tokens); [`ErrorKind::Invalid`] for anything but a pair.
    pub fn pair(&self, example: &Example) -> Result<Pair> {
        let Example::Pair { chosen, rejected } = example else {
            return Err(Error::invalid("a row without two answers where a pair should be"));
        };
        let [chosen, rejected] =
            [chosen, rejected].map(|answer| self.masked(answer, &LossMask::LastTurn));
        Ok(Pair { chosen: chosen?.tokens, rejected: rejected?.tokens })
    }

    /// Returns the tokens of a judged answer, of which only the answer is learned, and whether it is
    /// good.
    ///
    /// # Errors
    /// As [`tokens`](Self::tokens); [`ErrorKind::Invalid`] for anything but a judged answer.
    pub fn judged(&self, example: &Example) -> Result<(Tokens, bool)> {
        let Example::Judged { answer, good } = example else {
            return Err(Error::invalid("a row without a label where a judged answer should be"));
        };
        Ok((self.masked(answer, &LossMask::LastTurn)?.tokens, *good))
    }

    /// Returns the digest of all that decides which tokens an example becomes: tokenizer, template,
    /// mask, limit and time.
    pub fn digest(&self) -> B256 {
        let form = match self.form {
            Form::Plain(template) => vec![template.before.clone(), template.between.clone()],
            Form::Chat(template) => template.parts().map(str::to_owned).collect(),
        };
        let mask = format!("{:?}", self.mask);
        let settings = (form, mask, self.limit as u64, self.ends.clone(), self.now);
        digest("openledger.encoding.v1", &(self.tokenizer.to_json(), settings))
    }

    fn text(&self, text: &str) -> Result<Encoded> {
        let mut tokens = self.tokenizer.encode(text, true)?;
        tokens.extend(self.ends.first());
        // The first token is never a label, so what begins a text is not learned.
        Ok(self.cut(Tokens::from_parts(tokens, 0)))
    }

    fn exchange(&self, template: &Template, said: [&str; 2], mask: &LossMask) -> Result<Encoded> {
        let eos = self.ends.first().copied();
        let mut tokens = template.exchange(self.tokenizer, said, eos, usize::MAX)?;
        let whole = tokens.tokens.len();
        if whole > self.limit {
            tokens = template.exchange(self.tokenizer, said, eos, self.limit)?;
        }
        if *mask == LossMask::Everything {
            tokens.learn.fill(true);
        }
        Ok(Encoded { tokens, whole })
    }

    fn conversation(
        &self,
        template: &ChatTemplate,
        chat: &Chat,
        mask: &LossMask,
    ) -> Result<Encoded> {
        let said = |message: &&Message| message.role() == "assistant";
        if *mask != LossMask::Everything && !chat.messages.iter().any(|message| said(&message)) {
            return Err(Error::invalid("a conversation in which the assistant says nothing"));
        }
        let ends: Result<Vec<String>> =
            self.ends.iter().map(|&end| self.tokenizer.spell(&[end])).collect();
        let ends = ends?;
        let ends: Vec<&str> = ends.iter().map(String::as_str).collect();
        let (rendered, spans) = match mask {
            LossMask::Everything => {
                let rendered = template.render(chat, self.now)?;
                let all = 0..rendered.text.len();
                (rendered, vec![all])
            }
            LossMask::LastTurn => {
                let (rendered, turn) = template.last_turn(chat, &ends, self.now)?;
                (rendered, Vec::from_iter(turn))
            }
            LossMask::AssistantOnly => {
                // Blocks in the template say it, however many a message has.
                let mut rendered = template.render(chat, self.now)?;
                match rendered.generated.take().filter(|spans| !spans.is_empty()) {
                    Some(spans) => (rendered, spans),
                    None => template.turns(chat, &ends, self.now)?,
                }
            }
            LossMask::Prompt => {
                let (rendered, turns) = template.turns(chat, &ends, self.now)?;
                let begin = turns.first().map_or(rendered.text.len(), |turn| turn.start);
                let rest = begin..rendered.text.len();
                (rendered, vec![rest])
            }
            LossMask::PerTurn(field) => {
                let (rendered, turns) = template.turns(chat, &ends, self.now)?;
                let learned =
                    chat.messages.iter().filter(said).map(|message| weight(message, field));
                let turns = turns.into_iter().zip(learned);
                (rendered, turns.filter(|(_, learned)| *learned).map(|(turn, _)| turn).collect())
            }
        };
        Ok(self.cut(rendered.tokens(self.tokenizer, &spans)?))
    }

    fn cut(&self, mut tokens: Tokens) -> Encoded {
        let whole = tokens.tokens.len();
        tokens.truncate(self.limit);
        Encoded { tokens, whole }
    }
}

/// Whether a message's field lets it be learned; without the field it is.
fn weight(message: &Message, field: &str) -> bool {
    match message.get(field) {
        Some(Json::Bool(learned)) => *learned,
        Some(Json::Number(weight)) => weight.as_f64() != Some(0.0),
        _ => true,
    }
}
