//! The indexer: what it tells is what the contracts answer, whatever the chain and the process do.

use std::{
    path::Path,
    sync::{Arc, Mutex},
};

use openledger_chain::{
    Access, Agents, Attributions, Batch, BatchName, Charge, ContributionName, ContributionStatus,
    DatanetEntry, DeployOptions, Deployed, DevNode, Embedded, EvmChain, Genesis, Governance, Kind,
    ModelEntry, ModelOffer, Models, Offer, Payments, Price, Proposal, Registry, Retry, Rewards,
    StakeRole, Staking,
    abi::{self, open_token::OpenToken::transferCall},
    alloy::{providers::Provider, rpc::types::TransactionRequest, sol_types::SolCall},
    ballots::Support,
    index::{Index, IndexOptions, Indexer, Outcome, Page, Request, SlashOutcome, read_index},
    provider, provider_with,
    settlement::{Claim, Distributor},
    testing::{Fault, Faults},
};
use openledger_core::{
    Address, Amount, B256, DatanetId, DatanetVersion, ErrorKind, Key, U256,
    merkle::StandardTree,
    message::{Grant, Nonces, Scope, Signed},
};
use proptest::prelude::*;
use tower::Layer as _;

use crate::{DELAY, WINDOW, World, open};

const EXPIRY: u64 = 100_000;

fn keys() -> [Key; 5] {
    [1, 2, 3, 4, 5].map(|byte| Key::from_bytes(B256::repeat_byte(byte)).unwrap())
}

/// A world and a handle on its chain.
async fn world() -> (World, Embedded) {
    let [admin, node, payer, owner, contributor] = keys();
    let funded = keys().map(|key| key.address());
    let chain = Embedded::new(&Genesis::default().with_funded(funded));
    let provider = provider(chain.clone(), &keys()).unwrap();
    let stakers = Address::repeat_byte(0x57);
    let options = DeployOptions::new(admin.address())
        .with_staking_pool(stakers)
        .with_nodes([node.address()])
        .with_delays(DELAY, DELAY, WINDOW);
    let deployed: Deployed = EvmChain::deploy(provider.clone(), options).await.unwrap();
    let (embedded, chain) = (chain, deployed.chain);
    let dev = DevNode::new(provider);
    (World { chain, dev, admin, node, payer, owner, contributor, stakers }, embedded)
}

/// A client of the same contracts through `faults`, which tries again at once.
async fn through(faults: &Faults, node: &Embedded, world: &World) -> EvmChain {
    let retry = Retry::default()
        .with_tries(3)
        .with_pauses(std::time::Duration::ZERO, std::time::Duration::ZERO);
    let provider = provider_with(faults.layer(node.clone()), &keys(), retry).unwrap();
    EvmChain::connect(provider, *world.chain.contracts(), world.chain.sender()).await.unwrap()
}

async fn fresh(chain: &EvmChain) -> Indexer {
    let mut indexer = Indexer::new(chain, IndexOptions::default());
    indexer.sync().await.unwrap();
    indexer
}

/// Asserts that an indexer has what one has that begins now.
#[track_caller]
fn assert_same(one: &Indexer, other: &Indexer) {
    assert_eq!(one.tip(), other.tip());
    assert!(one.index() == other.index(), "{:#?}\n\nnot\n\n{:#?}", one.index(), other.index());
}

async fn head(world: &World) -> u64 {
    world.chain.provider().get_block_number().await.unwrap()
}

/// Calls a contract as governance does.
async fn govern(world: &World, to: Address, call: impl SolCall) {
    let from = world.chain.contracts().timelock;
    world.dev.impersonate(from).await.unwrap();
    let request = TransactionRequest::default().from(from).to(to).input(call.abi_encode().into());
    let provider = world.chain.provider();
    let sent = provider.raw_request("eth_sendTransaction".into(), (request,)).await;
    let hash: B256 = sent.unwrap();
    assert!(provider.get_transaction_receipt(hash).await.unwrap().unwrap().status());
}

/// Gives governance itself the power of disputes.
fn disputes(world: &World) -> abi::roles::Roles::grantRoleCall {
    let account = world.chain.contracts().timelock;
    abi::roles::Roles::grantRoleCall { roleId: 3, account, executionDelay: 0 }
}

/// Names that a story left behind.
struct Told {
    datanet: DatanetId,
    taken: ContributionName,
    refused: ContributionName,
    withdrawn: ContributionName,
    model: B256,
    grant: B256,
    agent: B256,
    batch: BatchName,
    spoilt: BatchName,
    proposal: U256,
}

