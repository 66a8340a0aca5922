//! The promises of the store traits, kept by the file store in every way it can be set up.

#![expect(clippy::unwrap_used, reason = "a test that cannot be set up fails")]

use tempfile::TempDir;
use tus_core::conformance;
use tus_fs::{Durability, FsStore, FsStoreBuilder};

/// Makes stores that are empty; their directories go when the test ends.
struct Fresh(TempDir);

impl Fresh {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    async fn store(&self, set: impl Fn(FsStoreBuilder, &TempDir) -> FsStoreBuilder) -> FsStore {
        let dir = tempfile::tempdir_in(self.0.path()).unwrap();
        let store = set(FsStore::builder(dir.path().join("up")), &dir).open().await.unwrap();
        // It outlives this call, and goes with the directory around it.
        let _kept = dir.keep();
        store
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn records_keep_their_promises() {
    for durability in [Durability::Power, Durability::Process] {
        let fresh = Fresh::new();
        conformance::meta(async || fresh.store(|to, _| to.durability(durability)).await).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_that_stay_keep_their_promises() {
    for durability in [Durability::Power, Durability::Process] {
        let fresh = Fresh::new();
        conformance::chunks(async || fresh.store(|to, _| to.durability(durability)).await).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_that_are_placed_keep_their_promises() {
    for durability in [Durability::Power, Durability::Process] {
        let fresh = Fresh::new();
        let placing = |to: FsStoreBuilder, dir: &TempDir| {
            to.durability(durability).destination(dir.path().join("done"))
        };
        conformance::chunks(async || fresh.store(placing).await).await;
    }
}

#[tokio::test(flavor = "current_thread")]
async fn bytes_keep_their_promises_on_a_current_thread_runtime() {
    let fresh = Fresh::new();
    conformance::chunks(async || fresh.store(|to, _| to).await).await;
}
