//! Memory that does not grow with the body (P7); the client's own share is small and constant.

use std::time::Duration;

use tokio::time::timeout;
use tus_core::{MemoryStore, Policy, Tus, TusBuilder};

use super::Subject;
use crate::{
    harness::App,
    payload::pattern,
    process::Peak,
    store::{Call, Discard, Watched},
    upload::Framing,
};

const LENGTH: usize = 64 << 20;
const MAX_GROWTH: u64 = 24 << 20;
/// The most bytes that reach the store at once.
const MAX_PIECE: usize = 1 << 20;

fn counted() -> (Watched<Discard>, TusBuilder) {
    let store = Watched::new(Discard::new());
    let tus = Tus::builder().meta(MemoryStore::new()).chunks(store.clone());
    (store, tus.policy(Policy::default()))
}

pub(super) async fn a_large_body_passes_through_little_memory(subject: Subject) {
    let (store, tus) = counted();
    let server = subject.start(App::new(tus));
    let piece = pattern(64 << 10, 1);
    for framing in Framing::BOTH {
        let upload = server.create(LENGTH).await;
        let before = store.written();
        let peak = Peak::watch();
        let mut client = upload.begin_patch(0, framing, LENGTH).await;
        for _ in 0..LENGTH / piece.len() {
            client.send_body(&piece).await;
        }
        client.end_body(&[]).await;
        let done = client.read_response().await.expect(204);
        let growth = peak.growth();
        assert_eq!(done.offset(), LENGTH as u64);
        assert_eq!(store.written() - before, LENGTH as u64);
        assert!(growth < MAX_GROWTH, "{framing:?}: {growth} bytes more");
    }
    assert!(store.largest() <= MAX_PIECE, "{} bytes at once", store.largest());
}

pub(super) async fn a_store_that_stalls_holds_the_client_back(subject: Subject) {
    let (store, tus) = counted();
    let server = subject.start(App::new(tus));
    let upload = server.create(LENGTH).await;
    let body = pattern(LENGTH, 1);
    let peak = Peak::watch();
    let held = store.hold(Call::Write);
    let mut client = upload.begin_patch(0, Framing::Sized, LENGTH).await;
    let mut sending = tokio::spawn(async move {
        client.send_body(&body).await;
        client
    });
    held.reached().await;
    // As long as nothing is taken, the kernel's buffers alone can be filled.
    let taken = timeout(Duration::from_secs(1), &mut sending).await;
    assert!(taken.is_err(), "{LENGTH} bytes were taken while the store stood still");
    let growth = peak.growth();
    assert!(growth < MAX_GROWTH, "{growth} bytes more");
    held.release();
    let mut client = sending.await.expect("a client");
    let done = client.read_response().await.expect(204);
    assert_eq!(done.offset(), LENGTH as u64);
}
