//! Rotary position embedding (Su et al., 2021) in the layouts of Hugging Face's models.

use std::sync::{Arc, PoisonError, RwLock};

use rayon::prelude::*;

use crate::{
    exp::pow,
    isa::{Isa, vectorised},
};

/// Turns the heads of queries and keys by the position of their row.
///
/// The elements of a pair turn together, by the angle `position * frequency[pair]`. The angle is
/// rounded to `f32` first, as the reference implementation does; its sine and cosine are exact to
/// `f32`. They are tabulated as far as positions are asked for, so a model that claims a million
/// positions costs nothing by it.
#[derive(Debug)]
pub struct Rope {
    frequencies: Vec<f32>,
    pairs: Pairs,
    scale: f32,
    stretch: Option<Stretch>,
    table: RwLock<Arc<Table>>,
    stretched: RwLock<Arc<Table>>,
}

/// Which elements of a head turn together.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "models have these two")]
pub enum Pairs {
    /// Element `i` and element `i + width / 2`: Llama and most others.
    Halves,
    /// Elements `2 i` and `2 i + 1`: `DeepSeek`, and Llama as its authors published it.
    Neighbours,
}

/// Dynamic scaling: frequencies that fall with the length of a sequence longer than `positions`.
#[derive(Clone, Copy, Debug)]
struct Stretch {
    theta: f64,
    factor: f64,
    positions: usize,
}

/// Cosines and sines, `[positions, pairs]` each.
#[derive(Debug, Default)]
struct Table {
    cos: Vec<f32>,
    sin: Vec<f32>,
}

impl Rope {
    /// Takes the inverse frequencies, one for each pair of elements.
    pub fn new(frequencies: Vec<f32>) -> Self {
        Self {
            frequencies,
            pairs: Pairs::Halves,
            scale: 1.0,
            stretch: None,
            table: RwLock::default(),
            stretched: RwLock::default(),
        }
    }

    /// Returns this with other pairs.
    #[must_use]
    pub fn with_pairs(mut self, pairs: Pairs) -> Self {
        self.pairs = pairs;
        self
    }

    /// Returns this with cosines and sines multiplied by `scale`, as `YaRN` has it.
    #[must_use]
    pub fn with_scale(mut self, scale: f32) -> Self {
        self.scale = scale;
        self
    }

    /// Returns this with dynamic scaling: for a sequence of `n` positions, more than `positions`, the
    /// base is `theta * (factor * n / positions - factor + 1) ^ (width / (width - 2))`.
    #[must_use]
    pub fn with_stretch(mut self, theta: f64, factor: f64, positions: usize) -> Self {
        self.stretch = Some(Stretch { theta, factor, positions });
        self
    }

    /// Returns which elements turn together.
    pub const fn pairs(&self) -> Pairs {
        self.pairs
    }

    /// Returns how many elements of a head turn.
    pub fn width(&self) -> usize {
        2 * self.frequencies.len()
    }

    /// Turns each head of each row of `x`, `[rows, heads * width]`, by its row's position. The rows
    /// are of one sequence, of which they are the last.
    ///
    /// # Panics
    /// If the sizes do not match.
    pub fn apply(&self, x: &mut [f32], positions: &[u32]) {
        self.rotate(x, positions, [self.width(), 0], 1.0);
    }

    /// Turns back: the gradient of [`apply`](Self::apply).
    ///
    /// # Panics
    /// As [`apply`](Self::apply).
    pub fn apply_backward(&self, dx: &mut [f32], positions: &[u32]) {
        self.rotate(dx, positions, [self.width(), 0], -1.0);
    }

    /// Turns the last elements of each head of `head` elements, as many as turn.
    ///
    /// # Panics
    /// If the sizes do not match.
    pub fn apply_to_ends(&self, x: &mut [f32], positions: &[u32], head: usize) {
        self.rotate(x, positions, [head, head - self.width()], 1.0);
    }

    /// Turns back: the gradient of [`apply_to_ends`](Self::apply_to_ends).
    ///
    /// # Panics
    /// As [`apply_to_ends`](Self::apply_to_ends).
    pub fn apply_to_ends_backward(&self, dx: &mut [f32], positions: &[u32], head: usize) {
        self.rotate(dx, positions, [head, head - self.width()], -1.0);
    }

