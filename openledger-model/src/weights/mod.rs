//! The tensors of a model, by name.

mod safetensors;

use std::{
    borrow::Cow,
    collections::{BTreeMap, HashMap},
};

use ::safetensors::Dtype;
use bytes::Bytes;
use openledger_core::{Error, ErrorKind, Result};
use openledger_kernels::{Arithmetic, Into, Mat, Precision, Storage, Weight};

pub(crate) use self::safetensors::{Found, find_tensors, write_safetensors};

/// Names one tensor of a [`Weights`]; as the weight of a linear layer, also the place for adapters.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Param(usize);

impl Param {
    /// Names the tensor that is found as the n-th.
    pub(crate) const fn nth(n: usize) -> Self {
        Self(n)
    }
}

/// The tensors of a model, each with its name in the checkpoint.
///
/// Matrices stay as the file has them, `f32`, `bf16` or `f16`, in the file's memory if it was mapped, and
/// those of a GGUF file in eight or four bits, if it is opened so; [`store_as`](Self::store_as) rounds
/// some to less. All other tensors, gains and biases, are `f32`.
#[derive(Clone, Debug)]
pub struct Weights {
    tensors: Vec<Stored>,
    by_name: HashMap<String, Param>,
    arithmetic: Arithmetic,
}

/// A tensor as `f32`.
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
    name: String,
    shape: Vec<usize>,
    values: Values,
}

#[derive(Clone, Debug)]
enum Values {
    Matrix(Box<Weight>),
    Other(Vec<f32>),
}

impl Weights {
    /// Reads safetensors files, given by name.
    ///
    /// # Errors
    /// Those of [`from_safetensors`](Self::from_safetensors), naming the file.
    pub fn from_files(files: &BTreeMap<String, Bytes>) -> Result<Self> {
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
    pub fn from_safetensors(bytes: impl std::convert::Into<Bytes>) -> Result<Self> {
        let mut weights = Self::empty();
        weights.add_safetensors(&bytes.into())?;
        Ok(weights)
    }

    /// Takes tensors as they are.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] if a shape does not fit its data or a name comes twice.
    pub fn from_tensors(tensors: impl IntoIterator<Item = NamedTensor>) -> Result<Self> {
        let mut weights = Self::empty();
        for NamedTensor { name, shape, data } in tensors {
            if shape.iter().product::<usize>() != data.len() {
                let len = data.len();
                return Err(Error::invalid(format!(
                    "`{name}` of shape {shape:?} with {len} elements"
                )));
            }
            weights.add(NamedTensor { name, shape, data }.into())?;
        }
        Ok(weights)
    }

    /// Takes tensors as they are stored.
    pub(crate) fn from_stored(tensors: impl IntoIterator<Item = Found>) -> Result<Self> {
        let mut weights = Self::empty();
        tensors.into_iter().try_for_each(|tensor| weights.add(tensor))?;
        Ok(weights)
    }

    /// Returns this with products computed in another arithmetic: `f32` unless it is said.
    #[must_use]
    pub const fn with_arithmetic(mut self, arithmetic: Arithmetic) -> Self {
        self.arithmetic = arithmetic;
        self
    }

    /// Returns what products are computed in.
    pub const fn arithmetic(&self) -> Arithmetic {
        self.arithmetic
    }

    /// Rounds matrices to another precision and forgets what they were; those that have it stay.
    ///
    /// # Panics
    /// If one of them is no matrix.
    pub fn store_as(&mut self, precision: Precision, matrices: impl IntoIterator<Item = Param>) {
        for param in matrices {
            let stored = &mut self.tensors[param.0];
            let Values::Matrix(weight) = &mut stored.values else {
                panic!("`{}` is no matrix", stored.name)
            };
            if weight.storage().precision() == precision {
                continue;
            }
            let rounded = Storage::new(weight.storage().to_vec(), weight.sizes(), precision);
            **weight = Weight::new(rounded, weight.sizes());
        }
    }

    /// Writes all tensors in `f32` as one safetensors file, the same bytes every time.
    pub fn to_safetensors(&self) -> Vec<u8> {
        self.write(Dtype::F32)
    }

    /// Writes all tensors rounded to `bf16`, half the size.
    pub fn to_safetensors_bf16(&self) -> Vec<u8> {
        self.write(Dtype::BF16)
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
        &self.tensors[param.0].name
    }

    /// Returns the sizes of each dimension.
    pub fn shape(&self, param: Param) -> &[usize] {
        &self.tensors[param.0].shape
    }

    /// Returns the elements, row by row; a copy of those that are not stored as `f32`.
    pub fn data(&self, param: Param) -> Cow<'_, [f32]> {
        match &self.tensors[param.0].values {
            Values::Other(data) => Cow::Borrowed(data),
            Values::Matrix(weight) => match weight.storage() {
                Storage::F32(data) => Cow::Borrowed(data),
                other => Cow::Owned(other.to_vec()),
            },
        }
    }

