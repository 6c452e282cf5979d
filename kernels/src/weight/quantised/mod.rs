//! Weights in eight or four bits, a scale for every 32 elements of a row: ggml's `Q8_0` and `Q4_0`.
//!
//! Products round the rows they multiply to eight bits too, each block of 32 by its largest element. The
//! products of codes are summed as integers, which is exact in any order, and the blocks in ascending
//! order:
//!
//! ```text
//! c = fma(sum of (code of w) * (code of x), (scale of w) * (scale of x), c)    for each block
//! ```
//!
//! So these products have the same bits on every machine as well.

mod rows;
#[cfg(target_arch = "x86_64")]
mod vnni;

use std::{ops::Range, sync::Arc};

use half::f16;
use rayon::prelude::*;

use crate::{
    Into, Mat,
    gemm::{Columns, Out},
    isa::{Isa, vectorised},
    room::Room,
};
pub(crate) use rows::Rows;

/// Elements that share a scale.
const BLOCK: usize = 32;
/// Rows of the weight that lie together: a vector of 32-bit sums.
const LANES: usize = 16;

/// How many bits an element takes.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "there are no others with this layout")]
pub enum Bits {
    /// Codes from -127 to 127, as `Q8_0` has them; in a file there may be -128.
    Eight,
    /// Codes from -8 to 7, as `Q4_0` has them.
    Four,
}

impl Bits {
    /// Bytes of a block of codes, for [`LANES`] rows.
    const fn bytes(self) -> usize {
        match self {
            Self::Eight => BLOCK * LANES,
            Self::Four => BLOCK * LANES / 2,
        }
    }

    /// What is added to a code, to store it without a sign.
    const fn bias(self) -> i32 {
        match self {
            Self::Eight => 128,
            Self::Four => 8,
        }
    }
}

/// A matrix `[out, in]`, rounded.
///
/// Sixteen rows lie together, four elements of each in turn:
///
/// ```text
/// codes  = [out / 16][in / 32][8 fours][16 rows][4]     the first and the last 16 of a block of four
/// scales = [out / 16][in / 32][16 rows]                 bits share a byte
/// ```
#[derive(Clone, Debug)]
pub struct Quantised {
    bits: Bits,
    codes: Room<u8>,
    /// `f16`, by their bits.
    scales: Vec<u16>,
    out: usize,
    width: usize,
}

impl Quantised {
    /// Rounds a matrix given row by row, as ggml's reference does. A scale beyond what 16 bits hold is the
    /// largest they do.
    ///
    /// # Panics
    /// If there are not `out * in` elements.
    pub fn new(elements: &[f32], [out, width]: [usize; 2], bits: Bits) -> Self {
        assert_eq!(elements.len(), out * width, "elements of a {out} x {width} matrix");
        Self::fill([out, width], bits, |row, block, codes, lane| {
            let row = &elements[row * width..][..width];
            let end = width.min((block + 1) * BLOCK);
            encode(&row[block * BLOCK..end], codes, lane, bits)
        })
    }

    /// Takes the blocks of a matrix as ggml's files have them, row by row: codes and scales stay what they are.
    ///
    /// # Panics
    /// If a row is not of whole blocks, or there are not as many bytes as that takes.
    pub fn from_blocks(bytes: &[u8], [out, width]: [usize; 2], bits: Bits) -> Self {
        assert!(width.is_multiple_of(BLOCK), "rows of {width} are not of whole blocks");
        let (size, count) = (2 + bits.bytes() / LANES, width / BLOCK);
        assert_eq!(bytes.len(), out * count * size, "bytes of a {out} x {width} matrix");
        Self::fill([out, width], bits, |row, block, codes, lane| {
            let [low, high, from @ ..] = &bytes[(row * count + block) * size..][..size] else {
                unreachable!("a block begins with its scale")
            };
            for (at, &code) in from.iter().enumerate() {
                codes[place(bits, lane, at).0] = match bits {
                    Bits::Eight => code ^ 0x80,
                    Bits::Four => code,
                };
            }
            f16::from_le_bytes([*low, *high])
        })
    }

