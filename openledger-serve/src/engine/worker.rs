//! The engine's thread: takes requests in, makes steps, hands results out.

use std::{
    collections::BTreeSet,
    ops::Range,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{Receiver, TryRecvError},
    },
    time::{Duration, Instant},
};

use openledger_core::{Error, ErrorKind, Result};
use openledger_kernels::{PAGE, awake};
use openledger_model::{Buffers, Model};
use rayon::prelude::*;

use super::{
    EngineOptions, Stats,
    cache::{Cache, Table},
    desk::Seat,
    embed::Pooling,
    job::{Job, Running, Task},
    pages::pages_for,
    plan::{Want, plan},
    queue::Queue,
    step::{Found, Part, Step},
};
use crate::Lookup;

pub(super) struct Worker {
    /// While it is held, handles know that somebody works for them: first to go, so that whoever sees a
    /// stream break off can tell why.
    _life: Arc<()>,
    model: Arc<Model>,
    options: EngineOptions,
    inbox: Receiver<Job>,
    cache: Cache,
    queue: Queue<Job>,
    /// Those with the same adapter lie together.
    running: Vec<Running>,
    /// Of those that ended, given back when the figures are told.
    seats: Vec<Seat>,
    arrivals: u64,
    stats: Stats,
    told: Arc<Mutex<Stats>>,
    /// Memory of earlier steps.
    buffers: Buffers,
}

/// What an answer chose from what a step found.
struct Choice {
    /// Tokens to go on with, or why it cannot.
    tokens: Result<Vec<u32>>,
    written: u64,
    /// What it chose from, the guesses among them, and whether it is over.
    rows: usize,
    drafted: u64,
    over: bool,
}

impl Worker {
    pub(super) fn new(
        model: Arc<Model>,
        options: EngineOptions,
        cache: Cache,
        inbox: Receiver<Job>,
        told: Arc<Mutex<Stats>>,
        life: Arc<()>,
    ) -> Self {
        let queue = Queue::new(options.tenant_weights.clone(), options.max_skips);
        Self {
            _life: life,
            model,
            options,
            inbox,
            cache,
            queue,
            running: Vec::new(),
            seats: Vec::new(),
            arrivals: 0,
            stats: Stats::default(),
            told,
            buffers: Buffers::default(),
        }
    }

    /// Works until every handle is gone and every request is done.
    pub(super) fn run(mut self) {
        while self.receive() {
            self.turn(Instant::now());
        }
    }

    /// Makes one step of what there is to do.
    fn turn(&mut self, now: Instant) {
        self.drop_gone(now);
        self.admit();
        let mut tokens = self.plan();
        self.draft(&mut tokens);
        let tokens = self.make_room(tokens);
        self.step(&tokens);
        self.tell();
    }

    /// Takes new requests in; sleeps until one comes if there is nothing else to do. `false` at the
    /// end.
    fn receive(&mut self) -> bool {
        if self.running.is_empty() && self.queue.len() == 0 {
            match self.inbox.recv() {
                Ok(job) => self.enqueue(job),
                Err(_) => return false,
            }
            self.gather();
        }
        loop {
            match self.inbox.try_recv() {
                Ok(job) => self.enqueue(job),
                Err(TryRecvError::Empty) => return true,
                Err(TryRecvError::Disconnected) => {
                    return !self.running.is_empty() || self.queue.len() > 0;
                }
            }
        }
    }

    /// Takes in what comes together with the first.
    fn gather(&mut self) {
        let gather = self.options.gather.min(Duration::from_secs(1));
        let until = Instant::now() + 4 * gather;
        while self.queue.len() < self.options.max_running {
            let left = until.saturating_duration_since(Instant::now());
            let Ok(job) = self.inbox.recv_timeout(gather.min(left)) else { return };
            self.enqueue(job);
        }
    }

    fn enqueue(&mut self, mut job: Job) {
        job.arrival = self.arrivals;
        self.arrivals += 1;
        let cost = job.tokens.len() as u64 * u64::from(self.options.input_cost);
        self.queue.push(&job.flow.clone(), job.arrival, cost, job);
    }

    /// Ends what nobody waits for any more, and what is too late.
    fn drop_gone(&mut self, now: Instant) {
        let is_gone = |job: &Job| job.is_abandoned() || job.is_late(now);
        let mut gone = self.queue.remove(is_gone);
        let ended: Vec<Running> =
            self.running.extract_if(.., |running| is_gone(&running.job)).collect();
        gone.extend(ended.into_iter().map(|running| running.close(&mut self.cache)));
        for job in gone {
            self.seats.push(match job.is_abandoned() {
                true => job.seat,
                false => job.expire(),
            });
        }
    }

