//! Objectives of judged answers: their gradients against differences of the loss, their losses against the
//! formula written out again.

use std::sync::Arc;

use openledger_core::{
    Address, B256, ErrorKind, Key, U256,
    message::{Domain, Feedback, Nonces, Signed, Verified},
};
use openledger_model::{Batch, Lora, LoraConfig, Network, Tape, Tokens, Trainable, testing};
use openledger_train::{
    Graded, Judged, Kto, Optimiser, PreferenceRun, StakeWeighted, Stakes, preference::Objective,
};

fn network() -> (Network, Lora, LoraConfig) {
    let model = testing::tiny(3).unwrap();
    let config = LoraConfig::default().with_rank(3, 6.0);
    let lora = testing::lora(&model, &config, 4).unwrap();
    (model.network().clone(), lora, config)
}

/// `log p` of the tokens behind the prompt, from whole logits and the definition of softmax.
fn log_p(network: &Network, lora: Option<&Lora>, answer: &Tokens) -> f64 {
    let batch = Batch::new([&answer.tokens[..]]);
    let mut tape = Tape::new(network, lora, Trainable::Nothing, &batch);
    let hidden = tape.run().unwrap();
    let logits = tape.logits(&hidden);
    let width = logits.len() / answer.tokens.len();
    (answer.prompt().max(1)..answer.tokens.len())
        .map(|at| {
            let row = &logits[(at - 1) * width..at * width];
            let sum: f64 = row.iter().map(|&x| f64::from(x).exp()).sum();
            f64::from(row[answer.tokens[at] as usize]) - sum.ln()
        })
        .sum()
}

/// Moves single elements and compares the loss with what the gradient says.
fn check_gradient<O: Objective>(objective: &O, examples: &[&O::Example]) {
    let (network, lora, _) = network();
    let slope = objective.gradients(&network, &lora, examples).unwrap();
    let norm = slope.gradients.norm();
    assert!(norm > 1e-4, "{norm}");
    let count = lora.pairs().count() * 2;
    let mut worst = 0f64;
    for (matrix, ours) in slope.gradients.matrices().enumerate() {
        // The largest element of each matrix: the smallest drown in the rounding of f32.
        let (at, &ours) =
            ours.iter().enumerate().max_by(|a, b| a.1.abs().total_cmp(&b.1.abs())).unwrap();
        let loss = |by: f32| {
            let mut moved = lora.clone();
            let pair = moved.pairs_mut().nth(matrix / 2).unwrap().1;
            let matrix = if matrix % 2 == 0 { &mut pair.a } else { &mut pair.b };
            matrix[at] += by;
            objective.gradients(&network, &moved, examples).unwrap().loss
        };
        let expected = (loss(1e-3) - loss(-1e-3)) / 2e-3;
        worst = worst.max((f64::from(ours) - expected).abs() / norm);
    }
    assert!(count > 10 && worst < 2e-3, "{worst}");
}

fn judged() -> Vec<Judged> {
    [
        (&[5u32, 6][..], &[7u32, 8, 9][..], true),
        (&[10, 11, 12], &[13, 14], false),
        (&[15], &[16, 17, 18, 19], true),
        (&[20, 21], &[22], false),
        (&[23, 24, 25], &[26, 27], false),
    ]
    .map(|(prompt, answer, desirable)| Judged { answer: Tokens::new(prompt, answer), desirable })
    .to_vec()
}

/// TRL's loss, from the text of its formula.
fn kto_loss(kto: &Kto, judged: &[Judged]) -> (f64, f64) {
    let (network, lora, _) = network();
    let ratio =
        |answer: &Tokens| log_p(&network, Some(&lora), answer) - log_p(&network, None, answer);
    let count = judged.len();
    let mixed = (0..count).map(|i| {
        let (one, other) = (&judged[i].answer, &judged[(i + count - 1) % count].answer);
        ratio(&Tokens::new(&one.tokens[..one.prompt()], &other.tokens[other.prompt()..]))
    });
    let z = mixed.sum::<f64>() / count as f64;
    let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
    let each = judged.iter().map(|j| match j.desirable {
        true => kto.desirable * (1.0 - sigmoid(kto.beta * (ratio(&j.answer) - z.max(0.0)))),
        false => kto.undesirable * (1.0 - sigmoid(kto.beta * (z.max(0.0) - ratio(&j.answer)))),
    });
    (each.sum::<f64>() / count as f64, z)
}

