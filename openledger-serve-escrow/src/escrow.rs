//! The till whose money is locked on chain.

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use futures::FutureExt;
use openledger_chain::{Charge, EvmChain, Payments, Sent};
use openledger_core::{Address, Amount, B256, Error, ErrorKind, Result};
use openledger_serve::{Generate, Hold, Till};

use crate::{
    EscrowOptions, Standing,
    books::Books,
    payer::{Ask, NotHeld, Reading},
    refusal::{Place, no_payer, own_lock},
    settling::Settling,
};

/// Holds for answers what payers locked for a node in the escrow on chain. Clones share their books.
///
/// What can be held is the lock less what answers under way hold and less what was charged and is not
/// settled yet. The lock is read again when the reading is old or not enough, once for all who wait for
/// it; while it is young and enough, a chain that does not answer is not noticed.
///
/// Whoever cannot pay is refused with terms, which are the arguments of the escrow's `authorize` as
/// JSON: `{"scheme":"openledger-escrow","chainId":1,"escrow":"0x…","node":"0x…","amount":"66","until":1767225600}`,
/// where `amount` is what is missing and may be zero, if only the time is. A node cannot pay itself: its lock
/// for itself is what x402's clients paid for other answers.
///
/// # What has to be true
/// - A request's tenant is who it says: whoever gives out keys gives those of an address to its owner.
/// - One `Escrow` answers for a node: another process does not know what this one holds.
/// - The chain does not go back: a reading that begins after a settlement was included tells of it. Where
///   several machines answer for a provider, let this one ask always the same.
/// - Nothing is kept on disk. The record is the node's log of receipts: after a restart, before the first
///   request, [`owe`](Self::owe) what they say that is not settled.
/// - What is charged here is what receipts say: the same price on both sides. An answer that was charged and
///   got no receipt, because its attribution failed, is in no batch: its charge is owed until
///   [`settled`](Self::settled) takes it off, after the answer's end, which tells the charge.
///
/// # Examples
/// ```
/// use openledger_chain::{DeployOptions, EvmChain, Genesis, Payments, embedded};
/// use openledger_core::{Amount, B256, Key};
/// use openledger_serve::{Generate, PaymentRequired, Till};
/// use openledger_serve_escrow::{Escrow, EscrowOptions};
///
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// let keys = [7, 8].map(|byte| Key::from_bytes(B256::repeat_byte(byte)).unwrap());
/// let [node, payer] = [keys[0].address(), keys[1].address()];
/// let provider = embedded(Genesis::default(), &keys)?;
/// let chain = EvmChain::deploy(provider, DeployOptions::new(node)).await?.chain;
/// chain.transfer(payer, Amount::OPEN).await?;
/// let user = chain.sending_as(payer);
/// user.deposit(Amount::OPEN).await?;
/// let next_week = chain.now().await? + 7 * 24 * 3_600;
/// user.authorize(node, Amount::from(100), next_week).await?;
///
/// let till = Escrow::on(&chain, node, EscrowOptions::default());
/// let request = Generate::new(vec![5, 6, 7]).with_tenant(payer.to_string());
/// till.reserve(&request, Amount::from(60)).await?.charge(Amount::from(35));
/// assert_eq!(till.standing(payer).owed, Amount::from(35));
///
/// let error = till.reserve(&request, Amount::from(66)).await.unwrap_err();
/// let terms = PaymentRequired::of(&error).unwrap().terms.clone().unwrap();
/// assert!(terms.contains(r#""amount":"1""#), "65 are left of 100");
/// # Ok::<(), openledger_core::Error>(())
/// # }).unwrap();
/// ```
#[derive(Clone)]
pub struct Escrow {
    chain: Arc<dyn Payments>,
    node: Address,
    books: Books,
}

impl Escrow {
    /// Takes payments to `node`, as which `chain` sends.
    pub fn new(chain: Arc<dyn Payments>, node: Address, options: EscrowOptions) -> Self {
        Self { chain, node, books: Books::new(options) }
    }

