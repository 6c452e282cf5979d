//! Files as memory.

use std::{fs::File, io};

use bytes::Bytes;
use memmap2::Mmap;

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
