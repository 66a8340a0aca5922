//! Hostile requests: whatever is sent, no server panics, answers with a 5xx, shows its inside or
//! writes outside its directories, and the adapters answer alike.
//!
//! A grammar that knows the ids it made says sensible things and twists them. The same bytes go to
//! axum, to the tower service on hyper and to actix-web, each on a file store of its own.
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
    env, panic,
    sync::{
        Mutex, Once, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};

use round::Round;
use tally::Tally;
use tus_tests::scale::{scale, seed};

/// After so many requests the servers start anew, so that a failure is repeated soon.
const ROUND: u64 = 2_500;

/// The panics of all threads but ours.
static PANICS: Mutex<Vec<String>> = Mutex::new(Vec::new());
/// Whether the test itself has failed, and panics to say so.
static OURS: AtomicBool = AtomicBool::new(false);

/// Writes down every panic, wherever it is and whoever catches it.
pub(crate) fn watch_for_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            let text = info.to_string();
            if KNOWN_PANIC.iter().all(|word| text.contains(word)) {
                return;
            }
            if !OURS.load(Ordering::SeqCst) {
                PANICS.lock().unwrap_or_else(PoisonError::into_inner).push(text);
            }
            before(info);
        }));
    });
}

/// A panic of actix-http that we cannot keep from happening: it unwraps a header name that is too
/// long for the crate http, in the task of that connection, which ends with it. Nothing else does.
const KNOWN_PANIC: [&str; 2] = ["/actix-http-", "InvalidHeaderName"];

/// The panics so far, but for the known one.
pub(crate) fn panics() -> Vec<String> {
    PANICS.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

/// Fails a test.
pub(crate) fn fail(text: &str) -> ! {
    OURS.store(true, Ordering::SeqCst);
    panic!("{text}");
}

#[test]
fn no_request_breaks_a_server_and_all_adapters_answer_alike() {
    watch_for_panics();
    let (requests, seed) = (scale("TUS_HOSTILE", 10_000, 1_000_000), seed());
    let began = Instant::now();
    let mut tally = Tally::default();
    for number in 0.. {
        let left = requests.saturating_sub(tally.requests);
        if left == 0 {
            break;
        }
        let mut round = Round::start(seed.wrapping_add(number));
        if let Err(failure) = round.run(left.min(ROUND)) {
            fail(&failure);
        }
        tally.add(round.tally);
    }
    println!(
        "hostile: {tally}, 0 panics, 0 5xx, 0 leaks, nothing written elsewhere, in {} s",
        began.elapsed().as_secs()
    );
    tally.print_differences();
    // What is rare need not be among a few requests of a seed that nobody has tried.
    if requests >= if env::var_os("TUS_SEED").is_none() { 10_000 } else { 200_000 } {
        tally.is_worth_it().unwrap_or_else(|text| fail(&text));
    }
}
