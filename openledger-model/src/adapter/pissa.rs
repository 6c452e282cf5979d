//! `PiSSA` (Meng et al., 2024): training starts from the largest singular parts of each weight, which
//! are taken out of the base.
//!
//! ```text
//! W = U S V'     B = U_r sqrt(S_r / scale)     A = sqrt(S_r / scale) V_r'     base: W - scale B A
//! ```
//!
//! What was trained belongs to the changed base. For the base as it was, what the start added is taken
//! away again, which needs twice the rank: `[B, -B0] [A; A0]`.

use openledger_core::{Error, Result};
use openledger_kernels::{Into, Mat, gemm};

use super::{Lora, LoraConfig, Pair, Start, svd, targets::check_rank};
use crate::Network;

impl Lora {
    /// Makes what training with `PiSSA` starts from: the changed base, and matrices which make of it
    /// the base as it was.
    ///
    /// # Errors
    /// Those of [`init`](Self::init); [`ErrorKind::Invalid`](openledger_core::ErrorKind::Invalid) if the
    /// scale is not positive, or for `DoRA`, of which PEFT knows no such start.
    ///
    /// # Examples
    /// ```
    /// use openledger_model::{Lora, LoraConfig, testing};
    ///
    /// let network = testing::tiny(1)?.network().clone();
    /// let config = LoraConfig::default().with_rank(4, 4.0);
    /// let (base, start) = Lora::pissa(&network, &config)?;
    /// let trained = start.clone(); // here it would be trained, on `base`
    ///
    /// // For the network as it was; written, PEFT loads it.
    /// let lora = trained.without_pissa(&start)?;
    /// let files = lora.to_files(&network, &config.without_pissa()?);
    /// # let (site, pair) = lora.pairs().next().unwrap();
    /// # assert_eq!(pair.rank, 8);
    /// # let near = |a: &f32, b: &f32| (a - b).abs() < 1e-5;
    /// # let (then, now) = (network.weights().data(site), lora.merged(&network, site));
    /// # assert!(then.iter().zip(&now).all(|(a, b)| near(a, b)));
    /// # assert!(base.weights().data(site) != then);
    /// # openledger_model::Adapter::load(&network, &files)?;
    /// # Ok::<(), openledger_core::Error>(())
    /// ```
    pub fn pissa(network: &Network, config: &LoraConfig) -> Result<(Network, Self)> {
        let start = Self::pissa_start(network, config)?;
        let mut base = network.clone();
        for (site, Pair { a, b, rank, scale, .. }) in start.pairs() {
            let [out, width] = network.sizes(site);
            let taken: Vec<f32> = b.iter().map(|b| -b * scale).collect();
            let weight = Into::Add(base.data_mut(site));
            gemm(weight, Mat::new(&taken, out, *rank), Mat::new(a, *rank, width));
        }
        Ok((base, start))
    }

    /// The matrices of [`pissa`](Self::pissa). Where a weight has fewer singular values than the rank,
    /// the rest is zero.
    pub(super) fn pissa_start(network: &Network, config: &LoraConfig) -> Result<Self> {
        if config.dora {
            return Err(Error::invalid("PiSSA together with DoRA: choose one"));
        }
        let mut start = Self::init(network, config, 0)?;
        for (site, pair) in start.pairs_mut() {
            if pair.scale <= 0.0 {
                return Err(Error::invalid(format!("PiSSA with the scale {}", pair.scale)));
            }
            let [out, width] = network.sizes(site);
            let rank = pair.rank;
            let svd = svd::truncated(&network.weights().data(site), out, width, rank);
            pair.a.fill(0.0);
            for (index, ((u, value), v)) in svd.u.iter().zip(&svd.values).zip(&svd.v).enumerate() {
                let root = (value / f64::from(pair.scale)).sqrt();
                let row = pair.a[index * width..(index + 1) * width].iter_mut();
                row.zip(v).for_each(|(a, v)| *a = (root * v) as f32);
                let column = pair.b[index..].iter_mut().step_by(rank);
                column.zip(u).for_each(|(b, u)| *b = (root * u) as f32);
            }
        }
        Ok(start)
    }

    /// Returns what this, trained from the `PiSSA` start `start`, is for the base as it was.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`](openledger_core::ErrorKind::Invalid) if `start` is that of another
    /// adapter.
    pub fn without_pissa(&self, start: &Self) -> Result<Self> {
        let fits = |(ours, theirs): ((_, &Pair), (_, &Pair))| {
            let shape = |pair: &Pair| (pair.rank, pair.a.len(), pair.b.len());
            ours.0 == theirs.0 && shape(ours.1) == shape(theirs.1)
        };
        if self.pairs().len() != start.pairs().len() || !self.pairs().zip(start.pairs()).all(fits) {
            return Err(Error::invalid("the start is not that of this adapter"));
        }
        let mut lora = self.clone();
        for ((_, pair), (_, start)) in lora.pairs_mut().zip(start.pairs()) {
            pair.a.extend_from_slice(&start.a);
            let rows = pair.b.chunks_exact(pair.rank).zip(start.b.chunks_exact(pair.rank));
            pair.b = rows
                .flat_map(|(b, start)| b.iter().copied().chain(start.iter().map(|b| -b)))
                .collect();
            pair.rank *= 2;
        }
        Ok(lora)
    }
}

impl LoraConfig {
    /// Returns the configuration of [`Lora::without_pissa`]: twice every rank, and alphas with which the
    /// scales stay.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`](openledger_core::ErrorKind::Invalid) if a rank becomes too large.
    pub fn without_pissa(&self) -> Result<Self> {
        let factor = if self.rank_stabilised { 2f64.sqrt() } else { 2.0 };
        let mut config = Self { start: Start::Zero, ..self.clone() };
        let ranks = config.rank_pattern.0.iter_mut().map(|(_, rank)| rank);
        for rank in ranks.chain([&mut config.rank]) {
            *rank = rank.saturating_mul(2);
            check_rank(*rank)?;
        }
        let alphas = config.alpha_pattern.0.iter_mut().map(|(_, alpha)| alpha);
        alphas.chain([&mut config.alpha]).for_each(|alpha| *alpha *= factor);
        Ok(config)
    }
}
