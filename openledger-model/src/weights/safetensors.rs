//! Tensors in safetensors files.

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;
use half::{bf16, f16};
use openledger_core::{Error, ErrorKind, Result};
use openledger_kernels::{Elements, Storage};
use safetensors::{Dtype, SafeTensors, tensor::TensorView};

use super::NamedTensor;

/// A tensor where it lies in a file.
pub(crate) struct Found {
    pub(crate) name: String,
    pub(crate) shape: Vec<usize>,
    pub(crate) storage: Storage,
}

impl From<NamedTensor> for Found {
    fn from(NamedTensor { name, shape, data }: NamedTensor) -> Self {
        Self { name, shape, storage: Storage::F32(data.into()) }
    }
}

/// Finds the tensors of a safetensors file by ascending name, and copies none that lies aligned.
pub(crate) fn find_tensors(file: &Bytes) -> Result<Vec<Found>> {
    let tensors = SafeTensors::deserialize(file)
        .map_err(|e| Error::corrupt("not a whole safetensors file").with_source(e))?;
    let mut found: Vec<Found> = tensors
        .iter()
        .map(|(name, view)| {
            let bytes = file.slice_ref(view.data());
            let storage = match view.dtype() {
                Dtype::F32 => Storage::F32(Elements::from_bytes(bytes)),
                Dtype::BF16 => Storage::Bf16(Elements::<bf16>::from_bytes(bytes)),
                Dtype::F16 => Storage::F16(Elements::<f16>::from_bytes(bytes)),
                Dtype::F64 => {
                    let numbers = bytes.as_chunks().0.iter().map(|x| f64::from_le_bytes(*x) as f32);
                    Storage::F32(numbers.collect::<Vec<_>>().into())
                }
                other => {
                    return Err(Error::new(
                        ErrorKind::Unsupported,
                        format!("the tensor `{name}` is of {other:?}; known: F16, BF16, F32, F64"),
                    ));
                }
            };
            Ok(Found { name: name.to_owned(), shape: view.shape().to_vec(), storage })
        })
        .collect::<Result<_>>()?;
    found.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(found)
}

/// Writes tensors as a safetensors file, as they are or rounded to the nearest `bf16`.
pub(crate) fn write_safetensors<'a>(
    tensors: impl Iterator<Item = (&'a str, &'a [usize], &'a [f32])>,
    dtype: Dtype,
) -> Vec<u8> {
    let encode = |data: &[f32]| -> Vec<u8> {
        match dtype {
            Dtype::BF16 => data.iter().flat_map(|&x| bf16::from_f32(x).to_le_bytes()).collect(),
            _ => data.iter().flat_map(|x| x.to_le_bytes()).collect(),
        }
    };
    let bytes: BTreeMap<&str, (&[usize], Vec<u8>)> =
        tensors.map(|(name, shape, data)| (name, (shape, encode(data)))).collect();
    let views = bytes.iter().map(|(name, (shape, data))| {
        let view = TensorView::new(dtype, shape.to_vec(), data);
        (*name, view.expect("the shape of a stored tensor fits its data"))
    });
    // The format's metadata says who may read it: transformers and peft refuse files without it.
    let metadata = HashMap::from([("format".to_owned(), "pt".to_owned())]);
    safetensors::serialize(views, Some(metadata)).expect("names and shapes are always JSON")
}
