//! OPEN to another chain and back, over both bridges, through the same trait.

mod mesh;
mod op;

use std::sync::Arc;

use openledger_chain::{
    DevNode, Genesis,
    abi::{open_token::OpenToken, open_token_l2::OpenTokenL2, roles::Roles},
    alloy::providers::{DynProvider, Provider},
    bridge::{
        Attest, Attestor, Bridge, Deposit, MeshBridge, MeshEnd, MeshOptions, OpBridge, Route, Side,
        Withdrawal, WithdrawalStatus,
        abi::erc20::Erc20,
        deploy_home, deploy_remote, link,
        testing::{CHALLENGE_PERIOD, OpDevnet, OpRelayer},
    },
    embedded,
};
use openledger_core::{Address, Amount, B256, ErrorKind, Key, U256};

use crate::open;

/// A bridge with what is around it, and two people: alice, who has all OPEN on L1, and bob.
struct Crossing {
    /// Sends as alice on L1 and as bob on L2.
    bridge: Arc<dyn Bridge>,
    l1: Side,
    l2: Side,
    l1_token: Address,
    l2_token: Address,
    /// Who holds what is locked.
    vault: Address,
    alice: Address,
    bob: Address,
    dev: DevNode,
    relay: Relay,
}

/// Who carries messages from chain to chain.
enum Relay {
    /// The rollup's own machinery.
    Op(Box<OpRelayer>),
    /// The attestors, each with the chains it watches; the admin of both gateways.
    Mesh { attestors: Vec<Arc<dyn Attest>>, home: MeshEnd, remote: MeshEnd },
}

fn keys() -> [Key; 6] {
    [1, 2, 3, 4, 5, 6].map(|byte| Key::from_bytes(B256::repeat_byte(byte)).unwrap())
}

async fn chain(id: u64) -> DynProvider {
    embedded(Genesis::default().with_chain_id(id), &keys()).unwrap()
}

async fn side(provider: &DynProvider, key: &Key) -> Side {
    Side::connect(provider.clone(), key.address()).await.unwrap()
}

async fn balance(side: &Side, token: Address, account: Address) -> Amount {
    let token = Erc20::new(token, side.provider());
    Amount::new(token.balanceOf(account).call().await.unwrap())
}

async fn nonce(side: &Side) -> u64 {
    side.provider().get_transaction_count(side.sender()).await.unwrap()
}

async fn deploy_l1_token(side: &Side, treasury: Address) -> Address {
    let builder = OpenToken::deploy_builder(side.provider(), treasury);
    builder.from(side.sender()).deploy().await.unwrap()
}

async fn deploy_l2_token(side: &Side, bridge: Address, remote: Address, mesh: Address) -> Address {
    let builder = OpenTokenL2::deploy_builder(side.provider(), bridge, remote, mesh);
    builder.from(side.sender()).deploy().await.unwrap()
}

impl Crossing {
    async fn op() -> Self {
        let [admin, alice, bob, ..] = keys();
        let (l1, l2) = (chain(1).await, chain(1612).await);
        let (l1_admin, l2_admin) = (side(&l1, &admin).await, side(&l2, &admin).await);
        let devnet = OpDevnet::start(l1_admin.clone(), l2_admin.clone()).await.unwrap();
        let l1_token = deploy_l1_token(&l1_admin, alice.address()).await;
        let standard = "0x4200000000000000000000000000000000000010".parse().unwrap();
        let l2_token = deploy_l2_token(&l2_admin, standard, l1_token, Address::ZERO).await;
        let contracts = devnet.contracts(l1_token, l2_token);
        let (l1_side, l2_side) = (side(&l1, &alice).await, side(&l2, &bob).await);
        let bridge = OpBridge::connect(l1_side.clone(), l2_side.clone(), contracts).await.unwrap();
        Self {
            bridge: Arc::new(bridge),
            l1: l1_side,
            l2: l2_side,
            l1_token,
            l2_token,
            vault: devnet.bridge,
            alice: alice.address(),
            bob: bob.address(),
            dev: DevNode::new(l1),
            relay: Relay::Op(Box::new(OpRelayer::new(devnet))),
        }
    }

