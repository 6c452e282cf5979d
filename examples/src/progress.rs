//! Progress a person can follow.

use indicatif::{ProgressBar, ProgressStyle};

/// Starts a bar of `len` steps, described by `what`.
///
/// It is drawn on standard error if that is a terminal, and silent otherwise.
pub fn bar(what: &str, len: usize) -> ProgressBar {
    let style = ProgressStyle::with_template("  {prefix} [{bar:30}] {pos}/{len} {msg} ({elapsed})");
    let bar = ProgressBar::new(len as u64)
        .with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
        .with_prefix(what.to_owned());
    bar.tick();
    bar
}
