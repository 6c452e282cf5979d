//! Decentralised training in one process: as good as one worker with all rows, whoever dies or lies.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use openledger_core::{
    Address, B256, Bytes, ErrorKind, Key, Row,
    message::{Domain, LocalUpdate, Signed},
    share,
};
use openledger_model::{Lora, LoraConfig, Network, Template, Tokens, testing};
use openledger_train::{
    NativeRun, Optimiser, Plan, Replace, Schedule,
    federated::{
        Combine, Coordinator, Defence, Exchange, Federation, FederationRecord, HeldOut,
        HeldOutRows, Host, Matrices, Outcome, Outer, Reason, Turn, Worker, conformance,
    },
};
use proptest::prelude::*;

const ROUNDS: u64 = 8;
const STEPS: u64 = 5;

fn key(index: usize) -> Key {
    Key::from_bytes(B256::repeat_byte(index as u8 + 1)).unwrap()
}

fn domain() -> Domain {
    Domain { chain_id: 1612, contract: Address::repeat_byte(1) }
}

fn terms() -> Federation {
    Federation::new(B256::repeat_byte(2), domain(), (0..3).map(|index| key(index).address()))
        .with_rounds(ROUNDS, STEPS)
        .with_deadline(60, 2)
}

/// A small model, an adapter to start with, rows to learn and rows held out.
struct World {
    network: Arc<Network>,
    config: LoraConfig,
    start: Vec<u8>,
    rows: Vec<Tokens>,
    held_out: Vec<Tokens>,
}

impl World {
    fn new() -> Self {
        let model = testing::tiny(1).unwrap();
        let network = Arc::new(model.network().clone());
        let config = LoraConfig::default().with_rank(4, 8.0);
        let start =
            Lora::init(&network, &config, 7).unwrap().to_files(&network, &config).weights.into();
        let rows: Vec<Tokens> = (0..60u32)
            .map(|i| {
                let text = format!("{} and {} is {}", i % 7, i / 7, i % 7 + i / 7);
                let row = Row::passage(&text);
                let template = Template::default();
                template.row(model.tokenizer(), &row.unwrap(), model.eos(), 64).unwrap()
            })
            .collect();
        let (held_out, rows): (Vec<_>, Vec<_>) =
            rows.into_iter().enumerate().partition(|(index, _)| index % 5 == 4);
        let [held_out, rows] =
            [held_out, rows].map(|rows| rows.into_iter().map(|(_, row)| row).collect());
        Self { network, config, start, rows, held_out }
    }

    fn run(&self) -> Box<dyn Replace> {
        let network = Arc::clone(&self.network);
        let optimiser = Optimiser::default();
        Box::new(NativeRun::start(network, &self.config, optimiser, &self.start).unwrap())
    }

    fn held_out(&self) -> HeldOutRows {
        let network = Arc::clone(&self.network);
        HeldOutRows::new(network, self.config.clone(), self.held_out.clone()).unwrap()
    }

    fn worker(&self, index: usize, of: usize) -> Worker<Vec<Tokens>> {
        let rows = self.rows.iter().skip(index).step_by(of).cloned().collect();
        let plan =
            Plan::default().with_batch(12 / of).with_rate(1e-2, 2, Schedule::Cosine).with_seed(1);
        Worker::new(key(index), domain(), self.run(), rows, plan)
    }

    fn coordinator(&self, terms: Federation, now: u64) -> Coordinator {
        Coordinator::new(terms, &self.start, now).unwrap().with_held_out(self.held_out()).unwrap()
    }
}

/// What a worker does with the update it made.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Does {
    Sends,
    /// Is gone from this round on.
    DiesAt(u64),
    /// Is away in between.
    AwayFrom(u64, u64),
    /// Sends this many times what it learned.
    Times(f32),
    NotANumber,
    Noise,
}

/// A worker's connection, which does that.
#[derive(Debug)]
struct Line {
    host: Host,
    key: Key,
    does: Does,
}

#[async_trait::async_trait]
impl Exchange for Line {
    async fn round(&self) -> openledger_core::Result<openledger_train::federated::Round> {
        self.host.round().await
    }

    async fn matrices(
        &self,
        round: &openledger_train::federated::Round,
    ) -> openledger_core::Result<Bytes> {
        self.host.matrices(round).await
    }

