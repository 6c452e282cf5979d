//! The JSON-RPC methods that clients and wallets use.

use alloy::{
    primitives::{B256, Bytes, TxKind, U64},
    rpc::{
        json_rpc::{ErrorPayload, ResponsePayload},
        types::{
            Block as RpcBlock, BlockId, BlockNumberOrTag, BlockTransactions, Filter, Header,
            Transaction, TransactionInfo, TransactionRequest,
        },
    },
};
use revm::context::{TxEnv, result::ExecutionResult};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{
    Value, json,
    value::{RawValue, to_raw_value},
};

use super::chain::{Block, Chain, Failure, GAS_LIMIT};

/// Answers one request.
pub(super) fn answer(
    chain: &mut Chain,
    method: &str,
    params: Option<&RawValue>,
) -> ResponsePayload {
    let done = dispatch(chain, method, params).and_then(|value| {
        to_raw_value(&value).map_err(|e| Failure::Refused(format!("cannot answer: {e}")).into())
    });
    match done {
        Ok(value) => ResponsePayload::Success(value),
        Err(Refusal::Unknown) => ResponsePayload::method_not_found(),
        Err(Refusal::Failed(failure)) => ResponsePayload::Failure(error(failure)),
    }
}

enum Refusal {
    Unknown,
    Failed(Failure),
}

impl From<Failure> for Refusal {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

fn dispatch(chain: &mut Chain, method: &str, params: Option<&RawValue>) -> Result<Value, Refusal> {
    let params = Params::parse(params)?;
    Ok(match method {
        "eth_chainId" => json!(U64::from(chain.chain_id())),
        "net_version" => json!(chain.chain_id().to_string()),
        "web3_clientVersion" => json!(concat!("openledger-chain/", env!("CARGO_PKG_VERSION"))),
        "eth_blockNumber" => json!(U64::from(chain.latest().header.number)),
        "eth_gasPrice" | "eth_maxPriorityFeePerGas" => json!(U64::ZERO),
        "eth_feeHistory" => fee_history(chain, &params)?,
        "eth_accounts" => json!([]),
        "eth_getBalance" => json!(chain.account(params.at(0)?).balance),
        "eth_getTransactionCount" => json!(U64::from(chain.account(params.at(0)?).nonce)),
        "eth_getCode" => json!(chain.code(params.at(0)?)),
        "eth_getStorageAt" => json!(B256::from(chain.storage(params.at(0)?, params.at(1)?))),
        "eth_call" => json!(call(chain, &params)?.1),
        "eth_estimateGas" => json!(U64::from(estimate(chain, &params)?)),
        "eth_sendRawTransaction" => json!(chain.submit(&params.at::<Bytes>(0)?)?),
        "eth_getTransactionReceipt" => {
            json!(chain.included(params.at(0)?).map(|included| &included.receipt))
        }
        "eth_getTransactionByHash" => json!(transaction(chain, params.at(0)?)),
        "eth_getBlockByNumber" => {
            let number = match params.at::<BlockNumberOrTag>(0)? {
                BlockNumberOrTag::Number(number) => number,
                BlockNumberOrTag::Earliest => 0,
                _ => chain.latest().header.number,
            };
            json!(chain.block(number).map(|block| rpc_block(chain, block, params.or(1, false))))
        }
        "eth_getBlockByHash" => {
            let block = chain.block_by_hash(params.at(0)?);
            json!(block.map(|block| rpc_block(chain, block, params.or(1, false))))
        }
        "eth_getLogs" => logs(chain, &params.at(0)?),
        "evm_mine" | "anvil_mine" => {
            chain.mine();
            json!("0x0")
        }
        "evm_setNextBlockTimestamp" => {
            chain.set_next_timestamp(params.quantity(0)?)?;
            Value::Null
        }
        "evm_increaseTime" => {
            chain.increase_time(params.quantity(0)?);
            Value::Null
        }
        "anvil_setBlockTimestampInterval" => {
            chain.set_interval(params.quantity(0)?);
            Value::Null
        }
        "anvil_setBalance" => {
            chain.set_balance(params.at(0)?, params.at(1)?);
            Value::Null
        }
        _ => return Err(Refusal::Unknown),
    })
}

/// Positional parameters.
struct Params(Vec<Value>);

impl Params {
    fn parse(params: Option<&RawValue>) -> Result<Self, Failure> {
        let Some(params) = params else { return Ok(Self(Vec::new())) };
        match serde_json::from_str(params.get()) {
            Ok(Value::Array(params)) => Ok(Self(params)),
            Ok(Value::Null) => Ok(Self(Vec::new())),
            _ => Err(Failure::Refused("parameters are an array".to_owned())),
        }
    }

    fn at<T: DeserializeOwned>(&self, index: usize) -> Result<T, Failure> {
        let value = self.0.get(index).cloned().unwrap_or(Value::Null);
        serde_json::from_value(value)
            .map_err(|e| Failure::Refused(format!("parameter {}: {e}", index + 1)))
    }

