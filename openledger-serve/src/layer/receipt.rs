//! The node's signed word for each answer.

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use futures::{StreamExt, channel::oneshot, stream};
use openledger_core::{
    Address, Amount, B256, DatanetVersion, Error, ErrorKind, Key, Receipt, Result, Shares, U256,
    message::{Domain, Signed},
};
use openledger_model::Model;
use tower::Layer;

use super::{
    Answer, Around, Asked, Next, Policy, QueueOptions, QueueStats,
    attribute::{Queue, Record},
};
use crate::{End, Event, Generate, TokenStream};

/// What a receipt says beside what the answer itself does: the application's part.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(
    clippy::exhaustive_structs,
    reason = "with the answer it makes up a receipt, which is fixed"
)]
pub struct Terms {
    /// The Datanet versions the adapter was trained on.
    pub datanets: Vec<DatanetVersion>,
    /// The attribution method with its parameters.
    pub method: String,
    /// Whose rows it came from.
    pub shares: Shares,
    /// What the payer owes.
    pub fee: Amount,
    /// Who pays.
    pub payer: Address,
    /// Never used before by this node, not even before a restart.
    pub nonce: U256,
    /// The last second (Unix time) at which the receipt may be settled.
    pub deadline: u64,
    /// The [hash](Receipt::text_hash) of the prompt as whoever asked knows it; that of all tokens read,
    /// special ones spelled out, if there is none.
    pub prompt: Option<B256>,
}

/// Makes a [`Receipt`] for each answer, after it is over, and signs it with the node's key.
///
/// # Contract
/// - Every answer of which a token was handed out has one result, a receipt or an error, and the sink
///   sees it: abandoned and failed answers, too, for what was handed out. Only what a full queue
///   [hands to another](crate::Overflow::HandTo) has none, and the sink does not see it.
/// - An answer without a token has no receipt, and just ends.
/// - The receipt names the adapter that answered by content, and hashes all text that was handed out.
/// - A request that [asks for it](Generate::receipt) gets the receipt as [`Event::Receipt`], before the
///   end: its tokens come as fast as ever, and the end, with text held back until then, waits for the attribution.
///   If that fails, the stream ends with its error, in place of the end.
/// - The stream of any other request is not delayed.
///
/// Inside layers that change the prompt or choose the adapter; beside
/// [`PayLayer`](crate::PayLayer) with the same price, the fee is what was charged.
///
/// # Errors
/// [`ErrorKind::Invalid`] for a request without an adapter, which a receipt cannot be about; with
/// [`Overflow::Refuse`](crate::Overflow::Refuse) a retryable [`ErrorKind::Limit`] while the queue is full.
pub struct ReceiptLayer {
    queue: Queue<Signed<Receipt>>,
    in_answers: Arc<dyn Fn(&Generate) -> bool + Send + Sync>,
}

impl ReceiptLayer {
    /// Starts a thread that asks `terms` for one answer after another, signs, and shows `sink` each
    /// result. The attribution is done in `terms`.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`] if the system gives no thread.
    pub fn start(
        model: Arc<Model>,
        key: Key,
        domain: Domain,
        mut terms: impl FnMut(&Answer) -> Result<Terms> + Send + 'static,
        sink: impl FnMut(&Answer, &Result<Signed<Receipt>>) + Send + 'static,
        options: QueueOptions,
    ) -> Result<Self> {
        let sign = move |answer: &Answer| {
            let receipt = receipt(&model, key.address(), answer, terms(answer)?)?;
            Ok(Signed::sign(receipt, domain, &key))
        };
        let queue = Queue::start(sign, sink, options)?;
        Ok(Self { queue, in_answers: Arc::new(|request| request.receipt) })
    }

    /// Returns this with receipts in the answers to those requests, whatever they ask for.
    #[must_use]
    pub fn in_answers(self, asks: impl Fn(&Generate) -> bool + Send + Sync + 'static) -> Self {
        Self { in_answers: Arc::new(asks), ..self }
    }