/// Everything happens once: data, access, money, stake, votes.
async fn story(world: &World) -> Told {
    let [node, payer, owner, contributor] =
        [&world.node, &world.payer, &world.owner, &world.contributor].map(Key::address);
    let contracts = *world.chain.contracts();
    for account in [payer, owner] {
        world.chain.transfer(account, open(1_000)).await.unwrap();
    }

    let by_owner = world.sending_as(&world.owner);
    let entry = DatanetEntry::new("bread", B256::repeat_byte(9)).with_kind(Kind::Audio);
    let datanet = by_owner.create_datanet(&entry).await.unwrap().value;
    let by_contributor = world.sending_as(&world.contributor);
    let mut names = Vec::new();
    for (byte, rows) in [(1, 1), (2, 30), (3, 1)] {
        let root = B256::repeat_byte(byte);
        let offer = Offer { datanet, root, rows, da: B256::repeat_byte(0xda) };
        by_contributor.contribute(&offer).await.unwrap();
        names.push(ContributionName { datanet, contributor, root });
    }
    by_owner.decide(&names[0], true).await.unwrap();
    by_owner.decide(&names[1], false).await.unwrap();
    let contributions = abi::contribution_registry::ContributionRegistry::new(
        contracts.contributions,
        world.chain.provider(),
    );
    let call = contributions.revoke(datanet.into(), names[2].root).from(contributor);
    call.send().await.unwrap().get_receipt().await.unwrap();

    let version = DatanetVersion { datanet, version: 1, root: B256::repeat_byte(3) };
    by_owner.publish(&version, 1).await.unwrap();
    let model = B256::repeat_byte(7);
    let entry = ModelEntry {
        model,
        parent: B256::ZERO,
        record: B256::repeat_byte(8),
        datanets: vec![version],
        price: Price { per_thousand_in: 5.into(), per_thousand_out: 6.into() },
    };
    by_owner.register(&entry).await.unwrap();
    by_owner.deprecate(model, B256::ZERO).await.unwrap();

    let by_payer = world.sending_as(&world.payer);
    let purpose = B256::repeat_byte(0xf0);
    by_payer.request_access(datanet, purpose).await.unwrap();
    let now = world.chain.now().await.unwrap();
    let grant = Grant {
        datanet,
        version: 0,
        scope: Scope::Train,
        purpose,
        grantee: payer,
        not_before: now,
        not_after: now + EXPIRY,
        owner,
        nonce: U256::from(1),
        deadline: now + 600,
    };
    let domain = world.chain.grant_domain();
    let signed = Signed::sign(grant, domain, &world.owner);
    let verified = signed.verify(&domain, now, &mut Nonces::default()).unwrap();
    let granted = by_payer.grant_access(&verified).await.unwrap();
    let grant_id = granted.tx.logs[0].topics[1];
    by_owner.revoke_access(&grant).await.unwrap();
    let agent = by_owner.register_agent("baker", B256::repeat_byte(4)).await.unwrap().value;
    by_owner.retire_agent(agent).await.unwrap();

    by_payer.deposit(open(100)).await.unwrap();
    by_payer.authorize(node, open(50), now + EXPIRY).await.unwrap();
    by_payer.request_withdrawal(open(20)).await.unwrap();
    let by_node = world.sending_as(&world.node);
    let mut batches = Vec::new();
    for (byte, receipts) in [(1, 3), (2, 5)] {
        let (root, body) = (B256::repeat_byte(byte), B256::repeat_byte(2));
        let batch = Batch { epoch: 0, model, root, body, receipts };
        batches.push(by_node.log_batch(&batch).await.unwrap().value);
    }
    let spoilt = batches[1];
    let hold = abi::attribution_log::AttributionLog::holdCall { node, root: spoilt.root };
    let reject = abi::attribution_log::AttributionLog::rejectCall { node, root: spoilt.root };
    govern(world, contracts.roles, disputes(world)).await;
    govern(world, contracts.attributions, hold).await;
    govern(world, contracts.attributions, reject).await;
    world.pass(DELAY).await;
    by_payer.withdraw().await.unwrap();
    by_node.settle(batches[0].root, &[Charge { payer, amount: open(10) }]).await.unwrap();

    let distributor = Distributor {
        chain_id: world.chain.chain_id(),
        contract: contracts.distributor,
        token: contracts.token,
    };
    let claims = [(contributor, 6), (world.stakers, 4)]
        .map(|(account, amount)| Claim { account, cumulative: open(amount) });
    let tree = StandardTree::new(claims.map(|claim| claim.leaf(&distributor)).to_vec()).unwrap();
    let vetoed = by_node.submit_root(tree.root(), B256::ZERO, open(10)).await.unwrap().value;
    world.chain.veto(vetoed).await.unwrap();
    let index = by_node.submit_root(tree.root(), B256::ZERO, open(10)).await.unwrap().value;
    world.pass(DELAY).await;
    by_payer.claim(index, &claims[0], &tree.proof(0)).await.unwrap();

    by_owner.stake(StakeRole::Validator, node, open(300)).await.unwrap();
    by_payer.stake(StakeRole::Validator, node, open(100)).await.unwrap();
    by_payer.stake(StakeRole::Validator, payer, open(50)).await.unwrap();
    world.pass(8 * 24 * 3_600).await;
    by_owner.release(payer, node).await.unwrap();
    let escrow =
        abi::inference_escrow::InferenceEscrow::new(contracts.escrow, world.chain.provider());
    let till = escrow.till(node).call().await.unwrap();
    by_payer.transfer(till, open(7)).await.unwrap();
    by_owner.collect(node).await.unwrap();
    let (shares, _) = by_payer.position(StakeRole::Validator, node, payer).await.unwrap();
    by_payer.unbond(StakeRole::Validator, node, shares / U256::from(2)).await.unwrap();
    let propose = abi::staking::Staking::proposeSlashCall {
        role: 1,
        operator: node,
        bps: 1_000,
        evidence: B256::repeat_byte(0xe0),
    };
    govern(world, contracts.staking, propose.clone()).await;
    govern(world, contracts.staking, propose).await;
    world.chain.veto_slash(0).await.unwrap();
    world.pass(3 * 24 * 3_600).await;
    by_owner.execute_slash(1).await.unwrap();

    by_payer.lock_votes(open(200_000), payer).await.unwrap();
    world.pass(1).await;
    let call = transferCall { to: owner, value: U256::from(1) };
    let proposal = Proposal::call(contracts.token, &call, "bread for all");
    let id = by_payer.propose(&proposal).await.unwrap().value;
    world.pass(24 * 3_600 + 1).await;
    by_payer.vote(id, Support::For).await.unwrap();
    world.sending_as(&world.owner).vote(id, Support::Against).await.unwrap();
    world.pass(8 * 24 * 3_600).await;
    by_payer.queue(&proposal).await.unwrap();

    Told {
        datanet,
        taken: names[0],
        refused: names[1],
        withdrawn: names[2],
        model,
        grant: grant_id,
        agent,
        batch: batches[0],
        spoilt,
        proposal: id,
    }
}

