//! Files as memory, and memory for what files hold.

use std::{
    fs::File,
    io::{self, Read},
};

use bytes::Bytes;
use memmap2::{Mmap, MmapMut};

/// Maps a file: its bytes are read as they are needed, and given back when memory is short.
///
/// Whoever truncates the file while it is mapped ends the process (`SIGBUS`), and whoever writes to
/// it changes what was read: files of models are replaced, never rewritten in place.
///
/// # Errors
/// Those of the system.
#[expect(unsafe_code, reason = "what other processes do to a file, nothing can check")]
pub fn map_file(file: &File) -> io::Result<Bytes> {
    if file.metadata()?.len() == 0 {
        return Ok(Bytes::new());
    }
    // SAFETY: nothing of ours writes to files it reads weights from; see above for others.
    let map = unsafe { Mmap::map(file)? };
    Ok(Bytes::from_owner(map))
}

/// Bytes being read that will be kept: where they are many, in memory of their own, all of which goes
/// back to the system with the last of them. An allocator keeps what lies between what it still lends.
///
/// # Examples
/// ```
/// use openledger_kernels::Apart;
///
/// let mut kept = Apart::new(8)?;
/// assert_eq!(kept.read_from(&mut &b"weights"[..])?, 7);
/// assert_eq!(kept.freeze(), "weights");
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct Apart {
    memory: Memory,
    filled: usize,
}

#[derive(Debug)]
enum Memory {
    Small(Vec<u8>),
    Large(MmapMut),
}

/// Bytes from which on they are kept apart: a process has only so many pieces of memory.
const LARGE: usize = 1 << 20;

impl Apart {
    /// Takes room for so many bytes at most. From 1 MiB on it costs what is filled of it.
    ///
    /// # Errors
    /// Those of the system.
    pub fn new(bytes: usize) -> io::Result<Self> {
        let memory = match bytes {
            0..LARGE => Memory::Small(vec![0; bytes]),
            _ => Memory::Large(MmapMut::map_anon(bytes)?),
        };
        Ok(Self { memory, filled: 0 })
    }

    /// Reads once from `source` and returns how many bytes came; none at its end, or if no room is left.
    ///
    /// # Errors
    /// Those of the source.
    pub fn read_from(&mut self, source: &mut impl Read) -> io::Result<usize> {
        let room = match &mut self.memory {
            Memory::Small(bytes) => &mut bytes[self.filled..],
            Memory::Large(map) => &mut map[self.filled..],
        };
        let count = loop {
            match source.read(room) {
                // A signal came, and nothing was read.
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                read => break read?,
            }
        };
        self.filled += count;
        Ok(count)
    }

    /// Returns the bytes that came.
    pub fn freeze(self) -> Bytes {
        let bytes = match self.memory {
            Memory::Small(bytes) => Bytes::from(bytes),
            Memory::Large(map) => Bytes::from_owner(map),
        };
        bytes.slice(..self.filled)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Is interrupted before each read.
    struct Disturbed<'a>(&'a [u8], bool);

    impl Read for Disturbed<'_> {
        fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
            self.1 = !self.1;
            if self.1 { Err(io::ErrorKind::Interrupted.into()) } else { self.0.read(room) }
        }
    }

    #[test]
    fn a_signal_ends_no_reading() {
        let mut kept = Apart::new(4).unwrap();
        assert_eq!(kept.read_from(&mut Disturbed(b"abc", false)).unwrap(), 3);
        assert_eq!(kept.freeze(), "abc");
    }

    #[test]
    fn what_is_kept_is_what_came_and_no_more_than_there_is_room_for() {
        for room in [0, 1, 1000, LARGE - 1, LARGE, LARGE + 1] {
            for sent in [0, 1, room / 2, room, room + 1] {
                let bytes: Vec<u8> = (0..sent).map(|n| (n * 31) as u8).collect();
                let mut kept = Apart::new(room).unwrap();
                // In pieces, as files and networks give them.
                for mut piece in bytes.chunks(room / 3 + 1) {
                    while kept.read_from(&mut piece).unwrap() > 0 {}
                }
                assert_eq!(kept.freeze(), bytes[..sent.min(room)], "{sent} into {room}");
            }
        }
    }
}
