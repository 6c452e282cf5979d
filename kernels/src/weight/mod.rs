//! Weights of linear layers as they are stored, and products with them.

mod eight_bit;
mod elements;
mod halves;
mod nf4;
mod quantised;
mod shared;

use std::sync::OnceLock;

use half::{bf16, f16, slice::HalfFloatSliceExt};

pub use eight_bit::EightBit;
pub use elements::Elements;
pub(crate) use halves::Halves;
pub use nf4::Nf4;
pub use quantised::{Bits, Quantised};
pub(crate) use shared::Shared;

use crate::{
    Into, Mat,
    gemm::{Columns, FEW, PackedOf, Pair, ReadRows, Right, gemm_on, multiply_packed, to_bf16},
    isa::{Isa, vectorised},
};

/// How numbers are stored.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Storage {
    /// Four bytes each.
    F32(Elements<f32>),
    /// Two bytes each, of which the exponent has as many bits as in `f32`.
    Bf16(Elements<bf16>),
    /// Two bytes each, as IEEE 754 has it.
    F16(Elements<f16>),
    /// Four bits each.
    Nf4(Nf4),
    /// Eight or four bits each, for products with rows that are rounded too.
    Quantised(Quantised),
}

/// What numbers can be stored as.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Precision {
    /// [`Storage::F32`].
    F32,
    /// [`Storage::Bf16`].
    Bf16,
    /// [`Storage::F16`].
    F16,
    /// [`Storage::Nf4`].
    Nf4,
    /// [`Storage::Quantised`] of eight bits: ggml's `Q8_0`.
    Q8_0,
    /// [`Storage::Quantised`] of four bits: ggml's `Q4_0`.
    Q4_0,
}

impl Storage {
    /// Rounds the elements of a matrix `[out, in]` to the nearest that `precision` has.
    ///
    /// # Panics
    /// If there are not as many as it takes.
    pub fn new(numbers: Vec<f32>, sizes: [usize; 2], precision: Precision) -> Self {
        assert_eq!(numbers.len(), sizes[0] * sizes[1], "elements of a {sizes:?} matrix");
        match precision {
            Precision::F32 => Self::F32(numbers.into()),
            Precision::Bf16 => {
                let rounded: Vec<bf16> = numbers.iter().map(|&x| bf16::from_f32(x)).collect();
                Self::Bf16(rounded.into())
            }
            Precision::F16 => {
                let rounded: Vec<f16> = numbers.iter().map(|&x| f16::from_f32(x)).collect();
                Self::F16(rounded.into())
            }
            Precision::Nf4 => Self::Nf4(Nf4::new(&numbers)),
            Precision::Q8_0 => Self::Quantised(Quantised::new(&numbers, sizes, Bits::Eight)),
            Precision::Q4_0 => Self::Quantised(Quantised::new(&numbers, sizes, Bits::Four)),
        }
    }

    /// Returns what the elements are stored as.
    pub const fn precision(&self) -> Precision {
        match self {
            Self::F32(_) => Precision::F32,
            Self::Bf16(_) => Precision::Bf16,
            Self::F16(_) => Precision::F16,
            Self::Nf4(_) => Precision::Nf4,
            Self::Quantised(x) => match x.bits() {
                Bits::Eight => Precision::Q8_0,
                Bits::Four => Precision::Q4_0,
            },
        }
    }

    /// Returns the number of elements.
    pub fn len(&self) -> usize {
        match self {
            Self::F32(x) => x.len(),
            Self::Bf16(x) => x.len(),
            Self::F16(x) => x.len(),
            Self::Nf4(x) => x.len(),
            Self::Quantised(x) => x.len(),
        }
    }

    /// Returns whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns how many bytes the elements take, in memory or in a mapped file.
    pub fn bytes(&self) -> usize {
        match self {
            Self::F32(x) => 4 * x.len(),
            Self::Bf16(x) => 2 * x.len(),
            Self::F16(x) => 2 * x.len(),
            Self::Nf4(x) => x.bytes(),
            Self::Quantised(x) => x.bytes(),
        }
    }

    /// Reads as many elements as `out` holds, from `from` on.
    ///
    /// # Panics
    /// If there are not as many.
    pub fn read(&self, from: usize, out: &mut [f32]) {
        let range = from..from + out.len();
        match self {
            Self::F32(x) => out.copy_from_slice(&x[range]),
            Self::Bf16(x) => {
                out.iter_mut().zip(&x[range]).for_each(|(out, x)| *out = x.to_f32());
            }
            Self::F16(x) => x[range].convert_to_f32_slice(out),
            Self::Nf4(x) => x.read(from, out),
            Self::Quantised(x) => x.read(from, out),
        }
    }

