//! A chain with all contracts and people with money, for stories that are not about voting.

use openledger_chain::{
    DeployOptions, DevNode, Embedded, EvmChain, Genesis, Revert, Snapshot,
    alloy::{
        providers::Provider,
        rpc::types::{TransactionReceipt, TransactionRequest},
        sol_types::SolCall,
    },
    provider,
};
use openledger_core::{Address, Amount, B256, Bytes, Key};

use crate::open;

/// Seconds that roots, withdrawals and challenges of batches take.
pub(crate) const DELAY: u64 = 3_600;

/// Everybody has a million OPEN but the deployer, who has none, and the treasury, who has the rest.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Person {
    Deployer,
    /// Is the insurance, too.
    Treasury,
    Guardian,
    Node,
    Alice,
    Bob,
    Carol,
    Dave,
    Erin,
}

use Person::{Alice, Bob, Carol, Dave, Deployer, Erin, Guardian, Node, Treasury};

const EVERYBODY: [Person; 9] = [Deployer, Treasury, Guardian, Node, Alice, Bob, Carol, Dave, Erin];

pub(crate) struct Stage {
    /// Sends as the treasury.
    pub(crate) chain: EvmChain,
    pub(crate) dev: DevNode,
    embedded: Embedded,
    start: Snapshot,
}

impl Stage {
    pub(crate) async fn new() -> Self {
        Self::with(|options| options).await
    }

    /// Deploys with other options.
    pub(crate) async fn with(adapt: impl FnOnce(DeployOptions) -> DeployOptions) -> Self {
        let keys = EVERYBODY.map(key);
        let genesis = Genesis::default().with_funded(keys.iter().map(Key::address));
        let embedded = Embedded::new(&genesis);
        let provider = provider(embedded.clone(), &keys).unwrap();
        let options = DeployOptions::new(key(Deployer).address())
            .with_treasury(key(Treasury).address())
            .with_staking_pool(Address::repeat_byte(0x57))
            .with_guardian(key(Guardian).address())
            .with_nodes([key(Node).address()])
            .with_delays(DELAY, DELAY, DELAY);
        let deployed = EvmChain::deploy(provider.clone(), adapt(options)).await.unwrap();
        let chain = deployed.chain.sending_as(key(Treasury).address());
        for person in &EVERYBODY[2..] {
            chain.transfer(key(*person).address(), open(1_000_000)).await.unwrap();
        }
        let at = chain.contracts();
        embedded.impersonate([at.timelock, at.disputes]);
        let start = embedded.snapshot().unwrap();
        Self { chain, dev: DevNode::new(provider), embedded, start }
    }

    /// Makes this moment the one to go back to.
    pub(crate) fn begin_here(&mut self) {
        self.start = self.embedded.snapshot().unwrap();
    }

    /// Goes back to how everything began.
    pub(crate) fn restart(&self) {
        self.embedded.restore(self.start).unwrap();
    }

    pub(crate) fn of(&self, person: Person) -> EvmChain {
        self.chain.sending_as(key(person).address())
    }

    /// Lets [`act`](Self::act) send for these accounts.
    pub(crate) fn impersonate(&self, accounts: impl IntoIterator<Item = Address>) {
        self.embedded.impersonate(accounts);
    }

    /// Returns how many transactions an account sent.
    pub(crate) async fn nonce(&self, account: Address) -> u64 {
        self.chain.provider().get_transaction_count(account).await.unwrap()
    }

    pub(crate) async fn now(&self) -> u64 {
        self.chain.now().await.unwrap()
    }

    /// Makes a block `seconds` after the last.
    pub(crate) async fn pass(&self, seconds: u64) {
        crate::pass(&self.chain, &self.dev, seconds).await;
    }

    pub(crate) async fn balance(&self, account: Address) -> u128 {
        units(self.chain.balance(account).await.unwrap())
    }

    /// Does what the timelock does when a vote was won, without the vote.
    pub(crate) async fn govern(&self, target: Address, call: impl SolCall) {
        let timelock = self.chain.contracts().timelock;
        let done = self.act(timelock, target, call).await;
        assert!(done.is_ok(), "governance is refused: {}", done.unwrap_err());
    }

    /// Sends a call as a contract.
    pub(crate) async fn act(
        &self,
        from: Address,
        target: Address,
        call: impl SolCall,
    ) -> Result<TransactionReceipt, Revert> {
        let data = Bytes::from(call.abi_encode());
        if let Some(revert) = self.refusal(from, target, data.clone()).await {
            return Err(revert);
        }
        let node = self.chain.provider();
        let request = request(from, target, data);
        let hash = node.raw_request::<_, B256>("eth_sendTransaction".into(), (request,)).await;
        let receipt = node.get_transaction_receipt(hash.unwrap()).await.unwrap().unwrap();
        assert!(receipt.status(), "tried out, and then it failed");
        Ok(receipt)
    }

    /// Why a contract would refuse a call of `from`'s in the next block, if it would.
    pub(crate) async fn refusal(
        &self,
        from: Address,
        target: Address,
        data: Bytes,
    ) -> Option<Revert> {
        let asked = self.chain.provider().call(request(from, target, data)).pending().await;
        let error = asked.err()?;
        let data = error.as_error_resp().and_then(|response| response.as_revert_data());
        Some(Revert::decode(&data.unwrap_or_else(|| panic!("{error}"))))
    }
}

pub(crate) fn key(person: Person) -> Key {
    Key::from_bytes(B256::repeat_byte(person as u8 + 1)).unwrap()
}

pub(crate) fn address(person: Person) -> Address {
    key(person).address()
}

/// Everything there is of OPEN is less than 2^128 units.
pub(crate) fn units(amount: Amount) -> u128 {
    amount.units().to()
}

pub(crate) fn amount(units: u128) -> Amount {
    Amount::new(openledger_core::U256::from(units))
}

fn request(from: Address, to: Address, data: Bytes) -> TransactionRequest {
    TransactionRequest::default().from(from).to(to).input(data.into())
}
