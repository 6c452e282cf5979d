//! One run in four processes.

use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
};

use clap::ValueEnum;
use openledger_core::{Error, ErrorKind, Result, file, share};
use openledger_train::federated::FederationRecord;
use openledger_train_http::Client;

use crate::{RunOptions, WORKERS, World, key, liar::Lie, reach};

/// What happens to the second worker.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Scene {
    /// Nothing.
    Honest,
    /// It is killed half-way.
    Killed,
    /// It lies.
    Lies(Lie),
}

/// The worker it happens to.
const SECOND: usize = 1;

impl Scene {
    pub(crate) const ALL: [Self; 5] = [
        Self::Honest,
        Self::Killed,
        Self::Lies(Lie::Noise),
        Self::Lies(Lie::Flip),
        Self::Lies(Lie::Hundredfold),
    ];

    pub(crate) const fn title(self) -> &'static str {
        match self {
            Self::Honest | Self::Lies(Lie::None) => "all honest",
            Self::Killed => "one is killed half-way",
            Self::Lies(Lie::Noise) => "one sends random bytes",
            Self::Lies(Lie::Flip) => "one sends updates turned round",
            Self::Lies(Lie::Hundredfold) => "one sends a hundredfold",
        }
    }

    /// Runs coordinator and workers to the end; returns matrices and record.
    pub(crate) async fn play(self, world: &World) -> Result<(Vec<u8>, FederationRecord)> {
        let out = tempfile::tempdir()
            .map_err(|e| Error::new(ErrorKind::Unavailable, "no scratch folder").with_source(e))?;
        let out = out.path();
        let mut coordinator = Process::start(
            &world.options,
            &["coordinate".as_ref(), "--out".as_ref(), out.as_os_str()],
        )?;
        let url = coordinator.line()?;
        let mut workers = Vec::new();
        for index in 0..WORKERS {
            let lie = match self {
                Self::Lies(lie) if index == SECOND => lie,
                _ => Lie::None,
            };
            let lie = lie.to_possible_value().expect("every lie has a name");
            let (index, lie) = (index.to_string(), lie.get_name().to_owned());
            let words = ["work", "--url", &url, "--index", &index, "--lie", &lie];
            workers.push(Process::start(&world.options, &words.map(AsRef::as_ref))?);
        }
        let client = Client::connect(&url)?;
        if self == Self::Killed {
            reach(&client, world.options.rounds / 2).await?;
            workers.remove(SECOND).kill();
        }
        reach(&client, world.options.rounds).await?;
        workers.iter_mut().try_for_each(Process::finish)?;
        let read = |name: &str| file::read(out.join(name), 1 << 30);
        while !Path::exists(&out.join("record.json")) {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        Ok((read("adapter_model.safetensors")?, FederationRecord::parse(&read("record.json")?)?))
    }

    /// Checks that the record says who did what.
    pub(crate) fn check(self, record: &FederationRecord) -> Result<()> {
        let shares = record.shares()?;
        let second = shares.get(&key(SECOND).address()).map_or(0, |share| share.part);
        let third = share::WHOLE / WORKERS as u64;
        let right = match self {
            // Updates turned round do no harm that shows where the schedule ends, and pass.
            Self::Lies(Lie::Flip) => second < third / 2,
            Self::Lies(_) => second == 0,
            Self::Killed => (third / 4..third).contains(&second),
            Self::Honest => (third * 9 / 10..third * 11 / 10).contains(&second),
        };
        match right {
            true => Ok(()),
            false => Err(Error::invalid(format!(
                "{}: a share of {second} of {}",
                self.title(),
                share::WHOLE
            ))),
        }
    }
}

/// A process of this program, which ends with whoever holds it.
struct Process(Child);

impl Process {
    fn start(options: &RunOptions, words: &[&std::ffi::OsStr]) -> Result<Self> {
        let cannot =
            |e| Error::new(ErrorKind::Unavailable, "cannot start a process").with_source(e);
        let mut command = Command::new(std::env::current_exe().map_err(cannot)?);
        command.args(words).stdin(Stdio::null()).stdout(Stdio::piped());
        for (name, path) in [("--model", &options.model), ("--data", &options.data)] {
            if let Some(path) = path {
                command.arg(name).arg(path);
            }
        }
        for (name, value) in [
            ("--rows", options.rows.to_string()),
            ("--max-tokens", options.max_tokens.to_string()),
            ("--rounds", options.rounds.to_string()),
            ("--steps", options.steps.to_string()),
            ("--batch", options.batch.to_string()),
            ("--rate", options.rate.to_string()),
            ("--seconds", options.seconds.to_string()),
        ] {
            command.arg(name).arg(value);
        }
        command.spawn().map(Self).map_err(cannot)
    }

    /// The first line it says.
    fn line(&mut self) -> Result<String> {
        let silent = || Error::new(ErrorKind::Unavailable, "the coordinator did not start");
        let mut line = String::new();
        let said = self.0.stdout.take().ok_or_else(silent)?;
        BufReader::new(said).read_line(&mut line).map_err(|e| silent().with_source(e))?;
        match line.trim() {
            "" => Err(silent()),
            url => Ok(url.to_owned()),
        }
    }

    /// SIGKILL: no chance to say goodbye.
    fn kill(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }

    /// Waits for its end.
    fn finish(&mut self) -> Result<()> {
        match self.0.wait() {
            Ok(status) if status.success() => Ok(()),
            ended => Err(Error::new(ErrorKind::Unavailable, format!("a worker ended: {ended:?}"))),
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}
