//! The JSON-RPC methods that clients, wallets and tools of developers use.

mod block;
mod call;
mod dev;
mod params;

use alloy::{
    primitives::{B256, Bytes, U64, keccak256},
    rpc::{json_rpc::ResponsePayload, types::Filter},
};
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};

use super::{
    failure::Failure,
    filter::What,
    logs::{self, Range},
    node::{Done, Node},
    op::Op,
};
use block::{header, receipts, rpc_block, transaction, transaction_at};
use params::{At, Params};

/// Answers one request.
pub(super) fn answer(node: &mut Node, method: &str, params: Option<&RawValue>) -> ResponsePayload {
    match Params::parse(params).and_then(|params| dispatch(node, method, &params)) {
        Ok(value) => ResponsePayload::Success(value),
        Err(failure) => ResponsePayload::Failure(failure.into()),
    }
}

fn reply(value: &(impl Serialize + ?Sized)) -> Result<Box<RawValue>, Failure> {
    to_raw_value(value).map_err(|e| Failure::Refused(format!("cannot answer: {e}")))
}

fn dispatch(node: &mut Node, method: &str, params: &Params<'_>) -> Result<Box<RawValue>, Failure> {
    let chain = &node.chain;
    match method {
        "eth_chainId" => reply(&U64::from(chain.chain_id())),
        "net_version" => reply(&chain.chain_id().to_string()),
        "net_listening" => reply(&true),
        "web3_clientVersion" => reply(concat!("openledger-chain/", env!("CARGO_PKG_VERSION"))),
        "web3_sha3" => reply(&keccak256(params.at::<Bytes>(0)?)),
        "eth_syncing" | "eth_mining" => reply(&false),
        "eth_coinbase" => reply(&alloy::primitives::Address::ZERO),
        "eth_accounts" | "eth_requestAccounts" => {
            let mut accounts: Vec<_> = node.acting.accounts.iter().collect();
            accounts.sort_unstable();
            reply(&accounts)
        }
        "eth_blockNumber" => reply(&U64::from(chain.head())),
        "eth_gasPrice" | "eth_maxPriorityFeePerGas" | "eth_blobBaseFee" | "net_peerCount" => {
            reply(&U64::ZERO)
        }
        "eth_feeHistory" => reply(&block::fee_history(chain, params)?),

        "eth_getBalance" => reply(&params.moment(chain, 1)?.state.balance(params.at(0)?)),
        "eth_getTransactionCount" => {
            reply(&U64::from(params.moment(chain, 1)?.state.nonce(params.at(0)?)))
        }
        "eth_getCode" => reply(&params.moment(chain, 1)?.state.code(params.at(0)?)),
        "eth_getStorageAt" => {
            let slot = params.slot(1)?;
            let value = params.moment(chain, 2)?.state.storage(params.at(0)?, slot);
            reply(&B256::from(value))
        }
        "eth_getProof" => {
            let keys: Vec<_> = params.or(1, Vec::new())?;
            reply(&params.moment(chain, 2)?.state.prove(params.at(0)?, &keys))
        }
        "eth_call" => reply(&call::call(chain, params)?),
        "eth_estimateGas" => reply(&U64::from(call::estimate(chain, params)?)),
        "eth_createAccessList" => reply(&call::access_list(chain, params)?),

        "eth_sendRawTransaction" => {
            let raw: Bytes = params.at(0)?;
            include(node, &Op::Transaction(raw.into()))
        }
        "eth_sendTransaction" => {
            let op = call::unsigned(node, params)?;
            include(node, &op)
        }
        "eth_getTransactionReceipt" => {
            reply(&chain.included(params.at(0)?).map(|included| &included.receipt))
        }
        "eth_getTransactionByHash" => reply(&chain.included(params.at(0)?).map(transaction)),
        "eth_getRawTransactionByHash" => {
            reply(&chain.included(params.at(0)?).map(block::raw_transaction))
        }

        "eth_getBlockByNumber" | "eth_getBlockByHash" => {
            let full = params.or(1, false)?;
            reply(&params.block(chain, 0, At::of(method))?.map(|block| rpc_block(block, full)))
        }
        "eth_getHeaderByNumber" | "eth_getHeaderByHash" => {
            reply(&params.block(chain, 0, At::of(method))?.map(|block| header(block)))
        }
        "eth_getBlockTransactionCountByNumber" | "eth_getBlockTransactionCountByHash" => {
            let block = params.block(chain, 0, At::of(method))?;
            reply(&block.map(|block| U64::from(u8::from(block.included.is_some()))))
        }
        "eth_getTransactionByBlockNumberAndIndex" | "eth_getTransactionByBlockHashAndIndex" => {
            let index = params.quantity(1)?;
            let block = params.block(chain, 0, At::of(method))?;
            reply(&block.and_then(|block| transaction_at(block, index)))
        }
        "eth_getUncleCountByBlockNumber" | "eth_getUncleCountByBlockHash" => {
            reply(&params.block(chain, 0, At::of(method))?.map(|_| U64::ZERO))
        }
        "eth_getBlockReceipts" => {
            reply(&params.block(chain, 0, At::Either)?.map(|block| receipts(block)))
        }

        "eth_getLogs" => {
            let filter: Filter = params.at(0)?;
            reply(&logs::find(chain, &filter, Range::of(&filter, chain)?)?)
        }
        "eth_newFilter" => {
            let filter = Box::new(params.at(0)?);
            reply(&U64::from(node.filters.make(What::Logs(filter), chain)))
        }
        "eth_newBlockFilter" => reply(&U64::from(node.filters.make(What::Blocks, chain))),
        "eth_newPendingTransactionFilter" => {
            reply(&U64::from(node.filters.make(What::Transactions, chain)))
        }
        "eth_getFilterChanges" => reply(&node.filters.changes(params.quantity(0)?, chain)?),
        "eth_getFilterLogs" => {
            let filter = node.filters.logs(params.quantity(0)?)?;
            reply(&logs::find(chain, filter, Range::of(filter, chain)?)?)
        }
        "eth_uninstallFilter" => reply(&node.filters.remove(params.quantity(0)?)),
        _ => dev::dispatch(node, method, params),
    }
}

fn include(node: &mut Node, op: &Op) -> Result<Box<RawValue>, Failure> {
    match node.apply(op)? {
        Done::Included(hash) => reply(&hash),
        done => Err(Failure::Refused(format!("a transaction came to {done:?}"))),
    }
}
