//! Memory that a thread uses again: what is new costs the system work for every page, and is filled
//! with zeros that nobody reads.

use std::cell::RefCell;

use bytemuck::{AnyBitPattern, NoUninit};

use crate::room::Room;

thread_local! {
    /// One for each that is used inside another, the outermost last.
    static SPARE: RefCell<Vec<Room<u32>>> = const { RefCell::new(Vec::new()) };
}

/// Runs `work` with room for `len` elements, which hold anything.
///
/// The memory stays the thread's: as much as the largest use inside each other took.
pub(crate) fn with<E: AnyBitPattern + NoUninit, R>(
    len: usize,
    work: impl FnOnce(&mut [E]) -> R,
) -> R {
    let words = (len * size_of::<E>()).div_ceil(size_of::<u32>());
    let spare = SPARE.with_borrow_mut(Vec::pop).filter(|spare| spare.len() >= words);
    let mut room = spare.unwrap_or_else(|| Room::new(words));
    let done = work(bytemuck::cast_slice_mut(&mut room[..words]));
    SPARE.with_borrow_mut(|spare| spare.push(room));
    done
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_used_inside_another_is_other_memory() {
        for len in [3, 70_000, 5] {
            with(len, |outer: &mut [f32]| {
                outer.fill(1.0);
                with(2 * len, |inner: &mut [[f32; 2]]| {
                    inner.fill([2.0; 2]);
                    assert_eq!(inner.len(), 2 * len);
                });
                assert!(outer.len() == len && outer.iter().all(|x| *x == 1.0));
            });
        }
    }
}
