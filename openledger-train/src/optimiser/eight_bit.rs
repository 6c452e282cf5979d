//! `AdamW` whose means are kept in eight bits (Dettmers et al., 2022).

use serde::{Deserialize, Serialize};

use super::AdamW;

/// [`AdamW`] with a quarter of its memory: each mean is one of 256 numbers, times the largest of its
/// block of 256. The numbers are those of bitsandbytes.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
#[serde(default)]
#[non_exhaustive]
pub struct AdamW8bit {
    /// The constants.
    pub adamw: AdamW,
    /// Tensors of fewer elements are kept whole.
    pub min_size: usize,
}

impl Default for AdamW8bit {
    /// bitsandbytes' defaults.
    fn default() -> Self {
        Self { adamw: AdamW { weight_decay: 0.01, ..AdamW::default() }, min_size: 4096 }
    }
}

impl AdamW8bit {
    /// Returns this with other constants.
    #[must_use]
    pub const fn with_adamw(mut self, adamw: AdamW) -> Self {
        self.adamw = adamw;
        self
    }

    /// Returns this with another size from which tensors are kept in eight bits.
    #[must_use]
    pub const fn with_min_size(mut self, min_size: usize) -> Self {
        self.min_size = min_size;
        self
    }
}

/// Elements that share a scale.
const BLOCK: usize = 256;
/// The least that a block's largest element counts as.
const LEAST: f32 = 1e-38;

/// Numbers in eight bits.
#[derive(Clone, Debug)]
pub(super) struct Blocks {
    codes: Vec<u8>,
    scales: Vec<f32>,
    /// What codes stand for, ascending.
    map: Vec<f32>,
    /// Half-way between neighbours of them; a number on a border gets the lower code.
    borders: Vec<f32>,
}

impl Blocks {
    /// Zeros, with codes for both signs or for positive numbers only.
    pub(super) fn new(len: usize, signed: bool) -> Self {
        let map = dynamic_map(signed);
        let borders = map.windows(2).map(|pair| (pair[0] + pair[1]) / 2.0).collect();
        let mut blocks = Self { codes: vec![0; len], scales: Vec::new(), map, borders };
        blocks.store(&vec![0.0; len]);
        blocks
    }

    /// The codes and the scales of their blocks.
    pub(super) fn parts(&self) -> (&[u8], &[f32]) {
        (&self.codes, &self.scales)
    }

    /// Takes as many codes and scales as there are.
    pub(super) fn set_parts(&mut self, codes: Vec<u8>, scales: Vec<f32>) {
        (self.codes, self.scales) = (codes, scales);
    }

    pub(super) fn load(&self) -> Vec<f32> {
        let blocks = self.codes.chunks(BLOCK).zip(&self.scales);
        blocks
            .flat_map(|(codes, scale)| codes.iter().map(|&code| self.map[code as usize] * *scale))
            .collect()
    }

    pub(super) fn store(&mut self, numbers: &[f32]) {
        self.scales.clear();
        for (codes, numbers) in self.codes.chunks_mut(BLOCK).zip(numbers.chunks(BLOCK)) {
            let largest = numbers.iter().fold(0f32, |most, x| most.max(x.abs()));
            let inverse = 1.0 / largest.max(LEAST);
            for (code, number) in codes.iter_mut().zip(numbers) {
                let scaled = (number * inverse).clamp(-1.0, 1.0);
                *code = self.borders.partition_point(|border| *border < scaled) as u8;
            }
            self.scales.push(largest);
        }
    }
}

/// The 256 numbers that codes stand for, ascending: seven decades, each with twice as many numbers as
/// the one below, and zero and one.
fn dynamic_map(signed: bool) -> Vec<f32> {
    let mut numbers = vec![0.0, 1.0];
    for (decade, power) in (0..).zip([1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0f64]) {
        let count = 1u32 << if signed { decade } else { decade + 1 };
        // The middles of as many equal parts of 0.1 to 1.
        let edge = |at: u32| 0.1 + 0.9 * f64::from(at) / f64::from(count);
        for at in 0..count {
            let middle = (edge(at) as f32 + edge(at + 1) as f32) / 2.0;
            let number = (power * f64::from(middle)) as f32;
            numbers.push(number);
            if signed {
                numbers.push(-number);
            }
        }
    }
    numbers.sort_by(f32::total_cmp);
    numbers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_a_code_for_everything_and_what_has_one_comes_back() {
        for signed in [true, false] {
            let map = dynamic_map(signed);
            assert_eq!(map.len(), 256);
            assert!(map.windows(2).all(|pair| pair[0] < pair[1]), "each once");
            let mut blocks = Blocks::new(256, signed);
            let scaled: Vec<f32> = map.iter().map(|x| x * 3.0).collect();
            blocks.store(&scaled);
            let apart = blocks
                .load()
                .iter()
                .zip(&scaled)
                .fold(0f32, |most, (a, b)| most.max((a - b).abs()));
            assert!(apart < 1e-6, "{apart}");
        }
    }

    #[test]
    fn blocks_do_not_share_a_scale() {
        let mut blocks = Blocks::new(600, true);
        let numbers: Vec<f32> = (0..600u16).map(|i| if i < 256 { 1e6 } else { -1e-3 }).collect();
        blocks.store(&numbers);
        let apart = |(a, b): (&f32, &f32)| (a / b - 1.0).abs();
        assert!(blocks.load().iter().zip(&numbers).map(apart).all(|apart| apart < 0.02));
    }
}
