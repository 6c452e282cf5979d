//! Stakers, operators, judges, the guardian and governance, who do anything in any order: shares
//! are never worth more than there is, nobody leaves early, and a slash reaches those who left.

use openledger_chain::{
    StakeRole, Staking,
    abi::staking::Staking as Contract,
    alloy::{primitives::Uint, providers::DynProvider},
};
use openledger_core::{B256, U256};
use proptest::prelude::*;

use super::{Done, around, explore, judge, set};
use crate::stage::{
    Person::{self, Alice, Bob, Carol, Dave, Erin, Guardian, Treasury},
    Stage, address, amount, units,
};

const OWNERS: [Person; 3] = [Alice, Bob, Carol];
const OPERATORS: [Person; 2] = [Dave, Erin];
const ROLES: [StakeRole; 2] = [StakeRole::Validator, StakeRole::Agent];
/// What everybody has everywhere at first.
const FIRST: u128 = 1_000_000_000_000;
const HOUR: u64 = 3_600;
const RAY: u128 = 1_000_000_000_000_000_000_000_000_000;

/// A vault: a role and an operator.
type Place = (usize, usize);

#[derive(Clone, Debug)]
enum Step {
    Stake(Place, usize, u64),
    /// Leaves with so many parts in 255 of a position.
    Unbond(Place, usize, u8),
    Withdraw(Place, usize, u8),
    Fund(usize, u32),
    Accrue(Place),
    Propose(Place, u16),
    Decide {
        veto: bool,
    },
    Penalise(Place, u8),
    Forgive(Place, u8),
    SetRate(usize, u64),
    SetTerms(usize, u8, u8),
    SetCaps(usize, u64, u64),
    Pass(u16),
}

fn step() -> impl Strategy<Value = Step> {
    let role = 0..ROLES.len();
    // One vault sees most, so that what it sees meets: exits, slashes, penalties.
    let place = prop_oneof![2 => Just((0, 0)), 1 => (role.clone(), 0..OPERATORS.len())];
    let position = (place.clone(), 0..OWNERS.len());
    prop_oneof![
        6 => (position.clone(), 1..1_000_000_000_000_u64)
            .prop_map(|((place, owner), units)| Step::Stake(place, owner, units)),
        7 => (position.clone(), any::<u8>())
            .prop_map(|((place, owner), part)| Step::Unbond(place, owner, part)),
        6 => (position, any::<u8>())
            .prop_map(|((place, owner), exit)| Step::Withdraw(place, owner, exit)),
        2 => (role.clone(), any::<u32>()).prop_map(|(role, units)| Step::Fund(role, units)),
        1 => place.clone().prop_map(Step::Accrue),
        2 => (place.clone(), 1..6_000_u16).prop_map(|(place, bps)| Step::Propose(place, bps)),
        3 => prop::bool::weighted(0.2).prop_map(|veto| Step::Decide { veto }),
        1 => (place.clone(), any::<u8>()).prop_map(|(place, points)| Step::Penalise(place, points)),
        1 => (place, any::<u8>()).prop_map(|(place, points)| Step::Forgive(place, points)),
        1 => (role.clone(), 0..1_000_000_000_000_000_000_u64)
            .prop_map(|(role, rate)| Step::SetRate(role, rate)),
        1 => (role.clone(), 0..20_u8, 0..20_u8)
            .prop_map(|(role, lock, cooldown)| Step::SetTerms(role, lock, cooldown)),
        1 => (role, any::<u32>(), any::<u32>()).prop_map(|(role, one, other)| {
            let floor = 6 * u64::try_from(FIRST).unwrap();
            Step::SetCaps(role, floor + u64::from(one) * 1_000, floor + u64::from(other) * 1_000)
        }),
        6 => any::<u16>().prop_map(Step::Pass),
    ]
}

/// What the test remembers beside the chain.
#[derive(Default)]
struct Ledger {
    put_in: u128,
    taken_out: u128,
    slashed: u128,
    insured_before: u128,
    /// Slashes below it are decided.
    undecided: u64,
    slashes: Vec<(Place, u16)>,
}

struct Vaults<'a> {
    stage: &'a Stage,
    contract: Contract::StakingInstance<DynProvider>,
}

