//! What every step that people pay for costs, on the embedded chain or on a real node.
//!
//! ```sh
//! cargo run --release --example chain_gas -- --json FILE [--rpc URL]
//! ```
//!
//! Both get the same transactions in the same order from the same keys, so gas is equal step by
//! step. `--rpc` wants a fresh development node with chain id 31337 (anvil), whose first account
//! of the well-known mnemonic deploys. Ends with 1 if a step costs more than its limit.
//!
//! What a batch of 1,000 inferences is held against: 1,000 EIP-3009 payments to a payee who has
//! the token already, as x402 makes them one by one. Settling them in 1,000 batches of one costs
//! more still.
//!
//! ```text
//! step                                                                gas       limit
//! deploy all contracts                                           47309529           -
//! contribute one row, first                                         52552           -
//! contribute one row, next                                          52564       52600
//! contribute one row, third                                         52564       52600
//! log a batch of 1,000 receipts, first                              51276           -
//! log a batch of 1,000 receipts, next                               51288       52000
//! claim at 2^16 leaves, first                                      102009      106000
//! claim at 2^16 leaves, repeat                                      67821       71500
//! propose one call                                                  74745           -
//! castVote, first voter                                             83138           -
//! castVote, second voter                                            66038       66500
//! castVoteBySig, first against                                     111975      115000
//! EIP-3009 of OPEN on an L2 to a payee, new                         87792           -
//! EIP-3009 of OPEN on an L2 to a payee, old                         70716       71500
//! EIP-3009 of OPEN to a payee, new                                  83025           -
//! EIP-3009 of OPEN to a payee, old                                  65925       71500
//! settle one inference, first                                       94482           -
//! settle one inference, next                                        94470           -
//! settle 1,000 inferences of 1,000 payers                         8896770    13185000
//! ```
#![expect(clippy::print_stdout, reason = "it is a program")]

mod payments;
mod world;

use std::{error::Error, fs, path::PathBuf, process::ExitCode};

use serde_json::json;
use world::World;

type Result<T, E = Box<dyn Error>> = std::result::Result<T, E>;

const INFERENCES: usize = 1_000;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match run().await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => {
            println!("a step is over its limit");
            ExitCode::FAILURE
        }
        Err(error) => {
            println!("{}", report(error.as_ref()));
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<bool> {
    let Options { json, rpc } = Options::parse(std::env::args().skip(1))?;
    let world = World::new(rpc.as_deref()).await?;
    let mut steps = Steps::default();
    steps.add("deploy all contracts", world.deployment, None);
    world.contributions(&mut steps).await?;
    world.claims(&mut steps).await?;
    world.votes(&mut steps).await?;
    let one = world.authorizations(&mut steps).await?;
    world.settlement(&mut steps, one).await?;
    steps.print();
    let text = format!("{:#}\n", steps.to_json());
    fs::write(&json, text).map_err(|e| format!("cannot write {}: {e}", json.display()))?;
    Ok(steps.hold())
}

/// What was measured, in order.
#[derive(Default)]
struct Steps(Vec<(String, u64, Option<u64>)>);

impl Steps {
    fn add(&mut self, step: impl Into<String>, gas: u64, limit: Option<u64>) {
        self.0.push((step.into(), gas, limit));
    }

    fn hold(&self) -> bool {
        self.0.iter().all(|&(_, gas, limit)| limit.is_none_or(|limit| gas <= limit))
    }

    fn print(&self) {
        println!("{:<60} {:>10}  {:>10}", "step", "gas", "limit");
        for (step, gas, limit) in &self.0 {
            let limit = limit.map_or_else(|| "-".to_owned(), |limit| limit.to_string());
            println!("{step:<60} {gas:>10}  {limit:>10}");
        }
    }

    fn to_json(&self) -> serde_json::Value {
        let steps = self.0.iter();
        let steps =
            steps.map(|(step, gas, limit)| json!({"step": step, "gas": gas, "limit": limit}));
        json!({ "steps": steps.collect::<Vec<_>>() })
    }
}

struct Options {
    json: PathBuf,
    rpc: Option<String>,
}

impl Options {
    fn parse(mut words: impl Iterator<Item = String>) -> Result<Self> {
        let (mut json, mut rpc) = (None, None);
        while let Some(word) = words.next() {
            let mut value = || words.next().ok_or_else(|| format!("`{word}` needs a value"));
            match word.as_str() {
                "--json" => json = Some(value()?.into()),
                "--rpc" => rpc = Some(value()?),
                _ => {
                    return Err(
                        format!("no option `{word}`; there are --json FILE, --rpc URL").into()
                    );
                }
            }
        }
        Ok(Self { json: json.ok_or("`--json FILE` says where the figures go")?, rpc })
    }
}

/// An error with its causes.
fn report(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(found) = cause {
        text = format!("{text}: {found}");
        cause = found.source();
    }
    text
}
