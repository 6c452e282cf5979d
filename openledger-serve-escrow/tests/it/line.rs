//! The whole line: money is locked, answers are given, their batch is settled, and every unit is somewhere.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicU64, Ordering},
};

use openledger_chain::{
    Attributions, Batch, Charge, DeployOptions, Deployed, DevNode, EvmChain, Genesis, Payments,
    Revert, embedded,
    settlement::{Before, EpochBuilder},
};
use openledger_core::{
    Address, Amount, B256, DatanetId, Key, Receipt, Result, RowId, RowShare, Shares, U256,
    message::{Nonces, Signed},
    share::WHOLE,
};
use openledger_model::{Adapter, LoraConfig, testing};
use openledger_serve::{
    Adapters, Answer, Engine, EngineOptions, Event, Generate, PayLayer, PaymentRequired,
    QueueOptions, ReceiptLayer, Terms, Till,
};
use openledger_serve_escrow::{Escrow, EscrowOptions};
use tower::{Service, ServiceBuilder, ServiceExt};

const DAY: u64 = 24 * 3_600;
const WINDOW: u64 = 1_800;
/// What the payer locks.
const LOCKED: u64 = 100;
const CONTRIBUTOR: Address = Address::repeat_byte(0xc0);

/// 1 for a token read, 10 for one written.
fn price(read: u64, written: u64) -> Result<Amount> {
    Ok(Amount::from(read.saturating_add(written.saturating_mul(10))))
}

struct World {
    chain: EvmChain,
    dev: DevNode,
    node: Key,
    payer: Address,
}

impl World {
    /// A chain on which a payer has locked money for a node.
    async fn new() -> Self {
        let [admin, node, payer] =
            [1, 2, 3].map(|byte| Key::from_bytes(B256::repeat_byte(byte)).unwrap());
        let payer_at = payer.address();
        let keys = [admin.clone(), node.clone(), payer];
        let provider = embedded(Genesis::default(), &keys).unwrap();
        let options = DeployOptions::new(admin.address())
            .with_nodes([node.address()])
            .with_delays(WINDOW, WINDOW, WINDOW);
        let Deployed { chain, .. } = EvmChain::deploy(provider.clone(), options).await.unwrap();
        chain.transfer(payer_at, Amount::OPEN).await.unwrap();
        let user = chain.sending_as(payer_at);
        user.deposit(Amount::from(1_000)).await.unwrap();
        let later = chain.now().await.unwrap() + 2 * DAY;
        user.authorize(node.address(), Amount::from(LOCKED), later).await.unwrap();
        Self { chain, dev: DevNode::new(provider), node, payer: payer_at }
    }

    fn as_node(&self) -> EvmChain {
        self.chain.sending_as(self.node.address())
    }

    async fn locked(&self) -> Amount {
        self.chain.reserved(self.payer, self.node.address()).await.unwrap().amount
    }

    async fn distributed(&self) -> Amount {
        self.chain.balance(self.chain.contracts().distributor).await.unwrap()
    }

    /// Logs the receipts as a batch; returns its root, what payers owe, and when it is final.
    async fn log(&self, receipts: &[Signed<Receipt>]) -> (B256, Vec<Charge>, u64) {
        let node = self.as_node();
        let (domain, now) = (node.receipt_domain(), node.now().await.unwrap());
        let (split, accounts) = node.fee_split().await.unwrap();
        let mut epoch = EpochBuilder::new(split, accounts, Before::default());
        let mut nonces = Nonces::default();
        for receipt in receipts {
            let verified = receipt.verify(&domain, now, &mut nonces).unwrap();
            epoch.add(&verified, Address::repeat_byte(0x0e)).unwrap();
        }
        let batch = Batch {
            epoch: 0,
            model: receipts[0].unverified().model.into(),
            root: epoch.batch().unwrap().root(),
            body: B256::ZERO,
            receipts: receipts.len() as u64,
        };
        let logged = node.log_batch(&batch).await.unwrap();
        let charges = epoch.charges().map(|(payer, amount)| Charge { payer, amount });
        let charges: Vec<Charge> = charges.collect();
        let final_at = node.batch(logged.value).await.unwrap().final_at;
        (batch.root, charges, final_at)
    }
}

/// Signs a receipt for each answer, over what was charged for it.
fn receipts(world: &World, kept: &Arc<Mutex<Vec<Signed<Receipt>>>>) -> ReceiptLayer {
    let (nonce, kept) = (AtomicU64::new(1), Arc::clone(kept));
    let share = RowShare {
        row: RowId::from(B256::ZERO),
        datanet: DatanetId::from(B256::ZERO),
        contributor: CONTRIBUTOR,
        weight: WHOLE,
    };
    let shares = Shares::new(vec![share]).unwrap();
    let terms = move |answer: &Answer| {
        Ok(Terms {
            datanets: Vec::new(),
            method: "one row".to_owned(),
            shares: shares.clone(),
            fee: price(answer.usage.tokens_in as u64, answer.usage.tokens_out as u64)?,
            payer: answer.request.tenant.as_deref().unwrap().parse().unwrap(),
            nonce: U256::from(nonce.fetch_add(1, Ordering::Relaxed)),
            deadline: u64::MAX >> 24,
            prompt: None,
        })
    };
    let keep = move |_: &Answer, signed: &Result<Signed<Receipt>>| {
        kept.lock().unwrap().push(signed.as_ref().unwrap().clone());
    };
    let (model, key) = (Arc::new(testing::tiny(1).unwrap()), world.node.clone());
    let domain = world.chain.receipt_domain();
    ReceiptLayer::start(model, key, domain, terms, keep, QueueOptions::default()).unwrap()
}

