//! What the example apps share.

mod progress;

use openledger_core::Error;

pub use progress::bar;

/// Prints an error on one line of standard error and ends the process.
pub fn exit(error: &Error) -> ! {
    #[expect(clippy::print_stderr, reason = "an app tells its user why it stops")]
    {
        eprintln!("error: {}", error.report());
    }
    std::process::exit(1);
}
