//! Single moments that no list of store calls has: a disk that lies after a failed sync, a slow
//! store, a request that nobody expects.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use tokio::{sync::mpsc, task::JoinHandle};
use tus_core::{
    Expiry, MemoryStore, Phase, Policy, Revision, Timestamp, Tus, TusBuilder, Upload, UploadId,
    conformance::{Fault, Faults, Flaky},
    store::{Blocking, ChunkStore, Due, MetaStore, StoreError, StoreErrorKind},
};
use tus_tests::rig::{Answer, Application, Ask, Frames, Manner, Piece, World};

use super::{data, proof};

pub(crate) const VOLATILE: Manner = Manner { volatile: true, places: true, is_blind: false };

pub(crate) fn world(policy: Policy) -> World {
    World::new(VOLATILE, policy, Application::default())
}

pub(crate) fn serve(world: &World) -> Tus {
    world.serve(world.records.clone(), world.bytes.clone())
}

pub(crate) fn plain() -> TusBuilder {
    Tus::builder().store(MemoryStore::new())
}

pub(crate) async fn create(tus: &Tus, ask: Ask) -> String {
    let answer = ask.send(tus).await;
    assert_eq!(answer.status, 201, "{answer:?}");
    answer.location()
}

pub(crate) fn part(length: u64) -> Ask {
    Ask::post().length(length).with("upload-concat", "partial")
}

/// The client's end of a body.
pub(crate) struct Sender(mpsc::UnboundedSender<Piece>);

impl Sender {
    /// Sends a frame; an error if nobody reads it any more.
    pub(crate) fn send(&self, frame: Bytes) -> Result<(), mpsc::error::SendError<Piece>> {
        self.0.send(Piece::Data(frame))
    }
}

/// A body that a test sends bit by bit; it ends when the sender is dropped.
pub(crate) fn later() -> (Sender, Frames) {
    let (sender, receiver) = mpsc::unbounded_channel();
    (Sender(sender), Frames::chunked([Piece::Later(receiver)]))
}

/// A PATCH whose body a test sends bit by bit, and its answer.
pub(crate) fn begin(tus: &Tus, url: &str) -> (Sender, JoinHandle<Answer>) {
    let (sender, frames) = later();
    let (tus, url) = (tus.clone(), url.to_owned());
    let patch = tokio::spawn(async move { Ask::patch(&url, 0).body(frames).send(&tus).await });
    (sender, patch)
}

/// What is in the store once somebody has stored so much of an upload.
pub(crate) async fn stored(world: &World, url: &str, at_least: u64) {
    let id = url.rsplit('/').next().unwrap().parse().unwrap();
    for _ in 0..1000 {
        let upload = world.record(&id).await.unwrap();
        if world.bytes.stat(&upload.locator).await.unwrap().length >= at_least {
            return;
        }
        tokio::task::yield_now().await;
    }
    panic!("{url} does not come to {at_least}");
}

/// P1: no sync is tried again as if nothing had happened. After a failed one the kernel has
/// forgotten which pages were dirty, so the next one succeeds and proves nothing.
#[tokio::test(start_paused = true)]
async fn bytes_whose_sync_failed_are_told_only_if_they_survive() {
    let world = world(Policy::default());
    let tus = serve(&world);
    let url = create(&tus, Ask::post().length(100)).await;
    world.bytes.fail_next_sync();
    let answer = Ask::patch(&url, 0).body(Frames::whole(b"0123456789")).send(&tus).await;
    assert_eq!(answer.status, 500, "{answer:?}");
    let told = Ask::head(&url).send(&tus).await.offset().unwrap();
    world.bytes.crash();
    let kept = Ask::head(&url).send(&serve(&world)).await.offset().unwrap();
    assert!(kept >= told, "{told} told, {kept} kept");
}

#[tokio::test(start_paused = true)]
async fn a_part_that_a_head_finds_whole_tells_its_finals() {
    let world = world(Policy::default());
    let tus = serve(&world);
    let url = create(&tus, part(4)).await;
    let whole = create(&tus, Ask::post().with("upload-concat", format!("final;{url}"))).await;
    // The process dies after the last sync and before the record: this is what is left.
    drop(tus);
    let upload = world.record(&"u1".parse().unwrap()).await.unwrap();
    let mut writer = world.bytes.open(&upload.locator, 0, Blocking::Offload).await.unwrap();
    writer.write(Bytes::from_static(b"part")).await.unwrap();
    writer.sync().await.unwrap();
    let tus = serve(&world);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(Ask::head(&url).send(&tus).await.offset(), Some(4));
    tokio::time::sleep(Duration::from_secs(5)).await;
    let head = Ask::head(&whole).send(&tus).await;
    assert_eq!(head.offset(), Some(4), "the final waits for the sweeper: {head:?}");
}

