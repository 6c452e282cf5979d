//! Weights in four bits: `NormalFloat` with double quantisation (`QLoRA`, Dettmers et al., 2023).

use super::EightBit;

/// Elements that share a scale.
const BLOCK: usize = 64;

/// The 16 values, ascending: quantiles of the normal distribution, with an exact zero (appendix E
/// of the paper; the digits are bitsandbytes').
const VALUES: [f32; 16] = [
    -1.0,
    -0.696_192_8,
    -0.525_073_05,
    -0.394_917_5,
    -0.284_441_38,
    -0.184_773_43,
    -0.091_050_036,
    0.0,
    0.079_580_3,
    0.160_930_2,
    0.246_112_3,
    0.337_915_24,
    0.440_709_83,
    0.562_617,
    0.722_956_84,
    1.0,
];

/// Numbers in four bits each: one of 16 values, times the scale of its block of 64. The scales are in
/// eight bits themselves, so an element takes 4.127 bits.
#[derive(Clone, Debug, PartialEq)]
pub struct Nf4 {
    /// Two codes a byte, the first in the upper half.
    packed: Vec<u8>,
    scales: EightBit,
    /// The mean of the scales, which was taken from each before rounding.
    offset: f32,
    len: usize,
}

impl Nf4 {
    /// Rounds `numbers` to the nearest values.
    pub fn new(numbers: &[f32]) -> Self {
        let largest = |block: &[f32]| block.iter().fold(0f32, |most, x| most.max(x.abs()));
        let scales: Vec<f32> = numbers.chunks(BLOCK).map(largest).collect();
        let codes: Vec<u8> = numbers
            .chunks(BLOCK)
            .zip(&scales)
            .flat_map(|(block, scale)| {
                let inverse = if *scale > 0.0 { 1.0 / scale } else { 0.0 };
                block.iter().map(move |x| nearest(x * inverse))
            })
            .collect();
        let packed = codes.chunks(2).map(|pair| pair[0] << 4 | pair.get(1).unwrap_or(&0)).collect();
        let sum: f64 = scales.iter().map(|&scale| f64::from(scale)).sum();
        let offset = (sum / scales.len().max(1) as f64) as f32;
        let centred: Vec<f32> = scales.iter().map(|scale| scale - offset).collect();
        Self { packed, scales: EightBit::new(&centred, true), offset, len: numbers.len() }
    }

    /// Returns the number of elements.
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Returns whether there are no elements.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Returns the codes, two a byte, the first in the upper half.
    pub fn packed(&self) -> &[u8] {
        &self.packed
    }

    /// Returns the blocks' scales less their mean, and their mean.
    pub const fn scales(&self) -> (&EightBit, f32) {
        (&self.scales, self.offset)
    }

    /// Returns the bytes all of it takes.
    pub fn bytes(&self) -> usize {
        let scales = &self.scales;
        self.packed.len() + scales.codes().len() + 4 * scales.scales().len() + 4
    }

    /// Reads as many elements as `out` holds, from `from` on.
    ///
    /// # Panics
    /// If there are not as many.
    pub fn read(&self, from: usize, out: &mut [f32]) {
        assert!(from + out.len() <= self.len, "{} elements from {from}", out.len());
        let mut at = from;
        let mut rest = out;
        while !rest.is_empty() {
            let block = at / BLOCK;
            let (piece, after) = rest.split_at_mut(rest.len().min((block + 1) * BLOCK - at));
            let scale = self.scales.get(block) + self.offset;
            let values = VALUES.map(|value| value * scale);
            for (x, at) in piece.iter_mut().zip(at..) {
                let byte = self.packed[at / 2];
                *x = values[usize::from(if at.is_multiple_of(2) { byte >> 4 } else { byte & 15 })];
            }
            at += piece.len();
            rest = after;
        }
    }
}

/// The code of the nearest value; of two as near the lower.
fn nearest(x: f32) -> u8 {
    VALUES.windows(2).filter(|pair| x > (pair[0] + pair[1]) / 2.0).count() as u8
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_element_is_the_nearest_value_within_what_the_scale_loses(
            numbers in prop::collection::vec(-2f32..2.0, 0..300), cut in any::<[prop::sample::Index; 2]>(),
        ) {
            let rounded = Nf4::new(&numbers);
            let mut all = vec![0.0; numbers.len()];
            rounded.read(0, &mut all);
            for (block, read) in numbers.chunks(BLOCK).zip(all.chunks(BLOCK)) {
                let scale = block.iter().fold(0f32, |most, x| most.max(x.abs()));
                for (x, read) in block.iter().zip(read) {
                    // Half of the widest gap, and an eighth of the scales' spread at the most.
                    prop_assert!((x - read).abs() <= scale * 0.153 + 0.3, "{} {}", x, read);
                }
            }
            let [a, b] = cut.map(|cut| cut.index(numbers.len() + 1));
            let mut part = vec![0.0; a.abs_diff(b)];
            rounded.read(a.min(b), &mut part);
            prop_assert_eq!(&part, &all[a.min(b)..a.max(b)]);
        }
    }

    #[test]
    fn it_takes_little_more_than_half_a_byte() {
        let numbers = vec![0.25; 1 << 16];
        assert!(Nf4::new(&numbers).bytes() as f64 / 65536.0 < 0.517);
    }
}