/// Asserts that an index tells what the contracts answer, of everybody's money, stake and receipts.
async fn assert_agrees(world: &World, index: &Index) {
    let chain = &world.chain;
    let contracts = *chain.contracts();
    let people = keys().map(|key| key.address());
    let others = [world.stakers, contracts.escrow, contracts.distributor, contracts.staking];
    for &account in people.iter().chain(&others) {
        assert_eq!(index.balance(account), chain.balance(account).await.unwrap(), "{account}");
        assert_eq!(index.deposited(account), chain.deposited(account).await.unwrap(), "{account}");
        assert_eq!(index.claimed(account), chain.claimed(account).await.unwrap(), "{account}");
        for payee in people {
            let (told, asked) =
                (index.lock(account, payee), chain.reserved(account, payee).await.unwrap());
            assert_eq!((told.amount, told.expires_at), (asked.amount, asked.expires_at));
        }
        let (told, asked) = (
            index.vault(StakeRole::Validator, account),
            chain.stake_of(StakeRole::Validator, account).await.unwrap(),
        );
        if index.pool(StakeRole::Validator).rate == 0 {
            assert_eq!(told.principal(), asked.active, "no growth, so the principal is all");
        }
        assert_eq!((told.queued, told.penalty), (asked.queued, asked.penalty));
        assert_eq!(told.pending_slashes, asked.pending_slashes);
        for owner in people {
            let asked = chain.position(StakeRole::Validator, account, owner).await.unwrap();
            assert_eq!(index.position(StakeRole::Validator, account, owner).shares, asked.0);
        }
        for (name, told) in index.batches(account) {
            let asked = chain.batch(name).await.unwrap();
            assert_eq!(
                (told.receipts, told.open_challenges, told.rejected),
                (asked.receipts, asked.open_challenges, asked.rejected)
            );
        }
    }
    let staking = abi::staking::Staking::new(contracts.staking, chain.provider());
    for role in [StakeRole::Contributor, StakeRole::Validator, StakeRole::Agent] {
        let (told, asked) = (index.pool(role), staking.poolOf(role as u8).call().await.unwrap());
        let amount = |units: u128| Amount::new(U256::from(units));
        assert_eq!((told.working, told.reserve), (amount(asked.total), amount(asked.reserve)));
        assert_eq!(told.rate, asked.rate);
    }
    let held: Amount = index.holders().map(|(_, amount)| amount).sum();
    assert_eq!(held, index.supply());
    let escrowed = people.iter().flat_map(|&payer| index.locks(payer)).map(|(_, lock)| lock.amount);
    let free = people.iter().map(|&payer| index.deposited(payer));
    assert_eq!(escrowed.chain(free).sum::<Amount>(), index.balance(contracts.escrow));
    let held = index.balance(contracts.distributor);
    assert_eq!(Some(held), index.funded().checked_sub(index.paid()));
    for (number, told) in index.roots() {
        let asked = chain.root(number).await.unwrap();
        assert_eq!(
            (told.root, told.total, told.activates_at, told.disabled),
            (asked.root, asked.total, asked.activates_at, asked.disabled)
        );
    }
    for (datanet, _) in index.datanets() {
        for (name, told) in index.contributions(datanet) {
            assert_eq!(told.status, chain.contribution(&name).await.unwrap());
        }
    }
}

