//! Power cuts on a real file system that drops what was not synced: what was told is stored (P1),
//! what was complete is whole (P5), and everything can be gone on with.
//!
//! The file system is ours, in memory, behind the kernel's FUSE; the server is the real one, in a
//! process of its own, and reads another boot id after each cut. `TUS_FUSE_CUTS` is how many cuts.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test that cannot go on panics, and says why"
)]

#[cfg(target_os = "linux")]
#[path = "fuse"]
mod linux {
    mod client;
    mod cuts;
    mod disk;
    mod inside;
    mod laws;
    mod machine;
    mod mount;
    mod steps;
    mod tally;
    mod upload;
    mod work;
}

#[cfg(not(target_os = "linux"))]
#[test]
fn power_cuts_on_a_file_system_of_our_own_need_linux() {
    use std::io::Write as _;
    // Past the harness, which keeps the words of a test that passes to itself.
    let words = "NOT RUN: power cuts on a FUSE file system; run them on Linux";
    writeln!(std::io::stderr(), "{words}").expect("somebody to tell");
}
