use openledger_core::ErrorKind;
use proptest::prelude::*;

use super::*;
use crate::{Batch, Model, Saved, Tape, Trainable, testing};

fn adapter(model: &Model, config: &LoraConfig, seed: u64) -> Adapter {
    let files = testing::lora(model, config, seed).unwrap().to_files(model.network(), config);
    Adapter::load(model.network(), &files).unwrap()
}

fn queries(rank: usize) -> LoraConfig {
    LoraConfig::default().with_rank(rank, 3.0).with_targets(["q_proj", "down_proj"])
}

/// What an adapter adds at a layer, by three loops.
fn added(network: &Network, adapter: &Adapter, site: Param) -> Option<Vec<f64>> {
    let pair = adapter.lora().at(site)?;
    let [out, width] = network.sizes(site);
    let mut sum = vec![0.0; out * width];
    for row in 0..out {
        for column in 0..width {
            for k in 0..pair.rank {
                let b = f64::from(pair.b[row * pair.rank + k]) * f64::from(pair.scale);
                sum[row * width + column] += b * f64::from(pair.a[k * width + column]);
            }
        }
    }
    Some(sum)
}

fn assert_near(found: &[f64], expected: &[f64], tolerance: f64) {
    let largest = expected.iter().fold(1e-3, |most: f64, x| most.max(x.abs()));
    for (found, expected) in found.iter().zip(expected) {
        assert!((found - expected).abs() < tolerance * largest, "{found} {expected}");
    }
}

fn sites(adapters: &[&Adapter]) -> Vec<Param> {
    let mut sites: Vec<Param> =
        adapters.iter().flat_map(|a| a.lora().pairs().map(|(site, _)| site)).collect();
    sites.sort_unstable();
    sites.dedup();
    sites
}

#[test]
fn a_sum_adds_what_its_parts_add_whatever_their_ranks_and_layers() {
    let model = testing::tiny(1).unwrap();
    let network = model.network();
    let all = adapter(&model, &LoraConfig::default().with_rank(5, 2.0), 1);
    let some = adapter(&model, &queries(3).with_rank_stabilised(true), 2);
    let parts = [(&all, 0.7), (&some, -1.3), (&all, 0.25)];
    let composed = Combine::Sum.adapters(network, &parts).unwrap();
    assert_eq!(composed.error, 0.0);
    for site in sites(&[&all, &some]) {
        let [out, width] = network.sizes(site);
        let mut expected = vec![0.0; out * width];
        for (part, coefficient) in parts {
            let Some(part) = added(network, part, site) else { continue };
            expected.iter_mut().zip(part).for_each(|(sum, x)| *sum += coefficient * x);
        }
        assert_near(&added(network, &composed.adapter, site).unwrap(), &expected, 1e-6);
    }
}

#[test]
fn a_forward_with_a_sum_is_that_of_a_base_with_both_merged() {
    let model = testing::tiny(3).unwrap();
    let network = model.network();
    let parts = [adapter(&model, &queries(4), 1), adapter(&model, &LoraConfig::default(), 2)];
    let weighted = [(&parts[0], 0.5), (&parts[1], 2.0)];
    let composed = Combine::Sum.adapters(network, &weighted).unwrap().adapter;
    let mut merged = network.clone();
    for site in sites(&[&parts[0], &parts[1]]) {
        for (part, coefficient) in weighted {
            let Some(delta) = added(network, part, site) else { continue };
            let weight = merged.data_mut(site).iter_mut();
            weight.zip(delta).for_each(|(w, x)| *w += (coefficient * x) as f32);
        }
    }
    let logits = |network: &Network, lora: Option<&Lora>| {
        let batch = Batch::new([&[1, 2, 3, 4, 5][..]]);
        let mut tape = Tape::new(network, lora, Trainable::Nothing, &batch);
        let hidden = tape.run().unwrap();
        tape.logits(&hidden).iter().map(|&x| f64::from(x)).collect::<Vec<_>>()
    };
    assert_near(&logits(network, Some(composed.lora())), &logits(&merged, None), 1e-5);
    let base = logits(network, None);
    assert!(logits(&merged, None).iter().zip(&base).any(|(a, b)| (a - b).abs() > 1e-3));
}

