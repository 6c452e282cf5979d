//! OPEN goes to another chain, votes there, and comes back: over the OP Stack's standard bridge,
//! with its published contracts and its week of waiting, and over a mesh of attested adapters.
//!
//! ```sh
//! cargo run --release --example bridge
//! ```
//!
//! Two chains in this process. What it says is asserted.

#![expect(clippy::print_stdout, reason = "a story is printed")]

use std::{collections::BTreeMap, error::Error, sync::Arc};

use openledger_chain::{
    DevNode, Genesis,
    abi::{open_token::OpenToken, open_token_l2::OpenTokenL2, roles::Roles},
    alloy::providers::{DynProvider, Provider},
    bridge::{
        Attest, Attestor, Bridge, MeshBridge, MeshOptions, OpBridge, Route, Side, Step,
        WithdrawalStatus,
        abi::erc20::Erc20,
        deploy_home, deploy_remote, link,
        testing::{CHALLENGE_PERIOD, OpDevnet, OpRelayer},
    },
    embedded,
};
use openledger_core::{Address, Amount, B256, Key, U256};

type Result<T, E = Box<dyn Error>> = std::result::Result<T, E>;

const L1: u64 = 1;
const L2: u64 = 1612;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let people = People::new()?;
    let keys = people.all();
    println!("# The standard bridge of the OP Stack\n");
    let world = World { l1: chain(L1, &keys)?, l2: chain(L2, &keys)?, people: people.clone() };
    standard(&world).await?;
    println!("\n# The mesh: two of three attestors\n");
    let world = World { l1: chain(L1, &keys)?, l2: chain(L2, &keys)?, people };
    mesh(&world).await
}

async fn standard(world: &World) -> Result<()> {
    let World { l1, l2, people } = world;
    let (admin1, admin2) = (side(l1, &people.admin).await?, side(l2, &people.admin).await?);
    let devnet = OpDevnet::start(admin1.clone(), admin2.clone()).await?;
    let l1_token = world.l1_token(&admin1).await?;
    let standard_bridge = "0x4200000000000000000000000000000000000010".parse()?;
    let l2_token = world.l2_token(&admin2, standard_bridge, l1_token, Address::ZERO).await?;
    let contracts = devnet.contracts(l1_token, l2_token);
    let (alice, bob) = (side(l1, &people.alice).await?, side(l2, &people.bob).await?);
    let bridge: Box<dyn Bridge> = Box::new(OpBridge::connect(alice, bob, contracts).await?);
    let mut relayer = OpRelayer::new(devnet.clone());
    let tokens = Tokens { l1_token, l2_token, vault: devnet.bridge };

    let Step { value: deposit, txs, .. } = bridge.deposit(people.bob.address(), open(100)).await?;
    println!("alice locks 100 OPEN on L1 for bob{}", gas(&txs));
    tokens.check(world, open(100), Amount::ZERO).await?;
    assert!(bridge.land(&deposit).await.is_err(), "the rollup has not seen it");
    relayer.derive().await?;
    bridge.land(&deposit).await?;
    println!("the rollup derives the deposit: bob has 100 OPEN on L2");
    tokens.check(world, open(100), open(100)).await?;
    votes(world, l2_token, &people.bob).await?;

    let Step { value: withdrawal, txs, .. } =
        bridge.withdraw(people.alice.address(), open(30)).await?;
    println!("bob burns 30 OPEN on L2 for alice{}", gas(&txs));
    tokens.check(world, open(100), open(70)).await?;
    assert_eq!(bridge.status(&withdrawal).await?, WithdrawalStatus::Initiated);
    relayer.propose().await?;
    assert_eq!(bridge.status(&withdrawal).await?, WithdrawalStatus::Provable);
    let proven = bridge.prove(&withdrawal).await?;
    println!(
        "an output of L2 is proposed on L1, and the withdrawal proven by it{}",
        gas(&proven.txs)
    );
    let early = bridge.finalise(&withdrawal).await.err().ok_or("finalised without waiting")?;
    assert!(early.report().contains("period has not elapsed"), "{}", early.report());
    println!("finalising at once is refused: {}", early.report());

    let dev = DevNode::new(l1.clone());
    dev.increase_time(CHALLENGE_PERIOD + 1).await?;
    dev.mine().await?;
    assert_eq!(bridge.status(&withdrawal).await?, WithdrawalStatus::Finalisable);
    let finalised = bridge.finalise(&withdrawal).await?;
    println!("seven days pass, nobody objects, and alice has 30 OPEN back{}", gas(&finalised.txs));
    tokens.check(world, open(70), open(70)).await?;
    assert!(bridge.finalise(&withdrawal).await.is_err(), "paid once");
    println!("locked on L1: 70 OPEN; minted on L2: 70 OPEN");
    Ok(())
}

