//! The same results as the outside world.

mod analysis;
mod chat;
mod contracts;
mod engine;
mod forge;
mod gas;
mod gguf;
mod hub;
mod merkle;
mod node;
mod openai;
mod peft;
mod typed;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::shell::{Result, output, root};

/// A check: what it compares, and how.
type Check = (&'static str, fn(&Peers) -> Result<String>);

const CHECKS: [Check; 14] = [
    ("contracts", contracts::check),
    ("forge", forge::test),
    ("coverage", forge::coverage),
    ("halmos", analysis::halmos),
    ("slither", analysis::slither),
    ("merkle", merkle::check),
    ("typed", typed::check),
    ("chat", chat::check),
    ("gas", gas::check),
    ("node", node::check),
    ("gguf", gguf::check),
    ("hub", hub::check),
    ("openai", openai::check),
    ("peft", peft::check),
];

/// Where the peers are installed: a copy of the contracts with their packages, and Python's tools.
pub(crate) struct Peers {
    folder: PathBuf,
}

impl Peers {
    /// Takes the folder, with what is in it.
    pub(crate) fn new() -> Self {
        Self { folder: root().join("target/peers") }
    }

    /// Copies the contracts and installs the packages their `package.json` names.
    fn install() -> Result<Self> {
        let peers = Self::new();
        let contracts = peers.contracts();
        for part in ["src", "test", "bin"] {
            let copy = contracts.join(part);
            if copy.exists() {
                fs::remove_dir_all(&copy)?;
            }
            copy_tree(&root().join("openledger-chain/contracts").join(part), &copy)?;
        }
        for file in ["package.json", "foundry.toml", "compile.mjs", "op.mjs"] {
            fs::copy(root().join("openledger-chain/contracts").join(file), contracts.join(file))?;
        }
        let mut npm = Command::new("npm");
        npm.arg("install").arg("--prefix").arg(&contracts);
        output(npm.args(["--no-package-lock", "--no-audit", "--no-fund", "--silent"]))?;
        Ok(peers)
    }

    /// Returns where everything is.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Returns the copy of the contracts: Foundry's root.
    fn contracts(&self) -> PathBuf {
        self.folder.join("contracts")
    }

    fn modules(&self) -> PathBuf {
        self.contracts().join("node_modules")
    }

    /// Returns the path of a tool of Foundry's. The program itself: what npm puts in front of it
    /// would be stopped in its stead.
    fn foundry(&self, tool: &str) -> PathBuf {
        let cpu = match std::env::consts::ARCH {
            "aarch64" => "arm64",
            _ => "amd64",
        };
        let system = match std::env::consts::OS {
            "macos" => "darwin",
            system => system,
        };
        self.modules().join(format!("@foundry-rs/{tool}-{system}-{cpu}/bin/{tool}"))
    }

    /// Installs a Python tool, each version in an environment of its own, and returns its path.
    fn python(&self, package: &str, tool: &str) -> Result<PathBuf> {
        let venv = self.folder.join(package.replace("==", "-"));
        let bin = venv.join("bin");
        if !bin.join("pip").exists() {
            output(Command::new("python3").args(["-m", "venv"]).arg(&venv))?;
        }
        if !bin.join(tool).exists() {
            let mut pip = Command::new(bin.join("pip"));
            output(pip.args(["install", "--quiet", "--no-cache-dir", package]))?;
        }
        Ok(bin.join(tool))
    }

    /// Installs Python packages into the environment `name`, and returns its Python. A file tells which
    /// are there, so that others are installed anew.
    pub(crate) fn python_packages(&self, name: &str, packages: &[&str]) -> Result<PathBuf> {
        let venv = self.folder.join(name);
        let (python, list) = (venv.join("bin/python"), venv.join("packages"));
        let wanted = packages.join("\n");
        if fs::read_to_string(&list).ok().as_deref() != Some(&wanted) {
            output(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&venv))?;
            let mut pip = Command::new(&python);
            pip.args(["-m", "pip", "install", "--quiet", "--no-cache-dir"]);
            output(pip.args(packages))?;
            fs::write(&list, wanted)?;
        }
        Ok(python)
    }

    /// Returns a command in Foundry's root that finds Foundry's tools, the compiler and what lies beside it.
    fn in_contracts(&self, program: &Path) -> Result<Command> {
        let mut command = Command::new(program);
        let forge = self.foundry("forge");
        let beside = |tool: &Path| tool.parent().map(Path::to_owned).unwrap_or_default();
        let mut paths = vec![beside(&forge), self.contracts().join("bin"), beside(program)];
        paths.extend(std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()));
        command.current_dir(self.contracts()).env("PATH", std::env::join_paths(paths)?);
        Ok(command)
    }

    /// Returns an empty folder for what a check writes.
    pub(crate) fn scratch(&self, name: &str) -> Result<PathBuf> {
        let folder = self.folder.join(name);
        if folder.exists() {
            fs::remove_dir_all(&folder)?;
        }
        fs::create_dir_all(&folder)?;
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
            let begun = std::time::Instant::now();
            let said = check(&peers).map_err(|e| format!("{name}: {e}"))?;
            println!("{name}: {said} ({} s)", begun.elapsed().as_secs());
        }
    }
    Ok(())
}

fn copy_tree(from: &Path, to: &Path) -> Result {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        match entry.file_type()?.is_dir() {
            true => copy_tree(&entry.path(), &target)?,
            false => {
                fs::copy(entry.path(), target)?;
            }
        }
    }
    Ok(())
}
