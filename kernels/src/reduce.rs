//! Sums over vectors, in an order that does not depend on the machine.

use crate::{
    isa::{Isa, vectorised},
    loss::max,
    threads::each,
};

/// Partial sums kept side by side; element `i` of a vector goes to lane `i % LANES`. Wide enough
/// to fill one AVX-512 register and two AVX2 ones.
pub(crate) const LANES: usize = 16;

/// Elements that a thread takes at a time where they are many.
const CHUNK: usize = 1 << 16;

/// Folds 16 partial sums in halves: 8 + 8, 4 + 4, 2 + 2, 1 + 1.
#[inline(always)]
pub(crate) fn fold<T: Copy + std::ops::Add<Output = T>>(mut lanes: [T; LANES]) -> T {
    let mut width = LANES / 2;
    while width > 0 {
        for lane in 0..width {
            lanes[lane] = lanes[lane] + lanes[lane + width];
        }
        width /= 2;
    }
    lanes[0]
}

#[inline(always)]
pub(crate) fn dot_inline(x: &[f32], y: &[f32]) -> f32 {
    let mut lanes = [0f32; LANES];
    let (x_chunks, x_rest) = x.as_chunks::<LANES>();
    let (y_chunks, y_rest) = y.as_chunks::<LANES>();
    for (x, y) in x_chunks.iter().zip(y_chunks) {
        for lane in 0..LANES {
            lanes[lane] = x[lane].mul_add(y[lane], lanes[lane]);
        }
    }
    for (lane, (&x, &y)) in x_rest.iter().zip(y_rest).enumerate() {
        lanes[lane] = x.mul_add(y, lanes[lane]);
    }
    fold(lanes)
}

/// Returns the dot product of `x` and `y`, accumulated in `f32` over 16 lanes.
///
/// # Panics
/// If the lengths differ.
pub fn dot(x: &[f32], y: &[f32]) -> f32 {
    assert_eq!(x.len(), y.len(), "vectors of one length");
    dot_on(Isa::best(), x, y)
}

/// Returns the dot product of `x` and `y`, accumulated in `f64` over 16 lanes: products of two
/// `f32` are exact there.
///
/// # Panics
/// If the lengths differ.
pub fn dot_f64(x: &[f32], y: &[f32]) -> f64 {
    assert_eq!(x.len(), y.len(), "vectors of one length");
    dot_f64_on(Isa::best(), x, y)
}

/// Adds `x` to `y`, element by element.
///
/// # Panics
/// If the lengths differ.
pub fn add_assign(y: &mut [f32], x: &[f32]) {
    assert_eq!(x.len(), y.len(), "vectors of one length");
    let isa = Isa::best();
    if y.len() <= CHUNK {
        return add_on(isa, y, x);
    }
    each(y.chunks_mut(CHUNK).zip(x.chunks(CHUNK)), |(y, x)| add_on(isa, y, x));
}

/// Adds `a * x` to `y`, element by element, rounding once.
///
/// # Panics
/// If the lengths differ.
pub fn axpy(y: &mut [f32], a: f32, x: &[f32]) {
    assert_eq!(x.len(), y.len(), "vectors of one length");
    axpy_on(Isa::best(), y, a, x);
}

vectorised! {
    fn dot_on(x: &[f32], y: &[f32]) -> f32 {
        dot_inline(x, y)
    }

    fn dot_f64_on(x: &[f32], y: &[f32]) -> f64 {
        let mut lanes = [0f64; LANES];
        let (x_chunks, x_rest) = x.as_chunks::<LANES>();
        let (y_chunks, y_rest) = y.as_chunks::<LANES>();
        for (x, y) in x_chunks.iter().zip(y_chunks) {
            for lane in 0..LANES {
                lanes[lane] += f64::from(x[lane]) * f64::from(y[lane]);
            }
        }
        for (lane, (&x, &y)) in x_rest.iter().zip(y_rest).enumerate() {
            lanes[lane] += f64::from(x) * f64::from(y);
        }
        fold(lanes)
    }

    fn add_on(y: &mut [f32], x: &[f32]) {
        y.iter_mut().zip(x).for_each(|(y, x)| *y += x);
    }

    fn axpy_on(y: &mut [f32], a: f32, x: &[f32]) {
        y.iter_mut().zip(x).for_each(|(y, x)| *y = a.mul_add(*x, *y));
    }

    /// Multiplies each element by `factor`.
    pub(crate) fn scale(values: &mut [f32], factor: f32) {
        values.iter_mut().for_each(|value| *value *= factor);
    }
}

/// Returns the index of the largest element, the first of equals; `None` for an empty slice.
/// A NaN is never the largest.
pub fn argmax(x: &[f32]) -> Option<usize> {
    let largest = largest(Isa::best(), x);
    // Of nothing, or of numbers that are none, the largest is minus infinity too.
    x.iter().position(|&value| value == largest)
}

vectorised! {
    /// Returns the largest element that is a number; minus infinity if there is none.
    fn largest(x: &[f32]) -> f32 {
        max(x)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_largest_is_the_first_of_equals_and_a_number(
            x in proptest::collection::vec(prop_oneof![
                8 => (-3..3i8).prop_map(f32::from),
                1 => Just(f32::NAN),
                1 => Just(f32::NEG_INFINITY),
                1 => Just(-0.0f32),
            ], 0..70),
        ) {
            let mut expected: Option<usize> = None;
            for (index, value) in x.iter().enumerate() {
                if !value.is_nan() && expected.is_none_or(|best| *value > x[best]) {
                    expected = Some(index);
                }
            }
            prop_assert_eq!(argmax(&x), expected);
        }
    }
}