impl Vaults<'_> {
    async fn vault(&self, (role, operator): Place) -> Contract::Vault {
        let (role, operator) = (ROLES[role] as u8, address(OPERATORS[operator]));
        self.contract.vaultOf(role, operator).call().await.unwrap()
    }

    async fn active(&self, (role, operator): Place) -> u128 {
        let operator = address(OPERATORS[operator]);
        units(self.stage.chain.stake_of(ROLES[role], operator).await.unwrap().active)
    }

    async fn exits(&self, (role, operator): Place, owner: usize) -> Vec<Contract::Exit> {
        let (operator, owner) = (address(OPERATORS[operator]), address(OWNERS[owner]));
        self.contract.exitsOf(ROLES[role] as u8, operator, owner).call().await.unwrap()
    }

    async fn position(&self, (role, operator): Place, owner: usize) -> (u128, u64, u128) {
        let (operator, owner) = (address(OPERATORS[operator]), address(OWNERS[owner]));
        let position = self.contract.positions(ROLES[role] as u8, operator, owner).call().await;
        let position = position.unwrap();
        let (_, worth) = self.stage.chain.position(ROLES[role], operator, owner).await.unwrap();
        (position.shares, position.lockedUntil.to(), units(worth))
    }

    /// What a unit of a role is worth, rounded up: the price of a rounding.
    async fn unit(&self, role: usize) -> u128 {
        let index: u128 = self.contract.indexOf(ROLES[role] as u8).call().await.unwrap().to();
        index / RAY + 1
    }
}

impl Ledger {
    async fn play(&mut self, at: &Vaults<'_>, step: Step, done: &Done) {
        let (stage, staking) = (at.stage, *at.contract.address());
        let now = stage.now().await;
        match step {
            Step::Stake(place, owner, many) => self.stake(at, place, owner, many, done).await,
            Step::Unbond(place, owner, part) => {
                let (shares, locked_until, worth) = at.position(place, owner).await;
                let shares = shares * u128::from(part) / 255;
                let said = around(now, |time| match () {
                    () if time < locked_until => Some("StakeLocked"),
                    () if shares == 0 || worth * u128::from(part) / 255 == 0 => {
                        Some("AmountTooSmall")
                    }
                    () => None,
                });
                let operator = address(OPERATORS[place.1]);
                let by = stage.of(OWNERS[owner]);
                let sent = by.unbond(ROLES[place.0], operator, U256::from(shares)).await;
                // Whether a few shares are worth a unit depends on a rounding.
                let said = if said[0].is_none() { [None, Some("AmountTooSmall")] } else { said };
                if judge(sent, said).is_some() {
                    done.note("unbond");
                }
            }
            Step::Withdraw(place, owner, exit) => {
                self.withdraw(at, place, owner, exit, now, done).await;
            }
            Step::Fund(role, many) => {
                let many = u128::from(many) + 1;
                stage.chain.fund_growth(ROLES[role], amount(many)).await.unwrap();
                self.put_in += many;
                self.insured_before -= many; // the funder is the insurance, too
            }
            Step::Accrue(place) => {
                let (role, operator) = (ROLES[place.0] as u8, address(OPERATORS[place.1]));
                stage.govern(staking, Contract::accrueCall { role, operator }).await;
            }
            Step::Propose(place, bps) => {
                let (role, operator) = (ROLES[place.0] as u8, address(OPERATORS[place.1]));
                let evidence = B256::repeat_byte(0xee);
                let call = Contract::proposeSlashCall { role, operator, bps, evidence };
                stage.govern(staking, call).await;
                self.slashes.push((place, bps));
            }
            Step::Decide { veto } => self.decide(at, veto, done).await,
            Step::Penalise(place, points) => {
                let (role, operator) = (ROLES[place.0] as u8, address(OPERATORS[place.1]));
                let points = points.into();
                stage.govern(staking, Contract::addPenaltyCall { role, operator, points }).await;
            }
            Step::Forgive(place, points) => {
                let (role, operator) = (ROLES[place.0] as u8, address(OPERATORS[place.1]));
                let points = points.into();
                stage.govern(staking, Contract::forgiveCall { role, operator, points }).await;
            }
            Step::SetRate(role, rate) => {
                let role = ROLES[role] as u8;
                stage.govern(staking, Contract::setRateCall { role, rate }).await;
            }
            Step::SetTerms(role, lock, cooldown) => {
                let [lock, cooldown] =
                    [lock, cooldown].map(|time| Uint::from(u64::from(time) * HOUR));
                let role = ROLES[role] as u8;
                stage.govern(staking, Contract::setTermsCall { role, lock, cooldown }).await;
            }
            Step::SetCaps(role, role_cap, operator_cap) => {
                let [role_cap, operator_cap] = [role_cap, operator_cap].map(u128::from);
                let role = ROLES[role] as u8;
                let call =
                    Contract::setCapsCall { role, roleCap: role_cap, operatorCap: operator_cap };
                stage.govern(staking, call).await;
            }
            Step::Pass(minutes) => stage.pass(u64::from(minutes) * 2).await,
        }
    }

