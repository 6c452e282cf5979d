//! Calls that change nothing: answers, estimates, access lists.

use alloy::{
    consensus::TxEip1559,
    eips::eip2930::{AccessList, AccessListItem, AccessListResult},
    primitives::{Address, B256, Bytes, TxKind, U256},
    rpc::types::{TransactionRequest, state::StateOverride},
};
use revm::{
    bytecode::Bytecode,
    context::{
        TxEnv,
        either::Either,
        result::{ExecutionResult, ResultAndState},
    },
};

use super::params::Params;
use crate::embedded::{
    chain::{Chain, GAS_LIMIT, Moment},
    failure::Failure,
    node::Node,
    op::Op,
    state::State,
    transaction,
};

/// Gas of a transfer between two people: what a transaction costs at least.
const TRANSFER: u64 = 21_000;

/// Answers a call, at a moment and in a state of the caller's choice.
pub(super) fn call(chain: &Chain, params: &Params<'_>) -> Result<Bytes, Failure> {
    let request: TransactionRequest = params.at(0)?;
    let moment = params.moment(chain, 1)?;
    let done = match params.or::<Option<StateOverride>>(2, None)? {
        None => chain.call(moment, env(request))?,
        Some(overrides) => {
            let state = overridden(moment.state, overrides)?;
            chain.call(moment.with_state(&state), env(request))?
        }
    };
    success(&done.result).cloned()
}

/// Gas for a transaction: what it used before refunds and a fifth more, since a call inside gets
/// at most 63/64 of what is left.
pub(super) fn estimate(chain: &Chain, params: &Params<'_>) -> Result<u64, Failure> {
    gas(chain, params.moment(chain, 1)?, params.at(0)?)
}

/// The accounts and slots that a transaction reads or writes, with the gas it uses when it
/// names them.
pub(super) fn access_list(chain: &Chain, params: &Params<'_>) -> Result<AccessListResult, Failure> {
    let mut request: TransactionRequest = params.at(0)?;
    let moment = params.moment(chain, 1)?;
    request.access_list = None;
    let from = request.from.unwrap_or_default();
    let ResultAndState { state: touched, .. } = chain.call(moment, env(request.clone()))?;
    let mut items: Vec<AccessListItem> = touched
        .iter()
        .map(|(address, account)| {
            let mut storage_keys: Vec<B256> =
                account.storage.keys().map(|slot| B256::from(*slot)).collect();
            storage_keys.sort_unstable();
            AccessListItem { address: *address, storage_keys }
        })
        // The caller, the callee and the one who is paid for the block are warm anyway.
        .filter(|item| {
            let warm = [Some(from), request.to.and_then(|to| to.into_to()), Some(Address::ZERO)];
            !item.storage_keys.is_empty() || !warm.contains(&Some(item.address))
        })
        .filter(|item| !is_precompile(item.address))
        .collect();
    items.sort_unstable_by_key(|item| item.address);
    let access_list = AccessList(items);
    request.access_list = Some(access_list.clone());
    let ResultAndState { result, .. } = chain.call(moment, env(request))?;
    let error = success(&result).err().map(|failure| format!("{failure:?}"));
    Ok(AccessListResult { access_list, gas_used: U256::from(result.tx_gas_used()), error })
}

/// Makes a transaction of an account the node acts for, with what the request leaves out.
pub(super) fn unsigned(node: &Node, params: &Params<'_>) -> Result<Op, Failure> {
    let request: TransactionRequest = params.at(0)?;
    let from = request.from.ok_or_else(|| Failure::Invalid("a transaction has a `from`".into()))?;
    if !node.acting.covers(from) {
        return Err(Failure::Refused(format!(
            "this node has no key of {from}; sign the transaction, or impersonate the account"
        )));
    }
    let chain = &node.chain;
    let gas_limit = match request.gas {
        Some(gas) => gas,
        None => gas(chain, chain.pending(), request.clone())?,
    };
    let tx = TxEip1559 {
        chain_id: chain.chain_id(),
        nonce: request.nonce.unwrap_or_else(|| chain.state().nonce(from)),
        gas_limit,
        max_fee_per_gas: request.max_fee_per_gas.or(request.gas_price).unwrap_or_default(),
        max_priority_fee_per_gas: request.max_priority_fee_per_gas.unwrap_or_default(),
        to: request.to.unwrap_or(TxKind::Create),
        value: request.value.unwrap_or_default(),
        access_list: request.access_list.unwrap_or_default(),
        input: request.input.into_input().unwrap_or_default(),
    };
    Ok(Op::Unsigned { from, raw: transaction::unsigned(tx, from).into() })
}

fn gas(chain: &Chain, moment: Moment<'_>, request: TransactionRequest) -> Result<u64, Failure> {
    let ResultAndState { result, .. } = chain.call(moment, env(request))?;
    success(&result)?;
    let used = result.gas().total_gas_spent().max(result.tx_gas_used());
    Ok(if used == TRANSFER { used } else { (used + used / 5).min(GAS_LIMIT) })
}

fn env(request: TransactionRequest) -> TxEnv {
    let authorizations = request.authorization_list.unwrap_or_default();
    let access_list = request.access_list.unwrap_or_default();
    TxEnv {
        tx_type: match (authorizations.is_empty(), access_list.is_empty()) {
            (false, _) => 4,
            (true, false) => 2,
            (true, true) => 0,
        },
        caller: request.from.unwrap_or_default(),
        gas_limit: request.gas.unwrap_or(GAS_LIMIT).min(GAS_LIMIT),
        kind: request.to.unwrap_or(TxKind::Create),
        value: request.value.unwrap_or_default(),
        data: request.input.into_input().unwrap_or_default(),
        access_list,
        authorization_list: authorizations.into_iter().map(Either::Left).collect(),
        ..TxEnv::default()
    }
}

fn success(result: &ExecutionResult) -> Result<&Bytes, Failure> {
    match result {
        ExecutionResult::Success { output, .. } => Ok(output.data()),
        ExecutionResult::Revert { output, .. } => Err(Failure::Reverted(output.clone())),
        ExecutionResult::Halt { reason, .. } => Err(Failure::Halted(format!("{reason:?}"))),
    }
}

fn overridden(state: &State, overrides: StateOverride) -> Result<State, Failure> {
    let mut state = state.clone();
    for (address, change) in overrides {
        if change.move_precompile_to.is_some() {
            return Err(Failure::refused("precompiles cannot be moved"));
        }
        let code = change.code.map(Bytecode::new_raw_checked).transpose();
        let code = code.map_err(Failure::refused)?;
        state.edit(address, |info| {
            info.balance = change.balance.unwrap_or(info.balance);
            info.nonce = change.nonce.unwrap_or(info.nonce);
            if let Some(code) = code {
                info.set_code(code);
            }
        });
        let numbers = |(slot, value): (B256, B256)| {
            (U256::from_be_bytes(slot.0), U256::from_be_bytes(value.0))
        };
        if let Some(slots) = change.state {
            state.replace_storage(address, slots.into_iter().map(numbers));
        }
        for (slot, value) in change.state_diff.into_iter().flatten().map(numbers) {
            state.set_storage(address, slot, value);
        }
    }
    Ok(state)
}

fn is_precompile(address: Address) -> bool {
    // Prague has them at 1 to 17.
    address.0[..19].iter().all(|byte| *byte == 0) && (1..=17).contains(&address.0[19])
}
