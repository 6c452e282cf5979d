//! Disputes about receipts and contributions.

use async_trait::async_trait;
use openledger_core::{
    Address, Amount, B256, Error, ErrorKind, ReceiptId, Result, U256, keccak256,
};

use super::{super::narrow::narrow, attributions::BatchName, registry::ContributionName};
use crate::{
    EvmChain, Sent,
    abi::{
        dispute::{
            Dispute,
            Dispute::{Credited, Opened, Withdrawn},
        },
        open_token::OpenToken,
    },
};
use alloy::sol_types::SolValue;

/// Bonded disputes that staked validators decide by commit and reveal.
///
/// # Contract
/// - A batch that is disputed cannot be settled; one whose dispute is upheld never.
/// - What each side puts down goes to the other and to the validators, to the unit, if it loses.
/// - Every case ends: after its last window anybody can finalise it.
/// - What was paid or numbered is read from the transaction's logs, not from a call before it; a
///   receipt without that log is [`ErrorKind::Corrupt`], and nothing to send again.
#[async_trait]
pub trait Disputes: Send + Sync {
    /// Disputes the shares of a receipt of a batch that is not final; `evidence` is the digest of what
    /// the challenger publishes. Returns the case's number.
    ///
    /// # Errors
    /// [`ErrorKind::Denied`] if the batch is final, the receipt is not in it, the same is disputed
    /// already, the node is the sender, or the sender has less than the bond;
    /// [`ErrorKind::Unavailable`].
    async fn dispute_receipt(
        &self,
        batch: BatchName,
        receipt: ReceiptId,
        proof: &[B256],
        evidence: B256,
    ) -> Result<Sent<u64>>;

    /// Disputes a contribution.
    ///
    /// # Errors
    /// [`ErrorKind::Denied`] if there is no such contribution, the same is disputed already, the
    /// contributor is the sender, or the sender has less than the bond; [`ErrorKind::Unavailable`].
    async fn dispute_contribution(
        &self,
        name: &ContributionName,
        ground: Ground,
        evidence: B256,
    ) -> Result<Sent<u64>>;

    /// Puts the accused's bond down.
    ///
    /// # Errors
    /// [`ErrorKind::Denied`] if the case is not in its defence, the sender is not accused, has
    /// defended, or has less than the bond; [`ErrorKind::Unavailable`].
    async fn defend(&self, case: u64) -> Result<Sent>;

    /// Commits the sender, a validator, to a choice.
    ///
    /// # Errors
    /// [`ErrorKind::Denied`] if the case takes no commitments, the sender is a party, has no stake
    /// or has committed; [`ErrorKind::Unavailable`].
    async fn commit(&self, case: u64, choice: &Choice) -> Result<Sent>;

    /// Reveals what a validator committed to.
    ///
    /// # Errors
    /// [`ErrorKind::Denied`] if the case takes no choices, or this is not what was committed to, or
    /// was revealed; [`ErrorKind::Unavailable`].
    async fn reveal(&self, case: u64, voter: Address, choice: &Choice) -> Result<Sent>;

    /// Counts the votes; anybody may.
    ///
    /// # Errors
    /// [`ErrorKind::Denied`] if the case is not there yet or past it; [`ErrorKind::Unavailable`].
    async fn tally(&self, case: u64) -> Result<Sent>;

    /// Takes a case to governance, as a party that has not won.
    ///
    /// # Errors
    /// [`ErrorKind::Denied`] if the case cannot be appealed now, or the sender is no party, has
    /// won, or has less than two bonds; [`ErrorKind::Unavailable`].
    async fn appeal(&self, case: u64) -> Result<Sent>;

    /// Ends a case whose windows are over; anybody may.
    ///
    /// # Errors
    /// [`ErrorKind::Denied`] if the case is not decided or is over; [`ErrorKind::Unavailable`].
    async fn finalise(&self, case: u64) -> Result<Sent>;

    /// Credits a validator that was right with its part of the loser's bond; anybody may.
    ///
    /// # Errors
    /// [`ErrorKind::Denied`] if the case is not over, or the voter has nothing to get or has it;
    /// [`ErrorKind::Unavailable`].
    async fn claim_part(&self, case: u64, voter: Address) -> Result<Sent<Amount>>;

    /// Pays an account what cases credited it with; anybody may.
    ///
    /// # Errors
    /// [`ErrorKind::Denied`] if the account has no credit; [`ErrorKind::Unavailable`].
    async fn withdraw_credit(&self, account: Address) -> Result<Sent<Amount>>;

