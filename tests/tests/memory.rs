//! Memory that depends neither on the length of a body nor on how it is chunked, and little on how
//! many uploads are open (P7).
//!
//! The figures are those of the debug build, whose code takes twice the memory of the release build
//! and each upload a little more.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on panics, and says why"
)]

#[path = "memory/cgroup.rs"]
mod cgroup;
#[path = "memory/load.rs"]
mod load;

use std::{
    io::{self, Write as _},
    thread,
    time::{Duration, Instant},
};

use cgroup::Cgroup;
use load::{Body, Framing, Home, KIB, MIB, Upload};
use tus_tests::{
    gauge,
    process::{Process, program},
    scale::{scale, seed},
};

/// What a server may take beyond its code with so many uploads under load: 24 MiB and 64 KiB for
/// each, of which the code takes 7 in the release build. (That of the debug build takes 13.)
fn most(uploads: u64) -> u64 {
    (24 - 7) * MIB + uploads * 64 * KIB
}

/// What an open upload may take that does nothing; the aim is less than half of that.
const IDLE: u64 = 64 * KIB;

/// By how much two servers differ that did the same: a few buffers and threads.
const NOISE: u64 = 8 * MIB;

const UPLOADS: u64 = 200;
const PATIENCE: Duration = Duration::from_secs(120);

fn large() -> u64 {
    scale("TUS_LARGE_MIB", 2048, 2048) * MIB
}

fn start(home: &Home) -> Process {
    Process::start(&program("tus-server"), &home.arguments())
}

/// Sends one body to a server of its own; the most memory that it took beyond its code.
fn peak_of_one(seed: u64, length: u64, framing: Framing) -> u64 {
    let home = Home::quick(length);
    let server = start(&home);
    let base = gauge::resident(server.id());
    let begun = Instant::now();
    Upload::begin(server.addr, "one.bin", Body::new(seed, length), framing).whole(&home);
    let peak = gauge::peak(server.id());
    println!(
        "memory, one body of {} MiB, {framing:?}: {} KiB at first, {} KiB at most, {:?}",
        length / MIB,
        base / KIB,
        peak / KIB,
        begun.elapsed()
    );
    assert!(peak - base <= most(1), "{} KiB", peak / KIB);
    peak - base
}

#[test]
fn a_long_body_takes_the_memory_of_a_short_one() {
    let seed = seed();
    let short = peak_of_one(seed, 8 * MIB, Framing::Sized);
    let long = peak_of_one(seed, large(), Framing::Sized);
    assert!(long <= short + NOISE, "{} KiB, then {} KiB", short / KIB, long / KIB);
}

#[test]
fn chunks_of_any_size_take_the_memory_of_a_body_without() {
    let seed = seed();
    let sized = peak_of_one(seed, 8 * MIB, Framing::Sized);
    for (length, size) in [(MIB / 2, 7), (64 * MIB, 10_000), (512 * MIB, 1 << 20)] {
        let chunked = peak_of_one(seed, length, Framing::Chunks(size));
        assert!(chunked <= sized + NOISE, "{} KiB, then {} KiB", sized / KIB, chunked / KIB);
    }
}

#[test]
fn two_hundred_uploads_at_once_take_little_memory_each() {
    let seed = seed();
    crowd(seed, 4 * MIB, Framing::Sized);
    crowd(seed, 4 * MIB, Framing::Chunks(100_000));
    crowd(seed, 16 * KIB, Framing::Chunks(11));
}

/// Sends bodies of this length at the same time: all of them begin, pause, and go on.
fn crowd(seed: u64, length: u64, framing: Framing) {
    let home = Home::quick(UPLOADS * length);
    let server = start(&home);
    let base = gauge::resident(server.id());
    let begun = Instant::now();
    let begin = |number| {
        let body = Body::new(seed ^ number, length);
        Upload::begin(server.addr, &format!("{number}.bin"), body, framing)
    };
    let mut uploads: Vec<_> = (0..UPLOADS).map(begin).collect();
    const TASTE: u64 = 100;
    let taste = |upload: &mut Upload| upload.taste(usize::try_from(TASTE).expect("a few bytes"));
    uploads.iter_mut().for_each(taste);
    wait_for(&home, UPLOADS * TASTE);
    let idle = gauge::resident(server.id()).saturating_sub(base) / UPLOADS;
    thread::scope(|scope| {
        for some in uploads.chunks_mut(25) {
            // In turn, so that all of them are in the midst of it together.
            scope.spawn(|| while some.iter_mut().fold(false, |more, u| u.step() | more) {});
        }
    });
    uploads.into_iter().for_each(|upload| upload.end(&home));
    let peak = gauge::peak(server.id());
    println!(
        "memory, {UPLOADS} bodies of {} KiB, {framing:?}: {} KiB at first, {} KiB for each that is \
         idle, {} KiB at most, which is {} KiB for each, {:?}",
        length / KIB,
        base / KIB,
        idle / KIB,
        peak / KIB,
        (peak - base) / UPLOADS / KIB,
        begun.elapsed()
    );
    assert!(idle <= IDLE, "an idle upload takes {} KiB", idle / KIB);
    assert!(peak - base <= most(UPLOADS), "{} KiB", peak / KIB);
}

fn wait_for(home: &Home, bytes: u64) {
    let begun = Instant::now();
    while home.stored() < bytes {
        assert!(begun.elapsed() < PATIENCE, "{} of {bytes} bytes are stored", home.stored());
        thread::sleep(Duration::from_millis(20));
    }
}

/// What the system keeps of files in memory counts there too, so the files must lie on a disk.
#[test]
fn a_server_lives_in_64_mib_of_memory_all_told() {
    const ROOM: u64 = 64 * MIB;
    let group = match Cgroup::of(ROOM) {
        Ok(group) => group,
        Err(why) => {
            let test = "a_server_lives_in_64_mib_of_memory_all_told";
            let way = "run it as root on Linux with control groups for memory";
            writeln!(io::stderr(), "NOT RUN: {test}: {why}; {way}").expect("stderr");
            return;
        }
    };
    let (seed, length) = (seed(), large());
    let home = Home::on_disk();
    let server = group.start(&program("tus-server"), &home.arguments());
    let begun = Instant::now();
    Upload::begin(server.addr, "one.bin", Body::new(seed, length), Framing::Sized).whole(&home);
    let one = begun.elapsed();
    let begin = |number| {
        let body = Body::new(seed ^ number, 2 * MIB);
        Upload::begin(server.addr, &format!("{number}.bin"), body, Framing::Chunks(50_000))
    };
    let mut uploads: Vec<_> = (0..UPLOADS).map(begin).collect();
    thread::scope(|scope| {
        for some in uploads.chunks_mut(25) {
            scope.spawn(|| while some.iter_mut().fold(false, |more, u| u.step() | more) {});
        }
    });
    uploads.into_iter().for_each(|upload| upload.end(&home));
    let (peak, kills) = (group.peak(), group.kills());
    println!(
        "memory, in {} MiB for everything: one body of {} MiB in {one:?}, then {UPLOADS} bodies, \
         {:?} in all; at most {} KiB of its own, {:?} KiB with what the system keeps",
        ROOM / MIB,
        length / MIB,
        begun.elapsed(),
        gauge::peak(server.id()) / KIB,
        peak.map(|bytes| bytes / KIB),
    );
    assert!(kills.unwrap_or(0) == 0, "it was killed for want of memory");
    assert!(peak.is_none_or(|bytes| bytes <= ROOM), "the bound did not hold");
}