#[test]
fn a_sum_is_written_and_read_as_any_adapter() {
    for family in ["llama", "deepseek_v2"] {
        let model = testing::tiny_of(family, 1).unwrap();
        let network = model.network();
        let every = LoraConfig::default().with_pattern("all-linear");
        let some = LoraConfig::default().with_rank(3, 5.0).with_targets(["o_proj", "gate_proj"]);
        let parts = [adapter(&model, &every, 1), adapter(&model, &some, 2)];
        let composed =
            Combine::Sum.adapters(network, &[(&parts[0], 1.0), (&parts[1], 0.5)]).unwrap().adapter;
        let files = composed.lora().to_files(network, composed.config());
        let read = Adapter::load(network, &files).unwrap();
        assert_eq!(read.lora(), composed.lora(), "{family}");
    }
}

#[expect(clippy::cast_sign_loss, reason = "counts are positive")]
fn whole(x: f64) -> usize {
    x as usize
}

/// TIES as PEFT does it, weight by weight, with sorts, in `f64`.
fn ties(parts: &[(Vec<f64>, f64)], density: f64, election: Election) -> Vec<f64> {
    let trimmed: Vec<Vec<f64>> = parts
        .iter()
        .map(|(values, _)| {
            let mut order: Vec<usize> = (0..values.len()).collect();
            order.sort_by(|&a, &b| values[b].abs().total_cmp(&values[a].abs()));
            let kept = whole(values.len() as f64 * density);
            let mut trimmed = vec![0.0; values.len()];
            order[..kept].iter().for_each(|&at| trimmed[at] = values[at]);
            trimmed
        })
        .collect();
    (0..trimmed[0].len())
        .map(|at| {
            let (mut plus, mut minus) = (0.0, 0.0);
            for values in &trimmed {
                let vote = match election {
                    Election::Total => values[at].abs(),
                    Election::Frequency => f64::from(u8::from(values[at] != 0.0)),
                };
                if values[at] > 0.0 { plus += vote } else { minus += vote }
            }
            let chosen: Vec<f64> = trimmed
                .iter()
                .zip(parts)
                .filter(
                    |(values, _)| if plus >= minus { values[at] > 0.0 } else { values[at] < 0.0 },
                )
                .map(|(values, (_, coefficient))| coefficient * values[at])
                .collect();
            chosen.iter().sum::<f64>() / chosen.len().max(1) as f64
        })
        .collect()
}

#[test]
fn ties_is_what_peft_makes_of_the_paper() {
    let model = testing::tiny(2).unwrap();
    let network = model.network();
    let parts: Vec<Adapter> = (1..4).map(|seed| adapter(&model, &queries(4), seed)).collect();
    let coefficients = [1.0, 0.5, -0.75];
    let weighted: Vec<(&Adapter, f64)> = parts.iter().zip(coefficients).collect();
    for (density, election) in
        [(0.3, Election::Total), (0.3, Election::Frequency), (1.0, Election::Total)]
    {
        // As many singular values as there are: nothing is lost.
        let combine = Combine::Ties { rank: 32, density, election };
        let composed = combine.adapters(network, &weighted).unwrap();
        assert!(composed.error < 1e-6, "{}", composed.error);
        for site in sites(&[&parts[0]]) {
            let deltas: Vec<(Vec<f64>, f64)> = weighted
                .iter()
                .map(|(part, coefficient)| (added(network, part, site).unwrap(), *coefficient))
                .collect();
            let expected = ties(&deltas, density, election);
            assert_near(&added(network, &composed.adapter, site).unwrap(), &expected, 1e-5);
        }
    }
}

/// DARE by loops: `kept[part][at]` says what stays.
fn dare(
    parts: &[(Vec<f64>, f64)],
    kept: &[Vec<bool>],
    density: f64,
    election: Option<Election>,
) -> Vec<f64> {
    let deltas: Vec<(Vec<f64>, f64)> = parts
        .iter()
        .zip(kept)
        .map(|((values, coefficient), kept)| {
            let kept = kept.iter().map(|kept| if *kept { 1.0 / density } else { 0.0 });
            (values.iter().zip(kept).map(|(x, factor)| x * factor).collect(), *coefficient)
        })
        .collect();
    match election {
        Some(election) => ties(&deltas, 1.0, election),
        None => (0..deltas[0].0.len())
            .map(|at| deltas.iter().map(|(values, c)| c * values[at]).sum())
            .collect(),
    }
}