    async fn stake(&mut self, at: &Vaults<'_>, place: Place, owner: usize, many: u64, done: &Done) {
        let (role, operator) = (ROLES[place.0], address(OPERATORS[place.1]));
        let by = at.stage.of(OWNERS[owner]);
        match by.stake(role, operator, amount(many.into())).await {
            Ok(_) => {
                self.put_in += u128::from(many);
                let caps = at.contract.caps(role as u8).call().await.unwrap();
                let total = at.contract.totalStake(role as u8).call().await.unwrap();
                assert!(total <= U256::from(caps.role), "no stake raises a role past its cap");
                assert!(at.active(place).await <= caps.operator, "nor an operator");
                done.note("stake");
            }
            Err(error) => {
                let name = super::reason(&error).name();
                let reasons =
                    ["OperatorCapExceeded", "RoleCapExceeded", "AmountTooSmall", "VaultClosed"];
                assert!(reasons.contains(&name.as_str()), "{name}");
            }
        }
    }

    async fn withdraw(
        &mut self,
        at: &Vaults<'_>,
        place: Place,
        owner: usize,
        exit: u8,
        now: u64,
        done: &Done,
    ) {
        let exits = at.exits(place, owner).await;
        let vault = at.vault(place).await;
        let exit =
            if exit == u8::MAX { exits.len() } else { usize::from(exit) % exits.len().max(1) };
        let said = around(now, |time| match exits.get(exit) {
            None => Some("ExitUnknown"),
            Some(found) if found.shares.is_zero() => Some("ExitDone"),
            Some(found) if time < found.availableAt.to() => Some("CooldownRunning"),
            Some(_) if vault.slashes != 0 => Some("SlashPending"),
            Some(_) => None,
        });
        let (operator, by) = (address(OPERATORS[place.1]), at.stage.of(OWNERS[owner]));
        let sent = by.withdraw_stake(ROLES[place.0], operator, exit as u64).await;
        let Some(sent) = judge(sent, said) else {
            said[0].into_iter().for_each(|reason| done.note(reason));
            return;
        };
        let part = U256::from(exits[exit].shares) * U256::from(vault.queued)
            / U256::from(vault.queueShares);
        assert_eq!(sent.value.units(), part, "the exit's part of the queue");
        self.taken_out += units(sent.value);
        done.note("withdraw");
    }

    /// Executes or vetoes the next slash.
    async fn decide(&mut self, at: &Vaults<'_>, veto: bool, done: &Done) {
        let Some(&(place, bps)) = self.slashes.get(self.undecided as usize) else { return };
        let id = self.undecided;
        if veto {
            at.stage.of(Guardian).veto_slash(id).await.unwrap();
            self.undecided += 1;
            return;
        }
        let slash = at.contract.slashes(U256::from(id)).call().await.unwrap();
        let now = at.stage.now().await;
        // Growth of a second more or less is not what this is about: written down, it is the same.
        let (queued, before) = (at.vault(place).await.queued, at.active(place).await);
        let said = around(now, |time| (time < slash.executableAt.to()).then_some("SlashTooEarly"));
        if judge(at.stage.of(Alice).execute_slash(id).await, said).is_none() {
            return;
        }
        self.undecided += 1;
        let queued_now = at.vault(place).await.queued;
        let from_queue = queued - queued_now;
        assert_eq!(from_queue, queued * u128::from(bps) / 10_000, "of the queue, to the unit");
        let taken = self.taken_by_insurance(at).await - self.slashed;
        let from_active = taken - from_queue;
        let want = before as f64 * f64::from(bps) / 10_000.0;
        // A year's growth is at most e; a second or two of it is 10^-7.
        let margin = 2.0 + at.unit(place.0).await as f64 + want * 1e-7;
        let off = (from_active as f64 - want).abs();
        assert!(off <= margin, "of the stake: {from_active} for {want}");
        self.slashed += taken;
        if from_queue > 0 && from_active > 0 {
            done.note("slash of both");
        }
    }

    async fn taken_by_insurance(&self, at: &Vaults<'_>) -> u128 {
        at.stage.balance(address(Treasury)).await - self.insured_before
    }

