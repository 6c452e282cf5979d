//! The result of a product, written by many threads.

use std::{marker::PhantomData, ops::Range};

use super::{
    Element, Into, MC, Mat, PACK_LEFT, PARALLEL, Panels, SAME_PLACE, blocks,
    pack::pack_left,
    span,
    tile::{Left, MAX_TILE, Shape, Soon, Tile, lanes, prefetch},
};
use crate::{isa::Isa, scratch, threads::each};

/// Steps ahead of the one computed that a panel is asked of the memory.
const AHEAD: usize = 24;

/// The result, shared by threads that write different elements of it.
///
/// Which elements are whose, no type says: whoever hands it to several threads divides rows or columns.
pub(crate) struct Out<'a> {
    data: *mut f32,
    len: usize,
    stride: usize,
    /// Whether the next block of the inner dimension continues the sums already there.
    continues: bool,
    borrowed: PhantomData<&'a mut [f32]>,
}

#[expect(unsafe_code, reason = "rows and columns of one matrix are divided among threads")]
// SAFETY: each element is read and written by one task only: `multiply` divides rows and panels, attention
// heads and rows, quantised weights panels; and nobody else has the slice while this lives.
unsafe impl Sync for Out<'_> {}

impl<'a> Out<'a> {
    /// Sums over an empty inner dimension are zero, which no kernel will write.
    pub(crate) fn new(out: Into<'a>, [rows, inner, cols]: [usize; 3], stride: usize) -> Self {
        let (data, continues) = match out {
            Into::Set(data) => (data, false),
            Into::Add(data) => (data, true),
        };
        assert!(stride >= cols && span(rows, cols, stride) <= data.len(), "room for the product");
        if inner == 0 && !continues {
            for row in data.chunks_mut(stride.max(1)).take(rows) {
                row[..cols].fill(0.0);
            }
        }
        let (len, borrowed) = (data.len(), PhantomData);
        Self { data: data.as_mut_ptr(), len, stride, continues, borrowed }
    }

    /// Adds the part of the product that one block of the inner dimension makes.
    pub(super) fn multiply<E: Element>(&mut self, part: &Part<'_, E>) {
        let row_blocks: Vec<_> = blocks(part.a.rows, MC).collect();
        let panels = part.panels();
        let work = part.a.rows * part.cols.len() * part.depth.len();
        if work < PARALLEL || rayon::current_num_threads() == 1 {
            row_blocks.into_iter().for_each(|rows| self.multiply_panels(part, rows, 0..panels));
        } else {
            // Few rows: divide the panels too, so that every thread has something to do.
            let pieces = (4 * rayon::current_num_threads()).div_ceil(row_blocks.len()).min(panels);
            let size = panels.div_ceil(pieces);
            let pieces = row_blocks
                .iter()
                .flat_map(|rows| blocks(panels, size).map(|panels| (rows.clone(), panels)));
            if size >= panels || part.reads_where_it_lies(size) {
                each(pieces, |(rows, panels)| self.multiply_panels(part, rows, panels));
            } else {
                // Rows are packed once for all pieces.
                let steps = part.steps();
                scratch::with(part.a.rows * steps, |packed: &mut [E::Factor]| {
                    part.pack_together(packed, &row_blocks);
                    each(pieces, |(rows, panels)| {
                        let packed = &packed[rows.start * steps..rows.end * steps];
                        self.multiply_packed(part, packed, rows, panels);
                    });
                });
            }
        }
        self.continues = true;
    }

    /// The same of some rows, no more than [`MC`], and some panels.
    pub(super) fn multiply_panels<E: Element>(
        &self,
        part: &Part<'_, E>,
        rows: Range<usize>,
        panels: Range<usize>,
    ) {
        if part.reads_where_it_lies(panels.len()) {
            return self.multiply_packed(part, &[], rows, panels);
        }
        scratch::with(rows.len() * part.steps(), |packed: &mut [E::Factor]| {
            part.pack(packed, rows.clone(), part.shape().even(rows.len()));
            self.multiply_packed(part, packed, rows, panels);
        });
    }