#[tokio::test]
async fn a_creation_that_is_refused_from_its_head_leaves_nothing() {
    let store = MemoryStore::new();
    let tus = Tus::builder()
        .store(store.clone())
        .before_create(|_, mut new| async move {
            new.id = "mine".parse().ok();
            new.max_size = Some(4);
            Ok(new)
        })
        .build()
        .unwrap();
    let ask = Ask::post().with("upload-defer-length", 1).body(Frames::whole(b"too large"));
    assert_eq!(ask.send(&tus).await.status, 413);
    let left = MetaStore::load(&store, &"mine".parse().unwrap()).await;
    assert!(left.is_err_and(|error| error.is_not_found()), "a refused creation made an upload");
}

#[tokio::test(start_paused = true)]
async fn a_setting_of_for_ever_is_no_panic() {
    type Set = fn(&mut Policy);
    let table: [(&str, Set); 6] = [
        ("progress_every", |policy| policy.progress_every = Duration::MAX),
        ("idle_timeout", |policy| policy.idle_timeout = Duration::MAX),
        ("sweep_every", |policy| policy.sweep_every = Duration::MAX),
        ("lease_wait", |policy| policy.lease_wait = Duration::MAX),
        ("finish_wait", |policy| policy.finish_wait = Duration::MAX),
        ("hook_timeout", |policy| policy.hook_timeout = Duration::MAX),
    ];
    let mut broken = Vec::new();
    for (name, set) in table {
        let mut policy = Policy::default();
        set(&mut policy);
        if plain().policy(policy.clone()).build().is_err() {
            continue;
        }
        let application = Application { fails: AtomicU64::new(1), ..Application::default() };
        let world = World::new(VOLATILE, policy, application);
        let upload = tokio::spawn(async move {
            let tus = serve(&world);
            tokio::time::sleep(Duration::from_millis(100)).await;
            let url = create(&tus, Ask::post().length(4)).await;
            Ask::patch(&url, 0).body(Frames::whole(b"abcd")).send(&tus).await;
            // The engine tries again by itself, if it lives.
            tokio::time::sleep(Duration::from_secs(60)).await;
            world.record(&"u1".parse().unwrap()).await.unwrap().phase
        });
        if !matches!(upload.await, Ok(Phase::Announced { .. })) {
            broken.push(name);
        }
    }
    assert!(broken.is_empty(), "{broken:?}");
}

/// A client whose bytes wait because the store is slow has not paused.
#[tokio::test(start_paused = true)]
async fn a_slow_store_is_not_an_idle_client() {
    let world = world(Policy::default());
    let faults = Faults::none();
    let tus = world.serve(world.records.clone(), Flaky::new(world.bytes.clone(), &faults));
    let url = create(&tus, Ask::post().length(8)).await;
    let (sender, frames) = later();
    // stat, open, write.
    faults.plan(3, Fault::Stall);
    let patch = tokio::spawn({
        let (tus, url) = (tus.clone(), url.clone());
        async move { Ask::patch(&url, 0).body(frames).send(&tus).await }
    });
    sender.send(Bytes::from_static(b"0123")).unwrap();
    faults.reached().await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    faults.release();
    // What the client had ready all the time takes the connection a moment to hand over.
    tokio::time::sleep(Duration::from_millis(1)).await;
    let sent = sender.send(Bytes::from_static(b"4567"));
    drop(sender);
    let answer = patch.await.unwrap();
    assert!(sent.is_ok() && answer.status == 204, "{answer:?}");
}

/// P4: a request whose offset is behind what is stored for good can only fail.
#[tokio::test(start_paused = true)]
async fn a_hopeless_request_does_not_stop_a_transfer() {
    let world = world(Policy::default());
    let tus = serve(&world);
    let url = create(&tus, Ask::post().length(8)).await;
    let (sender, holder) = begin(&tus, &url);
    sender.send(Bytes::from_static(b"0123")).unwrap();
    stored(&world, &url, 4).await;
    let stale = Ask::patch(&url, 0).body(Frames::whole(b"01")).send(&tus).await;
    assert_eq!(stale.status, 409, "{stale:?}");
    let sent = sender.send(Bytes::from_static(b"4567"));
    drop(sender);
    let answer = holder.await.unwrap();
    assert!(sent.is_ok() && answer.status == 204, "the holder was stopped: {answer:?}");
}

/// tus 1.0.0 has no body in a final's creation; its type does not matter then, as in others.
#[tokio::test]
async fn a_final_may_be_created_with_a_media_type_and_no_body() {
    let tus = plain().build().unwrap();
    let url = create(&tus, part(0)).await;
    let ask = Ask::post().with("upload-concat", format!("final;{url}")).body(Frames::none());
    let answer = ask.send(&tus).await;
    assert_eq!(answer.status, 201, "{answer:?}");
}

