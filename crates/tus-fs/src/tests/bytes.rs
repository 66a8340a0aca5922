use std::{fs, os::unix::fs::symlink, task::Context};

use super::*;
use crate::Durability;

const MIB: usize = 1024 * 1024;

#[tokio::test]
async fn an_object_is_created_once_and_empty() {
    for durability in [Durability::Power, Durability::Process] {
        let home = Home::new();
        let store = home.builder().durability(durability).open().await.unwrap();
        let at = create(&store, &upload("u")).await.unwrap();
        assert_eq!(at.as_str(), "upload:u");
        let stored = store.stat(&at).await.unwrap();
        assert_eq!((stored.length, stored.synced), (0, true));
        append(&store, &at, "hello").await;
        fails(create(&store, &upload("u")).await, StoreErrorKind::AlreadyExists);
        assert_eq!(read(&store, &at).await.unwrap(), b"hello");
        assert_eq!(store.local_path(&at).unwrap(), home.file("u.bin").canonicalize().unwrap());
    }
}

#[tokio::test]
async fn a_finish_that_was_begun_keeps_its_id() {
    let home = Home::new();
    let store = home.store().await;
    fs::write(home.file("u.place"), "").unwrap();
    fails(create(&store, &upload("u")).await, StoreErrorKind::AlreadyExists);
    assert_eq!(home.names(), ["u.place"]);
}

async fn chunks_of_every_size_arrive(store: &FsStore, blocking: Blocking) {
    let sizes = [1, 0, 100, 64 * 1024, 64 * 1024 + 1, 255 * 1024, 3, 256 * 1024, 5 * MIB + 7, 1];
    let bytes = noise(sizes.iter().sum());
    let at = create(store, &upload("u")).await.unwrap();
    for _ in 0..2 {
        let mut rest = bytes.clone();
        let offset = store.stat(&at).await.unwrap().length;
        let mut writer = store.open(&at, offset, blocking).await.unwrap();
        for size in sizes {
            writer.write(rest.split_to(size)).await.unwrap();
        }
        assert_eq!(writer.sync().await.unwrap(), offset + bytes.len() as u64);
        assert_eq!(writer.sync().await.unwrap(), offset + bytes.len() as u64);
    }
    assert!(store.stat(&at).await.unwrap().synced);
    assert!(read(store, &at).await.unwrap() == [&bytes[..], &bytes[..]].concat());
}

#[tokio::test(flavor = "multi_thread")]
async fn chunks_of_every_size_arrive_in_both_modes() {
    for durability in [Durability::Power, Durability::Process] {
        for blocking in [Blocking::InPlace, Blocking::Offload] {
            let home = Home::new();
            let store = home.builder().durability(durability).open().await.unwrap();
            chunks_of_every_size_arrive(&store, blocking).await;
        }
    }
}

#[tokio::test(flavor = "current_thread")]
async fn a_current_thread_runtime_offloads() {
    chunks_of_every_size_arrive(&Home::new().store().await, Blocking::Offload).await;
}

#[tokio::test]
async fn a_stale_offset_is_refused_and_nothing_is_written() {
    let home = Home::new();
    let store = home.store().await;
    let at = whole(&store, &upload("u"), "hello").await;
    for offset in [0, 4, 6] {
        let opened = store.open(&at, offset, Blocking::InPlace).await;
        fails(opened, StoreErrorKind::Conflict);
    }
    assert_eq!(read(&store, &at).await.unwrap(), b"hello");
}

#[tokio::test]
async fn what_was_written_without_sync_counts_while_the_machine_stays_up() {
    let home = Home::new();
    let store = home.store().await;
    let at = create(&store, &upload("u")).await.unwrap();
    let mut writer = store.open(&at, 0, Blocking::InPlace).await.unwrap();
    writer.write(Bytes::from("hello")).await.unwrap();
    drop((writer, store));
    let store = home.store().await;
    let stored = store.stat(&at).await.unwrap();
    assert_eq!((stored.length, stored.synced), (5, false));
    let mut writer = store.open(&at, 5, Blocking::InPlace).await.unwrap();
    assert_eq!(writer.sync().await.unwrap(), 5);
    assert!(store.stat(&at).await.unwrap().synced);
}

