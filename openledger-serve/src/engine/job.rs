//! What an engine works on: a request with where its result goes.

use std::time::Instant;

use openledger_core::{Error, ErrorKind};
use openledger_kernels::PAGE;

use super::{
    answer::Answer,
    cache::{Cache, Table},
    desk::Seat,
    embed::{Pooled, Pooling},
    prefix::Chain,
    queue::Flow,
};
use crate::Lease;

/// A request, waiting or running, first or again.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) flow: Flow,
    /// Its place among all that came.
    pub(super) arrival: u64,
    pub(super) adapter: Option<Lease>,
    pub(super) deadline: Option<Instant>,
    /// The prompt and what was written.
    pub(super) tokens: Vec<u32>,
    pub(super) task: Task,
    /// How often it began.
    pub(super) runs: u32,
    pub(super) seat: Seat,
}

/// What is made of the tokens.
#[derive(Debug)]
pub(super) enum Task {
    Answer(Box<Answer>),
    Embed(Pooled),
}

impl Job {
    /// Returns what names its text's beginning in the cache.
    pub(super) fn chain(&self) -> Chain {
        Chain::new(self.flow.tenant.as_deref(), self.flow.adapter)
    }

    /// Whether tokens that are cached may be left out: not where the state of each is asked for.
    pub(super) const fn finds(&self) -> bool {
        match &self.task {
            Task::Answer(_) => true,
            Task::Embed(pooled) => matches!(pooled.pooling, Pooling::Last),
        }
    }

    /// Whether nobody listens any more.
    pub(super) fn is_abandoned(&self) -> bool {
        match &self.task {
            Task::Answer(answer) => answer.events.is_closed(),
            Task::Embed(pooled) => pooled.reply.is_canceled(),
        }
    }

    pub(super) fn is_late(&self, now: Instant) -> bool {
        self.deadline.is_some_and(|deadline| deadline <= now)
    }

    /// Says that its time is over.
    pub(super) fn expire(self) -> Seat {
        let written = match &self.task {
            Task::Answer(answer) => answer.written(),
            Task::Embed(_) => 0,
        };
        let message = match self.runs {
            0 => "the deadline passed while the request waited".to_owned(),
            _ => format!("the deadline passed after {written} tokens were written"),
        };
        self.fail(Error::new(ErrorKind::Limit, message))
    }

    /// Ends with an error; nobody misses it if nobody listens any more.
    pub(super) fn fail(self, error: Error) -> Seat {
        match self.task {
            Task::Answer(answer) => drop(answer.events.unbounded_send(Err(error))),
            Task::Embed(pooled) => drop(pooled.reply.send(Err(error))),
        }
        self.seat
    }
}

/// A job with its pages.
#[derive(Debug)]
pub(super) struct Running {
    pub(super) job: Job,
    pub(super) table: Table,
    /// The last token and what may follow it, if the next step checks that.
    pub(super) draft: Vec<u32>,
}

impl Running {
    /// How many tokens are to be computed.
    pub(super) fn pending(&self) -> usize {
        self.job.tokens.len() - self.table.len()
    }

    /// Names the page that is filled next, if the text fills it.
    pub(super) fn next_page(&self) -> Option<Chain> {
        let start = self.table.len() / PAGE * PAGE;
        let page = self.job.tokens.get(start..start + PAGE)?;
        Some(self.table.chain().then(page))
    }

    /// Gives the pages back.
    pub(super) fn close(self, cache: &mut Cache) -> Job {
        cache.close(self.table, &self.job.tokens);
        self.job
    }
}
