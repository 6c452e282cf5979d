//! Conversations as transformers renders them.

use std::process::Command;

use super::Peers;
use crate::shell::{Result, cargo, output, root};

const TRANSFORMERS: &str = "transformers==5.23.0";
/// Ships the templates of many checkpoints, as they are and with generation blocks.
const TRL: &str = "trl==1.16.0";

/// Renders conversations with tools by the templates that TRL ships and by ours, here and there.
pub(super) fn check(peers: &Peers) -> Result<String> {
    let python = peers.python(TRANSFORMERS, "transformers")?.with_file_name("python");
    let jinja = ["-m", "pip", "install", "--quiet", "jinja2==3.1.6"];
    output(Command::new(&python).args(jinja))?;
    let shipped = peers.scratch("trl")?;
    let install = ["-m", "pip", "install", "--quiet", "--no-deps", "--target"];
    output(Command::new(&python).args(install).arg(&shipped).arg(TRL))?;
    output(cargo().args(["build", "--quiet", "--workspace", "--example", "chat"]))?;
    let built =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), Into::into);
    let mut compare = Command::new(&python);
    compare.arg(root().join("xtask/peers/chat.py")).arg(built.join("debug/examples/chat"));
    compare.arg(shipped.join("trl/chat_templates")).arg(root().join("xtask/peers/chat"));
    Ok(output(&mut compare)?.trim().to_owned())
}
