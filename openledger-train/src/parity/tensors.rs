//! The tensors of a case: numbers and tokens.

use std::collections::HashMap;

use candle_core::{DType, Device, Tensor};
use openledger_core::{Error, ErrorKind, Result};

/// A file of safetensors, read.
pub(super) struct Tensors {
    numbers: HashMap<String, Vec<f32>>,
    tokens: HashMap<String, Vec<Vec<i64>>>,
    bytes: HashMap<String, Vec<u8>>,
}

impl Tensors {
    pub(super) fn parse(file: &[u8]) -> Result<Self> {
        let corrupt = |e: candle_core::Error| {
            Error::corrupt("not a whole safetensors file").with_source(e.to_string())
        };
        let all = candle_core::safetensors::load_buffer(file, &Device::Cpu).map_err(corrupt)?;
        let (mut numbers, mut tokens, mut bytes) = (HashMap::new(), HashMap::new(), HashMap::new());
        for (name, tensor) in all {
            if tensor.dtype() == DType::U8 {
                let data = tensor.flatten_all().and_then(|tensor| tensor.to_vec1());
                bytes.insert(name, data.map_err(corrupt)?);
            } else if tensor.dtype() == DType::I64 {
                tokens.insert(name, rows(&tensor).map_err(corrupt)?);
            } else if tensor.dtype().is_float() {
                let data = tensor.to_dtype(DType::F32).and_then(|t| t.flatten_all()?.to_vec1());
                numbers.insert(name, data.map_err(corrupt)?);
            }
        }
        Ok(Self { numbers, tokens, bytes })
    }

    pub(super) fn get(&self, name: &str) -> Option<&[f32]> {
        self.numbers.get(name).map(Vec::as_slice)
    }

    /// Returns how many tensors of numbers there are.
    pub(super) fn len(&self) -> usize {
        self.numbers.len()
    }

    pub(super) fn numbers(&self, name: &str) -> Result<&[f32]> {
        self.get(name).ok_or_else(|| missing(name))
    }

    pub(super) fn bytes(&self, name: &str) -> Result<&[u8]> {
        self.bytes.get(name).map(Vec::as_slice).ok_or_else(|| missing(name))
    }

    /// Whole numbers as rows of the last dimension.
    pub(super) fn integers(&self, name: &str) -> Result<&[Vec<i64>]> {
        self.tokens.get(name).map(Vec::as_slice).ok_or_else(|| missing(name))
    }

    /// Token ids as rows of the last dimension.
    pub(super) fn tokens(&self, name: &str) -> Result<Vec<Vec<u32>>> {
        let token = |&id: &i64| {
            u32::try_from(id).map_err(|_| Error::invalid(format!("`{name}` has the token {id}")))
        };
        self.integers(name)?.iter().map(|row| row.iter().map(token).collect()).collect()
    }
}

fn missing(name: &str) -> Error {
    Error::new(ErrorKind::NotFound, format!("the case lacks the tensor `{name}`"))
}

fn rows(tensor: &Tensor) -> candle_core::Result<Vec<Vec<i64>>> {
    match tensor.dims().last() {
        Some(&width) if width > 0 => tensor.reshape(((), width))?.to_vec2(),
        _ => Ok(Vec::new()),
    }
}
