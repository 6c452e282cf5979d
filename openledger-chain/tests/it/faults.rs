//! A node that fails in every way, a process that ends anywhere: everything happens once.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use openledger_chain::{
    Attributions, Batch, Charge, DeployOptions, Deployed, DevNode, Embedded, EvmChain, Files,
    Genesis, Journal, Keep, Memory, Patience, Payments, Retry, Revert, Rewards, Sent,
    abi::{
        attribution_log::AttributionLog, inference_escrow::InferenceEscrow, open_token::OpenToken,
        reward_distributor::RewardDistributor,
    },
    alloy::{
        consensus::Transaction,
        primitives::{Uint, keccak256},
        providers::Provider,
        transports::IntoBoxTransport,
    },
    provider_with,
    settlement::{Claim, Distributor},
    testing::{Fault, Faults},
};
use openledger_core::{
    Address, Amount, B256, Bytes, Error, ErrorKind, Key, Result, U256, merkle::StandardTree,
};
use tower::Layer;

use crate::{DELAY, World, open};

const FRIEND: Address = Address::repeat_byte(0xfd);

fn keys() -> [Key; 5] {
    [1, 2, 3, 4, 5].map(|byte| Key::from_bytes(B256::repeat_byte(byte)).unwrap())
}

fn genesis() -> Genesis {
    Genesis::default().with_funded(keys().iter().map(Key::address))
}

/// Three tries without a pause, so that no test waits.
fn at_once() -> (Retry, Patience) {
    (
        Retry::default().with_tries(3).with_pauses(Duration::ZERO, Duration::ZERO),
        Patience::default().with_looks(6).with_pauses(Duration::ZERO, Duration::ZERO),
    )
}

/// The usual world behind `transport`.
async fn world_over(transport: impl IntoBoxTransport) -> World {
    let [admin, node, payer, owner, contributor] = keys();
    let (retry, patience) = at_once();
    let provider = provider_with(transport, &keys(), retry).unwrap();
    let stakers = Address::repeat_byte(0x57);
    let options = DeployOptions::new(admin.address())
        .with_staking_pool(stakers)
        .with_nodes([node.address()])
        .with_delays(DELAY, DELAY, 0);
    let Deployed { chain, .. } = EvmChain::deploy(provider.clone(), options).await.unwrap();
    let chain = chain.with_patience(patience);
    World { chain, dev: DevNode::new(provider), admin, node, payer, owner, contributor, stakers }
}

async fn faulty_world() -> (World, Faults, Embedded) {
    let (faults, node) = (Faults::none(), Embedded::new(&genesis()));
    (world_over(faults.layer(node.clone())).await, faults, node)
}

/// Another client of the same node and account that knows nothing of the first.
async fn stranger(world: &World, node: &Embedded) -> EvmChain {
    let provider = provider_with(node.clone(), &keys(), at_once().0).unwrap();
    let chain = EvmChain::connect(provider, *world.chain.contracts(), world.chain.sender()).await;
    chain.unwrap().with_patience(at_once().1)
}

async fn nonce(chain: &EvmChain) -> u64 {
    chain.provider().get_transaction_count(chain.sender()).await.unwrap()
}

