//! The exponential function from additions and multiplications alone.
//!
//! The C library's `expf` differs between systems in the last bit, and one bit of an influence
//! score changes a receipt. This one is the same everywhere, and the compiler vectorises it.

/// Returns e^x, within 1 unit in the last place where the result is normal.
///
/// Below -87.33 (where the result would be subnormal) it is 0, above 88.72 it is infinite; NaN
/// stays NaN. Method: e^x = 2^n e^r with |r| <= ln(2)/2 by Cody and Waite's two-part reduction,
/// e^r by the degree-6 minimax polynomial of Cephes `expf` (S. Moshier).
#[inline(always)]
pub(crate) fn exp(x: f32) -> f32 {
    const LN2_HIGH: f32 = 0.693_359_4;
    const LN2_LOW: f32 = -2.121_944_4e-4;
    const ROUND: f32 = 12_582_912.0; // 1.5 * 2^23: adding it rounds to the nearest integer
    let shifted = x.mul_add(std::f32::consts::LOG2_E, ROUND);
    let n = shifted - ROUND;
    let r = n.mul_add(-LN2_LOW, n.mul_add(-LN2_HIGH, x));
    let mut p = 1.987_569_1e-4f32;
    p = p.mul_add(r, 1.398_199_9e-3);
    p = p.mul_add(r, 8.333_452e-3);
    p = p.mul_add(r, 4.166_579_6e-2);
    p = p.mul_add(r, 1.666_666_5e-1);
    p = p.mul_add(r, 0.5);
    let e = p.mul_add(r * r, r) + 1.0;
    // 2^n in two factors, so that n = 128 does not overflow before the product does.
    let n = (shifted.to_bits() as i32).wrapping_sub(ROUND.to_bits() as i32);
    let half = n >> 1;
    let scale = |k: i32| f32::from_bits((k.wrapping_add(127) as u32) << 23);
    let value = e * scale(half) * scale(n.wrapping_sub(half));
    let value = if x < -87.336_55 { 0.0 } else { value };
    let value = if x > 88.722_84 { f32::INFINITY } else { value };
    if x.is_nan() { x } else { value }
}

/// Returns `base^exponent`, the same on every system: `libm`'s, in pure Rust.
pub fn pow(base: f64, exponent: f64) -> f64 {
    libm::pow(base, exponent)
}

/// Returns the natural logarithm, the same on every system: `libm`'s, in pure Rust.
pub fn ln(x: f64) -> f64 {
    libm::log(x)
}

#[cfg(test)]
mod tests {
    use super::exp;
    use crate::isa::{Isa, vectorised};

    vectorised! {
        fn bits(x: &[f32]) -> Vec<u32> {
            x.iter().map(|&x| exp(x).to_bits()).collect()
        }
    }

    #[test]
    fn is_within_an_ulp_and_a_half_of_the_true_value() {
        let mut worst = 0f64;
        for step in -870_000..887_000 {
            let x = step as f32 * 1e-4;
            let truth = libm::exp(f64::from(x));
            let value = exp(x);
            let ulp =
                f64::from(f32::from_bits((truth as f32).to_bits() + 1)) - f64::from(truth as f32);
            worst = worst.max((f64::from(value) - truth).abs() / ulp);
        }
        assert!(worst < 1.5, "{worst} ulp");
    }

    #[test]
    fn ends_as_the_exponential_does() {
        assert_eq!(exp(0.0), 1.0);
        assert_eq!(exp(f32::NEG_INFINITY), 0.0);
        assert_eq!(exp(-1000.0), 0.0);
        assert_eq!(exp(f32::INFINITY), f32::INFINITY);
        assert_eq!(exp(1000.0), f32::INFINITY);
        assert!(exp(f32::NAN).is_nan());
    }

    #[test]
    fn has_the_same_bits_on_every_instruction_set() {
        let x: Vec<f32> = (-9000..9000).map(|step| step as f32 * 0.0101).collect();
        for isa in Isa::available() {
            assert_eq!(bits(isa, &x), bits(Isa::Portable, &x), "{isa:?}");
        }
    }
}
