//! OpenAI's own client for Python talks with the example `serve`, as it is.

use std::{
    fs,
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
};

use openledger_model::{LoraConfig, Model, testing};

use super::Peers;
use crate::shell::{Result, cargo, output, root};

const PACKAGE: &str = "openai==3.54.0";
const KEY: &str = "sk-peers-0123456789";
const ADMIN: &str = "sk-admin-0123456789";
/// Messages in Hermes' style, tools before them.
const TEMPLATE: &str = "{% for t in tools or [] %}<tool_call>{{ t.function.name }}\n{% endfor %}\
     {% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}";

/// Serves a seeded model with three adapters, plainly and behind layers, and lets the client ask everything.
pub(super) fn check(peers: &Peers) -> Result<String> {
    let python = peers.python_packages("openai", &[PACKAGE])?;
    let folder = peers.scratch("openai-served")?;
    write(&folder)?;
    // The whole workspace's features, with which the tests have built everything already.
    output(cargo().args(["build", "--quiet", "--workspace", "--example", "serve"]))?;
    let built =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), Into::into);
    let serve = || {
        let mut serve = Command::new(built.join("debug/examples/serve"));
        serve.arg("--model").arg(folder.join("tiny"));
        serve.arg("--adapters").arg(folder.join("adapters"));
        serve.arg("--api-key-file").arg(folder.join("keys"));
        serve.arg("--admin-key-file").arg(folder.join("admin"));
        serve.args(["--port", "0", "--threads", "2"]);
        serve
    };
    let (_server, url) = Server::start(&mut serve())?;
    let mut layers = serve();
    layers.arg("--rows").arg(folder.join("rows")).arg("--receipts").arg(folder.join("node"));
    layers.arg("--accounts").arg(folder.join("accounts")).args(["--price", "1,10"]);
    let (_layered, layered) = Server::start(&mut layers)?;
    let mut ask = Command::new(&python);
    ask.arg(root().join("xtask/peers/openai_client.py")).args([
        url.as_str(),
        layered.as_str(),
        KEY,
        ADMIN,
    ]);
    Ok(output(&mut ask)?.trim().to_owned())
}

fn write(folder: &Path) -> Result {
    let base = folder.join("tiny");
    testing::tiny_files(1)?.write(&base)?;
    fs::write(base.join("chat_template.jinja"), TEMPLATE)?;
    let (model, config) = (Model::open(&base)?, LoraConfig::default());
    for (seed, name) in (1..).zip(["law", "news", "tax"]) {
        let lora = testing::lora(&model, &config, seed)?;
        lora.to_files(model.network(), &config).write(folder.join("adapters").join(name))?;
    }
    let row = r#"{"text": "An easement is a right to use land.", "contributor": "0x0101010101010101010101010101010101010101"}"#;
    fs::write(folder.join("rows"), row)?;
    fs::write(folder.join("node"), "07".repeat(32))?;
    fs::write(folder.join("accounts"), "peers 100000\n")?;
    fs::write(folder.join("keys"), format!("peers {KEY}\n"))?;
    Ok(fs::write(folder.join("admin"), ADMIN)?)
}

/// The example, until dropped.
struct Server(Child);

impl Server {
    /// Starts it and waits until it says where it listens.
    fn start(command: &mut Command) -> Result<(Self, String)> {
        let mut server = Self(command.stdout(Stdio::piped()).spawn()?);
        let out = server.0.stdout.take().ok_or("no output of the server")?;
        for line in BufReader::new(out).lines() {
            if let Some(url) = line?.strip_prefix("listening on ") {
                return Ok((server, url.to_owned()));
            }
        }
        Err("the server ended before it listened".into())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
