//! Large buffers in huge pages: a matrix that is streamed at every step costs a page walk for every
//! four kilobytes otherwise.

use std::{
    fmt,
    marker::PhantomData,
    ops::{Deref, DerefMut, Range},
    sync::Arc,
};

use bytemuck::{AnyBitPattern, NoUninit};
use memmap2::MmapMut;

/// A buffer of zeros, to be filled.
pub(crate) struct Room<T>(Memory<T>);

/// What a buffer holds: any bits are one, and all bits zero are zero.
pub(crate) trait Number: AnyBitPattern + Default + NoUninit {}

impl<T: AnyBitPattern + Default + NoUninit> Number for T {}

enum Memory<T> {
    Small(Vec<T>),
    /// Aligned to a page, and as long as the elements.
    Large(MmapMut, PhantomData<T>),
}

/// Bytes from which on pages are worth asking for.
const LARGE: usize = 1 << 20;

impl<T: Number> Room<T> {
    pub(crate) fn new(len: usize) -> Self {
        let bytes = len * size_of::<T>();
        if bytes >= LARGE
            && let Ok(map) = MmapMut::map_anon(bytes)
        {
            // Where there are no huge pages, small ones do.
            #[cfg(target_os = "linux")]
            let _ = map.advise(memmap2::Advice::HugePage);
            return Self(Memory::Large(map, PhantomData));
        }
        Self(Memory::Small(vec![T::default(); len]))
    }
}

impl<T: Number> Deref for Room<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        match &self.0 {
            Memory::Small(elements) => elements,
            Memory::Large(map, _) => bytemuck::cast_slice(map),
        }
    }
}

impl<T: Number> DerefMut for Room<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        match &mut self.0 {
            Memory::Small(elements) => elements,
            Memory::Large(map, _) => bytemuck::cast_slice_mut(map),
        }
    }
}

impl<T: Number> Clone for Room<T> {
    fn clone(&self) -> Self {
        let mut copy = Self::new(self.len());
        copy.copy_from_slice(self);
        copy
    }
}

impl<T: Number> fmt::Debug for Room<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Room({})", self.len())
    }
}

/// Elements of four bytes that do not change any more: in a buffer of their own, or in one with others.
#[derive(Clone, Debug)]
pub(crate) enum Fixed<T: Number> {
    Own(Room<T>),
    Together(Arc<Room<u32>>, Range<usize>),
}

impl<T: Number> Deref for Fixed<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        match self {
            Self::Own(room) => room,
            Self::Together(room, at) => bytemuck::cast_slice(&room[at.clone()]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_or_large_it_is_zero_and_keeps_what_is_written() {
        for len in [0, 5, LARGE / 4, LARGE / 4 + 3] {
            let mut room = Room::<f32>::new(len);
            assert!(room.len() == len && room.iter().all(|x| *x == 0.0));
            if let Some(last) = room.last_mut() {
                *last = 7.0;
            }
            assert_eq!(room.clone().last(), room.last());
        }
    }
}