#[tokio::test]
async fn what_the_index_tells_is_what_the_contracts_answer() {
    let (world, _) = world().await;
    let told = story(&world).await;
    let indexer = fresh(&world.chain).await;
    let index = indexer.index();
    assert_agrees(&world, index).await;

    let [node, payer, owner, contributor] =
        [&world.node, &world.payer, &world.owner, &world.contributor].map(Key::address);
    let datanet = index.datanet(told.datanet).unwrap();
    assert_eq!((datanet.name.as_str(), datanet.owner, datanet.kind), ("bread", owner, Kind::Audio));
    let versions: Vec<_> = index.versions(told.datanet).collect();
    assert_eq!(
        (versions.len(), versions[0].0.root, versions[0].1.rows),
        (1, B256::repeat_byte(3), 1)
    );
    let status = |name| index.contribution(&name).map(|found| (found.status, found.rows));
    assert_eq!(status(told.taken), Some((ContributionStatus::Accepted, Some(1))));
    assert_eq!(status(told.refused), Some((ContributionStatus::Rejected, Some(30))));
    assert_eq!(status(told.withdrawn), Some((ContributionStatus::Revoked, Some(1))));
    let fared = index.contributor(contributor);
    assert_eq!((fared.pending, fared.accepted, fared.rejected, fared.revoked), (0, 1, 1, 1));

    let model = index.model(owner, told.model).unwrap();
    assert_eq!((model.offer, model.price_out), (ModelOffer::Deprecated, 6.into()));
    let trained: Vec<_> = index.trained_on(told.datanet).collect();
    assert_eq!(trained, [(told.model, owner, 1)]);
    let granted = index.grant(told.grant).unwrap();
    assert!(granted.revoked && granted.grantee == payer);
    assert_eq!(granted.terms.unwrap().scope, Scope::Train as u8);
    let requests: Vec<_> = index.requests(told.datanet).collect();
    assert_eq!(requests, [(payer, B256::repeat_byte(0xf0), Request::Granted)]);
    assert_eq!(index.agent(told.agent).unwrap().name, "baker");
    assert!(index.batch(told.spoilt).unwrap().rejected);
    assert_eq!(index.settled(told.batch), Some(open(10)));
    assert_eq!(index.settled(told.spoilt), None);

    assert_eq!(index.slash(0).unwrap().outcome, SlashOutcome::Vetoed);
    let taken = index.vault(StakeRole::Validator, node).slashed;
    assert_eq!(index.slash(1).unwrap().outcome, SlashOutcome::Executed(taken));
    assert!(taken > Amount::ZERO);
    let proposal = index.proposal(told.proposal).unwrap();
    assert_eq!(
        (proposal.outcome, proposal.description.as_str()),
        (Outcome::Queued, "bread for all")
    );
    assert_eq!(proposal.count.in_favour, open(200_000));
    let votes: Vec<_> = index.votes(told.proposal).map(|(who, vote)| (who, vote.support)).collect();
    assert_eq!(votes.len(), 2);
    assert!(votes.contains(&(payer, Support::For)) && votes.contains(&(owner, Support::Against)));

    let page = Page::first(10);
    assert_eq!(index.contributors_by_claimed(page), [(contributor, open(6))]);
    assert_eq!(index.nodes_by_receipts(page), [(node, 3)]);
    assert_eq!(index.models_by_receipts(page), [(told.model, 3)], "the spoilt ones do not count");
    assert_eq!(index.datanets_by_accepted(page), [(told.datanet, 1)]);
    assert_eq!(index.contributors_by_accepted(page), [(contributor, 1)]);
    let operators = index.operators_by_stake(StakeRole::Validator, page);
    assert_eq!(operators.iter().map(|(who, _)| *who).collect::<Vec<_>>(), [node, payer]);
    let holders = index.holders_by_balance(Page::first(2));
    assert_eq!(index.holders_by_balance(page)[..2], holders);
    assert_eq!(
        index.holders_by_balance(page)[2..4],
        index.holders_by_balance(Page::first(2).next())
    );
}

#[tokio::test]
async fn growth_is_told_of_a_role_to_the_unit_and_of_an_operator_not_at_all() {
    let (world, _) = world().await;
    let staking = world.chain.contracts().staking;
    let [node, payer] = [&world.node, &world.payer].map(Key::address);
    let role = StakeRole::Validator;
    world.chain.transfer(payer, open(500)).await.unwrap();
    let by_payer = world.sending_as(&world.payer);
    by_payer.stake(role, node, open(300)).await.unwrap();
    by_payer.stake(role, payer, open(100)).await.unwrap();
    let rate = 100_000_000_000_000_000;
    govern(&world, staking, abi::staking::Staking::setRateCall { role: 1, rate }).await;
    by_payer.fund_growth(role, open(50)).await.unwrap();
    world.pass(100 * 24 * 3_600).await;
    let penalty = abi::staking::Staking::addPenaltyCall { role: 1, operator: node, points: 200 };
    govern(&world, world.chain.contracts().roles, disputes(&world)).await;
    govern(&world, staking, penalty).await;
    world.pass(100 * 24 * 3_600).await;
    let (shares, _) = by_payer.position(role, node, payer).await.unwrap();
    by_payer.unbond(role, node, shares).await.unwrap();
    let indexer = fresh(&world.chain).await;
    let index = indexer.index();
    assert_agrees(&world, index).await;
    let vault = index.vault(role, node);
    assert!(vault.left > vault.staked, "it left with its growth");
    assert_eq!((vault.principal(), vault.cut_bps), (Amount::ZERO, 5_000));
    let grown = by_payer.stake_of(role, payer).await.unwrap().active;
    assert!(grown > index.vault(role, payer).principal(), "only the contract tells");
}