    /// Takes payments to `node`, whose key the provider of `chain` has.
    pub fn on(chain: &EvmChain, node: Address, options: EscrowOptions) -> Self {
        let options = options.with_contract(chain.chain_id(), chain.contracts().escrow);
        Self::new(Arc::new(chain.sending_as(node)), node, options)
    }

    /// Settles a final batch, then takes what it charged off what payers owe.
    ///
    /// Until that is certain they owe it: after an error, or when the future is dropped, the batch may
    /// be settled all the same, and less can be held than there is, never more. Settle again: a
    /// transaction that was sent is followed up. If the chain then says that the batch was settled, and it
    /// was with these charges, tell it by [`settled`](Self::settled). One payer whose lock has ended fails
    /// the whole batch: leave its charge out and give it up, by [`settled`](Self::settled), too.
    ///
    /// # Errors
    /// [`ErrorKind::Conflict`] before anything is sent, if a payer owes less here than is charged; what
    /// [`Payments::settle`] says.
    pub async fn settle(&self, batch: B256, charges: &[Charge]) -> Result<Sent<Amount>> {
        let settling = Settling::begin(&self.books, charges)?;
        let sent = self.chain.settle(batch, charges).await?;
        settling.done();
        Ok(sent)
    }

    /// Takes off what payers owe, for charges that were settled in another way, or never will be: the batch
    /// was rejected, the lock has ended, an answer got no receipt. Once for each charge, and not before the settlement is included.
    ///
    /// # Errors
    /// [`ErrorKind::Conflict`] if a payer owes less here; then nothing is taken off.
    pub fn settled(&self, charges: &[Charge]) -> Result<()> {
        Settling::begin(&self.books, charges)?.done();
        Ok(())
    }

    /// Adds to what payers owe: charges of receipts from before a restart that were not settled.
    pub fn owe(&self, charges: &[Charge]) {
        self.books.owe(charges);
    }

    /// Returns what is known of a payer, without asking the chain.
    pub fn standing(&self, payer: Address) -> Standing {
        self.books.standing(payer)
    }

    /// Returns how many payers are remembered: those who hold or owe something, and those of whom the chain was
    /// asked lately. Some who are not are counted until others come in their place.
    pub fn payers(&self) -> usize {
        self.books.payers()
    }

    fn reading(&self, payer: Address) -> Reading {
        let at = self.books.options().now();
        self.books.reading(payer, |number| {
            let Self { chain, node, books } = self.clone();
            let read = async move {
                let told = chain.reserved(payer, node).await;
                books.land(payer, number, at, told.as_ref().ok().copied());
                told.map(drop).map_err(Arc::new)
            };
            read.boxed().shared()
        })
    }
}

#[async_trait]
impl Till for Escrow {
    async fn reserve(&self, request: &Generate, amount: Amount) -> Result<Box<dyn Hold>> {
        let options = self.books.options();
        let place = Place { node: self.node, escrow: options.contract };
        let least = options.now().saturating_add(options.outlast);
        let payer = options.payer(request).ok_or_else(|| no_payer(place, amount, least))?;
        if payer == self.node {
            return Err(own_lock(place, amount, least));
        }
        let mut has_read = false;
        // Round again after a reading, and once more if a settlement ended meanwhile.
        loop {
            match self.books.hold(Ask { payer, amount }, has_read) {
                Ok(held) => return Ok(Box::new(held)),
                Err(NotHeld::Unknown) => {}
                Err(NotHeld::Settling) => {
                    let message = format!("a settlement with {payer} is under way");
                    return Err(Error::new(ErrorKind::Unavailable, message));
                }
                Err(NotHeld::Short(short)) => return Err(short.into_error(place)),
            }
            self.reading(payer).await.map_err(|e| {
                let message = format!("cannot read what {payer} locked for {}", self.node);
                Error::new(ErrorKind::Unavailable, message).with_source(e)
            })?;
            has_read = true;
        }
    }
}

impl fmt::Debug for Escrow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Escrow")
            .field("node", &self.node)
            .field("books", &self.books)
            .finish_non_exhaustive()
    }
}
