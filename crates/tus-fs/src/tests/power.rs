//! What a loss of power leaves, told by another boot id and by what may lie on the disk then.

use std::fs::{self, File};

use super::*;
use crate::slots::{Slot, Slots, boot_number, sync_point};

const BLOCK: usize = 4096;

async fn after_reboot(home: &Home) -> FsStore {
    home.builder().boot_id("second boot").open().await.unwrap()
}

fn add(home: &Home, name: &str, bytes: &str) {
    use std::io::Write;
    let mut file = File::options().append(true).open(home.file(name)).unwrap();
    file.write_all(bytes.as_bytes()).unwrap();
}

fn length(home: &Home, name: &str) -> u64 {
    fs::metadata(home.file(name)).unwrap().len()
}

#[tokio::test]
async fn synced_bytes_are_kept_and_bytes_beyond_them_count_no_more() {
    let home = Home::new();
    let store = home.store().await;
    let at = whole(&store, &upload("u"), "synced").await;
    let mut writer = store.open(&at, 6, Blocking::InPlace).await.unwrap();
    writer.write(Bytes::from(" or not")).await.unwrap();
    drop((writer, store));

    let store = after_reboot(&home).await;
    let stored = store.stat(&at).await.unwrap();
    // Whether the sync point reached the disk before its server died is not known here.
    assert_eq!((stored.length, stored.synced), (6, false));
    assert_eq!(length(&home, "u.bin"), 13, "looking changes nothing");
    assert_eq!(read(&store, &at).await.unwrap(), b"synced");
    fails(store.open(&at, 13, Blocking::InPlace).await, StoreErrorKind::Conflict);
    append(&store, &at, "!").await;
    assert_eq!(read(&store, &at).await.unwrap(), b"synced!");
}

#[tokio::test]
async fn bytes_written_after_the_reboot_count_before_they_are_synced() {
    let home = Home::new();
    let store = home.store().await;
    let at = whole(&store, &upload("u"), "synced").await;
    drop(store);
    add(&home, "u.bin", "junk");

    let store = after_reboot(&home).await;
    let mut writer = store.open(&at, 6, Blocking::InPlace).await.unwrap();
    assert_eq!(length(&home, "u.bin"), 6, "what does not count is cut before a write");
    writer.write(Bytes::from(" new")).await.unwrap();
    drop((writer, store));
    let store = after_reboot(&home).await;
    let stored = store.stat(&at).await.unwrap();
    assert_eq!((stored.length, stored.synced), (10, false));
    assert_eq!(read(&store, &at).await.unwrap(), b"synced new");
}

#[tokio::test]
async fn nothing_counts_of_an_upload_that_was_never_synced() {
    let home = Home::new();
    let store = home.store().await;
    let at = create(&store, &upload("u")).await.unwrap();
    let mut writer = store.open(&at, 0, Blocking::InPlace).await.unwrap();
    writer.write(Bytes::from("hello")).await.unwrap();
    drop((writer, store));
    let store = after_reboot(&home).await;
    assert_eq!(store.stat(&at).await.unwrap().length, 0);
    append(&store, &at, "new").await;
    assert_eq!(read(&store, &at).await.unwrap(), b"new");
}

#[tokio::test]
async fn slots_that_never_reached_the_disk_count_for_nothing() {
    for left in [&b""[..], &[0; BLOCK + 64], b"tusslot1 and then something else"] {
        let home = Home::new();
        let store = home.store().await;
        let at = create(&store, &upload("u")).await.unwrap();
        drop(store);
        fs::write(home.file("u.slot"), left).unwrap();
        add(&home, "u.bin", "junk");
        let store = after_reboot(&home).await;
        assert_eq!(store.stat(&at).await.unwrap().length, 0);
        append(&store, &at, "new").await;
        assert_eq!(read(&store, &at).await.unwrap(), b"new");
        drop(store);
        let store = home.builder().boot_id("third boot").open().await.unwrap();
        assert_eq!(store.stat(&at).await.unwrap().length, 3);
    }
}

