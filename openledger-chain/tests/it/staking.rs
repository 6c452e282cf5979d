//! Stake: what it earns, when it leaves, how it is lost.

use openledger_chain::{
    EvmChain, StakeRole, Staking,
    abi::staking::Staking as Contract,
    alloy::{primitives::Uint, providers::DynProvider},
};
use openledger_core::{Address, B256, U256};

use crate::{
    assert_denied, open,
    stage::{
        Person::{self, Alice, Bob, Carol, Guardian, Node, Treasury},
        Stage, address, amount, units,
    },
};

const DAY: u64 = 24 * 3_600;
const YEAR: u64 = 365 * DAY;
const ONE: u128 = 1_000_000_000_000_000_000;
const VALIDATOR: StakeRole = StakeRole::Validator;

impl Stage {
    fn staking(&self) -> Contract::StakingInstance<DynProvider> {
        Contract::new(self.chain.contracts().staking, self.chain.provider().clone())
    }

    async fn set_rate(&self, role: StakeRole, rate: u64) {
        let call = Contract::setRateCall { role: role as u8, rate };
        self.govern(self.chain.contracts().staking, call).await;
    }

    async fn set_terms(&self, role: StakeRole, lock: u64, cooldown: u64) {
        let (lock, cooldown) = (Uint::from(lock), Uint::from(cooldown));
        let call = Contract::setTermsCall { role: role as u8, lock, cooldown };
        self.govern(self.chain.contracts().staking, call).await;
    }

    async fn penalise(&self, operator: Person, points: u64) {
        let operator = address(operator);
        let call = Contract::addPenaltyCall { role: VALIDATOR as u8, operator, points };
        self.govern(self.chain.contracts().staking, call).await;
    }

    /// Returns the number of the slash.
    async fn propose_slash(&self, operator: Person, bps: u16) -> u64 {
        let count: u64 = self.staking().slashCount().call().await.unwrap().to();
        let (operator, evidence) = (address(operator), B256::repeat_byte(0xee));
        let call = Contract::proposeSlashCall { role: VALIDATOR as u8, operator, bps, evidence };
        self.govern(self.chain.contracts().staking, call).await;
        count
    }

    async fn active(&self, role: StakeRole, operator: Person) -> u128 {
        units(self.chain.stake_of(role, address(operator)).await.unwrap().active)
    }

    async fn queued(&self, operator: Person) -> u128 {
        units(self.chain.stake_of(VALIDATOR, address(operator)).await.unwrap().queued)
    }

    async fn shares(&self, operator: Person, owner: Person) -> U256 {
        self.chain.position(VALIDATOR, address(operator), address(owner)).await.unwrap().0
    }
}

async fn stake(by: &EvmChain, operator: Person, opens: u64) {
    by.stake(VALIDATOR, address(operator), open(opens)).await.unwrap();
}

/// Leaves with a part of one's position behind an operator; returns the number of the exit.
async fn unbond(stage: &Stage, by: Person, operator: Person, part: u64) -> u64 {
    let shares = stage.shares(operator, by).await / U256::from(part);
    stage.of(by).unbond(VALIDATOR, address(operator), shares).await.unwrap().value
}

/// Asserts that two amounts are equal but for a part in 10^12 and two units.
#[track_caller]
fn assert_near(have: u128, want: f64) {
    let error = (have as f64 - want).abs();
    assert!(error <= want * 1e-12 + 2.0, "{have} is not about {want}");
}

