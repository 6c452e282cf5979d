//! llama.cpp from source, for this processor.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::{
    peers::Peers,
    shell::{Result, output},
};

/// The package whose source has llama.cpp's in it: what can be had where only registries are reached.
const SOURCE: &str = "llama-cpp-python==0.3.36";
/// What its metadata is made with, and what it is built with.
const TOOLS: [&str; 3] = ["scikit-build-core==1.1.2", "cmake==4.4.4", "ninja==1.13.2"];
/// For this processor and with OpenMP, as by default; without what needs other libraries or the network.
const OPTIONS: [&str; 8] = [
    "-DCMAKE_BUILD_TYPE=Release",
    "-DGGML_NATIVE=ON",
    "-DBUILD_SHARED_LIBS=OFF",
    "-DLLAMA_OPENSSL=OFF",
    "-DLLAMA_USE_PREBUILT_UI=OFF",
    "-DLLAMA_BUILD_TESTS=OFF",
    "-DLLAMA_BUILD_EXAMPLES=OFF",
    "-DLLAMA_BUILD_APP=OFF",
];

/// Returns the server, and builds it if it is not there: about ten minutes on two cores.
///
/// # Errors
/// If there is no C++ compiler, or no room.
pub(super) fn server(peers: &Peers) -> Result<PathBuf> {
    let server = peers.folder().join("llama-build/bin/llama-server");
    if server.exists() {
        return Ok(server);
    }
    let python = peers.python_packages("llama-tools", &TOOLS)?;
    let source = unpacked(peers, &python)?;
    let build = peers.folder().join("llama-build");
    let mut configure = beside(&python, "cmake")?;
    configure.args(["-G", "Ninja", "-S"]).arg(source.join("vendor/llama.cpp"));
    output(configure.arg("-B").arg(&build).args(OPTIONS))?;
    let mut cmake = beside(&python, "cmake")?;
    output(cmake.arg("--build").arg(&build).args(["--target", "llama-server"]))?;
    Ok(server)
}

/// Returns a tool of Python's environment, which finds the others there.
fn beside(python: &Path, tool: &str) -> Result<Command> {
    let mut command = Command::new(python.with_file_name(tool));
    let mut paths: Vec<PathBuf> = python.parent().map(Path::to_owned).into_iter().collect();
    paths.extend(std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()));
    command.env("PATH", std::env::join_paths(paths)?);
    Ok(command)
}

/// Fetches the source and unpacks it; returns its folder.
fn unpacked(peers: &Peers, python: &Path) -> Result<PathBuf> {
    let folder = peers.scratch("llama-source")?;
    let mut pip = beside(python, "python")?;
    pip.args(["-m", "pip", "download", "--quiet", "--no-deps", "--no-build-isolation"]);
    pip.args(["--no-binary", ":all:", SOURCE]);
    output(pip.arg("--dest").arg(&folder))?;
    let only = |what: &str| -> Result<PathBuf> {
        let found = fs::read_dir(&folder)?.collect::<std::io::Result<Vec<_>>>()?;
        let paths = found.iter().map(fs::DirEntry::path);
        let mut paths = paths.filter(|path| path.is_dir() == (what == "folder"));
        paths.next().ok_or_else(|| format!("no {what} of {SOURCE}").into())
    };
    let file = only("file")?;
    output(Command::new(python).args(["-m", "tarfile", "-e"]).arg(&file).arg(&folder))?;
    fs::remove_file(file)?;
    only("folder")
}
