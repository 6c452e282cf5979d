//! OpenAI's own client for Python talks with the example `serve`, as it is.

use std::{fs, path::Path, process::Command};

use openledger_model::{LoraConfig, Model, testing};

use super::Peers;
use crate::{
    server::{self, Server},
    shell::{Result, output, root},
};

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
    let serve = || {
        let mut serve = server::serve(false)?;
        serve.arg("--model").arg(folder.join("tiny"));
        serve.arg("--adapters").arg(folder.join("adapters"));
        serve.arg("--api-key-file").arg(folder.join("keys"));
        serve.arg("--admin-key-file").arg(folder.join("admin"));
        serve.args(["--threads", "2"]);
        Ok::<_, Box<dyn std::error::Error + Send + Sync>>(serve)
    };
    let plain = Server::start(&mut serve()?)?;
    let mut layers = serve()?;
    layers.arg("--rows").arg(folder.join("rows")).arg("--receipts").arg(folder.join("node"));
    layers.arg("--accounts").arg(folder.join("accounts")).args(["--price", "1,10"]);
    let layered = Server::start(&mut layers)?;
    let mut ask = Command::new(&python);
    ask.arg(root().join("xtask/peers/openai_client.py"));
    ask.args([&plain.url(), &layered.url(), KEY, ADMIN]);
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
