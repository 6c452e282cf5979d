//! Contributions: signed, judged, taken in whole, published, proven.

use openledger_core::{
    Address, B256, ErrorKind, Key, Row, Store, U256, merkle,
    message::{Domain, Signed},
};
use openledger_datanet::{
    Checks, Datanet, Draft, Finding, Info, Limits, Origin, Stamp, Submission, Terms,
};

const NOW: u64 = 1_800_000_000;
const DAY: u64 = 86_400;

fn key(byte: u8) -> Key {
    Key::from_bytes(B256::repeat_byte(byte)).unwrap()
}

fn registry() -> Domain {
    Domain { chain_id: 1612, contract: Address::repeat_byte(0xdd) }
}

fn info() -> Info {
    Info::new("bread", key(1).address(), registry(), "CC0-1.0")
}

async fn datanet(store: &Store) -> Datanet {
    Datanet::create(store.clone(), info(), Checks::default()).await.unwrap()
}

fn stamp(nonce: u64) -> Stamp {
    Stamp {
        domain: registry(),
        secret: B256::repeat_byte(5),
        nonce: U256::from(nonce),
        deadline: NOW + 60,
    }
}

fn rows(texts: &[&str]) -> Vec<Row> {
    texts.iter().map(|text| Row::passage(text).unwrap()).collect()
}

fn submission(texts: &[&str], nonce: u64, key: &Key) -> Submission {
    let terms = Terms::new("CC0-1.0", NOW);
    Submission::sign(info().id(), rows(texts), terms, stamp(nonce), key).unwrap()
}

#[tokio::test]
async fn contributions_become_versions_that_prove_their_rows() {
    let store = Store::memory();
    let mut bread = datanet(&store).await;
    let amara = key(2);
    bread.accept(&submission(&["one", "two"], 1, &amara), NOW).await.unwrap();
    let first = bread.publish(NOW).await.unwrap();
    bread.accept(&submission(&["three"], 1, &key(3)), NOW).await.unwrap();
    let second = bread.publish(NOW).await.unwrap();
    assert_eq!((first.pin().version, second.pin().version), (1, 2));
    assert_ne!(first.pin().root, second.pin().root);
    assert_eq!((first.records().len(), second.records().len()), (2, 3));
    for record in second.records() {
        let (leaf, proof) = second.proof(record.id).unwrap();
        assert!(merkle::verify(second.pin().root, leaf, &proof));
        let in_first = first.proof(record.id).is_ok();
        assert_eq!(in_first, record.contributor == amara.address());
    }
}

#[tokio::test]
async fn a_reopened_datanet_is_the_same_and_old_versions_stay() {
    let store = Store::memory();
    let mut bread = datanet(&store).await;
    bread.accept(&submission(&["one"], 1, &key(2)), NOW).await.unwrap();
    let first = bread.publish(NOW).await.unwrap();
    bread.accept(&submission(&["two"], 2, &key(2)), NOW).await.unwrap();
    let second = bread.publish(NOW).await.unwrap();
    let mut again = Datanet::open(store, bread.id(), Checks::default()).await.unwrap();
    assert_eq!(again.records(), bread.records());
    assert_eq!(again.version(1).await.unwrap().pin(), first.pin());
    assert_eq!(again.version(2).await.unwrap().records(), second.records());
    assert_eq!(again.version(3).await.unwrap_err().kind(), ErrorKind::NotFound);
    let replayed = again.accept(&submission(&["three"], 2, &key(2)), NOW).await.unwrap_err();
    assert_eq!(replayed.kind(), ErrorKind::Denied, "nonces survive");
}

#[tokio::test]
async fn a_datanet_is_created_once() {
    let store = Store::memory();
    datanet(&store).await;
    let again = Datanet::create(store, info(), Checks::default()).await.unwrap_err();
    assert_eq!(again.kind(), ErrorKind::Conflict);
}

