//! Rows that several weights multiply, rounded once.

use std::sync::Arc;

use super::{Bits, quantised::Rows, rounded};
use crate::{Mat, isa::Isa};

/// What was made of rows so far. They stay where they are meanwhile, which is what `'a` says.
#[derive(Debug, Default)]
pub(crate) struct Shared<'a> {
    eight_bit: Vec<(Mat<'a>, Bits, Arc<Rows>)>,
    halves: Vec<(Mat<'a>, Arc<[f32]>)>,
}

impl<'a> Shared<'a> {
    /// Rows in eight bits, for a weight of so many.
    pub(super) fn eight_bit(&mut self, isa: Isa, x: Mat<'a>, bits: Bits) -> Arc<Rows> {
        let known = self.eight_bit.iter().find(|(of, with, _)| of.is(&x) && *with == bits);
        if let Some((_, _, rows)) = known {
            return Arc::clone(rows);
        }
        let rows = Arc::new(Rows::new(isa, x, bits));
        self.eight_bit.push((x, bits, Arc::clone(&rows)));
        rows
    }

    /// Rows rounded to `bf16`.
    pub(super) fn halves(&mut self, x: Mat<'a>) -> Arc<[f32]> {
        if let Some((_, rows)) = self.halves.iter().find(|(of, _)| of.is(&x)) {
            return Arc::clone(rows);
        }
        let rows: Arc<[f32]> = rounded(x).into();
        self.halves.push((x, Arc::clone(&rows)));
        rows
    }
}
