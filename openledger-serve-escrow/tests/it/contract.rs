//! The contract of a till, over a script and over the escrow's contract.

use std::sync::Arc;

use async_trait::async_trait;
use openledger_chain::{DeployOptions, Deployed, EvmChain, Genesis, Payments, embedded};
use openledger_core::{Address, Amount, B256, Key};
use openledger_serve::pay::conformance::{self, Books};
use openledger_serve_escrow::{Escrow, EscrowOptions};

use crate::script::{NODE, PAYER, begin, request};

struct Look {
    chain: Arc<dyn Payments>,
    escrow: Escrow,
    payer: Address,
    node: Address,
}

impl std::fmt::Debug for Look {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Look")
    }
}

#[async_trait]
impl Books for Look {
    async fn free(&self) -> Amount {
        let lock = self.chain.reserved(self.payer, self.node).await.unwrap().amount;
        let standing = self.escrow.standing(self.payer);
        let left = lock.checked_sub(standing.held).and_then(|left| left.checked_sub(standing.owed));
        left.expect("no more is taken than is locked")
    }

    async fn spent(&self) -> Amount {
        self.escrow.standing(self.payer).owed
    }
}

#[tokio::test]
async fn a_script_conforms() {
    let (script, _, escrow) = begin();
    script.lock(PAYER, 100);
    let chain = Arc::new(script);
    let books = Look { chain, escrow: escrow.clone(), payer: PAYER, node: NODE };
    conformance::check(&escrow, &books, &request(PAYER)).await;
}

#[tokio::test]
async fn the_contracts_conform() {
    let keys = [1, 2].map(|byte| Key::from_bytes(B256::repeat_byte(byte)).unwrap());
    let [node, payer] = [keys[0].address(), keys[1].address()];
    let provider = embedded(Genesis::default(), &keys).unwrap();
    let options = DeployOptions::new(node);
    let Deployed { chain, .. } = EvmChain::deploy(provider, options).await.unwrap();
    chain.transfer(payer, Amount::OPEN).await.unwrap();
    let user = chain.sending_as(payer);
    user.deposit(Amount::OPEN).await.unwrap();
    let options = EscrowOptions::default();
    let until = chain.now().await.unwrap() + 2 * options.outlast;
    user.authorize(node, Amount::from(100), until).await.unwrap();

    let escrow = Escrow::on(&chain, node, options);
    let books = Look { chain: Arc::new(chain), escrow: escrow.clone(), payer, node };
    conformance::check(&escrow, &books, &request(payer)).await;
}
