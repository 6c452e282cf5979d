//! OPEN on the L2: its supply is what the bridges minted less what they burned.

use openledger_chain::{abi::open_token_l2::OpenTokenL2, alloy::sol_types::SolCall};
use openledger_core::{Address, U256};
use proptest::prelude::*;

use super::{Done, Said, explore, judge_revert, set};
use crate::stage::{
    Person::{self, Alice, Bob, Carol, Deployer},
    Stage, address,
};

const PEOPLE: [Person; 3] = [Alice, Bob, Carol];
/// The rollup's bridge, and the mesh's.
const BRIDGES: [Address; 2] = [Address::repeat_byte(0x10), Address::repeat_byte(0x12)];

#[derive(Clone, Debug)]
enum Step {
    Mint {
        bridge: usize,
        to: usize,
        units: u64,
    },
    /// Burns so much, or all if there is less.
    Burn {
        bridge: usize,
        from: usize,
        units: u64,
        too_much: bool,
    },
    /// One bridge by the other's entrance, or anybody.
    Steal {
        by: Option<usize>,
        person: usize,
        mesh: bool,
        burn: bool,
    },
    Transfer {
        from: usize,
        to: usize,
        units: u64,
    },
    Delegate {
        from: usize,
        to: usize,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let (one, other) = (0..2_usize, 0..3_usize);
    prop_oneof![
        3 => (one.clone(), other.clone(), any::<u64>())
            .prop_map(|(bridge, to, units)| Step::Mint { bridge, to, units }),
        2 => (one.clone(), other.clone(), any::<u64>(), prop::bool::weighted(0.1))
            .prop_map(|(bridge, from, units, too_much)| {
                Step::Burn { bridge, from, units, too_much }
            }),
        2 => (prop::option::of(one), other.clone(), any::<bool>(), any::<bool>())
            .prop_map(|(by, person, mesh, burn)| Step::Steal { by, person, mesh, burn }),
        2 => (other.clone(), other.clone(), any::<u64>())
            .prop_map(|(from, to, units)| Step::Transfer { from, to, units }),
        1 => (other.clone(), other).prop_map(|(from, to)| Step::Delegate { from, to }),
    ]
}

struct Model<'a> {
    stage: &'a Stage,
    token: Address,
    balances: [u128; 3],
    minted: u128,
    burned: u128,
}

impl Model<'_> {
    async fn act(&self, from: Address, call: impl SolCall, said: Said) -> bool {
        let came = self.stage.act(from, self.token, call).await;
        judge_revert(came, [said; 2]).is_some()
    }

    async fn mint(&self, by: Address, mesh: bool, to: Person, units: u128, said: Said) -> bool {
        let (to, units) = (address(to), U256::from(units));
        match mesh {
            true => {
                let call = OpenTokenL2::crosschainMintCall { to, value: units };
                self.act(by, call, said).await
            }
            false => self.act(by, OpenTokenL2::mintCall { to, amount: units }, said).await,
        }
    }

    async fn burn(&self, by: Address, mesh: bool, from: Person, units: u128, said: Said) -> bool {
        let (from, units) = (address(from), U256::from(units));
        match mesh {
            true => {
                let call = OpenTokenL2::crosschainBurnCall { from, value: units };
                self.act(by, call, said).await
            }
            false => self.act(by, OpenTokenL2::burnCall { from, amount: units }, said).await,
        }
    }

    async fn play(&mut self, step: Step, done: &Done) {
        match step {
            Step::Mint { bridge, to, units } => {
                let units = u128::from(units);
                self.mint(BRIDGES[bridge], bridge == 1, PEOPLE[to], units, None).await;
                (self.balances[to], self.minted) = (self.balances[to] + units, self.minted + units);
            }
            Step::Burn { bridge, from, units, too_much } => {
                let balance = self.balances[from];
                let units = if too_much { balance + 1 } else { balance.min(units.into()) };
                let said = too_much.then_some("ERC20InsufficientBalance");
                if self.burn(BRIDGES[bridge], bridge == 1, PEOPLE[from], units, said).await {
                    (self.balances[from], self.burned) = (balance - units, self.burned + units);
                    done.note("burn");
                }
            }
            Step::Steal { by, person, mesh, burn } => {
                let own_entrance = by == Some(usize::from(mesh));
                if own_entrance {
                    return;
                }
                let by = by.map_or_else(|| address(PEOPLE[person]), |bridge| BRIDGES[bridge]);
                let said = Some("NotBridge");
                let person = PEOPLE[person];
                let stolen = match burn {
                    true => self.burn(by, mesh, person, 0, said).await,
                    false => self.mint(by, mesh, person, 1, said).await,
                };
                assert!(!stolen);
                done.note("refused");
            }
            Step::Transfer { from, to, units } => {
                let units = self.balances[from].min(units.into());
                let (to_at, value) = (address(PEOPLE[to]), U256::from(units));
                let call = OpenTokenL2::transferCall { to: to_at, value };
                self.act(address(PEOPLE[from]), call, None).await;
                self.balances[from] -= units;
                self.balances[to] += units;
            }
            Step::Delegate { from, to } => {
                let call = OpenTokenL2::delegateCall { delegatee: address(PEOPLE[to]) };
                self.act(address(PEOPLE[from]), call, None).await;
            }
        }
    }

    async fn check(&self) {
        let token = OpenTokenL2::new(self.token, self.stage.chain.provider());
        let supply = token.totalSupply().call().await.unwrap();
        assert_eq!(supply, U256::from(self.minted - self.burned), "supply");
        let mut votes = U256::ZERO;
        for (person, balance) in PEOPLE.into_iter().zip(self.balances) {
            let have = token.balanceOf(address(person)).call().await.unwrap();
            assert_eq!(have, U256::from(balance), "what {person:?} has");
            votes += token.getVotes(address(person)).call().await.unwrap();
        }
        assert!(votes <= supply, "no more votes than tokens");
    }
}

#[test]
fn the_supply_is_what_bridges_minted_less_what_they_burned() {
    let stage = set(async |stage| {
        stage.impersonate(BRIDGES.into_iter().chain(PEOPLE.map(address)));
        deploy(stage).await;
    });
    let done = Done::default();
    explore(&stage, (16, 20..=40), step(), async |stage, steps| {
        let token = address(Deployer).create(stage.nonce(address(Deployer)).await - 1);
        let (balances, minted, burned) = ([0; 3], 0, 0);
        let mut model = Model { stage, token, balances, minted, burned };
        for step in steps {
            model.play(step, &done).await;
            model.check().await;
        }
    });
    done.assert_all(&["burn", "refused"]);
}

async fn deploy(stage: &Stage) {
    let ([bridge, mesh], remote) = (BRIDGES, Address::repeat_byte(0x11));
    let builder = OpenTokenL2::deploy_builder(stage.chain.provider().clone(), bridge, remote, mesh);
    builder.from(address(Deployer)).deploy().await.unwrap();
}