#[tokio::test]
async fn stake_belongs_to_who_put_it_down_and_works_for_whom_it_is_behind() {
    let stage = Stage::new().await;
    let before = stage.balance(address(Bob)).await;
    stake(&stage.of(Alice), Alice, 100).await;
    stake(&stage.of(Bob), Alice, 50).await;
    assert_eq!(stage.active(VALIDATOR, Alice).await, 150 * ONE);
    assert_eq!(stage.active(VALIDATOR, Bob).await, 0, "a delegation is not the delegator's");
    assert_eq!(stage.active(StakeRole::Agent, Alice).await, 0, "nor another role's");
    for (owner, opens) in [(Alice, 100), (Bob, 50)] {
        let position = stage.chain.position(VALIDATOR, address(Alice), address(owner));
        assert_near(units(position.await.unwrap().1), opens as f64 * 1e18);
    }
    assert_eq!(stage.balance(address(Bob)).await, before - 50 * ONE);
    assert_eq!(stage.balance(stage.chain.contracts().staking).await, 150 * ONE);
}

#[tokio::test]
async fn nobody_leaves_with_more_shares_than_it_has() {
    let stage = Stage::new().await;
    stake(&stage.of(Alice), Alice, 100).await;
    stake(&stage.of(Bob), Alice, 50).await;
    stage.pass(7 * DAY).await;
    let shares = stage.shares(Alice, Bob).await;
    let bob = stage.of(Bob);
    let more = bob.unbond(VALIDATOR, address(Alice), shares + U256::ONE).await;
    assert_denied(more, "SharesTooFew");
    assert_denied(bob.unbond(VALIDATOR, address(Bob), U256::ONE).await, "SharesTooFew");
    bob.unbond(VALIDATOR, address(Alice), shares).await.unwrap();
    assert_near(stage.active(VALIDATOR, Alice).await, 1e20);
}

#[tokio::test]
async fn a_stake_is_locked_and_another_locks_it_anew() {
    let stage = Stage::new().await;
    let alice = stage.of(Alice);
    stake(&alice, Alice, 100).await;
    let one = U256::from(ONE);
    let leave = || alice.unbond(VALIDATOR, address(Alice), one);
    stage.pass(7 * DAY - 10).await;
    assert_denied(leave().await, "StakeLocked");
    stage.pass(10).await;
    leave().await.unwrap();
    stake(&alice, Alice, 1).await;
    assert_denied(leave().await, "StakeLocked");
    stage.set_terms(VALIDATOR, 0, 0).await;
    assert_denied(leave().await, "StakeLocked");
    stage.pass(7 * DAY).await;
    leave().await.unwrap();
}

#[tokio::test]
async fn each_exit_waits_for_its_own_cooldown_whatever_is_decided_later() {
    let stage = Stage::new().await;
    stake(&stage.of(Alice), Alice, 100).await;
    stage.pass(7 * DAY).await;
    let first = unbond(&stage, Alice, Alice, 2).await;
    stage.pass(DAY).await;
    let second = unbond(&stage, Alice, Alice, 2).await;
    stage.set_terms(VALIDATOR, 0, 100 * DAY).await;
    let third = unbond(&stage, Alice, Alice, 1).await;
    assert_eq!([first, second, third], [0, 1, 2]);
    assert_near(stage.queued(Alice).await, 1e20);
    assert_eq!(stage.active(VALIDATOR, Alice).await, 0);

    let alice = stage.of(Alice);
    let withdraw = |exit| alice.withdraw_stake(VALIDATOR, address(Alice), exit);
    assert_denied(withdraw(first).await, "CooldownRunning");
    stage.pass(27 * DAY).await;
    assert_near(units(withdraw(first).await.unwrap().value), 5e19);
    assert_denied(withdraw(first).await, "ExitDone");
    assert_denied(withdraw(second).await, "CooldownRunning");
    stage.pass(DAY).await;
    assert_near(units(withdraw(second).await.unwrap().value), 2.5e19);
    stage.set_terms(VALIDATOR, 0, 0).await;
    assert_denied(withdraw(third).await, "CooldownRunning");
    stage.pass(72 * DAY).await;
    assert_near(units(withdraw(third).await.unwrap().value), 2.5e19);
    assert_denied(withdraw(3).await, "ExitUnknown");
    assert_denied(
        stage.of(Bob).withdraw_stake(VALIDATOR, address(Alice), first).await,
        "ExitUnknown",
    );
    assert_eq!(stage.queued(Alice).await, 0);
    assert_near(stage.balance(address(Alice)).await, 1e24);
}

