//! Who is next: a pure decision, without threads or clocks.
//!
//! Tenants take turns by what they were served ([`Counters`]), adapters of a tenant likewise, requests
//! of a tenant for an adapter as they came. What does not fit now is passed over, but not for ever.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use super::counters::Counters;
use crate::lease::Numbers;

/// Who asks for which adapter.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) struct Flow {
    pub(super) tenant: Option<Arc<str>>,
    pub(super) adapter: Option<Numbers>,
}

/// Requests that wait.
#[derive(Debug)]
pub(super) struct Queue<T> {
    tenants: Counters<Option<Arc<str>>>,
    lanes: BTreeMap<Option<Arc<str>>, Lane<T>>,
    weights: BTreeMap<Arc<str>, u32>,
    max_skips: usize,
    len: usize,
}

/// What one tenant has waiting.
#[derive(Debug)]
struct Lane<T> {
    adapters: Counters<Option<Numbers>>,
    flows: BTreeMap<Option<Numbers>, VecDeque<Waiting<T>>>,
}

#[derive(Debug)]
struct Waiting<T> {
    arrival: u64,
    cost: u64,
    /// Requests behind it that went first because it did not fit.
    skipped: usize,
    item: T,
}

/// What a token costs a tenant of weight 1, to be divided by weights.
const UNIT: u64 = 1 << 16;

impl<T> Queue<T> {
    /// Makes a queue in which a request is passed over at most `max_skips` times. Tenants without a
    /// weight have 1.
    pub(super) fn new(weights: BTreeMap<Arc<str>, u32>, max_skips: usize) -> Self {
        let (tenants, lanes) = (Counters::default(), BTreeMap::new());
        Self { tenants, lanes, weights, max_skips, len: 0 }
    }

    pub(super) const fn len(&self) -> usize {
        self.len
    }

    /// Lets a request wait; `cost` is charged when it goes. One that comes back keeps its place by
    /// its arrival.
    pub(super) fn push(&mut self, flow: &Flow, arrival: u64, cost: u64, item: T) {
        self.tenants.joined(&flow.tenant);
        let lane = self
            .lanes
            .entry(flow.tenant.clone())
            .or_insert_with(|| Lane { adapters: Counters::default(), flows: BTreeMap::new() });
        lane.adapters.joined(&flow.adapter);
        let waiting = lane.flows.entry(flow.adapter).or_default();
        let place = waiting.partition_point(|other| other.arrival < arrival);
        waiting.insert(place, Waiting { arrival, cost, skipped: 0, item });
        self.len += 1;
    }

    /// Takes out the first in turn that `fits`.
    ///
    /// Those passed over are counted; one that was passed over as often as is allowed lets nobody by.
    /// No more than that many are passed over at once, which bounds the work.
    pub(super) fn pop(&mut self, mut fits: impl FnMut(&mut T) -> bool) -> Option<T> {
        let mut passed = Vec::new();
        for (flow, place) in self.in_turn() {
            let waiting = self.at(&flow, place)?;
            if fits(&mut waiting.item) {
                for (flow, place) in passed {
                    self.at(&flow, place)?.skipped += 1;
                }
                return self.take(&flow, place);
            }
            if waiting.skipped >= self.max_skips || passed.len() >= self.max_skips {
                return None;
            }
            passed.push((flow, place));
        }
        None
    }

    /// Everybody who waits, the first in turn first.
    fn in_turn(&self) -> impl Iterator<Item = (Flow, usize)> + use<T> {
        let mut turns: Vec<_> = self
            .lanes
            .iter()
            .flat_map(|(tenant, lane)| {
                let oldest = lane.flows.values().filter_map(|flow| flow.front());
                let oldest = oldest.map(|waiting| waiting.arrival).min();
                let by_tenant = (self.tenants.served(tenant), oldest);
                lane.flows.iter().filter_map(move |(&adapter, waiting)| {
                    let by_adapter = (lane.adapters.served(&adapter), waiting.front()?.arrival);
                    let flow = Flow { tenant: tenant.clone(), adapter };
                    Some((by_tenant, by_adapter, flow, waiting.len()))
                })
            })
            .collect();
        turns.sort();
        turns
            .into_iter()
            .flat_map(|(_, _, flow, count)| (0..count).map(move |place| (flow.clone(), place)))
    }

    fn at(&mut self, flow: &Flow, place: usize) -> Option<&mut Waiting<T>> {
        self.lanes.get_mut(&flow.tenant)?.flows.get_mut(&flow.adapter)?.get_mut(place)
    }

    fn take(&mut self, flow: &Flow, place: usize) -> Option<T> {
        let lane = self.lanes.get_mut(&flow.tenant)?;
        let Waiting { cost, item, .. } = lane.flows.get_mut(&flow.adapter)?.remove(place)?;
        // Before it leaves, so that whoever comes to an empty queue begins behind it.
        self.charge(flow, cost);
        self.left(flow);
        Some(item)
    }

    fn left(&mut self, flow: &Flow) {
        self.len -= 1;
        self.tenants.left(&flow.tenant);
        if let Some(lane) = self.lanes.get_mut(&flow.tenant) {
            lane.adapters.left(&flow.adapter);
            lane.flows.retain(|_, waiting| !waiting.is_empty());
        }
        let tenants = &self.tenants;
        self.lanes.retain(|tenant, lane| !lane.flows.is_empty() || tenants.knows(tenant));
    }

    /// Takes out all that are `gone`.
    pub(super) fn remove(&mut self, mut gone: impl FnMut(&T) -> bool) -> Vec<T> {
        let mut removed = Vec::new();
        let flows: Vec<Flow> = self.flows().collect();
        for flow in flows {
            let mut place = 0;
            while let Some(waiting) = self.at(&flow, place) {
                if !gone(&waiting.item) {
                    place += 1;
                    continue;
                }
                let lane = self.lanes.get_mut(&flow.tenant);
                let waiting =
                    lane.and_then(|lane| lane.flows.get_mut(&flow.adapter)?.remove(place));
                removed.extend(waiting.map(|waiting| waiting.item));
                self.left(&flow);
            }
        }
        removed
    }

    /// Who waits for which adapters.
    pub(super) fn flows(&self) -> impl Iterator<Item = Flow> {
        self.lanes.iter().flat_map(|(tenant, lane)| {
            lane.flows.keys().map(|&adapter| Flow { tenant: tenant.clone(), adapter })
        })
    }

    /// Counts what a request was given, waiting or running.
    pub(super) fn charge(&mut self, flow: &Flow, cost: u64) {
        let weight = flow.tenant.as_ref().and_then(|tenant| self.weights.get(tenant));
        let weight = u64::from(weight.copied().unwrap_or(1).max(1));
        // Who pays nothing would always be first.
        let paid = (cost.saturating_mul(UNIT) / weight).max(u64::from(cost > 0));
        self.tenants.charge(&flow.tenant, paid);
        if let Some(lane) = self.lanes.get_mut(&flow.tenant) {
            lane.adapters.charge(&flow.adapter, cost);
        }
    }

    /// Returns which of the running requests makes way for the others: of the tenant that was served
    /// most, the one that came last.
    pub(super) fn victim<'a>(
        &self,
        running: impl IntoIterator<Item = (&'a Flow, u64)>,
    ) -> Option<usize> {
        let ranked = running
            .into_iter()
            .enumerate()
            .map(|(index, (flow, arrival))| ((self.tenants.served(&flow.tenant), arrival), index));
        ranked.max().map(|(_, index)| index)
    }
}

#[cfg(test)]
mod tests;