    /// Returns all elements.
    pub fn to_vec(&self) -> Vec<f32> {
        let mut all = vec![0.0; self.len()];
        self.read(0, &mut all);
        all
    }
}

/// What products with a weight are computed in.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Arithmetic {
    /// `f32`, whatever the weight is stored as.
    #[default]
    F32,
    /// Both operands rounded to `bf16`, sums in `f32`.
    Bf16,
}

/// A matrix `[out, in]`.
///
/// # Examples
/// ```
/// use openledger_kernels::{Arithmetic, Into, Mat, Nf4, Storage, Weight};
///
/// // Four bits are enough for a matrix of ones.
/// let weight = Weight::new(Storage::Nf4(Nf4::new(&[1.0; 6])), [3, 2]);
/// let mut y = [0.0; 3];
/// weight.multiply(Into::Set(&mut y), Mat::new(&[2.0, 5.0], 1, 2), Arithmetic::F32);
/// assert_eq!(y, [7.0; 3]);
/// ```
#[derive(Clone, Debug)]
pub struct Weight {
    storage: Storage,
    out: usize,
    width: usize,
    packed: OnceLock<PackedOf<f32>>,
    rounded: OnceLock<Halves>,
}

impl Weight {
    /// Takes `out * in` elements, row by row.
    ///
    /// # Panics
    /// If there are not as many.
    pub fn new(storage: Storage, [out, width]: [usize; 2]) -> Self {
        assert_eq!(storage.len(), out * width, "elements of a {out} x {width} matrix");
        let (packed, rounded) = (OnceLock::new(), OnceLock::new());
        Self { storage, out, width, packed, rounded }
    }

    /// Returns what the elements are stored as.
    pub const fn storage(&self) -> &Storage {
        &self.storage
    }

    /// Returns the number of outputs and of inputs.
    pub const fn sizes(&self) -> [usize; 2] {
        [self.out, self.width]
    }

    /// Returns how many bytes products in `arithmetic` keep beside what is stored.
    pub const fn packed_bytes(&self, arithmetic: Arithmetic) -> usize {
        let elements = self.out * self.width;
        match (&self.storage, arithmetic) {
            (Storage::Nf4(_) | Storage::Quantised(_), _) => 0,
            (_, Arithmetic::F32) => 4 * elements,
            (_, Arithmetic::Bf16) => 2 * elements,
        }
    }

    /// Multiplies rows `x`, `[rows, in]`, by the transpose: `out = x W'` or `out += x W'`.
    ///
    /// What is stored in two or four bytes is packed at the first call, in as much memory as
    /// `arithmetic` takes; [`Nf4`] is unpacked anew each time. [`Quantised`] is multiplied as it lies, with
    /// rows rounded to eight bits whatever `arithmetic` says.
    ///
    /// # Panics
    /// If the sizes do not match.
    pub fn multiply(&self, out: Into<'_>, x: Mat<'_>, arithmetic: Arithmetic) {
        let (isa, transposed) = (Isa::best(), Right::transpose_of(self));
        match (&self.storage, arithmetic) {
            (Storage::Quantised(weight), _) => weight.multiply(out, x),
            (Storage::Nf4(_), Arithmetic::F32) => gemm_on::<f32>(isa, out, x, transposed, self.out),
            (Storage::Nf4(_), Arithmetic::Bf16) => self.multiply_rounded(out, x, true),
            (_, Arithmetic::F32) => multiply_packed(out, x, self.packed()),
            (_, Arithmetic::Bf16) => self.halves().multiply(out, x),
        }
    }

