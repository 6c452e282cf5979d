//! Digests, signatures and leaves: the same here, in viem, in cast and in OpenZeppelin's library.

use std::{
    io::Write,
    process::Stdio,
    time::{SystemTime, UNIX_EPOCH},
};

use openledger_chain::{
    ballots::{Ballot, Support},
    x402::{Extra, Requirements, Transfer},
};
use openledger_core::{
    AdapterId, Address, Amount, B256, ContributionId, DatanetId, DatanetVersion, Key, ModelId,
    Receipt, RowId, RowShare, Shares, U256, digest,
    merkle::Leaf,
    message::{Contribution, Decision, Domain, Grant, Message, Scope, Verdict, Withdrawal},
    share::split,
};
use serde_json::{Value, json};

use super::Peers;
use crate::shell::{Result, root};

/// Messages of each kind.
const EACH: u64 = 6;

/// What is compared: a question for the others, and our answer.
struct Case {
    asked: Value,
    ours: Value,
}

pub(super) fn check(peers: &Peers) -> Result<String> {
    let seed = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    println!("typed: seed {seed}");
    let key = Key::from_bytes(digest("xtask.key", &seed))?;
    let cases: Vec<Case> = (0..EACH)
        .map(|n| cases(&key, seed, n))
        .collect::<Result<Vec<_>>>()?
        .into_iter()
        .flatten()
        .collect();
    let asked: Vec<&Value> = cases.iter().map(|case| &case.asked).collect();
    let mut node = peers
        .script(&root().join("xtask/peers/typed.mjs"))
        .env("CAST", peers.foundry("cast"))
        .env("KEY", key.to_bytes().to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut input = node.stdin.take().ok_or("no standard input")?;
    input.write_all(&serde_json::to_vec(&asked)?)?;
    drop(input);
    let done = node.wait_with_output()?;
    if !done.status.success() {
        return Err(format!("node ended with {}", done.status).into());
    }
    let printed = String::from_utf8(done.stdout)?;
    let theirs =
        printed.lines().map(serde_json::from_str).collect::<serde_json::Result<Vec<Value>>>()?;
    if theirs.len() != cases.len() {
        return Err(format!("{} answers to {} questions", theirs.len(), cases.len()).into());
    }
    for (case, theirs) in cases.iter().zip(&theirs) {
        if case.ours != *theirs {
            return Err(format!("{}: {} here, {theirs} there", case.asked, case.ours).into());
        }
    }
    Ok(format!(
        "{} typed messages and leaves the same in viem, cast and OpenZeppelin's library",
        cases.len()
    ))
}

fn cases(key: &Key, seed: u64, number: u64) -> Result<Vec<Case>> {
    let random = |what: &str| digest("xtask.typed", &(seed, number, what.to_owned()));
    let account = |what: &str| Address::from_word(random(what));
    let domain = Domain { chain_id: 1 + number * 1612, contract: account("contract") };
    let datanet = DatanetId::from(random("datanet"));
    let nonce = U256::from_be_bytes(random("nonce").0);
    let deadline = u64::MAX >> number;
    let me = key.address();

    let contribution = Contribution {
        datanet,
        root: random("root"),
        rows: number,
        size: number * 1_000,
        terms: random("terms"),
        contributor: me,
        nonce,
        deadline,
    };
    let said = json!({
        "datanet": datanet, "root": random("root"), "rows": number, "size": number * 1_000,
        "terms": random("terms"), "contributor": me, "nonce": nonce.to_string(), "deadline": deadline.to_string(),
    });
    let mut cases = vec![message("Contribution", &contribution, &said, &domain, key)];

    let withdrawal = Withdrawal {
        datanet,
        root: random("root"),
        rows: number,
        contributor: me,
        nonce,
        deadline,
    };
    let said = json!({
        "datanet": datanet, "root": random("root"), "rows": number, "contributor": me,
        "nonce": nonce.to_string(), "deadline": deadline.to_string(),
    });
    cases.push(message("Withdrawal", &withdrawal, &said, &domain, key));

    let grant = Grant {
        datanet,
        version: number,
        scope: Scope::Train,
        purpose: random("purpose"),
        grantee: account("grantee"),
        not_before: number,
        not_after: number + 1,
        owner: me,
        nonce,
        deadline,
    };
    let said = json!({
        "datanet": datanet, "version": number, "scope": Scope::Train as u8, "purpose": random("purpose"),
        "grantee": account("grantee"), "notBefore": number, "notAfter": number + 1, "owner": me,
        "nonce": nonce.to_string(), "deadline": deadline.to_string(),
    });
    cases.push(message("Grant", &grant, &said, &domain, key));
    cases.push(receipt(key, &domain, number, &random)?);
    cases.push(verdict(key, &domain, number, &random));
    cases.push(ballot(key, &domain, number, &random));
    cases.push(transfer(key, &domain, number, &random)?);

    let leaf = (random("row"), account("contributor"));
    cases.push(Case {
        asked: json!({"leaf": [["bytes32", "address"], [leaf.0, leaf.1]]}),
        ours: json!({"theirs": leaf.hash(), "viem": leaf.hash()}),
    });
    let cumulative = U256::from_be_bytes(random("cumulative").0);
    let leaf = (U256::from(domain.chain_id), domain.contract, me, account("token"), cumulative);
    let types = ["uint256", "address", "address", "address", "uint256"];
    cases.push(Case {
        asked: json!({"leaf": [types, [leaf.0.to_string(), leaf.1, leaf.2, leaf.3, leaf.4.to_string()]]}),
        ours: json!({"theirs": leaf.hash(), "viem": leaf.hash()}),
    });
    Ok(cases)
}

fn receipt(key: &Key, domain: &Domain, number: u64, random: &dyn Fn(&str) -> B256) -> Result<Case> {
    let account = |what: &str| Address::from_word(random(what));
    let weights =
        split(openledger_core::share::WHOLE.into(), &vec![1; 1 + usize::try_from(number)?])?;
    let shares = weights.iter().enumerate().map(|(index, &weight)| RowShare {
        row: RowId::from(digest("xtask.row", &(number, index as u64))),
        datanet: DatanetId::from(random("datanet")),
        contributor: account("contributor"),
        weight: weight.units().to(),
    });
    let receipt = Receipt {
        model: ModelId::from(random("model")),
        adapter: AdapterId::from(random("adapter")),
        datanets: (0..number)
            .map(|version| DatanetVersion {
                datanet: DatanetId::from(random("datanet")),
                version,
                root: random("root"),
            })
            .collect(),
        method: format!("datainf λ={number} \"ü\""),
        prompt: random("prompt"),
        output: random("output"),
        tokens_in: number,
        tokens_out: number + 1,
        fee: Amount::new(U256::from_be_bytes(random("fee").0)),
        shares: Shares::new(shares.collect())?,
        payer: account("payer"),
        node: key.address(),
        nonce: U256::from(number),
        deadline: number,
    };
    let said = json!({
        "model": receipt.model, "adapter": receipt.adapter,
        "datanets": receipt.datanets.iter().map(|version| json!({
            "datanet": version.datanet, "version": version.version, "root": version.root,
        })).collect::<Vec<_>>(),
        "method": receipt.method, "prompt": receipt.prompt, "output": receipt.output,
        "tokensIn": receipt.tokens_in, "tokensOut": receipt.tokens_out,
        "fee": receipt.fee.units().to_string(),
        "shares": receipt.shares.rows().iter().map(|share| json!({
            "row": share.row, "datanet": share.datanet, "contributor": share.contributor,
            "weight": share.weight,
        })).collect::<Vec<_>>(),
        "payer": receipt.payer, "node": receipt.node, "nonce": receipt.nonce.to_string(),
        "deadline": receipt.deadline,
    });
    Ok(message("Receipt", &receipt, &said, domain, key))
}

fn verdict(key: &Key, domain: &Domain, number: u64, random: &dyn Fn(&str) -> B256) -> Case {
    let verdict = Verdict {
        contribution: ContributionId::from(random("contribution")),
        policy: random("policy"),
        findings: random("findings"),
        decision: if number.is_multiple_of(2) { Decision::Accept } else { Decision::Reject },
        score: 100 * number as u32,
        validator: key.address(),
        nonce: U256::from(number),
        deadline: number,
    };
    let said = json!({
        "contribution": random("contribution"), "policy": random("policy"),
        "findings": random("findings"), "decision": verdict.decision as u8, "score": verdict.score,
        "validator": verdict.validator, "nonce": number.to_string(), "deadline": number.to_string(),
    });
    message("Verdict", &verdict, &said, domain, key)
}

fn ballot(key: &Key, domain: &Domain, number: u64, random: &dyn Fn(&str) -> B256) -> Case {
    let ballot = Ballot {
        proposal: U256::from_be_bytes(random("proposal").0),
        voter: key.address(),
        support: [Support::Against, Support::For, Support::Abstain][number as usize % 3],
        reason: random("reason"),
    };
    let said = json!({
        "proposal": ballot.proposal.to_string(), "voter": ballot.voter,
        "support": ballot.support as u8, "reason": ballot.reason,
    });
    signed("Ballot", ballot.digest(domain), &said, domain, key)
}

fn transfer(
    key: &Key,
    domain: &Domain,
    number: u64,
    random: &dyn Fn(&str) -> B256,
) -> Result<Case> {
    let transfer = Transfer {
        from: key.address(),
        to: Address::from_word(random("payee")),
        value: Amount::new(U256::from_be_bytes(random("value").0)),
        valid_after: number,
        valid_before: u64::MAX >> number,
        nonce: random("once"),
    };
    let requirements = Requirements {
        scheme: "exact".to_owned(),
        network: format!("eip155:{}", domain.chain_id),
        amount: transfer.value,
        asset: domain.contract,
        pay_to: transfer.to,
        max_timeout_seconds: 60,
        extra: Extra {
            name: "OpenLedger".to_owned(),
            version: "1".to_owned(),
            asset_transfer_method: None,
        },
    };
    let said = json!({
        "from": transfer.from, "to": transfer.to, "value": transfer.value.units().to_string(),
        "validAfter": transfer.valid_after.to_string(),
        "validBefore": transfer.valid_before.to_string(), "nonce": transfer.nonce,
    });
    let digest = transfer.digest(&requirements)?;
    Ok(signed("TransferWithAuthorization", digest, &said, domain, key))
}

fn message(name: &str, ours: &impl Message, said: &Value, domain: &Domain, key: &Key) -> Case {
    signed(name, ours.digest(domain), said, domain, key)
}

fn signed(name: &str, digest: B256, said: &Value, domain: &Domain, key: &Key) -> Case {
    Case {
        asked: json!({
            "primaryType": name,
            "domain": {
                "name": "OpenLedger", "version": "1", "chainId": domain.chain_id,
                "verifyingContract": domain.contract,
            },
            "message": said,
        }),
        ours: json!({"viem": digest, "cast": key.sign(digest).to_string()}),
    }
}
