//! Numbers in memory of their own, or in that of a file.

use std::{fmt, marker::PhantomData, ops::Deref};

use bytemuck::{AnyBitPattern, NoUninit};
use bytes::Bytes;

/// A list of numbers that may lie in a mapped file.
#[derive(Clone)]
pub struct Elements<T>(Kept<T>);

#[derive(Clone)]
enum Kept<T> {
    Owned(Vec<T>),
    /// Aligned for `T`, and whole ones.
    Shared(Bytes, PhantomData<T>),
}

impl<T: AnyBitPattern + NoUninit> Elements<T> {
    /// Takes bytes in this machine's order; copies them only if they do not lie as numbers must.
    ///
    /// # Panics
    /// If the bytes are no whole number of elements.
    pub fn from_bytes(bytes: Bytes) -> Self {
        assert!(bytes.len().is_multiple_of(size_of::<T>()), "whole elements");
        match bytemuck::try_cast_slice::<u8, T>(&bytes) {
            Ok(_) => Self(Kept::Shared(bytes, PhantomData)),
            Err(_) => Self(Kept::Owned(bytemuck::allocation::pod_collect_to_vec(&bytes))),
        }
    }

    /// Returns the elements, to change them; those in a file's memory are copied first.
    pub fn to_mut(&mut self) -> &mut Vec<T> {
        if let Kept::Shared(..) = &self.0 {
            self.0 = Kept::Owned(self.to_vec());
        }
        match &mut self.0 {
            Kept::Owned(elements) => elements,
            Kept::Shared(..) => unreachable!("was copied"),
        }
    }
}

impl<T> From<Vec<T>> for Elements<T> {
    fn from(elements: Vec<T>) -> Self {
        Self(Kept::Owned(elements))
    }
}

impl<T: AnyBitPattern> Deref for Elements<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        match &self.0 {
            Kept::Owned(elements) => elements,
            Kept::Shared(bytes, _) => bytemuck::cast_slice(bytes),
        }
    }
}

impl<T> fmt::Debug for Elements<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (len, place) = match &self.0 {
            Kept::Owned(elements) => (elements.len(), "owned"),
            Kept::Shared(bytes, _) => (bytes.len() / size_of::<T>(), "shared"),
        };
        write!(f, "{len} elements, {place}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_copied_only_where_they_do_not_lie_right_or_are_changed() {
        let numbers: Vec<u8> = [1.5f32, -2.0, 3.25].iter().flat_map(|x| x.to_le_bytes()).collect();
        let shifted = Bytes::from([&[0][..], &numbers].concat());
        for from in 0..4 {
            let mut bytes = vec![0; from];
            bytes.extend(&numbers);
            let elements = Elements::<f32>::from_bytes(Bytes::from(bytes).slice(from..));
            assert_eq!(elements[..], [1.5, -2.0, 3.25], "{elements:?}");
        }
        let mut elements = Elements::<f32>::from_bytes(shifted.slice(1..));
        let before = elements.clone();
        elements.to_mut()[1] = 7.0;
        assert_eq!((elements[1], before[1]), (7.0, -2.0));
    }
}
