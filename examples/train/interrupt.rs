//! Ctrl-C: the first one asks the run to stop, the second one ends the process.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use indicatif::ProgressBar;
use openledger_core::{Error, ErrorKind, Result};

/// The status a shell gives a process that SIGINT ended.
const INTERRUPTED: i32 = 130;

/// Listens from now on; returns what the first Ctrl-C sets. `progress` is where it says so.
pub(crate) fn listen(progress: &ProgressBar) -> Result<Arc<AtomicBool>> {
    let failed = |e: std::io::Error| {
        Error::new(ErrorKind::Unavailable, "cannot listen for Ctrl-C").with_source(e)
    };
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_io().build().map_err(failed)?;
    let (asked, progress) = (Arc::new(AtomicBool::new(false)), progress.clone());
    let tell = Arc::clone(&asked);
    let listen = async move {
        while tokio::signal::ctrl_c().await.is_ok() {
            if tell.swap(true, Ordering::Relaxed) {
                std::process::exit(INTERRUPTED);
            }
            progress.suspend(|| {
                println!("stopping behind this step; once more ends at once, and loses it");
            });
        }
    };
    let thread = std::thread::Builder::new().name("ctrl-c".to_owned());
    thread.spawn(move || runtime.block_on(listen)).map_err(failed)?;
    Ok(asked)
}
