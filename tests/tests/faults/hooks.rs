//! What the application is told and asks, in moments that no list of store calls has.

use std::{
    io,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http::StatusCode;
use tokio::{sync::Notify, time::Instant};
use tus_core::{
    Expiry, HookError, Kind, Phase, Policy, Rejection, Reply, Tus,
    conformance::{Fault, Faults, Flaky},
    store::StoreErrorKind,
};
use tus_tests::rig::{Application, Ask, Frames, Manner, World};

use super::found::{create, later, part, plain, serve, stored, world};

/// P4, also while the application thinks about progress.
#[tokio::test(start_paused = true)]
async fn a_slow_on_progress_does_not_hold_up_a_newcomer() {
    let world = world(Policy::default());
    let mut policy = Policy::default();
    policy.progress_every = Duration::ZERO;
    let asked = Arc::new(Notify::new());
    let (records, bytes) = (world.records.clone(), world.bytes.clone());
    let builder = Tus::builder().meta(records).chunks(bytes).policy(policy);
    let tus = builder
        .before_create(|_, mut new| async move {
            new.id = "u1".parse().ok();
            Ok(new)
        })
        .on_progress({
            let asked = asked.clone();
            move |_| {
                asked.notify_one();
                tokio::time::sleep(Duration::from_secs(50))
            }
        })
        .build()
        .unwrap();
    let url = create(&tus, Ask::post().length(8)).await;
    let (sender, frames) = later();
    let holder = tokio::spawn({
        let (tus, url) = (tus.clone(), url.clone());
        async move { Ask::patch(&url, 0).body(frames).send(&tus).await }
    });
    sender.send(Bytes::from_static(b"0123")).unwrap();
    asked.notified().await;
    let began = Instant::now();
    let head = Ask::head(&url).send(&tus).await;
    let waited = began.elapsed();
    assert!(head.offset() == Some(4) && waited <= Duration::from_secs(1), "{waited:?}, {head:?}");
    drop(sender);
    holder.await.unwrap();
}

/// Issue 2, graceful stop: what the engine has begun is finished, not dropped half-way.
#[tokio::test(start_paused = true)]
async fn a_drain_waits_for_what_the_sweeper_has_begun() {
    let world = world(Policy::default());
    world.application.fails.store(1, Ordering::SeqCst);
    let tus = serve(&world);
    let url = create(&tus, Ask::post().length(4)).await;
    assert_eq!(Ask::patch(&url, 0).body(Frames::whole(b"abcd")).send(&tus).await.status, 503);
    drop(tus);
    // The next process announces it by itself, and is told to stop meanwhile.
    let (begun, ended) = (Arc::new(Notify::new()), Arc::new(AtomicBool::new(false)));
    let builder = Tus::builder().meta(world.records.clone()).chunks(world.bytes.clone());
    let clock = world.clock.clone();
    let tus = builder
        .clock(move || clock.now())
        .on_finish({
            let (begun, ended) = (begun.clone(), ended.clone());
            move |_| {
                let (begun, ended) = (begun.clone(), ended.clone());
                async move {
                    begun.notify_one();
                    tokio::time::sleep(Duration::from_secs(2)).await;
                    ended.store(true, Ordering::SeqCst);
                    Ok(Reply::new())
                }
            }
        })
        .build()
        .unwrap();
    begun.notified().await;
    assert!(tus.drain(Duration::from_secs(10)).await);
    assert!(ended.load(Ordering::SeqCst), "on_finish was dropped half-way");
    let upload = world.record(&"u1".parse().unwrap()).await.unwrap();
    assert!(matches!(upload.phase, Phase::Announced { .. }), "{:?}", upload.phase);
}

/// P5: no HEAD shows a refused upload as success, whatever the application made of its refusal.
#[tokio::test]
async fn a_rejection_is_never_a_success() {
    let tus = plain()
        .on_finish(|_| async {
            let mut rejection = Rejection::forbidden("no\n");
            rejection.status = StatusCode::OK;
            Err(rejection.into())
        })
        .build()
        .unwrap();
    let url = create(&tus, Ask::post().length(4)).await;
    let patch = Ask::patch(&url, 0).body(Frames::whole(b"abcd")).send(&tus).await;
    let head = Ask::head(&url).send(&tus).await;
    assert!(patch.status >= 400 && head.status >= 400, "{} and {}", patch.status, head.status);
}

/// A hook may use the service; what it does to other uploads must not wait for its own.
#[tokio::test(start_paused = true)]
async fn on_finish_of_a_final_may_terminate_its_parts() {
    let world = world(Policy::default());
    let itself: Arc<Mutex<Option<Tus>>> = Arc::default();
    let waited = Arc::new(AtomicU64::new(u64::MAX));
    let ids = Arc::new(AtomicU64::new(0));
    let tus = Tus::builder()
        .meta(world.records.clone())
        .chunks(world.bytes.clone())
        .before_create(move |_, mut new| {
            new.id = format!("u{}", ids.fetch_add(1, Ordering::SeqCst) + 1).parse().ok();
            async move { Ok(new) }
        })
        .on_finish({
            let (itself, waited) = (itself.clone(), waited.clone());
            move |finished| {
                let tus = itself.lock().unwrap().clone().unwrap();
                let waited = waited.clone();
                async move {
                    let Kind::Final { parts } = &finished.upload.kind else {
                        return Err(HookError::Failed(Box::new(io::Error::other("no final"))));
                    };
                    let began = Instant::now();
                    for part in parts {
                        // Not from within the hook's own task: its future would be its own type.
                        let (tus, part) = (tus.clone(), part.clone());
                        let url = format!("/files/{part}");
                        let ended = tokio::spawn(async move { Ask::delete(&url).send(&tus).await });
                        assert_eq!(ended.await.unwrap().status, 204);
                    }
                    let millis = u64::try_from(began.elapsed().as_millis()).unwrap();
                    waited.store(millis, Ordering::SeqCst);
                    Ok(Reply::new())
                }
            }
        })
        .build()
        .unwrap();
    *itself.lock().unwrap() = Some(tus.clone());
    let (first, second) = (create(&tus, part(4)).await, create(&tus, part(4)).await);
    let concat = format!("final;{first} {second}");
    create(&tus, Ask::post().with("upload-concat", concat)).await;
    for url in [first, second] {
        let answer = Ask::patch(&url, 0).body(Frames::whole(b"abcd")).send(&tus).await;
        assert_eq!(answer.status, 204);
    }
    tokio::time::sleep(Duration::from_secs(50)).await;
    *itself.lock().unwrap() = None;
    let waited = waited.load(Ordering::SeqCst);
    assert!(waited < 1000, "two parts were terminated in {waited} ms");
}

#[tokio::test(start_paused = true)]
async fn an_announcement_that_meets_an_unavailable_store_is_tried_again_soon() {
    let world = world(Policy::default());
    world.application.fails.store(1, Ordering::SeqCst);
    let faults = Faults::none();
    let tus = world.serve(Flaky::new(world.records.clone(), &faults), world.bytes.clone());
    // The sweeper looks around once; after that only what was noted is tried again.
    tokio::time::sleep(Duration::from_millis(100)).await;
    let url = create(&tus, Ask::post().length(4)).await;
    assert_eq!(Ask::patch(&url, 0).body(Frames::whole(b"abcd")).send(&tus).await.status, 503);
    faults.plan(1, Fault::Fail(StoreErrorKind::Unavailable));
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert!(faults.is_reached());
    let upload = world.record(&"u1".parse().unwrap()).await.unwrap();
    assert!(matches!(upload.phase, Phase::Announced { .. }), "after a minute: {:?}", upload.phase);
}

/// A hook that fails is tried again with backoff, also while its client asks every second.
#[tokio::test(start_paused = true)]
async fn a_client_that_asks_often_does_not_hammer_a_failing_hook() {
    let world = world(Policy::default());
    world.application.fails.store(u64::MAX, Ordering::SeqCst);
    let tus = serve(&world);
    let url = create(&tus, Ask::post().length(4)).await;
    Ask::patch(&url, 0).body(Frames::whole(b"abcd")).send(&tus).await;
    for _ in 0..50 {
        let head = Ask::head(&url).send(&tus).await;
        assert!(matches!(head.status, 423 | 503), "{head:?}");
    }
    let calls = world.application.finished.lock().unwrap().len();
    assert!(calls <= 5, "{calls} calls of on_finish within {:?}", Duration::ZERO);
}

/// P5, across a restart and a clock that was wrong before it.
#[tokio::test(start_paused = true)]
async fn a_clock_that_went_back_does_not_put_off_an_announcement() {
    let world = world(Policy::default());
    world.application.fails.store(1, Ordering::SeqCst);
    let tus = serve(&world);
    let url = create(&tus, Ask::post().length(4)).await;
    assert_eq!(Ask::patch(&url, 0).body(Frames::whole(b"abcd")).send(&tus).await.status, 503);
    drop(tus);
    world.clock.set_back(Duration::from_secs(24 * 3600));
    let tus = serve(&world);
    tokio::time::sleep(Duration::from_secs(1)).await;
    tus.sweep().await;
    let upload = world.record(&"u1".parse().unwrap()).await.unwrap();
    assert!(matches!(upload.phase, Phase::Announced { .. }), "{:?}", upload.phase);
}

/// The revision fences the record: whoever lost the upload to somebody else, as under a locker
/// whose leases run out, must find out and must not announce it once more.
#[tokio::test(start_paused = true)]
async fn a_holder_that_lost_the_upload_does_not_undo_what_is_recorded() {
    let manner = Manner { volatile: true, ..Manner::default() };
    let world = World::new(manner, Policy::default(), Application::default());
    // Each has a locker of its own, so neither knows when it has lost the upload.
    let (slow, quick) = (serve(&world), serve(&world));
    let url = create(&slow, Ask::post().length(4)).await;
    let (sender, frames) = later();
    let holder = tokio::spawn({
        let url = url.clone();
        async move { Ask::patch(&url, 0).body(frames).send(&slow).await }
    });
    sender.send(Bytes::from_static(b"ab")).unwrap();
    stored(&world, &url, 2).await;
    assert_eq!(Ask::head(&url).send(&quick).await.offset(), Some(2));
    let answer = Ask::patch(&url, 2).body(Frames::whole(b"cd")).send(&quick).await;
    assert_eq!(answer.status, 204, "{answer:?}");
    drop(sender);
    holder.await.unwrap();
    let mut events = world.application.events(&"u1".parse().unwrap());
    events.dedup();
    assert_eq!(events.len(), 1, "announced as {events:?}");
}

/// P5: an application that cannot take the news of an end hears it again, from the next process
/// too, under the same event id; the client need not wait for that.
#[tokio::test(start_paused = true)]
async fn an_end_is_told_until_the_application_has_heard_it() {
    let mut policy = Policy::default();
    policy.expiry = Some(Expiry::fixed(Duration::from_secs(3600)));
    let world = world(policy);
    world.application.deaf.store(3, Ordering::SeqCst);
    let tus = serve(&world);
    let terminated = create(&tus, Ask::post().length(8)).await;
    let expired = create(&tus, Ask::post().length(8)).await;
    let (first, second) = ("u1".parse().unwrap(), "u2".parse().unwrap());

    assert_eq!(Ask::delete(&terminated).send(&tus).await.status, 204);
    assert_eq!(Ask::head(&terminated).send(&tus).await.status, 410);
    let record = world.record(&first).await.unwrap();
    let bytes = world.bytes.durable(&record.locator);
    assert!(bytes.is_none(), "its bytes wait for the application");
    world.clock.advance(Duration::from_secs(3601));
    tus.sweep().await;
    assert_eq!(Ask::head(&expired).send(&tus).await.status, 410);
    drop(tus);

    // The next process tells by itself, and again after a pause when that fails too.
    let tus = serve(&world);
    tokio::time::sleep(Duration::from_secs(30)).await;
    for (log, id) in
        [(&world.application.terminated, &first), (&world.application.expired, &second)]
    {
        let told = log.lock().unwrap().clone();
        assert!(told.len() >= 2 && told.iter().all(|one| one.id == *id), "{told:?}");
        assert!(told.iter().all(|one| one.event == told[0].event), "{told:?}");
    }
    assert!(world.record(&first).await.is_none(), "a terminated upload is forgotten once told");
    let told = world.application.terminated.lock().unwrap().len();
    tus.sweep().await;
    tokio::time::sleep(Duration::from_secs(3600)).await;
    assert_eq!(world.application.terminated.lock().unwrap().len(), told, "told once too often");
    assert_eq!(Ask::head(&terminated).send(&tus).await.status, 404);
    assert_eq!(Ask::head(&expired).send(&tus).await.status, 410);
}

/// P5: who terminates what is complete does not keep the application from hearing of it first.
#[tokio::test(start_paused = true)]
async fn a_complete_upload_is_announced_before_its_end_is() {
    let world = world(Policy::default());
    world.application.fails.store(1, Ordering::SeqCst);
    let tus = serve(&world);
    let url = create(&tus, Ask::post().length(4)).await;
    assert_eq!(Ask::patch(&url, 0).body(Frames::whole(b"abcd")).send(&tus).await.status, 503);
    drop(tus);
    let tus = serve(&world);
    assert_eq!(Ask::delete(&url).send(&tus).await.status, 204);
    let id = "u1".parse().unwrap();
    let events = world.application.events(&id);
    assert!(events.len() == 2 && events[0] == events[1], "{events:?}");
    assert_eq!(world.application.terminated.lock().unwrap().len(), 1);
}