    /// Makes the panels: `block` writes the codes of a block of a row in its lane, and returns its scale.
    fn fill(
        [out, width]: [usize; 2],
        bits: Bits,
        block: impl Fn(usize, usize, &mut [u8], usize) -> f16 + Sync,
    ) -> Self {
        let (panels, blocks) = (out.div_ceil(LANES), width.div_ceil(BLOCK));
        let mut codes = Room::new(panels * blocks * bits.bytes());
        let mut scales = vec![0u16; panels * blocks * LANES];
        // What is no row has the code zero, and the scale.
        codes.fill(if bits == Bits::Eight { 128 } else { 0x88 });
        let panel_codes = codes.par_chunks_mut((blocks * bits.bytes()).max(1));
        let panel_scales = scales.par_chunks_mut((blocks * LANES).max(1));
        panel_codes.zip(panel_scales).enumerate().for_each(|(panel, (codes, scales))| {
            for lane in 0..LANES.min(out - panel * LANES) {
                let codes = codes.chunks_exact_mut(bits.bytes());
                for (index, codes) in codes.enumerate() {
                    let scale = block(panel * LANES + lane, index, codes, lane);
                    scales[index * LANES + lane] = scale.to_bits();
                }
            }
        });
        Self { bits, codes, scales, out, width }
    }

    /// Returns how many bits an element takes, without its scale.
    pub const fn bits(&self) -> Bits {
        self.bits
    }

    /// Returns the number of elements.
    #[expect(clippy::len_without_is_empty, reason = "a matrix")]
    pub const fn len(&self) -> usize {
        self.out * self.width
    }

    /// Returns how many bytes codes and scales take.
    pub fn bytes(&self) -> usize {
        self.codes.len() + 2 * self.scales.len()
    }

    /// Reads as many elements as `out` holds, from `from` on, row after row.
    ///
    /// # Panics
    /// If there are not as many.
    pub fn read(&self, from: usize, out: &mut [f32]) {
        assert!(from + out.len() <= self.len(), "{} elements from {from}", out.len());
        let blocks = self.width.div_ceil(BLOCK);
        for (index, element) in (from..).zip(out) {
            let (row, col) = (index / self.width, index % self.width);
            let (block, at) = (row / LANES * blocks + col / BLOCK, col % BLOCK);
            let (byte, shift) = place(self.bits, row % LANES, at);
            let byte = self.codes[block * self.bits.bytes() + byte];
            let code = match self.bits {
                Bits::Eight => i32::from(byte),
                Bits::Four => i32::from(byte >> shift & 15),
            };
            let scale = f16::from_bits(self.scales[block * LANES + row % LANES]);
            *element = (code - self.bits.bias()) as f32 * scale.to_f32();
        }
    }

    /// Multiplies rows `x`, `[rows, in]`, by the transpose: `out = x W'` or `out += x W'`.
    ///
    /// # Panics
    /// If the sizes do not match.
    pub fn multiply(&self, out: Into<'_>, x: Mat<'_>) {
        self.multiply_on(Isa::best(), out, x);
    }

    fn multiply_on(&self, isa: Isa, out: Into<'_>, x: Mat<'_>) {
        Columns::run_all(&[self.columns(isa, out, &Arc::new(Rows::new(isa, x, self.bits)))]);
    }

    /// A product, divided by columns.
    ///
    /// # Panics
    /// If the sizes do not match.
    pub(crate) fn columns<'a>(&'a self, isa: Isa, out: Into<'a>, rows: &Arc<Rows>) -> Columns<'a> {
        assert_eq!(rows.width, self.width, "inner dimensions");
        let (rows, blocks) = (Arc::clone(rows), self.width.div_ceil(BLOCK));
        let (count, continues) = (rows.count(), matches!(out, Into::Add(_)));
        let out = Out::new(out, [count, self.width, self.out], self.out);
        let panel = move |panel: usize| {
            let tile = Tile {
                codes: &self.codes[panel * blocks * self.bits.bytes()..]
                    [..blocks * self.bits.bytes()],
                scales: &self.scales[panel * blocks * LANES..][..blocks * LANES],
                bits: self.bits,
            };
            let cols = LANES.min(self.out - panel * LANES);
            for first in (0..count).step_by(HEIGHT) {
                let height = HEIGHT.min(count - first);
                let corner = first * self.out + panel * LANES;
                let mut sums = [[0.0; LANES]; HEIGHT];
                let sums = &mut sums[..height];
                if continues {
                    out.read(corner, self.out, cols, sums);
                }
                tile.run(isa, &rows, first, sums);
                out.write(corner, self.out, cols, sums);
            }
        };
        let run = move |panels: Range<usize>| panels.for_each(&panel);
        Columns::new(self.out.div_ceil(LANES), LANES * self.width, count, run)
    }
}