    /// The same, with the rows packed or not.
    pub(super) fn multiply_packed<E: Element>(
        &self,
        part: &Part<'_, E>,
        packed: &[E::Factor],
        rows: Range<usize>,
        panels: Range<usize>,
    ) {
        let &Part { a, b, ref depth, ref cols, isa } = part;
        let shape = part.shape();
        let steps = part.steps();
        let most = shape.even(rows.len());
        let tiles = rows.len().div_ceil(most);
        let mut panel = panels.start;
        while panel < panels.end {
            let begin = (panel * b.steps + b.first) * shape.width;
            let col = cols.start + panel * shape.width;
            let width = shape.width.min(cols.end - col);
            // Of few rows all whole panels are one run, if they lie one after another.
            let run = match tiles == 1 && steps == b.steps && width == shape.width {
                true => (panels.end - panel).min((cols.end - col) / shape.width),
                false => 1,
            };
            let right = &b.data[begin..begin + run * steps * shape.width];
            for first in (0..rows.len()).step_by(most) {
                // One tile streams its panel from the memory, several share the next one.
                let tile = first / most;
                let soon = match tile {
                    _ if tiles == 1 => Soon::new(right, AHEAD * shape.width, shape.width),
                    0 | 1 => Soon::far(right, (b.steps + tile * (steps / 2)) * shape.width),
                    _ => Soon::new(right, 0, 0),
                };
                let height = most.min(rows.len() - first);
                let packed = packed.get(first * steps..(first + height) * steps);
                let left = match packed {
                    Some(data) => Left { data, row_stride: 1, step_stride: height },
                    None => E::where_it_lies(a, rows.start + first, depth.start)
                        .expect("what was not packed is read where it lies"),
                };
                let tile = Tile { left, right, panels: run, steps, height, width, shape, soon };
                self.expect(rows.start + first + height, rows.end, shape, col);
                let corner = (rows.start + first) * self.stride + col;
                self.tile(isa, &tile, corner, self.stride, self.continues);
            }
            panel += run;
        }
    }

    /// Asks for the rows of the result that the next tile works on.
    fn expect(&self, first: usize, end: usize, shape: Shape, col: usize) {
        for row in first..end.min(first + shape.height) {
            let at = self.data.wrapping_add(row * self.stride + col);
            (0..shape.width).step_by(16).for_each(|lane| prefetch(at.wrapping_add(lane)));
        }
    }

    /// Multiplies by one block where it lies. The result begins at `corner`, its rows `stride` apart;
    /// `continues` says whether sums go on from what is there.
    pub(crate) fn multiply_block(
        &self,
        isa: Isa,
        block: Block<'_>,
        corner: usize,
        stride: usize,
        continues: bool,
    ) {
        let Block { left, rows, right, steps, stride: width, cols } = block;
        let shape = Shape { width, ..Shape::of(isa) };
        for first in (0..rows).step_by(shape.height) {
            let height = shape.height.min(rows - first);
            let mut col = 0;
            while col < cols {
                let wanted = widest(isa, width - col).min(cols - col);
                let left = Left { data: &left.data[first * left.row_stride..], ..left };
                let (right, soon) = (&right[col..], Soon::new(right, 0, 0));
                let tile =
                    Tile { left, right, panels: 1, steps, height, width: wanted, shape, soon };
                self.tile(isa, &tile, corner + first * stride + col, stride, continues);
                col += wanted;
            }
        }
    }

    /// Reads the first `cols` columns of rows that begin at `corner`, `stride` apart.
    #[expect(unsafe_code, reason = "tiles are read and written through raw pointers")]
    pub(crate) fn read<const N: usize>(
        &self,
        corner: usize,
        stride: usize,
        cols: usize,
        tile: &mut [[f32; N]],
    ) {
        assert!(cols <= N && corner + span(tile.len(), cols, stride) <= self.len, "a tile inside");
        for (row, tile) in tile.iter_mut().enumerate() {
            // SAFETY: the assertion above.
            unsafe {
                let from = self.data.add(corner + row * stride);
                // Of a number known beforehand no call is made to copy.
                match cols == N {
                    true => *tile = from.cast::<[f32; N]>().read_unaligned(),
                    false => std::ptr::copy_nonoverlapping(from, tile.as_mut_ptr(), cols),
                }
            }
        }
    }

    /// Writes them.
    #[expect(unsafe_code, reason = "tiles are read and written through raw pointers")]
    pub(crate) fn write<const N: usize>(
        &self,
        corner: usize,
        stride: usize,
        cols: usize,
        tile: &[[f32; N]],
    ) {
        assert!(cols <= N && corner + span(tile.len(), cols, stride) <= self.len, "a tile inside");
        for (row, tile) in tile.iter().enumerate() {
            // SAFETY: the assertion above.
            unsafe {
                let to = self.data.add(corner + row * stride);
                match cols == N {
                    true => to.cast::<[f32; N]>().write_unaligned(*tile),
                    false => std::ptr::copy_nonoverlapping(tile.as_ptr(), to, cols),
                }
            }
        }
    }

