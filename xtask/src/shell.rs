//! Other programs.

use std::{
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use serde::de::DeserializeOwned;

/// What a check ends in.
pub(crate) type Result<T = ()> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// Returns the root of the workspace.
pub(crate) fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_owned()
}

/// Returns cargo, the one that runs this tool.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root());
    command
}

/// Runs a program to its end and returns what it printed; what it says on standard error is shown.
///
/// # Errors
/// If it cannot be started or does not succeed.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    Ok(String::from_utf8(run(command.stderr(Stdio::inherit()))?.stdout)?)
}

/// Runs a command and returns what it complained of, though it succeeded.
///
/// # Errors
/// If it cannot be started or fails.
pub(crate) fn complaints(command: &mut Command) -> Result<String> {
    let done = run(command.stderr(Stdio::piped()))?;
    let said = String::from_utf8_lossy(&done.stderr);
    eprint!("{said}");
    Ok(said.into_owned())
}

fn run(command: &mut Command) -> Result<Output> {
    let named = format!("`{}`", command.get_program().display());
    let done = command.output().map_err(|e| format!("cannot start {named}: {e}"))?;
    if !done.status.success() {
        print!("{}", String::from_utf8_lossy(&done.stdout));
        eprint!("{}", String::from_utf8_lossy(&done.stderr));
        return Err(format!("{named} ended with {}", done.status).into());
    }
    Ok(done)
}

/// Reads a file of JSON.
///
/// # Errors
/// If it cannot be read or is not such JSON.
pub(crate) fn json<T: DeserializeOwned>(path: &Path) -> Result<T> {
    let bytes = std::fs::read(path).map_err(|e| format!("cannot read {}: {e}", path.display()))?;
    Ok(serde_json::from_slice(&bytes)?)
}