    /// Waits until all answers that are over now have their receipts and the sink has them.
    ///
    /// Do so before the process ends: what is in the queue then is lost.
    pub async fn flush(&self) {
        self.queue.flush().await;
    }

    /// Counts what became of answers.
    pub fn stats(&self) -> QueueStats {
        self.queue.stats()
    }
}

fn receipt(model: &Model, node: Address, answer: &Answer, terms: Terms) -> Result<Receipt> {
    let Terms { datanets, method, shares, fee, payer, nonce, deadline, prompt } = terms;
    let no_adapter = || Error::invalid("a receipt names an adapter, the base model answered");
    let prompt = match prompt {
        Some(hash) => hash,
        None => Receipt::text_hash(&model.tokenizer().spell(&answer.request.prompt)?),
    };
    Ok(Receipt {
        model: model.id(),
        adapter: answer.usage.adapter.ok_or_else(no_adapter)?,
        datanets,
        method,
        prompt,
        output: Receipt::text_hash(&answer.text),
        tokens_in: answer.usage.tokens_in as u64,
        tokens_out: answer.usage.tokens_out as u64,
        fee,
        shares,
        payer,
        node,
        nonce,
        deadline,
    })
}

impl Clone for ReceiptLayer {
    fn clone(&self) -> Self {
        Self { queue: self.queue.clone(), in_answers: Arc::clone(&self.in_answers) }
    }
}

impl fmt::Debug for ReceiptLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReceiptLayer").field("queue", &self.queue).finish_non_exhaustive()
    }
}

impl<S> Layer<S> for ReceiptLayer {
    type Service = Around<S, Self>;

    fn layer(&self, inner: S) -> Self::Service {
        Around::new(inner, Arc::new(self.clone()))
    }
}

#[async_trait]
impl Policy for ReceiptLayer {
    async fn answer(&self, request: Generate, next: Next) -> Result<TokenStream> {
        if request.adapter.is_none() {
            return Err(Error::invalid("a receipt names an adapter, the request names none"));
        }
        let ticket = self.queue.ticket()?;
        let asked = Asked::of(&request);
        let (reply, signed) = match (self.in_answers)(&request) {
            true => {
                let (reply, signed) = oneshot::channel();
                (Some(reply), Some(signed))
            }
            false => (None, None),
        };
        let record = Record::new(request.clone(), move |answer| ticket.hand_in(answer, reply));
        let answer = next.call(request).await?.watched(asked, record);
        Ok(match signed {
            Some(signed) => TokenStream::new(with_receipt(answer, signed)),
            None => answer,
        })
    }
}

type SignedSoon = oneshot::Receiver<Result<Signed<Receipt>>>;

/// Puts the receipt before the end.
fn with_receipt(
    answer: TokenStream,
    signed: SignedSoon,
) -> impl stream::Stream<Item = Result<Event>> + Send {
    let mut signed = Some(signed);
    answer.flat_map(move |event| match (event, signed.take()) {
        // Without a token there is nothing to sign, and nobody who would.
        (Ok(Event::End(end)), Some(signed)) if end.tokens_out > 0 => {
            last(end, signed).right_stream()
        }
        (event, still) => {
            signed = still;
            stream::iter([event]).left_stream()
        }
    })
}

fn last(end: End, signed: SignedSoon) -> impl stream::Stream<Item = Result<Event>> + Send {
    let wait = async move {
        let none = |_| Error::new(ErrorKind::Limit, "no receipt: too many answers wait for theirs");
        let receipt = match signed.await.map_err(none).flatten() {
            Ok(receipt) => receipt,
            Err(e) => return vec![Err(e)],
        };
        vec![Ok(Event::Receipt(Box::new(receipt))), Ok(Event::End(end))]
    };
    stream::once(wait).flat_map(stream::iter)
}