#[tokio::test]
async fn bad_signatures_are_refused_and_nothing_is_kept() {
    let mut bread = datanet(&Store::memory()).await;
    let (amara, thief) = (key(2), key(3));
    let genuine = submission(&["one"], 1, &amara);
    let said = *genuine.signed().unverified();
    let rebuilt =
        |signed| Submission::from_parts(genuine.rows().to_vec(), genuine.terms().clone(), signed);
    let other_chain = Domain { chain_id: 1, ..registry() };
    for (what, submission, now) in [
        ("another key", rebuilt(Signed::sign(said, registry(), &thief)), NOW),
        ("another chain", rebuilt(Signed::sign(said, other_chain, &amara)), NOW),
        ("too late", genuine.clone(), NOW + 61),
    ] {
        let error = bread.accept(&submission, now).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Denied, "{what}");
    }
    assert!(bread.records().is_empty());
    bread.accept(&genuine, NOW).await.unwrap();
}

#[tokio::test]
async fn a_signature_covers_rows_salts_terms_and_datanet() {
    let mut bread = datanet(&Store::memory()).await;
    let genuine = submission(&["one", "two"], 1, &key(2));
    let with = |rows: &[(Row, openledger_core::Salt)], terms: &Terms| {
        Submission::from_parts(rows.to_vec(), terms.clone(), genuine.signed().clone())
    };
    let mut changed = genuine.rows().to_vec();
    changed[0].0 = Row::passage("One").unwrap();
    let mut salted = genuine.rows().to_vec();
    salted[0].1 = salted[1].1;
    let mut longer = genuine.rows().to_vec();
    longer.push(longer[0].clone());
    let mut terms = genuine.terms().clone();
    terms.quality = 1;
    for (what, forged) in [
        ("row", with(&changed, genuine.terms())),
        ("salt", with(&salted, genuine.terms())),
        ("number", with(&longer, genuine.terms())),
        ("terms", with(genuine.rows(), &terms)),
    ] {
        let error = bread.accept(&forged, NOW).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{what}");
        assert!(error.to_string().contains("covers other"), "{error}");
    }
    let elsewhere = Info::new("stars", key(1).address(), registry(), "CC0-1.0").id();
    let terms = Terms::new("CC0-1.0", NOW);
    let other = Submission::sign(elsewhere, rows(&["one"]), terms, stamp(1), &key(2)).unwrap();
    assert!(bread.accept(&other, NOW).await.unwrap_err().to_string().contains("is for Datanet"));
    let mit =
        Submission::sign(info().id(), rows(&["one"]), Terms::new("MIT", NOW), stamp(1), &key(2));
    assert!(bread.accept(&mit.unwrap(), NOW).await.unwrap_err().to_string().contains("`MIT`"));
    assert!(bread.records().is_empty());
}

#[tokio::test]
async fn exact_duplicates_are_refused_whoever_sends_them() {
    let mut bread = datanet(&Store::memory()).await;
    bread.accept(&submission(&["one"], 1, &key(2)), NOW).await.unwrap();
    for (texts, from) in [(&["two", " one\r\n"][..], key(3)), (&["two", "two"], key(2))] {
        let error = bread.accept(&submission(texts, 2, &from), NOW).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Conflict);
        assert!(error.to_string().contains("row 2"), "{error}");
    }
    assert_eq!(bread.records().len(), 1, "refused whole");
}

#[tokio::test]
async fn a_review_says_beforehand_what_would_be_refused() {
    let store = Store::memory();
    let rude = |draft: &Draft| match draft.row.completion().contains("please") {
        true => Finding::Pass,
        false => Finding::Refuse("say please".to_owned()),
    };
    let checks = Checks::default().with("polite", rude);
    let mut bread = Datanet::create(store, info(), checks).await.unwrap();
    bread.accept(&submission(&["one please"], 1, &key(2)), NOW).await.unwrap();
    let texts = ["two please", "one please", "two please", "three", "four please \u{7}!"];
    let drafts = texts
        .iter()
        .zip(1..)
        .map(|(text, place)| Draft::new(Row::passage(text).unwrap(), Origin::new("a.txt", place)));
    let review = bread.review(drafts.collect());
    assert_eq!(review.kept.len(), 1);
    let reasons: Vec<String> = review.refused.iter().map(ToString::to_string).collect();
    assert!(reasons[0].starts_with("a.txt:2: the same text is there already"));
    assert_eq!(reasons[1], "a.txt:3: the same text as a.txt:1");
    assert_eq!(reasons[2], "a.txt:4: polite: say please");
    assert_eq!(reasons[3], "a.txt:5: text: control character \\u{7}");
    let error = bread.accept(&submission(&["three"], 2, &key(2)), NOW).await.unwrap_err();
    assert!(error.to_string().contains("say please"), "checks count without a review: {error}");
}

