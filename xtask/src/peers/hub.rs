//! `huggingface_hub` finds what was downloaded here, and what it left half is finished here.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    path::Path,
    process::Command,
    thread,
};

use openledger_hub::{Hub, HubOptions, Wanted};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::Peers;
use crate::{
    server::Server,
    shell::{Result, cargo, output, root},
};

const PACKAGE: &str = "huggingface_hub==2.4.0";
const TRUSTME: &str = "trustme==1.2.1";
const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";
const REPO: &str = "owner/name";
const FILES: [(&str, &[u8]); 3] = [
    ("config.json", b"{\"model_type\": \"llama\"}"),
    ("model.safetensors", &[7; 5000]),
    ("tokenizer.json", b"{}"),
];

pub(super) fn check(peers: &Peers) -> Result<String> {
    let python = peers.python(PACKAGE, "hf")?.with_file_name("python");
    let cache = peers.scratch("hub")?;
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let port = listener.local_addr()?.port();
    let url = format!("http://127.0.0.1:{port}");
    // It serves until this program ends. Connections are kept open, so each has a thread.
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || answer(stream));
        }
    });
    let hub = Hub::new(HubOptions::new(&cache).with_endpoint(&url))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let ours = runtime.block_on(hub.fetch(&format!("{REPO}@main").parse()?, &Wanted::Model))?;

    let script = root().join("xtask/peers/hub.py");
    let mut find = Command::new(&python);
    find.arg(&script).arg(&cache).args([REPO, "main"]);
    let said: Value = serde_json::from_str(&output(&mut find)?)?;
    let names = FILES.map(|(name, _)| name);
    let size: usize = FILES.iter().map(|(_, bytes)| bytes.len()).sum();
    let paths = names.map(|name| ours.join(name).display().to_string());
    let expected = json!({
        "folder": ours.display().to_string(), "files": names, "found": paths, "size": size,
        "warnings": [],
    });
    if said != expected {
        return Err(format!("huggingface_hub finds {said}, not {expected}").into());
    }
    let theirs = downloaded(&python, &cache.join("theirs"), &url)?;
    let offline = HubOptions::new(cache.join("theirs")).with_offline(true);
    let found = runtime
        .block_on(Hub::new(offline)?.fetch(&format!("{REPO}@main").parse()?, &Wanted::Model))?;
    if found != Path::new(&theirs) {
        return Err(format!("{} is found here, {theirs} there", found.display()).into());
    }
    for (name, bytes) in FILES {
        if fs::read(found.join(name))? != bytes {
            return Err(format!("{name} differs").into());
        }
    }
    over_https(peers, &cache, port)?;
    let count = FILES.len();
    Ok(format!("{count} files found there as downloaded here, and here as there; over TLS, too"))
}

/// Downloads through TLS, from a server that the system trusts and from the same when it does not.
fn over_https(peers: &Peers, folder: &Path, port: u16) -> Result {
    let python = peers.python_packages("tls", &[TRUSTME])?;
    let mut relay = Command::new(python);
    relay.arg(root().join("xtask/peers/tls.py")).arg(port.to_string()).arg(folder);
    let relay = Server::start(&mut relay)?;
    let endpoint = format!("https://localhost:{}", relay.address().port());
    let mut build = cargo();
    build.args(["test", "--quiet", "--package", "openledger-hub", "--test", "it"]);
    build.args(["--features", "tls", "--no-run", "--message-format", "json"]);
    let said = output(&mut build)?;
    let built = |line| serde_json::from_str::<Value>(line).ok();
    let program = |line| Some(built(line)?["executable"].as_str()?.to_owned());
    let program = said.lines().find_map(program);
    let program = program.ok_or("cargo built no test")?;
    for (roots, test) in [
        ("ca.pem", "a_model_comes_from_whom_the_system_trusts"),
        ("other.pem", "nothing_comes_from_whom_nobody_vouches_for"),
        ("none.pem", "no_other_list_takes_the_place_of_one_that_is_not_there"),
    ] {
        // Not by way of cargo, which reads and sets the same variables.
        let mut run = Command::new(&program);
        run.args(["--quiet", "--ignored", "--exact", &format!("https::{test}")]);
        run.env("SSL_CERT_FILE", folder.join(roots)).env_remove("SSL_CERT_DIR");
        let said = output(run.env("HF_ENDPOINT", &endpoint))?;
        if !said.contains("1 passed") {
            return Err(format!("`{test}` was not run: {said}").into());
        }
    }
    Ok(())
}

/// Lets Python download from the same hub.
fn downloaded(python: &Path, cache: &Path, url: &str) -> Result<String> {
    let program = "import sys, huggingface_hub as h; \
                   print(h.snapshot_download(sys.argv[1], cache_dir=sys.argv[2]))";
    let mut command = Command::new(python);
    command.args(["-c", program, REPO]).arg(cache).env("HF_ENDPOINT", url);
    command.env("HF_HUB_DISABLE_PROGRESS_BARS", "1");
    Ok(output(&mut command)?.trim().to_owned())
}

/// Answers requests of one connection as the hub does.
fn answer(stream: TcpStream) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut stream = stream;
    loop {
        let (mut first, mut line) = (String::new(), String::new());
        if reader.read_line(&mut first)? == 0 {
            return Ok(());
        }
        while reader.read_line(&mut line)? > 2 {
            line.clear();
        }
        let mut words = first.split(' ');
        let (method, path) = (words.next().unwrap_or(""), words.next().unwrap_or(""));
        let path = path.split('?').next().unwrap_or("");
        let name = path.strip_prefix(&format!("/{REPO}/resolve/{COMMIT}/"));
        let file = FILES.iter().find(|(file, _)| Some(*file) == name);
        let (status, etag, body) = match file {
            Some((_, bytes)) => ("200 OK", hash(bytes), bytes.to_vec()),
            None if path.starts_with(&format!("/api/models/{REPO}/tree/")) => {
                ("200 OK", String::new(), tree().into_bytes())
            }
            None if path.starts_with(&format!("/api/models/{REPO}")) => {
                ("200 OK", String::new(), info().into_bytes())
            }
            None => ("404 Not Found", String::new(), Vec::new()),
        };
        let kind = if etag.is_empty() { "application/json" } else { "application/octet-stream" };
        let head = format!(
            "HTTP/1.1 {status}\r\ncontent-length: {}\r\ncontent-type: {kind}\r\netag: \"{etag}\"\r\n\
             x-repo-commit: {COMMIT}\r\n\r\n",
            body.len()
        );
        stream.write_all(head.as_bytes())?;
        if method == "GET" {
            stream.write_all(&body)?;
        }
    }
}

fn info() -> String {
    let siblings = FILES.map(|(name, _)| json!({"rfilename": name}));
    json!({"id": REPO, "modelId": REPO, "sha": COMMIT, "siblings": siblings}).to_string()
}

/// Newer versions of the package ask for sizes and hashes as well.
fn tree() -> String {
    let files = FILES.map(|(name, bytes)| {
        let lfs = json!({"oid": hash(bytes), "size": bytes.len(), "pointerSize": 130});
        json!({
            "type": "file", "path": name, "size": bytes.len(), "oid": hash(bytes)[..40], "lfs": lfs,
        })
    });
    json!(files).to_string()
}

fn hash(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}
