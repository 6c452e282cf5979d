//! TIES and DARE, on what adapters add to a weight.
//!
//! ```text
//! TIES   trim each to its largest elements ─▶ elect a sign for every element ─▶ mean of those that have it
//! DARE   drop elements at random, divide the others by their chance ─▶ sum, or elect and mean as above
//! ```
//!
//! As PEFT 0.21 has them (`utils/merge_utils.py`): weights are trimmed one by one and not all together
//! as in section 4 of the TIES paper, the election does not see the coefficients, a tie elects plus,
//! and the mean counts adapters, not coefficients. Two deviations: of equal magnitudes the first are
//! kept, where PEFT leaves it to the sort, and at least one element is.
//!
//! The result is brought to its rank by singular values; PEFT clamps outliers of the vectors on
//! request, which is not done here.

use openledger_core::{Error, Result};
use openledger_kernels::{Into, Mat, gemm};
use rand_chacha::{
    ChaCha8Rng,
    rand_core::{RngCore, SeedableRng},
};

use super::{Combine, Election};
use crate::{
    Network, Param,
    adapter::{Lora, Pair, svd},
};

/// Makes one of several, and says how much its rank left out.
pub(super) fn combine(
    network: &Network,
    parts: &[(&Lora, f64)],
    combine: &Combine,
) -> Result<(Lora, f64)> {
    let rank = match *combine {
        Combine::Ties { rank, .. } | Combine::Dare { rank, .. } => rank,
        Combine::Sum => unreachable!("a sum needs no whole weight"),
    };
    let mut random = streams(combine, parts.len());
    let mut sites: Vec<Param> =
        parts.iter().flat_map(|(lora, _)| lora.pairs().map(|(site, _)| site)).collect();
    sites.sort_unstable();
    sites.dedup();
    let (mut lora, mut most) = (Lora::default(), 0f64);
    for site in sites {
        let [out, width] = network.sizes(site);
        let mut added = Vec::new();
        for ((part, coefficient), random) in parts.iter().zip(&mut random) {
            let Some(pair) = part.at(site) else { continue };
            let mut delta = added_by(pair, out, width);
            match *combine {
                Combine::Ties { density, .. } => trim(&mut delta, density),
                Combine::Dare { density, .. } => drop_some(&mut delta, density, random),
                Combine::Sum => {}
            }
            added.push((delta, *coefficient));
        }
        let merged = match *combine {
            Combine::Ties { election, .. } | Combine::Dare { election: Some(election), .. } => {
                elected_mean(&added, election)
            }
            _ => weighted_sum(&added),
        };
        if merged.iter().any(|x| !x.is_finite()) {
            let name = network.weights().name(site);
            return Err(Error::invalid(format!("what is added to `{name}` is too large")));
        }
        let (pair, error) = factored(&merged, out, width, rank);
        most = most.max(error);
        lora.pairs.insert(site, pair);
    }
    Ok((lora, most))
}

/// Randomness for each part, which does not depend on the others.
pub(super) fn streams(combine: &Combine, parts: usize) -> Vec<ChaCha8Rng> {
    let seed = match *combine {
        Combine::Dare { seed, .. } => seed,
        _ => 0,
    };
    let stream = |part: usize| {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        random.set_stream(part as u64);
        random
    };
    (0..parts).map(stream).collect()
}

/// `scale * B A`, `[out, width]`.
fn added_by(pair: &Pair, out: usize, width: usize) -> Vec<f32> {
    let mut delta = vec![0.0; out * width];
    let b: Vec<f32> = pair.b.iter().map(|b| b * pair.scale).collect();
    let a = Mat::new(&pair.a, pair.rank, width);
    gemm(Into::Set(&mut delta), Mat::new(&b, out, pair.rank), a);
    delta
}

/// Makes all elements zero but the largest, `density` of them and at least one.
#[expect(clippy::cast_sign_loss, reason = "a density is positive")]
pub(super) fn trim(delta: &mut [f32], density: f64) {
    let kept = ((delta.len() as f64 * density) as usize).max(1);
    if kept >= delta.len() {
        return;
    }
    let mut sizes: Vec<f32> = delta.iter().map(|x| x.abs()).collect();
    let (_, least, _) = sizes.select_nth_unstable_by(kept - 1, |a, b| b.total_cmp(a));
    let least = *least;
    let larger = delta.iter().filter(|x| x.abs() > least).count();
    let mut equal = kept - larger;
    for x in delta {
        let size = x.abs();
        let keep = size > least || (size == least && equal > 0);
        equal -= usize::from(keep && size == least);
        if !keep {
            *x = 0.0;
        }
    }
}

/// Keeps each element with the chance `density`, and divides it by that.
pub(super) fn drop_some(delta: &mut [f32], density: f64, random: &mut ChaCha8Rng) {
    let below = density * 2f64.powi(32);
    for x in delta {
        *x = match f64::from(random.next_u32()) < below {
            true => (f64::from(*x) / density) as f32,
            false => 0.0,
        };
    }
}

fn weighted_sum(added: &[(Vec<f32>, f64)]) -> Vec<f32> {
    let at = |at: usize| added.iter().map(|(delta, c)| c * f64::from(delta[at])).sum::<f64>();
    (0..added.first().map_or(0, |(delta, _)| delta.len())).map(|i| at(i) as f32).collect()
}

fn elected_mean(added: &[(Vec<f32>, f64)], election: Election) -> Vec<f32> {
    let one = |at: usize| {
        let values = || added.iter().map(|(delta, c)| (f64::from(delta[at]), *c));
        let vote = |x: f64| match election {
            Election::Total => x,
            Election::Frequency if x == 0.0 => 0.0,
            Election::Frequency => x.signum(),
        };
        let sign = if values().map(|(x, _)| vote(x)).sum::<f64>() >= 0.0 { 1.0 } else { -1.0 };
        let (sum, count) = values()
            .filter(|(x, _)| x * sign > 0.0)
            .fold((0.0, 0u32), |(sum, count), (x, c)| (sum + c * x, count + 1));
        (sum / f64::from(count.max(1))) as f32
    };
    (0..added.first().map_or(0, |(delta, _)| delta.len())).map(one).collect()
}

/// The best two factors of a rank, each with the roots of the singular values, and how much they leave
/// out.
fn factored(delta: &[f32], out: usize, width: usize, rank: usize) -> (Pair, f64) {
    let svd = svd::truncated(delta, out, width, rank);
    let rank = svd.values.len();
    let mut pair = Pair {
        a: Vec::with_capacity(rank * width),
        b: vec![0.0; out * rank],
        rank,
        scale: 1.0,
        magnitude: None,
    };
    for (index, ((u, value), v)) in svd.u.iter().zip(&svd.values).zip(&svd.v).enumerate() {
        let root = value.sqrt();
        pair.a.extend(v.iter().map(|v| (root * v) as f32));
        let column = pair.b[index..].iter_mut().step_by(rank);
        column.zip(u).for_each(|(b, u)| *b = (root * u) as f32);
    }
    let whole: f64 = delta.iter().map(|&x| f64::from(x) * f64::from(x)).sum();
    let kept: f64 = svd.values.iter().map(|value| value * value).sum();
    let error = if whole > 0.0 { ((whole - kept).max(0.0) / whole).sqrt() } else { 0.0 };
    (pair, error)
}
