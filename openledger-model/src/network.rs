//! A decoder together with its weights: what computes.

use openledger_core::{Error, Result};
use openledger_kernels::{Arithmetic, Precision};

use rand_chacha::{ChaCha8Rng, rand_core::SeedableRng};

use crate::{Decoder, NamedTensor, Param, Weights, random::symmetric};

/// A decoder and the weights its parameters name.
#[derive(Clone, Debug)]
pub struct Network {
    decoder: Decoder,
    weights: Weights,
}

impl Network {
    /// Reads `config.json` and finds the family's tensors in `weights`.
    ///
    /// # Errors
    /// Those of [`Decoder::new`].
    pub fn new(config: &[u8], weights: Weights) -> Result<Self> {
        Ok(Self { decoder: Decoder::new(config, &weights)?, weights })
    }

    /// Makes the weights training from nothing starts with: norms one, biases zero, all other
    /// tensors uniform with a standard deviation of 0.02, those that write to the residual stream
    /// divided by the root of twice the number of layers (Radford et al., 2019).
    ///
    /// # Errors
    /// Those of [`Decoder::tensors`]; [`ErrorKind::Invalid`](openledger_core::ErrorKind::Invalid) for
    /// a tensor that no machine holds.
    pub fn init(config: &[u8], seed: u64) -> Result<Self> {
        let tensors = Decoder::tensors(config)?;
        let norms =
            tensors.iter().filter(|(name, _)| name.ends_with("post_attention_layernorm.weight"));
        let residual = 1.0 / (2.0 * norms.count() as f32).sqrt();
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let elements =
            |shape: &[usize]| shape.iter().try_fold(1usize, |len, &n| len.checked_mul(n));
        if let Some((name, shape)) = tensors.iter().find(|(_, shape)| elements(shape).is_none()) {
            return Err(Error::invalid(format!("`{name}` of shape {shape:?} is too large")));
        }
        let tensors = tensors.into_iter().map(|(name, shape)| {
            let len = shape.iter().product();
            let data = if name.ends_with("norm.weight") {
                vec![1.0; len]
            } else if name.ends_with("bias") {
                vec![0.0; len]
            } else {
                let writes = name.ends_with("o_proj.weight") || name.ends_with("down_proj.weight");
                let bound = 0.02 * 3f32.sqrt() * if writes { residual } else { 1.0 };
                (0..len).map(|_| bound * symmetric(&mut random)).collect()
            };
            NamedTensor { name, shape, data }
        });
        Self::new(config, Weights::from_tensors(tensors)?)
    }

    /// Returns this with the weights of those linear layers that can carry an adapter rounded to four
    /// bits, as `QLoRA` has its base (Dettmers et al., 2023); embeddings, head, routers and gains stay.
    #[must_use]
    pub fn in_nf4(mut self) -> Self {
        let linears = self.decoder.linears();
        self.weights.store_as(Precision::Nf4, linears.iter().map(|linear| linear.weight));
        self
    }

    /// Returns this with all matrices rounded to `bf16`, and products with them computed in it.
    #[must_use]
    pub fn in_bf16(mut self) -> Self {
        let params = self.weights.params();
        let matrices: Vec<Param> =
            params.filter(|&param| self.weights.shape(param).len() == 2).collect();
        self.weights.store_as(Precision::Bf16, matrices);
        self.with_arithmetic(Arithmetic::Bf16)
    }

    /// Returns this with the weights of linear layers and of the head rounded to eight bits, as ggml's
    /// `Q8_0` has them; products with them round the rows too.
    #[must_use]
    pub fn in_q8_0(self) -> Self {
        self.quantised(Precision::Q8_0)
    }

    /// Returns this with the weights of linear layers and of the head rounded to four bits, as ggml's
    /// `Q4_0` has them; products with them round the rows to eight.
    #[must_use]
    pub fn in_q4_0(self) -> Self {
        self.quantised(Precision::Q4_0)
    }

    fn quantised(mut self, precision: Precision) -> Self {
        let mut linears = self.decoder.linears();
        linears.push(*self.decoder.head());
        self.weights.store_as(precision, linears.iter().map(|linear| linear.weight));
        self
    }

    /// Returns this with products computed in another arithmetic: `f32` unless it is said.
    #[must_use]
    pub fn with_arithmetic(mut self, arithmetic: Arithmetic) -> Self {
        self.weights = self.weights.with_arithmetic(arithmetic);
        self
    }

    /// Returns the decoder.
    pub const fn decoder(&self) -> &Decoder {
        &self.decoder
    }

    /// Returns the weights.
    pub const fn weights(&self) -> &Weights {
        &self.weights
    }

    /// Returns the elements of one tensor, to train them.
    pub fn data_mut(&mut self, param: Param) -> &mut [f32] {
        self.weights.data_mut(param)
    }

    /// Returns the outputs and inputs of the linear layer whose weight is `site`.
    ///
    /// # Panics
    /// If `site` is not the weight of a linear layer.
    pub fn sizes(&self, site: Param) -> [usize; 2] {
        let shape = self.weights.shape(site);
        shape.try_into().expect("a linear layer's weight has two dimensions")
    }

    /// Checks that the decoder knows every token and can hold as many.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`](openledger_core::ErrorKind::Invalid) naming the token or the length.
    pub fn check_tokens(&self, tokens: &[u32]) -> Result<()> {
        let vocabulary = self.decoder.vocabulary();
        if let Some(unknown) = tokens.iter().find(|&&token| token as usize >= vocabulary) {
            return Err(Error::invalid(format!("token {unknown}, the model knows {vocabulary}")));
        }
        let longest = self.decoder.max_positions();
        if tokens.len() > longest {
            return Err(Error::invalid(format!(
                "{} tokens, the model holds {longest}",
                tokens.len()
            )));
        }
        Ok(())
    }
}