    /// Returns where a case stands.
    ///
    /// # Errors
    /// [`ErrorKind::Denied`] if there is no such case; [`ErrorKind::Unsupported`] for a phase this
    /// client does not know; [`ErrorKind::Unavailable`].
    async fn case(&self, case: u64) -> Result<CaseStatus>;
}

/// What is wrong with a contribution.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "numbered in deployed contracts")]
#[repr(u8)]
pub enum Ground {
    /// It repeats what is there.
    Redundant = 1,
    /// It is one-sided.
    Biased = 2,
    /// It is made to do harm.
    Adversarial = 3,
}

/// A validator's choice, and the salt that hides it until it is revealed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "the contract's commitment has exactly these")]
pub struct Choice {
    /// Whether the challenge is right.
    pub upheld: bool,
    /// Random, known to the voter alone.
    pub salt: B256,
}

/// Where a case stands.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct CaseStatus {
    /// Who challenged.
    pub challenger: Address,
    /// Who answers for it.
    pub accused: Address,
    /// How far it has come.
    pub phase: Phase,
    /// What was decided so far.
    pub verdict: Verdict,
    /// Seconds each window takes: defence, commit, reveal, appeal, ruling.
    pub windows: [u64; 5],
    /// What each side puts down.
    pub bond: Amount,
}

/// How far a case has come.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
#[expect(clippy::exhaustive_enums, reason = "numbered in deployed contracts")]
pub enum Phase {
    /// The accused may put a bond down.
    Defence,
    /// Validators commit.
    Commit,
    /// Validators reveal.
    Reveal,
    /// The votes can be counted.
    Tally,
    /// A party that has not won may appeal.
    Appeal,
    /// Governance may rule.
    Ruling,
    /// It can be finalised.
    Decided,
    /// It is over.
    Closed,
}

/// What a case was decided to be.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "numbered in deployed contracts")]
pub enum Verdict {
    /// Not decided yet.
    None,
    /// The challenge was right.
    Upheld,
    /// It was wrong.
    Dismissed,
    /// Too few voted, or as many for as against.
    Undecided,
}

impl EvmChain {
    /// Returns the commitment to a choice, as the contract computes it.
    fn commitment(&self, case: u64, voter: Address, choice: &Choice) -> B256 {
        let bound = (
            U256::from(self.chain_id),
            self.contracts.disputes,
            U256::from(case),
            voter,
            choice.upheld,
            choice.salt,
        );
        keccak256(bound.abi_encode_params())
    }

    /// Lets the dispute contract take the bond of a case opened now.
    async fn allow_bond(&self) -> Result<()> {
        let disputes = Dispute::new(self.contracts.disputes, &self.provider);
        let terms = self.ask("ask for the bond", disputes.terms()).await?;
        self.allow_taking(U256::from(terms.bond)).await
    }

    /// Lets the dispute contract take bonds of an open case, which keeps the terms it opened with.
    async fn allow_bonds_of(&self, case: u64, bonds: u64) -> Result<()> {
        let disputes = Dispute::new(self.contracts.disputes, &self.provider);
        let found = self.ask("ask for a case's bond", disputes.caseOf(U256::from(case))).await?;
        self.allow_taking(U256::from(found.terms.bond) * U256::from(bonds)).await
    }

    async fn allow_taking(&self, amount: U256) -> Result<()> {
        let token = OpenToken::new(self.contracts.token, &self.provider);
        let call = token.approve(self.contracts.disputes, amount);
        self.send("allow a bond to be taken", call).await.map(drop)
    }
}

#[async_trait]
impl Disputes for EvmChain {
    async fn dispute_receipt(
        &self,
        batch: BatchName,
        receipt: ReceiptId,
        proof: &[B256],
        evidence: B256,
    ) -> Result<Sent<u64>> {
        self.allow_bond().await?;
        let disputes = Dispute::new(self.contracts.disputes, &self.provider);
        let BatchName { node, root } = batch;
        let call = disputes.openReceipt(node, root, receipt.into(), proof.to_vec(), evidence);
        let sent = self.send("dispute a receipt", call).await?;
        let number = |event: Opened| narrow(event.id, "the number of a case");
        sent.told(self.contracts.disputes, number)
    }

