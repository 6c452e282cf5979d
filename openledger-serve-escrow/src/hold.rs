//! Money held for one answer.

use openledger_core::{Address, Amount};
use openledger_serve::Hold;

use crate::{
    books::Books,
    payer::{Ask, minus},
};

/// A part of a lock; what is left of it is given back at the end.
#[derive(Debug)]
pub(crate) struct Held {
    books: Books,
    payer: Address,
    amount: Amount,
}

impl Held {
    /// Takes over what the books count as held.
    pub(crate) const fn new(books: Books, Ask { payer, amount }: Ask) -> Self {
        Self { books, payer, amount }
    }
}

impl Hold for Held {
    fn charge(mut self: Box<Self>, amount: Amount) {
        let taken = amount.min(self.amount);
        self.books.release(self.payer, taken, taken);
        self.amount = minus(self.amount, taken);
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.books.release(self.payer, self.amount, Amount::ZERO);
    }
}
