//! The loop around the steps.

use std::{ops::ControlFlow, sync::Arc};

use openledger_core::Row;
use openledger_model::{LlamaConfig, Lora, LoraConfig, Network, Template, Tokens, testing};
use openledger_train::{AdamW, Backend, BaseRun, Native, Plan, Run, Schedule, fit};

fn rows() -> Vec<Tokens> {
    let model = testing::tiny(1).unwrap();
    ["steam makes crust", "chains need oil", "stars are far", "knead the dough", "pump the tyre"]
        .map(|text| Row::passage(text).unwrap())
        .map(|row| Template::default().row(model.tokenizer(), &row, model.eos(), 64).unwrap())
        .to_vec()
}

fn run() -> Box<dyn Run> {
    let network = Arc::new(testing::tiny(1).unwrap().network().clone());
    let config = LoraConfig::default().with_rank(4, 8.0);
    let start = Lora::init(&network, &config, 7).unwrap().to_files(&network, &config);
    Native.start(network, &config, AdamW::default().into(), &start.weights).unwrap()
}

#[test]
fn the_same_rows_in_the_same_order_give_the_same_bytes_on_any_number_of_threads() {
    let plan = Plan::default().with_epochs(3).with_batch(2).with_rate(5e-3, 2, Schedule::Cosine);
    let train = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            let mut run = run();
            fit(&mut *run, &rows(), &plan, |_| ControlFlow::Continue(())).unwrap();
            run.snapshot().unwrap()
        })
    };
    assert_eq!(train(1), train(3));
}

#[test]
fn events_count_up_and_a_watcher_can_stop_the_run() {
    let plan = Plan::default().with_epochs(2).with_batch(2);
    let mut seen = Vec::new();
    let fitted = fit(&mut *run(), &rows(), &plan, |event| {
        seen.push((event.step, event.steps));
        if event.step == 4 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    let fitted = fitted.unwrap();
    assert_eq!(seen, [(1, 6), (2, 6), (3, 6), (4, 6)]);
    assert!(fitted.stopped && fitted.losses.len() == 4);
}

#[test]
fn a_loss_that_is_not_finite_stops_the_run_and_names_step_and_rows() {
    let plan =
        Plan::default().with_epochs(9).with_rate(1e30, 0, Schedule::Constant).with_clip(None);
    let error = fit(&mut *run(), &rows(), &plan, |_| ControlFlow::Continue(())).unwrap_err();
    assert!(error.report().contains("at step") && error.report().contains("lower the step size"));
}

#[test]
fn nothing_to_learn_is_an_error() {
    let plan = Plan::default();
    assert!(fit(&mut *run(), &[], &plan, |_| ControlFlow::Continue(())).is_err());
    assert!(fit(&mut *run(), &rows(), &plan.with_batch(0), |_| ControlFlow::Continue(())).is_err());
    let silent = [Tokens::new(&[1, 2, 3], &[])];
    assert!(fit(&mut *run(), &silent, &plan, |_| ControlFlow::Continue(())).is_err());
}

#[test]
fn a_base_model_learns_from_nothing() {
    let config = LlamaConfig::small(258, 32, 2, 4, 1).unwrap();
    let network = Network::init(&config.to_json(), 1).unwrap();
    let mut run = BaseRun::new(network, AdamW::default());
    let plan = Plan::default().with_epochs(150).with_batch(5).with_rate(1e-2, 5, Schedule::Cosine);
    let fitted = fit(&mut run, &rows(), &plan, |_| ControlFlow::Continue(())).unwrap();
    let (first, last) = fitted.first_and_last(&plan);
    assert!(first > 5.0 && last < 1.0, "{first} {last}");
    let learned = openledger_model::Weights::from_safetensors(run.snapshot().unwrap()).unwrap();
    assert!(Network::new(&config.to_json(), learned).is_ok());
}