#[tokio::test]
async fn stake_grows_as_amount_times_exp_of_rate_and_time_however_often_it_is_written_down() {
    let stage = Stage::new().await;
    let roles = [VALIDATOR, StakeRole::Agent];
    let mut since = Vec::new();
    for role in roles {
        stage.set_rate(role, 250_000_000_000_000_000).await;
        stage.chain.fund_growth(role, open(10_000)).await.unwrap();
        stage.of(Alice).stake(role, address(Alice), open(1_000)).await.unwrap();
        since.push(stage.now().await);
    }
    // The one is looked at once, the other every month or so, by whoever pays one unit for it.
    for _ in 0..24 {
        stage.pass(30 * DAY + 7).await;
        stage.chain.fund_growth(StakeRole::Agent, amount(1)).await.unwrap();
    }
    let now = stage.now().await;
    for (role, since) in roles.into_iter().zip(since) {
        let years = (now - since) as f64 / YEAR as f64;
        assert!(years > 1.9, "long enough to tell compound from simple growth");
        assert_near(stage.active(role, Alice).await, 1e21 * (0.25 * years).exp());
    }
}

#[tokio::test]
async fn growth_ends_with_what_was_funded_and_is_not_owed_later() {
    let stage = Stage::new().await;
    stage.set_rate(VALIDATOR, 1_000_000_000_000_000_000).await;
    stage.chain.fund_growth(VALIDATOR, open(5)).await.unwrap();
    stake(&stage.of(Alice), Alice, 100).await;
    stage.pass(YEAR).await;
    assert_near(stage.active(VALIDATOR, Alice).await, 1.05e20);
    stage.chain.fund_growth(VALIDATOR, open(1_000)).await.unwrap();
    let since = stage.now().await;
    assert_near(stage.active(VALIDATOR, Alice).await, 1.05e20);
    stage.pass(YEAR / 2).await;
    let years = (stage.now().await - since) as f64 / YEAR as f64;
    assert_near(stage.active(VALIDATOR, Alice).await, 1.05e20 * years.exp());
}

#[tokio::test]
async fn what_grew_is_paid_out() {
    let stage = Stage::new().await;
    stage.set_rate(VALIDATOR, 100_000_000_000_000_000).await;
    stage.chain.fund_growth(VALIDATOR, open(1_000)).await.unwrap();
    stake(&stage.of(Alice), Alice, 300).await;
    stake(&stage.of(Bob), Alice, 100).await;
    stage.pass(YEAR).await;
    let grown = stage.active(VALIDATOR, Alice).await as f64;
    let exit = unbond(&stage, Bob, Alice, 1).await;
    stage.pass(28 * DAY).await;
    let paid = stage.of(Bob).withdraw_stake(VALIDATOR, address(Alice), exit).await.unwrap();
    let paid = units(paid.value) as f64;
    assert!((paid / grown - 0.25).abs() < 1e-7, "a quarter of the vault, {paid} of {grown}");
    assert!(paid > 1.1e20, "with its growth");
}

#[tokio::test]
async fn stakes_stop_at_the_caps_of_operator_and_role() {
    let stage = Stage::new().await;
    let (role_cap, operator_cap) = (150 * ONE, 100 * ONE);
    let call = Contract::setCapsCall {
        role: VALIDATOR as u8,
        roleCap: role_cap,
        operatorCap: operator_cap,
    };
    stage.govern(stage.chain.contracts().staking, call).await;
    stake(&stage.of(Alice), Alice, 100).await;
    let bob = stage.of(Bob);
    let more = |operator, units| bob.stake(VALIDATOR, address(operator), amount(units));
    assert_denied(more(Alice, 1_000).await, "OperatorCapExceeded");
    assert_denied(more(Bob, 50 * ONE + 1_000).await, "RoleCapExceeded");
    more(Bob, 50 * ONE).await.unwrap();
    assert_denied(more(Carol, 1_000).await, "RoleCapExceeded");
    bob.stake(StakeRole::Agent, address(Alice), open(1_000)).await.unwrap();
}

