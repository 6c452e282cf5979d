//! The same results as the outside world.

mod contracts;
mod merkle;
mod node;

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use crate::shell::{Result, output, root};

/// What is installed, in the versions compared with.
const PACKAGES: [&str; 4] = [
    "solc@0.8.37",
    "@openzeppelin/contracts@5.7.0",
    "@openzeppelin/merkle-tree@1.0.8",
    "@foundry-rs/anvil-linux-amd64@1.7.1",
];

/// A check: what it compares, and how.
type Check = (&'static str, fn(&Peers) -> Result<String>);

const CHECKS: [Check; 3] =
    [("contracts", contracts::check), ("merkle", merkle::check), ("node", node::check)];

/// Where the peers are installed.
pub(crate) struct Peers {
    folder: PathBuf,
}

impl Peers {
    fn install() -> Result<Self> {
        let folder = root().join("target/peers");
        std::fs::create_dir_all(&folder)?;
        let mut npm = Command::new("npm");
        npm.args(["install", "--prefix"]).arg(&folder);
        output(npm.args(["--no-save", "--no-audit", "--no-fund", "--silent"]).args(PACKAGES))?;
        Ok(Self { folder })
    }

    fn modules(&self) -> PathBuf {
        self.folder.join("node_modules")
    }

    /// Returns an empty folder for what a check writes.
    fn scratch(&self, name: &str) -> Result<PathBuf> {
        let folder = self.folder.join(name);
        if folder.exists() {
            std::fs::remove_dir_all(&folder)?;
        }
        std::fs::create_dir_all(&folder)?;
        Ok(folder)
    }

    /// Returns Node with a script that finds the installed packages.
    fn script(&self, script: &Path) -> Command {
        let mut node = Command::new("node");
        node.arg(script).env("NODE_MODULES", self.modules());
        node
    }
}

/// Runs every check, or the one that is named.
///
/// # Errors
/// Says what differs.
pub(crate) fn check(only: Option<&str>) -> Result {
    if let Some(name) = only.filter(|only| CHECKS.iter().all(|(name, _)| name != only)) {
        let known = CHECKS.map(|(name, _)| name).join(", ");
        return Err(format!("no check `{name}`; there are {known}").into());
    }
    let peers = Peers::install()?;
    for (name, check) in CHECKS {
        if only.is_none_or(|only| only == name) {
            let said = check(&peers).map_err(|e| format!("{name}: {e}"))?;
            println!("{name}: {said}");
        }
    }
    Ok(())
}
