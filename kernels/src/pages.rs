//! Attention over keys and values that lie in pages.
//!
//! A page holds [`PAGE`] rows of one layer. Keys lie with their elements apart and their rows side by
//! side, so that vector lanes run over rows; values lie row by row, so that they run over elements:
//!
//! ```text
//! page = for each head: keys [dim][PAGE], values [PAGE][value_dim, rounded up to 8]
//!        in eight bits, then: scales of keys [PAGE], scales of values [PAGE]
//! ```

mod eight_bit;
mod row;

use std::ops::Range;

use crate::{
    Heads, Into,
    attention::softmax_row,
    gemm::{Block, Left, Out},
    isa::Isa,
    reduce::scale,
    threads::{each, each_with},
};

/// Rows in a page.
pub const PAGE: usize = 16;

/// Query rows whose scores are kept at a time.
const BLOCK: usize = 48;

/// Where the keys and values of one layer lie in a page.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct PageLayout {
    heads: usize,
    dim: usize,
    value_dim: usize,
    eight_bit: bool,
}

impl PageLayout {
    /// Returns the layout for these heads.
    pub const fn new(heads: &Heads) -> Self {
        let (dim, value_dim) = (heads.dim, heads.value_dim);
        Self { heads: heads.key_value, dim, value_dim, eight_bit: false }
    }

    /// Returns the layout of pages in a bit more than a quarter of the memory: each head's part of a row is
    /// rounded to codes from -127 to 127 with a scale of its own. Attention then has the bits of attention
    /// over the rounded rows.
    #[must_use]
    pub const fn in_eight_bits(mut self) -> Self {
        self.eight_bit = true;
        self
    }

    /// Returns the elements of a page, in units of four bytes whatever it holds.
    #[expect(clippy::len_without_is_empty, reason = "no page is empty")]
    pub const fn len(&self) -> usize {
        self.heads * self.head()
    }

    /// Writes rows of keys and as many of values as rows `slot` and following of the page.
    ///
    /// # Panics
    /// If the sizes do not match, or there are no such rows.
    pub fn write(&self, page: &mut [f32], slot: usize, keys: &[f32], values: &[f32]) {
        let [key_width, value_width] = [self.heads * self.dim, self.heads * self.value_dim];
        let rows = keys.len() / key_width;
        let sizes = [rows * key_width, rows * value_width];
        assert_eq!([keys.len(), values.len()], sizes, "rows of keys and as many of values");
        assert!(slot + rows <= PAGE && page.len() == self.len(), "row {slot} of a page and {rows}");
        for (index, head) in page.chunks_exact_mut(self.head()).enumerate() {
            let row = |row| {
                let key = &keys[row * key_width + index * self.dim..][..self.dim];
                let value = &values[row * value_width + index * self.value_dim..];
                (key, &value[..self.value_dim])
            };
            if self.eight_bit {
                for (slot, (key, value)) in (slot..).zip((0..rows).map(row)) {
                    eight_bit::write(head, slot, key, value, self.stride());
                }
                continue;
            }
            let (head_keys, head_values) = head.split_at_mut(self.dim * PAGE);
            // Rows of one element lie side by side: written together they are one access to memory.
            for (element, to) in head_keys.as_chunks_mut::<PAGE>().0.iter_mut().enumerate() {
                let column = keys[index * self.dim + element..].iter().step_by(key_width);
                to[slot..].iter_mut().zip(column).for_each(|(to, from)| *to = *from);
            }
            for (to, (_, value)) in head_values[slot * self.stride()..]
                .chunks_mut(self.stride())
                .zip((0..rows).map(row))
            {
                to[..self.value_dim].copy_from_slice(value);
            }
        }
    }

    /// Elements of one head.
    const fn head(&self) -> usize {
        match self.eight_bit {
            true => self.numbers() / 4 + 2 * PAGE,
            false => self.numbers(),
        }
    }

    /// Numbers that one head has.
    const fn numbers(&self) -> usize {
        PAGE * (self.dim + self.stride())
    }

    /// Elements from one row of values to the next.
    const fn stride(&self) -> usize {
        self.value_dim.next_multiple_of(8)
    }

    /// The numbers of one head of some pages, read into `spare` if they lie in eight bits: keys, then values,
    /// from some element of each on.
    fn open<'a>(
        &self,
        pages: &[&'a [f32]],
        head: usize,
        spare: &'a mut Vec<f32>,
    ) -> (Vec<&'a [f32]>, usize) {
        if !self.eight_bit {
            return (pages.to_vec(), head * self.head());
        }
        spare.resize(pages.len() * self.numbers(), 0.0);
        for (page, out) in pages.iter().zip(spare.chunks_exact_mut(self.numbers())) {
            let head = &page[head * self.head()..][..self.head()];
            eight_bit::read(out, head, self.dim, self.stride());
        }
        (spare.chunks_exact(self.numbers()).collect(), 0)
    }
}

