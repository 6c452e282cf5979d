//! Adapters on a disk: replaced, cut short, deleted, and on a disk that is full.

use std::{
    collections::BTreeMap,
    fmt, fs,
    io::Write,
    path::{Path, PathBuf},
    process::Command,
};

use openledger_model::AdapterFiles;
use serde_json::{Value, json};

use super::{MOVING, POOL, STILL, is_typed};
use crate::{client, random::Random, server::Server, shell::Result};

const FILES: [&str; 2] = [AdapterFiles::CONFIG, AdapterFiles::WEIGHTS];
/// Bytes of the small disk that adapters lie on.
const SIZE: u64 = 512 << 20;

/// The folders of the model and of the adapters.
pub(super) struct Disk {
    model: PathBuf,
    folder: PathBuf,
    admin: &'static str,
    random: Random,
    /// Whether the adapters lie on a disk of their own, which can be full.
    is_small: bool,
    done: BTreeMap<&'static str, u64>,
}

impl Disk {
    /// Mounts a small disk for the adapters in the folder, if that is allowed.
    pub(super) fn open(
        model: PathBuf,
        folder: PathBuf,
        admin: &'static str,
        seed: u64,
    ) -> Result<Self> {
        let adapters = folder.join("adapters");
        fs::create_dir_all(&adapters)?;
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &format!("size={SIZE}"), "tmpfs"]).arg(&adapters);
        let is_small = mount.output().is_ok_and(|done| done.status.success());
        if !is_small {
            println!("no disk can be mounted here: skipped what happens on a full one");
        }
        let (random, done) = (Random::new(seed), BTreeMap::new());
        Ok(Self { model, folder, admin, random, is_small, done })
    }

    /// Takes the small disk away again, also one that a run left which was stopped.
    pub(super) fn release(folder: &Path) {
        // Lazily: the server may still have files open. Where nothing is mounted this does nothing.
        let _ = Command::new("umount").arg("-l").arg(folder.join("adapters")).output();
    }

    pub(super) fn model(&self) -> &Path {
        &self.model
    }

    pub(super) fn adapters(&self) -> PathBuf {
        self.folder.join("adapters")
    }

    pub(super) fn admin_key(&self) -> PathBuf {
        self.folder.join("admin")
    }

    /// Returns the folders that adapters are to be written to.
    pub(super) fn originals(&self) -> Vec<PathBuf> {
        let still = (0..STILL).map(|number| self.adapters().join(format!("still-{number}")));
        still.chain((0..POOL).map(|number| self.pool(number))).collect()
    }

    /// Gives every name that changes its first adapter.
    pub(super) fn begin(&self) -> Result {
        (0..MOVING).try_for_each(|number| self.copy(number, &moving(number)))
    }

    /// Returns all names, those that do not change first: what the others can become has to be known.
    pub(super) fn names(&self) -> Vec<String> {
        let still = (0..STILL).map(|number| format!("still-{number}"));
        let pool = (0..POOL).map(|number| format!("pool-{number}"));
        still.chain(pool).chain((0..MOVING).map(moving)).collect()
    }

    /// Lets something happen to a name, and makes it whole again.
    ///
    /// # Errors
    /// If the server says anything but that it did it, or a typed error where that is due.
    pub(super) fn change(&mut self, server: &Server) -> Result {
        let name = moving(self.random.below(MOVING as u64) as usize);
        let weights = self.adapters().join(&name).join(AdapterFiles::WEIGHTS);
        let what = match self.random.below(10) {
            0..2 => {
                let bytes = fs::read(&weights)?;
                fs::write(&weights, &bytes[..self.random.below(bytes.len() as u64) as usize])?;
                self.load(server, &name, &[400, 422])?;
                "cut short"
            }
            2 => {
                fs::write(&weights, b"\xff\xff\xff\xff\xff\xff\xff\x7f{}")?;
                self.load(server, &name, &[400, 422])?;
                "garbled"
            }
            3 | 4 => {
                fs::remove_dir_all(self.adapters().join(&name))?;
                self.load(server, &name, &[404])?;
                "deleted"
            }
            5 => {
                self.tell(server, "/v1/unload_lora_adapter", &json!({"lora_name": name}), &[200])?;
                "unloaded"
            }
            6 if self.is_small => {
                self.fill(server, &name)?;
                "full disk"
            }
            _ => "replaced",
        };
        *self.done.entry(what).or_default() += 1;
        let number = self.random.below(POOL as u64) as usize;
        self.copy(number, &name)?;
        self.load(server, &name, &[200])
    }

    /// Fills the disk, and replaces an adapter by what still fits on it.
    fn fill(&mut self, server: &Server, name: &str) -> Result {
        let ballast = self.adapters().join("ballast");
        let mut file = fs::File::create(&ballast)?;
        let block = vec![0; 1 << 20];
        while file.write_all(&block).is_ok() {}
        drop(file);
        let number = self.random.below(POOL as u64) as usize;
        let to = self.adapters().join(name).join(AdapterFiles::WEIGHTS);
        let from = fs::read(self.pool(number).join(AdapterFiles::WEIGHTS))?;
        // In place, as a careless copy does: what was there is gone, and the disk has room for as much.
        let blocks = [&from[..], &block[..]].concat();
        let written = fs::write(&to, &blocks);
        let said = self.load(server, name, &[400, 422]);
        fs::remove_file(&ballast)?;
        match written {
            Err(_) => said,
            Ok(()) => Err("the disk was not full".into()),
        }
    }

    /// Replaces the files of a name by those of the pool, the folder in one step.
    fn copy(&self, number: usize, name: &str) -> Result {
        let (to, new) = (self.adapters().join(name), self.folder_of_new());
        fs::create_dir_all(&new)?;
        for file in FILES {
            fs::copy(self.pool(number).join(file), new.join(file))?;
        }
        if to.exists() {
            fs::remove_dir_all(&to)?;
        }
        Ok(fs::rename(new, to)?)
    }

    /// On the same disk, else it cannot be renamed; not an adapter's name.
    fn folder_of_new(&self) -> PathBuf {
        self.adapters().join(".new")
    }

    fn pool(&self, number: usize) -> PathBuf {
        self.adapters().join(format!("pool-{number}"))
    }

    fn load(&self, server: &Server, name: &str, expected: &[u16]) -> Result {
        let asked = json!({"lora_name": name, "lora_path": name, "load_inplace": true});
        self.tell(server, "/v1/load_lora_adapter", &asked, expected)
    }

    fn tell(&self, server: &Server, path: &str, asked: &Value, expected: &[u16]) -> Result {
        let body = asked.to_string();
        let key = Some(self.admin);
        let answer = client::send(server.address(), "POST", path, key, body.as_bytes())?;
        let status = answer.status();
        let said = answer.text()?;
        match expected.contains(&status) && (status == 200 || is_typed(&said)) {
            true => Ok(()),
            false => Err(format!("{path} {asked}: {status} {said}, not {expected:?}").into()),
        }
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        if self.is_small {
            Self::release(&self.folder);
        }
    }
}

impl fmt::Display for Disk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("adapters under them:")?;
        self.done.iter().try_for_each(|(what, times)| write!(f, " {what} {times},"))?;
        f.write_str(" and each whole again")
    }
}

fn moving(number: usize) -> String {
    format!("moving-{number}")
}
