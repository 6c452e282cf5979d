//! Embeddings and heads of adapters (`modules_to_save`).

use openledger_kernels::{Precision, Storage, Weight};

/// The embeddings or the head of an adapter, `[vocabulary, width]`, in place of the base model's.
#[derive(Clone, Debug)]
pub struct Table(Weight);

impl Table {
    pub(super) fn new(data: Vec<f32>, width: usize) -> Self {
        let rows = data.len() / width.max(1);
        Self(Weight::new(Storage::new(data, [rows, width], Precision::F32), [rows, width]))
    }

    /// Returns the elements, row by row.
    pub fn data(&self) -> &[f32] {
        match self.0.storage() {
            Storage::F32(data) => data,
            _ => unreachable!("a table is stored as `f32`"),
        }
    }

    /// Returns the elements, to train them.
    pub fn data_mut(&mut self) -> &mut [f32] {
        self.0.to_mut()
    }

    /// Returns the matrix, to multiply by it.
    pub const fn weight(&self) -> &Weight {
        &self.0
    }

    /// Returns some rows, one after another.
    ///
    /// # Panics
    /// If there are not as many.
    pub fn rows(&self, rows: impl IntoIterator<Item = u32>) -> Vec<f32> {
        self.0.rows(rows)
    }
}

impl PartialEq for Table {
    fn eq(&self, other: &Self) -> bool {
        (self.data(), self.0.sizes()) == (other.data(), other.0.sizes())
    }
}
