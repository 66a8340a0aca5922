//! Slow clients by the thousand: they are cut, what they brought is kept, and a normal client
//! hardly notices them (P2, P7).

#![cfg(target_os = "linux")]
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on panics, and says why"
)]

#[path = "slow/attack.rs"]
mod attack;
#[path = "slow/crowd.rs"]
mod crowd;
#[path = "slow/few.rs"]
mod few;
#[path = "slow/speed.rs"]
mod speed;

use std::{
    io::{self, Write as _},
    path::Path,
    sync::{Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use attack::{KEEPS, attack};
use rustix::process::{Resource, getrlimit, setrlimit};
use tus_tests::{
    process::{Process, program},
    scale::scale,
};

/// What something may take that has no time of its own.
const PATIENCE: Duration = Duration::from_secs(30);

/// What the files of these tests take at most.
const ROOM: u64 = 1 << 30;

/// One test at a time: each looks at what the machine has left.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A directory in memory where there is room: the speed of a disk is not looked at.
fn directory() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    let has_room = rustix::fs::statvfs(memory).is_ok_and(|s| s.f_bavail * s.f_frsize > ROOM);
    if has_room { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }.expect("a directory")
}

fn arguments(directory: &Path) -> Vec<String> {
    vec![
        "--port=0".to_owned(),
        format!("--upload-dir={}", directory.join("uploads").display()),
        format!("--destination-dir={}", directory.join("files").display()),
    ]
}

/// A server with its defaults.
fn server() -> (tempfile::TempDir, Process) {
    let directory = directory();
    let server = Process::start(&program("tus-server"), &arguments(directory.path()));
    (directory, server)
}

/// Waits until something is so.
fn until(what: &str, patience: Duration, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + patience;
    while !is_so() {
        assert!(Instant::now() < deadline, "not within {patience:?}: {what}");
        thread::sleep(Duration::from_millis(20));
    }
}

/// The most files that this process may have open, after asking for as many as can be had.
fn raise_descriptors() -> u64 {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit).expect("as many as are allowed");
    limit.current.unwrap_or(u64::MAX)
}

/// The row of the proofs, with the defaults of the server.
#[test]
fn thousands_of_slow_heads_bodies_and_readers_are_cut_and_a_normal_upload_keeps_its_speed() {
    let _alone = alone();
    let clients = scale("TUS_SLOW", 2000, 2000);
    // Ours are three for each; the server lets in a connection for four of its own.
    let needed = clients * 4 + 400;
    let files = raise_descriptors();
    if files < needed {
        let words = format!(
            "NOT RUN: {clients} slow clients need {needed} open files, and {files} are allowed; \
             raise the hard limit (ulimit -Hn, LimitNOFILE=), or set TUS_SLOW to fewer"
        );
        writeln!(io::stderr(), "{words}").expect("stderr");
        return;
    }
    let clients = usize::try_from(clients).expect("a number of clients");
    // A speed on a machine that does other things too is compared once more before it counts.
    let mut best = 0.0_f64;
    for _ in 0..3 {
        best = best.max(attack(clients));
        if best >= KEEPS {
            return;
        }
    }
    panic!("a normal upload keeps only {:.0} % of its speed", 100.0 * best);
}
