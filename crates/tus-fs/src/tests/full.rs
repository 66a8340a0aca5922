//! A disk that fills up. Needs a small file system of its own, and so root.

use std::{fs, process::Command};

use tus_core::store::MetaStore;

use super::*;
use crate::{Durability, Reserve};

/// A small tmpfs, unmounted when it is dropped.
struct Disk(TempDir);

impl Disk {
    /// `None`, loudly, where it cannot be mounted.
    fn new(options: &str) -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", options, "tmpfs"])
            .arg(dir.path())
            .status();
        if mounted.is_ok_and(|status| status.success()) {
            return Some(Self(dir));
        }
        eprintln!("NOT RUN: a full disk; mounting a small tmpfs needs root");
        None
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg("-l").arg(self.0.path()).status();
        assert!(std::thread::panicking() || unmounted.unwrap().success());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_fills_up_keeps_a_true_offset_and_takes_the_rest_when_there_is_room() {
    for durability in [Durability::Power, Durability::Process] {
        for blocking in [Blocking::InPlace, Blocking::Offload] {
            let Some(disk) = Disk::new("size=2m") else {
                return;
            };
            let ballast = disk.0.path().join("ballast");
            fs::write(&ballast, vec![0; 1024 * 1024]).unwrap();
            let builder = FsStore::builder(disk.0.path().join("up")).durability(durability);
            let store = builder.open().await.unwrap();
            let upload = upload("u");
            let first = MetaStore::create(&store, &upload).await.unwrap();
            let bytes = noise(1536 * 1024);
            let at = create(&store, &upload).await.unwrap();

            let mut writer = store.open(&at, 0, blocking).await.unwrap();
            let mut rest = bytes.clone();
            let error = loop {
                if rest.is_empty() {
                    break writer.sync().await.unwrap_err();
                }
                let chunk = rest.split_to(rest.len().min(100_000));
                if let Err(error) = writer.write(chunk).await {
                    break error;
                }
            };
            assert_eq!(error.kind(), StoreErrorKind::Full, "{error}");
            drop(writer);
            let stored = store.stat(&at).await.unwrap().length;
            assert!(stored > 500_000, "{stored}");
            assert!(read(&store, &at).await.unwrap() == bytes[..stored as usize]);

            // Neither records nor uploads can be made, and none is half made.
            let large = Upload { owner: Some("x".repeat(900_000)), ..upload.clone() };
            fails(store.update(&large, first).await, StoreErrorKind::Full);
            assert_eq!(store.load(&upload.id).await.unwrap(), (upload.clone(), first));
            assert!(!disk.0.path().join("up/u.rec.tmp").exists());
            if durability == Durability::Power {
                let rest = disk.0.path().join("rest");
                fs::write(&rest, vec![0; 2 * 1024 * 1024]).unwrap_err();
                fails(create(&store, &super::upload("v")).await, StoreErrorKind::Full);
                for name in ["up/v.bin", "up/v.slot"] {
                    assert!(!disk.0.path().join(name).exists(), "{name}");
                }
                fs::remove_file(rest).unwrap();
            }
            // A length that was not synced can still be synced, and removal needs no room.
            let mut writer = store.open(&at, stored, blocking).await.unwrap();
            assert_eq!(writer.sync().await.unwrap(), stored);

            fs::remove_file(&ballast).unwrap();
            append(&store, &at, bytes.slice(stored as usize..)).await;
            assert!(read(&store, &at).await.unwrap() == bytes);
            ChunkStore::remove(&store, &at).await.unwrap();
            MetaStore::remove(&store, &upload.id).await.unwrap();
        }
    }
}

#[tokio::test]
async fn a_disk_without_inodes_is_full_and_nothing_is_half_made() {
    let Some(disk) = Disk::new("size=2m,nr_inodes=8") else {
        return;
    };
    let up = disk.0.path().join("up");
    let store = FsStore::open(&up).await.unwrap();
    let mut made = 0;
    let error = loop {
        match create(&store, &upload(&format!("u{made}"))).await {
            Ok(_) => made += 1,
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind(), StoreErrorKind::Full, "{error}");
    assert!(made > 0);
    assert!(!up.join(format!("u{made}.bin")).exists());
    for n in 0..made {
        ChunkStore::remove(&store, &Locator::new(format!("upload:u{n}"))).await.unwrap();
    }
    create(&store, &upload("again")).await.unwrap();
}

#[tokio::test]
async fn a_destination_that_is_full_leaves_the_bytes_where_they_are_and_nothing_beside() {
    let Some(disk) = Disk::new("size=256k") else {
        return;
    };
    let home = Home::new();
    let store = home.builder().destination(disk.0.path()).open().await.unwrap();
    let (bytes, upload) = (noise(512 * 1024), named("u", "a.bin"));
    let at = create(&store, &upload).await.unwrap();
    append(&store, &at, bytes.clone()).await;
    fails(finish(&store, &upload, &at).await, StoreErrorKind::Full);
    assert_eq!(fs::read_dir(disk.0.path()).unwrap().count(), 0);
    assert!(read(&store, &at).await.unwrap() == bytes);
}

#[tokio::test]
async fn a_concatenation_that_finds_no_room_gives_back_what_it_took() {
    let Some(disk) = Disk::new("size=1m") else {
        return;
    };
    let store = FsStore::open(disk.0.path().join("up")).await.unwrap();
    let part = create(&store, &upload("part")).await.unwrap();
    append(&store, &part, noise(600 * 1024)).await;
    let at = create(&store, &upload("all")).await.unwrap();
    fails(store.concat(&at, std::slice::from_ref(&part)).await, StoreErrorKind::Full);
    assert_eq!(store.stat(&at).await.unwrap().length, 0);
    // There is room again for something smaller.
    append(&store, &at, noise(300 * 1024)).await;
}

#[tokio::test]
async fn an_upload_that_would_not_leave_the_reserve_is_refused_at_its_creation() {
    const MIB: u64 = 1 << 20;
    let declares = async |store: &FsStore, text: &str, length: Option<u64>| {
        let upload = Upload { length, ..upload(text) };
        let mut new = NewObject::new(&upload.id);
        (new.length, new.place) = (length, Some(PlaceAs::of(&upload)));
        ChunkStore::create(store, &new).await
    };
    let Some(disk) = Disk::new("size=16m") else {
        return;
    };
    let up = disk.0.path().join("up");
    let builder = FsStore::builder(&up).reserve(Reserve::Bytes(4 * MIB));
    let store = builder.clone().open().await.unwrap();
    let text = fails(declares(&store, "large", Some(13 * MIB)).await, StoreErrorKind::Full);
    assert!(text.contains("of which 4194304 are kept"), "{text}");
    assert!(!up.join("large.bin").exists());
    declares(&store, "fits", Some(11 * MIB)).await.unwrap();
    declares(&store, "deferred", None).await.unwrap();

    // Bytes of an upload that exists may use the reserve up; nothing new may come then.
    let at = Locator::new("upload:fits");
    append(&store, &at, noise(13 * MIB as usize)).await;
    for length in [None, Some(0), Some(1)] {
        fails(declares(&store, "late", length).await, StoreErrorKind::Full);
    }
    append(&store, &Locator::new("upload:deferred"), noise(MIB as usize)).await;
    drop(store);
    let store = builder.reserve(Reserve::None).open().await.unwrap();
    declares(&store, "bold", Some(1 << 40)).await.unwrap();

    // Where it is placed by a copy, there must be room for that.
    let Some(other) = Disk::new("size=64m") else {
        return;
    };
    drop(store);
    let reserve = Reserve::Share { percent: 10, at_most: MIB };
    let builder = FsStore::builder(other.0.path()).destination(disk.0.path().join("done"));
    let store = builder.reserve(reserve).open().await.unwrap();
    fails(declares(&store, "placed", Some(2 * MIB)).await, StoreErrorKind::Full);
    let part = upload("part");
    let mut new = NewObject::new(&part.id);
    new.length = Some(32 * MIB);
    ChunkStore::create(&store, &new).await.unwrap();
}

#[tokio::test]
async fn a_finish_on_one_file_system_needs_no_second_copy() {
    let Some(disk) = Disk::new("size=8m") else {
        return;
    };
    let builder = FsStore::builder(disk.0.path().join("up")).reserve(Reserve::None);
    let store = builder.destination(disk.0.path().join("done")).open().await.unwrap();
    let (upload, bytes) = (named("u", "a.bin"), noise(6 << 20));
    let at = create(&store, &upload).await.unwrap();
    append(&store, &at, bytes.clone()).await;
    let placed = finish(&store, &upload, &at).await.unwrap();
    ChunkStore::remove(&store, &at).await.unwrap();
    assert!(read(&store, &placed).await.unwrap() == bytes);
}

#[tokio::test]
async fn a_reserve_that_is_never_left_refuses_everything_on_any_machine() {
    let home = Home::new();
    let store = home.builder().reserve(Reserve::Bytes(u64::MAX)).open().await.unwrap();
    fails(create(&store, &upload("u")).await, StoreErrorKind::Full);
    assert_eq!(home.names(), Vec::<String>::new());
}
