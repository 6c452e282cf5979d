//! How much a pass keeps, counted by running the decoder on widths alone.

use openledger_core::Result;
use openledger_model::{Attention, Latent, Linear, LoraConfig, Mixture, Network, Ops, Param};

/// Counts, for one token, the elements that a tape keeps from the forward pass for the backward
/// pass: each result, and beside it what its gradient needs. A row is its width.
#[derive(Debug)]
pub(super) struct Footprint<'a> {
    network: &'a Network,
    rank: usize,
    sites: Vec<Param>,
    /// Elements kept for each token.
    pub(super) kept: usize,
    /// The widest row: the backward pass holds a few of them.
    pub(super) widest: usize,
}

impl<'a> Footprint<'a> {
    /// Runs `network` with an adapter of this shape.
    pub(super) fn of(network: &'a Network, lora: &LoraConfig) -> Result<Self> {
        let sites = lora.sites(network)?;
        let mut ops = Self { network, rank: lora.rank, sites, kept: 0, widest: 0 };
        network.decoder().hidden(&mut ops)?;
        Ok(ops)
    }

    fn keep(&mut self, width: usize, beside: usize) -> Result<usize> {
        self.kept += width + beside;
        self.widest = self.widest.max(width);
        Ok(width)
    }
}

impl Ops for Footprint<'_> {
    type Rows = usize;

    fn embed(&mut self, table: Param) -> Result<usize> {
        self.keep(self.network.weights().shape(table)[1], 0)
    }

    fn norm(&mut self, x: &usize, gain: Param, _: f32) -> Result<usize> {
        let parts = x / self.network.weights().shape(gain)[0].max(1);
        self.keep(*x, parts)
    }

    fn project(&mut self, _: &usize, linear: &Linear) -> Result<usize> {
        let [out, _] = self.network.sizes(linear.weight);
        let lowered = if self.sites.contains(&linear.weight) { self.rank } else { 0 };
        self.keep(out, lowered)
    }

    fn split(&mut self, x: usize, width: usize) -> Result<[usize; 2]> {
        Ok([self.keep(width, 0)?, self.keep(x - width, 0)?])
    }

    fn attend(&mut self, layer: &Attention, _: [usize; 3]) -> Result<usize> {
        // Maximum and sum of each head's scores.
        self.keep(layer.heads.out_width(), 2 * layer.heads.query)
    }

    fn attend_latent(
        &mut self,
        layer: &Latent,
        _: usize,
        latent: usize,
        _: usize,
    ) -> Result<usize> {
        self.project(&latent, &layer.expand)?;
        let made = layer.heads.key_width() + layer.heads.value_width();
        self.keep(layer.heads.out_width(), made + 2 * layer.heads.query)
    }

    fn mix(&mut self, x: &usize, mixture: &Mixture) -> Result<usize> {
        // A token goes through as many experts as the router chooses; which does not matter.
        for expert in mixture.experts.iter().take(mixture.router.top) {
            self.keep(*x, 0)?;
            expert.run(self, x)?;
        }
        self.keep(*x, mixture.experts.len())
    }

    fn gate(&mut self, gate: usize, _: usize) -> Result<usize> {
        self.keep(gate, 0)
    }

    fn add(&mut self, x: usize, _: usize) -> Result<usize> {
        // It takes the place of a summand.
        Ok(x)
    }
}
