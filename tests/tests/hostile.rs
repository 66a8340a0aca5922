//! Hostile requests: whatever is sent, no server panics, answers with a 5xx, shows its inside or
//! writes outside its directories, and the adapters answer alike.
//!
//! A grammar that knows the ids it made says sensible things and twists them. The same bytes go to
//! axum, to the tower service on hyper and to actix-web, each on a file store of its own. After some
//! thousand requests all begin anew, and what they stored is removed.
//!
//! `TUS_HOSTILE` says how many requests are sent, `TUS_SEED` which.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::missing_panics_doc,
    clippy::unwrap_used,
    reason = "a test that cannot go on panics, and says why"
)]

#[path = "hostile/differences.rs"]
mod differences;
#[path = "hostile/disk.rs"]
mod disk;
#[path = "hostile/ending.rs"]
mod ending;
#[path = "hostile/found.rs"]
mod found;
#[path = "hostile/framing.rs"]
mod framing;
#[path = "hostile/grammar.rs"]
mod grammar;
#[path = "hostile/judge.rs"]
mod judge;
#[path = "hostile/learn.rs"]
mod learn;
#[path = "hostile/request.rs"]
mod request;
#[path = "hostile/round.rs"]
mod round;
#[path = "hostile/servers.rs"]
mod servers;
#[path = "hostile/talk.rs"]
mod talk;
#[path = "hostile/tally.rs"]
mod tally;
#[path = "hostile/twists.rs"]
mod twists;
#[path = "hostile/world.rs"]
mod world;

use std::{
    env,
    num::NonZero,
    panic::{self, resume_unwind},
    sync::{
        Mutex, Once, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Instant,
};

use round::Round;
use tally::Tally;
use tus_tests::scale::{scale, seed};

/// After so many requests the servers start anew, so that a failure is soon repeated
/// and directories stay small.
const ROUND: u64 = 2_500;

/// The panics of all threads.
static PANICS: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// A panic of actix-http that we cannot keep from happening: it unwraps a header name that is too
/// long for the crate http, in the task of that connection, which ends with it. Nothing else does.
const KNOWN_PANIC: [&str; 2] = ["/actix-http-", "InvalidHeaderName"];

fn is_known(panic: &str) -> bool {
    KNOWN_PANIC.iter().all(|word| panic.contains(word))
}

/// Writes down every panic, wherever it is and whoever catches it.
fn watch_for_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            let text = info.to_string();
            if !is_known(&text) {
                before(info);
            }
            // A test that fails panics as well, and is not what is looked for here.
            if info.location().is_some_and(|at| at.file().contains("tests/hostile")) {
                return;
            }
            PANICS.lock().unwrap_or_else(PoisonError::into_inner).push(text);
        }));
    });
}

/// The panics so far: those that must not be, and how often there was the known one.
fn panics() -> (Vec<String>, usize) {
    let all = PANICS.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let (known, ours): (Vec<_>, Vec<_>) = all.into_iter().partition(|panic| is_known(panic));
    (ours, known.len())
}

#[test]
fn no_request_breaks_a_server_and_all_adapters_answer_alike() {
    watch_for_panics();
    let (requests, seed) = (scale("TUS_HOSTILE", 10_000, 1_000_000), seed());
    let began = Instant::now();
    let (tally, failures) = rounds(requests, seed);
    let took = began.elapsed().as_secs();
    println!(
        "hostile: {tally}, {} panics (and {} of actix-http itself), {failures} rounds failed, in \
         {took} s, {} requests a second",
        panics().0.len(),
        panics().1,
        tally.requests / took.max(1)
    );
    tally.print_differences();
    assert_eq!(failures, 0, "rounds failed, for a 5xx, a leak, a file elsewhere or a disagreement");
    // What is rare need not be among a few requests of a seed that nobody has tried.
    if requests >= if env::var_os("TUS_SEED").is_none() { 10_000 } else { 200_000 } {
        tally.is_worth_it().unwrap_or_else(|text| panic!("{text}"));
    }
}

/// Some rounds at a time, each with servers and a seed of its own, until all requests are sent; and
/// how many of them failed, each of which says why at once.
fn rounds(requests: u64, seed: u64) -> (Tally, u64) {
    // Clients and servers wait for each other half of the time.
    let threads = thread::available_parallelism().map_or(2, NonZero::get) * 2;
    let (next, failed) = (AtomicU64::new(0), AtomicU64::new(0));
    let some = || -> Tally {
        let mut tally = Tally::default();
        loop {
            let number = next.fetch_add(1, Ordering::SeqCst);
            let left = requests.saturating_sub(number * ROUND);
            if left == 0 {
                return tally;
            }
            let mut round = Round::start(seed.wrapping_add(number));
            if let Err(failure) = round.run(left.min(ROUND)) {
                eprintln!("{failure}");
                failed.fetch_add(1, Ordering::SeqCst);
            }
            tally.add(round.tally);
        }
    };
    thread::scope(|scope| {
        let running: Vec<_> = (0..threads).map(|_| scope.spawn(some)).collect();
        let mut tally = Tally::default();
        for one in running {
            tally.add(one.join().unwrap_or_else(|panic| resume_unwind(panic)));
        }
        (tally, failed.load(Ordering::SeqCst))
    })
}