    async fn check(&self, at: &Vaults<'_>) {
        let mut owed = 0;
        for (role, name) in ROLES.into_iter().enumerate() {
            let total: u128 = at.contract.totalStake(name as u8).call().await.unwrap().to();
            let reserve: u128 = at.contract.reserveOf(name as u8).call().await.unwrap().to();
            owed += total + reserve;
            let unit = at.unit(role).await;
            let mut vaults = 0;
            for operator in 0..OPERATORS.len() {
                let place = (role, operator);
                let (vault, active) = (at.vault(place).await, at.active(place).await);
                owed += vault.queued;
                vaults += active;
                let (mut worth, mut shares, mut queue) = (0, 0, U256::ZERO);
                for owner in 0..OWNERS.len() {
                    let (held, _, assets) = at.position(place, owner).await;
                    (shares, worth) = (shares + held, worth + assets);
                    let exits = at.exits(place, owner).await;
                    queue += exits.iter().map(|exit| U256::from(exit.shares)).sum::<U256>();
                }
                assert!(worth <= active + unit, "shares are worth {worth} of {active}");
                assert_eq!(shares, vault.shares, "every share is somebody's");
                assert_eq!(queue, U256::from(vault.queueShares), "in the queue, too");
            }
            assert!(vaults <= total, "vaults within the role: {vaults} of {total}");
        }
        let there = at.stage.balance(*at.contract.address()).await;
        assert_eq!(owed, there, "stake, queue and reserve are the tokens, to the unit");
        assert_eq!(self.put_in, self.taken_out + self.slashed + there, "none made or lost");
        let insured = self.taken_by_insurance(at).await;
        assert_eq!(insured, self.slashed, "what slashes take is the insurance's");
    }

    /// At any past moment, operators' weights sum to the role's.
    async fn check_past(&self, at: &Vaults<'_>, times: &[u64]) {
        for (role, time) in
            ROLES.into_iter().flat_map(|role| times.iter().map(move |at| (role, *at)))
        {
            let time = Uint::from(time);
            let mut sum = 0;
            for operator in OPERATORS {
                let past = at.contract.getPastStake(role as u8, address(operator), time);
                sum += past.call().await.unwrap().to::<u128>();
            }
            let total = at.contract.getPastTotalStake(role as u8, time).call().await.unwrap();
            let total: u128 = total.to();
            assert!(sum <= total && total <= sum + 2, "{sum} of {total}");
        }
    }
}

#[test]
fn shares_are_worth_what_is_there_nobody_leaves_early_and_slashes_reach_the_queue() {
    let stage = set(async |stage| {
        let staking = stage.chain.contracts().staking;
        for role in ROLES {
            let rate = 300_000_000_000_000_000;
            stage.govern(staking, Contract::setRateCall { role: role as u8, rate }).await;
            let [lock, cooldown] = [HOUR, 6 * HOUR].map(Uint::from);
            let role = role as u8;
            stage.govern(staking, Contract::setTermsCall { role, lock, cooldown }).await;
        }
        for owner in OWNERS {
            for (role, operator) in
                ROLES.into_iter().flat_map(|role| OPERATORS.map(|operator| (role, operator)))
            {
                let by = stage.of(owner);
                by.stake(role, address(operator), amount(FIRST)).await.unwrap();
            }
        }
        let delay = Uint::from(4 * HOUR);
        stage.govern(staking, Contract::setSlashDelayCall { delay }).await;
    });
    let done = Done::default();
    explore(&stage, (14, 30..=60), step(), async |stage, steps| {
        let staking = stage.chain.contracts().staking;
        let contract = Contract::new(staking, stage.chain.provider().clone());
        let at = Vaults { stage, contract };
        let insured_before = stage.balance(address(Treasury)).await;
        let put_in = stage.balance(staking).await;
        let mut ledger = Ledger { put_in, insured_before, ..Ledger::default() };
        let mut times = Vec::new();
        for (count, step) in (1..).zip(steps) {
            ledger.play(&at, step, &done).await;
            times.push(stage.now().await - 1);
            // What is wrong once stays wrong, and there is much to ask.
            if count % 4 == 0 {
                ledger.check(&at).await;
            }
        }
        ledger.check(&at).await;
        ledger.check_past(&at, &times).await;
    });
    let steps = ["stake", "unbond", "withdraw", "slash of both", "SlashPending", "CooldownRunning"];
    done.assert_all(&steps);
}
