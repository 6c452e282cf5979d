//! Matrices for products in `bf16`.

use super::{Shared, rounded};
use crate::{
    Into, Mat,
    gemm::{Columns, PackedOf, Pair, Right, Stored, multiply_packed},
    isa::Isa,
};

/// A matrix in `bf16`, as products in it read it.
#[derive(Clone, Debug)]
pub(crate) enum Halves {
    /// By an instruction for pairs.
    Dotted(PackedOf<Pair>),
    /// As numbers of 32 bits, where that is faster or there is no such instruction.
    Stored(PackedOf<Stored>),
}

impl Halves {
    pub(crate) fn new(b: Right<'_>) -> Self {
        match Isa::best().dots_pairs() {
            true => Self::Dotted(PackedOf::new(b)),
            false => Self::Stored(PackedOf::new(b)),
        }
    }

    /// Multiplies rows, which are rounded.
    pub(crate) fn multiply(&self, out: Into<'_>, x: Mat<'_>) {
        match self {
            Self::Dotted(packed) => multiply_packed(out, x, packed),
            Self::Stored(packed) => {
                multiply_packed(out, Mat::new(&rounded(x), x.rows(), x.cols()), packed);
            }
        }
    }

    /// The same with few rows, divided by columns.
    pub(crate) fn columns<'a>(
        &'a self,
        out: Into<'a>,
        x: Mat<'a>,
        rows: &mut Shared<'a>,
    ) -> Columns<'a> {
        match self {
            Self::Dotted(packed) => Columns::of(out, x, packed),
            Self::Stored(packed) => Columns::of_shared(out, (rows.halves(x), x.rows()), packed),
        }
    }
}
