//! What does a receipt cost an epoch of 100,000 accounts, beside the check of its signature; and
//! what does the epoch's tree? For a whole process, with memory and a peer, see `epoch_process.rs`.

#![expect(clippy::unwrap_used, reason = "a benchmark may panic")]
#![allow(missing_docs, reason = "criterion makes public functions")]

mod receipts;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use openledger_chain::{
    FeeAccounts,
    settlement::{Before, Distributor, EpochBuilder, FeeSplit},
};
use openledger_core::{
    Address, Amount, B256, Key, Receipt, U256,
    message::{Domain, Signed, Verified},
};

const ACCOUNTS: u64 = 100_000;

fn builder() -> EpochBuilder {
    let accounts =
        FeeAccounts { treasury: Address::repeat_byte(7), staking_pool: Address::repeat_byte(8) };
    let before = Before::new(receipts::claims(ACCOUNTS)).unwrap();
    EpochBuilder::new(FeeSplit::default(), accounts, before)
}

fn epoch(criterion: &mut Criterion) {
    let people: Vec<Address> = (0..ACCOUNTS).map(receipts::account).collect();
    let mut group = criterion.benchmark_group("epoch");
    group.sample_size(10);

    let verified: Vec<_> =
        (0..10_000).map(|n| Verified::pretend(receipts::receipt(n, &people))).collect();
    group.throughput(Throughput::Elements(verified.len() as u64));
    group.bench_function("add receipts of 8 rows", |b| {
        let add = |mut epoch: EpochBuilder| {
            for receipt in &verified {
                epoch.add(receipt, Address::repeat_byte(9)).unwrap();
            }
            epoch
        };
        b.iter_batched(builder, add, BatchSize::PerIteration);
    });

    let node = Key::from_bytes(B256::repeat_byte(6)).unwrap();
    let domain = Domain { chain_id: 1, contract: Address::ZERO };
    let receipt = Receipt { node: node.address(), ..receipts::receipt(0, &people) };
    let signed = Signed::sign(receipt, domain, &node);
    group.throughput(Throughput::Elements(1));
    group.bench_function("check a signature", |b| {
        b.iter(|| signed.verify_reusable(&domain, 1).unwrap());
    });

    let distributor = Distributor { chain_id: 1, contract: Address::ZERO, token: Address::ZERO };
    group.throughput(Throughput::Elements(ACCOUNTS));
    group.bench_function("build the tree of 100,000 claims", |b| {
        let build =
            |epoch: EpochBuilder| epoch.build(&distributor, Amount::new(U256::MAX)).unwrap();
        b.iter_batched(builder, build, BatchSize::PerIteration);
    });
    group.finish();
}

criterion_group!(benches, epoch);
criterion_main!(benches);