#[tokio::test]
async fn fees_move_from_the_lock_to_the_distributor_and_nowhere_else() {
    let world = World::new().await;
    let now = Arc::new(AtomicU64::new(world.chain.now().await.unwrap()));
    let clock = Arc::clone(&now);
    let options = EscrowOptions::default()
        .with_outlast(DAY)
        .with_clock(move || clock.load(Ordering::Relaxed));
    let node = world.node.address();
    let till = Escrow::on(&world.chain, node, options.clone());

    let model = Arc::new(testing::tiny(1).unwrap());
    let config = LoraConfig::default();
    let lora = testing::lora(&model, &config, 3).unwrap();
    let adapter = Adapter::load(model.network(), &lora.to_files(model.network(), &config)).unwrap();
    let adapters = Adapters::new(Arc::clone(&model));
    adapters.insert("law", adapter).unwrap();
    let lease = adapters.lease("law").await.unwrap();
    let engine = Engine::start(model, EngineOptions::default()).unwrap();
    let kept = Arc::default();
    let signed = receipts(&world, &kept);
    let pay = PayLayer::new(Arc::new(till.clone()), price);
    let mut service = ServiceBuilder::new().layer(pay).layer(signed.clone()).service(engine);
    let request = |tokens: usize| {
        Generate::new(vec![5, 6, 7])
            .with_adapter(lease.clone())
            .with_max_tokens(tokens)
            .with_ignore_eos(true)
            .with_tenant(world.payer.to_string())
    };

    // Two answers, 43 and 33 of 100.
    let mut charged = Vec::new();
    for tokens in [4, 3] {
        let mut answer = service.ready().await.unwrap().call(request(tokens)).await.unwrap();
        assert_eq!(till.standing(world.payer).held, price(3, tokens as u64).unwrap());
        while let Some(event) = futures::StreamExt::next(&mut answer).await {
            if let Event::Charged(amount) = event.unwrap() {
                charged.push(amount);
            }
        }
    }
    assert_eq!(charged, [43.into(), 33.into()]);
    let refused = service.ready().await.unwrap().call(request(3)).await.unwrap_err();
    assert_eq!(PaymentRequired::of(&refused).unwrap().amount, 33.into());
    signed.flush().await;
    let standing = till.standing(world.payer);
    assert_eq!((standing.owed, standing.held), (76.into(), 0.into()));
    assert_eq!((world.locked().await, world.distributed().await), (100.into(), 0.into()));

    // Not before the batch is final.
    let receipts = kept.lock().unwrap().clone();
    let (root, charges, final_at) = world.log(&receipts).await;
    assert_eq!(charges, [Charge { payer: world.payer, amount: 76.into() }]);
    let early = till.settle(root, &charges).await.unwrap_err();
    assert_eq!(Revert::of(&early).unwrap().name(), "BatchNotFinal");
    assert_eq!(till.standing(world.payer).owed, 76.into());
    world.dev.set_next_timestamp(final_at).await.unwrap();
    world.dev.mine().await.unwrap();
    let sent = till.settle(root, &charges).await.unwrap();
    assert_eq!(sent.value, 76.into());
    let standing = till.standing(world.payer);
    assert_eq!((standing.owed, standing.held, standing.lock), (0.into(), 0.into(), None));
    assert_eq!((world.locked().await, world.distributed().await), (24.into(), 76.into()));

    // What is left buys what it can; what was settled is not owed again.
    assert!(till.settle(root, &charges).await.is_err());
    now.store(world.chain.now().await.unwrap(), Ordering::Relaxed);
    service.ready().await.unwrap().call(request(2)).await.unwrap().collect_all().await.unwrap();
    assert_eq!(till.standing(world.payer).owed, 23.into());
    assert!(service.ready().await.unwrap().call(request(1)).await.is_err());

    // Another process goes on from the receipts.
    signed.flush().await;
    let unsettled = kept.lock().unwrap().split_off(receipts.len());
    let next = Escrow::on(&world.chain, node, options);
    let left: Vec<Charge> = unsettled
        .iter()
        .map(|receipt| receipt.unverified())
        .map(|receipt| Charge { payer: receipt.payer, amount: receipt.fee })
        .collect();
    next.owe(&left);
    assert!(next.reserve(&request(1), 2.into()).await.is_err());
    assert!(next.reserve(&request(1), 1.into()).await.is_ok());

    // The payer does as it is told.
    let refused = next.reserve(&request(1), 13.into()).await.unwrap_err();
    let terms = PaymentRequired::of(&refused).unwrap().terms.clone().unwrap();
    let terms: serde_json::Value = serde_json::from_str(&terms).unwrap();
    assert_eq!(terms["chainId"], world.chain.chain_id());
    assert_eq!(terms["escrow"], world.chain.contracts().escrow.to_string());
    let more = terms["amount"].as_str().unwrap().parse().unwrap();
    let to = terms["node"].as_str().unwrap().parse().unwrap();
    let user = world.chain.sending_as(world.payer);
    user.authorize(to, more, terms["until"].as_u64().unwrap()).await.unwrap();
    now.fetch_add(1, Ordering::Relaxed);
    assert!(next.reserve(&request(1), 13.into()).await.is_ok());
}
