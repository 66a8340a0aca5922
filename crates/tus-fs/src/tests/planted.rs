//! What somebody else has put where a file of the store is to be: links of either kind, a pipe, a
//! folder. Nothing is written, read, changed or removed through it, and nobody waits for it.

use std::{
    os::unix::fs::{MetadataExt, PermissionsExt, symlink},
    process::Command,
};

use tus_core::store::MetaStore;

use super::*;
use crate::{Naming, OnConflict, note::Step};

/// What is planted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Plant {
    Symlink,
    Dangling,
    HardLink,
    Pipe,
    Folder,
}

const PLANTS: [Plant; 5] =
    [Plant::Symlink, Plant::Dangling, Plant::HardLink, Plant::Pipe, Plant::Folder];

/// Everything that the store ever makes, of an upload `u` that is placed as `in/a.bin`.
const PLACES: [&str; 12] = [
    "uploads/.lock",
    "uploads/.tus-probe",
    "uploads/u.bin",
    "uploads/u.slot",
    "uploads/u.rec",
    "uploads/u.rec.tmp",
    "uploads/u.place",
    "done/.tus-probe",
    "done/in",
    "done/in/a.bin",
    "done/in/.tus-u.part",
    "done/in/a.0001.bin",
];

fn plant(what: Plant, at: &Path, secret: &Path) {
    fs::create_dir_all(at.parent().unwrap()).unwrap();
    match what {
        Plant::Symlink => symlink(secret, at).unwrap(),
        Plant::Dangling => symlink(secret.with_extension("none"), at).unwrap(),
        Plant::HardLink => fs::hard_link(secret, at).unwrap(),
        Plant::Pipe => assert!(Command::new("mkfifo").arg(at).status().unwrap().success()),
        Plant::Folder => fs::create_dir(at).unwrap(),
    }
}

/// Whether an upload may have its whole life beside what was planted.
///
/// What is in the way of a temporary file is removed, unless it is a folder; what has the name of a
/// file that says something is somebody's.
fn is_harmless(what: Plant, place: &str, conflict: OnConflict) -> bool {
    let (folder, name) = place.rsplit_once('/').unwrap();
    match (folder, name) {
        (_, ".lock") => what == Plant::HardLink,
        (_, "u.bin" | "u.rec" | "u.place") => false,
        (_, ".tus-probe" | "u.slot" | "u.rec.tmp") => what != Plant::Folder,
        ("done", "in") => what == Plant::Folder,
        (_, ".tus-u.part") => what != Plant::Folder,
        (_, "a.bin") => conflict == OnConflict::Rename || what == Plant::HardLink,
        (_, "a.0001.bin") => true,
        _ => panic!("{place}"),
    }
}

/// The whole life of an upload, as far as it comes.
async fn live(builder: FsStoreBuilder) -> Result<(), String> {
    let text = |error: StoreError| error.to_string();
    let store = builder.open().await.map_err(|error| error.to_string())?;
    let mut upload = named("u", "a.bin");
    upload.placement.folder = Some("in".to_owned());
    let at = create(&store, &upload).await.map_err(text)?;
    let first = MetaStore::create(&store, &upload).await.map_err(text)?;
    let mut writer = store.open(&at, 0, Blocking::Offload).await.map_err(text)?;
    writer.write(Bytes::from("hello")).await.map_err(text)?;
    writer.sync().await.map_err(text)?;
    drop(writer);
    let placed = finish(&store, &upload, &at).await.map_err(text)?;
    upload.locator = placed.clone();
    store.update(&upload, first).await.map_err(text)?;
    ChunkStore::remove(&store, &at).await.map_err(text)?;
    assert_eq!(read(&store, &placed).await.map_err(text)?, b"hello");
    ChunkStore::remove(&store, &placed).await.map_err(text)?;
    MetaStore::remove(&store, &upload.id).await.map_err(text)
}

#[tokio::test]
async fn nothing_is_done_through_what_somebody_planted() {
    for (step, conflict) in [
        (Step::Link, OnConflict::Rename),
        (Step::Link, OnConflict::Overwrite),
        (Step::Copying, OnConflict::Rename),
        (Step::Move, OnConflict::Overwrite),
    ] {
        for what in PLANTS {
            for place in PLACES {
                let home = Home::new();
                let secret = home.0.path().join("secret");
                fs::write(&secret, "secret").unwrap();
                fs::set_permissions(&secret, fs::Permissions::from_mode(0o640)).unwrap();
                let at = home.0.path().join(place);
                plant(what, &at, &secret);
                let planted = fs::symlink_metadata(&at).unwrap().ino();
                let before = fs::metadata(&secret).unwrap();

                let builder = home.placing().naming(Naming::Keep).on_conflict(conflict);
                let result = live(builder.first_step(step)).await;

                let said = format!("{what:?} at {place}, {step:?}, {conflict:?}: {result:?}");
                assert_eq!(fs::read(&secret).unwrap(), b"secret", "{said}");
                let after = fs::metadata(&secret).unwrap();
                let seen = |found: &fs::Metadata| (found.mode(), found.mtime_nsec(), found.len());
                assert_eq!(seen(&before), seen(&after), "{said}");
                assert!(!secret.with_extension("none").exists(), "{said}");
                let is_there = fs::symlink_metadata(&at).is_ok_and(|found| found.ino() == planted);
                let is_ours = place.contains("/.tus-") || place.starts_with("uploads/");
                if !is_ours {
                    // A file may be overwritten where that is wanted, and nothing else ever.
                    let may = what == Plant::HardLink && conflict == OnConflict::Overwrite;
                    assert!(is_there || may, "somebody's was removed: {said}");
                }
                assert_eq!(result.is_ok(), is_harmless(what, place, conflict), "{said}");
            }
        }
    }
}

#[tokio::test]
async fn what_lies_in_the_upload_directory_and_is_not_ours_is_left_alone() {
    let home = Home::new();
    fs::create_dir(home.uploads()).unwrap();
    let strange = ["notes.txt", "u.rec.bak", "ü.rec", "a b.rec", ".rec", "folder.rec", "x.rec.tmp"];
    for name in strange {
        match name {
            "folder.rec" => fs::create_dir(home.file(name)).unwrap(),
            name => fs::write(home.file(name), "theirs").unwrap(),
        }
    }
    let store = home.store().await;
    let far = Timestamp::from_millis(u64::MAX / 2);
    assert_eq!(store.due(far, None, 100).await.unwrap(), []);
    let mut names: Vec<_> = strange.map(str::to_owned).into();
    names.sort();
    assert_eq!(home.names(), names);
}
