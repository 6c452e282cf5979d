//! An OP Stack chain of two development nodes: its contracts, and a relayer that does for it what
//! op-node and op-proposer do.
//!
//! The contracts are the published ones, behind their proxies. What is ours, and only good for
//! tests, is the relayer: it executes deposits on L2 by impersonating their senders, in blocks of
//! the node's making, and it proposes outputs that nobody disputes.

use std::borrow::Cow;

use alloy::{
    eips::BlockNumberOrTag,
    network::TransactionBuilder,
    primitives::{address, b256},
    providers::Provider,
    rpc::types::{Filter, TransactionReceipt, TransactionRequest},
    sol_types::{SolCall, SolConstructor, SolEvent, SolValue},
};
use openledger_core::{Address, B256, Bytes, Error, Result, U256, keccak256};

use super::{
    OpContracts, Side,
    abi::{
        l1_block::L1Block,
        l1_bridge::L1StandardBridge,
        l1_messenger::L1CrossDomainMessenger,
        l2_bridge::L2StandardBridge,
        l2_messenger::L2CrossDomainMessenger,
        l2_output_oracle::L2OutputOracle,
        message_passer::L2ToL1MessagePasser,
        optimism_portal::OptimismPortal::{self, TransactionDeposited},
        proxy::Proxy,
        superchain_config::SuperchainConfig,
        system_config::{
            ResourceMetering::ResourceConfig,
            SystemConfig::{self, initializeCall as SystemConfigInit},
        },
    },
    op::{L2_BRIDGE, L2_MESSENGER, MESSAGE_PASSER},
    side::Context,
};
use crate::{DevNode, client::node_error};

/// Blocks of L2 from one output to the next.
pub const SUBMISSION_INTERVAL: u64 = 64;
/// Seconds in which an output can be challenged.
pub const CHALLENGE_PERIOD: u64 = 7 * 24 * 3_600;

const L1_BLOCK: Address = address!("4200000000000000000000000000000000000015");
const PROXY_ADMIN: Address = address!("4200000000000000000000000000000000000018");
/// ERC-1967's slots.
const IMPLEMENTATION: B256 =
    b256!("360894a13ba1a3210667c828492db98dca3e2076cc3735a920a3ca505d382bbc");
const ADMIN: B256 = b256!("b53127684a568b3173ae13b9f8a6016e243e63b6e8ee1178d6a717850b5d6103");

/// The contracts of an OP Stack chain on L1.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct OpDevnet {
    /// `OptimismPortal`.
    pub portal: Address,
    /// `L1StandardBridge`.
    pub bridge: Address,
    /// `L1CrossDomainMessenger`.
    pub messenger: Address,
    /// `L2OutputOracle`.
    pub oracle: Address,
    /// `SuperchainConfig`, by which the guardian pauses.
    pub superchain: Address,
    l1: Side,
    l2: Side,
}

/// Carries deposits to L2 and outputs to L1.
#[derive(Debug)]
pub struct OpRelayer {
    devnet: OpDevnet,
    /// The first block of L1 whose deposits are still to be executed.
    next: u64,
}