async fn mesh(world: &World) -> Result<()> {
    let World { l1, l2, people } = world;
    let (admin1, admin2) = (side(l1, &people.admin).await?, side(l2, &people.admin).await?);
    let l1_token = world.l1_token(&admin1).await?;
    let options = async |side: &Side| -> Result<MeshOptions> {
        let roles = Roles::deploy_builder(side.provider(), side.sender());
        Ok(MeshOptions {
            authority: roles.from(side.sender()).deploy().await?,
            attestors: people.attestors.iter().map(Key::address).collect(),
            threshold: 2,
            outgoing: open(1_000),
            incoming: open(1_000),
        })
    };
    let home = deploy_home(&admin1, l1_token, &options(&admin1).await?).await?.value;
    let options = options(&admin2).await?;
    // The token names its mesh, and the mesh its token: the adapter comes two contracts later.
    let nonce = l2.get_transaction_count(admin2.sender()).await?;
    let adapter = admin2.sender().create(nonce + 2);
    let l2_token = world.l2_token(&admin2, Address::ZERO, l1_token, adapter).await?;
    let remote = deploy_remote(&admin2, l2_token, &options).await?.value;
    link(&admin1, home, L2, remote).await?;
    link(&admin2, remote, L1, home).await?;

    let route =
        |node: &DynProvider, gateway| Route { provider: node.clone(), gateway, confirmations: 0 };
    let routes: BTreeMap<u64, Route> =
        [(L1, route(l1, home.gateway)), (L2, route(l2, remote.gateway))].into();
    let attestors: Vec<Arc<dyn Attest>> = people
        .attestors
        .iter()
        .map(|key| Arc::new(Attestor::new(key.clone(), routes.clone())) as Arc<dyn Attest>)
        .collect();
    let ends = async || -> Result<_> {
        let (alice, bob) = (side(l1, &people.alice).await?, side(l2, &people.bob).await?);
        Ok(((alice, home), (bob, remote)))
    };
    let (first, second) = ends().await?;
    let bridge: Box<dyn Bridge> =
        Box::new(MeshBridge::connect(first, second, attestors.clone()).await?);
    let tokens = Tokens { l1_token, l2_token, vault: home.adapter };

    let Step { value: deposit, txs, .. } = bridge.deposit(people.bob.address(), open(100)).await?;
    println!("alice locks 100 OPEN at home for bob{}", gas(&txs));
    let landed = bridge.land(&deposit).await?;
    println!("two attestors sign what they saw, and bob has 100 OPEN{}", gas(&landed.txs));
    tokens.check(world, open(100), open(100)).await?;
    votes(world, l2_token, &people.bob).await?;

    let Step { value: withdrawal, txs, .. } =
        bridge.withdraw(people.alice.address(), open(30)).await?;
    println!("bob burns 30 OPEN for alice{}", gas(&txs));
    tokens.check(world, open(100), open(70)).await?;
    let (first, second) = ends().await?;
    let alone = MeshBridge::connect(first, second, attestors[..1].to_vec()).await?;
    let few = alone.prove(&withdrawal).await.err().ok_or("one attestor sufficed")?;
    assert!(few.report().contains("1 of 2 attestations"), "{}", few.report());
    println!("one attestor does not suffice: {}", few.report());
    bridge.prove(&withdrawal).await?;
    let finalised = bridge.finalise(&withdrawal).await?;
    println!("two do, without waiting: alice has 30 OPEN back{}", gas(&finalised.txs));
    tokens.check(world, open(70), open(70)).await?;
    assert!(bridge.finalise(&withdrawal).await.is_err(), "paid once");
    let over = bridge.deposit(people.bob.address(), open(901)).await;
    let over = over.err().ok_or("more than a day's limit left")?;
    assert!(over.report().contains("over limit"), "{}", over.report());
    println!("more than a day's limit does not leave: {}", over.report());
    println!("locked at home: 70 OPEN; minted elsewhere: 70 OPEN");
    Ok(())
}