#[tokio::test]
async fn a_torn_slot_leaves_the_sync_point_before_it() {
    let home = Home::new();
    let store = home.store().await;
    let at = create(&store, &upload("u")).await.unwrap();
    let mut told = 0;
    for _ in 0..5 {
        let before = fs::read(home.file("u.slot")).unwrap();
        let now = append(&store, &at, "0123456789").await;
        let after = fs::read(home.file("u.slot")).unwrap();
        let block = |n: usize| n * BLOCK..n * BLOCK + 64;
        let changed: Vec<_> = (0..2).filter(|n| before[block(*n)] != after[block(*n)]).collect();
        assert_eq!(changed.len(), 1, "the other slot stays as it is on the disk");
        let block = block(changed[0]);
        for torn in 0..64 {
            let mut slots = after.clone();
            slots[block.clone()][torn] ^= 0x55;
            fs::write(home.file("u.slot"), &slots).unwrap();
            let other =
                Slots::new(File::open(home.file("u.slot")).unwrap().into(), 0).newest().unwrap();
            assert_eq!(other.unwrap().offset, told, "byte {torn}");
        }
        fs::write(home.file("u.slot"), &after).unwrap();
        told = now;
    }
    drop(store);
    let mut slots = fs::read(home.file("u.slot")).unwrap();
    let newest = if slots[8] > slots[BLOCK + 8] { 0 } else { BLOCK };
    slots[newest + 20] ^= 1;
    fs::write(home.file("u.slot"), &slots).unwrap();
    assert_eq!(after_reboot(&home).await.stat(&at).await.unwrap().length, 40);
}

#[tokio::test]
async fn a_file_shorter_than_what_was_synced_is_corrupt_in_any_boot() {
    for boot in ["first boot", "second boot"] {
        let home = Home::new();
        let store = home.store().await;
        let at = whole(&store, &upload("u"), "hello").await;
        drop(store);
        File::options().write(true).open(home.file("u.bin")).unwrap().set_len(4).unwrap();
        let store = home.placing().boot_id(boot).open().await.unwrap();
        let text = fails(store.stat(&at).await, StoreErrorKind::Corrupt);
        assert!(text.contains("u.bin has 4 bytes, 5 were synced"), "{text}");
        fails(store.open(&at, 4, Blocking::InPlace).await, StoreErrorKind::Corrupt);
        fails(read(&store, &at).await, StoreErrorKind::Corrupt);
        fails(store.truncate(&at, 0).await, StoreErrorKind::Corrupt);
        let upload = upload("u");
        let finished = store.finish(&at, &FinishAs::of(&upload, 5)).await;
        fails(finished, StoreErrorKind::Corrupt);
    }
}

#[tokio::test]
async fn a_cut_survives_a_reboot_that_brings_the_bytes_back() {
    let home = Home::new();
    let store = home.store().await;
    let at = whole(&store, &upload("u"), "hello world").await;
    store.truncate(&at, 5).await.unwrap();
    drop(store);
    add(&home, "u.bin", " world");
    let store = after_reboot(&home).await;
    assert_eq!(store.stat(&at).await.unwrap().length, 5);
    append(&store, &at, "!").await;
    assert_eq!(read(&store, &at).await.unwrap(), b"hello!");
}

#[tokio::test]
async fn a_cut_to_bytes_that_were_never_synced_syncs_them() {
    let home = Home::new();
    let store = home.store().await;
    let at = create(&store, &upload("u")).await.unwrap();
    let mut writer = store.open(&at, 0, Blocking::InPlace).await.unwrap();
    writer.write(Bytes::from("hello world")).await.unwrap();
    drop(writer);
    store.truncate(&at, 5).await.unwrap();
    assert!(store.stat(&at).await.unwrap().synced);
    drop(store);
    assert_eq!(after_reboot(&home).await.stat(&at).await.unwrap().length, 5);
}

#[tokio::test]
async fn a_crash_in_the_middle_of_a_cut_leaves_it_to_be_repeated() {
    let home = Home::new();
    let store = home.store().await;
    let at = whole(&store, &upload("u"), "hello world").await;
    drop(store);
    // The slot is written first; the file is not cut yet.
    let file = File::options().read(true).write(true).open(home.file("u.slot")).unwrap();
    let slots = Slots::new(file.into(), 0);
    slots.advance(slots.newest().unwrap(), 5, boot_number("first boot")).unwrap();
    let store = home.store().await;
    let stored = store.stat(&at).await.unwrap();
    assert_eq!((stored.length, stored.synced), (11, false));
    store.truncate(&at, 5).await.unwrap();
    assert_eq!(store.stat(&at).await.unwrap().length, 5);
}

#[tokio::test]
async fn concat_and_finish_cut_what_does_not_count() {
    let home = Home::new();
    let store = home.store().await;
    let part = whole(&store, &upload("part"), "part").await;
    let at = whole(&store, &upload("u"), "hello").await;
    let all = create(&store, &upload("all")).await.unwrap();
    drop(store);
    for name in ["part.bin", "u.bin", "all.bin"] {
        add(&home, name, "junk");
    }
    let store = home.placing().boot_id("second boot").open().await.unwrap();
    assert_eq!(store.concat(&all, &[part.clone(), part]).await.unwrap(), 8);
    assert_eq!(read(&store, &all).await.unwrap(), b"partpart");
    finish(&store, &named("u", "u.txt"), &at).await.unwrap();
    assert_eq!(home.placed(), [("u.txt".to_owned(), b"hello".to_vec())]);
}

