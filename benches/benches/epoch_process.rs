//! What does a whole epoch cost a process: CPU seconds, and memory at its peak?
//!
//! One million receipts of 8 rows for 100,000 accounts, added one by one on top of 100,000 earlier
//! claims; then the batch's tree, the tree of claims, its publication, loading it again as a
//! claimer does, and OpenZeppelin's JSON of it. Generating receipts and checking their signatures
//! are printed beside it: they are not part of an epoch, which begins with verified receipts.
//!
//! With `NODE_MODULES=DIR`, where `@openzeppelin/merkle-tree` is, `epoch.mjs` beside this builds the
//! tree of the same leaves in the same run. Two numbers change how many receipts and accounts:
//!
//! ```text
//! NODE_MODULES=... cargo bench -p openledger-benches --bench epoch_process -- 1000000 100000
//! ```
//!
//! Linux only: it reads `/proc`.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark prints and may panic")]

mod receipts;

use std::{
    env, fs,
    io::{BufWriter, Write},
    path::Path,
    process::Command,
};

use openledger_chain::{
    FeeAccounts,
    da::{Availability, Local},
    settlement::{Before, Claim, ClaimLeaf, Distributor, EpochBuilder, FeeSplit, Published},
};
use openledger_core::{
    Address, Amount, B256, Key, Store, U256,
    merkle::StandardTree,
    message::{Domain, Signed, Verified},
};

/// Receipts made at once, so that making and adding can be told apart: 2 MB.
const CHUNK: u64 = 1_000;

fn main() {
    let numbers: Vec<u64> = env::args().filter_map(|arg| arg.parse().ok()).collect();
    let receipts = numbers.first().copied().unwrap_or(1_000_000);
    let accounts = numbers.get(1).copied().unwrap_or(100_000);
    println!("{receipts} receipts of {} rows, {accounts} accounts", receipts::ROWS);

    let people: Vec<Address> = (0..accounts).map(receipts::account).collect();
    let mut clock = Clock::default();
    let epoch = collect(receipts, &people, &mut clock);

    let batch = clock.spend("build the batch's tree", || epoch.batch().unwrap().root());
    let settlement = clock.spend("build the tree of claims", || {
        epoch.build(&distributor(), Amount::new(U256::MAX)).unwrap()
    });
    let (root, total) = (settlement.root(), settlement.total());
    println!(
        "  batch {batch}\n  root {root}, {} OPEN in {} claims",
        total.to_open(),
        settlement.claims().len()
    );
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let da = Availability::new(Local::new(Store::memory()));
    let published = clock.spend("publish", || runtime.block_on(settlement.publish(&da)).unwrap());
    println!("an epoch: {:.2} CPU seconds, {} MB at the peak", clock.total, peak_mb());

    let claims: Vec<Claim> = published.settlement().claims().to_vec();
    let certificate = published.certificate().clone();
    drop(published);
    let loaded = clock.spend("load and check as a claimer", || {
        runtime.block_on(Published::load(&da, &certificate, root)).unwrap()
    });
    let json = env::temp_dir().join(format!("openledger-epoch-{}.json", std::process::id()));
    clock.spend("write OpenZeppelin's JSON", || {
        let mut file = BufWriter::new(fs::File::create(&json).unwrap());
        loaded.settlement().dump_to(&mut file).unwrap();
        file.flush().unwrap();
    });
    println!("  {} bytes; {} MB at the peak", fs::metadata(&json).unwrap().len(), peak_mb());
    drop(loaded);
    signatures(&people);
    peer(&claims, root, &json);
    fs::remove_file(json).unwrap();
}