/// P1: the first failed write decides the answer.
#[tokio::test(start_paused = true)]
async fn a_failed_write_decides_also_when_the_body_is_too_long() {
    let mut policy = Policy::default();
    policy.max_size = Some(4);
    let world = world(policy);
    let faults = Faults::none();
    let tus = world.serve(world.records.clone(), Flaky::new(world.bytes.clone(), &faults));
    let url = create(&tus, Ask::post().with("upload-defer-length", 1)).await;
    // stat (for the lease), open, write.
    faults.plan(3, Fault::Fail(StoreErrorKind::Full));
    let patch = Ask::patch(&url, 0).body(Frames::chunked([data(b"too long")]));
    let answer = patch.send(&tus).await;
    assert_eq!(faults.calls().last(), Some(&"chunks.stat"));
    assert_eq!(answer.status, 507, "{answer:?}");
}

/// P7: no input gives a 500.
#[tokio::test(start_paused = true)]
async fn a_trailer_that_nobody_announced_is_refused_where_a_store_cannot_read() {
    let manner = Manner { is_blind: true, ..Manner::default() };
    let world = World::new(manner, Policy::default(), Application::default());
    let tus = serve(&world);
    let url = create(&tus, Ask::post().length(4)).await;
    let frames = Frames::chunked([data(b"abcd"), proof(b"abcd")]);
    let answer = Ask::patch(&url, 0).body(frames).send(&tus).await;
    assert_eq!(answer.status, 400, "{answer:?}");
}

/// P7: no input gives a 500.
#[tokio::test]
async fn a_list_of_parts_that_fits_no_record_is_the_clients_fault() {
    let tus = plain().build().unwrap();
    let url = create(&tus, part(0)).await;
    let urls = vec![format!("{url}?{}", "x".repeat(1500)); 1000].join(" ");
    let answer = Ask::post().with("upload-concat", format!("final;{urls}")).send(&tus).await;
    assert!((400..500).contains(&answer.status), "{answer:?}");
}

/// P7: a record has a bound, so what others may add to it must have one well below.
#[tokio::test]
async fn the_finals_of_a_part_are_bounded() {
    let tus = plain().build().unwrap();
    let url = create(&tus, part(4)).await;
    let mut made = 0;
    for _ in 0..1500 {
        let answer = Ask::post().with("upload-concat", format!("final;{url}")).send(&tus).await;
        if answer.status != 201 {
            assert!((400..500).contains(&answer.status), "{answer:?}");
            break;
        }
        made += 1;
    }
    assert!(made < 1500, "one part is awaited by {made} finals");
}

#[tokio::test(start_paused = true)]
async fn an_upload_whose_bytes_are_lost_still_expires() {
    let mut policy = Policy::default();
    policy.expiry = Some(Expiry::fixed(Duration::from_secs(60)));
    let world = world(policy);
    let tus = serve(&world);
    create(&tus, Ask::post().length(4)).await;
    let id = "u1".parse().unwrap();
    let upload = world.record(&id).await.unwrap();
    ChunkStore::remove(&world.bytes, &upload.locator).await.unwrap();
    for _ in 0..3 {
        world.clock.advance(Duration::from_secs(61));
        tus.sweep().await;
    }
    assert!(world.record(&id).await.is_none(), "the record stays for ever");
}

/// Frames without bytes, which HTTP/2 allows, are a pause.
#[tokio::test(start_paused = true)]
async fn empty_frames_do_not_keep_a_body_alive() {
    let world = world(Policy::default());
    let tus = serve(&world);
    let url = create(&tus, Ask::post().length(8)).await;
    let (sender, patch) = begin(&tus, &url);
    sender.send(Bytes::from_static(b"0123")).unwrap();
    for _ in 0..12 {
        tokio::time::sleep(Duration::from_secs(10)).await;
        // Fails once the body is no longer read, which is what is wanted.
        let _unread = sender.send(Bytes::new());
    }
    assert!(patch.is_finished(), "an idle body is kept for two minutes");
    assert_eq!(patch.await.unwrap().status, 408);
}

/// tus 1.0.0, Expiration: what has expired is 404 or 410, whatever else is wrong with a request.
#[tokio::test(start_paused = true)]
async fn an_expired_upload_is_gone_whatever_else_is_wrong() {
    let mut policy = Policy::default();
    policy.expiry = Some(Expiry::fixed(Duration::from_secs(60)));
    let world = world(policy);
    let tus = serve(&world);
    let url = create(&tus, Ask::post().length(4)).await;
    world.clock.advance(Duration::from_secs(61));
    let patch = Ask::patch(&url, 0).body(Frames::whole(b"too long")).send(&tus).await;
    assert_eq!(patch.status, 410, "{patch:?}");
}