#[tokio::test]
async fn a_penalty_over_the_threshold_lowers_growth_from_then_on_and_nothing_before() {
    let stage = Stage::new().await;
    stage.set_rate(VALIDATOR, 400_000_000_000_000_000).await;
    stage.chain.fund_growth(VALIDATOR, open(100_000)).await.unwrap();
    for (person, points) in [(Alice, 0), (Bob, 99), (Carol, 0)] {
        stake(&stage.of(person), person, 1_000).await;
        if points > 0 {
            stage.penalise(person, points).await;
        }
    }
    stage.pass(YEAR).await;
    stage.penalise(Carol, 100).await;
    let (whole, before) =
        (stage.active(VALIDATOR, Alice).await, stage.active(VALIDATOR, Carol).await);
    let gap = whole.abs_diff(before) as f64 / whole as f64;
    assert!(gap < 1e-6, "what it had grown stays: {before} of {whole}");
    let since = stage.now().await;
    stage.pass(YEAR).await;
    let years = (stage.now().await - since) as f64 / YEAR as f64;
    let growth = async |person, before: u128| {
        (stage.active(VALIDATOR, person).await as f64 / before as f64).ln() / years
    };
    let near = |rate: f64, want: f64| assert!((rate - want).abs() < 1e-9, "{rate} for {want}");
    near(growth(Alice, whole).await, 0.4);
    near(growth(Carol, before).await, 0.2);
    assert!(growth(Bob, 1_000 * ONE).await > 0.7, "a point under the threshold cuts nothing");

    let (role, operator) = (VALIDATOR as u8, address(Carol));
    let call = Contract::forgiveCall { role, operator, points: 1 };
    stage.govern(stage.chain.contracts().staking, call).await;
    let (since, forgiven) = (stage.now().await, stage.active(VALIDATOR, Carol).await);
    stage.pass(YEAR).await;
    let years = (stage.now().await - since) as f64 / YEAR as f64;
    near((stage.active(VALIDATOR, Carol).await as f64 / forgiven as f64).ln() / years, 0.4);
    assert_eq!(stage.chain.stake_of(VALIDATOR, operator).await.unwrap().penalty, 99);
}

#[tokio::test]
async fn a_slash_waits_while_nobody_leaves_and_the_guardian_can_veto_it() {
    let stage = Stage::new().await;
    stake(&stage.of(Alice), Alice, 100).await;
    stage.pass(7 * DAY).await;
    let exit = unbond(&stage, Alice, Alice, 2).await;
    stage.pass(28 * DAY).await;
    let slash = stage.propose_slash(Alice, 1_000).await;
    let status = stage.chain.stake_of(VALIDATOR, address(Alice)).await.unwrap();
    assert_eq!(status.pending_slashes, 1);
    let alice = stage.of(Alice);
    let withdraw = || alice.withdraw_stake(VALIDATOR, address(Alice), exit);
    assert_denied(withdraw().await, "SlashPending");
    assert_denied(stage.chain.execute_slash(slash).await, "SlashTooEarly");
    for person in [Alice, Node, Treasury] {
        assert_denied(stage.of(person).veto_slash(slash).await, "AccessManagedUnauthorized");
    }
    stage.of(Guardian).veto_slash(slash).await.unwrap();
    stage.pass(2 * DAY).await;
    assert_denied(stage.chain.execute_slash(slash).await, "SlashDecided");
    assert_denied(stage.of(Guardian).veto_slash(slash).await, "SlashDecided");
    assert_near(units(withdraw().await.unwrap().value), 5e19);
    assert_near(stage.active(VALIDATOR, Alice).await, 5e19);
}

