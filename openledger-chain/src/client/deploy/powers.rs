//! Who may do what: roles in the access manager and in the timelock.

use alloy::{
    primitives::{FixedBytes, keccak256},
    sol_types::SolCall,
};
use openledger_core::{Address, B256, Bytes, Result};

use super::{DeployOptions, numbers::Numbers};
use crate::{
    EvmChain, Tx,
    abi::{
        attribution_log::AttributionLog, ballot_box::BallotBox,
        contribution_registry::ContributionRegistry, open_timelock::OpenTimelock,
        reward_distributor::RewardDistributor, roles::Roles, staking::Staking,
    },
};

/// A power over the contracts.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Power {
    /// Everything that is restricted and nobody else's: governance, through the timelock.
    Admin,
    /// Pausing, and vetoes of what is not in force yet.
    Guardian,
    /// Submitting roots of claims.
    Updater,
    /// Carrying out what a dispute decided.
    Disputes,
    /// Making the timelock do something after its delay.
    Proposer,
    /// Taking back what waits in the timelock.
    Canceller,
    /// Changing who may make the timelock do something.
    TimelockAdmin,
}

const ADMIN: u64 = 0;
const GUARDIAN: u64 = 1;
const UPDATER: u64 = 2;
const DISPUTES: u64 = 3;

impl DeployOptions {
    /// Whether the deployer is meant to have a power, because it is also a node or the guardian.
    pub(super) fn gives(&self, power: Power) -> bool {
        match power {
            Power::Guardian => self.guardian == self.deployer,
            Power::Updater => self.nodes.contains(&self.deployer),
            _ => false,
        }
    }
}

impl EvmChain {
    /// Sets who may call what and hands the rest to the timelock.
    pub(super) async fn give_powers(
        &self,
        options: &DeployOptions,
        numbers: Numbers,
    ) -> Result<Vec<Tx>> {
        let at = &self.contracts;
        let log = AttributionLog::new(at.attributions, &self.provider);
        let window = log.setWindow(numbers.challenge_window);
        let mut txs = vec![self.send("set the challenge window", window).await?.tx];
        for &node in &options.nodes {
            txs.push(self.send("admit a node", log.admit(node)).await?.tx);
        }

        let mut calls: Vec<Bytes> = Vec::new();
        let mut assign = |target: Address, selectors: &[[u8; 4]], role: u64| {
            let selectors = selectors.iter().copied().map(FixedBytes::from).collect();
            let call = Roles::setTargetFunctionRoleCall { target, selectors, roleId: role };
            calls.push(call.abi_encode().into());
        };
        // Every pausable contract has the same `pause(uint128)`.
        let pause = AttributionLog::pauseCall::SELECTOR;
        for target in [
            at.datanets,
            at.contributions,
            at.grants,
            at.models,
            at.agents,
            at.attributions,
            at.escrow,
            at.disputes,
        ] {
            assign(target, &[pause], GUARDIAN);
        }
        let veto = RewardDistributor::vetoCall::SELECTOR;
        assign(at.distributor, &[pause, veto], GUARDIAN);
        assign(at.staking, &[pause, Staking::vetoSlashCall::SELECTOR], GUARDIAN);
        assign(at.ballots, &[BallotBox::cancelCall::SELECTOR], GUARDIAN);
        assign(at.distributor, &[RewardDistributor::submitRootCall::SELECTOR], UPDATER);
        let ends = [
            AttributionLog::holdCall::SELECTOR,
            AttributionLog::releaseCall::SELECTOR,
            AttributionLog::rejectCall::SELECTOR,
        ];
        assign(at.attributions, &ends, DISPUTES);
        let revoke = ContributionRegistry::revokeDisputedCall::SELECTOR;
        assign(at.contributions, &[revoke], DISPUTES);
        let punish = [Staking::proposeSlashCall::SELECTOR, Staking::addPenaltyCall::SELECTOR];
        assign(at.staking, &punish, DISPUTES);

        let mut give = |role: u64, account: Address| {
            let call = Roles::grantRoleCall { roleId: role, account, executionDelay: 0 };
            calls.push(call.abi_encode().into());
        };
        give(GUARDIAN, options.guardian);
        options.nodes.iter().for_each(|&node| give(UPDATER, node));
        give(DISPUTES, at.disputes);
        give(DISPUTES, at.timelock);
        give(ADMIN, at.timelock);
        let leave = Roles::renounceRoleCall { roleId: ADMIN, callerConfirmation: options.deployer };
        calls.push(leave.abi_encode().into());
        let manager = Roles::new(at.roles, &self.provider);
        txs.push(self.send("hand power to governance", manager.multicall(calls)).await?.tx);
        Ok(txs)
    }

    /// Returns the powers an account has over the contracts.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`](openledger_core::ErrorKind::Unavailable).
    pub async fn powers_of(&self, account: Address) -> Result<Vec<Power>> {
        let what = "ask for an account's powers";
        let mut powers = Vec::new();
        let manager = Roles::new(self.contracts.roles, &self.provider);
        for (role, power) in [
            (ADMIN, Power::Admin),
            (GUARDIAN, Power::Guardian),
            (UPDATER, Power::Updater),
            (DISPUTES, Power::Disputes),
        ] {
            if self.ask(what, manager.hasRole(role, account)).await?.isMember {
                powers.push(power);
            }
        }
        let timelock = OpenTimelock::new(self.contracts.timelock, &self.provider);
        for (role, power) in [
            (keccak256("PROPOSER_ROLE"), Power::Proposer),
            (keccak256("CANCELLER_ROLE"), Power::Canceller),
            (B256::ZERO, Power::TimelockAdmin),
        ] {
            if self.ask(what, timelock.hasRole(role, account)).await? {
                powers.push(power);
            }
        }
        Ok(powers)
    }
}