/// Rows of `x` that are multiplied at a time.
const HEIGHT: usize = 8;

/// Sixteen rows of a weight.
struct Tile<'a> {
    codes: &'a [u8],
    scales: &'a [u16],
    bits: Bits,
}

impl Tile<'_> {
    /// Adds the products with the rows from `first` on.
    fn run(&self, isa: Isa, rows: &Rows, first: usize, sums: &mut [[f32; LANES]]) {
        #[cfg(target_arch = "x86_64")]
        if isa.dots_bytes() {
            return vnni::run(self, rows, first, sums);
        }
        for (row, sums) in (first..).zip(sums) {
            let (codes, scales) = rows.row(row);
            plain(isa, self.codes, self.scales, self.bits, codes, scales, sums);
        }
    }
}

vectorised! {
    fn plain(
        codes: &[u8],
        scales: &[u16],
        bits: Bits,
        row: &[i8],
        row_scales: &[f32],
        sums: &mut [f32; LANES],
    ) {
        let blocks = codes.chunks_exact(bits.bytes()).zip(scales.as_chunks::<LANES>().0);
        let rows = row.as_chunks::<BLOCK>().0.iter().zip(row_scales);
        for ((codes, scales), (row, row_scale)) in blocks.zip(rows) {
            let mut products = [0i32; LANES];
            for (four, codes) in codes.as_chunks::<{ 4 * LANES }>().0.iter().enumerate() {
                for (product, codes) in products.iter_mut().zip(codes.as_chunks::<4>().0) {
                    for (at, code) in codes.iter().enumerate() {
                        let code = i32::from(*code);
                        *product += match bits {
                            Bits::Eight => (code - 128) * i32::from(row[4 * four + at]),
                            Bits::Four => {
                                (code % 16 - 8) * i32::from(row[4 * four + at])
                                    + (code / 16 - 8) * i32::from(row[BLOCK / 2 + 4 * four + at])
                            }
                        };
                    }
                }
            }
            for ((sum, product), scale) in sums.iter_mut().zip(products).zip(scales) {
                let scale = f16::from_bits(*scale).to_f32() * row_scale;
                *sum = (product as f32).mul_add(scale, *sum);
            }
        }
    }
}

/// Where an element of a block lies: its byte, and the bit it begins at.
const fn place(bits: Bits, lane: usize, at: usize) -> (usize, usize) {
    match bits {
        Bits::Eight => (at / 4 * 4 * LANES + lane * 4 + at % 4, 0),
        Bits::Four => {
            let (half, at) = (at / (BLOCK / 2), at % (BLOCK / 2));
            (at / 4 * 4 * LANES + lane * 4 + at % 4, 4 * half)
        }
    }
}

/// Rounds a block of a row, the last one maybe shorter; returns its scale.
fn encode(elements: &[f32], codes: &mut [u8], lane: usize, bits: Bits) -> f16 {
    let largest =
        elements.iter().copied().fold(0f32, |most, x| if x.abs() > most.abs() { x } else { most });
    let scale = match bits {
        Bits::Eight => largest.abs() / 127.0,
        Bits::Four => largest / -8.0,
    };
    let scale = scale.clamp(-f16::MAX.to_f32(), f16::MAX.to_f32());
    let inverse = if scale == 0.0 { 0.0 } else { 1.0 / scale };
    for (at, x) in elements.iter().enumerate() {
        let (byte, shift) = place(bits, lane, at);
        match bits {
            Bits::Eight => codes[byte] = ((x * inverse).round().clamp(-127.0, 127.0) + 128.0) as u8,
            Bits::Four => {
                let code = (x * inverse + 8.5).clamp(0.0, 15.0) as u8;
                codes[byte] = codes[byte] & !(15 << shift) | code << shift;
            }
        }
    }
    f16::from_f32(scale)
}

#[cfg(test)]
mod tests;