#[tokio::test]
async fn a_second_writer_at_the_same_offset_overwrites_rather_than_appends() {
    let home = Home::new();
    let store = home.store().await;
    let at = create(&store, &upload("u")).await.unwrap();
    let mut one = store.open(&at, 0, Blocking::InPlace).await.unwrap();
    let mut two = store.open(&at, 0, Blocking::InPlace).await.unwrap();
    one.write(Bytes::from("hello")).await.unwrap();
    two.write(Bytes::from("hello")).await.unwrap();
    assert_eq!(store.stat(&at).await.unwrap().length, 5);
}

#[tokio::test]
async fn truncate_cuts_and_a_shorter_object_stays() {
    for durability in [Durability::Power, Durability::Process] {
        let home = Home::new();
        let store = home.builder().durability(durability).open().await.unwrap();
        let at = whole(&store, &upload("u"), "hello world").await;
        store.truncate(&at, 100).await.unwrap();
        assert_eq!(store.stat(&at).await.unwrap().length, 11);
        store.truncate(&at, 5).await.unwrap();
        let stored = store.stat(&at).await.unwrap();
        assert_eq!((stored.length, stored.synced), (5, true));
        append(&store, &at, "!").await;
        assert_eq!(read(&store, &at).await.unwrap(), b"hello!");
        fails(store.truncate(&Locator::new("upload:x"), 0).await, StoreErrorKind::NotFound);
    }
}

#[tokio::test]
async fn concat_replaces_by_the_parts_in_order_and_can_be_repeated() {
    for durability in [Durability::Power, Durability::Process] {
        let home = Home::new();
        let store = home.builder().durability(durability).open().await.unwrap();
        let big = noise(3 * MIB + 1);
        let one = whole(&store, &upload("one"), "first ").await;
        let two = create(&store, &upload("two")).await.unwrap();
        append(&store, &two, big.clone()).await;
        let empty = create(&store, &upload("empty")).await.unwrap();
        let at = create(&store, &upload("u")).await.unwrap();
        let want = [b"first ", &big[..], b"first "].concat();
        for _ in 0..2 {
            let parts = [one.clone(), two.clone(), empty.clone(), one.clone()];
            assert_eq!(store.concat(&at, &parts).await.unwrap(), want.len() as u64);
            let stored = store.stat(&at).await.unwrap();
            assert_eq!((stored.length, stored.synced), (want.len() as u64, true));
            assert!(read(&store, &at).await.unwrap() == want);
        }
        assert_eq!(read(&store, &one).await.unwrap(), b"first ");
        let missing = [one.clone(), Locator::new("upload:x")];
        fails(store.concat(&at, &missing).await, StoreErrorKind::NotFound);
        assert_eq!(store.stat(&at).await.unwrap().length, 0);
        fails(store.concat(&at, std::slice::from_ref(&at)).await, StoreErrorKind::Unsupported);
        assert_eq!(store.concat(&at, &[]).await.unwrap(), 0);
    }
}

#[tokio::test]
async fn a_range_is_read_as_far_as_there_are_bytes() {
    let home = Home::new();
    let store = home.store().await;
    let bytes = noise(MIB + 3);
    let at = create(&store, &upload("u")).await.unwrap();
    append(&store, &at, bytes.clone()).await;
    let length = bytes.len() as u64;
    let ranges = [
        (0..length, 0..bytes.len()),
        (5..length + 9, 5..bytes.len()),
        (MIB as u64..u64::MAX, MIB..bytes.len()),
        (262_143..262_145, 262_143..262_145),
        (length..length + 1, 0..0),
        (length + 5..length + 9, 0..0),
        (7..7, 0..0),
    ];
    for (range, want) in ranges {
        let mut reader = store.read(&at, range.clone()).await.unwrap();
        let mut all = Vec::new();
        while let Some(piece) = reader.next().await.unwrap() {
            assert!(!piece.is_empty() && piece.len() <= 256 * 1024);
            all.extend_from_slice(&piece);
        }
        assert!(all == bytes[want], "{range:?}");
        assert!(reader.next().await.unwrap().is_none());
    }
}