    async fn submit(
        &self,
        update: Signed<LocalUpdate>,
        bytes: Bytes,
    ) -> openledger_core::Result<()> {
        let start = Matrices::parse(self.host.gate().matrices()).unwrap();
        let bytes = match self.does {
            Does::Times(factor) => {
                let update = start.parse_like(&bytes).unwrap();
                start.with_values(update.values().iter().map(|x| x * factor).collect()).to_bytes()
            }
            Does::NotANumber => {
                let mut bytes = bytes.to_vec();
                let end = bytes.len() - 4;
                bytes[end..].copy_from_slice(&f32::NAN.to_le_bytes());
                bytes.into()
            }
            Does::Noise => (0..bytes.len()).map(|i| (i * i * 31 + i * 7) as u8).collect(),
            _ => bytes,
        };
        let said = LocalUpdate { update: Matrices::digest(&bytes), ..*update.unverified() };
        self.host.submit(Signed::sign(said, update.domain(), &self.key), bytes).await
    }
}

/// Runs all rounds; returns the matrices, the held-out loss and the record.
async fn train(
    world: &World,
    terms: Federation,
    does: [Does; 3],
) -> (Bytes, f64, FederationRecord) {
    let clock = Arc::new(AtomicU64::new(1_800_000_000));
    let now = Arc::clone(&clock);
    let coordinator = world.coordinator(terms, clock.load(Ordering::SeqCst));
    let host = Host::new(coordinator, move || now.load(Ordering::SeqCst));
    let mut workers: Vec<(Line, Worker<Vec<Tokens>>)> = (0..3)
        .map(|index| {
            let line = Line { host: host.clone(), key: key(index), does: does[index] };
            (line, world.worker(index, 3))
        })
        .collect();
    while !host.gate().round().is_over() {
        let number = host.gate().round().number;
        for (line, worker) in &mut workers {
            match line.does {
                Does::DiesAt(round) if number >= round => continue,
                Does::AwayFrom(from, to) if (from..to).contains(&number) => continue,
                _ => {}
            }
            worker.turn(line).await.unwrap();
        }
        // Nobody works any more: the deadline comes.
        if host.gate().round().number == number {
            clock.fetch_add(60, Ordering::SeqCst);
            host.poll().unwrap();
        }
    }
    let honest = does.iter().position(|does| *does == Does::Sends).unwrap();
    let (line, worker) = &mut workers[honest];
    let Turn::Over(matrices) = worker.turn(line).await.unwrap() else { panic!("all is over") };
    let loss = world.held_out().loss(&matrices).unwrap();
    (matrices, loss, host.record())
}

/// One worker with all rows and batches as large as all three together.
fn alone(world: &World) -> f64 {
    let terms = Federation::new(B256::repeat_byte(2), domain(), [key(0).address()])
        .with_rounds(1, ROUNDS * STEPS);
    let coordinator = world.coordinator(terms, 0);
    let gate = Arc::clone(coordinator.gate());
    let mut worker = world.worker(0, 1);
    let (_, update) = worker.train(gate.round(), gate.matrices()).unwrap();
    let start = Matrices::parse(gate.matrices()).unwrap();
    let end = start.moved(&start.parse_like(&update).unwrap());
    world.held_out().loss(&end.to_bytes()).unwrap()
}