    /// Starts waiting requests while there is room, in turn.
    fn admit(&mut self) {
        while self.running.len() < self.options.max_running {
            // Pages that running requests are sure to need, and one for each that grows.
            let promised: usize = self
                .running
                .iter()
                .map(|Running { job, table, .. }| {
                    pages_for(job.tokens.len()).saturating_sub(table.pages().len()) + 1
                })
                .sum();
            // Only asked of each: to take pages and give them back would make those of whoever waits
            // the last to be given up.
            let (cache, available) = (&self.cache, self.cache.available());
            if promised > available {
                break;
            }
            let job = self.queue.pop(|job| {
                let most = pages_for(job.tokens.len());
                most + promised <= available
                    || job.finds() && cache.lacks(job.chain(), &job.tokens) + promised <= available
            });
            let Some(mut job) = job else { break };
            let mut table = Table::new(job.chain());
            if job.finds() {
                self.cache.find(&mut table, &job.tokens);
            }
            job.runs += 1;
            if let Task::Answer(answer) = &job.task {
                answer.begin();
            }
            if job.runs == 1 {
                self.stats.requests += 1;
                self.stats.prefix_hits += u64::from(table.len() > 0);
                self.stats.tokens_in += job.tokens.len() as u64;
            }
            count_cached(&mut self.stats, &mut job, table.len());
            self.running.push(Running { job, table, draft: Vec::new() });
        }
        self.running.sort_by_key(|Running { job, .. }| (job.flow.adapter, job.arrival));
    }

    /// Decides how many tokens of each go into the next step.
    fn plan(&mut self) -> Vec<usize> {
        let mut filling = BTreeSet::new();
        let mut order: Vec<usize> = (0..self.running.len()).collect();
        order.sort_by_key(|&index| self.running[index].job.arrival);
        let mut pending = vec![0; self.running.len()];
        for index in order {
            let running = &mut self.running[index];
            if running.job.finds() && running.pending() > 1 {
                // Others may have computed what comes next in the meantime.
                let found = self.cache.find(&mut running.table, &running.job.tokens);
                count_cached(&mut self.stats, &mut running.job, found);
            }
            pending[index] = running.pending();
            if !self.options.prefix_cache || pending[index] <= 1 {
                continue;
            }
            // What another computes in this step is found in the next, by those at the end of a page.
            let first = running.next_page().is_none_or(|page| filling.insert(page));
            if !first && running.job.finds() && running.table.len().is_multiple_of(PAGE) {
                pending[index] = 0;
            }
        }
        let wants: Vec<Want<'_>> = self
            .running
            .iter()
            .zip(pending)
            .map(|(Running { job, .. }, pending)| Want {
                flow: &job.flow,
                arrival: job.arrival,
                pending,
            })
            .collect();
        plan(&wants, self.options.max_step_tokens)
    }

    /// Adds guesses to answers under way, as many as the step has rows to spare.
    fn draft(&mut self, tokens: &mut [usize]) {
        let mut spare = DRAFT_ROWS.saturating_sub(tokens.iter().sum());
        for (running, count) in self.running.iter_mut().zip(tokens) {
            running.draft.clear();
            let Task::Answer(answer) = &running.job.task else { continue };
            let draft = answer.draft();
            let draft = &draft[..draft.len().min(spare)];
            let &[.., last] = &running.job.tokens[..] else { continue };
            if *count != 1 || running.pending() != 1 || draft.is_empty() {
                continue;
            }
            running.draft.push(last);
            running.draft.extend(draft);
            spare -= draft.len();
            *count += draft.len();
        }
    }

    /// Gets pages for the step; where there are none, some make way. Returns what is left of `tokens`.
    fn make_room(&mut self, mut tokens: Vec<usize>) -> Vec<usize> {
        let mut index = 0;
        while index < self.running.len() {
            if tokens[index] == 0 || self.cache.grow(&mut self.running[index].table, tokens[index])
            {
                index += 1;
                continue;
            }
            // Guesses are worth no other's pages.
            if !self.running[index].draft.is_empty() {
                self.running[index].draft.clear();
                tokens[index] = 1;
                continue;
            }
            let running = self.running.iter().map(|Running { job, .. }| (&job.flow, job.arrival));
            let victim = self.queue.victim(running).expect("who gets no pages runs");
            tokens.remove(victim);
            self.preempt(victim);
            if victim < index {
                index -= 1;
            }
        }
        tokens
    }

