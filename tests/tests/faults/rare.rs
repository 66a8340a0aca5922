//! Moments that take two of them at once, or a store that has lost something.

use std::{
    fs,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use tus_core::{
    Expiry, MemoryLocker, MemoryStore, Policy, Reply, Timestamp, Tus,
    conformance::{Fault, Faults, Flaky},
    store::{Acquire, Locker as _, MetaStore, StoreErrorKind},
};
use tus_fs::FsStore;
use tus_tests::rig::{Ask, Frames};

use super::found::{begin, create, part, plain, serve, stored, world};

const HOUR: Duration = Duration::from_secs(3600);

fn expiring() -> Policy {
    let mut policy = Policy::default();
    policy.expiry = Some(Expiry::sliding(HOUR));
    policy
}

/// A clock that a test moves, beginning now: what files say of their times is compared with it.
fn clock() -> (Arc<AtomicU64>, impl Fn() -> Timestamp + Send + Sync + 'static) {
    let millis = Arc::new(AtomicU64::new(Timestamp::now().as_millis()));
    let read = Arc::clone(&millis);
    (millis, move || Timestamp::from_millis(read.load(Ordering::SeqCst)))
}

fn advance(millis: &AtomicU64, by: Duration) {
    let by = u64::try_from(by.as_millis()).unwrap();
    millis.fetch_add(by, Ordering::SeqCst);
}

/// A jump of the wall clock deletes nothing, also where it comes in the midst of a sweep.
#[tokio::test]
async fn a_clock_that_jumps_during_a_sweep_deletes_nothing() {
    let (millis, now) = clock();
    let told = Arc::new(AtomicU64::new(0));
    let tus = Tus::builder()
        .store(MemoryStore::new())
        .policy(expiring())
        .clock(now)
        .on_finish({
            let millis = Arc::clone(&millis);
            move |_| {
                let first = told.fetch_add(1, Ordering::SeqCst) == 0;
                if !first {
                    advance(&millis, 24 * HOUR);
                }
                async move {
                    match first {
                        true => Err(std::io::Error::other("not today").into()),
                        false => Ok(Reply::new()),
                    }
                }
            }
        })
        .build()
        .unwrap();
    // What is to be announced is looked at first.
    let ask = Ask::post().length(4).body(Frames::whole(b"abcd"));
    assert_eq!(ask.send(&tus).await.status, 503);
    let url = create(&tus, part(4)).await;
    let whole = create(&tus, Ask::post().with("upload-concat", format!("final;{url}"))).await;
    let report = tus.sweep().await;
    assert_eq!((report.announced, report.expired), (1, 0), "{report:?}");
    assert_eq!(Ask::head(&whole).send(&tus).await.status, 200);
}

/// P4: a newcomer waits a second at most, besides what a sync takes, however its predecessor sends.
#[tokio::test(start_paused = true)]
async fn whoever_comes_next_has_its_turn_within_a_second() {
    // Silent, as a tunnel would have it; and one that never pauses.
    for every in [None, Some(Duration::from_millis(10))] {
        for ask in [Ask::head, |url: &str| Ask::patch(url, 4), Ask::delete] {
            let world = world(Policy::default());
            let tus = serve(&world);
            let url = create(&tus, Ask::post().length(1 << 20)).await;
            let (sender, patch) = begin(&tus, &url);
            sender.send(Bytes::from_static(b"0123")).unwrap();
            stored(&world, &url, 4).await;
            let dribble = tokio::spawn(async move {
                let Some(every) = every else { return std::future::pending().await };
                while sender.send(Bytes::from_static(b"4")).is_ok() {
                    tokio::time::sleep(every).await;
                }
            });
            let begun = tokio::time::Instant::now();
            let answer = ask(&url).send(&tus).await;
            let waited = begun.elapsed();
            assert!(waited < Duration::from_secs(1), "after {waited:?}: {answer:?}");
            assert_ne!(answer.status, 423, "{answer:?}");
            assert!(!patch.await.unwrap().is_success(), "its predecessor goes on");
            dribble.abort();
        }
    }
}

/// The sweeper asks for the lease, and takes nothing that a request is at work with, even if its
/// time is up.
#[tokio::test(start_paused = true)]
async fn what_a_request_holds_is_not_swept() {
    let mut policy = Policy::default();
    policy.expiry = Some(Expiry::fixed(HOUR));
    let world = world(policy);
    let tus = serve(&world);
    let url = create(&tus, Ask::post().length(8)).await;
    let (sender, patch) = begin(&tus, &url);
    sender.send(Bytes::from_static(b"0123")).unwrap();
    stored(&world, &url, 4).await;
    world.clock.advance(2 * HOUR);
    let report = tus.sweep().await;
    assert_eq!((report.expired, report.left), (0, 1), "{report:?}");
    sender.send(Bytes::from_static(b"4567")).unwrap();
    drop(sender);
    assert_eq!(patch.await.unwrap().status, 204);
    assert_eq!(world.application.finished.lock().unwrap().len(), 1);
}

/// Nobody learns the URL of an upload whose creation is refused, so it must not hold a disk.
#[tokio::test]
async fn a_creation_that_cannot_be_recorded_as_complete_leaves_nothing() {
    let store = MemoryStore::new();
    let faults = Faults::none();
    let tus = Tus::builder()
        .meta(Flaky::new(store.clone(), &faults))
        .chunks(store.clone())
        .before_create(|_, mut new| async move {
            new.id = "mine".parse().ok();
            Ok(new)
        })
        .build()
        .unwrap();
    tus.sweep().await;
    faults.plan(3, Fault::Fail(StoreErrorKind::Full));
    let ask = Ask::post().length(4).body(Frames::whole(b"abcd"));
    assert_eq!(ask.send(&tus).await.status, 507, "{:?}", faults.calls());
    assert!(faults.is_reached());
    let left = MetaStore::load(&store, &"mine".parse().unwrap()).await;
    assert!(
        left.as_ref().is_err_and(|error| error.is_not_found()),
        "{left:?} {:?}",
        faults.calls()
    );
}

/// A final of complete parts is made though somebody holds one of them, and joins them as soon as
/// it is free.
#[tokio::test(start_paused = true)]
async fn a_final_whose_part_is_held_is_tried_again_soon() {
    let locker = MemoryLocker::new();
    let tus = plain().locker(locker.clone()).build().unwrap();
    let url = create(&tus, part(4).body(Frames::whole(b"part"))).await;
    let id = url.rsplit('/').next().unwrap().parse().unwrap();
    let at_once = Acquire { wait: Duration::ZERO, preempt: false };
    let lease = locker.acquire(&id, at_once).await.unwrap();
    let whole = create(&tus, Ask::post().with("upload-concat", format!("final;{url}"))).await;
    assert_eq!(Ask::head(&whole).send(&tus).await.offset(), None, "it still waits");
    lease.release().await;
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert_eq!(Ask::head(&whole).send(&tus).await.offset(), Some(4));
}

/// Joining copies on behalf of a short request, which therefore counts among the transfers.
#[tokio::test(start_paused = true)]
async fn a_concatenation_counts_among_the_transfers() {
    let mut policy = Policy::default();
    policy.max_transfers = 1;
    let world = world(policy);
    let tus = serve(&world);
    let piece = create(&tus, part(4).body(Frames::whole(b"part"))).await;
    let join = || Ask::post().with("upload-concat", format!("final;{piece}"));
    let url = create(&tus, Ask::post().length(8)).await;
    let (sender, patch) = begin(&tus, &url);
    sender.send(Bytes::from_static(b"0123")).unwrap();
    stored(&world, &url, 4).await;
    let answer = join().send(&tus).await;
    assert_eq!(answer.status, 503, "{answer:?}");
    sender.send(Bytes::from_static(b"4567")).unwrap();
    drop(sender);
    assert_eq!(patch.await.unwrap().status, 204);
    create(&tus, join()).await;
}

/// What is damaged harms itself alone: neither does a final keep its parts then, nor a part the
/// final and its other parts.
#[tokio::test]
async fn a_damaged_record_keeps_nobody_else_from_expiring() {
    for damaged in ["the final", "a part"] {
        let home = tempfile::tempdir().unwrap();
        let (millis, now) = clock();
        let store = FsStore::open(home.path()).await.unwrap();
        let tus = Tus::builder().store(store).policy(expiring()).clock(now).build().unwrap();
        let (one, other) = (create(&tus, part(4)).await, create(&tus, part(4)).await);
        let parts = format!("final;{one} {other}");
        let whole = create(&tus, Ask::post().with("upload-concat", parts)).await;
        let spoilt = if damaged == "a part" { &one } else { &whole };
        let name = format!("{}.rec", spoilt.rsplit('/').next().unwrap());
        let file = fs::File::options().write(true).open(home.path().join(name)).unwrap();
        let modified = file.metadata().unwrap().modified().unwrap();
        file.set_len(40).unwrap();
        file.set_modified(modified).unwrap();
        advance(&millis, 2 * HOUR);
        let mut expired = 0;
        for _ in 0..2 {
            expired += tus.sweep().await.expired;
        }
        assert_eq!(expired, 2, "with {damaged} damaged");
        assert_eq!(Ask::head(spoilt).send(&tus).await.status, 500);
    }
}

/// Bytes that are lost are the server's loss: a client that heard 404 would begin anew.
#[tokio::test]
async fn an_upload_that_cannot_be_placed_is_not_unknown() {
    let home = tempfile::tempdir().unwrap();
    let (up, done) = (home.path().join("up"), home.path().join("done"));
    let store = FsStore::builder(&up).destination(&done).open().await.unwrap();
    let tus = Tus::builder().store(store).build().unwrap();
    let url = create(&tus, Ask::post().length(4)).await;
    fs::remove_dir(&done).unwrap();
    fs::create_dir(&done).unwrap();
    let patch = Ask::patch(&url, 0).body(Frames::whole(b"abcd")).send(&tus).await;
    assert_eq!(patch.status, 500, "{patch:?}");
    let lost = create(&tus, Ask::post().length(4)).await;
    fs::remove_file(up.join(format!("{}.bin", lost.rsplit('/').next().unwrap()))).unwrap();
    for ask in [Ask::head(&lost), Ask::patch(&lost, 0).body(Frames::whole(b"abcd"))] {
        let answer = ask.send(&tus).await;
        assert_eq!(answer.status, 500, "{answer:?}");
    }
}
