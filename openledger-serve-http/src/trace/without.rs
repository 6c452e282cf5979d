//! What stands in for spans in a build without them.

use http::{HeaderMap, Method};
use openledger_serve::{Begun, End};

/// Nobody can make one.
#[derive(Clone, Debug)]
pub(crate) enum Traces {}

/// A request of which nothing is kept.
#[derive(Clone, Debug, Default)]
pub(crate) struct Trace(());

/// An answer of which nothing is kept.
#[derive(Debug, Default)]
pub(crate) struct Laps(());

impl Trace {
    pub(crate) const fn begin(
        _: Option<&Traces>,
        _: &Method,
        _: &'static str,
        _: &HeaderMap,
    ) -> Self {
        Self(())
    }

    pub(crate) const fn status(&self, _: u16) {}

    pub(crate) const fn answer(&self, _: Option<&str>) -> Laps {
        Laps(())
    }
}

impl Laps {
    pub(crate) const fn begun(&self) -> Option<Begun> {
        None
    }

    pub(crate) const fn first(&mut self) {}

    pub(crate) const fn over(&mut self, _: Option<&End>) {}
}