#[tokio::test]
async fn limits_of_a_day_are_named_and_pass_with_the_day() {
    let limits = Limits::default().with_submission(20).with_day(30, 45);
    let info = info().with_limits(limits);
    let mut bread = Datanet::create(Store::memory(), info, Checks::none()).await.unwrap();
    let send = |text: &str, nonce, from: u8| {
        let terms = Terms::new("CC0-1.0", NOW);
        let stamp = Stamp { deadline: NOW + 2 * DAY, ..stamp(nonce) };
        Submission::sign(self::info().id(), rows(&[text]), terms, stamp, &key(from)).unwrap()
    };
    let error = bread.accept(&send("a row of 21 bytes ...", 1, 2), NOW).await.unwrap_err();
    assert!(error.to_string().contains("the contribution: 21, over the 20 bytes"), "{error}");
    bread.accept(&send("a row of 20 bytes ..", 1, 2), NOW).await.unwrap();
    let error = bread.accept(&send("eleven more", 2, 2), NOW + 1).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Limit);
    assert!(error.to_string().contains("of this contributor: 31, over the 30"), "{error}");
    bread.accept(&send("20 bytes of others ..", 1, 3), NOW).await.unwrap_err();
    bread.accept(&send("19 bytes of others.", 1, 3), NOW).await.unwrap();
    let error = bread.accept(&send("seven..", 2, 3), NOW).await.unwrap_err();
    assert!(error.to_string().contains("of the Datanet: 46, over the 45"), "{error}");
    bread.accept(&send("eleven more", 2, 2), NOW + DAY).await.unwrap();
}

#[tokio::test]
async fn two_handles_write_one_log() {
    let store = Store::memory();
    let mut one = datanet(&store).await;
    let mut two = Datanet::open(store.clone(), one.id(), Checks::default()).await.unwrap();
    one.accept(&submission(&["one"], 1, &key(2)), NOW).await.unwrap();
    two.accept(&submission(&["two"], 1, &key(3)), NOW).await.unwrap();
    let duplicate = two.accept(&submission(&["one"], 2, &key(3)), NOW).await.unwrap_err();
    assert_eq!(duplicate.kind(), ErrorKind::Conflict, "rows of the other handle count");
    let version = one.publish(NOW).await.unwrap();
    assert_eq!(version.records().len(), 2);
    assert!(two.publish(NOW).await.is_err(), "nothing new to publish");
}

#[tokio::test]
async fn many_writers_lose_nothing() {
    let store = Store::memory();
    let id = datanet(&store).await.id();
    let writers = (0..8u8).map(|writer| {
        let store = store.clone();
        async move {
            let mut handle = Datanet::open(store, id, Checks::default()).await.unwrap();
            for entry in 0..5 {
                let text = format!("writer {writer} entry {entry}");
                handle.accept(&submission(&[&text], entry, &key(writer + 1)), NOW).await.unwrap();
            }
        }
    });
    futures::future::join_all(writers).await;
    let all = Datanet::open(store, id, Checks::default()).await.unwrap();
    let mut texts: Vec<&str> = all.records().iter().map(|r| r.row.completion()).collect();
    texts.sort_unstable();
    texts.dedup();
    assert_eq!(texts.len(), 40);
}

#[tokio::test]
async fn an_empty_contribution_and_an_empty_name_are_refused() {
    assert!(
        Submission::sign(info().id(), [], Terms::new("CC0-1.0", NOW), stamp(1), &key(2)).is_err()
    );
    let nameless = Info::new(" ", key(1).address(), registry(), "CC0-1.0");
    assert!(Datanet::create(Store::memory(), nameless, Checks::default()).await.is_err());
}