    /// A mesh of two chains that believes two of three attestors.
    async fn mesh() -> Self {
        let [admin, alice, bob, first, second, third] = keys();
        let (l1, l2) = (chain(1).await, chain(1612).await);
        let (l1_admin, l2_admin) = (side(&l1, &admin).await, side(&l2, &admin).await);
        let l1_token = deploy_l1_token(&l1_admin, alice.address()).await;
        let options = async |side: &Side| {
            let roles = Roles::deploy_builder(side.provider(), side.sender());
            MeshOptions {
                authority: roles.from(side.sender()).deploy().await.unwrap(),
                attestors: [&first, &second, &third].map(Key::address).to_vec(),
                threshold: 2,
                outgoing: open(1_000),
                incoming: open(1_000),
            }
        };
        let home = deploy_home(&l1_admin, l1_token, &options(&l1_admin).await).await.unwrap().value;
        let options = options(&l2_admin).await;
        // The token names its mesh and the mesh its token: the mesh comes two contracts later.
        let mesh = l2_admin.sender().create(nonce(&l2_admin).await + 2);
        let l2_token = deploy_l2_token(&l2_admin, Address::ZERO, l1_token, mesh).await;
        let remote = deploy_remote(&l2_admin, l2_token, &options).await.unwrap().value;
        assert_eq!(remote.adapter, mesh);
        link(&l1_admin, home, 1612, remote).await.unwrap();
        link(&l2_admin, remote, 1, home).await.unwrap();
        let routes = [(1, (&l1, home)), (1612, (&l2, remote))].map(|(id, (node, end))| {
            (id, Route { provider: node.clone(), gateway: end.gateway, confirmations: 0 })
        });
        let attestors: Vec<Arc<dyn Attest>> = [first, second, third]
            .map(|key| Arc::new(Attestor::new(key, routes.clone().into())) as Arc<dyn Attest>)
            .to_vec();
        let (l1_side, l2_side) = (side(&l1, &alice).await, side(&l2, &bob).await);
        let ends = ((l1_side.clone(), home), (l2_side.clone(), remote));
        let bridge = MeshBridge::connect(ends.0, ends.1, attestors.clone()).await.unwrap();
        Self {
            bridge: Arc::new(bridge),
            l1: l1_side,
            l2: l2_side,
            l1_token,
            l2_token,
            vault: home.adapter,
            alice: alice.address(),
            bob: bob.address(),
            dev: DevNode::new(l1),
            relay: Relay::Mesh { attestors, home, remote },
        }
    }

    /// Does for a deposit what the chains' operators do.
    async fn derive(&mut self) {
        if let Relay::Op(relayer) = &mut self.relay {
            relayer.derive().await.unwrap();
        }
    }

    /// Does for a withdrawal what the chains' operators do.
    async fn propose(&mut self) {
        if let Relay::Op(relayer) = &mut self.relay {
            relayer.propose().await.unwrap();
        }
    }

    /// Lets the time pass in which a proof can be challenged.
    async fn wait(&self) {
        if let Relay::Op(_) = self.relay {
            pass(&self.l1, &self.dev, CHALLENGE_PERIOD + 1).await;
        }
    }

    async fn status(&self, withdrawal: &Withdrawal) -> WithdrawalStatus {
        self.bridge.status(withdrawal).await.unwrap()
    }

    /// Brings `amount` to bob on L2.
    async fn bring(&mut self, amount: Amount) -> Deposit {
        let deposit = self.bridge.deposit(self.bob, amount).await.unwrap().value;
        self.derive().await;
        self.bridge.land(&deposit).await.unwrap();
        deposit
    }

    /// Burns `amount` of bob's on L2 and proves it on L1.
    async fn proven(&mut self, amount: Amount) -> Withdrawal {
        let withdrawal = self.bridge.withdraw(self.bob, amount).await.unwrap().value;
        self.propose().await;
        self.bridge.prove(&withdrawal).await.unwrap();
        withdrawal
    }

    async fn l1_balance(&self, account: Address) -> Amount {
        balance(&self.l1, self.l1_token, account).await
    }

