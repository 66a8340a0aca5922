//! What clients, an operator and time can do, in any order: the engine does what the reference
//! model says.
//!
//! Every four bytes are one operation, the seed of the dice by which the property tests draw one:
//! who moves, copies or leaves out four bytes does that to an operation.

use proptest::{
    strategy::{Strategy, ValueTree as _},
    test_runner::{Config, RngAlgorithm, TestRng, TestRunner},
};

use crate::model::{self, Operation};

/// So many operations an input has at most; a sequence of the property tests has hardly more.
const MOST: usize = 32;

pub(super) fn run(data: &[u8]) {
    let (creation, operation) = (model::creation(), model::operation());
    let mut draws = data.chunks(4).take(MOST);
    // What happens to uploads needs one to happen to.
    let first = drawn(&creation, draws.next().unwrap_or_default());
    let operations: Vec<_> =
        [first].into_iter().chain(draws.map(|draw| drawn(&operation, draw))).collect();
    if let Err(failed) = model::run(&operations) {
        panic!("{failed}: {operations:?}");
    }
}

fn drawn(strategy: &impl Strategy<Value = Operation>, draw: &[u8]) -> Operation {
    let mut seed = [0; 32];
    seed[..draw.len()].copy_from_slice(draw);
    let dice = TestRng::from_seed(RngAlgorithm::ChaCha, &seed);
    let mut runner = TestRunner::new_with_rng(Config::default(), dice);
    strategy.new_tree(&mut runner).expect("nothing that is drawn is ever refused").current()
}