/// Adds receipts, counting only that.
fn collect(receipts: u64, people: &[Address], clock: &mut Clock) -> EpochBuilder {
    let accounts = FeeAccounts {
        treasury: Address::repeat_byte(0x7e),
        staking_pool: Address::repeat_byte(0x57),
    };
    let mut epoch = clock.spend("read the earlier claims", || {
        let before = Before::new(receipts::claims(people.len() as u64)).unwrap();
        EpochBuilder::new(FeeSplit::default(), accounts, before)
    });
    let (mut made, mut added) = (0.0, 0.0);
    for first in (0..receipts).step_by(usize::try_from(CHUNK).unwrap()) {
        let begun = cpu_seconds();
        let chunk: Vec<_> = (first..receipts.min(first + CHUNK))
            .map(|n| Verified::pretend(receipts::receipt(n, people)))
            .collect();
        let made_at = cpu_seconds();
        for receipt in &chunk {
            epoch.add(receipt, Address::repeat_byte(0x0e)).unwrap();
        }
        made += made_at - begun;
        added += cpu_seconds() - made_at;
    }
    clock.record("add the receipts", added);
    println!("  (making and hashing them took {made:.2} s, not counted)");
    epoch
}

/// What a node spends on a receipt when it arrives.
fn signatures(people: &[Address]) {
    let node = Key::from_bytes(B256::repeat_byte(6)).unwrap();
    let domain = Domain { chain_id: 1, contract: Address::ZERO };
    let signed: Vec<_> = (0..1_000)
        .map(|n| {
            let receipt = receipts::receipt(n, people);
            Signed::sign(
                openledger_core::Receipt { node: node.address(), ..receipt },
                domain,
                &node,
            )
        })
        .collect();
    let begun = cpu_seconds();
    for receipt in &signed {
        receipt.verify_reusable(&domain, 1).unwrap();
    }
    let each = (cpu_seconds() - begun) * 1e6 / signed.len() as f64;
    println!("on arrival, not part of an epoch: {each:.0} us to check a signature");
}

/// The tree alone, by us and by OpenZeppelin, from the leaves in `json`.
fn peer(claims: &[Claim], root: B256, json: &Path) {
    let leaves: Vec<ClaimLeaf> = claims.iter().map(|claim| claim.leaf(&distributor())).collect();
    let begun = cpu_seconds();
    let tree = StandardTree::new(leaves).unwrap();
    let ours = cpu_seconds() - begun;
    assert_eq!(tree.root(), root);
    println!("{} leaves, ours: {:.1} ms", claims.len(), ours * 1e3);
    let Ok(modules) = env::var("NODE_MODULES") else {
        println!("OpenZeppelin's tree skipped: NODE_MODULES is not set");
        return;
    };
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/epoch.mjs");
    let mut node = Command::new("node");
    let node = node.arg("--max-old-space-size=8192").arg(script).arg(json);
    let output = node.env("NODE_MODULES", modules).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let printed = String::from_utf8(output.stdout).unwrap();
    let (theirs, their_root) = printed.trim().split_once(' ').unwrap();
    let theirs: f64 = theirs.parse().unwrap();
    assert_eq!(their_root.parse::<B256>().unwrap(), root, "both build one tree");
    println!(
        "the same leaves, OpenZeppelin: {theirs:.1} ms, {:.0} times as long",
        theirs / ours / 1e3
    );
}

fn distributor() -> Distributor {
    Distributor {
        chain_id: 1612,
        contract: Address::repeat_byte(1),
        token: Address::repeat_byte(2),
    }
}

/// Adds up what an epoch spends.
#[derive(Default)]
struct Clock {
    total: f64,
}

impl Clock {
    fn spend<T>(&mut self, what: &str, work: impl FnOnce() -> T) -> T {
        let begun = cpu_seconds();
        let result = work();
        self.record(what, cpu_seconds() - begun);
        result
    }

    fn record(&mut self, what: &str, seconds: f64) {
        self.total += seconds;
        println!("{what}: {seconds:.2} s");
    }
}

/// Returns for how long this process, which has one thread, has run.
fn cpu_seconds() -> f64 {
    let stat = fs::read_to_string("/proc/self/schedstat").unwrap();
    stat.split(' ').next().unwrap().parse::<f64>().unwrap() / 1e9
}

/// Returns the most memory that this process ever had, in MB.
fn peak_mb() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024 / 1_000_000
}