#[tokio::test]
async fn three_workers_with_a_third_each_learn_what_one_learns_from_all() {
    let world = World::new();
    let before = world.held_out().loss(&world.start).unwrap();
    let alone = alone(&world);
    assert!(alone < before - 1.0, "{before} {alone}");

    let lies = [
        (Does::Times(-1.0), Some(Reason::Worsens)),
        (Does::Times(100.0), Some(Reason::TooLarge)),
        (Does::Times(0.0), Some(Reason::Idle)),
        (Does::NotANumber, Some(Reason::NotFinite)),
        (Does::Noise, Some(Reason::Malformed)),
        (Does::DiesAt(ROUNDS / 2), None),
        (Does::AwayFrom(1, 4), None),
        (Does::Sends, None),
    ];
    for (does, reason) in lies {
        let (_, together, record) = train(&world, terms(), [Does::Sends, does, Does::Sends]).await;
        println!("{does:?}: alone {alone:.4}, together {together:.4}");
        assert!(together < alone * 1.03, "{does:?}: {together} {alone}");
        assert_eq!(record.rounds.len() as u64, ROUNDS);
        let liar = key(1).address();
        let of_liar = record.rounds.iter().flat_map(|round| &round.updates);
        let of_liar: Vec<Outcome> = of_liar
            .filter(|update| update.signed.unverified().worker == liar)
            .map(|update| update.outcome)
            .collect();
        match reason {
            Some(reason) => {
                // At the end of the schedule steps are so small that no direction harms, or can be seen.
                let unseen = usize::from(reason == Reason::Worsens);
                let refused = of_liar.iter().filter(|o| **o == Outcome::Refused { reason }).count();
                assert!(refused + unseen >= ROUNDS as usize, "{of_liar:?}");
                let paid = record.shares().unwrap().get(&liar).map_or(0, |share| share.part);
                assert!(paid * (2 * ROUNDS) <= share::WHOLE * unseen as u64, "a lie is not paid");
            }
            None => assert!(of_liar.iter().all(|o| matches!(o, Outcome::Counted { .. }))),
        }
        let expected = match does {
            Does::DiesAt(_) => ROUNDS / 2,
            Does::AwayFrom(from, to) => ROUNDS - (to - from),
            _ => ROUNDS,
        };
        assert_eq!(of_liar.len() as u64, expected);
        let parts: u64 = record.shares().unwrap().values().map(|share| share.part).sum();
        assert_eq!(parts, share::WHOLE);
        let json = record.to_json();
        let read = FederationRecord::parse(&json).unwrap();
        assert_eq!((read.digest(), &read), (record.digest(), &record));
    }
}

#[tokio::test]
async fn robust_rules_and_diloco_learn_as_well() {
    let world = World::new();
    let before = world.held_out().loss(&world.start).unwrap();
    let alone = alone(&world);
    for (combine, outer) in [
        (Combine::Median, Outer::Average),
        (Combine::TrimmedMean { liars: 1 }, Outer::Average),
        (Combine::GeometricMedian, Outer::Average),
        (Combine::Mean, Outer::Nesterov { rate: 0.7, momentum: 0.5 }),
    ] {
        let terms =
            terms().with_defence(Defence::default().with_combine(combine)).with_outer(outer);
        let (_, together, _) = train(&world, terms, [Does::Sends; 3]).await;
        println!("{combine:?} {outer:?}: {together:.4} of {alone:.4}, from {before:.4}");
        assert!(together < alone + 0.15 * (before - alone), "{combine:?} {outer:?}: {together}");
    }
}

#[tokio::test]
async fn the_same_updates_give_the_same_bytes_in_any_order() {
    let world = World::new();
    let mut ends = Vec::new();
    for order in [[0, 1, 2], [2, 0, 1], [1, 2, 0]] {
        let mut coordinator = world.coordinator(terms(), 0);
        let mut workers: Vec<_> = (0..3).map(|index| world.worker(index, 3)).collect();
        for _ in 0..2 {
            let gate = Arc::clone(coordinator.gate());
            for index in order {
                let worker = &mut workers[index];
                let (signed, bytes) = worker.train(gate.round(), gate.matrices()).unwrap();
                assert!(coordinator.poll(1).unwrap().is_none(), "not all are there");
                coordinator.submit(signed, bytes, 1).unwrap();
            }
            assert!(coordinator.poll(1).unwrap().is_some());
        }
        ends.push((coordinator.gate().matrices().clone(), coordinator.record().digest()));
    }
    assert!(ends.iter().all(|end| *end == ends[0]));
}

#[tokio::test]
async fn a_liar_who_claims_more_work_weighs_no_more_than_twice_the_median() {
    let world = World::new();
    let mut coordinator = world.coordinator(terms(), 0);
    let gate = Arc::clone(coordinator.gate());
    for index in 0..3 {
        let (signed, bytes) = world.worker(index, 3).train(gate.round(), gate.matrices()).unwrap();
        let claims = if index == 0 { 4_000_000 } else { signed.unverified().labels };
        let said = LocalUpdate { labels: claims, ..*signed.unverified() };
        coordinator.submit(Signed::sign(said, domain(), &key(index)), bytes, 1).unwrap();
    }
    coordinator.poll(1).unwrap().unwrap();
    let shares = coordinator.record().shares().unwrap();
    let liar = shares[&key(0).address()].part;
    assert!(liar <= share::WHOLE / 2 + share::WHOLE / 100, "{liar}");
}

