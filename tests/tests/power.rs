//! Power cuts: whatever the file store does with the disk is logged, and a cut at any moment leaves
//! any state that a file system may leave; then another boot begins, and clients go on (P1 to P3,
//! P5).
//!
//! `TUS_CUTS=1000` sets how many cuts are tried at random; the short sequences are always tried at
//! every moment.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    reason = "a test that cannot go on panics, and its helpers do so too"
)]

#[path = "power/life.rs"]
mod life;
#[path = "power/log.rs"]
mod log;
#[path = "power/model.rs"]
mod model;

use std::{collections::BTreeMap, fmt::Write as _, sync::Mutex};

use life::{Blow, Life, Losses};
use model::{LEFT, Left, Manner};
use tus_fs::Durability;
use tus_tests::{
    disk::{at_random, scenes},
    process::Random,
    scale::{is_full, scale, seed},
};

/// What went wrong, and in which cuts.
#[derive(Debug, Default)]
struct Report {
    cuts: u64,
    broken: BTreeMap<String, Vec<String>>,
}

impl Report {
    fn note(&mut self, result: Result<(), String>, what: impl FnOnce() -> String) {
        self.cuts += 1;
        if let Err(said) = result {
            self.broken.entry(said).or_default().push(what());
        }
    }

    fn is_good(&self) {
        let mut text = String::new();
        for (said, which) in &self.broken {
            let _infallible = writeln!(text, "\n{said}\n  after {} cuts, as", which.len());
            for which in which.iter().take(4) {
                let _infallible = writeln!(text, "    {which}");
            }
        }
        assert!(self.broken.is_empty(), "of {} cuts:\n{text}", self.cuts);
    }
}

/// How often something is left to chance.
fn times(left: Left) -> u64 {
    if left == Left::Some && is_full() { 8 } else { 1 }
}

#[test]
fn no_cut_in_a_short_sequence_loses_what_was_told() {
    let (mut report, mut moments) = (Report::default(), 0);
    let mut random = Random(seed());
    for scene in scenes() {
        let life =
            Life::first(&scene, None).unwrap_or_else(|said| panic!("{}: {said}", scene.name));
        moments += life.moments();
        for at in 0..=life.moments() {
            for manner in [Manner::Strict, Manner::Journal] {
                // In small, a moment is cut in one way, and the next moment in the next way.
                let turn = (at + moments) % LEFT.len();
                let lefts = LEFT.iter().enumerate().filter(|(n, _)| is_full() || *n == turn);
                for left in lefts.flat_map(|(_, left)| (0..times(*left)).map(|_| *left)) {
                    let blow = Blow { at, manner, left, seed: random.draw() };
                    report.note(life.cut(&blow).map(drop), || {
                        format!("{}, {}: {blow:?}", scene.name, life.around(at))
                    });
                }
            }
        }
    }
    println!("{} cuts at all {moments} moments of {} sequences", report.cuts, scenes().len());
    report.is_good();
}

#[test]
fn no_two_cuts_in_a_long_sequence_lose_what_was_told() {
    let cuts = scale("TUS_CUTS", 50, 1000);
    let mut random = Random(seed());
    let (mut report, mut twice) = (Report::default(), 0);
    while report.cuts < cuts {
        let number = random.draw();
        let scene = at_random(number);
        let life = Life::first(&scene, None).unwrap_or_else(|said| panic!("{number}: {said}"));
        for _ in 0..5 {
            let first = blow(&life, &mut random);
            // Recovery is cut too, half of the times.
            let second = random.below(2) == 0;
            let result = life.cut(&first).and_then(|next| {
                if !second {
                    return Ok(());
                }
                twice += 1;
                let blow = blow(&next, &mut random);
                next.cut(&blow).map(drop).map_err(|said| format!("{said}\n  {blow:?}"))
            });
            report.note(result, || format!("{number}, {}: {first:?}", life.around(first.at)));
        }
    }
    println!("{} cuts at random, {twice} of them with another while clients went on", report.cuts);
    report.is_good();
}

/// A sync fails once, and the system forgets what it was to write, as Linux does; then the power
/// goes. What was told since must not have counted on what a later sync made of it.
#[test]
fn no_cut_after_a_failed_sync_loses_what_was_told() {
    let (mut report, mut broken) = (Report::default(), 0);
    let mut random = Random(seed());
    for scene in scenes() {
        let whole =
            Life::first(&scene, None).unwrap_or_else(|said| panic!("{}: {said}", scene.name));
        // The first ones belong to the start of the store, which then does not open.
        for n in whole.opening + 1..=whole.syncs {
            let life = match Life::first(&scene, Some(n)) {
                Ok(life) => life,
                Err(said) => {
                    report.note(Err(said), || format!("{}, sync {n}", scene.name));
                    continue;
                }
            };
            broken += 1;
            for _ in 0..if is_full() { 20 } else { 2 } {
                let mut blow = blow(&life, &mut random);
                if random.below(3) > 0 {
                    // Soon, while the upload is put right.
                    blow.at = (life.lost() + random.below(30) as usize).min(life.moments());
                }
                report.note(life.cut(&blow).map(drop), || {
                    format!("{}, sync {n}, {}: {blow:?}", scene.name, life.around(blow.at))
                });
            }
        }
    }
    println!("{} cuts after {broken} failed syncs", report.cuts);
    report.is_good();
}

/// Under `process` a loss of power may take whatever was not synced, which is everything; but it
/// breaks nothing else. No upload is stuck, and none has bytes that nobody sent, though zeros may
/// stand for those that were lost.
#[test]
fn without_syncs_a_cut_loses_bytes_and_nothing_else() {
    let cuts = scale("TUS_CUTS", 50, 1000);
    let mut random = Random(seed());
    let (mut report, losses) = (Report::default(), Mutex::default());
    while report.cuts < cuts {
        for mut scene in scenes() {
            scene.setup.durability = Durability::Process;
            let life = Life::first(&scene, None);
            let life = life.unwrap_or_else(|said| panic!("{}: {said}", scene.name));
            for _ in 0..4 {
                let blow = blow(&life, &mut random);
                report.note(life.cut_unsynced(&blow, &losses).map(drop), || {
                    format!("{}, {}: {blow:?}", scene.name, life.around(blow.at))
                });
            }
        }
    }
    let Losses { whole, holes, gone, refused } = losses.into_inner().unwrap();
    println!(
        "{} cuts without syncs: {whole} uploads whole, {holes} with holes, {gone} gone, {refused} \
         refused",
        report.cuts
    );
    report.is_good();
    assert!(gone > 0 && whole > 0, "this tested nothing");
}

fn blow(life: &Life, random: &mut Random) -> Blow {
    let manner = [Manner::Strict, Manner::Journal][random.below(2) as usize];
    // Half of the times by chance, else one of the extremes.
    let left = match random.below(2) {
        0 => Left::Some,
        _ => LEFT[random.below(LEFT.len() as u64) as usize],
    };
    let at = random.below(life.moments() as u64 + 1) as usize;
    Blow { at, manner, left, seed: random.draw() }
}