    /// Lets one wait again, with the tokens it has; they are computed anew.
    fn preempt(&mut self, index: usize) {
        let mut job = self.running.remove(index).close(&mut self.cache);
        if let Task::Embed(pooled) = &mut job.task {
            pooled.reset();
        }
        self.stats.preemptions += 1;
        self.queue.push(&job.flow.clone(), job.arrival, 0, job);
    }

    /// Computes so many tokens of each running request.
    fn step(&mut self, tokens: &[usize]) {
        if tokens.iter().all(|&count| count == 0) {
            return;
        }
        let (model, pool, buffers) = (&self.model, self.cache.pool_mut(), &self.buffers);
        let running = &mut self.running;
        let compute = || {
            let parts = running
                .iter()
                .zip(tokens)
                .filter(|&(_, &count)| count > 0)
                .map(|(running, &count)| part(running, count));
            let found = Step::new(model.network(), pool, buffers, parts.collect()).run()?;
            let choices = choose_all(model, running, tokens, &found.logits);
            Ok::<_, Error>((found, choices))
        };
        // What it wrote to pages counts for nothing before it is handed out.
        let found = catch_unwind(AssertUnwindSafe(|| awake(compute)));
        let found = found.unwrap_or_else(|_| Err(panicked("it was cut off by a panic")));
        self.stats.steps += 1;
        self.stats.tokens_computed += tokens.iter().sum::<usize>() as u64;
        match found {
            Ok((found, choices)) => self.hand_out(tokens, &found, choices),
            Err(e) => self.fail(tokens, &e),
        }
    }

    /// Lets each go on with what it chose or the states it asked for, and ends those that are done.
    fn hand_out(&mut self, tokens: &[usize], found: &Found, choices: Vec<Option<Choice>>) {
        let mut hidden = &found.hidden[..];
        let running = std::mem::take(&mut self.running).into_iter().zip(tokens).zip(choices);
        for ((mut running, &count), choice) in running {
            if count == 0 {
                self.running.push(running);
                continue;
            }
            let states = asked(&running, count).1.len();
            match (&mut running.job.task, choice) {
                (Task::Answer(_), None) => {
                    self.cache.wrote(&mut running.table, count, &running.job.tokens);
                }
                (Task::Answer(_), Some(choice)) => match self.go_on(&mut running, count, choice) {
                    Ok(false) => {}
                    Ok(true) => {
                        self.seats.push(running.close(&mut self.cache).seat);
                        continue;
                    }
                    Err(e) => {
                        self.seats.push(running.close(&mut self.cache).fail(e));
                        continue;
                    }
                },
                (Task::Embed(pooled), _) => {
                    self.cache.wrote(&mut running.table, count, &running.job.tokens);
                    let width = width(&self.model);
                    let (own, rest) = hidden.split_at(states * width);
                    hidden = rest;
                    pooled.add(own, width);
                    if running.pending() == 0 {
                        let job = running.close(&mut self.cache);
                        if let Task::Embed(pooled) = job.task {
                            pooled.finish();
                        }
                        self.seats.push(job.seat);
                        continue;
                    }
                }
            }
            self.running.push(running);
        }
    }

    /// Lets an answer, of which `count` tokens were computed, go on with what it chose; returns whether it is over.
    fn go_on(&mut self, running: &mut Running, count: usize, choice: Choice) -> Result<bool> {
        let Running { job: Job { tokens, flow, .. }, table, .. } = running;
        let Choice { tokens: chosen, written, rows, drafted, over } = choice;
        self.stats.tokens_drafted += drafted;
        self.stats.tokens_out += written;
        self.queue.charge(flow, u64::from(self.options.output_cost) * written);
        tokens.extend(chosen?);
        self.stats.tokens_accepted += written - 1;
        // Of a draft that was left, what was computed is not of the text.
        self.cache.wrote(table, count - rows + written as usize, tokens);
        Ok(over)
    }

    /// Ends those who had a part in a step.
    fn fail(&mut self, tokens: &[usize], error: &Error) {
        for (running, &count) in std::mem::take(&mut self.running).into_iter().zip(tokens) {
            if count == 0 {
                self.running.push(running);
                continue;
            }
            let copy = Error::new(error.kind(), "the engine could not make a step");
            let job = running.close(&mut self.cache);
            self.seats.push(job.fail(copy.with_source(error.report())));
        }
    }

