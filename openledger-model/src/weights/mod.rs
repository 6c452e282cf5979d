//! The tensors of a model, by name.

use std::{
    collections::{BTreeMap, HashMap},
    sync::OnceLock,
};

use candle_core::{DType, Device, Tensor};
use half::bf16;
use openledger_core::{Error, ErrorKind, Result};
use openledger_kernels::{Mat, Packed};
use safetensors::{Dtype, tensor::TensorView};

/// Names one tensor of a [`Weights`]; as the weight of a linear layer, also the place for adapters.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Param(usize);

impl Param {
    /// Names the tensor that is found as the n-th.
    pub(crate) const fn nth(n: usize) -> Self {
        Self(n)
    }
}

/// The tensors of a model in `f32`, each with its name in the checkpoint.
#[derive(Clone, Debug)]
pub struct Weights {
    tensors: Vec<Stored>,
    by_name: HashMap<String, Param>,
}

/// A tensor as a checkpoint holds it, converted to `f32`.
#[derive(Clone, Debug, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "a name, a shape and elements are all there is")]
pub struct NamedTensor {
    /// The name.
    pub name: String,
    /// The sizes of each dimension.
    pub shape: Vec<usize>,
    /// The elements, row by row.
    pub data: Vec<f32>,
}

#[derive(Clone, Debug)]
struct Stored {
    tensor: NamedTensor,
    packed: OnceLock<Packed>,
}

impl Weights {
    /// Reads safetensors files, given by name.
    ///
    /// # Errors
    /// Those of [`from_safetensors`](Self::from_safetensors), naming the file.
    pub fn from_files(files: &BTreeMap<String, Vec<u8>>) -> Result<Self> {
        let mut weights = Self::empty();
        for (name, bytes) in files {
            weights.add_safetensors(bytes).map_err(|e| {
                Error::new(e.kind(), format!("cannot load `{name}`")).with_source(e)
            })?;
        }
        Ok(weights)
    }

    /// Reads the bytes of one safetensors file.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`] if they are not a whole one; [`ErrorKind::Unsupported`] for tensors
    /// that are not of floating point.
    pub fn from_safetensors(bytes: &[u8]) -> Result<Self> {
        let mut weights = Self::empty();
        weights.add_safetensors(bytes)?;
        Ok(weights)
    }

    /// Takes tensors as they are.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] if a shape does not fit its data or a name comes twice.
    pub fn from_tensors(tensors: impl IntoIterator<Item = NamedTensor>) -> Result<Self> {
        let mut weights = Self::empty();
        for tensor in tensors {
            let NamedTensor { name, shape, data } = &tensor;
            if shape.iter().product::<usize>() != data.len() {
                let len = data.len();
                return Err(Error::invalid(format!(
                    "`{name}` of shape {shape:?} with {len} elements"
                )));
            }
            weights.add(tensor)?;
        }
        Ok(weights)
    }

    /// Writes all tensors in `f32` as one safetensors file, the same bytes every time.
    pub fn to_safetensors(&self) -> Vec<u8> {
        write_safetensors(self.views(), Dtype::F32)
    }

    /// Writes all tensors rounded to `bf16`, half the size.
    pub fn to_safetensors_bf16(&self) -> Vec<u8> {
        write_safetensors(self.views(), Dtype::BF16)
    }

    /// Finds the tensor `name` and checks its shape.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] or [`ErrorKind::Invalid`], naming the tensor and what was expected.
    pub fn find(&self, name: &str, shape: &[usize]) -> Result<Param> {
        let param = *self.by_name.get(name).ok_or_else(|| {
            Error::new(ErrorKind::NotFound, format!("the weights lack the tensor `{name}`"))
        })?;
        if self.shape(param) != shape {
            return Err(Error::invalid(format!(
                "the tensor `{name}` is {:?}, the configuration asks for {shape:?}",
                self.shape(param)
            )));
        }
        Ok(param)
    }

    /// Returns the name in the checkpoint.
    pub fn name(&self, param: Param) -> &str {
        &self.tensors[param.0].tensor.name
    }

    /// Returns the sizes of each dimension.
    pub fn shape(&self, param: Param) -> &[usize] {
        &self.tensors[param.0].tensor.shape
    }

    /// Returns the elements, row by row.
    pub fn data(&self, param: Param) -> &[f32] {
        &self.tensors[param.0].tensor.data
    }

    /// Returns the elements, to train them.
    pub fn data_mut(&mut self, param: Param) -> &mut [f32] {
        let stored = &mut self.tensors[param.0];
        stored.packed = OnceLock::new();
        &mut stored.tensor.data
    }

    /// Returns the transpose of a linear layer's weight, `[in, out]`, as products read it best.
    ///
    /// It is packed at the first call, and again after the weight was trained.
    ///
    /// # Panics
    /// If the tensor does not have two dimensions.
    pub fn packed(&self, param: Param) -> &Packed {
        let Stored { tensor: NamedTensor { name, shape, data }, packed } = &self.tensors[param.0];
        packed.get_or_init(|| {
            let &[out, width] = &shape[..] else { panic!("`{name}` is no matrix") };
            Packed::new(Mat::new(data, out, width).t())
        })
    }

    /// Lists all tensors in the order they were read.
    pub fn params(&self) -> impl ExactSizeIterator<Item = Param> + use<> {
        (0..self.tensors.len()).map(Param)
    }

    /// Returns the number of elements of all tensors.
    pub fn elements(&self) -> usize {
        self.tensors.iter().map(|stored| stored.tensor.data.len()).sum()
    }

    fn views(&self) -> impl Iterator<Item = (&str, &[usize], &[f32])> {
        self.tensors.iter().map(|stored| {
            let NamedTensor { name, shape, data } = &stored.tensor;
            (name.as_str(), &shape[..], &data[..])
        })
    }

    fn empty() -> Self {
        Self { tensors: Vec::new(), by_name: HashMap::new() }
    }

    fn add_safetensors(&mut self, bytes: &[u8]) -> Result<()> {
        read_safetensors(bytes)?.into_iter().try_for_each(|tensor| self.add(tensor))
    }

    fn add(&mut self, tensor: NamedTensor) -> Result<()> {
        let param = Param(self.tensors.len());
        if self.by_name.insert(tensor.name.clone(), param).is_some() {
            return Err(Error::invalid(format!("the tensor `{}` comes twice", tensor.name)));
        }
        self.tensors.push(Stored { tensor, packed: OnceLock::new() });
        Ok(())
    }
}

/// Reads the tensors of a safetensors file by ascending name.
pub(crate) fn read_safetensors(bytes: &[u8]) -> Result<Vec<NamedTensor>> {
    let corrupt = |e: candle_core::Error| {
        Error::corrupt("not a whole safetensors file").with_source(e.to_string())
    };
    let tensors = candle_core::safetensors::load_buffer(bytes, &Device::Cpu).map_err(corrupt)?;
    let sorted: BTreeMap<String, Tensor> = tensors.into_iter().collect();
    sorted
        .into_iter()
        .map(|(name, tensor)| {
            if !tensor.dtype().is_float() {
                return Err(Error::new(
                    ErrorKind::Unsupported,
                    format!(
                        "the tensor `{name}` is of {:?}; known: F16, BF16, F32, F64",
                        tensor.dtype()
                    ),
                ));
            }
            let data = tensor
                .to_dtype(DType::F32)
                .and_then(|tensor| tensor.flatten_all()?.to_vec1())
                .map_err(corrupt)?;
            Ok(NamedTensor { name, shape: tensor.dims().to_vec(), data })
        })
        .collect()
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