/// Bob delegates to himself, and has as many votes as tokens.
async fn votes(world: &World, token: Address, bob: &Key) -> Result<()> {
    let token = OpenTokenL2::new(token, &world.l2);
    let delegated = token.delegate(bob.address()).from(bob.address()).send().await?;
    let receipt = world.l2.get_transaction_receipt(*delegated.tx_hash()).await?;
    let receipt = receipt.ok_or("no receipt")?;
    let votes = token.getVotes(bob.address()).call().await?;
    assert_eq!(votes, open(100).units());
    println!("bob delegates to himself: 100 votes on L2 (gas {})", receipt.gas_used);
    Ok(())
}

#[derive(Clone)]
struct People {
    admin: Key,
    alice: Key,
    bob: Key,
    attestors: [Key; 3],
}

impl People {
    fn new() -> Result<Self> {
        let key = |byte| Key::from_bytes(B256::repeat_byte(byte));
        let attestors = [key(4)?, key(5)?, key(6)?];
        Ok(Self { admin: key(1)?, alice: key(2)?, bob: key(3)?, attestors })
    }

    fn all(&self) -> Vec<Key> {
        vec![self.admin.clone(), self.alice.clone(), self.bob.clone()]
    }
}

/// Two chains and the people on both.
struct World {
    l1: DynProvider,
    l2: DynProvider,
    people: People,
}

impl World {
    /// OPEN itself, all of it alice's.
    async fn l1_token(&self, admin: &Side) -> Result<Address> {
        let token = OpenToken::deploy_builder(admin.provider(), self.people.alice.address());
        Ok(token.from(admin.sender()).deploy().await?)
    }

    async fn l2_token(
        &self,
        admin: &Side,
        bridge: Address,
        remote: Address,
        mesh: Address,
    ) -> Result<Address> {
        let token = OpenTokenL2::deploy_builder(admin.provider(), bridge, remote, mesh);
        Ok(token.from(admin.sender()).deploy().await?)
    }
}

/// The token on both chains, and who holds what is locked.
struct Tokens {
    l1_token: Address,
    l2_token: Address,
    vault: Address,
}

impl Tokens {
    /// Asserts what is locked and what is minted, and that all of OPEN is alice's or locked.
    async fn check(&self, world: &World, locked: Amount, minted: Amount) -> Result<()> {
        let token = Erc20::new(self.l1_token, &world.l1);
        assert_eq!(token.balanceOf(self.vault).call().await?, locked.units());
        let alice = token.balanceOf(world.people.alice.address()).call().await?;
        assert_eq!(alice + locked.units(), open(1_000_000_000).units());
        let token = Erc20::new(self.l2_token, &world.l2);
        assert_eq!(token.totalSupply().call().await?, minted.units());
        Ok(())
    }
}

fn chain(id: u64, keys: &[Key]) -> Result<DynProvider> {
    Ok(embedded(Genesis::default().with_chain_id(id), keys)?)
}

async fn side(provider: &DynProvider, key: &Key) -> Result<Side> {
    Ok(Side::connect(provider.clone(), key.address()).await?)
}

fn open(amount: u64) -> Amount {
    Amount::new(Amount::OPEN.units() * U256::from(amount))
}

fn gas(txs: &[openledger_chain::Tx]) -> String {
    let used: Vec<String> = txs.iter().map(|tx| tx.gas.to_string()).collect();
    format!(" (gas {})", used.join(" + "))
}