#[tokio::test]
async fn a_slash_takes_the_same_part_of_stake_and_queue_from_everybody_and_insures_with_it() {
    let stage = Stage::new().await;
    stake(&stage.of(Alice), Alice, 100).await;
    stake(&stage.of(Bob), Alice, 60).await;
    stake(&stage.of(Carol), Carol, 40).await;
    stage.pass(7 * DAY).await;
    // Whoever sees it coming leaves too late.
    let exit = unbond(&stage, Bob, Alice, 2).await;
    let insured = stage.balance(address(Treasury)).await;
    let slash = stage.propose_slash(Alice, 2_500).await;
    stage.pass(2 * DAY).await;
    stage.of(Node).execute_slash(slash).await.unwrap();

    assert_near(stage.active(VALIDATOR, Alice).await, 130e18 * 0.75);
    assert_near(stage.queued(Alice).await, 30e18 * 0.75);
    assert_eq!(stage.active(VALIDATOR, Carol).await, 40 * ONE, "nobody else's");
    let taken = stage.balance(address(Treasury)).await - insured;
    assert_near(taken, 160e18 * 0.25);
    assert_denied(stage.chain.execute_slash(slash).await, "SlashDecided");
    stage.pass(28 * DAY).await;
    let paid = stage.of(Bob).withdraw_stake(VALIDATOR, address(Alice), exit).await.unwrap();
    assert_near(units(paid.value), 22.5e18);
}

#[tokio::test]
async fn two_slashes_one_after_the_other_leave_a_part_of_a_part() {
    let stage = Stage::new().await;
    stake(&stage.of(Alice), Alice, 100).await;
    let slashes =
        [stage.propose_slash(Alice, 5_000).await, stage.propose_slash(Alice, 5_000).await];
    assert_eq!(slashes, [0, 1]);
    stage.pass(3 * DAY).await;
    for slash in slashes {
        stage.chain.execute_slash(slash).await.unwrap();
    }
    assert_near(stage.active(VALIDATOR, Alice).await, 25e18);
    assert_denied(stage.chain.execute_slash(2).await, "SlashUnknown");
}

#[tokio::test]
async fn a_vault_that_lost_everything_takes_no_more_stake() {
    let stage = Stage::new().await;
    stake(&stage.of(Alice), Alice, 100).await;
    let slash = stage.propose_slash(Alice, 10_000).await;
    stage.pass(2 * DAY).await;
    stage.chain.execute_slash(slash).await.unwrap();
    assert_eq!(stage.active(VALIDATOR, Alice).await, 0);
    let again = stage.of(Bob).stake(VALIDATOR, address(Alice), open(1)).await;
    assert_denied(again, "VaultClosed");
}

#[tokio::test]
async fn past_stake_stays_what_it_was() {
    let stage = Stage::new().await;
    stake(&stage.of(Alice), Alice, 100).await;
    stake(&stage.of(Bob), Bob, 50).await;
    let then = stage.now().await;
    stage.pass(7 * DAY).await;
    unbond(&stage, Alice, Alice, 1).await;
    stake(&stage.of(Bob), Bob, 25).await;
    stage.pass(10).await;
    let now = stage.now().await - 1;
    let staking = stage.staking();
    let past = async |who: Address, time: u64| -> u128 {
        staking.getPastStake(VALIDATOR as u8, who, Uint::from(time)).call().await.unwrap().to()
    };
    let times = [then - 10, then, now];
    let mut told = Vec::new();
    for time in times {
        told.push([past(address(Alice), time).await, past(address(Bob), time).await]);
    }
    assert_eq!(told, [[0, 0], [100 * ONE, 50 * ONE], [0, 75 * ONE]]);
    for (time, told) in times.into_iter().zip(told) {
        let total = staking.getPastTotalStake(VALIDATOR as u8, Uint::from(time)).call().await;
        assert_eq!(total.unwrap(), U256::from(told[0] + told[1]), "operators' sum to the role's");
    }
}
