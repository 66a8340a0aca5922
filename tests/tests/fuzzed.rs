//! The fuzz targets on a stable toolchain: seeds, what was found once, and inputs drawn from them.
//!
//! `TUS_FUZZ_SECONDS` says how long each is tried, `TUS_SEED` with which inputs, and
//! `TUS_FUZZ_INPUT` tries one, as bytes in hexadecimal. Under libFuzzer: `fuzz/run`.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test that cannot go on panics, and says why"
)]

#[path = "fuzzed/mutate.rs"]
mod mutate;

use std::{
    env, fs,
    panic::{self, AssertUnwindSafe},
    path::Path,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use mutate::{Mutator, shrink};
use tus_tests::{
    fuzz::{FIELDS, HEADS, MOST, OPERATIONS, RECORDS, TARGETS, Target},
    scale::{scale, seed},
};

/// One at a time: a target that fails is tried with a silent panic hook.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn fails(target: Target, input: &[u8]) -> bool {
    panic::catch_unwind(AssertUnwindSafe(|| target.run(input))).is_err()
}

fn hex(input: &[u8]) -> String {
    input.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Inputs that failed once, and must not fail again.
fn found(target: Target) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/found").join(target.name);
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    entries.map(|entry| fs::read(entry.unwrap().path()).unwrap()).collect()
}

fn holds(target: Target) {
    let _alone = alone();
    if let Ok(input) = env::var("TUS_FUZZ_INPUT") {
        let bytes = (0..input.len() / 2).map(|at| u8::from_str_radix(&input[2 * at..][..2], 16));
        return target.run(&bytes.collect::<Result<Vec<_>, _>>().expect("hexadecimal digits"));
    }
    let seeds = target.seeds();
    assert!(!seeds.is_empty(), "no seeds for {}", target.name);
    let seconds = scale("TUS_FUZZ_SECONDS", 30, 600);
    let (began, end) = (Instant::now(), Duration::from_secs(seconds));
    let mut mutator = Mutator::new(seed(), seeds.clone());
    let mut first = seeds.into_iter().chain(found(target));
    let before = panic::take_hook();
    panic::set_hook(Box::new(|_| {}));
    let mut tried = 0_u64;
    let failed = loop {
        let mut input = first.next().unwrap_or_else(|| mutator.next());
        input.truncate(MOST);
        if fails(target, &input) {
            break Some(shrink(&input, |less| fails(target, less)));
        }
        tried += 1;
        if began.elapsed() > end {
            break None;
        }
    };
    panic::set_hook(before);
    let name = target.name;
    if let Some(input) = failed {
        println!("{name} fails with b\"{}\"", input.escape_ascii());
        println!("TUS_FUZZ_INPUT={} cargo test -p tus-tests --test fuzzed {name}", hex(&input));
        target.run(&input);
        panic!("{name} failed before, and not again");
    }
    println!("fuzzed: {name}: {tried} inputs in {seconds} s, 0 failures");
}

#[test]
fn heads() {
    holds(HEADS);
}

#[test]
fn fields() {
    holds(FIELDS);
}

#[test]
fn records() {
    holds(RECORDS);
}

#[test]
fn operations() {
    holds(OPERATIONS);
}

/// Writes the seeds into a folder for each target, for libFuzzer.
#[test]
#[ignore = "writes files; fuzz/run asks for it"]
fn seeds() {
    let folder = env::var_os("TUS_FUZZ_SEEDS").expect("TUS_FUZZ_SEEDS names a folder");
    for target in TARGETS {
        let folder = Path::new(&folder).join(target.name);
        fs::create_dir_all(&folder).unwrap();
        for (number, seed) in target.seeds().into_iter().chain(found(target)).enumerate() {
            fs::write(folder.join(format!("seed-{number:03}")), seed).unwrap();
        }
    }
}