#[test]
fn without_a_quorum_a_round_goes_on() {
    let world = World::new();
    let mut coordinator = world.coordinator(terms(), 0);
    let gate = Arc::clone(coordinator.gate());
    let (signed, bytes) = world.worker(0, 3).train(gate.round(), gate.matrices()).unwrap();
    coordinator.submit(signed, bytes, 1).unwrap();
    assert!(coordinator.poll(60).unwrap().is_none());
    let round = coordinator.gate().round().clone();
    assert_eq!((round.number, round.start, round.deadline), (0, gate.round().start, 120));
    let (signed, bytes) = world.worker(2, 3).train(&round, gate.matrices()).unwrap();
    coordinator.submit(signed, bytes, 61).unwrap();
    assert!(coordinator.poll(119).unwrap().is_none());
    let record = coordinator.poll(120).unwrap().unwrap();
    assert_eq!(record.updates.len(), 2, "what came before the first deadline counts");
}

/// Four rounds with a coordinator that is lost and begun again wherever `lost` says so: before each update,
/// behind each update, behind each round. The third worker is away in the second round.
fn rounds(
    world: &World,
    folder: Option<&std::path::Path>,
    mut lost: impl FnMut() -> bool,
) -> (Bytes, FederationRecord) {
    let terms = terms().with_rounds(4, 2).with_outer(Outer::DILOCO);
    let begin = |now: u64| {
        let coordinator = world.coordinator(terms.clone(), now);
        match folder {
            Some(folder) => coordinator.with_folder(folder).unwrap(),
            None => coordinator,
        }
    };
    let mut workers: Vec<_> = (0..3).map(|index| world.worker(index, 3)).collect();
    let (mut coordinator, mut now) = (begin(0), 0);
    while !coordinator.gate().round().is_over() {
        let gate = Arc::clone(coordinator.gate());
        for (index, worker) in workers.iter_mut().enumerate() {
            if (index, gate.round().number) == (2, 1) {
                continue;
            }
            now += 1;
            if lost() {
                coordinator = begin(now);
            }
            let (signed, bytes) = worker.train(gate.round(), gate.matrices()).unwrap();
            coordinator.submit(signed.clone(), bytes.clone(), now).unwrap();
            if lost() {
                coordinator = begin(now);
            }
            // Who does not know whether it arrived sends it again.
            coordinator.submit(signed, bytes, now).unwrap();
        }
        if gate.round().number == 1 {
            now = gate.round().deadline;
        }
        assert!(coordinator.poll(now).unwrap().is_some());
        if lost() {
            coordinator = begin(now);
        }
    }
    (coordinator.gate().matrices().clone(), coordinator.record())
}

#[test]
fn a_coordinator_that_is_lost_at_any_time_goes_on_to_the_same_matrices_and_record() {
    let world = World::new();
    let whole = rounds(&world, None, || false);
    assert_eq!(whole.1.rounds.len(), 4);
    assert_eq!(whole.1.rounds[1].updates.len(), 2);
    for every in [1, 2, 5] {
        let folder = tempfile::tempdir().unwrap();
        let mut turn = 0;
        let found = rounds(&world, Some(folder.path()), || {
            turn += 1;
            turn % every == 0
        });
        assert_eq!(found.0, whole.0, "every {every}");
        assert_eq!(found.1, whole.1);
        assert_eq!(found.1.digest(), whole.1.digest());
    }
}

