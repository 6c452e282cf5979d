//! Sums of gradients, shaped like what is trained.

use openledger_kernels::{axpy, dot_f64};

use crate::{Lora, Param, Saved, Weights};

/// The gradient of one or many losses, matrix by matrix.
///
/// For an adapter the matrices are each layer's `A`, `B` and magnitude, layers ascending, and then the
/// tables, as [`Lora::parts`] has them; for the base model each tensor in the order of
/// [`Weights::params`].
#[derive(Clone, Debug, PartialEq)]
pub struct Gradients {
    owners: Vec<Owner>,
    matrices: Vec<Vec<f32>>,
}

/// What a matrix is the gradient of.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Owner {
    /// A tensor of the base model, or what an adapter adds to it.
    Tensor(Param),
    /// A table of an adapter.
    Table(Saved),
}

impl Gradients {
    /// Zeros in the shape of an adapter.
    pub fn of_lora(lora: &Lora) -> Self {
        let pairs = lora.pairs().flat_map(|(site, pair)| {
            pair.parts().map(move |(_, part)| (Owner::Tensor(site), part))
        });
        let tables = lora.tables().map(|(saved, table)| (Owner::Table(saved), table.data()));
        let zeros = |(owner, part): (Owner, &[f32])| (owner, vec![0.0; part.len()]);
        let (owners, matrices) = pairs.chain(tables).map(zeros).unzip();
        Self { owners, matrices }
    }

    /// Zeros in the shape of a base model.
    pub fn of_base(weights: &Weights) -> Self {
        let zeros = |param| {
            let len = weights.shape(param).iter().product();
            (Owner::Tensor(param), vec![0.0; len])
        };
        let (owners, matrices) = weights.params().map(zeros).unzip();
        Self { owners, matrices }
    }

    /// Returns the matrices.
    pub fn matrices(&self) -> impl ExactSizeIterator<Item = &[f32]> {
        self.matrices.iter().map(Vec::as_slice)
    }

    /// Returns the matrices, to change them.
    pub fn matrices_mut(&mut self) -> impl ExactSizeIterator<Item = &mut [f32]> {
        self.matrices.iter_mut().map(Vec::as_mut_slice)
    }

    /// Returns the matrices, giving up the rest.
    pub fn into_matrices(self) -> Vec<Vec<f32>> {
        self.matrices
    }

    /// Returns the Euclidean norm over all matrices.
    pub fn norm(&self) -> f64 {
        self.matrices.iter().map(|matrix| dot_f64(matrix, matrix)).sum::<f64>().sqrt()
    }

    /// Adds `factor` times `other`.
    ///
    /// # Panics
    /// If `other` has another shape.
    pub fn add_scaled(&mut self, factor: f32, other: &Self) {
        assert_eq!(self.owners, other.owners, "gradients of one thing");
        for (ours, theirs) in self.matrices.iter_mut().zip(&other.matrices) {
            axpy(ours, factor, theirs);
        }
    }

    /// The matrices that belong to `param`: those of a layer, or the one of a tensor.
    pub(super) fn of(&mut self, param: Param) -> &mut [Vec<f32>] {
        self.owned(Owner::Tensor(param))
    }

    /// The gradient of a table of the adapter.
    pub(super) fn of_table(&mut self, saved: Saved) -> &mut [f32] {
        &mut self.owned(Owner::Table(saved))[0]
    }

    fn owned(&mut self, owner: Owner) -> &mut [Vec<f32>] {
        let first = self.owners.partition_point(|&other| other < owner);
        let count = self.owners[first..].iter().take_while(|&&other| other == owner).count();
        &mut self.matrices[first..first + count]
    }
}
