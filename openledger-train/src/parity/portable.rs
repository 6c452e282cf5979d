//! Weights that follow from the names of tensors, the same in every language.
//!
//! An element is the finaliser of `splitmix64` (Steele et al., 2014) of the FNV-1a hash of the tensor's
//! name and the element's place, as 24 bits in [-1, 1), times what its kind of tensor asks for.

use openledger_core::Result;
use openledger_model::{Decoder, Lora, LoraConfig, NamedTensor, Network, Weights};

use super::Start;

const SEED: u64 = 0x0A5E_1ED6E7;
const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;

/// The weights of a model with this configuration.
pub(super) fn weights(config: &[u8]) -> Result<Weights> {
    let tensors = Decoder::tensors(config)?;
    let tied = !tensors.iter().any(|(name, _)| name == "lm_head.weight");
    Weights::from_tensors(tensors.into_iter().map(|(name, shape)| {
        let len = shape.iter().product();
        let linear = || (3.0 / shape.last().copied().unwrap_or(1) as f64).sqrt() as f32;
        let (shift, factor) = match &name[..] {
            name if name.ends_with("e_score_correction_bias") => (0.0, 0.05),
            name if name.ends_with(".bias") => (0.0, 0.1),
            name if name.ends_with("norm.weight") => (1.0, 0.1),
            name if name.ends_with("mlp.gate.weight") => (0.0, 0.5),
            name if name.ends_with("embed_tokens.weight") && !tied => (0.0, 1.0),
            _ => (0.0, linear()),
        };
        let data = unit(&name).take(len).map(|v| shift + factor * v).collect();
        NamedTensor { name, shape, data }
    }))
}

/// The matrices of an adapter, as a safetensors file.
pub(super) fn adapter(network: &Network, config: &LoraConfig, start: Start) -> Result<Vec<u8>> {
    let mut lora = Lora::init(network, config, 0)?;
    for (site, pair) in lora.pairs_mut() {
        let [a, b] = Lora::names(network, site);
        let bound = (1.0 / (network.sizes(site)[1] as f64).sqrt()) as f32;
        pair.a.iter_mut().zip(unit(&a)).for_each(|(a, v)| *a = bound * v);
        if start == Start::Nonzero {
            pair.b.iter_mut().zip(unit(&b)).for_each(|(b, v)| *b = 0.05 * v);
        }
    }
    Ok(lora.to_files(network, config).weights.into())
}

/// Numbers in [-1, 1).
fn unit(name: &str) -> impl Iterator<Item = f32> + use<> {
    let hash = name.bytes().fold(0xCBF2_9CE4_8422_2325u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01B3)
    });
    let key = hash ^ SEED;
    (1u64..).map(move |place| {
        let mut z = key.wrapping_add(place.wrapping_mul(GOLDEN));
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^= z >> 31;
        2.0 * ((z >> 40) as f32 / (1u32 << 24) as f32) - 1.0
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_are_those_of_the_reference() {
        let first: Vec<f32> = unit("model.layers.0.self_attn.q_proj.weight").take(3).collect();
        assert_eq!(first, [-0.413_388_6, 0.216_004_01, -0.842_250_47]);
    }
}
