//! A table of the base model that an adapter has its own of.

use std::sync::OnceLock;

use openledger_kernels::{Mat, Packed};

/// The embeddings or the head of an adapter, `[vocabulary, width]`, in place of the base model's.
#[derive(Clone, Debug)]
pub struct Table {
    data: Vec<f32>,
    width: usize,
    packed: OnceLock<Packed>,
}

impl Table {
    pub(super) const fn new(data: Vec<f32>, width: usize) -> Self {
        Self { data, width, packed: OnceLock::new() }
    }

    /// Returns the elements, row by row.
    pub fn data(&self) -> &[f32] {
        &self.data
    }

    /// Returns the elements, to train them.
    pub fn data_mut(&mut self) -> &mut [f32] {
        self.packed = OnceLock::new();
        &mut self.data
    }

    /// Returns the transpose, `[width, vocabulary]`, as products read it best. It is packed at the
    /// first call, and again after the table was trained.
    pub fn packed(&self) -> &Packed {
        self.packed.get_or_init(|| {
            let rows = self.data.len() / self.width.max(1);
            Packed::new(Mat::new(&self.data, rows, self.width).t())
        })
    }
}

impl PartialEq for Table {
    fn eq(&self, other: &Self) -> bool {
        (&self.data, self.width) == (&other.data, other.width)
    }
}
