//! A server as a process: started, watched and ended.

use std::{
    fs,
    io::{BufRead, BufReader},
    net::SocketAddr,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use crate::{
    client,
    shell::{Result, cargo, root},
};

/// Ticks of the clock that Linux counts processor time in, a second.
const TICKS: f64 = 100.0;
/// How long a server may take to begin.
const START: Duration = Duration::from_secs(120);

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

    /// Starts another server on a port of this machine and waits until `/health` is well.
    ///
    /// # Errors
    /// If it ends before, or takes longer than two minutes.
    pub(crate) fn start_on(command: &mut Command, port: u16) -> Result<Self> {
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let mut child = Ending(Some(command.spawn()?));
        let begun = Instant::now();
        while begun.elapsed() < START {
            if client::send(address, "GET", "/health", None, b"")
                .is_ok_and(|said| said.status() == 200)
            {
                return Ok(Self { address, child: child.keep()? });
            }
            if let Some(status) = child.0.as_mut().map(Child::try_wait).transpose()?.flatten() {
                return Err(format!("the server ended with {status} before it listened").into());
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        Err("the server does not listen".into())
    }

    /// Returns where it listens.
    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns the URL it listens at.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Returns the seconds of processor time it has used.
    ///
    /// # Errors
    /// If it has ended. Linux only: it reads `/proc`.
    pub(crate) fn cpu_seconds(&self) -> Result<f64> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
        // The name of the program is in brackets and may hold anything.
        let fields = stat.rsplit_once(") ").map(|(_, fields)| fields).unwrap_or_default();
        let mut times = fields.split(' ').skip(11).take(2).map(str::parse::<u32>);
        let (Some(user), Some(system)) = (times.next(), times.next()) else {
            return Err("no times of the process".into());
        };
        Ok((f64::from(user?) + f64::from(system?)) / TICKS)
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