impl OpDevnet {
    /// Deploys the contracts on L1, where the sender becomes proposer, challenger and guardian, and
    /// puts the predeploys on L2, which is to be a chain that has just begun.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`](openledger_core::ErrorKind::Unavailable) if a node does not take
    /// a transaction or is no development node; likewise below.
    pub async fn start(l1: Side, l2: Side) -> Result<Self> {
        let empty = Vec::with_capacity(0);
        let mut proxies = [Address::ZERO; 6];
        for proxy in &mut proxies {
            let admin = Proxy::constructorCall { _admin: l1.sender() }.abi_encode();
            *proxy = l1.create("Proxy", &Proxy::BYTECODE, &admin).await?.0;
        }
        let [superchain, system, oracle, portal, messenger, bridge] = proxies;
        let devnet = Self { portal, bridge, messenger, oracle, superchain, l1, l2 };
        let genesis = devnet.l2_block(0).await?;
        let operator = devnet.l1.sender();
        let parts: [(&str, Address, &[u8], Vec<u8>); 6] = [
            (
                "SuperchainConfig",
                superchain,
                &SuperchainConfig::BYTECODE,
                SuperchainConfig::initializeCall { _guardian: operator, _paused: false }
                    .abi_encode(),
            ),
            ("SystemConfig", system, &SystemConfig::BYTECODE, devnet.system_config().abi_encode()),
            (
                "L2OutputOracle",
                oracle,
                &L2OutputOracle::BYTECODE,
                L2OutputOracle::initializeCall {
                    _submissionInterval: U256::from(SUBMISSION_INTERVAL),
                    _l2BlockTime: U256::from(1),
                    _startingBlockNumber: U256::ZERO,
                    _startingTimestamp: U256::from(genesis.1),
                    _proposer: operator,
                    _challenger: operator,
                    _finalizationPeriodSeconds: U256::from(CHALLENGE_PERIOD),
                }
                .abi_encode(),
            ),
            (
                "OptimismPortal",
                portal,
                &OptimismPortal::BYTECODE,
                OptimismPortal::initializeCall {
                    _l2Oracle: oracle,
                    _systemConfig: system,
                    _superchainConfig: superchain,
                }
                .abi_encode(),
            ),
            (
                "L1CrossDomainMessenger",
                messenger,
                &L1CrossDomainMessenger::BYTECODE,
                L1CrossDomainMessenger::initializeCall {
                    _superchainConfig: superchain,
                    _portal: portal,
                    _systemConfig: system,
                }
                .abi_encode(),
            ),
            (
                "L1StandardBridge",
                bridge,
                &L1StandardBridge::BYTECODE,
                L1StandardBridge::initializeCall {
                    _messenger: messenger,
                    _superchainConfig: superchain,
                    _systemConfig: system,
                }
                .abi_encode(),
            ),
        ];
        for (name, proxy, code, initialise) in parts {
            let implementation = devnet.l1.create(name, code, &empty).await?.0;
            let proxy = Proxy::new(proxy, devnet.l1.provider());
            let call = proxy.upgradeToAndCall(implementation, initialise.into());
            devnet.l1.send(&format!("initialise {name}"), call).await?;
        }
        devnet.predeploy().await?;
        Ok(devnet)
    }

    /// Returns what [`OpBridge`](super::OpBridge) needs to bridge a token.
    pub const fn contracts(&self, l1_token: Address, l2_token: Address) -> OpContracts {
        OpContracts { portal: self.portal, bridge: self.bridge, l1_token, l2_token }
    }

