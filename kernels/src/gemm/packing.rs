//! Several packed matrices in one piece of memory.

use std::{fmt, ops::Range, sync::Arc};

use super::{
    Element, Kept, Mat, Packed, PackedOf, Stored,
    pack::{Right, pack_right},
};
use crate::{
    isa::Isa,
    room::{Fixed, Room},
};

/// Matrices being packed one after another into one piece of memory, which goes when the last of them goes:
/// an allocator would keep what lies between small ones that it still lends.
///
/// # Examples
/// ```
/// use openledger_kernels::{Into, Mat, Packing, gemm_packed};
///
/// let (a, b) = ([1.0, 2.0], [3.0, 4.0, 5.0, 6.0]);
/// let mut packing = Packing::new([[2, 1], [2, 2]]);
/// packing.pack(Mat::new(&a, 2, 1));
/// packing.pack(Mat::new(&b, 2, 2));
/// let packed = packing.finish();
/// let mut c = [0.0; 2];
/// gemm_packed(Into::Set(&mut c), Mat::new(&a, 1, 2), &packed[1]);
/// assert_eq!(c, [13.0, 16.0]);
/// ```
pub struct Packing {
    in_bf16: bool,
    room: Room<u32>,
    filled: usize,
    placed: Vec<Placed>,
}

/// A matrix that is packed, and where.
struct Placed {
    at: Range<usize>,
    sizes: [usize; 2],
    width: usize,
}

impl Packing {
    /// Takes room for matrices of so many rows and columns each, to be packed as [`Packed::new`] does.
    pub fn new(sizes: impl IntoIterator<Item = [usize; 2]>) -> Self {
        Self::of::<f32>(sizes, false)
    }

    /// The same, to be packed as [`Packed::new_bf16`] does.
    pub fn new_bf16(sizes: impl IntoIterator<Item = [usize; 2]>) -> Self {
        Self::of::<Stored>(sizes, true)
    }

    fn of<E: Element>(sizes: impl IntoIterator<Item = [usize; 2]>, in_bf16: bool) -> Self {
        let len = |sizes| PackedOf::<E>::len(sizes, PackedOf::<E>::fit(sizes));
        let room = Room::new(sizes.into_iter().map(len).sum());
        Self { in_bf16, room, filled: 0, placed: Vec::new() }
    }

    /// Packs the next matrix.
    ///
    /// # Panics
    /// If there is no room left for it.
    pub fn pack(&mut self, b: Mat<'_>) {
        match self.in_bf16 {
            true => self.place::<Stored>(b.into()),
            false => self.place::<f32>(b.into()),
        }
    }

    fn place<E: Element>(&mut self, b: Right<'_>) {
        let sizes = b.sizes();
        let width = PackedOf::<E>::fit(sizes);
        let at = self.filled..self.filled + PackedOf::<E>::len(sizes, width);
        assert!(at.end <= self.room.len(), "no room for one more matrix of {sizes:?}");
        self.filled = at.end;
        let panels = bytemuck::cast_slice_mut(&mut self.room[at.clone()]);
        pack_right::<E>(panels, b, 0..sizes[0], 0..sizes[1], width);
        self.placed.push(Placed { at, sizes, width });
    }

    /// Returns the matrices, in the order in which they were packed.
    pub fn finish(self) -> Vec<Packed> {
        let room = Arc::new(self.room);
        let kept = |placed: Placed| match self.in_bf16 {
            true => Kept::Half(placed.found_in(&room)),
            false => Kept::Whole(placed.found_in(&room)),
        };
        self.placed.into_iter().map(|placed| Packed(kept(placed))).collect()
    }
}

impl Placed {
    fn found_in<E: Element>(self, room: &Arc<Room<u32>>) -> PackedOf<E> {
        let Self { at, sizes: [rows, cols], width } = self;
        let panels = Fixed::Together(Arc::clone(room), at);
        PackedOf { panels, rows, cols, width, isa: Isa::best() }
    }
}

impl fmt::Debug for Packing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Packing({} matrices)", self.placed.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Into, gemm_packed};

    #[test]
    fn what_is_packed_together_multiplies_as_alone_and_outlives_the_others() {
        for in_bf16 in [false, true] {
            let sizes = [[64, 16], [5, 3], [16, 200], [0, 4], [577, 33]];
            let data: Vec<Vec<f32>> = sizes
                .iter()
                .map(|[rows, cols]| (0..rows * cols).map(|n| (n % 97) as f32 - 40.5).collect())
                .collect();
            let mats =
                || sizes.iter().zip(&data).map(|([rows, cols], x)| Mat::new(x, *rows, *cols));
            let mut packing = if in_bf16 { Packing::new_bf16(sizes) } else { Packing::new(sizes) };
            mats().for_each(|mat| packing.pack(mat));
            let together = packing.finish();
            assert_eq!(together.len(), sizes.len());
            // When the last one multiplies, the others are gone.
            for (mat, packed) in mats().zip(together) {
                let alone = if in_bf16 { Packed::new_bf16(mat) } else { Packed::new(mat) };
                assert_eq!(packed.bytes(), alone.bytes());
                let x: Vec<f32> = (0..2 * mat.rows()).map(|n| n as f32 / 7.0).collect();
                let product = |b: &Packed| {
                    let mut out = vec![0.0; 2 * b.cols()];
                    gemm_packed(Into::Set(&mut out), Mat::new(&x, 2, b.rows()), b);
                    out
                };
                assert_eq!(product(&packed), product(&alone), "{:?}", [mat.rows(), mat.cols()]);
            }
        }
    }

    #[test]
    #[should_panic(expected = "no room for one more matrix")]
    fn more_than_there_is_room_for_is_refused() {
        let mut packing = Packing::new([[4, 4]]);
        (0..2).for_each(|_| packing.pack(Mat::new(&[0.0; 16], 4, 4)));
    }
}
