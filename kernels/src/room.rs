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

/// [`Fixed`] elements of any kind.
pub(crate) trait Movable {
    fn words(&self) -> &[u32];

    /// Takes the same words where they are now.
    fn found_at(&mut self, room: &Arc<Room<u32>>, at: Range<usize>);
}

impl<T: Number> Movable for Fixed<T> {
    fn words(&self) -> &[u32] {
        bytemuck::cast_slice(self)
    }

    fn found_at(&mut self, room: &Arc<Room<u32>>, at: Range<usize>) {
        *self = Self::Together(Arc::clone(room), at);
    }
}

/// Moves elements into one buffer, which goes when the last of them goes.
pub(crate) fn gather(mut all: Vec<&mut dyn Movable>) {
    let mut room = Room::new(all.iter().map(|one| one.words().len()).sum());
    let mut first = 0;
    for one in &all {
        let words = one.words();
        room[first..first + words.len()].copy_from_slice(words);
        first += words.len();
    }
    let (room, mut first) = (Arc::new(room), 0);
    for one in &mut all {
        let at = first..first + one.words().len();
        first = at.end;
        one.found_at(&room, at);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_gathered_stays_what_it_was() {
        let numbers = |len: usize, first: f32| -> Room<f32> {
            let mut room = Room::new(len);
            room.iter_mut().zip(0u8..).for_each(|(x, n)| *x = first + f32::from(n));
            room
        };
        let mut all = [(3, 1.0), (0, 0.0), (200, 7.0)].map(|(len, x)| Fixed::Own(numbers(len, x)));
        let before = all.each_ref().map(|one| one.to_vec());
        gather(all.iter_mut().map(|one| one as &mut dyn Movable).collect());
        let [first, ..] = all.each_ref().map(|one| one.to_vec());
        assert_eq!(all.each_ref().map(|one| one.to_vec()), before);
        assert!(all.iter().all(|one| matches!(one, Fixed::Together(..))));
        // A copy keeps the buffer.
        let copy = all[0].clone();
        drop(all);
        assert_eq!(copy.to_vec(), first);
    }

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