/// Rows at the end of a sequence, and the pages it lies in.
#[derive(Clone, Debug)]
#[expect(clippy::exhaustive_structs, reason = "what attention is a function of")]
pub struct Paged<'a> {
    /// Their queries, `[rows, query * dim]`.
    pub q: &'a [f32],
    /// The pages, each of [`PageLayout::len`] elements.
    pub pages: Vec<&'a [f32]>,
    /// Rows in the pages, these last among them.
    pub seen: usize,
}

/// Rows that a page gets, for [`write_pages`].
#[derive(Debug)]
#[expect(clippy::exhaustive_structs, reason = "what writing is a function of")]
pub struct NewRows<'a> {
    /// The page, of [`PageLayout::len`] elements.
    pub page: &'a mut [f32],
    /// Where in it the first of them goes.
    pub slot: usize,
    /// `[rows, key_value * dim]`.
    pub keys: &'a [f32],
    /// `[rows, key_value * value_dim]`.
    pub values: &'a [f32],
}

/// Writes rows to pages as [`PageLayout::write`] does. Threads divide pages.
///
/// # Panics
/// As [`PageLayout::write`].
pub fn write_pages(rows: Vec<NewRows<'_>>, layout: PageLayout) {
    let elements: usize = rows.iter().map(|rows| rows.keys.len() + rows.values.len()).sum();
    let write = |NewRows { page, slot, keys, values }: NewRows<'_>| {
        layout.write(page, slot, keys, values);
    };
    if elements < SCATTERED {
        rows.into_iter().for_each(write);
    } else {
        each(rows.into_iter(), write);
    }
}

/// Elements that are worth dividing among threads: most go to a place of their own.
const SCATTERED: usize = 1 << 12;

/// Attention of rows at the end of some sequences, each over its own: writes to `out`, `[rows of all,
/// query * value_dim]`.
///
/// A result has the bits of [`Causal::forward`](crate::Causal::forward)'s last rows. Threads divide
/// sequences, heads and rows.
///
/// # Panics
/// If the sizes do not match.
pub fn attend_pages(out: &mut [f32], sequences: &[Paged<'_>], heads: Heads, layout: PageLayout) {
    let (mut tasks, mut work, mut first) = (Vec::new(), 0, 0);
    for &Paged { q, ref pages, seen } in sequences {
        let rows = q.len() / heads.query_width();
        assert_eq!(q.len(), rows * heads.query_width(), "whole rows of queries");
        assert!(rows <= seen && seen <= pages.len() * PAGE, "{seen} rows in {} pages", pages.len());
        assert!(pages.iter().all(|page| page.len() == layout.len()), "pages of this layer");
        let sequence = Sequence { q, pages, layout, heads, seen, rows, first };
        // Of one row the queries that share a key are multiplied together, of many those of one head.
        if rows == 1 {
            let group = heads.query / heads.key_value;
            let queries = (0..heads.key_value).map(|head| head * group..(head + 1) * group);
            tasks.extend(queries.map(|queries| (sequence, queries, 0..1)));
        } else {
            for first in (0..rows).step_by(BLOCK) {
                let rows = first..rows.min(first + BLOCK);
                tasks.extend((0..heads.query).map(|head| (sequence, head..head + 1, rows.clone())));
            }
        }
        work += rows * seen * (heads.query_width() + heads.out_width());
        first += rows;
    }
    assert_eq!(out.len(), first * heads.out_width(), "a result for each row");
    let out = Out::new(Into::Set(out), [first, 1, heads.out_width()], heads.out_width());
    if work < SHARED {
        let mut spare = Spare::default();
        for (sequence, queries, rows) in tasks {
            sequence.attend(&out, queries, rows, &mut spare);
        }
    } else {
        each_with(tasks.into_iter(), Spare::default, |spare, (sequence, queries, rows)| {
            sequence.attend(&out, queries, rows, spare);
        });
    }
}

/// Multiply-adds that are worth dividing among threads: heads of one row are small products, which take
/// several times as long as a large one for each.
const SHARED: usize = 1 << 16;

/// Memory that a thread uses again.
#[derive(Default)]
struct Spare {
    scores: Vec<f32>,
    numbers: Vec<f32>,
}

/// What is attended to.
#[derive(Clone, Copy)]
struct Sequence<'a> {
    q: &'a [f32],
    pages: &'a [&'a [f32]],
    layout: PageLayout,
    heads: Heads,
    /// Rows in the pages.
    seen: usize,
    /// The last of them, which attend.
    rows: usize,
    /// Rows of the result before theirs.
    first: usize,
}