#[test]
fn dare_drops_as_its_seed_says_in_each_part_by_itself() {
    let model = testing::tiny(2).unwrap();
    let network = model.network();
    let parts = [adapter(&model, &queries(4), 1), adapter(&model, &queries(2), 2)];
    let weighted = [(&parts[0], 1.0), (&parts[1], -0.5)];
    let site = sites(&[&parts[0]])[0];
    let deltas: Vec<(Vec<f64>, f64)> = weighted
        .iter()
        .map(|(part, coefficient)| (added(network, part, site).unwrap(), *coefficient))
        .collect();
    let composed = |parts: &[(&Adapter, f64)], seed, election| {
        let combine = Combine::Dare { rank: 32, density: 0.4, seed, election };
        let composed = combine.adapters(network, parts).unwrap().adapter;
        added(network, &composed, site).unwrap()
    };
    // What a part keeps shows where all others are nothing.
    let kept = |part: usize, seed| -> Vec<bool> {
        let mut alone = weighted;
        alone[1 - part].1 = 0.0;
        let largest = deltas[part].0.iter().fold(0.0, |most: f64, x| most.max(x.abs()));
        let found = composed(&alone, seed, None);
        let values = found.iter().zip(&deltas[part].0);
        values.map(|(found, x)| found.abs() > 1e-5 * largest && x.abs() > 1e-4 * largest).collect()
    };
    let masks = [kept(0, 7), kept(1, 7)];
    for election in [None, Some(Election::Total)] {
        let expected = dare(&deltas, &masks, 0.4, election);
        assert_near(&composed(&weighted, 7, election), &expected, 1e-3);
    }
    assert_eq!(kept(0, 7), masks[0], "the same seed drops the same");
    for other in [&masks[1], &kept(0, 8)] {
        let differ = masks[0].iter().zip(other).filter(|(a, b)| a != b).count();
        assert!(4 * differ > other.len(), "{differ} of {}", other.len());
    }
}

#[test]
fn dare_keeps_the_mean_and_the_choice_of_every_version() {
    let choice = |part: usize, len: usize| {
        let combine = Combine::Dare { rank: 1, density: 0.25, seed: 3, election: None };
        let mut kept = vec![1f32; len];
        delta::drop_some(&mut kept, 0.25, &mut delta::streams(&combine, 2)[part]);
        kept
    };
    let kept = choice(0, 100_000);
    assert!(kept.iter().all(|x| *x == 0.0 || *x == 4.0));
    let mean = kept.iter().sum::<f32>() / kept.len() as f32;
    assert!((mean - 1.0).abs() < 0.03, "{mean}");
    // An id says the seed and not the choice: a version that chooses otherwise must not have the same.
    // These bits are another implementation's of ChaCha8 and of how it is seeded.
    let bits = |part| {
        let kept = choice(part, 32);
        kept.iter().fold(0u32, |bits, x| bits << 1 | u32::from(*x > 0.0))
    };
    assert_eq!([bits(0), bits(1)], [0x9105_1003, 0x30b0_0012]);
}

#[test]
fn a_smaller_rank_says_what_it_leaves_out() {
    let model = testing::tiny(2).unwrap();
    let network = model.network();
    let parts = [adapter(&model, &queries(4), 1), adapter(&model, &queries(4), 2)];
    let combine = Combine::Ties { rank: 3, density: 0.5, election: Election::Total };
    let composed = combine.adapters(network, &[(&parts[0], 1.0), (&parts[1], 1.0)]).unwrap();
    let mut most = 0f64;
    for site in sites(&[&parts[0]]) {
        let deltas: Vec<_> =
            parts.iter().map(|part| (added(network, part, site).unwrap(), 1.0)).collect();
        let whole = ties(&deltas, 0.5, Election::Total);
        let kept = added(network, &composed.adapter, site).unwrap();
        let length = |values: &[f64]| values.iter().map(|x| x * x).sum::<f64>().sqrt();
        let rest: Vec<f64> = whole.iter().zip(&kept).map(|(a, b)| a - b).collect();
        most = most.max(length(&rest) / length(&whole));
    }
    assert!(composed.error > 0.1 && (composed.error - most).abs() < 1e-4, "{}", composed.error);
    assert!(composed.adapter.lora().pairs().all(|(_, pair)| pair.rank == 3));
}