#[tokio::test]
async fn a_download_that_loses_its_file_fails_rather_than_serving_less() {
    let home = Home::new();
    let store = home.store().await;
    let at = create(&store, &upload("u")).await.unwrap();
    append(&store, &at, noise(MIB)).await;
    let mut reader = store.read(&at, 0..u64::MAX).await.unwrap();
    reader.next().await.unwrap().unwrap();
    fs::File::options().write(true).open(home.file("u.bin")).unwrap().set_len(3).unwrap();
    reader.next().await.unwrap_err();
}

#[tokio::test]
async fn remove_leaves_nothing_and_can_be_repeated() {
    let home = Home::new();
    let store = home.placing().open().await.unwrap();
    let at = whole(&store, &upload("u"), "hello").await;
    fs::write(home.file("u.place"), "torn").unwrap();
    let other = whole(&store, &upload("other"), "hello").await;
    for _ in 0..2 {
        ChunkStore::remove(&store, &at).await.unwrap();
        assert_eq!(home.names(), ["other.bin", "other.slot"]);
    }
    fails(store.stat(&at).await, StoreErrorKind::NotFound);
    fails(store.open(&at, 0, Blocking::InPlace).await, StoreErrorKind::NotFound);
    fails(read(&store, &at).await, StoreErrorKind::NotFound);
    fails(finish(&store, &upload("u"), &at).await, StoreErrorKind::NotFound);
    assert_eq!(read(&store, &other).await.unwrap(), b"hello");
}

#[tokio::test]
async fn a_locator_of_another_store_is_not_found_and_removing_it_does_nothing() {
    let home = Home::new();
    let store = home.store().await;
    for text in ["", "memory:u", "upload:../u", "placed:1.2.3:../../etc/passwd", "placed:1.2.3:a"] {
        let at = Locator::new(text);
        fails(store.stat(&at).await, StoreErrorKind::NotFound);
        fails(read(&store, &at).await, StoreErrorKind::NotFound);
        ChunkStore::remove(&store, &at).await.unwrap();
    }
}

#[tokio::test]
async fn a_planted_link_is_neither_read_nor_written_through() {
    let home = Home::new();
    let store = home.store().await;
    let elsewhere = home.0.path().join("elsewhere");
    fs::write(&elsewhere, "secret").unwrap();
    symlink(&elsewhere, home.file("u.bin")).unwrap();
    let at = Locator::new("upload:u");
    fails(store.stat(&at).await, StoreErrorKind::Corrupt);
    fails(store.open(&at, 6, Blocking::InPlace).await, StoreErrorKind::Corrupt);
    fails(store.truncate(&at, 0).await, StoreErrorKind::Corrupt);
    fails(read(&store, &at).await, StoreErrorKind::Corrupt);
    fails(create(&store, &upload("u")).await, StoreErrorKind::AlreadyExists);

    fs::remove_file(home.file("u.bin")).unwrap();
    symlink(&elsewhere, home.file("u.slot")).unwrap();
    create(&store, &upload("u")).await.unwrap();
    assert!(fs::symlink_metadata(home.file("u.slot")).unwrap().is_file());
    assert_eq!(fs::read(&elsewhere).unwrap(), b"secret");
}

#[tokio::test]
async fn a_writer_is_spent_after_a_failure() {
    let home = Home::new();
    let store = home.store().await;
    let at = create(&store, &upload("u")).await.unwrap();
    let mut writer = store.open(&at, 0, Blocking::InPlace).await.unwrap();
    writer.write(Bytes::from("hello")).await.unwrap();
    fs::File::options().write(true).open(home.file("u.bin")).unwrap().set_len(3).unwrap();
    fails(writer.sync().await, StoreErrorKind::Corrupt);
    let text = fails(writer.write(Bytes::from("hello")).await, StoreErrorKind::Other);
    assert!(text.contains("failed before"), "{text}");
    fails(writer.sync().await, StoreErrorKind::Other);
}