    /// Deletes outputs from `index` on, as the challenger does that finds a wrong one.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub async fn delete_outputs(&self, index: u64) -> Result<()> {
        let oracle = L2OutputOracle::new(self.oracle, self.l1.provider());
        let call = oracle.deleteL2Outputs(U256::from(index));
        self.l1.send("delete outputs", call).await.map(drop)
    }

    /// Pauses withdrawals, as the guardian does, or ends the pause.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub async fn pause(&self, paused: bool) -> Result<()> {
        let config = SuperchainConfig::new(self.superchain, self.l1.provider());
        match paused {
            true => self.l1.send("pause", config.pause(String::new())).await.map(drop),
            false => self.l1.send("unpause", config.unpause()).await.map(drop),
        }
    }

    fn system_config(&self) -> SystemConfigInit {
        SystemConfigInit {
            _owner: self.l1.sender(),
            _basefeeScalar: 0,
            _blobbasefeeScalar: 0,
            _batcherHash: B256::ZERO,
            _gasLimit: 30_000_000,
            _unsafeBlockSigner: self.l1.sender(),
            // The recommended values of `Constants.DEFAULT_RESOURCE_CONFIG`.
            _config: ResourceConfig {
                maxResourceLimit: 20_000_000,
                elasticityMultiplier: 10,
                baseFeeMaxChangeDenominator: 8,
                minimumBaseFee: 1_000_000_000,
                systemTxMaxGas: 1_000_000,
                maximumBaseFee: u128::MAX,
            },
            _batchInbox: Address::ZERO,
            _addresses: SystemConfig::Addresses {
                l1CrossDomainMessenger: self.messenger,
                l1ERC721Bridge: Address::ZERO,
                l1StandardBridge: self.bridge,
                disputeGameFactory: Address::ZERO,
                optimismPortal: self.portal,
                optimismMintableERC20Factory: Address::ZERO,
                gasPayingToken: Address::ZERO,
            },
        }
    }

    fn l2_dev(&self) -> DevNode {
        DevNode::new(self.l2.provider().clone())
    }

    /// Puts L2's contracts where L2's genesis has them: a proxy at the address everybody knows, the
    /// code in the namespace for it.
    async fn predeploy(&self) -> Result<()> {
        let node = self.l2.provider();
        let codes: [(Address, &[u8]); 4] = [
            (L2_MESSENGER, &L2CrossDomainMessenger::DEPLOYED_BYTECODE),
            (L2_BRIDGE, &L2StandardBridge::DEPLOYED_BYTECODE),
            (MESSAGE_PASSER, &L2ToL1MessagePasser::DEPLOYED_BYTECODE),
            (L1_BLOCK, &L1Block::DEPLOYED_BYTECODE),
        ];
        let dev = self.l2_dev();
        for (predeploy, code) in codes {
            let implementation = implementation(predeploy);
            dev.set_code(implementation, Bytes::copy_from_slice(code)).await?;
            dev.set_code(predeploy, Bytes::copy_from_slice(&Proxy::DEPLOYED_BYTECODE)).await?;
            let slots = [(IMPLEMENTATION, implementation), (ADMIN, PROXY_ADMIN)];
            for (slot, value) in slots {
                dev.set_storage(predeploy, slot.into(), value.into_word()).await?;
            }
        }
        let messenger = L2CrossDomainMessenger::new(L2_MESSENGER, node);
        let call = messenger.initialize(self.messenger);
        self.l2.send("initialise the messenger of L2", call).await?;
        let bridge = L2StandardBridge::new(L2_BRIDGE, node);
        let call = bridge.initialize(self.bridge);
        self.l2.send("initialise the bridge of L2", call).await.map(drop)
    }

    /// The state root, time and hash of a block of L2.
    async fn l2_block(&self, number: u64) -> Result<(B256, u64, B256)> {
        let asked = self.l2.provider().get_block_by_number(BlockNumberOrTag::Number(number)).await;
        let block = asked.map_err(node_error("ask for a block of L2"))?;
        let missing = || Error::corrupt(format!("L2 has no block {number}"));
        let header = block.ok_or_else(missing)?.header;
        Ok((header.state_root, header.timestamp, header.hash))
    }
}

impl OpRelayer {
    /// Relays for a chain, from its first block on.
    pub const fn new(devnet: OpDevnet) -> Self {
        Self { devnet, next: 0 }
    }

    /// Returns the chain it relays for.
    pub const fn devnet(&self) -> &OpDevnet {
        &self.devnet
    }

    /// Executes on L2 what was deposited on L1 since the last time; returns the receipts. A deposit
    /// that reverts is in the chain all the same.
    ///
    /// # Errors
    /// As [`OpDevnet::start`].
    pub async fn derive(&mut self) -> Result<Vec<TransactionReceipt>> {
        let filter = Filter::new()
            .address(self.devnet.portal)
            .event_signature(TransactionDeposited::SIGNATURE_HASH)
            .from_block(self.next);
        let logs = self.devnet.l1.provider().get_logs(&filter).await;
        let logs = logs.map_err(node_error("ask for deposits"))?;
        let mut receipts = Vec::with_capacity(logs.len());
        for log in logs {
            let event = TransactionDeposited::decode_log(&log.inner)
                .map_err(|e| Error::corrupt("a deposit that is none").with_source(e))?;
            receipts.push(self.execute(&event.data).await?);
            self.next = log.block_number.unwrap_or_default() + 1;
        }
        Ok(receipts)
    }

    /// Proposes outputs until they cover L2's latest block; makes empty blocks up to the next that
    /// is due.
    ///
    /// # Errors
    /// As [`OpDevnet::start`].
    pub async fn propose(&self) -> Result<()> {
        let OpDevnet { l1, l2, oracle, .. } = &self.devnet;
        let oracle = L2OutputOracle::new(*oracle, l1.provider());
        let target = l2.latest().await?.0;
        loop {
            let covered = oracle.latestBlockNumber().call().await.context("ask for outputs")?;
            if covered >= U256::from(target) {
                return Ok(());
            }
            let due = oracle.nextBlockNumber().call().await.context("ask what output is due")?;
            let due = u64::try_from(due).map_err(|e| Error::corrupt("block").with_source(e))?;
            while l2.latest().await?.0 < due {
                self.devnet.l2_dev().mine().await?;
            }
            let output = self.output(due).await?;
            self.catch_up(due).await?;
            let call = oracle.proposeL2Output(output, U256::from(due), B256::ZERO, U256::ZERO);
            l1.send("propose an output", call).await?;
        }
    }