#[tokio::test]
async fn equals_on_a_leaderboard_are_in_the_order_of_their_addresses() {
    let (world, _) = world().await;
    let mut friends = [9, 3, 7, 1].map(Address::repeat_byte);
    for friend in friends {
        world.chain.transfer(friend, open(5)).await.unwrap();
    }
    friends.sort();
    let indexer = fresh(&world.chain).await;
    let page = indexer.index().holders_by_balance(Page { skip: 1, take: 4 });
    assert_eq!(page, friends.map(|friend| (friend, open(5))));
}

#[tokio::test]
async fn after_a_reorganisation_of_ten_blocks_the_index_is_that_of_the_new_chain() {
    let (world, _) = world().await;
    let mut indexer = fresh(&world.chain).await;
    for amount in 1..=10 {
        world.chain.transfer(world.payer.address(), open(amount)).await.unwrap();
        indexer.sync().await.unwrap();
    }
    assert_eq!(indexer.index().balance(world.payer.address()), open(55));
    world.dev.reorg(10).await.unwrap();
    let synced = indexer.sync().await.unwrap();
    assert_eq!((synced.undone, synced.done), (10, 10));
    assert_eq!(indexer.index().balance(world.payer.address()), Amount::ZERO);
    assert_same(&indexer, &fresh(&world.chain).await);

    world.chain.transfer(world.owner.address(), open(3)).await.unwrap();
    world.dev.roll_back(4).await.unwrap();
    assert_eq!(indexer.sync().await.unwrap().undone, 3, "a chain may become shorter");
    assert_same(&indexer, &fresh(&world.chain).await);
    story(&world).await;
    indexer.sync().await.unwrap();
    assert_agrees(&world, indexer.index()).await;
}

#[tokio::test]
async fn deeper_than_the_window_nothing_is_taken_back_but_all_can_be_forgotten() {
    let (world, _) = world().await;
    let options = IndexOptions::default().with_window(4).with_range(3);
    let mut indexer = Indexer::new(&world.chain, options);
    for reorg in [4, 5] {
        world.dev.mine_many(6, 1).await.unwrap();
        indexer.sync().await.unwrap();
        assert_same(&indexer, &fresh(&world.chain).await);
        world.dev.reorg(reorg).await.unwrap();
        if reorg == 4 {
            assert_eq!(indexer.sync().await.unwrap().undone, 4);
        }
    }
    let error = indexer.sync().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert!(error.to_string().contains("from the start"), "{error}");
    indexer.reset();
    indexer.sync().await.unwrap();
    assert_same(&indexer, &fresh(&world.chain).await);
}

#[tokio::test]
async fn a_chain_that_changes_at_any_request_is_read_as_one_or_the_other() {
    let (world, node) = world().await;
    let before = node.snapshot().unwrap();
    let [one, other] = {
        let mut forks = Vec::new();
        for account in [&world.payer, &world.owner] {
            node.restore(before).unwrap();
            for amount in 1..=3 {
                world.chain.transfer(account.address(), open(amount)).await.unwrap();
            }
            let fork = node.snapshot().unwrap();
            forks.push((fork, fresh(&world.chain).await));
        }
        <[_; 2]>::try_from(forks).unwrap()
    };
    let faults = Faults::none();
    let chain = through(&faults, &node, &world).await;
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("index");
    node.restore(before).unwrap();
    Indexer::open(&file, &chain, IndexOptions::default()).unwrap().sync().await.unwrap();
    let base = std::fs::read(&file).unwrap();
    for at in 0.. {
        std::fs::write(&file, &base).unwrap();
        let mut indexer = Indexer::open(&file, &chain, IndexOptions::default()).unwrap();
        node.restore(one.0).unwrap();
        let (changing, to) = (node.clone(), other.0);
        faults.rewrite(move |asked| {
            if asked.number == at {
                changing.restore(to).unwrap();
            }
            None
        });
        indexer.sync().await.unwrap();
        let asked = faults.asked().len();
        faults.rewrite(|_| None);
        let seen = if indexer.tip() == one.1.tip() { &one.1 } else { &other.1 };
        assert_same(&indexer, seen);
        indexer.sync().await.unwrap();
        assert_same(&indexer, if at < asked { &other.1 } else { &one.1 });
        if at >= asked {
            assert!(at > 5, "{at}");
            break;
        }
    }
}

async fn resumed(path: &Path, chain: &EvmChain, options: IndexOptions) -> Indexer {
    let mut indexer = Indexer::open(path, chain, options).unwrap();
    indexer.sync().await.unwrap();
    indexer
}

#[tokio::test]
async fn dropped_and_resumed_at_every_block_it_is_as_one_that_ran_through() {
    let (world, node) = world().await;
    let start = node.snapshot().unwrap();
    story(&world).await;
    let last = head(&world).await;
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("index");
    let options = IndexOptions::default().with_window(8).with_range(5);
    node.restore(start).unwrap();
    let first = head(&world).await;
    story(&world).await;
    assert_eq!(head(&world).await, last);
    let whole = node.snapshot().unwrap();
    for drop_last in (0..=last - first).rev() {
        node.restore(whole).unwrap();
        if drop_last > 0 {
            world.dev.roll_back(drop_last).await.unwrap();
        }
        let indexer = resumed(&file, &world.chain, options).await;
        assert_eq!(indexer.tip().map(|tip| tip.number), Some(last - drop_last));
    }
    let indexer = Indexer::open(&file, &world.chain, options).unwrap();
    assert_same(&indexer, &fresh(&world.chain).await);
}