    async fn l2_balance(&self, account: Address) -> Amount {
        balance(&self.l2, self.l2_token, account).await
    }

    /// Asserts that nothing was made or lost: what is locked is on L2 or on its way, and all of
    /// OPEN is with alice, with bob or locked.
    async fn assert_sum(&self, on_its_way: Amount) {
        let token = Erc20::new(self.l2_token, self.l2.provider());
        let supply = Amount::new(token.totalSupply().call().await.unwrap());
        let locked = self.l1_balance(self.vault).await;
        assert_eq!(Some(locked), supply.checked_add(on_its_way), "locked");
        let people = [self.l1_balance(self.alice).await, self.l1_balance(self.bob).await];
        let all = people.into_iter().try_fold(locked, Amount::checked_add);
        assert_eq!(all, Some(open(1_000_000_000)), "all of OPEN");
    }
}

async fn pass(side: &Side, dev: &DevNode, seconds: u64) {
    let block = side.provider().get_block(Default::default()).await.unwrap().unwrap();
    dev.set_next_timestamp(block.header.timestamp + seconds).await.unwrap();
    dev.mine().await.unwrap();
}

/// The whole way, over any bridge.
async fn there_and_back(mut crossing: Crossing) {
    crossing.assert_sum(Amount::ZERO).await;
    let deposited = crossing.bridge.deposit(crossing.bob, open(100)).await.unwrap();
    assert_eq!(deposited.txs.len(), 2, "an allowance and a deposit");
    let deposit = deposited.value;
    assert_eq!(crossing.l2_balance(crossing.bob).await, Amount::ZERO);
    crossing.assert_sum(open(100)).await;

    crossing.derive().await;
    crossing.bridge.land(&deposit).await.unwrap();
    let again = crossing.bridge.land(&deposit).await.unwrap();
    assert_eq!(again.txs, [], "it has landed");
    assert_eq!(crossing.l2_balance(crossing.bob).await, open(100));
    crossing.assert_sum(Amount::ZERO).await;

    let withdrawal = crossing.bridge.withdraw(crossing.alice, open(30)).await.unwrap().value;
    assert_eq!(crossing.l2_balance(crossing.bob).await, open(70));
    crossing.assert_sum(open(30)).await;

    // What an application keeps between the steps is text.
    let kept = serde_json::to_string(&withdrawal).unwrap();
    let withdrawal: Withdrawal = serde_json::from_str(&kept).unwrap();
    crossing.propose().await;
    assert_eq!(crossing.status(&withdrawal).await, WithdrawalStatus::Provable);
    crossing.bridge.prove(&withdrawal).await.unwrap();
    let again = crossing.bridge.prove(&withdrawal).await.unwrap();
    assert_eq!(again.txs, [], "it is proven");
    crossing.wait().await;
    assert_eq!(crossing.status(&withdrawal).await, WithdrawalStatus::Finalisable);
    let before = crossing.l1_balance(crossing.alice).await;
    crossing.bridge.finalise(&withdrawal).await.unwrap();
    let after = crossing.l1_balance(crossing.alice).await;
    assert_eq!(Some(after), before.checked_add(open(30)));
    assert_eq!(crossing.status(&withdrawal).await, WithdrawalStatus::Finalised);
    crossing.assert_sum(Amount::ZERO).await;

    let again = crossing.bridge.finalise(&withdrawal).await.unwrap_err();
    assert_eq!(again.kind(), ErrorKind::Denied, "{}", again.report());
    assert_eq!(crossing.l1_balance(crossing.alice).await, after, "paid once");
}

/// More than there is cannot be sent, and the refusal changes nothing.
async fn nobody_sends_what_he_has_not(mut crossing: Crossing) {
    crossing.bring(open(10)).await;
    let refused = crossing.bridge.withdraw(crossing.bob, open(11)).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Denied, "{}", refused.report());
    crossing.assert_sum(Amount::ZERO).await;
    let all = Amount::new(U256::from(2) * open(1_000_000_000).units());
    let refused = crossing.bridge.deposit(crossing.bob, all).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Denied, "{}", refused.report());
    crossing.assert_sum(Amount::ZERO).await;
}
