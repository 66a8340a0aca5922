use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    time::Duration,
};

use super::*;
use crate::OpenError;

fn mode(path: impl AsRef<Path>) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[tokio::test]
async fn directories_and_files_are_made_for_their_owner_alone() {
    let home = Home::new();
    let deep = home.0.path().join("a/b/uploads");
    let builder = FsStore::builder(&deep).destination(home.0.path().join("c/done"));
    let store = builder.open().await.unwrap();
    let upload = named("u", "a.txt");
    let at = whole(&store, &upload, "hello").await;
    tus_core::store::MetaStore::create(&store, &upload).await.unwrap();
    for dir in ["a", "a/b", "a/b/uploads", "c", "c/done"] {
        assert_eq!(mode(home.0.path().join(dir)), 0o700, "{dir}");
    }
    for file in [".lock", "u.bin", "u.slot", "u.rec"] {
        assert_eq!(mode(deep.join(file)), 0o600, "{file}");
    }
    finish(&store, &upload, &at).await.unwrap();
    assert_eq!(mode(home.0.path().join("c/done/a.txt")), 0o644);
}

#[tokio::test]
async fn a_second_store_on_one_directory_is_refused_until_the_first_is_dropped() {
    let home = Home::new();
    let first = home.store().await;
    let error = home.builder().wait_for_lock(Duration::ZERO).open().await.unwrap_err();
    assert!(matches!(error, OpenError::InUse { .. }), "{error}");
    let text = error.to_string();
    assert!(text.contains("is in use by another process; stop it, or wait"), "{text}");
    assert!(text.contains(home.uploads().to_str().unwrap()), "{text}");

    let clone = first.clone();
    drop(first);
    assert!(home.builder().wait_for_lock(Duration::ZERO).open().await.is_err());
    drop(clone);
    home.store().await;
}

#[tokio::test]
async fn a_store_waits_for_the_directory_when_told_to() {
    let home = Home::new();
    let first = home.store().await;
    let waiting = tokio::spawn(home.builder().wait_for_lock(Duration::from_secs(60)).open());
    tokio::task::spawn_blocking(|| drop(first)).await.unwrap();
    waiting.await.unwrap().unwrap();

    let _held = home.store().await;
    let late = home.builder().wait_for_lock(Duration::from_millis(1)).open().await;
    assert!(matches!(late, Err(OpenError::InUse { .. })));
}

#[tokio::test]
async fn an_open_writer_holds_the_directory() {
    let home = Home::new();
    let store = home.store().await;
    let at = create(&store, &upload("u")).await.unwrap();
    let writer = store.open(&at, 0, Blocking::InPlace).await.unwrap();
    drop(store);
    assert!(matches!(
        home.builder().wait_for_lock(Duration::ZERO).open().await,
        Err(OpenError::InUse { .. })
    ));
    drop(writer);
    home.store().await;
}

#[tokio::test]
async fn the_destination_must_be_another_directory() {
    let home = Home::new();
    let alias = home.0.path().join("alias");
    fs::create_dir(home.uploads()).unwrap();
    symlink(home.uploads(), &alias).unwrap();
    for same in [home.uploads(), home.uploads().join("../uploads"), alias] {
        let error = home.builder().destination(&same).open().await.unwrap_err();
        assert!(matches!(error, OpenError::SameDirectory { .. }), "{error}");
        assert!(error.to_string().contains(same.to_str().unwrap()), "{error}");
    }
    home.builder().destination(home.uploads().join("done")).open().await.unwrap();
}

#[tokio::test]
async fn a_directory_that_cannot_be_used_is_named_with_its_setting() {
    let home = Home::new();
    let file = home.0.path().join("file");
    fs::write(&file, "").unwrap();
    for path in [file.clone(), file.join("below")] {
        let error = FsStore::open(&path).await.unwrap_err();
        let text = error.to_string();
        assert!(text.starts_with(&format!("upload directory {}: ", path.display())), "{text}");
    }
    let error = home.builder().destination(&file).open().await.unwrap_err();
    let text = error.to_string();
    assert!(text.starts_with(&format!("destination directory {}: ", file.display())), "{text}");
    // A store that did not open holds nothing.
    home.store().await;
}

#[tokio::test]
async fn a_directory_that_cannot_be_written_is_refused() {
    // Even root cannot make files there.
    let error = FsStore::open("/proc/self").await.unwrap_err();
    assert!(matches!(error, OpenError::Unusable { setting: "upload directory", .. }), "{error}");
    let home = Home::new();
    let error = home.builder().destination("/proc/self").open().await.unwrap_err();
    let destination = "destination directory";
    assert!(matches!(error, OpenError::Unusable { setting, .. } if setting == destination));
}

#[tokio::test]
async fn folders_without_a_destination_are_a_contradiction() {
    let home = Home::new();
    let template = "{year}".parse().unwrap();
    let error = home.builder().folders(template).open().await.unwrap_err();
    assert!(matches!(error, OpenError::NoDestination { .. }), "{error}");
    assert!(error.to_string().contains("{year}"), "{error}");
}

#[tokio::test]
async fn a_planted_lock_is_not_followed() {
    let home = Home::new();
    fs::create_dir(home.uploads()).unwrap();
    let elsewhere = home.0.path().join("elsewhere");
    symlink(&elsewhere, home.file(".lock")).unwrap();
    let error = home.builder().open().await.unwrap_err();
    assert!(matches!(error, OpenError::Unusable { .. }), "{error}");
    assert!(!elsewhere.exists());
}