    fn or<T: DeserializeOwned>(&self, index: usize, default: T) -> T {
        self.at(index).unwrap_or(default)
    }

    /// A number, plain or as a hexadecimal quantity: development nodes take both.
    fn quantity(&self, index: usize) -> Result<u64, Failure> {
        match self.0.get(index) {
            Some(Value::Number(number)) if number.is_u64() => {
                Ok(number.as_u64().unwrap_or_default())
            }
            _ => self.at::<U64>(index).map(|number| number.to()),
        }
    }
}

fn call(chain: &Chain, params: &Params) -> Result<(u64, Bytes), Failure> {
    let request: TransactionRequest = params.at(0)?;
    let _: Option<BlockId> = params.or(1, None);
    let tx = TxEnv {
        caller: request.from.unwrap_or_default(),
        gas_limit: request.gas.unwrap_or(GAS_LIMIT).min(GAS_LIMIT),
        kind: request.to.unwrap_or(TxKind::Create),
        value: request.value.unwrap_or_default(),
        data: request.input.into_input().unwrap_or_default(),
        ..TxEnv::default()
    };
    match chain.call(tx)? {
        ExecutionResult::Success { gas, output, .. } => {
            Ok((gas.total_gas_spent(), output.into_data()))
        }
        ExecutionResult::Revert { output, .. } => Err(Failure::Reverted(output)),
        ExecutionResult::Halt { reason, .. } => Err(Failure::Halted(format!("{reason:?}"))),
    }
}

/// Gas for a transaction: what it used before refunds and a fifth more, since a call inside gets
/// at most 63/64 of what is left.
fn estimate(chain: &Chain, params: &Params) -> Result<u64, Failure> {
    let (used, _) = call(chain, params)?;
    Ok((used + used / 5).min(GAS_LIMIT))
}

fn fee_history(chain: &Chain, params: &Params) -> Result<Value, Failure> {
    let count = params.quantity(0)?.clamp(1, 1024).min(chain.latest().header.number + 1);
    let rewards: Vec<f64> = params.or(2, Vec::new());
    let zero = |len: u64| vec![U64::ZERO; usize::try_from(len).unwrap_or_default()];
    Ok(json!({
        "oldestBlock": U64::from(chain.latest().header.number + 1 - count),
        "baseFeePerGas": zero(count + 1),
        "gasUsedRatio": vec![0.0; usize::try_from(count).unwrap_or_default()],
        "reward": vec![zero(rewards.len() as u64); usize::try_from(count).unwrap_or_default()],
    }))
}

fn transaction(chain: &Chain, hash: B256) -> Option<Transaction> {
    let included = chain.included(hash)?;
    let recovered = alloy::consensus::transaction::Recovered::new_unchecked(
        included.envelope.clone(),
        included.receipt.from,
    );
    let info = TransactionInfo {
        hash: Some(hash),
        index: Some(0),
        block_hash: included.receipt.block_hash,
        block_number: included.receipt.block_number,
        base_fee: Some(0),
        ..TransactionInfo::default()
    };
    Some(Transaction::from_transaction(recovered, info))
}

fn rpc_block(chain: &Chain, block: &Block, full: bool) -> RpcBlock {
    let transactions = match full {
        true => BlockTransactions::Full(
            block.transactions.iter().filter_map(|&hash| transaction(chain, hash)).collect(),
        ),
        false => BlockTransactions::Hashes(block.transactions.clone()),
    };
    RpcBlock::new(Header::new(block.header.clone()), transactions)
}

fn logs(chain: &Chain, filter: &Filter) -> Value {
    let latest = chain.latest().header.number;
    let number = |block: Option<BlockNumberOrTag>, default: u64| match block {
        Some(BlockNumberOrTag::Number(number)) => number,
        Some(BlockNumberOrTag::Earliest) => 0,
        Some(_) => latest,
        None => default,
    };
    let from = number(filter.block_option.get_from_block().copied(), latest);
    let to = number(filter.block_option.get_to_block().copied(), latest);
    let hash = filter.get_block_hash();
    let matching: Vec<_> = chain
        .logs()
        .iter()
        .filter(|log| match hash {
            Some(hash) => log.block_hash == Some(hash),
            None => log.block_number.is_some_and(|number| (from..=to).contains(&number)),
        })
        .filter(|log| filter.rpc_matches(log))
        .collect();
    json!(matching)
}

/// Errors in the form of other nodes: code 3 with the data of a revert, -32000 for the rest.
fn error(failure: Failure) -> ErrorPayload {
    let (code, message, data) = match failure {
        Failure::Refused(message) => (-32000, message, None),
        Failure::Halted(reason) => (-32000, format!("execution halted: {reason}"), None),
        Failure::Reverted(data) => (3, "execution reverted".to_owned(), raw(&data)),
    };
    ErrorPayload { code, message: message.into(), data }
}

fn raw(value: &impl Serialize) -> Option<Box<RawValue>> {
    to_raw_value(value).ok()
}
