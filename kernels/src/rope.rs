//! Rotary position embedding (Su et al., 2021) in the layout of Hugging Face's Llama.

use crate::isa::vectorised;

/// The rotation of each position: cosines and sines, `[positions, head_dim / 2]` each.
///
/// Element `i` of a head turns together with element `i + head_dim / 2`, by the angle
/// `position * frequency[i]`. The angle is rounded to `f32` first, as the reference
/// implementation does, its sine and cosine are exact to `f32`.
#[derive(Clone, Debug)]
pub struct Rope {
    half: usize,
    cos: Vec<f32>,
    sin: Vec<f32>,
}

impl Rope {
    /// Tabulates `positions` positions for the given inverse frequencies, one for each pair.
    pub fn new(frequencies: &[f32], positions: usize) -> Self {
        let angles = (0..positions)
            .flat_map(|position| frequencies.iter().map(move |f| f64::from(position as f32 * f)));
        let (cos, sin) = angles.map(|a| (libm::cos(a) as f32, libm::sin(a) as f32)).unzip();
        Self { half: frequencies.len(), cos, sin }
    }

    /// Returns the number of positions tabulated.
    pub fn positions(&self) -> usize {
        self.cos.len() / self.half
    }

    /// Turns each head of each row of `x` by its row's position. `x` is `[rows, heads * head_dim]`.
    ///
    /// # Panics
    /// If the sizes do not match or a position is not tabulated.
    pub fn apply(&self, x: &mut [f32], positions: &[u32]) {
        self.rotate(x, positions, 1.0);
    }

    /// Turns back: the gradient of [`apply`](Self::apply).
    ///
    /// # Panics
    /// As [`apply`](Self::apply).
    pub fn apply_backward(&self, dx: &mut [f32], positions: &[u32]) {
        self.rotate(dx, positions, -1.0);
    }

    fn rotate(&self, x: &mut [f32], positions: &[u32], sign: f32) {
        if positions.is_empty() {
            return;
        }
        assert_eq!(x.len() % positions.len(), 0, "whole rows");
        let width = x.len() / positions.len();
        assert_eq!(width % (2 * self.half), 0, "whole heads");
        for (row, &position) in x.chunks_exact_mut(width).zip(positions) {
            let place = position as usize * self.half;
            let cos = &self.cos[place..place + self.half];
            let sin = &self.sin[place..place + self.half];
            vectorised(|| {
                for head in row.chunks_exact_mut(2 * self.half) {
                    let (first, second) = head.split_at_mut(self.half);
                    for index in 0..self.half {
                        let (x, y) = (first[index], second[index]);
                        let sin = sign * sin[index];
                        first[index] = x * cos[index] - y * sin;
                        second[index] = y * cos[index] + x * sin;
                    }
                }
            });
        }
    }
}
