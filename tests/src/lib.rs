//! Tests across the crates of the workspace.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::missing_panics_doc,
    clippy::unwrap_used,
    reason = "a test that cannot go on panics, and says why"
)]

/// The README's Rust is compiled.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
pub mod readme {}

pub mod disk;
pub mod fuzz;
pub mod gauge;
pub mod model;
pub mod process;
pub mod rig;
pub mod scale;
pub mod transcript;