#[tokio::test]
async fn killed_at_any_request_it_resumes_and_counts_nothing_twice() {
    let (world, node) = world().await;
    for amount in 1..=3 {
        world.chain.transfer(world.payer.address(), open(amount)).await.unwrap();
    }
    let expected = fresh(&world.chain).await;
    let faults = Faults::none();
    let chain = through(&faults, &node, &world).await;
    let place = tempfile::tempdir().unwrap();
    let options = IndexOptions::default().with_window(6).with_range(20);
    for at in 0.. {
        let file = place.path().join(format!("{at}"));
        let mut indexer = Indexer::open(&file, &chain, options).unwrap();
        faults.rewrite(move |asked| (asked.number == at).then_some(Fault::HangAfter));
        let hung = async {
            while !faults.hung() {
                tokio::task::yield_now().await;
            }
        };
        let ended = tokio::select! {
            synced = indexer.sync() => { synced.unwrap(); true }
            () = hung => false,
        };
        faults.rewrite(|_| None);
        if at % 2 == 0 {
            // Not killed, only dropped: the same indexer goes on.
            indexer.sync().await.unwrap();
            assert_same(&indexer, &expected);
        }
        drop(indexer);
        assert_same(&resumed(&file, &chain, options).await, &expected);
        if ended {
            assert!(at > 10, "{at}");
            break;
        }
    }
}

#[tokio::test]
async fn after_a_reset_the_file_is_written_again_though_the_last_block_is_the_same() {
    let (world, _) = world().await;
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("index");
    let options = IndexOptions::default();
    let mut indexer = resumed(&file, &world.chain, options).await;
    let written = std::fs::read(&file).unwrap();
    std::fs::remove_file(&file).unwrap();
    indexer.sync().await.unwrap();
    assert!(!file.exists(), "nothing is new");
    indexer.reset();
    indexer.sync().await.unwrap();
    assert_eq!(std::fs::read(&file).unwrap(), written);
}

#[tokio::test]
async fn a_file_that_is_cut_or_changed_anywhere_is_refused() {
    let (world, _) = world().await;
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("index");
    let options = IndexOptions::default().with_window(3);
    let written = resumed(&file, &world.chain, options).await;
    let whole = std::fs::read(&file).unwrap();
    let reopened = Indexer::open(&file, &world.chain, options).unwrap();
    assert_same(&reopened, &written);
    let step = 1 + whole.len() / 150;
    for at in (0..48).chain((48..whole.len()).step_by(step)) {
        let mut flipped = whole.clone();
        flipped[at] ^= 1 << (at % 8);
        for bytes in [&flipped[..], &whole[..at]] {
            std::fs::write(&file, bytes).unwrap();
            let error = Indexer::open(&file, &world.chain, options).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Corrupt, "{at}: {error:?}");
        }
    }
    std::fs::write(&file, &whole).unwrap();
}

#[tokio::test]
async fn a_file_of_another_chain_other_contracts_or_another_start_is_refused() {
    let (world, _) = world().await;
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("index");
    let options = IndexOptions::default();
    resumed(&file, &world.chain, options).await;
    let written = std::fs::read(&file).unwrap();

    let admin = world.admin.address();
    let deploy =
        async |provider| EvmChain::deploy(provider, DeployOptions::new(admin)).await.unwrap().chain;
    let second = deploy(world.chain.provider().clone()).await;
    let elsewhere = Genesis::default().with_chain_id(5);
    let elsewhere = deploy(openledger_chain::embedded(elsewhere, &keys()).unwrap()).await;
    let cases = [
        (&second, options, "an index of other contracts of this chain"),
        (&elsewhere, options, "an index of chain 31337, not 5"),
        (&world.chain, options.with_start(1), "an index from block 0 on, not 1"),
    ];
    for (chain, options, why) in cases {
        let error = Indexer::open(&file, chain, options).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Conflict);
        assert!(error.report().ends_with(why), "{}", error.report());
    }
    assert_eq!(std::fs::read(&file).unwrap(), written, "and it is left alone");
}

#[tokio::test]
async fn following_tells_of_each_look_until_it_is_told_to_stop() {
    let (world, node) = world().await;
    let before = node.snapshot().unwrap();
    world.chain.transfer(world.payer.address(), open(1)).await.unwrap();
    let mut indexer = Indexer::new(&world.chain, IndexOptions::default());
    let mut looks = Vec::new();
    let last = indexer.follow(std::time::Duration::ZERO, |index, synced| {
        looks.push((index.balance(world.payer.address()), synced.unwrap().undone));
        node.restore(before).unwrap();
        match looks.len() {
            3 => std::ops::ControlFlow::Break("enough"),
            _ => std::ops::ControlFlow::Continue(()),
        }
    });
    assert_eq!(last.await, "enough");
    assert_eq!(looks, [(open(1), 0), (Amount::ZERO, 1), (Amount::ZERO, 0)]);
}

