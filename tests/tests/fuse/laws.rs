//! What a disk keeps under each law, asked of it directly and through the kernel.

use std::{
    fs::{self, File, FileTimes, Permissions},
    io::{self, Read as _, Write as _},
    os::unix::fs::{FileExt as _, MetadataExt as _, PermissionsExt as _},
    path::Path,
    sync::{Arc, atomic::AtomicBool},
    time::{Duration, UNIX_EPOCH},
};

use rustix::{
    fs::{CWD, RenameFlags, renameat_with},
    io::Errno,
};
use tus_tests::process::{Random, bytes};

use super::{
    disk::{Body, Disk, Law, ROOT},
    inside::inside,
    mount::{Mounted, Shared},
};

fn disk(law: Law) -> Disk {
    Disk::new(law, Arc::new(AtomicBool::new(false)))
}

fn make(disk: &mut Disk, name: &str) -> u64 {
    disk.make(ROOT, name, 0o600, Body::File(Vec::new())).unwrap()
}

/// Cuts the power; what is in the root then, with its bytes.
fn cut(mut disk: Disk, seed: u64) -> Vec<(String, Vec<u8>)> {
    disk.switch_off();
    disk.lose_power(&mut Random(seed), Law::Strict);
    disk.switch_on();
    let names = disk.list(ROOT).unwrap();
    let read = |node| disk.read(node, 0, usize::MAX / 2).unwrap().to_vec();
    names.into_iter().map(|(name, node)| (name, read(node))).collect()
}

fn file(name: &str, bytes: &[u8]) -> (String, Vec<u8>) {
    (name.to_owned(), bytes.to_vec())
}

#[test]
fn a_strict_disk_keeps_names_and_bytes_that_were_synced_and_nothing_else() {
    let mut disk = disk(Law::Strict);
    let both = make(&mut disk, "both");
    disk.write(both, 0, b"synced").unwrap();
    disk.sync(both, true).unwrap();
    let name = make(&mut disk, "name");
    disk.write(name, 0, b"never synced").unwrap();
    disk.sync(ROOT, false).unwrap();
    let bytes = make(&mut disk, "bytes");
    disk.write(bytes, 0, b"synced, but nobody can find them").unwrap();
    disk.sync(bytes, false).unwrap();
    disk.write(both, 6, b" and not").unwrap();
    disk.rename((ROOT, "both"), (ROOT, "name"), true).unwrap();
    assert_eq!(cut(disk, 1), [file("both", b"synced"), file("name", b"")]);
}

#[test]
fn a_journal_keeps_all_names_before_any_sync_and_their_bytes_are_zeros() {
    let mut disk = disk(Law::Journal);
    let early = make(&mut disk, "early");
    disk.write(early, 0, b"never synced").unwrap();
    disk.rename((ROOT, "early"), (ROOT, "renamed"), true).unwrap();
    let synced = make(&mut disk, "synced");
    disk.write(synced, 0, b"synced").unwrap();
    disk.sync(synced, true).unwrap();
    let kept = [file("renamed", &[0; 12]), file("synced", b"synced")];
    assert_eq!(cut(disk, 1), kept);
}

#[test]
fn a_journal_without_a_sync_keeps_a_beginning_in_order() {
    let mut seen = [0; 4];
    for seed in 1..200 {
        let mut disk = disk(Law::Journal);
        for name in ["a", "b", "c"] {
            make(&mut disk, name);
        }
        let names: Vec<_> = cut(disk, seed * 7919).into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["a", "b", "c"][..names.len()]);
        seen[names.len()] += 1;
    }
    assert!(seen.iter().all(|count| *count > 0), "{seen:?}");
}

#[test]
fn a_torn_disk_mixes_sectors_and_keeps_what_was_synced() {
    let (old, new) = (vec![1; 4 * 512], vec![2; 6 * 512 - 100]);
    let (mut mixed, mut lengths) = (0, [0; 3]);
    for seed in 1..400 {
        let mut disk = disk(Law::Torn);
        let node = make(&mut disk, "f");
        disk.write(node, 0, &old).unwrap();
        disk.sync(node, true).unwrap();
        disk.sync(ROOT, false).unwrap();
        disk.write(node, 512, &new[512..]).unwrap();
        let kept = cut(disk, seed * 7919);
        let [(_, bytes)] = kept.as_slice() else { panic!("{kept:?}") };
        assert!((old.len()..=new.len()).contains(&bytes.len()));
        assert!(bytes[..512].iter().all(|byte| *byte == 1), "nobody wrote there");
        for (at, sector) in bytes.chunks(512).enumerate().skip(1) {
            let before = if at < 4 { 1 } else { 0 };
            let one = |byte: u8| sector.iter().all(|found| *found == byte);
            assert!(one(before) || one(2), "a sector is torn");
        }
        let sectors: Vec<_> = bytes[512..].chunks(512).map(|sector| sector[0] == 2).collect();
        mixed += usize::from(sectors.contains(&true) && sectors.contains(&false));
        lengths[usize::from(bytes.len() > old.len()) + usize::from(bytes.len() == new.len())] += 1;
    }
    assert!(mixed > 50 && lengths.iter().all(|count| *count > 0), "{mixed} {lengths:?}");
}

