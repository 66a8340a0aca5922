//! kill -9 at any moment: what was told is stored, what was begun is finished or undone, and
//! nothing is stuck or left over (P1, P2, P3, P5).

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test that cannot go on panics, and says why"
)]

#[path = "kill/case.rs"]
mod case;
#[path = "kill/data.rs"]
mod data;
#[path = "kill/killer.rs"]
mod killer;
#[path = "kill/others.rs"]
mod others;
#[path = "kill/phases.rs"]
mod phases;
#[path = "kill/remains.rs"]
mod remains;
#[path = "kill/site.rs"]
mod site;
#[path = "kill/steps.rs"]
mod steps;
#[path = "kill/sweep.rs"]
mod sweep;
#[path = "kill/timed.rs"]
mod timed;
#[path = "kill/upload.rs"]
mod upload;

use phases::{PHASES, PLACING, SWEEPS, WITH_HOOKS};
use site::{LEVELS, Site, Which};
use timed::timed;
use tus_tests::{
    process::Random,
    scale::{scale, seed},
};

/// How many kills each kind of request gets.
fn phase_kills() -> u64 {
    scale("TUS_PHASE_KILLS", 20, 200)
}

#[test]
fn no_told_byte_is_lost_by_a_kill_while_bytes_flow() {
    data::flowing(scale("TUS_KILLS", 100, 1000), Random(seed()));
}

#[test]
fn what_a_kill_interrupts_is_finished_or_undone() {
    let mut random = Random(seed());
    for phase in &PHASES {
        timed(phase, Which::TusServer, phase_kills(), &mut random);
    }
    timed(&WITH_HOOKS, Which::Mortal, phase_kills(), &mut random);
}

#[test]
fn a_kill_at_any_operation_on_the_disk_is_survived() {
    let mut random = Random(seed());
    let kills = scale("TUS_STEP_KILLS", 20, u64::MAX);
    let site = Site::new(Which::Mortal, LEVELS[0]);
    for phase in PHASES.iter().chain([&WITH_HOOKS, &SWEEPS]) {
        steps::each(phase, &site, kills, &mut random);
    }
    match site.on_two_file_systems() {
        Some(site) => steps::each(&PLACING, &site, kills, &mut random),
        None => eprintln!(
            "NOT RUN: kills while a finish copies; /dev/shm is missing, or the same file system \
             as the temporary directory (set TMPDIR to one on a disk)"
        ),
    }
}
#[test]
fn a_kill_amid_a_sweep_takes_nothing_that_is_alive() {
    sweep::sweeping(phase_kills(), Random(seed()));
}