impl Sequence<'_> {
    /// Writes what some query heads of one key head return for some rows: many heads of one row, or one head
    /// of many rows.
    fn attend(&self, out: &Out<'_>, queries: Range<usize>, rows: Range<usize>, spare: &mut Spare) {
        let Self { pages, layout, heads, .. } = *self;
        let before = self.seen - self.rows;
        let used = heads.sees_from(before + rows.start) / PAGE..(before + rows.end).div_ceil(PAGE);
        let Spare { scores, numbers } = spare;
        let head = heads.key_of(queries.start);
        let (pages, offset) = layout.open(&pages[used.clone()], head, numbers);
        let seen = Seen { pages, offset, base: used.start * PAGE };
        if rows.len() == 1 && queries.len() <= BY_ROW {
            queries.for_each(|query| self.attend_row(out, &seen, query, rows.start, scores));
        } else {
            self.attend_block(out, &seen, queries, rows, scores);
        }
    }

    /// One row and one head.
    fn attend_row(
        &self,
        out: &Out<'_>,
        seen: &Seen<'_>,
        query: usize,
        row: usize,
        scores: &mut Vec<f32>,
    ) {
        let Self { q, layout, heads, .. } = *self;
        let isa = Isa::best();
        let visible = self.visible(row, seen.base);
        scores.clear();
        scores.resize(seen.pages.len() * PAGE, 0.0);
        let q = &q[row * heads.query_width() + query * heads.dim..][..heads.dim];
        row::scores(isa, scores, q, &seen.pages, seen.offset);
        scale(isa, scores, heads.scale);
        softmax_row(scores, visible.clone());
        // Rows of a page that are not written yet may hold anything.
        scores.truncate(visible.end);
        let corner = (self.first + row) * heads.out_width() + query * heads.value_dim;
        for col in (0..heads.value_dim).step_by(row::WIDTH) {
            let cols = row::WIDTH.min(heads.value_dim - col);
            let mut sums = [0.0; row::WIDTH];
            let values = seen.offset + heads.dim * PAGE + col;
            row::values(isa, &mut sums, scores, &seen.pages, values, layout.stride(), cols);
            out.write(corner + col, heads.out_width(), cols, &[sums]);
        }
    }

    /// Many heads of one row, or many rows of one head.
    fn attend_block(
        &self,
        out: &Out<'_>,
        seen: &Seen<'_>,
        queries: Range<usize>,
        rows: Range<usize>,
        scores: &mut Vec<f32>,
    ) {
        let Self { q, layout, heads, .. } = *self;
        let isa = Isa::best();
        let width = seen.pages.len() * PAGE;
        let count = queries.len().max(rows.len());
        let [query_stride, out_stride] = match rows.len() {
            1 => [heads.dim, heads.value_dim],
            _ => [heads.query_width(), heads.out_width()],
        };
        let query = rows.start * heads.query_width() + queries.start * heads.dim;
        scores.clear();
        scores.resize(count * width, 0.0);
        let table = Out::new(Into::Set(scores), [count, 1, width], width);
        for (page, at) in seen.pages.iter().zip((0..).step_by(PAGE)) {
            let left = Left { data: &q[query..], row_stride: query_stride, step_stride: 1 };
            let right = &page[seen.offset..][..heads.dim * PAGE];
            let block =
                Block { left, rows: count, right, steps: heads.dim, stride: PAGE, cols: PAGE };
            table.multiply_block(isa, block, at, width, false);
        }
        scale(isa, scores, heads.scale);
        for (index, scores) in scores.chunks_exact_mut(width).enumerate() {
            let row = rows.start + if rows.len() == 1 { 0 } else { index };
            softmax_row(scores, self.visible(row, seen.base));
        }
        let last = self.visible(rows.end - 1, seen.base).end;
        for (page, at) in seen.pages.iter().zip((0..).step_by(PAGE)) {
            let left = Left { data: &scores[at..], row_stride: width, step_stride: 1 };
            let right = &page[seen.offset + heads.dim * PAGE..][..PAGE * layout.stride()];
            // Rows of a page that are not written yet may hold anything.
            let (steps, cols) = (PAGE.min(last - at), heads.value_dim);
            let block = Block { left, rows: count, right, steps, stride: layout.stride(), cols };
            let corner =
                (self.first + rows.start) * heads.out_width() + queries.start * heads.value_dim;
            out.multiply_block(isa, block, corner, out_stride, at > 0);
        }
    }

    /// Which rows a row sees, counted from `base` on.
    const fn visible(&self, row: usize, base: usize) -> Range<usize> {
        let row = self.seen - self.rows + row;
        self.heads.sees_from(row) - base..row + 1 - base
    }
}

/// The pages that some rows see, of one head.
struct Seen<'a> {
    pages: Vec<&'a [f32]>,
    /// Where in a page the head begins.
    offset: usize,
    /// Rows before the pages.
    base: usize,
}

/// Query heads of one row from which on they are multiplied together.
const BY_ROW: usize = 4;
