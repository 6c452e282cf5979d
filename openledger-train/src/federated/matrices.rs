//! The matrices that are trained, as one vector.

use std::{fmt, sync::Arc};

use openledger_core::{B256, Bytes, ContentHash, Error, Result};
use safetensors::{Dtype, SafeTensors};

/// What every matrix of a run looks like, and all elements one after another.
///
/// It is a safetensors file of `f32`: the head names tensors and shapes and is the same for a round's
/// matrices and all updates of a run, so one that differs is refused before anything is read of it.
#[derive(Clone, PartialEq)]
pub struct Matrices {
    head: Arc<[u8]>,
    values: Vec<f32>,
}

impl Matrices {
    /// Reads the file a run starts from.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`](openledger_core::ErrorKind::Corrupt) if it is no safetensors file;
    /// [`ErrorKind::Invalid`](openledger_core::ErrorKind::Invalid) for elements that are not `f32`, not
    /// finite, or none.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        let (head, metadata) = SafeTensors::read_metadata(bytes)
            .map_err(|e| Error::corrupt("not a safetensors file").with_source(e))?;
        SafeTensors::deserialize(bytes)
            .map_err(|e| Error::corrupt("not a whole safetensors file").with_source(e))?;
        let tensors = metadata.tensors();
        if let Some((name, found)) = tensors.iter().find(|(_, info)| info.dtype != Dtype::F32) {
            return Err(Error::invalid(format!(
                "`{name}` is {:?}: matrices that are trained together are F32",
                found.dtype
            )));
        }
        let (head, data) = bytes.split_at(8 + head);
        if data.is_empty() {
            return Err(Error::invalid("matrices without elements"));
        }
        Ok(Self { head: head.into(), values: read(data)? })
    }

    /// Reads a file of matrices of the same names and shapes.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`](openledger_core::ErrorKind::Corrupt) for another length or head;
    /// [`ErrorKind::Invalid`](openledger_core::ErrorKind::Invalid) for an element that is not finite.
    pub fn parse_like(&self, bytes: &[u8]) -> Result<Self> {
        if bytes.len() != self.size() {
            let message = format!("{} bytes of matrices, not {}", bytes.len(), self.size());
            return Err(Error::corrupt(message));
        }
        let (head, data) = bytes.split_at(self.head.len());
        if *head != *self.head {
            return Err(Error::corrupt("matrices of other names or shapes"));
        }
        Ok(Self { head: Arc::clone(&self.head), values: read(data)? })
    }

    /// Joins other elements to the same names and shapes.
    ///
    /// # Panics
    /// If there are not as many.
    #[must_use]
    pub fn with_values(&self, values: Vec<f32>) -> Self {
        assert_eq!(values.len(), self.values.len(), "one value for each element");
        Self { head: Arc::clone(&self.head), values }
    }

    /// Returns the elements, tensor by tensor.
    pub fn values(&self) -> &[f32] {
        &self.values
    }

    /// Returns the difference to `start`, which has the same shape.
    ///
    /// # Panics
    /// If it has not.
    #[must_use]
    pub fn since(&self, start: &Self) -> Self {
        assert_eq!(self.values.len(), start.values.len(), "matrices of one run");
        let pairs = self.values.iter().zip(&start.values);
        self.with_values(pairs.map(|(end, start)| end - start).collect())
    }

    /// Returns this moved by `update`, which has the same shape.
    ///
    /// # Panics
    /// If it has not.
    #[must_use]
    pub fn moved(&self, update: &Self) -> Self {
        assert_eq!(self.values.len(), update.values.len(), "matrices of one run");
        let pairs = self.values.iter().zip(&update.values);
        self.with_values(pairs.map(|(start, by)| start + by).collect())
    }

    /// Returns the Euclidean norm, added up in order.
    pub fn norm(&self) -> f64 {
        self.values.iter().map(|&x| f64::from(x) * f64::from(x)).sum::<f64>().sqrt()
    }

    /// Returns the bytes of the file.
    pub fn size(&self) -> usize {
        self.head.len() + 4 * self.values.len()
    }

    /// Writes the file.
    pub fn to_bytes(&self) -> Bytes {
        let mut bytes = Vec::with_capacity(self.size());
        bytes.extend_from_slice(&self.head);
        bytes.extend(self.values.iter().flat_map(|x| x.to_le_bytes()));
        bytes.into()
    }

    /// Returns the digest under which a file of matrices is signed: BLAKE3.
    pub fn digest(bytes: &[u8]) -> B256 {
        ContentHash::of(bytes).into()
    }
}

impl fmt::Debug for Matrices {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Matrices").field("elements", &self.values.len()).finish_non_exhaustive()
    }
}

fn read(data: &[u8]) -> Result<Vec<f32>> {
    let values: Vec<f32> = data
        .chunks_exact(4)
        .map(|x| f32::from_le_bytes(x.try_into().expect("chunks of four bytes")))
        .collect();
    match values.iter().position(|x| !x.is_finite()) {
        Some(at) => Err(Error::invalid(format!("element {at} of the matrices is {}", values[at]))),
        None => Ok(values),
    }
}
