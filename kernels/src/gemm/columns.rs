//! Products with few rows, divided by columns: what takes its time is reading the right-hand matrix.

use std::{fmt, ops::Range, sync::Arc};

use super::{Element, Into, Mat, Out, PARALLEL, PackedOf};
use crate::threads::each;

/// A product whose columns can be computed apart, a run of panels at a time.
pub(crate) struct Columns<'a> {
    panels: usize,
    /// Multiply-adds that take as long as one panel.
    cost: usize,
    run: Box<dyn Fn(Range<usize>) + Sync + 'a>,
}

/// Rows that a panel is multiplied by in the time it takes to read it.
const FREE: usize = 8;

impl<'a> Columns<'a> {
    /// Takes what computes a run of panels. A panel has `elements`, multiplied by so many rows.
    pub(crate) fn new(
        panels: usize,
        elements: usize,
        rows: usize,
        run: impl Fn(Range<usize>) + Sync + 'a,
    ) -> Self {
        Self { panels, cost: elements * rows.max(FREE), run: Box::new(run) }
    }

    /// The product of `a` and a packed matrix.
    ///
    /// # Panics
    /// If the sizes do not match.
    pub(crate) fn of<E: Element>(out: Into<'a>, a: Mat<'a>, b: &'a PackedOf<E>) -> Self {
        let out = Out::new(out, [a.rows, b.rows, b.cols], b.cols);
        assert_eq!(a.cols, b.rows, "inner dimensions");
        // A panel is read once or twice, in one go.
        let part = b.part(a, 0..b.rows);
        let panels = b.cols.div_ceil(b.width);
        // Rows are packed once, however many threads read them.
        let mut packed = Vec::new();
        if !part.reads_where_it_lies(panels) && a.rows > 0 {
            packed.resize(a.rows * part.steps(), E::Factor::default());
            part.pack(&mut packed, 0..a.rows, part.shape().even(a.rows));
        }
        let run = move |panels| out.multiply_packed(&part, &packed, 0..a.rows, panels);
        Self::new(panels, b.rows * b.width, a.rows, run)
    }

    /// The same of rows that others multiply too.
    ///
    /// # Panics
    /// If the sizes do not match.
    pub(crate) fn of_shared<E: Element>(
        out: Into<'a>,
        (rows, count): (Arc<[f32]>, usize),
        b: &'a PackedOf<E>,
    ) -> Self {
        let out = Out::new(out, [count, b.rows, b.cols], b.cols);
        let run = move |panels| {
            let a = Mat::new(&rows, count, b.rows);
            out.multiply_panels(&b.part(a, 0..b.rows), 0..count, panels);
        };
        Self::new(b.cols.div_ceil(b.width), b.rows * b.width, count, run)
    }

    /// Computes all of some products, side by side.
    pub(crate) fn run_all(all: &[Self]) {
        let work: usize = all.iter().map(Self::work).sum();
        let threads = rayon::current_num_threads();
        if threads == 1 || work < PARALLEL {
            return all.iter().for_each(|columns| (columns.run)(0..columns.panels));
        }
        let share = work / (PIECES * threads) + 1;
        let pieces = all.iter().flat_map(|columns| {
            let size = (share / columns.cost.max(1)).max(1);
            super::blocks(columns.panels, size).map(move |panels| (columns, panels))
        });
        each(pieces, |(columns, panels)| (columns.run)(panels));
    }

    fn work(&self) -> usize {
        self.panels * self.cost
    }
}

/// Pieces for each thread: as many as even out what else the machine does.
const PIECES: usize = 4;

impl fmt::Debug for Columns<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Columns({} panels)", self.panels)
    }
}
