//! Prompts in tokens, and where rows that are found for them would go.

use openledger_model::{Chat, ChatTemplate};
use openledger_serve::Question;

use super::too_long;
use crate::{
    desk::Desk,
    error::Failure,
    wire::{GROUND, Ground, Prompt},
};

/// A character for private use.
const MARK: char = '\u{e000}';

/// A prompt, and what rows are put into it for.
#[derive(Debug)]
pub(crate) struct Prompted {
    /// With whatever begins a text.
    pub(crate) tokens: Vec<u32>,
    pub(crate) question: Option<Question>,
}

impl Prompted {
    /// Reads what is to be gone on from; rows go before all of it.
    pub(crate) fn text(
        desk: &Desk,
        prompt: Prompt,
        ground: Option<&Ground>,
    ) -> Result<Self, Failure> {
        let tokenizer = desk.subject.model.tokenizer();
        let tokens = tokens(desk, prompt, "prompt")?;
        let Some(ground) = ground else { return Ok(Self { tokens, question: None }) };
        let begins = tokenizer.encode("", true)?;
        let at = begins.iter().zip(&tokens).take_while(|(a, b)| a == b).count();
        let words = match ground {
            Ground::Words(words) => words.clone(),
            Ground::Asked => tokenizer.decode(&tokens[at..])?,
        };
        Ok(Self { tokens, question: Some(Question::new(words, at)) })
    }

    /// Reads a conversation as its template wrote it; rows go before the user's last message.
    pub(crate) fn chat(
        desk: &Desk,
        template: &ChatTemplate,
        chat: &Chat,
        ground: Option<&Ground>,
    ) -> Result<Self, Failure> {
        let tokenizer = desk.subject.model.tokenizer();
        let now = desk.now();
        let render = |chat: &Chat| {
            template.prompt(chat, now).map_err(|e| Failure::from(e).with_param("messages"))
        };
        let text = render(chat)?;
        check(desk, &text, "messages")?;
        // The template has written what begins a text.
        let Some(ground) = ground else {
            return Ok(Self { tokens: tokenizer.encode(&text, false)?, question: None });
        };
        let wrong = |says: &str| Failure::field(GROUND, format!("`{GROUND}` {says}"));
        let last = chat.messages.iter().rposition(|message| message.role() == "user");
        let asked = last.and_then(|last| Some((last, chat.messages[last].content()?)));
        let (last, asked) = asked
            .filter(|(_, asked)| !asked.trim().is_empty())
            .ok_or_else(|| wrong("finds no message of the user's to put rows before"))?;
        // The same words may stand elsewhere, in the template's own text even: a mark stands in one place.
        let mut mark = MARK.to_string();
        while text.contains(&mark) {
            mark.push(MARK);
        }
        let mut marked = chat.clone();
        marked.messages[last] = chat.messages[last].clone().with("content", mark.clone() + asked);
        let marked = render(&marked)?;
        let place = marked.find(&mark).filter(|&place| text.starts_with(&marked[..place]));
        let place = place.ok_or_else(|| wrong("does not know where the message stands"))?;
        let (tokens, places) = tokenizer.encode_places(&text)?;
        let at = places.iter().position(|token| token.end > place).unwrap_or(tokens.len());
        let words = match ground {
            Ground::Words(words) => words,
            Ground::Asked => asked,
        };
        Ok(Self { tokens, question: Some(Question::new(words, at)) })
    }
}

/// Refuses a text that the model surely cannot hold, before all of it is encoded: that would take hundreds of
/// times its memory.
fn check(desk: &Desk, text: &str, field: &str) -> Result<(), Failure> {
    let model = &desk.subject.model;
    let holds = model.network().decoder().max_positions();
    match model.tokenizer().surely_exceeds(text, holds) {
        true => Err(too_long(field, &format!("more than {holds}"), holds)),
        false => Ok(()),
    }
}

/// Turns the prompt of a field into tokens, with what begins a text.
pub(crate) fn tokens(desk: &Desk, prompt: Prompt, field: &str) -> Result<Vec<u32>, Failure> {
    let model = &desk.subject.model;
    let tokens = match prompt {
        Prompt::Text(text) => {
            check(desk, &text, field)?;
            model.tokenizer().encode(&text, true)?
        }
        Prompt::Tokens(tokens) => {
            model.network().check_tokens(&tokens)?;
            tokens
        }
    };
    let holds = model.network().decoder().max_positions();
    match tokens.len() {
        0 => Err(Failure::field(field, format!("`{field}` has no tokens"))),
        count if count > holds => Err(too_long(field, &count.to_string(), holds)),
        _ => Ok(tokens),
    }
}