/// What a node asked for logs did: the first and last block of each question by numbers.
type Ranges = Arc<Mutex<Vec<(u64, u64)>>>;

/// Refuses more than `most` blocks with this code and these words, and notes what is asked.
fn narrow(most: u64, code: i64, words: &'static str) -> (Faults, Ranges) {
    let ranges = Ranges::default();
    let noted = Arc::clone(&ranges);
    let faults = Faults::new(move |asked| {
        if asked.method != "eth_getLogs" {
            return None;
        }
        let params: serde_json::Value = serde_json::from_str(asked.params).unwrap();
        let number = |name: &str| {
            let text = params[0][name].as_str()?;
            u64::from_str_radix(text.trim_start_matches("0x"), 16).ok()
        };
        let (from, to) = (number("fromBlock")?, number("toBlock")?);
        noted.lock().unwrap().push((from, to));
        (to - from + 1 > most).then(|| Fault::Refuse(code, words.to_owned()))
    });
    (faults, ranges)
}

#[tokio::test]
async fn a_range_that_a_node_refuses_is_asked_for_by_halves() {
    let (world, node) = world().await;
    world.dev.mine_many(100, 1).await.unwrap();
    world.chain.transfer(world.payer.address(), open(1)).await.unwrap();
    world.dev.mine_many(10, 1).await.unwrap();
    let expected = fresh(&world.chain).await;
    for (code, words) in [
        (-32000, "exceed maximum block range: 7"),
        (-32005, "query returned more than 10000 results"),
        (-32602, "Log response size exceeded"),
    ] {
        let (faults, ranges) = narrow(7, code, words);
        let chain = through(&faults, &node, &world).await;
        let mut indexer = Indexer::new(&chain, IndexOptions::default().with_window(5));
        indexer.sync().await.unwrap();
        assert_same(&indexer, &expected);
        let ranges = ranges.lock().unwrap().clone();
        let given: Vec<_> = ranges.iter().filter(|(from, to)| to - from < 7).collect();
        assert_eq!(given[0].0, 0);
        let refused = ranges.iter().take_while(|(from, to)| to - from >= 7).count();
        assert!((4..7).contains(&refused), "by halves: {ranges:?}");
        assert!(given.windows(2).all(|pair| pair[1].0 == pair[0].1 + 1), "{given:?}");
        assert!(
            ranges.windows(2).all(|pair| pair[0] != pair[1]),
            "asked again in vain: {ranges:?}"
        );
    }
    let (faults, _) = narrow(0, -32000, "no logs here");
    let chain = through(&faults, &node, &world).await;
    let mut indexer = Indexer::new(&chain, IndexOptions::default().with_window(5));
    let error = indexer.sync().await.unwrap_err();
    assert!(error.report().contains("blocks 0 to 0: "), "{}", error.report());
    assert!(error.report().contains("no logs here"), "{}", error.report());
}

#[tokio::test]
async fn an_event_that_cannot_follow_the_others_is_named_and_changes_nothing() {
    let (world, _) = world().await;
    let start = head(&world).await + 1;
    let payment = world.chain.transfer(world.payer.address(), open(1)).await.unwrap();
    for window in [0, 256] {
        let options = IndexOptions::default().with_start(start).with_window(window);
        let mut indexer = Indexer::new(&world.chain, options);
        let error = indexer.sync().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt);
        let named = format!("log 0 of block {} contradicts the others", payment.tx.block);
        assert_eq!(error.to_string(), named);
        assert!(error.report().contains("the balance of"), "{}", error.report());
        assert_eq!((indexer.tip(), indexer.index()), (None, &Index::default()));
    }
}

/// A step of somebody, or of the chain.
#[derive(Clone, Copy, Debug)]
enum Step {
    Pay(usize, usize, u64),
    Deposit(usize, u64),
    Lock(usize, usize, u64),
    Withdraw(usize),
    Stake(usize, usize, u64),
    Contribute(usize, u8, u64),
    Decide(usize, u8, bool),
    Wait(u64),
    Reorg(u64),
    RollBack(u64),
    Sync,
    Reopen,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let who = 0..5usize;
    let step = prop_oneof![
        3 => (who.clone(), who.clone(), 0..50u64).prop_map(|(a, b, n)| Step::Pay(a, b, n)),
        2 => (who.clone(), 1..50u64).prop_map(|(a, n)| Step::Deposit(a, n)),
        2 => (who.clone(), who.clone(), 1..20u64).prop_map(|(a, b, n)| Step::Lock(a, b, n)),
        1 => who.clone().prop_map(Step::Withdraw),
        2 => (who.clone(), who.clone(), 1..20u64).prop_map(|(a, b, n)| Step::Stake(a, b, n)),
        2 => (who.clone(), 1..4u8, 1..9u64).prop_map(|(a, r, n)| Step::Contribute(a, r, n)),
        2 => (who, 1..4u8, any::<bool>()).prop_map(|(a, r, yes)| Step::Decide(a, r, yes)),
        1 => (1..9_000u64).prop_map(Step::Wait),
        2 => (1..12u64).prop_map(Step::Reorg),
        1 => (1..6u64).prop_map(Step::RollBack),
        4 => Just(Step::Sync),
        1 => Just(Step::Reopen),
    ];
    prop::collection::vec(step, 1..40)
}

