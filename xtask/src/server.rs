//! A server as a process: started, watched and ended.

use std::{
    fs,
    io::{BufRead, BufReader},
    net::SocketAddr,
    process::{Child, Command, Stdio},
};

use crate::shell::{Result, cargo, root};

/// A process that listens on a port, until dropped.
pub(crate) struct Server {
    child: Child,
    address: SocketAddr,
}

impl Server {
    /// Starts the example `serve`, or what speaks as it does, and waits until it says where it listens.
    ///
    /// # Errors
    /// If it ends before.
    pub(crate) fn start(command: &mut Command) -> Result<Self> {
        let mut child = Ending(Some(command.stdout(Stdio::piped()).spawn()?));
        let out = child.0.as_mut().and_then(|child| child.stdout.take());
        for line in BufReader::new(out.ok_or("no output of the server")?).lines() {
            if let Some(address) = line?.strip_prefix("listening on http://") {
                return Ok(Self { address: address.parse()?, child: child.keep()? });
            }
        }
        Err("the server ended before it listened".into())
    }

    /// Returns where it listens.
    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns the URL it listens at.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Returns the bytes of memory it has.
    ///
    /// # Errors
    /// If it has ended. Linux only: it reads `/proc`.
    pub(crate) fn memory(&self) -> Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kilobytes = line.and_then(|line| line.trim().strip_suffix(" kB"));
        Ok(kilobytes.ok_or("no memory of the process")?.trim().parse::<u64>()? * 1024)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        end(&mut self.child);
    }
}

/// A process that is ended unless it is kept.
struct Ending(Option<Child>);

impl Ending {
    fn keep(&mut self) -> Result<Child> {
        self.0.take().ok_or_else(|| "no server".into())
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            end(child);
        }
    }
}

fn end(child: &mut Child) {
    // It may have ended by itself.
    let _ = child.kill();
    let _ = child.wait();
}

/// Builds the example `serve` and returns a command that starts it on a free port.
///
/// # Errors
/// If it does not build.
pub(crate) fn serve(release: bool) -> Result<Command> {
    let mut build = cargo();
    // The whole workspace's features, with which the tests have built everything already.
    build.args(["build", "--quiet", "--workspace", "--example", "serve"]);
    crate::shell::output(build.args(release.then_some("--release")))?;
    let built =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), Into::into);
    let profile = if release { "release" } else { "debug" };
    let mut serve = Command::new(built.join(profile).join("examples/serve"));
    serve.args(["--port", "0"]);
    Ok(serve)
}