/// tus 1.0.0, Creation With Upload: the answer MUST have the offset.
#[tokio::test]
async fn a_creation_with_a_body_of_nothing_is_told_its_offset() {
    let tus = plain().build().unwrap();
    for length in [4, 0] {
        let answer = Ask::post().length(length).body(Frames::none()).send(&tus).await;
        assert_eq!((answer.status, answer.offset()), (201, Some(0)), "of {length}: {answer:?}");
    }
}

/// P5: whatever brought the last byte, the upload is complete and announced.
#[tokio::test(start_paused = true)]
async fn a_creation_that_breaks_after_its_last_byte_is_complete() {
    let world = world(Policy::default());
    let tus = serve(&world);
    let frames = Frames::chunked([data(b"abcd"), Piece::Break]);
    let answer = Ask::post().length(4).body(frames).send(&tus).await;
    assert_eq!(answer.status, 400, "{answer:?}");
    let upload = world.record(&"u1".parse().unwrap()).await.unwrap();
    assert!(matches!(upload.phase, Phase::Announced { .. }), "{:?}", upload.phase);
}

/// What a finish that was not recorded has placed belongs to the upload, and ends with it.
#[tokio::test(start_paused = true)]
async fn a_termination_after_a_crash_in_the_finish_leaves_no_bytes() {
    let world = world(Policy::default());
    let faults = Faults::none();
    let dying = world.serve(Flaky::new(world.records.clone(), &faults), world.bytes.clone());
    let url = create(&dying, Ask::post().length(4)).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    // Two loads, then the record that says where the bytes were placed.
    faults.plan(3, Fault::Crash);
    Ask::patch(&url, 0).body(Frames::whole(b"abcd")).send(&dying).await;
    assert_eq!(faults.calls().last(), Some(&"meta.update"));
    let tus = serve(&world);
    assert_eq!(Ask::delete(&url).send(&tus).await.status, 204);
    tus.sweep().await;
    assert!(world.bytes.locators().is_empty(), "{:?} are left", world.bytes.locators());
}

/// Records that nothing more can be written to, as on a full disk.
#[derive(Clone, Debug)]
struct FullRecords(MemoryStore);

#[async_trait::async_trait]
impl MetaStore for FullRecords {
    async fn create(&self, upload: &Upload) -> Result<Revision, StoreError> {
        MetaStore::create(&self.0, upload).await
    }

    async fn load(&self, id: &UploadId) -> Result<(Upload, Revision), StoreError> {
        self.0.load(id).await
    }

    async fn update(&self, upload: &Upload, _: Revision) -> Result<Revision, StoreError> {
        Err(StoreError::new(StoreErrorKind::Full, format!("no room for {}", upload.id)))
    }

    async fn remove(&self, id: &UploadId) -> Result<(), StoreError> {
        MetaStore::remove(&self.0, id).await
    }

    async fn due(
        &self,
        now: Timestamp,
        after: Option<&Due>,
        limit: usize,
    ) -> Result<Vec<Due>, StoreError> {
        self.0.due(now, after, limit).await
    }
}

/// A full disk can be emptied: what frees room must not need any.
#[tokio::test]
async fn a_termination_and_an_expiry_need_no_room() {
    let store = MemoryStore::new();
    let clock = Arc::new(AtomicU64::new(Timestamp::now().as_millis()));
    let now = Arc::clone(&clock);
    let mut policy = Policy::default();
    policy.expiry = Some(Expiry::fixed(Duration::from_secs(60)));
    let tus = Tus::builder()
        .meta(FullRecords(store.clone()))
        .chunks(store.clone())
        .policy(policy)
        .clock(move || Timestamp::from_millis(now.load(Ordering::SeqCst)))
        .build()
        .unwrap();
    let terminated = create(&tus, Ask::post().length(4)).await;
    let expired = create(&tus, Ask::post().length(4)).await;
    for url in [&terminated, &expired] {
        assert_eq!(Ask::patch(url, 0).body(Frames::whole(b"ab")).send(&tus).await.status, 204);
    }
    assert_eq!(Ask::delete(&terminated).send(&tus).await.status, 204);
    clock.fetch_add(61_000, Ordering::SeqCst);
    assert_eq!(tus.sweep().await.expired, 1);
    for url in [&terminated, &expired] {
        let id: UploadId = url.rsplit('/').next().unwrap().parse().unwrap();
        assert!(store.load(&id).await.is_err(), "{url} is still there");
        assert_eq!(Ask::head(url).send(&tus).await.status, 404);
    }
}
