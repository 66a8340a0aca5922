//! The suites pass stores that keep their promises, and only those.
#![cfg(feature = "conformance")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "what fails here fails the test")]

mod stores;

use std::{panic::AssertUnwindSafe, sync::Arc};

use futures_util::FutureExt as _;
use tus_core::{
    conformance::{self, Fault, Faults, Flaky},
    store::{ChunkStore, Locker, MemoryLocker, MemoryStore, MetaStore},
};

use self::stores::{ChunkFlaw, Frugal, LockerFlaw, MetaFlaw, Placing};

#[tokio::test(flavor = "multi_thread")]
async fn the_memory_store_keeps_its_promises() {
    conformance::meta(async || MemoryStore::new()).await;
    conformance::chunks(async || MemoryStore::new()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_memory_locker_keeps_its_promises() {
    conformance::locker(async || MemoryLocker::new()).await;
}

#[tokio::test]
async fn a_current_thread_runtime_will_do() {
    conformance::meta(async || MemoryStore::new()).await;
    conformance::chunks(async || MemoryStore::new()).await;
    conformance::locker(async || MemoryLocker::new()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn boxes_of_stores_are_stores() {
    conformance::meta(async || Box::new(MemoryStore::new()) as Box<dyn MetaStore>).await;
    conformance::chunks(async || Box::new(MemoryStore::new()) as Box<dyn ChunkStore>).await;
    conformance::locker(async || Box::new(MemoryLocker::new()) as Box<dyn Locker>).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn shared_stores_are_stores() {
    conformance::meta(async || Arc::new(MemoryStore::new()) as Arc<dyn MetaStore>).await;
    conformance::chunks(async || Arc::new(MemoryStore::new()) as Arc<dyn ChunkStore>).await;
    conformance::locker(async || Arc::new(MemoryLocker::new()) as Arc<dyn Locker>).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flaky_store_without_faults_is_the_store_within() {
    let faults = Faults::none();
    conformance::meta(async || Flaky::new(MemoryStore::new(), &faults)).await;
    let store = async || Flaky::new(Arc::new(MemoryStore::new()) as Arc<dyn ChunkStore>, &faults);
    conformance::chunks(store).await;
    let mut calls = faults.calls();
    calls.sort_unstable();
    calls.dedup();
    let all = [
        "chunks.concat",
        "chunks.create",
        "chunks.finish",
        "chunks.open",
        "chunks.read",
        "chunks.remove",
        "chunks.stat",
        "chunks.truncate",
        "chunks.unrecorded",
        "meta.create",
        "meta.due",
        "meta.load",
        "meta.remove",
        "meta.update",
        "reader.next",
        "writer.sync",
        "writer.write",
    ];
    assert_eq!(calls, all);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_may_lose_what_was_not_synced_and_lack_what_is_optional() {
    conformance::chunks(async || Frugal::default()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_may_move_what_is_whole_and_refuse_a_taken_name() {
    conformance::chunks(async || Placing::default()).await;
}

/// The suite panics, in this case, and says so.
async fn fails_in(case: &str, suite: impl Future<Output = ()>) {
    let outcome = AssertUnwindSafe(suite).catch_unwind().await;
    let panic = outcome.expect_err(&format!("{case} should have failed"));
    let text = panic.downcast_ref::<String>().expect("a text");
    assert!(text.contains(&format!("case {case}:")), "expected {case}, got {text}");
    assert!(text.contains("the contract says: "), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_meta_store_is_found_out() {
    for (flaw, case) in MetaFlaw::ALL {
        fails_in(case, conformance::meta(async || flaw.store())).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_chunk_store_is_found_out() {
    for (flaw, case) in ChunkFlaw::ALL {
        fails_in(case, conformance::chunks(async || flaw.store())).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_that_never_answers_is_found_out() {
    let stalled = async || Flaky::new(MemoryStore::new(), &Faults::at(2, Fault::Stall));
    fails_in("what_was_created_is_loaded", conformance::meta(stalled)).await;
    fails_in("a_new_object_is_empty", conformance::chunks(stalled)).await;
}

#[tokio::test(start_paused = true)]
async fn a_broken_locker_is_found_out() {
    for (flaw, case) in LockerFlaw::ALL {
        fails_in(case, conformance::locker(async || flaw.locker())).await;
    }
}