    /// Tells how things are, and lets go of the seats of those that ended.
    fn tell(&mut self) {
        let stats = &mut self.stats;
        stats.running = self.running.len();
        let running =
            self.running.iter().filter_map(|Running { job, .. }| Some(job.flow.adapter?.id));
        stats.running_adapters = running.collect::<BTreeSet<_>>().into_iter().collect();
        let waiting = self.queue.flows().filter_map(|flow| Some(flow.adapter?.id));
        stats.waiting_adapters = waiting.collect::<BTreeSet<_>>().into_iter().collect();
        stats.pages_total = self.cache.total();
        stats.pages_cached = self.cache.idle();
        stats.pages_used = self.cache.total() - self.cache.available();
        // Each copy is whole.
        self.told.lock().unwrap_or_else(PoisonError::into_inner).clone_from(stats);
        self.seats.clear();
    }
}

/// Rows up to which a step takes little longer than with one: the time goes into reading the weights.
const DRAFT_ROWS: usize = 16;

/// Counts tokens of a prompt that need not be computed; not those of one that was computed before.
fn count_cached(stats: &mut Stats, job: &mut Job, found: usize) {
    if job.runs > 1 {
        return;
    }
    stats.tokens_cached += found as u64;
    if let Task::Answer(answer) = &mut job.task {
        answer.cached += found;
    }
}

/// Lets answers choose from the logits that follow what was computed of them, each for itself: their threads
/// need not wait for each other.
fn choose_all(
    model: &Model,
    running: &mut [Running],
    tokens: &[usize],
    logits: &[f32],
) -> Vec<Option<Choice>> {
    let mut logits = logits.chunks_exact(model.network().decoder().vocabulary());
    let asked = running.iter_mut().zip(tokens).map(|(running, &count)| {
        let rows = asked(running, count).0.len();
        (running, logits.by_ref().take(rows).collect())
    });
    let asked: Vec<(&mut Running, Vec<&[f32]>)> = asked.collect();
    let choices = asked.into_par_iter().map(|(running, rows)| {
        // What others chose is on its way to them already.
        let choice = catch_unwind(AssertUnwindSafe(|| choose(model, running, &rows)));
        choice.unwrap_or_else(|_| {
            let tokens = Err(panicked("choosing a token was cut off by a panic"));
            Some(Choice { tokens, written: 0, rows: rows.len(), drafted: 0, over: false })
        })
    });
    choices.collect()
}

fn panicked(message: &str) -> Error {
    Error::new(ErrorKind::Unavailable, message)
}

/// Lets an answer choose from the logits after its last token and those of its draft that it agrees with, if
/// there are some.
fn choose(model: &Model, running: &mut Running, rows: &[&[f32]]) -> Option<Choice> {
    let Task::Answer(answer) = &mut running.job.task else { return None };
    if rows.is_empty() {
        return None;
    }
    let draft = std::mem::take(&mut running.draft);
    let (mut written, mut over) = (0, false);
    let take = |n: usize| -> Result<Option<u32>> {
        let next = answer.take(model, rows[n])?;
        written += 1;
        over = next.is_none();
        Ok(next)
    };
    let tokens = Lookup::follow(draft.get(1..).unwrap_or_default(), take);
    let drafted = draft.len().saturating_sub(1) as u64;
    Some(Choice { tokens, written, rows: rows.len(), drafted, over })
}

/// The next `count` tokens of a request, as part of a step.
fn part(running: &Running, count: usize) -> Part<'_> {
    let Running { job, table, draft } = running;
    let (logits, hidden) = asked(running, count);
    Part {
        tokens: match &draft[..] {
            [] => &job.tokens[table.len()..table.len() + count],
            draft => draft,
        },
        seen: table.len(),
        pages: table.pages(),
        adapter: job.adapter.as_ref(),
        logits,
        hidden,
    }
}

/// Which of its next `count` tokens a request wants logits of, and which hidden states.
fn asked(running: &Running, count: usize) -> (Range<usize>, Range<usize>) {
    if !running.draft.is_empty() {
        return (0..count, 0..0);
    }
    let last = match running.pending() == count {
        true => count - 1..count,
        false => 0..0,
    };
    match &running.job.task {
        Task::Answer(_) => (last, 0..0),
        Task::Embed(pooled) => match pooled.pooling {
            Pooling::Last => (0..0, last),
            Pooling::Mean => (0..0, 0..count),
        },
    }
}

/// How wide hidden states are.
fn width(model: &Model) -> usize {
    let network = model.network();
    network.sizes(network.decoder().head().weight)[1]
}

#[cfg(test)]
mod tests;
