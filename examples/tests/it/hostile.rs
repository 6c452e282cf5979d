//! Bad input ends in one line that says what is wrong, and leaves nothing half-written.

use std::process::{Command, Output};

use openledger_core::{
    B256, Key, Receipt, RowShare, Shares, Store, U256, encode,
    message::{Domain, Signed},
    share::WHOLE,
};
use openledger_model::{AdapterFiles, LoraConfig, Model, testing};
use serde_json::json;

use crate::{World, app};

/// Runs a program to its failure and returns the one line it says.
#[track_caller]
fn fails(command: &mut Command) -> String {
    let Output { status, stderr, .. } = command.output().unwrap();
    let said = String::from_utf8(stderr).unwrap();
    assert!(!status.success(), "it succeeded");
    assert!(said.starts_with("error: "), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
    said
}

fn quickstart(world: &World) -> Command {
    let mut command = app("quickstart");
    command
        .arg("--model")
        .arg(world.path("model"))
        .arg("--json")
        .arg(world.path("out/result.json"));
    std::fs::create_dir_all(world.path("out")).unwrap();
    command
}

fn nothing_is_left(world: &World) {
    assert_eq!(std::fs::read_dir(world.path("out")).unwrap().count(), 0);
}

#[test]
fn a_file_that_is_not_what_its_name_says() {
    let world = World::new();
    let picture = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x01";
    for name in ["picture.jsonl", "picture.csv", "picture.txt", "picture.json", "picture.md"] {
        std::fs::write(world.path(name), picture).unwrap();
        let named = format!("a={}", world.path(name).display());
        let said = fails(quickstart(&world).arg("--data").arg(named));
        assert!(said.contains(name), "{said}");
    }
    std::fs::write(world.path("rows.csv"), "{\"text\": \"one\"}\n{\"text\": \"two\"}\n").unwrap();
    let said = fails(
        quickstart(&world).arg("--data").arg(format!("a={}", world.path("rows.csv").display())),
    );
    assert!(said.contains("rows.csv"), "{said}");
    nothing_is_left(&world);
}

#[test]
fn weights_that_are_cut_short() {
    let world = World::new();
    let path = world.path("model/model.safetensors");
    let whole = std::fs::read(&path).unwrap();
    for length in [0, 7, 100, whole.len() - 1] {
        std::fs::write(&path, &whole[..length]).unwrap();
        let said = fails(&mut quickstart(&world));
        assert!(said.contains("model.safetensors"), "{said}");
    }
    nothing_is_left(&world);
}

#[test]
#[cfg(target_os = "linux")]
fn a_disk_that_is_full() {
    let world = World::new();
    let sums = format!("a={}", world.path("sums.jsonl").display());
    let small = ["--data", &sums, "--rows", "9", "--epochs", "2", "--rank", "2"];
    let mut quickstart = app("quickstart");
    quickstart.arg("--model").arg(world.path("model")).args(small);
    let said = fails(quickstart.args(["--json", "/dev/full"]));
    assert!(said.contains("cannot write `/dev/full`"), "{said}");

    // A limit on the size of files cuts a write in the middle, as a full disk does.
    std::fs::create_dir_all(world.path("out")).unwrap();
    let built = app("quickstart").get_program().to_owned();
    let mut limited = Command::new("sh");
    limited.args(["-c", "trap '' XFSZ; ulimit -f 8; exec \"$0\" \"$@\""]).arg(built);
    limited.arg("--model").arg(world.path("model")).args(small);
    let said = fails(limited.arg("--json").arg(world.path("out/result.json")));
    assert!(said.contains("result.json"), "{said}");
    nothing_is_left(&world);
}

/// Writes a result with one receipt of `adapter`, signed by `signer` in the name of another key.
async fn publish(world: &World, adapter: &AdapterFiles, signer: u8) -> Command {
    let model = Model::open(world.path("model")).unwrap();
    let store = Store::local(world.path("store")).await.unwrap();
    let stored = (
        store.put(adapter.config.clone().into()).await.unwrap(),
        store.put(adapter.weights.clone()).await.unwrap(),
        store.put("a record".into()).await.unwrap(),
    );
    let head = format!("adapters/{}", adapter.id()).parse().unwrap();
    store.create(&head, encode(&stored).into()).await.unwrap();

    let [node, signer] = [1, signer].map(|byte| Key::from_bytes(B256::repeat_byte(byte)).unwrap());
    let prompt = model.tokenizer().encode("Why?", true).unwrap();
    let output = model.tokenizer().encode("So.", false).unwrap();
    let everything = RowShare {
        row: B256::ZERO.into(),
        datanet: B256::ZERO.into(),
        contributor: node.address(),
        weight: WHOLE,
    };
    let receipt = Receipt {
        model: model.id(),
        adapter: adapter.id(),
        datanets: Vec::new(),
        method: "datainf;damping=0.1".to_owned(),
        prompt: Receipt::text_hash("Why?"),
        output: Receipt::text_hash("So."),
        tokens_in: prompt.len() as u64,
        tokens_out: output.len() as u64,
        fee: 1.into(),
        shares: Shares::new(vec![everything]).unwrap(),
        payer: node.address(),
        node: node.address(),
        nonce: U256::from(1),
        deadline: 1,
    };
    let domain = Domain { chain_id: 1, contract: node.address() };
    let receipt = Signed::sign(receipt, domain, &signer);
    let (tokens, prompt) = ([&prompt[..], &output].concat(), prompt.len());
    let result = json!({"inferences": [{"prompt": "Why?", "tokens": tokens, "prompt_tokens": prompt, "receipt": receipt}]});
    std::fs::write(world.path("result.json"), result.to_string()).unwrap();
    let mut verify = app("verify");
    verify.arg(world.path("result.json")).arg("--store").arg(world.path("store"));
    verify.arg("--model").arg(world.path("model"));
    verify
}

#[tokio::test]
async fn a_signature_by_another_key() {
    let world = World::new();
    let adapter = AdapterFiles::new(Vec::new(), Vec::new());
    let said = fails(&mut publish(&world, &adapter, 2).await);
    assert!(said.contains("receipt 1") && said.contains("signed by 0x"), "{said}");
}

#[tokio::test]
async fn an_adapter_that_does_not_fit() {
    let world = World::new();
    let model = testing::tiny(1).unwrap();
    let config = LoraConfig::default().with_rank(4, 8.0);
    let fits = testing::lora(&model, &config, 3).unwrap().to_files(model.network(), &config);
    // The configuration says another rank than the matrices have.
    let other = LoraConfig::default().with_rank(2, 8.0).to_json();
    let said = fails(&mut publish(&world, &AdapterFiles::new(other, fits.weights), 1).await);
    assert!(said.contains("[4, 32]") || said.contains("4 x 32"), "{said}");
}
