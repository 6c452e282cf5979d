//! Which part of a conversation's text the model says, message by message.

use std::ops::Range;

use openledger_core::{Error, Result};

use super::{Chat, ChatTemplate, Rendered};

impl ChatTemplate {
    /// Renders a conversation and finds what of the text each message of the model is: one span of
    /// bytes for each message of role `assistant`, with the token that ends it.
    ///
    /// Where the template has `{% generation %}` blocks, one for each message of the model, they
    /// say it. Otherwise a message begins where the prompt that
    /// [`prompt`](Self::prompt) makes of the messages before it ends, and ends behind the first
    /// token in `ends` (such as `<|im_end|>`), which is where the model would stop; without one,
    /// where the conversation rendered up to it ends.
    ///
    /// # Errors
    /// Those of [`render`](Self::render); [`ErrorKind::Invalid`](openledger_core::ErrorKind::Invalid)
    /// if the template writes a message otherwise once the conversation has gone on, so that
    /// nothing can be learned of how it begins or ends. Learning only the last message then helps,
    /// or a template with `{% generation %}` blocks.
    pub fn turns(
        &self,
        chat: &Chat,
        ends: &[&str],
        now: u64,
    ) -> Result<(Rendered, Vec<Range<usize>>)> {
        self.turns_from(chat, ends, now, 0)
    }

    /// As [`turns`](Self::turns), of the last message of the model alone.
    ///
    /// # Errors
    /// As [`turns`](Self::turns).
    pub fn last_turn(
        &self,
        chat: &Chat,
        ends: &[&str],
        now: u64,
    ) -> Result<(Rendered, Option<Range<usize>>)> {
        let last = chat.messages.iter().rposition(|message| message.role() == "assistant");
        let from = last.unwrap_or(chat.messages.len());
        let (rendered, mut turns) = self.turns_from(chat, ends, now, from)?;
        Ok((rendered, turns.pop()))
    }

    fn turns_from(
        &self,
        chat: &Chat,
        ends: &[&str],
        now: u64,
        from: usize,
    ) -> Result<(Rendered, Vec<Range<usize>>)> {
        let rendered = self.render(chat, now)?;
        let said: Vec<usize> = (0..chat.messages.len())
            .filter(|&index| chat.messages[index].role() == "assistant")
            .collect();
        if let Some(spans) = &rendered.generated
            && spans.len() == said.len()
        {
            let kept = said.iter().zip(spans).filter(|(index, _)| **index >= from);
            let spans = kept.map(|(_, span)| span.clone()).collect();
            return Ok((rendered, spans));
        }
        let text = &rendered.text;
        let mut turns = Vec::with_capacity(said.len());
        for (turn, &index) in said.iter().enumerate().filter(|(_, index)| **index >= from) {
            let differs = |what: &str| {
                Error::invalid(format!(
                    "message {} {what} otherwise once the conversation goes on: learn the last \
                     message only, or mark what is learned with generation blocks in the template",
                    index + 1
                ))
            };
            // Of messages of the model in a row the template may make one.
            let before = self.prompt(&chat.first(index), now)?;
            let begin = match text.starts_with(&before) {
                true => before.len(),
                false => return Err(differs("begins")),
            };
            let bound = match said.get(turn + 1) {
                Some(&next) => {
                    let until = self.prompt(&chat.first(next), now)?;
                    if text.starts_with(&until) { until.len().max(begin) } else { text.len() }
                }
                None => text.len(),
            };
            let stop = ends.iter().filter(|end| !end.is_empty()).filter_map(|end| {
                text[begin..bound].find(end).map(|place| begin + place + end.len())
            });
            let end = match stop.min() {
                Some(end) => end,
                None => {
                    let whole = self.render(&chat.first(index + 1), now)?.text;
                    match text.starts_with(&whole) && whole.len() >= begin {
                        true => whole.len(),
                        false => return Err(differs("ends")),
                    }
                }
            };
            turns.push(begin..end);
        }
        Ok((rendered, turns))
    }
}