#[test]
fn the_folder_of_another_run_or_with_changed_bytes_is_refused_and_named() {
    let world = World::new();
    let folder = tempfile::tempdir().unwrap();
    let open = |terms: Federation, start: &[u8]| {
        Coordinator::new(terms, start, 0).unwrap().with_folder(folder.path())
    };
    let mut coordinator = open(terms(), &world.start).unwrap();
    let gate = Arc::clone(coordinator.gate());
    let (signed, bytes) = world.worker(0, 3).train(gate.round(), gate.matrices()).unwrap();
    coordinator.submit(signed, bytes, 1).unwrap();
    let other = open(terms().with_rounds(9, 9), &world.start).unwrap_err();
    assert_eq!(other.kind(), ErrorKind::Conflict);
    let start = Matrices::parse(&world.start).unwrap();
    let moved = start.with_values(start.values().iter().map(|x| x * 2.0).collect());
    assert_eq!(open(terms(), &moved.to_bytes()).unwrap_err().kind(), ErrorKind::Conflict);
    for file in std::fs::read_dir(folder.path()).unwrap() {
        let path = file.unwrap().path();
        let whole = std::fs::read(&path).unwrap();
        for at in [0, 20, whole.len() / 2, whole.len() - 1] {
            let mut changed = whole.clone();
            changed[at] ^= 1;
            std::fs::write(&path, &changed).unwrap();
            let error = open(terms(), &world.start).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Corrupt, "{error:?}");
            assert!(error.to_string().contains(path.to_str().unwrap()), "{error}");
            std::fs::write(&path, &whole[..at]).unwrap();
            assert_eq!(open(terms(), &world.start).unwrap_err().kind(), ErrorKind::Corrupt);
        }
        std::fs::write(&path, &whole).unwrap();
    }
    assert!(open(terms(), &world.start).is_ok());
}

#[test]
fn an_update_that_cannot_be_written_was_not_taken_and_a_round_stays_open() {
    let world = World::new();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run");
    let coordinator = Coordinator::new(terms(), &world.start, 0).unwrap();
    let mut coordinator = coordinator.with_folder(&path).unwrap();
    let gate = Arc::clone(coordinator.gate());
    let update = |index| world.worker(index, 3).train(gate.round(), gate.matrices()).unwrap();
    let updates = [0, 1, 2].map(update);
    std::fs::remove_dir_all(&path).unwrap();
    let (signed, bytes) = updates[0].clone();
    let error = coordinator.submit(signed, bytes, 1).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    std::fs::create_dir(&path).unwrap();
    for (signed, bytes) in updates {
        coordinator.submit(signed, bytes, 1).unwrap();
    }
    std::fs::remove_dir_all(&path).unwrap();
    assert!(coordinator.poll(1).is_err());
    assert_eq!(coordinator.gate().round().number, 0);
    std::fs::create_dir(&path).unwrap();
    assert_eq!(coordinator.poll(2).unwrap().unwrap().updates.len(), 3);
}

#[test]
fn terms_that_cannot_be_kept_are_refused() {
    let world = World::new();
    for wrong in [
        terms().with_rounds(0, 1),
        terms().with_rounds(1, 0),
        terms().with_deadline(0, 2),
        terms().with_deadline(60, 0),
        terms().with_deadline(60, 4),
        terms().with_defence(Defence::default().with_norms(0.1, 0.5)),
        terms().with_defence(Defence::default().with_worsening(f64::NAN)),
    ] {
        let refused = Coordinator::new(wrong, &world.start, 0).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Invalid);
    }
    assert!(Coordinator::new(terms(), b"garbage", 0).is_err());
}

#[tokio::test]
async fn a_host_keeps_the_contract_of_an_exchange() {
    conformance::check(async |host| host).await;
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn bytes_that_are_no_matrices_are_an_error(
        bytes in prop::collection::vec(any::<u8>(), 0..300),
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let world = LAYOUT.with(Clone::clone);
        prop_assert!(world.parse_like(&bytes).is_err());
        let _ = Matrices::parse(&bytes);
        let mut changed = world.to_bytes().to_vec();
        let at = at.index(changed.len());
        changed[at] = byte;
        if let Ok(read) = world.parse_like(&changed) {
            prop_assert!(read.values().iter().all(|x| x.is_finite()));
            prop_assert_eq!(&read.to_bytes()[..], &changed[..]);
        }
        prop_assert!(world.parse_like(&changed[..at]).is_err());
        prop_assert!(Matrices::parse(&changed[..at]).is_err());
    }
}

thread_local! {
    static LAYOUT: Matrices = Matrices::parse(&World::new().start).unwrap();
}
