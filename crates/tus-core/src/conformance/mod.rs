//! Suites that prove a store of your own.
//!
//! For each trait of [`crate::store`] there is a function that tries its promises one by one on
//! fresh stores and panics at the first that is broken, with the name of the case, what was seen,
//! and the words of the contract. In a store's tests:
//!
//! ```
//! use tus_core::{conformance, store::{MemoryLocker, MemoryStore}};
//!
//! # /*
//! #[tokio::test(flavor = "multi_thread")]
//! # */
//! async fn the_promises_of_a_store_are_kept() {
//!     conformance::meta(async || MemoryStore::new()).await;
//!     conformance::chunks(async || MemoryStore::new()).await;
//!     conformance::locker(async || MemoryLocker::new()).await;
//! }
//! # tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap()
//! #     .block_on(the_promises_of_a_store_are_kept());
//! ```
//!
//! - What is given to a suite is called for each case and makes a store that is empty: a new
//!   directory, a new schema, a new prefix.
//! - Use a multi-thread runtime: on another one, [`chunks`] cannot ask for
//!   [`Blocking::InPlace`](crate::store::Blocking::InPlace) and tries only the other half. Leave
//!   the clock running.
//! - What a suite cannot see is durability: no case pulls the plug. It also cannot compare bytes
//!   that a store cannot [`read`](crate::store::ChunkStore::read), only count them.
//!
//! [`Flaky`] wraps a store and makes one of its calls fail, stall or crash; the engine's own
//! tests use it, and so can an application's.
//!
//! **Unstable:** cases are added in minor versions, so a store that passes today may be found
//! out by the next one.

#![allow(clippy::indexing_slicing, reason = "a suite reports by panicking, and knows its samples")]

mod chunks;
mod locker;
mod meta;
mod promises;
mod samples;

use std::{fmt, time::Duration};

use tokio::task::JoinHandle;

pub use self::{chunks::chunks, locker::locker, meta::meta};
pub use crate::store::flaky::{Fault, Faults, Flaky};
use crate::store::{StoreError, StoreErrorKind};

/// After this long a case has not merely been slow: something that was promised never came.
const CASE_LIMIT: Duration = Duration::from_secs(300);

/// A case and the promise that it tries, in the contract's words.
#[derive(Clone, Copy, Debug)]
struct Case {
    suite: &'static str,
    name: &'static str,
    promise: &'static str,
}

impl Case {
    /// Runs the case; one that does not come to an end fails.
    async fn run(self, case: impl Future<Output = ()>) {
        if tokio::time::timeout(CASE_LIMIT, case).await.is_err() {
            self.fail(format_args!("did not end within {CASE_LIMIT:?}"));
        }
    }

    #[track_caller]
    fn fail(&self, seen: impl fmt::Display) -> ! {
        let Self { suite, name, promise } = self;
        panic!("conformance::{suite}, case {name}: {seen}\n  the contract says: {promise}");
    }

    #[track_caller]
    fn holds(&self, condition: bool, otherwise: impl fmt::Display) {
        if !condition {
            self.fail(otherwise);
        }
    }

    #[track_caller]
    #[allow(clippy::needless_pass_by_value, reason = "so that calls can be short")]
    fn same<T: PartialEq + fmt::Debug>(&self, got: T, want: T, what: impl fmt::Display) {
        if got != want {
            self.fail(format_args!("{what} is {got:?} and should be {want:?}"));
        }
    }

    #[track_caller]
    fn done<T>(&self, result: Result<T, StoreError>, call: impl fmt::Display) -> T {
        match result {
            Ok(value) => value,
            Err(error) => self.fail(format_args!("{call} failed: {error}")),
        }
    }

    #[track_caller]
    fn fails<T>(
        &self,
        result: Result<T, StoreError>,
        kind: StoreErrorKind,
        call: impl fmt::Display,
    ) {
        match result {
            Err(error) if error.kind() == kind => {}
            Err(error) => self.fail(format_args!("{call} should fail as {kind:?}, not: {error}")),
            Ok(_) => self.fail(format_args!("{call} should fail as {kind:?} and succeeded")),
        }
    }

    /// The result of a task; a promise that was broken there is broken here.
    async fn join<T>(&self, task: JoinHandle<T>) -> T {
        match task.await {
            Ok(value) => value,
            Err(error) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(error) => self.fail(format_args!("a task was lost: {error}")),
            },
        }
    }

    async fn join_all<T>(&self, tasks: Vec<JoinHandle<T>>) -> Vec<T> {
        let mut results = Vec::with_capacity(tasks.len());
        for task in tasks {
            results.push(self.join(task).await);
        }
        results
    }
}