/// A runtime whose only blocking thread is busy until the sender is dropped.
fn stuck() -> (tokio::runtime::Runtime, std::sync::mpsc::Sender<()>) {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.max_blocking_threads(1).enable_all().build().unwrap();
    let (release, held) = std::sync::mpsc::channel::<()>();
    drop(runtime.spawn_blocking(move || held.recv().unwrap_err()));
    (runtime, release)
}

#[test]
fn a_write_that_was_cancelled_has_ended_before_anything_else_begins() {
    let home = Home::new();
    let setting_up = tokio::runtime::Runtime::new().unwrap();
    let (store, at, writer) = setting_up.block_on(async {
        let store = home.builder().durability(Durability::Process).open().await.unwrap();
        let at = create(&store, &upload("u")).await.unwrap();
        let writer = store.open(&at, 0, Blocking::Offload).await.unwrap();
        (store, at, writer)
    });
    let (runtime, release) = stuck();
    let mut context = Context::from_waker(std::task::Waker::noop());
    runtime.block_on(async {
        let mut writer = writer;
        {
            let mut write = Box::pin(writer.write(noise(MIB)));
            assert!(write.as_mut().poll(&mut context).is_pending());
        }
        // The job is queued. A cancelled writer takes no more.
        fails(writer.write(Bytes::from("late")).await, StoreErrorKind::Other);
        drop(writer);

        let mut stat = Box::pin(store.stat(&at));
        let mut open = Box::pin(store.open(&at, MIB as u64, Blocking::Offload));
        assert!(stat.as_mut().poll(&mut context).is_pending());
        assert!(open.as_mut().poll(&mut context).is_pending());
        drop(release);
        assert_eq!(stat.await.unwrap().length, MIB as u64);
        let mut next = open.await.unwrap();
        next.write(Bytes::from("!")).await.unwrap();
        assert_eq!(next.sync().await.unwrap(), MIB as u64 + 1);
        assert!(read(&store, &at).await.unwrap() == [&noise(MIB)[..], b"!"].concat());
    });
}

#[test]
fn a_runtime_that_shuts_down_does_not_swallow_bytes_in_silence() {
    let home = Home::new();
    let setting_up = tokio::runtime::Runtime::new().unwrap();
    let (store, at) = setting_up.block_on(async {
        let store = home.store().await;
        let at = create(&store, &upload("u")).await.unwrap();
        (store, at)
    });
    let (runtime, release) = stuck();
    let writing = runtime.spawn({
        let (store, at) = (store.clone(), at.clone());
        async move {
            let mut writer = store.open(&at, 0, Blocking::Offload).await.unwrap();
            writer.write(noise(MIB)).await
        }
    });
    runtime.block_on(tokio::task::yield_now());
    runtime.shutdown_background();
    drop(release);
    let end = setting_up.block_on(writing);
    assert!(end.is_err() || end.unwrap().is_err());
    // The job either ran whole or not at all, and nothing waits for it for ever.
    let length = setting_up.block_on(store.stat(&at)).unwrap().length;
    assert!(length == 0 || length == MIB as u64, "{length}");
}

#[tokio::test]
async fn durability_can_be_switched_while_uploads_are_open() {
    let home = Home::new();
    let power = async || home.store().await;
    let process = async || home.builder().durability(Durability::Process).open().await.unwrap();
    let store = process().await;
    let at = whole(&store, &upload("u"), "one ").await;
    drop(store);

    let store = power().await;
    let stored = store.stat(&at).await.unwrap();
    assert_eq!((stored.length, stored.synced), (4, false));
    append(&store, &at, "two ").await;
    assert!(store.stat(&at).await.unwrap().synced);
    drop(store);

    // A slot that this level does not keep true must not survive it.
    let store = process().await;
    store.truncate(&at, 3).await.unwrap();
    append(&store, &at, "!").await;
    drop(store);

    let store = power().await;
    assert_eq!(store.stat(&at).await.unwrap().length, 4);
    append(&store, &at, "!").await;
    assert_eq!(read(&store, &at).await.unwrap(), b"one!!");
}