#[test]
fn what_is_no_sum_is_refused() {
    let model = testing::tiny(1).unwrap();
    let network = model.network();
    let plain = adapter(&model, &queries(2), 1);
    let dora = adapter(&model, &queries(2).with_dora(true), 1);
    let table = adapter(&model, &queries(2).with_saved([Saved::Head]), 1);
    let kind = |combine: Combine, parts: &[(&Adapter, f64)]| {
        combine.adapters(network, parts).unwrap_err().kind()
    };
    for part in [&dora, &table] {
        assert_eq!(kind(Combine::Sum, &[(&plain, 1.0), (part, 1.0)]), ErrorKind::Unsupported);
    }
    for parts in [&[][..], &[(&plain, 0.0)], &[(&plain, f64::NAN)], &[(&plain, 1e60)]] {
        assert_eq!(kind(Combine::Sum, parts), ErrorKind::Invalid);
    }
    assert_eq!(kind(Combine::Sum, &[(&plain, 1.0); 65]), ErrorKind::Limit);
    for density in [0.0, 1.5, f64::NAN] {
        let combine = Combine::Ties { rank: 2, density, election: Election::Total };
        assert_eq!(kind(combine, &[(&plain, 1.0)]), ErrorKind::Invalid);
    }
    let combine = Combine::Ties { rank: 0, density: 0.5, election: Election::Total };
    assert_eq!(kind(combine, &[(&plain, 1.0)]), ErrorKind::Invalid);
}

#[test]
fn an_id_says_parts_coefficients_and_method() {
    let model = testing::tiny(1).unwrap();
    let [a, b] = [1, 2].map(|seed| adapter(&model, &queries(2), seed).id());
    let ties = |density| Combine::Ties { rank: 2, density, election: Election::Total };
    let dare = |seed| Combine::Dare { rank: 2, density: 0.5, seed, election: None };
    let ids = [
        Combine::Sum.id([(a, 1.0), (b, 1.0)]),
        Combine::Sum.id([(b, 1.0), (a, 1.0)]),
        Combine::Sum.id([(a, 1.0), (b, 0.5)]),
        Combine::Sum.id([(a, 1.0)]),
        ties(0.5).id([(a, 1.0), (b, 1.0)]),
        ties(0.6).id([(a, 1.0), (b, 1.0)]),
        dare(1).id([(a, 1.0), (b, 1.0)]),
        dare(2).id([(a, 1.0), (b, 1.0)]),
        a,
        b,
    ];
    let different: std::collections::BTreeSet<_> = ids.iter().collect();
    assert_eq!(different.len(), ids.len());
    assert_eq!(Combine::Sum.id([(a, 1.0), (b, 1.0)]), ids[0]);
}

proptest! {
    #[test]
    fn trimming_keeps_as_many_as_it_should_and_the_largest(
        values in proptest::collection::vec(-3i8..4, 1..60), density in 0.01f64..1.0,
    ) {
        let values: Vec<f32> = values.into_iter().map(f32::from).collect();
        let mut trimmed = values.clone();
        delta::trim(&mut trimmed, density);
        let kept = whole(values.len() as f64 * density).max(1);
        let mut sizes: Vec<f32> = values.iter().map(|x| x.abs()).collect();
        sizes.sort_by(|a, b| b.total_cmp(a));
        let mut found: Vec<f32> = trimmed.iter().map(|x| x.abs()).collect();
        found.sort_by(|a, b| b.total_cmp(a));
        prop_assert_eq!(&found[..kept], &sizes[..kept]);
        prop_assert!(found[kept..].iter().all(|x| *x == 0.0));
        prop_assert!(trimmed.iter().zip(&values).all(|(t, x)| *t == 0.0 || t == x));
    }
}
