//! How much a proof tries: small on every run, large when asked, repeatable always.
//!
//! `TUS_FULL=1` asks for the full size of every proof; a variable of the proof's own, such as
//! `TUS_KILLS=5000`, sets its size alone. `TUS_SEED` repeats a run: without it the small size
//! always tries the same, and the full size something new each time, which it prints.

use std::{env, time::SystemTime};

/// How many times a proof tries: `small`, or `full` with `TUS_FULL=1`, or what `variable` says.
///
/// # Panics
///
/// If a variable is set to something that is no number.
pub fn scale(variable: &str, small: u64, full: u64) -> u64 {
    number(variable).unwrap_or(if is_full() { full } else { small })
}

/// Where the random choices of a proof begin; printed, so that a failure can be repeated.
///
/// # Panics
///
/// If `TUS_SEED` is set to something that is no number.
pub fn seed() -> u64 {
    let fresh = || {
        let now = SystemTime::UNIX_EPOCH.elapsed().expect("a clock past 1970");
        u64::try_from(now.as_nanos() & u128::from(u64::MAX)).expect("64 bits") | 1
    };
    let seed = number("TUS_SEED").unwrap_or_else(|| if is_full() { fresh() } else { 0x7e5e_ed01 });
    println!("TUS_SEED={seed}");
    seed
}

/// Whether everything is to be tried at its full size.
pub fn is_full() -> bool {
    env::var_os("TUS_FULL").is_some_and(|value| value == "1")
}

fn number(variable: &str) -> Option<u64> {
    let text = env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable}={text} is no number")))
}