    /// The output root of a block, version 0.
    async fn output(&self, block: u64) -> Result<B256> {
        let (state_root, _, hash) = self.devnet.l2_block(block).await?;
        let asked = self.devnet.l2.provider().get_proof(MESSAGE_PASSER, Vec::new());
        let proof = asked.block_id(BlockNumberOrTag::Number(block).into()).await;
        let storage_root = proof.map_err(node_error("ask L2 for a proof"))?.storage_hash;
        Ok(keccak256((B256::ZERO, state_root, storage_root, hash).abi_encode()))
    }

    /// Lets L1's time pass that of a block of L2: the oracle takes nothing from the future.
    async fn catch_up(&self, block: u64) -> Result<()> {
        let OpDevnet { l1, oracle, .. } = &self.devnet;
        let oracle = L2OutputOracle::new(*oracle, l1.provider());
        let time = oracle.computeL2Timestamp(U256::from(block)).call().await;
        let time = u64::try_from(time.context("ask for a block's time")?).unwrap_or(u64::MAX);
        let now = l1.latest().await?.1;
        if now > time {
            return Ok(());
        }
        let next = time.saturating_add(1).max(now + 1);
        let dev = DevNode::new(l1.provider().clone());
        dev.set_next_timestamp(next).await?;
        dev.mine().await
    }

    /// Executes one deposit as its sender, who was made an alias by the portal if it is a contract.
    async fn execute(&self, deposit: &TransactionDeposited) -> Result<TransactionReceipt> {
        let node = self.devnet.l2.provider();
        let data = &deposit.opaqueData;
        // Packed: what to mint, the value, gas (8 bytes), whether it creates a contract (1), data.
        let wrong = || Error::corrupt("a deposit of another version");
        let (fixed, input) = data.split_at_checked(73).ok_or_else(wrong)?;
        let mint = U256::from_be_slice(&fixed[..32]);
        let value = U256::from_be_slice(&fixed[32..64]);
        let gas = fixed[64..72].iter().fold(0, |gas: u64, byte| gas << 8 | u64::from(*byte));
        let balance = node.get_balance(deposit.from).await;
        let balance = balance.map_err(node_error("ask for a balance"))?;
        // The gas of a deposit is paid on L1; what a node takes for it here is given before.
        let allowance = U256::from(10).pow(U256::from(18));
        let before = balance.saturating_add(mint).saturating_add(allowance);
        let dev = self.devnet.l2_dev();
        dev.set_balance(deposit.from, before).await?;
        dev.impersonate(deposit.from).await?;
        let request = TransactionRequest::default()
            .with_from(deposit.from)
            .with_value(value)
            .with_gas_limit(gas)
            .with_input(Bytes::copy_from_slice(input));
        let request = match fixed[72] {
            0 => request.with_to(deposit.to),
            _ => request.into_create(),
        };
        // Not through the wallet, which has no key for it.
        let sent = node.raw_request(Cow::Borrowed("eth_sendTransaction"), (request,)).await;
        let hash: B256 = sent.map_err(node_error("execute a deposit"))?;
        dev.stop_impersonating(deposit.from).await?;
        let receipt = self.devnet.l2.receipt("execute a deposit", hash).await?;
        let spent = node.get_balance(deposit.from).await;
        let spent = spent.map_err(node_error("ask for a balance"))?.saturating_sub(allowance);
        dev.set_balance(deposit.from, spent).await?;
        Ok(receipt)
    }
}

/// Where the code of a predeploy is: 0x42…0010 has it at 0xc0d3…0010.
fn implementation(predeploy: Address) -> Address {
    let namespace = address!("c0D3C0d3C0d3C0D3c0d3C0d3c0D3C0d3c0d30000");
    let mut bytes = namespace.into_array();
    bytes[18..].copy_from_slice(&predeploy.as_slice()[18..]);
    bytes.into()
}