/// Runs `work` until it ends or a request hangs: then it is dropped, as by a kill.
async fn until_killed<T>(faults: &Faults, work: impl Future<Output = T>) -> Option<T> {
    let hung = async {
        while !faults.hung() {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        done = work => Some(done),
        () = hung => None,
    }
}

/// Faults that pass by themselves.
fn passing() -> Vec<Fault> {
    vec![
        Fault::DropBefore,
        Fault::DropAfter,
        Fault::Status(429),
        Fault::Status(500),
        Fault::Status(503),
        Fault::CutOff,
        Fault::Twice,
        Fault::Delay(Duration::ZERO),
    ]
}

#[tokio::test]
async fn a_fault_that_passes_at_any_request_is_not_noticed() {
    let (world, faults, _) = faulty_world().await;
    let mut paid = Amount::ZERO;
    for fault in passing() {
        for at in 0.. {
            let before = nonce(&world.chain).await;
            let one = fault.clone();
            faults.rewrite(move |asked| (asked.number == at).then(|| one.clone()));
            let sent = world.chain.transfer(FRIEND, open(1)).await;
            let asked = faults.asked().len();
            faults.rewrite(|_| None);
            sent.unwrap_or_else(|error| panic!("{fault:?} at {at}: {error:?}"));
            paid = [paid, open(1)].into_iter().sum();
            assert_eq!(world.chain.balance(FRIEND).await.unwrap(), paid, "{fault:?} at {at}");
            assert_eq!(nonce(&world.chain).await, before + 1, "{fault:?} at {at}");
            if at >= asked {
                assert!(at > 4, "a transfer asks more than that");
                break;
            }
        }
    }
}

#[tokio::test]
async fn whatever_fails_the_same_call_again_pays_once() {
    let (world, faults, _) = faulty_world().await;
    let mut paid = Amount::ZERO;
    let mut failures = 0;
    for fault in [
        Fault::Garbage,
        Fault::Withhold,
        Fault::Status(401),
        Fault::nonce_too_low(),
        Fault::replacement_underpriced(),
        Fault::Refuse(-32000, "insufficient funds for gas * price + value".to_owned()),
        Fault::HangBefore,
        Fault::HangAfter,
    ] {
        for at in 0.. {
            let one = fault.clone();
            faults.rewrite(move |asked| (asked.number == at).then(|| one.clone()));
            let sent = until_killed(&faults, world.chain.transfer(FRIEND, open(1))).await;
            let asked = faults.asked().len();
            faults.rewrite(|_| None);
            if !matches!(sent, Some(Ok(_))) {
                failures += 1;
                world.chain.transfer(FRIEND, open(1)).await.unwrap();
            }
            paid = [paid, open(1)].into_iter().sum();
            assert_eq!(world.chain.balance(FRIEND).await.unwrap(), paid, "{fault:?} at {at}");
            if at >= asked {
                break;
            }
        }
    }
    assert!(failures > 20, "{failures}");
}

#[tokio::test]
async fn a_receipt_that_never_comes_is_an_error_with_the_hash_and_no_second_payment() {
    let (world, faults, _) = faulty_world().await;
    faults
        .rewrite(|asked| (asked.method == "eth_getTransactionReceipt").then_some(Fault::Withhold));
    let error = world.chain.transfer(FRIEND, open(5)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.is_retryable(), "{error:?}");
    // The node still hides the receipt, though its block shows the transaction.
    let again = world.chain.transfer(FRIEND, open(5)).await.unwrap_err();
    assert_eq!(again.to_string(), error.to_string());
    faults.rewrite(|_| None);
    let sent = world.chain.transfer(FRIEND, open(5)).await.unwrap();
    let named = format!("cannot transfer OPEN: transaction {} is not included yet", sent.tx.hash);
    assert_eq!(error.to_string(), named);
    assert_eq!(world.chain.balance(FRIEND).await.unwrap(), open(5));
    // Its outcome told, the same words are a new call.
    world.chain.transfer(FRIEND, open(5)).await.unwrap();
    assert_eq!(world.chain.balance(FRIEND).await.unwrap(), open(10));
}

#[tokio::test]
async fn what_a_node_may_hold_is_kept_whatever_it_answers_afterwards() {
    let (world, faults, node) = faulty_world().await;
    let contracts = *world.chain.contracts();
    let token = OpenToken::new(contracts.token, world.chain.provider());
    let send = "eth_sendRawTransaction";
    let receipt = "eth_getTransactionReceipt";
    let unknown = || Fault::Refuse(-32601, "the method is not available".to_owned());
    let mut paid = 0u64;
    for (lost, then) in
        [(Fault::DropAfter, receipt), (Fault::DropBefore, receipt), (Fault::DropBefore, send)]
    {
        for later in [Fault::Status(401), unknown()] {
            paid += 1;
            let context = format!("{lost:?}, then {later:?} for {then}");
            let before = nonce(&world.chain).await;
            let hash = Arc::new(Mutex::new(None));
            let (first, second, seen) = (lost.clone(), later.clone(), Arc::clone(&hash));
            faults.rewrite(move |asked| {
                let mut seen = seen.lock().unwrap();
                if asked.method == send && seen.is_none() {
                    let (raw,): (Bytes,) = serde_json::from_str(asked.params).unwrap();
                    *seen = Some(keccak256(raw));
                    return Some(first.clone());
                }
                (asked.method == then && seen.is_some()).then(|| second.clone())
            });
            let (keep, name) = (Memory::default(), format!("gift {paid}"));
            let pay = || token.transfer(FRIEND, U256::ONE);
            let provider = world.chain.provider().clone();
            let chain = EvmChain::connect(provider, contracts, world.chain.sender()).await;
            let chain = chain.expect(&context).with_patience(at_once().1);
            let mut journal = Journal::new(&chain, keep.clone(), &name);
            let error = journal.step("pay", pay()).await.expect_err(&context);
            faults.rewrite(|_| None);
            let hash = hash.lock().unwrap().unwrap().to_string();
            assert_eq!(error.kind(), ErrorKind::Unavailable, "{context}: {error:?}");
            assert!(error.is_retryable(), "{context}: {error:?}");
            assert!(error.report().contains(&hash), "{context}: {}", error.report());
            let page = keep.load(&format!("{name}/pay")).await.unwrap().unwrap();
            let page = String::from_utf8(page.to_vec()).unwrap();
            assert!(page.starts_with(r#"{"Signed":"#) && page.contains(&hash), "{context}: {page}");
            // A new process, which has the journal and nothing else.
            let mut journal = Journal::new(&stranger(&world, &node).await, keep, &name);
            let sent = journal.step("pay", pay()).await.expect(&context);
            assert_eq!(sent.tx.hash.to_string(), hash, "{context}");
            let balance = world.chain.balance(FRIEND).await.unwrap();
            assert_eq!(balance, Amount::from(paid), "{context}");
            assert_eq!(nonce(&world.chain).await, before + 1, "{context}");
        }
    }
}

#[tokio::test]
async fn an_amount_is_what_happened_and_not_what_the_call_returned_before() {
    let (world, faults, _) = faulty_world().await;
    let contracts = world.chain.contracts();
    let escrow = InferenceEscrow::new(contracts.escrow, world.chain.provider());
    let node = world.node.address();
    let till = escrow.till(node).call().await.unwrap();
    let payer = world.sending_as(&world.payer);
    world.chain.transfer(till, open(5)).await.unwrap();
    // Tried while five are there, included when there are eight.
    faults.rewrite(|asked| (asked.method == "eth_sendRawTransaction").then_some(Fault::HangBefore));
    assert!(until_killed(&faults, payer.collect(node)).await.is_none());
    faults.rewrite(|_| None);
    world.chain.transfer(till, open(3)).await.unwrap();
    assert_eq!(payer.collect(node).await.unwrap().value, open(8));
}

mod lying {
    openledger_chain::alloy::sol! {
        #[sol(rpc)]
        interface Lying {
            function transfer(address to, uint256 amount) external returns (uint256[] memory);
        }
    }
}

#[tokio::test]
async fn a_call_whose_return_cannot_be_read_is_not_to_be_sent_again() {
    let (world, _, _) = faulty_world().await;
    let token = lying::Lying::new(world.chain.contracts().token, world.chain.provider());
    let error = world.chain.send_for("pay", token.transfer(FRIEND, U256::ONE)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(!error.is_retryable() && error.to_string().contains("is included"), "{error:?}");
    assert_eq!(world.chain.balance(FRIEND).await.unwrap(), 1.into());
}

#[tokio::test]
async fn a_step_begun_on_one_chain_is_not_taken_for_done_on_another() {
    let deployer = keys()[0].address();
    let mut chains = Vec::new();
    for id in [1, 2] {
        let provider =
            provider_with(Embedded::new(&genesis().with_chain_id(id)), &keys(), at_once().0);
        let options = DeployOptions::new(deployer);
        chains.push(EvmChain::deploy(provider.unwrap(), options).await.unwrap().chain);
    }
    assert_eq!(chains[0].contracts(), chains[1].contracts(), "the same addresses on both");
    let keep = Memory::default();
    let mut outcomes = Vec::new();
    for chain in &chains {
        let token = OpenToken::new(chain.contracts().token, chain.provider());
        let mut journal = Journal::new(chain, keep.clone(), "gift");
        outcomes.push(journal.step("pay", token.transfer(FRIEND, U256::ONE)).await);
    }
    assert!(outcomes[0].is_ok());
    let error = outcomes.pop().unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict, "{error:?}");
    assert_eq!(chains[1].balance(FRIEND).await.unwrap(), Amount::ZERO);
}

#[tokio::test]
async fn a_journal_in_files_writes_nothing_that_it_would_not_read() {
    let folder = tempfile::tempdir().unwrap();
    let keep = Files::open(folder.path()).unwrap();
    let most = Bytes::from(vec![0; 64 << 20]);
    let more = Bytes::from(vec![0; (64 << 20) + 1]);
    keep.save("most", most.clone()).await.unwrap();
    assert_eq!(keep.load("most").await.unwrap(), Some(most));
    let error = keep.save("more", more).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Limit);
    assert!(error.to_string().contains("67108865 bytes for `more`"), "{error}");
    assert_eq!(keep.load("more").await.unwrap(), None);
}

#[tokio::test]
async fn a_number_past_its_width_is_an_error_and_sends_nothing() {
    let (world, _, _) = faulty_world().await;
    let before = nonce(&world.chain).await;
    let wide = 1u64 << 40;
    let deployer = world.chain.sender();
    for (options, what) in [
        (DeployOptions::new(deployer).with_delays(wide, 1, 1), "an activation delay of"),
        (DeployOptions::new(deployer).with_delays(1, u64::MAX, 1), "a withdrawal delay of"),
        (DeployOptions::new(deployer).with_delays(1, 1, wide), "a challenge window of"),
    ] {
        let error = EvmChain::deploy(world.chain.provider().clone(), options).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(error.to_string().starts_with(what), "{error}");
        assert!(error.to_string().ends_with("more than 1099511627775"), "{error}");
    }
    let error = world.chain.authorize(FRIEND, open(1), wide).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    let batch = Batch {
        epoch: 1,
        model: B256::ZERO,
        root: FRIEND.into_word(),
        body: B256::ZERO,
        receipts: wide,
    };
    let error = world.chain.log_batch(&batch).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert_eq!(nonce(&world.chain).await, before);
}

#[tokio::test]
async fn an_underpriced_transaction_is_dearer_by_an_eighth_each_time_with_the_same_nonce() {
    let (world, faults, _) = faulty_world().await;
    let before = nonce(&world.chain).await;
    let mut left = 10;
    faults.rewrite(move |asked| {
        let refused = asked.method == "eth_sendRawTransaction" && left > 0;
        left -= u32::from(refused);
        refused.then(Fault::replacement_underpriced)
    });
    let market = world.chain.provider().estimate_eip1559_fees().await.unwrap();
    let sent = world.chain.transfer(FRIEND, open(1)).await.unwrap();
    let tx = world.chain.provider().get_transaction_by_hash(sent.tx.hash).await.unwrap().unwrap();
    assert_eq!(tx.nonce(), before);
    let mut fee = market.max_fee_per_gas;
    for _ in 0..10 {
        fee += fee.div_ceil(8);
    }
    assert_eq!(tx.max_fee_per_gas(), fee);
    assert_eq!(nonce(&world.chain).await, before + 1);

    faults.rewrite(|asked| {
        (asked.method == "eth_sendRawTransaction").then(Fault::replacement_underpriced)
    });
    let patience = at_once().1.with_raises(2);
    let error = world.chain.with_patience(patience).transfer(FRIEND, open(2)).await.unwrap_err();
    assert!(error.is_retryable() && error.report().contains("underpriced"), "{error:?}");
    faults.rewrite(|_| None);
    world.chain.transfer(FRIEND, open(2)).await.unwrap();
    assert_eq!(world.chain.balance(FRIEND).await.unwrap(), open(3));
}

#[tokio::test]
async fn many_sends_at_once_from_one_account_take_a_nonce_each() {
    let (world, faults, _) = faulty_world().await;
    let before = nonce(&world.chain).await;
    // Every answer is lost the first time it is asked for.
    let mut seen = std::collections::HashSet::new();
    faults.rewrite(move |asked| {
        seen.insert(format!("{}{}", asked.method, asked.params)).then_some(Fault::DropAfter)
    });
    let mut sends = tokio::task::JoinSet::new();
    // Two of each: what somebody still waits for is not the same call again.
    for amount in [1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6] {
        let chain = world.chain.clone();
        sends.spawn(async move { chain.transfer(FRIEND, open(amount)).await.unwrap().tx.hash });
    }
    let mut hashes = sends.join_all().await;
    faults.rewrite(|_| None);
    hashes.sort();
    hashes.dedup();
    assert_eq!(hashes.len(), 12);
    assert_eq!(world.chain.balance(FRIEND).await.unwrap(), open(42));
    assert_eq!(nonce(&world.chain).await, before + 12);
}

#[tokio::test]
async fn a_nonce_another_process_used_is_replaced_and_nothing_is_paid_twice() {
    let (world, faults, node) = faulty_world().await;
    faults.rewrite(|asked| (asked.method == "eth_sendRawTransaction").then_some(Fault::HangBefore));
    assert!(until_killed(&faults, world.chain.transfer(FRIEND, open(1))).await.is_none());
    faults.rewrite(|_| None);
    // What was signed and not sent has a nonce that another client takes now.
    stranger(&world, &node).await.transfer(FRIEND, open(20)).await.unwrap();
    world.chain.transfer(FRIEND, open(1)).await.unwrap();
    assert_eq!(world.chain.balance(FRIEND).await.unwrap(), open(21));

    // The same race while the call is on its way.
    let rival = stranger(&world, &node).await;
    let (first, second) =
        tokio::join!(world.chain.transfer(FRIEND, open(2)), rival.transfer(FRIEND, open(40)));
    assert_ne!(first.unwrap().tx.hash, second.unwrap().tx.hash);
    assert_eq!(world.chain.balance(FRIEND).await.unwrap(), open(63));
}

#[tokio::test]
async fn what_was_left_unsent_does_not_block_what_comes_after() {
    let (world, faults, _) = faulty_world().await;
    faults.rewrite(|asked| (asked.method == "eth_sendRawTransaction").then_some(Fault::HangBefore));
    assert!(until_killed(&faults, world.chain.transfer(FRIEND, open(1))).await.is_none());
    faults.rewrite(|_| None);
    world.chain.transfer(FRIEND, open(10)).await.unwrap();
    world.chain.transfer(FRIEND, open(1)).await.unwrap();
    assert_eq!(world.chain.balance(FRIEND).await.unwrap(), open(11));
}

#[tokio::test]
async fn after_a_reorganisation_of_ten_blocks_the_payment_is_there_once_and_deep() {
    let (world, _, _) = faulty_world().await;
    let patience = at_once().1.with_looks(200).with_confirmations(11);
    let chain = world.chain.with_patience(patience);
    let fork = chain.provider().get_block_number().await.unwrap();
    let height = async || world.chain.provider().get_block_number().await.unwrap();
    let happenings = async {
        while height().await == fork {
            tokio::task::yield_now().await;
        }
        for _ in 0..9 {
            world.dev.mine().await.unwrap();
        }
        assert_eq!(height().await, fork + 10, "ten blocks, one too few");
        assert_eq!(world.chain.balance(FRIEND).await.unwrap(), open(5));
        world.dev.reorg(10).await.unwrap();
        assert_eq!(world.chain.balance(FRIEND).await.unwrap(), Amount::ZERO, "forgotten");
        while world.chain.balance(FRIEND).await.unwrap() == Amount::ZERO {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        for _ in 0..20 {
            world.dev.mine().await.unwrap();
        }
    };
    let (sent, ()) = tokio::join!(chain.transfer(FRIEND, open(5)), happenings);
    let tx = sent.unwrap().tx;
    assert!(tx.block > fork + 10, "in block {}, forked at {fork}", tx.block);
    let receipt = chain.provider().get_transaction_receipt(tx.hash).await.unwrap().unwrap();
    assert_eq!(receipt.block_number, Some(tx.block));
    assert_eq!(world.chain.balance(FRIEND).await.unwrap(), open(5));
}

#[tokio::test]
async fn without_enough_blocks_on_top_it_does_not_count() {
    let (world, _, _) = faulty_world().await;
    let chain = world.chain.with_patience(at_once().1.with_confirmations(2));
    let error = chain.transfer(FRIEND, open(5)).await.unwrap_err();
    assert!(error.is_retryable());
    world.dev.mine().await.unwrap();
    chain.transfer(FRIEND, open(5)).await.unwrap();
    assert_eq!(chain.balance(FRIEND).await.unwrap(), open(5));
}

/// The settlement of one batch, as a node does it.
struct Epoch {
    name: String,
    number: u64,
    root: B256,
    payer: Address,
    tree: StandardTree<openledger_chain::settlement::ClaimLeaf>,
    total: Amount,
    /// What is published, as a data layer keeps it: the same bytes twice are there once.
    published: Mutex<std::collections::BTreeSet<Bytes>>,
}

impl Epoch {
    /// The `number`th epoch in which the payer owes 3 OPEN and the contributor earns them.
    fn new(world: &World, number: u64) -> Self {
        let distributor = Distributor {
            chain_id: 31337,
            contract: world.chain.contracts().distributor,
            token: world.chain.contracts().token,
        };
        let claims = [
            Claim { account: world.contributor.address(), cumulative: open(2 * number) },
            Claim { account: world.stakers, cumulative: open(number) },
        ];
        let leaves = claims.iter().map(|claim| claim.leaf(&distributor)).collect();
        Self {
            name: format!("epoch {number}"),
            number,
            root: keccak256(number.to_be_bytes()),
            payer: world.payer.address(),
            tree: StandardTree::new(leaves).unwrap(),
            total: open(3 * number),
            published: Mutex::default(),
        }
    }

    async fn publish(&self, what: &str) -> Result<Bytes> {
        let bytes = Bytes::from(format!("{what} of {}", self.name).into_bytes());
        self.published.lock().unwrap().insert(bytes.clone());
        Ok(keccak256(&bytes).into())
    }

    async fn settle(&self, chain: &EvmChain, keep: Arc<dyn Keep>) -> Result<Sent<Uint<256, 4>>> {
        let (to, node) = (*chain.contracts(), chain.provider());
        let log = AttributionLog::new(to.attributions, node);
        let escrow = InferenceEscrow::new(to.escrow, node);
        let distributor = RewardDistributor::new(to.distributor, node);
        let mut journal = Journal::with_keep(chain, keep, &self.name);
        let receipts = journal.note("publish receipts", || self.publish("receipts")).await?;
        let body = B256::from_slice(&receipts);
        let call = log.log(self.number, B256::ZERO, self.root, body, Uint::from(3));
        journal.step("log batch", call).await?;
        let charge = Charge { payer: self.payer, amount: open(3) };
        let charges =
            vec![InferenceEscrow::Charge { payer: charge.payer, amount: charge.amount.units() }];
        let settled = journal.step("settle", escrow.settle(self.root, charges)).await?;
        assert_eq!(settled.value, open(3).units());
        let leaves = journal.note("publish leaves", || self.publish("leaves")).await?;
        let total = self.total.units().to();
        let root = distributor.submitRoot(self.tree.root(), B256::from_slice(&leaves), total);
        journal.step("submit root", root).await
    }
}

/// A payer with 1,000 OPEN in escrow who lets the node charge all of it.
async fn paid_world(world: &World) {
    world.chain.transfer(world.payer.address(), open(1_000)).await.unwrap();
    let payer = world.sending_as(&world.payer);
    payer.deposit(open(1_000)).await.unwrap();
    let later = world.chain.now().await.unwrap() + 1_000_000;
    payer.authorize(world.node.address(), open(1_000), later).await.unwrap();
}

/// Asserts that after `epochs` epochs each was settled exactly once.
async fn assert_settled(world: &World, epochs: u64, context: &str) {
    let (to, node) = (world.chain.contracts(), world.chain.provider());
    let log = AttributionLog::new(to.attributions, node);
    let batches = log.BatchLogged_filter().from_block(0).query().await.unwrap().len();
    let last = keccak256(epochs.to_be_bytes());
    let distributor = RewardDistributor::new(to.distributor, node);
    let roots = distributor.length().call().await.unwrap();
    let funded = distributor.funded().call().await.unwrap();
    let escrow = InferenceEscrow::new(to.escrow, node);
    let settled = escrow.settled(world.node.address(), last).call().await.unwrap();
    assert_eq!((U256::from(batches), roots), (U256::from(epochs), U256::from(epochs)), "{context}");
    assert_eq!(funded, open(3 * epochs).units(), "{context}");
    assert!(settled, "{context}");
    let left = world.chain.reserved(world.payer.address(), world.node.address()).await.unwrap();
    assert_eq!(left.amount, open(1_000 - 3 * epochs), "{context}");
}

/// A client as a new process has it: it remembers nothing.
async fn restarted(world: &World) -> EvmChain {
    let provider = world.chain.provider().clone();
    let contracts = *world.chain.contracts();
    let chain = EvmChain::connect(provider, contracts, world.node.address()).await.unwrap();
    chain.with_patience(at_once().1)
}

#[tokio::test]
async fn a_settlement_killed_at_any_request_happens_exactly_once() {
    let (world, faults, _) = faulty_world().await;
    paid_world(&world).await;
    let mut epochs = 0;
    for fault in [Fault::HangBefore, Fault::HangAfter] {
        for at in 0.. {
            epochs += 1;
            let epoch = Epoch::new(&world, epochs);
            let keep: Arc<dyn Keep> = Arc::new(Memory::default());
            let chain = restarted(&world).await;
            let one = fault.clone();
            faults.rewrite(move |asked| (asked.number == at).then(|| one.clone()));
            let run = until_killed(&faults, epoch.settle(&chain, keep.clone())).await;
            let asked = faults.asked().len();
            faults.rewrite(|_| None);
            let context = format!("{fault:?} at {at}");
            let root = match run {
                Some(done) => done.unwrap(),
                None => {
                    let chain = restarted(&world).await;
                    epoch.settle(&chain, keep.clone()).await.expect(&context)
                }
            };
            // Once more: what is written down is not done again.
            let again = epoch.settle(&restarted(&world).await, keep).await.expect(&context);
            assert_eq!(again, root, "{context}");
            assert_eq!(epoch.published.lock().unwrap().len(), 2, "{context}");
            assert_settled(&world, epochs, &context).await;
            if at >= asked {
                assert!(at > 15, "three transactions ask more than {at} times");
                break;
            }
        }
    }
    // And everybody gets what they earned, to the unit.
    let epoch = Epoch::new(&world, epochs);
    world.pass(DELAY + 1).await;
    let accounts = [world.contributor.address(), world.stakers];
    for (place, account) in accounts.into_iter().enumerate() {
        let share = open([2, 1][place] * epochs);
        let claim = Claim { account, cumulative: share };
        world.chain.claim(epochs - 1, &claim, &epoch.tree.proof(place)).await.unwrap();
        assert_eq!(world.chain.balance(account).await.unwrap(), share);
    }
    assert_eq!(
        world.chain.balance(world.chain.contracts().distributor).await.unwrap(),
        Amount::ZERO
    );
}

#[tokio::test]
async fn a_settlement_goes_through_every_fault_that_passes() {
    let (world, faults, _) = faulty_world().await;
    paid_world(&world).await;
    let mut epochs = 0;
    for fault in [Fault::DropBefore, Fault::DropAfter, Fault::Status(429)] {
        for at in 0.. {
            epochs += 1;
            let epoch = Epoch::new(&world, epochs);
            let chain = restarted(&world).await;
            let one = fault.clone();
            faults.rewrite(move |asked| (asked.number == at).then(|| one.clone()));
            let run = epoch.settle(&chain, Arc::new(Memory::default())).await;
            let asked = faults.asked().len();
            faults.rewrite(|_| None);
            run.unwrap_or_else(|error| panic!("{fault:?} at {at}: {error:?}"));
            assert_settled(&world, epochs, &format!("{fault:?} at {at}")).await;
            if at >= asked {
                break;
            }
        }
    }
}

/// A disk that fails at one write: before it, or after it.
#[derive(Debug)]
struct Failing {
    inner: Memory,
    left: AtomicUsize,
    written: bool,
}

#[async_trait::async_trait]
impl Keep for Failing {
    async fn load(&self, name: &str) -> Result<Option<Bytes>> {
        self.inner.load(name).await
    }

    async fn save(&self, name: &str, bytes: Bytes) -> Result<()> {
        let fails = self.left.fetch_sub(1, Ordering::Relaxed) == 0;
        if !fails || self.written {
            self.inner.save(name, bytes).await?;
        }
        match fails {
            true => Err(Error::new(ErrorKind::Unavailable, "the disk is gone")),
            false => Ok(()),
        }
    }
}

#[tokio::test]
async fn a_settlement_whose_disk_fails_at_any_write_happens_exactly_once_and_names_the_step() {
    let (world, _, _) = faulty_world().await;
    paid_world(&world).await;
    let mut epochs = 0;
    for written in [false, true] {
        let mut steps = Vec::new();
        for at in 0.. {
            epochs += 1;
            let epoch = Epoch::new(&world, epochs);
            let inner = Memory::default();
            let failing = Failing { inner: inner.clone(), left: AtomicUsize::new(at), written };
            let run = epoch.settle(&restarted(&world).await, Arc::new(failing)).await;
            let done = run.is_ok();
            if let Err(error) = run {
                assert!(error.report().ends_with("the disk is gone"), "{error:?}");
                steps.push(error.to_string().split('`').nth(3).unwrap().to_owned());
                epoch.settle(&restarted(&world).await, Arc::new(inner)).await.unwrap();
            }
            assert_settled(&world, epochs, &format!("write {at}, written {written}")).await;
            if done {
                break;
            }
        }
        // A note is written once; a transaction when it is signed and when it is included.
        assert_eq!(
            steps,
            [
                "publish receipts",
                "log batch",
                "log batch",
                "settle",
                "settle",
                "publish leaves",
                "submit root",
                "submit root",
            ]
        );
    }
}

#[tokio::test]
async fn a_journal_in_files_is_for_one_process_and_outlives_it() {
    let (world, faults, _) = faulty_world().await;
    paid_world(&world).await;
    let folder = tempfile::tempdir().unwrap();
    let epoch = Epoch::new(&world, 1);
    let keep: Arc<dyn Keep> = Arc::new(Files::open(folder.path()).unwrap());
    let taken = Files::open(folder.path()).unwrap_err();
    assert_eq!(taken.kind(), ErrorKind::Conflict);
    let mut sends = 0;
    faults.rewrite(move |asked| {
        sends += usize::from(asked.method == "eth_sendRawTransaction");
        (asked.method == "eth_sendRawTransaction" && sends == 2).then_some(Fault::HangAfter)
    });
    let chain = restarted(&world).await;
    assert!(until_killed(&faults, epoch.settle(&chain, keep)).await.is_none());
    faults.rewrite(|_| None);
    let keep: Arc<dyn Keep> = Arc::new(Files::open(folder.path()).unwrap());
    epoch.settle(&restarted(&world).await, keep).await.unwrap();
    assert_settled(&world, 1, "after the restart").await;
}

#[tokio::test]
async fn a_step_is_one_call_and_a_reverted_one_leaves_it_free() {
    let (world, _, _) = faulty_world().await;
    let token = OpenToken::new(world.chain.contracts().token, world.chain.provider());
    let keep = Memory::default();
    let poor = world.sending_as(&world.payer);
    let mut journal = Journal::new(&poor, keep.clone(), "gift");
    let error = journal.step("pay", token.transfer(FRIEND, U256::from(5))).await.unwrap_err();
    assert_eq!(error.to_string(), "`gift` stopped at step `pay`");
    assert_eq!(error.kind(), ErrorKind::Denied);
    let revert = Revert::of(&error).unwrap();
    assert_eq!(revert.name(), "ERC20InsufficientBalance");
    let short = revert.downcast::<OpenToken::ERC20InsufficientBalance>().unwrap();
    assert_eq!((short.sender, short.needed), (world.payer.address(), U256::from(5)));

    let mut journal = Journal::new(&world.chain, keep.clone(), "gift");
    journal.step("pay", token.transfer(FRIEND, U256::from(6))).await.unwrap();
    let other = journal.step("pay", token.transfer(FRIEND, U256::from(7))).await.unwrap_err();
    assert_eq!(other.kind(), ErrorKind::Conflict);
    assert_eq!(world.chain.balance(FRIEND).await.unwrap(), 6.into());
    keep.save("gift/pay", Bytes::from_static(b"{}")).await.unwrap();
    let torn = journal.step("pay", token.transfer(FRIEND, U256::from(6))).await.unwrap_err();
    assert_eq!(torn.kind(), ErrorKind::Corrupt);
}

#[tokio::test]
async fn a_transaction_reverted_in_its_block_says_why() {
    let (world, faults, _) = faulty_world().await;
    let token = OpenToken::new(world.chain.contracts().token, world.chain.provider());
    let payer = world.sending_as(&world.payer);
    world.chain.transfer(payer.sender(), open(9)).await.unwrap();
    let allow = token.approve(world.chain.sender(), open(9).units());
    payer.send("allow the admin to take OPEN", allow).await.unwrap();
    // Signed while the money is there, sent when it is gone.
    faults.rewrite(|asked| (asked.method == "eth_sendRawTransaction").then_some(Fault::HangBefore));
    assert!(until_killed(&faults, payer.transfer(FRIEND, open(9))).await.is_none());
    faults.rewrite(|_| None);
    let take = token.transferFrom(payer.sender(), world.chain.sender(), open(8).units());
    world.chain.send("take OPEN", take).await.unwrap();
    let error = payer.transfer(FRIEND, open(9)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Denied);
    assert!(error.to_string().ends_with("was reverted"), "{error}");
    let short = Revert::of(&error).unwrap().downcast::<OpenToken::ERC20InsufficientBalance>();
    assert_eq!(short.unwrap().balance, open(1).units());
}

#[tokio::test]
async fn what_a_transaction_logged_is_read_by_type_and_by_contract() {
    let (world, _, _) = faulty_world().await;
    let tx = world.chain.transfer(FRIEND, open(1)).await.unwrap().tx;
    let token = world.chain.contracts().token;
    let events: Vec<_> = tx.events().collect();
    assert_eq!(events.len(), 1);
    assert_eq!((events[0].0, events[0].1.name().as_str()), (token, "Transfer"));
    let moved = tx.event::<OpenToken::Transfer>(token).unwrap();
    assert_eq!((moved.to, moved.value), (FRIEND, open(1).units()));
    assert!(tx.event::<OpenToken::Transfer>(FRIEND).is_none());
}
