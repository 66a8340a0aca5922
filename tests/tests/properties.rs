//! Whatever happens in whatever order, clients hear what the reference model says.
//!
//! Two clients pause in the midst of their requests while others ask for the same uploads; the
//! process is killed or dies at a call to a store; clocks jump, hooks fail, digests are wrong.
//! After every operation all answers, all records and all bytes must be those of the reference.
//!
//! `TUS_CASES` says how many sequences are tried, `TUS_SEED` which.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

#[path = "properties/known.rs"]
mod known;

use std::time::Instant;

use proptest::{
    prelude::*,
    test_runner::{RngSeed, TestRunner},
};
use tus_tests::{
    model::{TALLY, run, sequence},
    scale::{scale, seed},
};

#[test]
fn clients_hear_what_the_model_says() {
    let began = Instant::now();
    let cases = scale("TUS_CASES", 2_000, 100_000);
    let config = ProptestConfig {
        cases: u32::try_from(cases).unwrap(),
        rng_seed: RngSeed::Fixed(seed()),
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    let mut runner = TestRunner::new(config);
    let ran = runner.run(&sequence(), |operations| run(&operations));
    if let Err(failed) = ran {
        panic!("{failed}");
    }
    let took = began.elapsed();
    // Fewer may miss something that is rare.
    let report = if cases >= 2_000 { TALLY.report() } else { String::new() };
    println!("model: {cases} sequences{report}, in {took:.1?}");
}
