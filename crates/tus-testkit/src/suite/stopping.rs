//! Requests that the server ends: those that pause, and all of them when it stops.

use std::time::Duration;

use tokio::time::Instant;
use tus_core::MemoryStore;

use super::{Subject, policy, watched_uploads};
use crate::{
    harness::App,
    head::Head,
    payload::pattern,
    store::{Call, Watched},
    upload::Framing,
};

const WHOLE: usize = 300_000;
const HALF: usize = 120_000;

pub(super) async fn a_body_that_pauses_too_long_is_ended_and_its_bytes_are_kept(subject: Subject) {
    let mut policy = policy();
    policy.idle_timeout = Duration::from_millis(300);
    let store = Watched::new(MemoryStore::new());
    let tus = tus_core::Tus::builder().store(store).policy(policy);
    let server = subject.start(App::new(tus));
    let bytes = pattern(WHOLE, 1);
    for framing in Framing::BOTH {
        let upload = server.create(WHOLE).await;
        let mut client = upload.begin_patch(0, framing, WHOLE).await;
        client.send_body(&bytes[..HALF]).await;
        if let Some(answer) = client.answer_or_close().await {
            let answer = answer.expect(408);
            assert!(answer.closes(), "{answer:?}");
            client.closed().await;
        }
        assert_eq!(upload.resume(&bytes).await, HALF as u64, "{framing:?}");
    }
}

pub(super) async fn a_drain_keeps_what_arrived_and_sends_clients_away(subject: Subject) {
    let (store, tus) = watched_uploads();
    let server = subject.start(App::new(tus));
    let bytes = pattern(WHOLE, 1);
    let upload = server.create(WHOLE).await;
    let mut client = upload.begin_patch(0, Framing::Sized, WHOLE).await;
    client.send_body(&bytes[..HALF]).await;
    store.wait_written(HALF).await;

    let begun = Instant::now();
    let (ended, answer) =
        tokio::join!(server.tus.drain(Duration::from_secs(5)), client.read_response());
    assert!(ended, "the drain gave up");
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
    let answer = answer.expect(503);
    assert!(answer.header("retry-after").is_some(), "{answer:?}");

    assert_eq!(upload.offset().await, HALF as u64);
    let create = server.request(&Head::create("/files", 3), b"").await;
    let patch = upload.patch(HALF as u64, &bytes[HALF..]).await;
    for answer in [create, patch] {
        let answer = answer.expect(503);
        assert!(answer.header("retry-after").is_some(), "{answer:?}");
    }
    assert_eq!(upload.offset().await, HALF as u64);
}

pub(super) async fn a_drain_waits_for_a_commit_under_way(subject: Subject) {
    let (store, tus) = watched_uploads();
    let server = subject.start(App::new(tus));
    let bytes = pattern(WHOLE, 1);
    let upload = server.create(WHOLE).await;
    let held = store.hold(Call::Finish);
    let mut client = upload.begin_patch(0, Framing::Sized, WHOLE).await;
    client.send_body(&bytes).await;
    held.reached().await;
    let in_time = server.tus.drain(Duration::from_millis(100)).await;
    assert!(!in_time, "the drain ended before the commit did");
    held.release();
    assert!(server.tus.drain(Duration::from_secs(10)).await);
    client.read_response().await.expect(204);
    upload.verify(&bytes).await;
}