#[tokio::test]
async fn a_concatenation_cut_off_by_a_reboot_can_be_repeated() {
    let home = Home::new();
    let store = home.store().await;
    let part = whole(&store, &upload("part"), "part").await;
    let at = create(&store, &upload("all")).await.unwrap();
    store.concat(&at, &[part.clone(), part.clone()]).await.unwrap();
    // Repeated and interrupted: the target is shorter than it has been before.
    store.truncate(&at, 0).await.unwrap();
    add(&home, "all.bin", "par");
    drop(store);
    let store = after_reboot(&home).await;
    assert_eq!(store.stat(&at).await.unwrap().length, 0);
    assert_eq!(store.concat(&at, &[part.clone(), part]).await.unwrap(), 8);
    assert_eq!(read(&store, &at).await.unwrap(), b"partpart");
}

/// A file that can be written to and never synced.
fn unsyncable() -> File {
    File::from(std::os::fd::OwnedFd::from(std::io::pipe().unwrap().1))
}

#[tokio::test]
async fn a_sync_that_fails_puts_the_upload_back_to_the_sync_point_before_it_at_once() {
    let home = Home::new();
    let store = home.store().await;
    let at = whole(&store, &upload("u"), "synced").await;
    let mut writer = store.open(&at, 6, Blocking::InPlace).await.unwrap();
    writer.write(Bytes::from(" and lost")).await.unwrap();
    drop(writer);
    assert_eq!(store.stat(&at).await.unwrap().length, 15);

    let file = File::options().read(true).write(true).open(home.file("u.slot")).unwrap();
    let slots = Slots::new(file.into(), 0);
    let boot = boot_number("first boot");
    sync_point(&unsyncable().into(), &slots, 15, boot).unwrap_err();
    let newest = slots.newest().unwrap().unwrap();
    assert_eq!((newest.offset, newest.boot), (6, 0));

    // In this process, after its crash and after a reboot alike; and a later sync that succeeds
    // does not bring the bytes back.
    let mut store = store;
    for boot in ["first boot", "second boot", "first boot"] {
        let stored = store.stat(&at).await.unwrap();
        // Whether the sync point reached the disk before its server died is not known here.
        assert_eq!((stored.length, stored.synced), (6, false));
        drop(store);
        store = home.builder().boot_id(boot).open().await.unwrap();
    }
    append(&store, &at, "!").await;
    assert_eq!(read(&store, &at).await.unwrap(), b"synced!");
}

#[test]
fn a_slot_whose_sync_fails_is_taken_back_in_its_own_place() {
    // A pipe takes no positional writes, so nothing is said at all.
    let slots = Slots::new(unsyncable().into(), 0);
    slots.advance(None, 5, 1).unwrap_err();

    let file = tempfile::tempfile().unwrap();
    let slots = Slots::new(file.try_clone().unwrap().into(), 0);
    let first = slots.begin(7).unwrap();
    assert_eq!(slots.newest().unwrap(), Some(first));
    slots.advance(Some(first), 10, 7).unwrap();
    let durable = slots.newest().unwrap();
    sync_point(&unsyncable().into(), &slots, 20, 7).unwrap_err();
    assert_eq!(slots.newest().unwrap(), Some(Slot { seq: 3, offset: 10, boot: 0, start: 0 }));
    // The durable one is untouched, and the claim that follows waits for the disk before it goes
    // over it.
    file.set_len(BLOCK as u64).unwrap();
    assert_eq!(slots.newest().unwrap(), durable);
}

#[test]
fn boots_are_told_apart_and_none_is_zero() {
    assert_ne!(boot_number("3a74f6c8-df13-4677-9eb2-c17d35e2b1a9\n"), boot_number("b"));
    assert_eq!(boot_number("a\n"), boot_number("a"));
    assert_ne!(boot_number(""), 0);
}

#[tokio::test]
async fn the_boot_of_this_machine_is_the_same_in_two_stores() {
    let home = Home::new();
    let store = FsStore::open(home.uploads()).await.unwrap();
    let at = create(&store, &upload("u")).await.unwrap();
    let mut writer = store.open(&at, 0, Blocking::InPlace).await.unwrap();
    writer.write(Bytes::from("hello")).await.unwrap();
    drop((writer, store));
    if !Path::new("/proc/sys/kernel/random/boot_id").exists() {
        eprintln!("SKIPPED: this system does not say which boot it is");
        return;
    }
    let store = FsStore::open(home.uploads()).await.unwrap();
    assert_eq!(store.stat(&at).await.unwrap().length, 5);
}