#[test]
fn kto_is_trls_formula() {
    let (network, lora, _) = network();
    for beta in [0.1, 0.7] {
        for rotate in 0..5 {
            let mut judged = judged();
            judged[..4].rotate_left(rotate % 4);
            judged.truncate(5 - rotate / 2);
            let kto = Kto::default().with_beta(beta).with_weights(1.3, 0.6);
            let (expected, _) = kto_loss(&kto, &judged);
            let examples: Vec<&Judged> = judged.iter().collect();
            let ours = kto.gradients(&network, &lora, &examples).unwrap().loss;
            assert!((ours - expected).abs() < 1e-5, "{ours} {expected}");
        }
    }
}

#[test]
fn ktos_estimate_of_the_distance_is_never_negative() {
    let (network, lora, _) = network();
    let mut seen = [0; 2];
    for seed in 0..12u32 {
        let judged: Vec<Judged> = (0..3)
            .map(|i| Judged {
                answer: Tokens::new(&[seed + 30 * i], &[seed + 7 * i + 3, seed * 3 + i]),
                desirable: i != 1,
            })
            .collect();
        let kto = Kto::default().with_beta(0.5);
        let (expected, z) = kto_loss(&kto, &judged);
        seen[usize::from(z > 0.0)] += 1;
        let examples: Vec<&Judged> = judged.iter().collect();
        let ours = kto.gradients(&network, &lora, &examples).unwrap().loss;
        assert!((ours - expected).abs() < 1e-5, "{z}: {ours} {expected}");
    }
    assert!(seen[0] > 0 && seen[1] > 0, "both signs are tried: {seen:?}");
}

#[test]
fn ktos_gradient_is_that_of_its_loss_where_the_estimate_is_held() {
    // Where the estimate is clamped it does not move with the matrices, so differences of the loss are the
    // gradient; where it is not, the gradient leaves it out on purpose.
    let (network, lora, _) = network();
    let clamped = (0..40u32)
        .map(|seed| {
            (0..3)
                .map(|i| Judged {
                    answer: Tokens::new(&[seed + 30 * i], &[seed + 7 * i + 3, seed * 3 + i]),
                    desirable: i != 1,
                })
                .collect::<Vec<_>>()
        })
        .find(|judged| kto_loss(&Kto::default(), judged).1 < -0.05)
        .expect("one of them is clamped");
    let examples: Vec<&Judged> = clamped.iter().collect();
    check_gradient(&Kto::default().with_beta(0.5).with_weights(1.0, 2.0), &examples);
    let one = &examples[..1];
    let error = Kto::default().gradients(&network, &lora, one).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
}

#[test]
fn kto_learns_to_tell_good_from_bad() {
    let (network, lora, config) = network();
    let network = Arc::new(network);
    let start = lora.to_files(&network, &config).weights;
    let judged = judged();
    let examples: Vec<&Judged> = judged.iter().collect();
    let (optimiser, kto) = (Optimiser::default(), Kto::default());
    let mut run =
        PreferenceRun::start(Arc::clone(&network), &config, optimiser, &start, kto).unwrap();
    let losses: Vec<f64> =
        (0..30).map(|_| run.step(&examples, 5e-3, Some(1.0)).unwrap().loss).collect();
    let learned = Lora::from_safetensors(&network, &config, &run.snapshot()).unwrap();
    for Judged { answer, desirable } in &judged {
        let moved = log_p(&network, Some(&learned), answer) - log_p(&network, Some(&lora), answer);
        assert_eq!(moved > 0.0, *desirable, "{moved}");
    }
    assert!(losses[29] < losses[0] - 0.02, "{losses:?}");
}

const NOW: u64 = 1_800_000_000;

fn say(byte: u8, value: i32, output: B256) -> Verified<Feedback> {
    let key = Key::from_bytes(B256::repeat_byte(byte)).unwrap();
    let domain = Domain { chain_id: 1612, contract: Address::repeat_byte(1) };
    let feedback = Feedback {
        adapter: B256::ZERO,
        prompt: B256::repeat_byte(1),
        output,
        value,
        validator: key.address(),
        nonce: U256::from(u64::from(byte)),
        deadline: NOW + 60,
    };
    Signed::sign(feedback, domain, &key).verify(&domain, NOW, &mut Nonces::default()).unwrap()
}

