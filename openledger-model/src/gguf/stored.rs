//! Tensors as a file has them.

use bytes::Bytes;
use openledger_kernels::{Bits, Elements, Quantised, Storage};

use super::{GgmlType, GgufTensor, permute};

impl GgufTensor<'_> {
    /// Returns the elements in `f32`; those whose rows are permuted by `heads` in the order of a checkpoint.
    pub(super) fn exact(&self, heads: Option<usize>) -> Storage {
        let data = self.to_f32();
        let data = match heads {
            Some(heads) => permute::to_halves(&data, heads, self.shape()[0] / heads),
            None => data,
        };
        Storage::F32(data.into())
    }

    /// Returns a matrix as `file` has it, in its memory where it lies as it should. In `f32` what products
    /// cannot be computed with, and what is no matrix.
    pub(super) fn stored(&self, heads: Option<usize>, file: &Bytes) -> Storage {
        let [out, width] = *self.shape() else { return self.exact(heads) };
        let bytes = || match heads {
            Some(heads) => permute::to_halves(self.bytes(), heads, out / heads).into(),
            None => file.slice_ref(self.bytes()),
        };
        let quantised = |bits| Quantised::from_blocks(&bytes(), [out, width], bits);
        match self.ty() {
            GgmlType::F32 => Storage::F32(Elements::from_bytes(bytes())),
            GgmlType::F16 => Storage::F16(Elements::from_bytes(bytes())),
            GgmlType::BF16 => Storage::Bf16(Elements::from_bytes(bytes())),
            GgmlType::Q8_0 => Storage::Quantised(quantised(Bits::Eight)),
            GgmlType::Q4_0 => Storage::Quantised(quantised(Bits::Four)),
            _ => self.exact(heads),
        }
    }
}