/// Does a step, or has it refused: what it comes to is the contracts' business.
async fn take(world: &World, datanet: DatanetId, step: Step) {
    let people = keys();
    let by = |who: usize| world.sending_as(&people[who]);
    let name = |who: usize, root: u8| ContributionName {
        datanet,
        contributor: people[who].address(),
        root: B256::repeat_byte(root),
    };
    let done = match step {
        Step::Pay(from, to, amount) => {
            by(from).transfer(people[to].address(), open(amount)).await.map(drop)
        }
        Step::Deposit(who, amount) => by(who).deposit(open(amount)).await.map(drop),
        Step::Lock(who, payee, amount) => {
            let later = world.chain.now().await.unwrap() + 5_000;
            by(who).authorize(people[payee].address(), open(amount), later).await.map(drop)
        }
        Step::Withdraw(who) => {
            by(who).request_withdrawal(open(5)).await.unwrap();
            world.pass(DELAY).await;
            by(who).withdraw().await.map(drop)
        }
        Step::Stake(who, behind, amount) => {
            let operator = people[behind].address();
            by(who).stake(StakeRole::Validator, operator, open(amount)).await.map(drop)
        }
        Step::Contribute(who, root, rows) => {
            let offer = Offer { datanet, root: B256::repeat_byte(root), rows, da: B256::ZERO };
            by(who).contribute(&offer).await.map(drop)
        }
        Step::Decide(who, root, yes) => {
            world.sending_as(&world.owner).decide(&name(who, root), yes).await.map(drop)
        }
        Step::Wait(seconds) => {
            world.pass(seconds).await;
            Ok(())
        }
        Step::Reorg(depth) => world.dev.reorg(depth).await,
        Step::RollBack(depth) => world.dev.roll_back(depth).await,
        Step::Sync | Step::Reopen => Ok(()),
    };
    // A refusal is no event; anything else would be a fault of the test.
    if let Err(error) = done {
        assert_eq!(error.kind(), ErrorKind::Denied, "{step:?}: {error:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn whatever_happens_the_index_is_that_of_one_begun_now(
        steps in steps(), window in 12..40usize, range in 1..30u64
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let (world, _) = world().await;
            for key in keys() {
                world.chain.transfer(key.address(), open(100)).await.unwrap();
            }
            let by_owner = world.sending_as(&world.owner);
            let entry = DatanetEntry::new("bread", B256::ZERO);
            let datanet = by_owner.create_datanet(&entry).await.unwrap().value;
            world.dev.mine_many(12, 1).await.unwrap();
            let place = tempfile::tempdir().unwrap();
            let file = place.path().join("index");
            let options = IndexOptions::default().with_window(window).with_range(range);
            let mut indexer = Indexer::open(&file, &world.chain, options).unwrap();
            let mut steps = steps;
            steps.push(Step::Sync);
            for step in steps {
                take(&world, datanet, step).await;
                match step {
                    Step::Reopen => {
                        indexer = Indexer::open(&file, &world.chain, options).unwrap();
                    }
                    Step::Sync => match indexer.sync().await {
                        Ok(_) => {}
                        // Several reorganisations between two readings may reach deeper.
                        Err(error) => {
                            assert_eq!(error.kind(), ErrorKind::Conflict, "{error:?}");
                            indexer.reset();
                            indexer.sync().await.unwrap();
                        }
                    },
                    _ => continue,
                }
                if matches!(step, Step::Sync) {
                    assert_same(&indexer, &fresh(&world.chain).await);
                }
            }
            assert_agrees(&world, indexer.index()).await;
        });
    }
}

/// Bytes of a whole body, made once: a chain of contracts takes a while to deploy.
fn body() -> &'static (openledger_chain::Contracts, Vec<u8>) {
    static BODY: std::sync::OnceLock<(openledger_chain::Contracts, Vec<u8>)> =
        std::sync::OnceLock::new();
    BODY.get_or_init(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let (world, _) = world().await;
            story(&world).await;
            let place = tempfile::tempdir().unwrap();
            let file = place.path().join("index");
            resumed(&file, &world.chain, IndexOptions::default().with_window(60)).await;
            let bytes = std::fs::read(&file).unwrap();
            (*world.chain.contracts(), bytes[40..].to_vec())
        })
    })
}

proptest! {
    #[test]
    fn a_forged_file_is_read_to_one_meaning_or_refused(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        cut in prop::option::weighted(0.2, any::<prop::sample::Index>()),
    ) {
        let (contracts, body) = body();
        prop_assert_eq!(&read_index(body, contracts).unwrap(), body);
        let mut forged = body.clone();
        for (at, byte) in changes {
            let at = at.index(forged.len());
            forged[at] = byte;
        }
        if let Some(cut) = cut {
            forged.truncate(cut.index(forged.len()));
        }
        if let Ok(again) = read_index(&forged, contracts) {
            prop_assert_eq!(again, forged);
        }
    }
}