#[test]
fn feedback_is_weighed_by_stake_and_without_stake_it_is_nothing() {
    let digests = [B256::repeat_byte(1), B256::repeat_byte(2)];
    let said: Vec<Verified<Feedback>> =
        [(3, 1_000_000), (4, -500_000), (5, -1_000_000)].map(|(k, v)| say(k, v, digests[1])).into();
    let stake = |of: &Verified<Feedback>, open: u64| {
        (of.message().validator, U256::from(open) * U256::from(10).pow(U256::from(18)))
    };
    let stakes = Stakes::from([stake(&said[0], 3), stake(&said[1], 1)]);
    let tokens = Tokens::new(&[1], &[2]);
    let weigh = |said: &[Verified<Feedback>], stakes| {
        Graded::weigh(tokens.clone(), digests, said, stakes).map(|graded| graded.value)
    };
    // (3 * 1 - 1 * 0.5) / 4, whatever the third says.
    assert_eq!(weigh(&said, &stakes).unwrap(), 0.625);
    assert_eq!(weigh(&said[..2], &stakes).unwrap(), 0.625);
    assert_eq!(weigh(&said[1..], &stakes).unwrap(), -0.5);
    assert_eq!(weigh(&said[2..], &stakes).unwrap_err().kind(), ErrorKind::Denied);
    assert_eq!(weigh(&[], &stakes).unwrap_err().kind(), ErrorKind::Denied);
    let twice = [said[0].clone(), said[0].clone()];
    assert_eq!(weigh(&twice, &stakes).unwrap_err().kind(), ErrorKind::Invalid);
    let other = [say(3, 5, B256::ZERO)];
    assert_eq!(weigh(&other, &stakes).unwrap_err().kind(), ErrorKind::Invalid);
    let huge = Stakes::from([(said[0].message().validator, U256::MAX)]);
    assert_eq!(weigh(&said, &huge).unwrap_err().kind(), ErrorKind::Invalid);
    let beyond = [say(3, 1_000_001, digests[1])];
    assert_eq!(weigh(&beyond, &stakes).unwrap_err().kind(), ErrorKind::Invalid);
}

/// Values as one validator gives them.
fn graded() -> Vec<Graded> {
    [
        (&[5u32, 6][..], &[7u32, 8, 9][..], 0.9),
        (&[5, 6], &[13, 14], -0.8),
        (&[5, 6], &[15, 16, 17, 18], 0.1),
        (&[20, 21], &[22], -1.0),
    ]
    .map(|(prompt, answer, value)| {
        let output = B256::repeat_byte(2);
        let said = [say(3, (value * 1e6) as i32, output)];
        let stakes = Stakes::from([(said[0].message().validator, U256::ONE)]);
        let tokens = Tokens::new(prompt, answer);
        Graded::weigh(tokens, [B256::repeat_byte(1), output], &said, &stakes).unwrap()
    })
    .to_vec()
}

#[test]
fn the_stake_weighted_objective_is_its_formula_and_its_gradient_is_that_of_the_loss() {
    let (network, lora, _) = network();
    let graded = graded();
    let examples: Vec<&Graded> = graded.iter().collect();
    let objective = StakeWeighted::default().with_alpha(0.3).with_temperature(0.4).with_cap(10.0);
    let baselines = [(-0.8 + 0.1) / 2.0, (0.9 + 0.1) / 2.0, (0.9 - 0.8) / 2.0, 0.0];
    let expected = graded.iter().zip(baselines).map(|(graded, baseline)| {
        let weight = ((graded.value - baseline) / 0.4).exp().min(10.0) + 0.3;
        let count = (graded.answer.tokens.len() - graded.answer.prompt()) as f64;
        -weight * log_p(&network, Some(&lora), &graded.answer) / count
    });
    let expected = expected.sum::<f64>() / 4.0;
    let ours = objective.gradients(&network, &lora, &examples).unwrap().loss;
    assert!((ours - expected).abs() < 1e-4, "{ours} {expected}");
    check_gradient(&objective, &examples);
    for bad in [objective.with_temperature(0.0), objective.with_alpha(-1.0)] {
        assert!(bad.gradients(&network, &lora, &examples).is_err());
    }
}

#[test]
fn what_validators_value_becomes_likelier_than_what_they_do_not() {
    let (network, lora, config) = network();
    let network = Arc::new(network);
    let start = lora.to_files(&network, &config).weights;
    let graded = graded();
    let examples: Vec<&Graded> = graded.iter().collect();
    let objective = StakeWeighted::default();
    let mut run = PreferenceRun::start(
        Arc::clone(&network),
        &config,
        Optimiser::default(),
        &start,
        objective,
    )
    .unwrap();
    for _ in 0..40 {
        run.step(&examples, 5e-3, Some(1.0)).unwrap();
    }
    let learned = Lora::from_safetensors(&network, &config, &run.snapshot()).unwrap();
    let gain = |at: usize| {
        let answer = &graded[at].answer;
        log_p(&network, Some(&learned), answer) - log_p(&network, Some(&lora), answer)
    };
    assert!(gain(0) > 1.0 && gain(0) > gain(1) + 2.0, "{} {}", gain(0), gain(1));
}
