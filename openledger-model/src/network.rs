//! A decoder together with its weights: what computes.

use openledger_core::{Error, Result};

use crate::{Decoder, Param, Weights};

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
    /// Those of [`LlamaConfig::parse`](crate::LlamaConfig::parse) and
    /// [`Llama::new`](crate::Llama::new).
    pub fn new(config: &[u8], weights: Weights) -> Result<Self> {
        Ok(Self { decoder: Decoder::new(config, &weights)?, weights })
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
