//! Where a decoder's tensors are found.

use openledger_core::{Error, ErrorKind, Result};

use crate::{Linear, Param, Weights};

/// Finds tensors by name, and checks their shapes.
pub(crate) trait Tensors {
    fn find(&mut self, name: &str, shape: &[usize]) -> Result<Param>;

    /// Finds the weight `[out, in]` of a linear layer, and its bias if it has one.
    fn linear(&mut self, name: &str, [out, width]: [usize; 2], bias: bool) -> Result<Linear> {
        let weight = self.find(&format!("{name}.weight"), &[out, width])?;
        let bias = bias.then(|| self.find(&format!("{name}.bias"), &[out])).transpose()?;
        Ok(Linear { weight, bias })
    }

    /// Finds the gain of a norm.
    fn gain(&mut self, name: &str, width: usize) -> Result<Param> {
        self.find(&format!("{name}.weight"), &[width])
    }
}

impl Tensors for &Weights {
    fn find(&mut self, name: &str, shape: &[usize]) -> Result<Param> {
        Weights::find(self, name, shape)
    }
}

/// The most tensors listed: a configuration is a few lines, and may claim millions.
const MAX_TENSORS: usize = 1 << 18;

/// Finds every tensor, and remembers which were asked for.
#[derive(Debug, Default)]
pub(crate) struct Inventory(Vec<(String, Vec<usize>)>);

impl Inventory {
    pub(crate) fn into_tensors(self) -> Vec<(String, Vec<usize>)> {
        self.0
    }
}

impl Tensors for Inventory {
    fn find(&mut self, name: &str, shape: &[usize]) -> Result<Param> {
        if self.0.len() == MAX_TENSORS {
            return Err(Error::new(ErrorKind::Limit, format!("more than {MAX_TENSORS} tensors")));
        }
        self.0.push((name.to_owned(), shape.to_vec()));
        Ok(Param::nth(self.0.len() - 1))
    }
}
