//! Numbers in eight bits (Dettmers et al., 2022), as bitsandbytes has them.

use std::sync::OnceLock;

/// Elements that share a scale.
const BLOCK: usize = 256;
/// The least that a block's largest element counts as.
const LEAST: f32 = 1e-38;

/// A list of numbers, each one of 256 values times the largest of its block of 256.
#[derive(Clone, Debug, PartialEq)]
pub struct EightBit {
    codes: Vec<u8>,
    scales: Vec<f32>,
    signed: bool,
}

impl EightBit {
    /// Rounds `numbers` to the values of one sign, or of both if `signed`.
    pub fn new(numbers: &[f32], signed: bool) -> Self {
        let mut rounded = Self { codes: Vec::new(), scales: Vec::new(), signed };
        rounded.store(numbers);
        rounded
    }

    /// Rounds other numbers.
    pub fn store(&mut self, numbers: &[f32]) {
        let Self { codes, scales, signed } = self;
        let borders = &Map::get(*signed).borders;
        codes.clear();
        scales.clear();
        for numbers in numbers.chunks(BLOCK) {
            let largest = numbers.iter().fold(0f32, |most, x| most.max(x.abs()));
            let inverse = 1.0 / largest.max(LEAST);
            codes.extend(numbers.iter().map(|number| {
                let scaled = (number * inverse).clamp(-1.0, 1.0);
                borders.partition_point(|border| *border < scaled) as u8
            }));
            scales.push(largest);
        }
    }

    /// Takes codes and the scale of each block of 256, of the same values.
    ///
    /// # Panics
    /// If there is not one scale for each block.
    pub fn set_parts(&mut self, codes: Vec<u8>, scales: Vec<f32>) {
        assert_eq!(scales.len(), codes.len().div_ceil(BLOCK), "a scale for each block");
        (self.codes, self.scales) = (codes, scales);
    }

    /// Returns the number at `index`.
    pub fn get(&self, index: usize) -> f32 {
        Map::get(self.signed).values[self.codes[index] as usize] * self.scales[index / BLOCK]
    }

    /// Returns all numbers.
    pub fn to_vec(&self) -> Vec<f32> {
        (0..self.codes.len()).map(|index| self.get(index)).collect()
    }

    /// Returns the codes: the place of each number's value among the 256, ascending.
    pub fn codes(&self) -> &[u8] {
        &self.codes
    }

    /// Returns the scale of each block of 256.
    pub fn scales(&self) -> &[f32] {
        &self.scales
    }
}

/// What codes stand for.
#[derive(Debug)]
struct Map {
    /// Ascending.
    values: Vec<f32>,
    /// Half-way between neighbours; a number on a border gets the lower code.
    borders: Vec<f32>,
}

impl Map {
    fn get(signed: bool) -> &'static Self {
        static MAPS: [OnceLock<Map>; 2] = [const { OnceLock::new() }; 2];
        MAPS[usize::from(signed)].get_or_init(|| {
            let values = dynamic_map(signed);
            let borders = values.windows(2).map(|pair| (pair[0] + pair[1]) / 2.0).collect();
            Self { values, borders }
        })
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
            let map = &Map::get(signed).values;
            assert_eq!(map.len(), 256);
            assert!(map.windows(2).all(|pair| pair[0] < pair[1]), "each once");
            let scaled: Vec<f32> = map.iter().map(|x| x * 3.0).collect();
            let apart = EightBit::new(&scaled, signed)
                .to_vec()
                .iter()
                .zip(&scaled)
                .fold(0f32, |most, (a, b)| most.max((a - b).abs()));
            assert!(apart < 1e-6, "{apart}");
        }
    }

    #[test]
    fn blocks_do_not_share_a_scale() {
        let numbers: Vec<f32> = (0..600u16).map(|i| if i < 256 { 1e6 } else { -1e-3 }).collect();
        let rounded = EightBit::new(&numbers, true);
        let apart = |(a, b): (&f32, &f32)| (a / b - 1.0).abs();
        assert!(rounded.to_vec().iter().zip(&numbers).map(apart).all(|apart| apart < 0.02));
    }
}