#[test]
fn a_disk_that_is_off_changes_no_more() {
    let mut disk = disk(Law::Strict);
    let node = make(&mut disk, "f");
    disk.arm(1);
    disk.write(node, 0, b"in time").unwrap();
    assert_eq!(disk.write(node, 0, b"too late"), Err(Errno::IO));
    assert_eq!(disk.sync(node, false), Err(Errno::IO));
    assert!(disk.is_off());
    disk.switch_on();
    assert_eq!(disk.read(node, 0, 100), Ok(&b"in time"[..]), "only power takes it away");
}

/// The names in a directory, sorted.
fn names(at: &Path) -> Vec<String> {
    let entries = fs::read_dir(at).unwrap();
    let mut names: Vec<_> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn the_kernel_hands_every_call_to_the_disk_and_every_sync() {
    let test = "linux::laws::the_kernel_hands_every_call_to_the_disk_and_every_sync";
    let Some(home) = inside(test) else { return };
    let at = home.join("disk");
    fs::create_dir(&at).unwrap();
    let disk = Shared::new(disk(Law::Strict));
    let mounted = Mounted::new(&disk, &at).expect("a FUSE mount");
    let many: Vec<_> = (0..300).map(|n| format!("name {n:03}")).collect();
    fs::create_dir(at.join("d")).unwrap();
    for name in &many {
        File::create_new(at.join("d").join(name)).unwrap();
    }
    assert_eq!(names(&at.join("d")), many);
    let taken = File::create_new(at.join("d/name 007")).unwrap_err();
    assert_eq!(taken.kind(), io::ErrorKind::AlreadyExists);

    // Bytes: written anywhere, cut, read, copied.
    let long = bytes(7, 3 << 20);
    let mut file = File::create_new(at.join("f")).unwrap();
    file.try_lock().unwrap();
    assert!(File::open(at.join("f")).unwrap().try_lock().is_err());
    file.write_all(&long).unwrap();
    file.write_all_at(b"elsewhere", 1 << 20).unwrap();
    file.set_len(2 << 20).unwrap();
    let mut whole = long[..2 << 20].to_vec();
    whole[1 << 20..][..9].copy_from_slice(b"elsewhere");
    assert!(fs::read(at.join("f")).unwrap() == whole);
    let mut copied = File::create_new(at.join("copy")).unwrap();
    let part = File::open(at.join("f")).unwrap();
    assert_eq!(io::copy(&mut part.take(100_000), &mut copied).unwrap(), 100_000);
    assert!(fs::read(at.join("copy")).unwrap() == whole[..100_000]);

    // What fdatasync and fsync make durable, and what only a sync of the directory does.
    let time = UNIX_EPOCH + Duration::new(1_000_000, 5_000_000);
    for (name, bytes_only) in [("data", true), ("all", false)] {
        let mut file = File::create_new(at.join(name)).unwrap();
        file.write_all(b"kept").unwrap();
        file.set_permissions(Permissions::from_mode(0o640)).unwrap();
        file.set_times(FileTimes::new().set_modified(time)).unwrap();
        if bytes_only { file.sync_data().unwrap() } else { file.sync_all().unwrap() }
    }
    fs::hard_link(at.join("all"), at.join("second")).unwrap();
    assert_eq!(fs::metadata(at.join("all")).unwrap().nlink(), 2);
    let rename = |from: &str, to: &str| {
        renameat_with(CWD, at.join(from), CWD, at.join(to), RenameFlags::NOREPLACE)
    };
    assert_eq!(rename("copy", "all"), Err(Errno::EXIST));
    rename("copy", "moved").unwrap();
    fs::rename(at.join("moved"), at.join("f")).unwrap();
    fs::remove_file(at.join("d/name 007")).unwrap();
    File::open(&at).unwrap().sync_all().unwrap();
    File::create_new(at.join("late")).unwrap();
    drop((file, copied));

    disk.lock().switch_off();
    assert!(fs::read(at.join("all")).is_err(), "it is off");
    drop(mounted);
    assert_eq!(names(&at), [""; 0], "it is unmounted");
    disk.lock().lose_power(&mut Random(1), Law::Strict);
    disk.lock().switch_on();
    let mounted = Mounted::new(&disk, &at).expect("a FUSE mount");
    assert_eq!(names(&at), ["all", "d", "data", "f", "second"]);
    assert_eq!(names(&at.join("d")), [""; 0], "its names were never synced");
    assert_eq!(fs::read(at.join("f")).unwrap(), b"", "its name was synced, and no byte of it");
    for (name, kept) in [("all", true), ("second", true), ("data", false)] {
        assert_eq!(fs::read(at.join(name)).unwrap(), b"kept");
        let found = fs::metadata(at.join(name)).unwrap();
        assert_eq!(found.mode() & 0o777 == 0o640, kept);
        assert_eq!(found.modified().unwrap() == time, kept);
    }
    drop(mounted);
}
