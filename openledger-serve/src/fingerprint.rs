//! Which base model something was made for.

use openledger_model::Network;

/// Tells base models apart: the arithmetic of products, the names and shapes of all tensors, what matrices
/// are stored as, and some numbers of each.
///
/// Not all numbers: that would read the whole model for each adapter. Models that were trained or rounded
/// apart differ in some of those it takes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Fingerprint([u8; 32]);

/// Numbers of each tensor.
const SAMPLE: usize = 64;

impl Fingerprint {
    pub(crate) fn of(network: &Network) -> Self {
        let weights = network.weights();
        let mut hasher = blake3::Hasher::new_derive_key("openledger-serve fingerprint 1");
        let count = |n: usize| (n as u64).to_le_bytes();
        hasher.update(format!("{:?}", weights.arithmetic()).as_bytes());
        for param in weights.params() {
            let (name, shape) = (weights.name(param), weights.shape(param));
            hasher.update(&count(name.len())).update(name.as_bytes()).update(&count(shape.len()));
            for &size in shape {
                hasher.update(&count(size));
            }
            if let [_, _] = *shape {
                let precision = weights.matrix(param).storage().precision();
                hasher.update(format!("{precision:?}").as_bytes());
            }
            let sample = match *shape {
                [0, _] => Vec::new(),
                // In the middle: the first rows of an embedding are often of tokens that never come.
                [rows, _] => weights.rows(param, [u32::try_from(rows / 2).unwrap_or(u32::MAX)]),
                _ => weights.vector(param).iter().take(SAMPLE).copied().collect(),
            };
            for number in sample.iter().take(SAMPLE) {
                hasher.update(&number.to_le_bytes());
            }
        }
        Self(hasher.finalize().into())
    }
}

#[cfg(test)]
mod tests {
    use openledger_kernels::Arithmetic;
    use openledger_model::testing;

    use super::*;

    #[test]
    fn the_same_weights_have_the_same_fingerprint_and_others_another() {
        let of = |seed| testing::tiny(seed).unwrap();
        let one = Fingerprint::of(of(1).network());
        assert_eq!(one, Fingerprint::of(of(1).network()));
        assert_ne!(one, Fingerprint::of(of(2).network()));
        assert_ne!(one, Fingerprint::of(of(1).map_network(|network| network.in_q8_0()).network()));
        assert_ne!(one, Fingerprint::of(testing::tiny_of("qwen2", 1).unwrap().network()));
        let rounded = of(1).map_network(|network| network.in_bf16());
        let exact = rounded.network().clone().with_arithmetic(Arithmetic::F32);
        assert_ne!(Fingerprint::of(rounded.network()), Fingerprint::of(&exact));
    }
}