    /// Returns the elements of a gain, a bias or whatever else is no matrix.
    ///
    /// # Panics
    /// If it is one.
    pub fn vector(&self, param: Param) -> &[f32] {
        let Stored { name, values, .. } = &self.tensors[param.0];
        match values {
            Values::Other(data) => data,
            Values::Matrix(_) => panic!("`{name}` is a matrix"),
        }
    }

    /// Returns a matrix `[out, in]` as it is stored.
    ///
    /// # Panics
    /// If the tensor does not have two dimensions.
    pub fn matrix(&self, param: Param) -> &Weight {
        let Stored { name, values, .. } = &self.tensors[param.0];
        match values {
            Values::Matrix(weight) => weight,
            Values::Other(_) => panic!("`{name}` is no matrix"),
        }
    }

    /// Multiplies rows `x`, `[rows, in]`, by a linear layer's weight `[out, in]`: `out = x W'` or
    /// `out += x W'`.
    ///
    /// # Panics
    /// If the tensor does not have two dimensions or the sizes do not match.
    pub fn multiply(&self, param: Param, out: Into<'_>, x: Mat<'_>) {
        self.matrix(param).multiply(out, x, self.arithmetic);
    }

    /// Multiplies the gradient of such a product's result, `[rows, out]`: `dx = dy W` or `dx += dy W`.
    ///
    /// # Panics
    /// As [`multiply`](Self::multiply).
    pub fn multiply_back(&self, param: Param, dx: Into<'_>, dy: Mat<'_>) {
        self.matrix(param).multiply_back(dx, dy, self.arithmetic);
    }

    /// Returns some rows of a matrix, one after another: a lookup in an embedding table.
    ///
    /// # Panics
    /// If the tensor does not have two dimensions or as many rows.
    pub fn rows(&self, param: Param, rows: impl IntoIterator<Item = u32>) -> Vec<f32> {
        self.matrix(param).rows(rows)
    }

    /// Returns the elements, to train them: as `f32` from now on.
    pub fn data_mut(&mut self, param: Param) -> &mut [f32] {
        match &mut self.tensors[param.0].values {
            Values::Matrix(weight) => weight.to_mut(),
            Values::Other(data) => data,
        }
    }

    /// Lists all tensors in the order they were read.
    pub fn params(&self) -> impl ExactSizeIterator<Item = Param> + use<> {
        (0..self.tensors.len()).map(Param)
    }

    /// Returns the number of elements of all tensors.
    pub fn elements(&self) -> usize {
        self.tensors.iter().map(|stored| stored.shape.iter().product::<usize>()).sum()
    }

    /// Returns how many bytes the elements take as they are stored, without what products keep.
    pub fn bytes(&self) -> usize {
        let bytes = |stored: &Stored| match &stored.values {
            Values::Matrix(weight) => weight.storage().bytes(),
            Values::Other(data) => 4 * data.len(),
        };
        self.tensors.iter().map(bytes).sum()
    }

    fn write(&self, dtype: Dtype) -> Vec<u8> {
        let data: Vec<Cow<'_, [f32]>> = self.params().map(|param| self.data(param)).collect();
        let tensors = self.tensors.iter().zip(&data);
        write_safetensors(tensors.map(|(s, data)| (&s.name[..], &s.shape[..], &data[..])), dtype)
    }

    fn empty() -> Self {
        let arithmetic = Arithmetic::default();
        Self { tensors: Vec::new(), by_name: HashMap::new(), arithmetic }
    }

    fn add_safetensors(&mut self, file: &Bytes) -> Result<()> {
        find_tensors(file)?.into_iter().try_for_each(|tensor| self.add(tensor))
    }

    fn add(&mut self, Found { name, shape, storage }: Found) -> Result<()> {
        let param = Param(self.tensors.len());
        if self.by_name.insert(name.clone(), param).is_some() {
            return Err(Error::invalid(format!("the tensor `{name}` comes twice")));
        }
        let values = match shape[..] {
            [out, width] => Values::Matrix(Weight::new(storage, [out, width]).into()),
            _ => Values::Other(storage.to_vec()),
        };
        self.tensors.push(Stored { name, shape, values });
        Ok(())
    }
}