    async fn dispute_contribution(
        &self,
        name: &ContributionName,
        ground: Ground,
        evidence: B256,
    ) -> Result<Sent<u64>> {
        self.allow_bond().await?;
        let disputes = Dispute::new(self.contracts.disputes, &self.provider);
        let ContributionName { datanet, contributor, root } = *name;
        let call =
            disputes.openContribution(datanet.into(), contributor, root, ground as u8, evidence);
        let sent = self.send("dispute a contribution", call).await?;
        let number = |event: Opened| narrow(event.id, "the number of a case");
        sent.told(self.contracts.disputes, number)
    }

    async fn defend(&self, case: u64) -> Result<Sent> {
        self.allow_bonds_of(case, 1).await?;
        let disputes = Dispute::new(self.contracts.disputes, &self.provider);
        self.send("defend", disputes.defend(U256::from(case))).await
    }

    async fn commit(&self, case: u64, choice: &Choice) -> Result<Sent> {
        let disputes = Dispute::new(self.contracts.disputes, &self.provider);
        let commitment = self.commitment(case, self.sender, choice);
        self.send("commit to a choice", disputes.commit(U256::from(case), commitment)).await
    }

    async fn reveal(&self, case: u64, voter: Address, choice: &Choice) -> Result<Sent> {
        let disputes = Dispute::new(self.contracts.disputes, &self.provider);
        let call = disputes.reveal(U256::from(case), voter, choice.upheld, choice.salt);
        self.send("reveal a choice", call).await
    }

    async fn tally(&self, case: u64) -> Result<Sent> {
        let disputes = Dispute::new(self.contracts.disputes, &self.provider);
        self.send("count a case's votes", disputes.tally(U256::from(case))).await
    }

    async fn appeal(&self, case: u64) -> Result<Sent> {
        self.allow_bonds_of(case, 2).await?;
        let disputes = Dispute::new(self.contracts.disputes, &self.provider);
        self.send("appeal", disputes.appeal(U256::from(case))).await
    }

    async fn finalise(&self, case: u64) -> Result<Sent> {
        let disputes = Dispute::new(self.contracts.disputes, &self.provider);
        self.send("finalise a case", disputes.finalise(U256::from(case))).await
    }

    async fn claim_part(&self, case: u64, voter: Address) -> Result<Sent<Amount>> {
        let disputes = Dispute::new(self.contracts.disputes, &self.provider);
        let call = disputes.claim(U256::from(case), voter);
        let sent = self.send("claim a validator's part", call).await?;
        // A part of less than a unit is not logged.
        let credited = sent.tx.event::<Credited>(self.contracts.disputes);
        let part = credited.map_or(Amount::ZERO, |event| Amount::new(event.amount));
        Ok(sent.map(|()| part))
    }

    async fn withdraw_credit(&self, account: Address) -> Result<Sent<Amount>> {
        let disputes = Dispute::new(self.contracts.disputes, &self.provider);
        let sent = self.send("withdraw a credit", disputes.withdraw(account)).await?;
        sent.told(self.contracts.disputes, |event: Withdrawn| Ok(Amount::new(event.amount)))
    }

    async fn case(&self, case: u64) -> Result<CaseStatus> {
        let disputes = Dispute::new(self.contracts.disputes, &self.provider);
        let what = "ask for a case";
        let found = self.ask(what, disputes.caseOf(U256::from(case))).await?;
        let phase = self.ask(what, disputes.phaseOf(U256::from(case))).await?;
        let terms = &found.terms;
        let unknown = |number: u8| {
            let message = format!("the contract knows a phase {number}, this client does not");
            Error::new(ErrorKind::Unsupported, message)
        };
        Ok(CaseStatus {
            challenger: found.subject.challenger,
            accused: found.subject.accused,
            phase: phase_of(phase).ok_or_else(|| unknown(phase))?,
            verdict: match found.progress.verdict {
                1 => Verdict::Upheld,
                2 => Verdict::Dismissed,
                3 => Verdict::Undecided,
                _ => Verdict::None,
            },
            windows: [terms.defence, terms.commit, terms.reveal, terms.appeal, terms.ruling]
                .map(|window| window.to()),
            bond: Amount::new(U256::from(terms.bond)),
        })
    }
}

const fn phase_of(number: u8) -> Option<Phase> {
    Some(match number {
        1 => Phase::Defence,
        2 => Phase::Commit,
        3 => Phase::Reveal,
        4 => Phase::Tally,
        5 => Phase::Appeal,
        6 => Phase::Ruling,
        7 => Phase::Decided,
        8 => Phase::Closed,
        _ => return None,
    })
}
