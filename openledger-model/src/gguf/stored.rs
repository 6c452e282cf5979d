//! Tensors as a file has them.

use bytes::Bytes;
use openledger_kernels::{Bits, Elements, Quantised, Storage};

use super::{GgmlType, GgufTensor, permute};

impl GgufTensor<'_> {
    /// Returns the elements as `file` has them, in its memory where they lie as they should; a matrix whose
    /// rows are permuted by `heads` in the order of a checkpoint. In `f32` what products cannot be computed
    /// with.
    pub(super) fn stored(&self, heads: Option<usize>, file: &Bytes) -> Storage {
        let [out, width] = *self.shape() else { return Storage::F32(self.to_f32().into()) };
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
            _ => {
                let data = self.to_f32();
                let data = match heads {
                    Some(heads) => permute::to_halves(&data, heads, out / heads),
                    None => data,
                };
                Storage::F32(data.into())
            }
        }
    }
}