    fn rotate(&self, x: &mut [f32], positions: &[u32], [head, from]: [usize; 2], sign: f32) {
        let Some(&last) = positions.iter().max() else { return };
        assert_eq!(x.len() % positions.len(), 0, "whole rows");
        let width = x.len() / positions.len();
        let pairs = self.frequencies.len();
        assert_eq!(width % head, 0, "whole heads");
        let (isa, table) = (Isa::best(), self.table(last as usize + 1));
        let rows = x.par_chunks_exact_mut(width).zip(positions).with_min_len(32);
        rows.for_each(|(row, &position)| {
            let place = position as usize * pairs;
            let (cos, sin) = (&table.cos[place..place + pairs], &table.sin[place..place + pairs]);
            match self.pairs {
                Pairs::Halves => turn_halves(isa, row, head, from, cos, sin, sign),
                Pairs::Neighbours => turn_neighbours(isa, row, head, from, cos, sin, sign),
            }
        });
    }

    /// Returns a table of at least `positions` positions, of a sequence that is as long.
    fn table(&self, positions: usize) -> Arc<Table> {
        let len = positions * self.frequencies.len();
        let stretch = self.stretch.filter(|stretch| positions > stretch.positions);
        let slot = if stretch.is_some() { &self.stretched } else { &self.table };
        let table = Arc::clone(&slot.read().unwrap_or_else(PoisonError::into_inner));
        let larger = match stretch {
            _ if table.cos.len() == len => return table,
            // Of another length all frequencies are others.
            Some(stretch) => {
                self.tabulate(&stretch.frequencies(positions, self.width()), positions)
            }
            None if table.cos.len() >= len => return table,
            None => self.tabulate(&self.frequencies, positions.next_power_of_two()),
        };
        let larger = Arc::new(larger);
        *slot.write().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&larger);
        larger
    }

    fn tabulate(&self, frequencies: &[f32], positions: usize) -> Table {
        let angles = (0..positions)
            .flat_map(|position| frequencies.iter().map(move |f| f64::from(position as f32 * f)));
        let turned = angles.map(|a| (libm::cos(a) as f32, libm::sin(a) as f32));
        let (cos, sin) = turned.map(|(cos, sin)| (cos * self.scale, sin * self.scale)).unzip();
        Table { cos, sin }
    }
}

impl Stretch {
    fn frequencies(&self, positions: usize, width: usize) -> Vec<f32> {
        let longer = self.factor * positions as f64 / self.positions as f64 - self.factor + 1.0;
        let theta = self.theta * pow(longer, width as f64 / (width as f64 - 2.0));
        let exponent = |pair: usize| f64::from((2 * pair) as f32 / width as f32);
        (0..width / 2).map(|pair| 1.0 / pow(theta, exponent(pair)) as f32).collect()
    }
}

vectorised! {
    /// Turns the elements from `from` on of each head of one row.
    fn turn_halves(
        row: &mut [f32],
        head: usize,
        from: usize,
        cos: &[f32],
        sin: &[f32],
        sign: f32,
    ) {
        let half = cos.len();
        for head in row.chunks_exact_mut(head) {
            let (first, second) = head[from..from + 2 * half].split_at_mut(half);
            let angles = cos.iter().zip(sin);
            for ((x, y), (cos, sin)) in first.iter_mut().zip(second).zip(angles) {
                let (turned, sin) = (*x, sign * sin);
                *x = turned * cos - *y * sin;
                *y = *y * cos + turned * sin;
            }
        }
    }

    /// As above, with neighbours for pairs.
    fn turn_neighbours(
        row: &mut [f32],
        head: usize,
        from: usize,
        cos: &[f32],
        sin: &[f32],
        sign: f32,
    ) {
        for head in row.chunks_exact_mut(head) {
            let pairs = head[from..from + 2 * cos.len()].chunks_exact_mut(2);
            for (pair, (cos, sin)) in pairs.zip(cos.iter().zip(sin)) {
                let (x, y, sin) = (pair[0], pair[1], sign * sin);
                pair[0] = x * cos - y * sin;
                pair[1] = y * cos + x * sin;
            }
        }
    }
}
