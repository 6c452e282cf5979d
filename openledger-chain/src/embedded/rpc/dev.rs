//! What development nodes can do and real ones cannot, under the names other nodes gave it.

use alloy::primitives::{Address, B256, Bytes, U64, U256};
use serde_json::{json, value::RawValue};

use super::{Params, reply};
use crate::embedded::{
    failure::Failure,
    node::{Done, Node},
    op::Op,
};

pub(super) fn dispatch(
    node: &mut Node,
    method: &str,
    params: &Params<'_>,
) -> Result<Box<RawValue>, Failure> {
    let name = ["anvil_", "hardhat_", "evm_"].iter().find_map(|space| method.strip_prefix(space));
    let op = match name.unwrap_or_default() {
        "mine" if method != "evm_mine" => Op::Mine {
            blocks: if params.has(0) { params.quantity(0)? } else { 1 },
            interval: params.has(1).then(|| params.quantity(1)).transpose()?,
        },
        "mine" => {
            if params.has(0) {
                node.apply(&Op::NextTimestamp(params.quantity(0)?))?;
            }
            node.apply(&Op::Mine { blocks: 1, interval: None })?;
            return reply("0x0");
        }
        "setNextBlockTimestamp" => Op::NextTimestamp(params.quantity(0)?),
        "increaseTime" => {
            let seconds = params.quantity(0)?;
            node.apply(&Op::IncreaseTime(seconds))?;
            return reply(&seconds);
        }
        "setBlockTimestampInterval" => Op::Interval(params.quantity(0)?),
        "removeBlockTimestampInterval" => Op::Interval(1),
        "setBalance" => Op::Balance(params.at(0)?, params.at(1)?),
        "addBalance" => {
            let account = params.at(0)?;
            let balance = node.chain.state().balance(account);
            Op::Balance(account, balance.saturating_add(params.at::<U256>(1)?))
        }
        "setNonce" => Op::Nonce(params.at(0)?, params.quantity(1)?),
        "setCode" => Op::Code(params.at(0)?, params.at::<Bytes>(1)?.into()),
        "setStorageAt" => {
            let value: B256 = params.at(2)?;
            Op::Storage(params.at(0)?, params.slot(1)?, value.into())
        }
        "impersonateAccount" => {
            node.acting.accounts.insert(params.at(0)?);
            return reply(&());
        }
        "stopImpersonatingAccount" => {
            node.acting.accounts.remove(&params.at::<Address>(0)?);
            return reply(&());
        }
        "autoImpersonateAccount" => {
            node.acting.everybody = params.at(0)?;
            return reply(&());
        }
        "snapshot" => {
            return match node.apply(&Op::Snapshot)? {
                Done::Taken(id) => reply(&U64::from(id)),
                done => Err(Failure::Refused(format!("a snapshot came to {done:?}"))),
            };
        }
        "revert" => {
            let id = params.quantity(0)?;
            if node.snapshot(id).is_none() {
                return reply(&false);
            }
            node.apply(&Op::Restore { id, forget: true })?;
            return reply(&true);
        }
        "rollback" => {
            let depth = if params.has(0) { params.quantity(0)? } else { 1 };
            Op::RollBack { depth }
        }
        "reorg" => {
            // Other blocks, all empty, take the place of those that are gone.
            let blocks = params.quantity(0)?;
            if params.or::<Vec<serde_json::Value>>(1, Vec::new())?.is_empty() {
                node.apply(&Op::RollBack { depth: blocks })?;
                Op::Mine { blocks, interval: None }
            } else {
                return Err(Failure::refused("blocks of a reorganisation are empty here"));
            }
        }
        "getAutomine" => return reply(&true),
        "setAutomine" if params.or(0, true)? => return reply(&()),
        "nodeInfo" => {
            return reply(&json!({
                "currentBlockNumber": U64::from(node.chain.head()),
                "currentBlockTimestamp": node.chain.latest().header.timestamp,
                "currentBlockHash": node.chain.latest().hash,
                "hardFork": "prague",
                "transactionOrder": "fifo",
                "environment": {
                    "baseFee": "0x0",
                    "chainId": node.chain.chain_id(),
                    "gasLimit": U64::from(crate::embedded::chain::GAS_LIMIT),
                    "gasPrice": "0x0",
                },
                "forkConfig": {},
            }));
        }
        _ => return Err(Failure::Unknown(method.to_owned())),
    };
    node.apply(&op)?;
    reply(&())
}
