//! Numbers from seeded randomness, whose values never change.

use rand_chacha::rand_core::RngCore;

/// Returns a number in [-1, 1) from 24 random bits.
pub(crate) fn symmetric(random: &mut impl RngCore) -> f32 {
    (random.next_u32() >> 8) as f32 / (1u32 << 23) as f32 - 1.0
}
