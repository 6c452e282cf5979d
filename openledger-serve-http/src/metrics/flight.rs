//! An answer under way.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Instant,
};

use openledger_serve::End;

use super::Metrics;
use crate::trace::Laps;

/// Counts an answer from its request to its end, or to when nobody wants it any more.
#[derive(Debug)]
pub(crate) struct Flight {
    metrics: Arc<Metrics>,
    adapter: Option<String>,
    begun: Instant,
    state: State,
    laps: Laps,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum State {
    Waits,
    Runs,
    Ended,
}

impl Flight {
    pub(crate) fn new(metrics: &Arc<Metrics>, adapter: Option<&str>) -> Self {
        let adapter = metrics.change(adapter.map(str::to_owned), |[waiting, _]| *waiting += 1);
        Self {
            metrics: Arc::clone(metrics),
            adapter,
            begun: Instant::now(),
            state: State::Waits,
            laps: Laps::default(),
        }
    }

    /// Returns this telling what its time goes into.
    pub(crate) fn with_laps(mut self, laps: Laps) -> Self {
        self.laps = laps;
        self
    }

    /// A token came.
    pub(crate) fn token(&mut self) {
        if self.state == State::Waits {
            self.state = State::Runs;
            self.laps.first();
            self.metrics.first_token.record(self.begun.elapsed());
            self.metrics.change(self.adapter.clone(), |[waiting, running]| {
                *waiting = waiting.saturating_sub(1);
                *running += 1;
            });
        }
    }

    /// The answer is over.
    pub(crate) fn end(&mut self, end: &End) {
        self.token();
        self.leave();
        self.laps.over(Some(end));
        self.state = State::Ended;
        self.metrics.answer.record(self.begun.elapsed());
        for (counter, tokens) in [
            (&self.metrics.tokens_in, end.tokens_in),
            (&self.metrics.tokens_cached, end.tokens_cached),
            (&self.metrics.tokens_out, end.tokens_out),
        ] {
            counter.fetch_add(tokens as u64, Ordering::Relaxed);
        }
    }

    fn leave(&self) {
        self.metrics.change(self.adapter.clone(), |[waiting, running]| match self.state {
            State::Waits => *waiting = waiting.saturating_sub(1),
            State::Runs => *running = running.saturating_sub(1),
            State::Ended => {}
        });
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        if self.state != State::Ended {
            self.leave();
            self.laps.over(None);
            self.metrics.abandoned.fetch_add(1, Ordering::Relaxed);
        }
    }
}