    /// A product divided by columns, if that pays; gives `out` back if not.
    pub(crate) fn columns<'a>(
        &'a self,
        out: Into<'a>,
        x: Mat<'a>,
        arithmetic: Arithmetic,
        rows: &mut Shared<'a>,
    ) -> Result<Columns<'a>, Into<'a>> {
        match (&self.storage, arithmetic) {
            (Storage::Quantised(weight), _) => {
                let isa = Isa::best();
                Ok(weight.columns(isa, out, &rows.eight_bit(isa, x, weight.bits())))
            }
            (Storage::Nf4(_), _) => Err(out),
            _ if x.rows() > FEW => Err(out),
            (_, Arithmetic::F32) => Ok(Columns::of(out, x, self.packed())),
            (_, Arithmetic::Bf16) => Ok(self.halves().columns(out, x, rows)),
        }
    }

    fn packed(&self) -> &PackedOf<f32> {
        self.packed.get_or_init(|| PackedOf::new(Right::transpose_of(self)))
    }

    fn halves(&self) -> &Halves {
        self.rounded.get_or_init(|| Halves::new(Right::transpose_of(self)))
    }

    /// Multiplies the gradient of a result, `dy` of `[rows, out]`: `dx = dy W` or `dx += dy W`.
    ///
    /// # Panics
    /// If the sizes do not match.
    pub fn multiply_back(&self, dx: Into<'_>, dy: Mat<'_>, arithmetic: Arithmetic) {
        match arithmetic {
            Arithmetic::F32 => {
                gemm_on::<f32>(Isa::best(), dx, dy, Right::of(self), self.width);
            }
            Arithmetic::Bf16 => self.multiply_rounded(dx, dy, false),
        }
    }

    /// Multiplies in `bf16` by the matrix, or by its transpose, without keeping it packed.
    fn multiply_rounded(&self, out: Into<'_>, x: Mat<'_>, transposed: bool) {
        let (isa, stride) = (Isa::best(), if transposed { self.out } else { self.width });
        let right =
            |matrix| if transposed { Right::transpose_of(matrix) } else { Right::of(matrix) };
        if isa.dots_pairs() {
            return gemm_on::<Pair>(isa, out, x, right(self), stride);
        }
        let rounded_x = rounded(x);
        let x = Mat::new(&rounded_x, x.rows(), x.cols());
        match self.storage {
            Storage::Bf16(_) => gemm_on::<f32>(isa, out, x, right(self), stride),
            _ => gemm_on::<f32>(isa, out, x, right(&Rounded(self)), stride),
        }
    }

    /// Reads as many elements of `row` as `out` holds, from the column `from` on.
    ///
    /// # Panics
    /// If the row does not have as many.
    pub fn read(&self, row: usize, from: usize, out: &mut [f32]) {
        assert!(row < self.out && from + out.len() <= self.width, "row {row} from {from}");
        self.storage.read(row * self.width + from, out);
    }

    /// Returns some rows, one after another: a lookup in an embedding table.
    ///
    /// # Panics
    /// If there are not as many.
    pub fn rows(&self, rows: impl IntoIterator<Item = u32>) -> Vec<f32> {
        let mut found = Vec::new();
        for row in rows {
            let end = found.len();
            found.resize(end + self.width, 0.0);
            self.read(row as usize, 0, &mut found[end..]);
        }
        found
    }

    /// Returns the elements, to change them: as `f32` from now on.
    pub fn to_mut(&mut self) -> &mut [f32] {
        (self.packed, self.rounded) = (OnceLock::new(), OnceLock::new());
        if !matches!(self.storage, Storage::F32(_)) {
            self.storage = Storage::F32(self.storage.to_vec().into());
        }
        match &mut self.storage {
            Storage::F32(elements) => elements.to_mut(),
            _ => unreachable!("was converted"),
        }
    }
}

/// Rounds to `bf16`.
fn rounded(x: Mat<'_>) -> Vec<f32> {
    let mut all = vec![0.0; x.rows() * x.cols()];
    for (row, out) in all.chunks_exact_mut(x.cols().max(1)).enumerate() {
        ReadRows::read(&x, row, 0, out);
        round(Isa::best(), out);
    }
    all
}

vectorised! {
    fn round(x: &mut [f32]) {
        x.iter_mut().for_each(|x| *x = f32::from_bits(u32::from(to_bf16(*x)) << 16));
    }
}

/// A weight whose elements are rounded to `bf16` as they are read.
#[derive(Debug)]
struct Rounded<'a>(&'a Weight);

impl ReadRows for Rounded<'_> {
    fn sizes(&self) -> [usize; 2] {
        self.0.sizes()
    }

    fn read(&self, row: usize, from: usize, out: &mut [f32]) {
        self.0.read(row, from, out);
        round(Isa::best(), out);
    }

    fn slice(&self, _: usize, _: usize, _: usize) -> Option<&[f32]> {
        None
    }
}

impl ReadRows for Weight {
    fn sizes(&self) -> [usize; 2] {
        [self.out, self.width]
    }

    fn read(&self, row: usize, from: usize, out: &mut [f32]) {
        self.read(row, from, out);
    }

    fn slice(&self, row: usize, from: usize, len: usize) -> Option<&[f32]> {
        match &self.storage {
            Storage::F32(elements) => {
                let begin = row * self.width + from;
                Some(&elements[begin..begin + len])
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests;