    #[expect(unsafe_code, reason = "tiles are read and written through raw pointers")]
    fn tile<E: Element>(
        &self,
        isa: Isa,
        tile: &Tile<'_, E>,
        corner: usize,
        stride: usize,
        continues: bool,
    ) {
        let (height, width) = (tile.height, tile.panels * tile.width);
        assert!(corner + span(height, width, stride) <= self.len, "a tile inside the result");
        if tile.width == lanes(isa, tile.width) {
            // SAFETY: the assertion above keeps `height` rows of `width` elements inside the result.
            unsafe { E::run(isa, tile, self.data.add(corner), stride, continues) };
        } else {
            self.ragged(isa, tile, corner, stride, continues);
        }
    }

    /// Computes a tile beside the result and copies what is wanted of it.
    #[expect(unsafe_code, reason = "tiles are read and written through raw pointers")]
    fn ragged<E: Element>(
        &self,
        isa: Isa,
        tile: &Tile<'_, E>,
        corner: usize,
        stride: usize,
        continues: bool,
    ) {
        let (height, width, lanes) = (tile.height, tile.width, lanes(isa, tile.width));
        assert!(tile.panels == 1, "a ragged panel is the last");
        assert!(corner + span(height, width, stride) <= self.len, "a tile inside the result");
        let mut spare = [0.0f32; MAX_TILE];
        // SAFETY: the assertion above keeps `height` rows of `width` elements inside the result;
        // `spare` holds the largest tile.
        unsafe {
            let target = self.data.add(corner);
            if continues {
                for r in 0..height {
                    let source = target.add(r * stride);
                    std::ptr::copy_nonoverlapping(source, spare.as_mut_ptr().add(r * lanes), width);
                }
            }
            E::run(isa, tile, spare.as_mut_ptr(), lanes, continues);
            for r in 0..height {
                let source = spare.as_ptr().add(r * lanes);
                std::ptr::copy_nonoverlapping(source, target.add(r * stride), width);
            }
        }
    }
}

/// One block of the inner dimension of a product, and some of its columns.
pub(super) struct Part<'a, E> {
    pub(super) a: Mat<'a>,
    pub(super) b: Panels<'a, E>,
    pub(super) depth: Range<usize>,
    pub(super) cols: Range<usize>,
    pub(super) isa: Isa,
}

impl<E: Element> Part<'_, E> {
    /// Elements of a row once its neighbours are joined.
    pub(super) fn steps(&self) -> usize {
        self.depth.len().div_ceil(E::STEP)
    }

    /// Whether so many panels are multiplied by rows where these lie. Packing pays where tiles would jump from
    /// line to line for each of many columns, or all rows of a tile compete for the same few places in the cache.
    pub(super) fn reads_where_it_lies(&self, panels: usize) -> bool {
        let few = panels * self.b.width <= PACK_LEFT;
        let apart = self.a.col_stride == 1 && !self.a.row_stride.is_multiple_of(SAME_PLACE);
        E::where_it_lies(self.a, 0, 0).is_some() && (few || apart)
    }

    /// Packs rows for tiles of a height.
    pub(super) fn pack(&self, packed: &mut [E::Factor], rows: Range<usize>, height: usize) {
        pack_left::<E>(self.isa, packed, self.a, rows, self.depth.clone(), height);
    }

    /// Packs blocks of rows, one after another, by all threads.
    fn pack_together(&self, mut packed: &mut [E::Factor], row_blocks: &[Range<usize>]) {
        let (steps, mut tiles) = (self.steps(), Vec::new());
        for block in row_blocks {
            let height = self.shape().even(block.len());
            for rows in blocks(block.len(), 2 * height) {
                let (own, rest) = std::mem::take(&mut packed).split_at_mut(rows.len() * steps);
                tiles.push((own, block.start + rows.start..block.start + rows.end, height));
                packed = rest;
            }
        }
        each(tiles.into_iter(), |(packed, rows, height)| self.pack(packed, rows, height));
    }

    pub(super) fn shape(&self) -> Shape {
        Shape { width: self.b.width, ..Shape::of(self.isa) }
    }

    pub(super) fn panels(&self) -> usize {
        self.cols.len().div_ceil(self.b.width)
    }
}

/// A product with a block where it lies: rows of `left` by `steps` rows of `right`, `stride` apart, of
/// which the first `cols` columns are wanted. The stride is a multiple of eight.
pub(crate) struct Block<'a> {
    pub(crate) left: Left<'a, f32>,
    pub(crate) rows: usize,
    pub(crate) right: &'a [f32],
    pub(crate) steps: usize,
    pub(crate) stride: usize,
    pub(crate) cols: usize,
}

/// The widest tile that reads no more than so many columns, a multiple of eight.
fn widest(isa: Isa, columns: usize) -> usize {
    let widths = [Shape::of(isa).width, 16, 8].into_iter();
    widths.filter(|&w| w <= columns && w <= Shape::of(isa).width).max().unwrap_or(columns)
}
