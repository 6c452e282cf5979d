//! Answers as they come: server-sent events.

use std::{collections::VecDeque, sync::Arc};

use bytes::Bytes;
use futures::{
    StreamExt,
    stream::{BoxStream, SelectAll, select_all, unfold},
};
use serde_json::{Value, json};

use crate::{
    Body,
    answer::{Choice, Piece, Shape, Usage, with_told},
    desk::Desk,
    error::Failure,
};

/// What every chunk says of the answer.
#[derive(Debug)]
pub(crate) struct Head {
    pub(crate) id: String,
    pub(crate) created: u64,
    pub(crate) model: String,
    pub(crate) shape: Shape,
    pub(crate) fingerprint: String,
}

impl Head {
    pub(crate) fn to_json(&self, part: bool, choices: &[Value]) -> Value {
        json!({
            "id": self.id, "object": self.shape.object(part), "created": self.created,
            "model": self.model, "system_fingerprint": self.fingerprint, "choices": choices,
        })
    }
}

/// Writes answers as events, those of several choices as they come. Nothing is read ahead: a piece is
/// taken when the client takes the one before.
pub(crate) fn stream(
    desk: &Arc<Desk>,
    head: Head,
    choices: Vec<Choice>,
    logprobs: bool,
    include_usage: bool,
) -> Body {
    let begins = choices.iter().filter_map(|choice| head.shape.begin(choice.index)).collect();
    let offsets = vec![0; choices.len()];
    let pieces = select_all(choices.into_iter().map(pieces));
    let mut writer = Writer {
        desk: Arc::clone(desk),
        head,
        pieces,
        offsets,
        logprobs,
        usage: Usage::default(),
        include_usage,
        ready: VecDeque::new(),
        over: false,
    };
    let begins: Vec<Value> = begins;
    for begin in begins {
        writer.chunk(begin);
    }
    Body::stream(unfold(writer, async |mut writer| Some((writer.next().await?, writer))))
}

type Pieces = BoxStream<'static, (usize, Result<Piece, Failure>)>;

fn pieces(choice: Choice) -> Pieces {
    let index = choice.index;
    let pieces = unfold(Some(choice), async |choice| {
        let mut choice = choice?;
        match choice.next().await {
            Ok(piece) => Some((Ok(piece?), Some(choice))),
            Err(failure) => Some((Err(failure), None)),
        }
    });
    pieces.map(move |piece| (index, piece)).boxed()
}

struct Writer {
    desk: Arc<Desk>,
    head: Head,
    pieces: SelectAll<Pieces>,
    /// Letters written, by choice.
    offsets: Vec<usize>,
    logprobs: bool,
    usage: Usage,
    include_usage: bool,
    ready: VecDeque<Bytes>,
    over: bool,
}

impl Writer {
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if let Some(bytes) = self.ready.pop_front() {
                return Some(bytes);
            }
            if self.over {
                return None;
            }
            match self.pieces.next().await {
                Some((index, Ok(piece))) => self.piece(index, &piece),
                Some((_, Err(failure))) => {
                    // The others end with it.
                    self.pieces = SelectAll::new();
                    self.over = true;
                    self.event(&failure.to_json());
                }
                None => {
                    self.over = true;
                    if self.include_usage {
                        let mut chunk = self.head.to_json(true, &[]);
                        chunk["usage"] = self.usage.to_json();
                        self.event(&chunk);
                    }
                    self.ready.push_back(Bytes::from_static(b"data: [DONE]\n\n"));
                }
            }
        }
    }

    fn piece(&mut self, index: usize, piece: &Piece) {
        let shape = self.head.shape;
        let tells = self.logprobs && !piece.tokens.is_empty();
        if !piece.text.is_empty() || !piece.calls.is_empty() || tells {
            let logprobs = tells.then(|| shape.logprobs(&piece.tokens, &mut self.offsets[index]));
            let ids = Arc::clone(&self.desk.ids);
            self.chunk(shape.part(index, &piece.text, &piece.calls, logprobs.as_ref(), &ids));
        }
        if let Some(end) = &piece.end {
            self.usage.add(end.usage);
            self.chunk(with_told(shape.end(index, end.finish), end.told.as_ref()));
        }
    }

    fn chunk(&mut self, choice: Value) {
        let mut chunk = self.head.to_json(true, &[choice]);
        if self.include_usage {
            chunk["usage"] = Value::Null;
        }
        self.event(&chunk);
    }

    fn event(&mut self, json: &Value) {
        self.ready.push_back(format!("data: {json}\n\n").into());
    }
}
