use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt, symlink},
};

use super::*;
use crate::{Durability, Naming, OnConflict, note::Step};

fn file(name: &str, bytes: &str) -> (String, Vec<u8>) {
    (name.to_owned(), bytes.as_bytes().to_vec())
}

async fn place(store: &FsStore, upload: &Upload, bytes: &str) -> Result<Locator, StoreError> {
    let at = whole(store, upload, bytes).await;
    finish(store, upload, &at).await
}

#[tokio::test]
async fn without_a_destination_the_bytes_stay_and_are_durable() {
    let home = Home::new();
    let store = home.store().await;
    let upload = named("u", "a.txt");
    let at = create(&store, &upload).await.unwrap();
    let mut writer = store.open(&at, 0, Blocking::InPlace).await.unwrap();
    writer.write(Bytes::from("hello")).await.unwrap();
    drop(writer);
    assert_eq!(finish(&store, &upload, &at).await.unwrap(), at);
    assert!(store.stat(&at).await.unwrap().synced);
    assert_eq!(finish(&store, &upload, &at).await.unwrap(), at);
    assert_eq!(read(&store, &at).await.unwrap(), b"hello");
}

#[tokio::test]
async fn an_upload_that_is_not_whole_is_not_finished() {
    let (one, two) = (Home::new(), Home::new());
    for builder in [one.builder(), two.placing()] {
        let store = builder.open().await.unwrap();
        let upload = named("u", "a.txt");
        let at = whole(&store, &upload, "hell").await;
        let finished = store.finish(&at, &FinishAs::of(&upload, 5)).await;
        fails(finished, StoreErrorKind::Corrupt);
        assert_eq!(store.stat(&at).await.unwrap().length, 4);
    }
}

#[tokio::test]
async fn a_finished_upload_gets_its_name_and_stays_readable_under_both_locators() {
    for durability in [Durability::Power, Durability::Process] {
        let home = Home::new();
        let store = home.placing().durability(durability).open().await.unwrap();
        let upload = named("u", "C:\\dir\\My file.TXT");
        let old = whole(&store, &upload, "hello").await;
        let new = finish(&store, &upload, &old).await.unwrap();
        assert_eq!(home.placed(), [file("My file.TXT", "hello")]);
        assert_eq!(read(&store, &old).await.unwrap(), b"hello");
        assert_eq!(read(&store, &new).await.unwrap(), b"hello");
        let stored = store.stat(&new).await.unwrap();
        assert_eq!((stored.length, stored.synced), (5, true));
        let path = store.local_path(&new).unwrap();
        assert!(path.is_absolute());
        assert_eq!(fs::read(path).unwrap(), b"hello");

        // A file in its place changes no more.
        assert_eq!(finish(&store, &upload, &new).await.unwrap(), new);
        fails(store.open(&new, 5, Blocking::InPlace).await, StoreErrorKind::Unsupported);
        fails(store.truncate(&new, 0).await, StoreErrorKind::Unsupported);
        fails(store.concat(&new, &[]).await, StoreErrorKind::Unsupported);

        ChunkStore::remove(&store, &old).await.unwrap();
        assert_eq!(home.names(), [""; 0]);
        assert_eq!(read(&store, &new).await.unwrap(), b"hello");
        for _ in 0..2 {
            ChunkStore::remove(&store, &new).await.unwrap();
            assert_eq!(home.placed(), []);
        }
        fails(read(&store, &new).await, StoreErrorKind::NotFound);
        fails(store.stat(&new).await, StoreErrorKind::NotFound);
    }
}

#[tokio::test]
async fn the_mode_of_placed_files_is_a_setting() {
    let home = Home::new();
    let store = home.placing().file_mode(0o640).open().await.unwrap();
    place(&store, &named("u", "a"), "hello").await.unwrap();
    let mode = fs::metadata(home.done().join("a")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o640);
}

#[tokio::test]
async fn names_follow_the_policy() {
    let (keep, error) = (Naming::Keep, OnConflict::Error);
    let table = [
        (Naming::Increment, error, &["a.txt", "a.0001.txt", "a.0002.txt"][..]),
        (keep, OnConflict::Rename, &["a.txt", "a.0001.txt", "a.0002.txt"]),
        (keep, OnConflict::Overwrite, &["a.txt"]),
    ];
    for (naming, on_conflict, want) in table {
        let home = Home::new();
        let builder = home.placing().naming(naming).on_conflict(on_conflict);
        let store = builder.open().await.unwrap();
        for n in 0..3 {
            place(&store, &named(&format!("u{n}"), "a.txt"), &format!("{n}")).await.unwrap();
        }
        let mut placed = home.placed();
        placed.sort_by(|one, other| one.1.cmp(&other.1));
        let names: Vec<_> = placed.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, want, "{naming} {on_conflict}");
        assert_eq!(placed.last().unwrap().1, b"2");
    }
    for naming in [Naming::Random, Naming::RandomSuffix] {
        let home = Home::new();
        let store = home.placing().naming(naming).open().await.unwrap();
        for n in 0..3 {
            place(&store, &named(&format!("u{n}"), "a.txt"), "x").await.unwrap();
        }
        let placed = home.placed();
        assert_eq!(placed.len(), 3);
        for (name, _) in placed {
            let stem = name.strip_suffix(".txt").unwrap();
            let random = stem.strip_prefix("a-").unwrap_or(stem);
            assert_eq!(random.len(), 16, "{name}");
        }
    }
}

#[tokio::test]
async fn a_taken_name_is_refused_at_creation_and_at_the_finish() {
    let home = Home::new();
    let store = home.placing().naming(Naming::Keep).open().await.unwrap();
    // Two that are open for one name: the kernel decides, the loser keeps its bytes.
    let (one, two) = (named("one", "a.txt"), named("two", "a.txt"));
    let first = whole(&store, &one, "first").await;
    let second = whole(&store, &two, "second").await;
    finish(&store, &one, &first).await.unwrap();
    for _ in 0..2 {
        let text = fails(finish(&store, &two, &second).await, StoreErrorKind::AlreadyExists);
        assert!(text.contains("a.txt"), "{text}");
    }
    assert_eq!(read(&store, &second).await.unwrap(), b"second");
    assert_eq!(home.placed(), [file("a.txt", "first")]);

    let text = fails(create(&store, &named("three", "a.txt")).await, StoreErrorKind::AlreadyExists);
    assert!(text.contains("a.txt"), "{text}");
    assert!(!home.file("three.bin").exists());
    // A partial is never placed, and any other name is free.
    store.create(&NewObject::new(&id("partial"))).await.unwrap();
    create(&store, &named("four", "b.txt")).await.unwrap();
}

#[tokio::test]
async fn overwriting_replaces_files_and_nothing_else() {
    let home = Home::new();
    let overwrite = OnConflict::Overwrite;
    let builder = home.placing().naming(Naming::Keep).on_conflict(overwrite);
    let store = builder.open().await.unwrap();
    let outside = home.0.path().join("outside");
    fs::write(&outside, "secret").unwrap();
    fs::create_dir(home.done().join("folder")).unwrap();
    symlink(&outside, home.done().join("link")).unwrap();
    for (n, name) in ["folder", "link"].into_iter().enumerate() {
        let placed = place(&store, &named(&format!("u{n}"), name), "new").await;
        fails(placed, StoreErrorKind::AlreadyExists);
    }
    assert_eq!(fs::read(&outside).unwrap(), b"secret");
    assert!(home.done().join("folder").is_dir());
}

#[tokio::test]
async fn an_overwritten_upload_is_gone_and_its_url_does_not_reach_the_new_one() {
    let home = Home::new();
    let builder = home.placing().naming(Naming::Keep).on_conflict(OnConflict::Overwrite);
    let store = builder.open().await.unwrap();
    let old = place(&store, &named("old", "a.txt"), "theirs").await.unwrap();
    let new = place(&store, &named("new", "a.txt"), "mine!!").await.unwrap();
    fails(read(&store, &old).await, StoreErrorKind::NotFound);
    ChunkStore::remove(&store, &old).await.unwrap();
    assert_eq!(read(&store, &new).await.unwrap(), b"mine!!");
}

#[tokio::test]
async fn a_file_that_was_moved_away_is_gone_also_when_its_name_is_used_again() {
    let home = Home::new();
    let store = home.placing().open().await.unwrap();
    let one = place(&store, &named("one", "a.txt"), "first").await.unwrap();
    fs::rename(home.done().join("a.txt"), home.0.path().join("taken away")).unwrap();
    fails(read(&store, &one).await, StoreErrorKind::NotFound);
    let two = place(&store, &named("two", "a.txt"), "other").await.unwrap();
    fails(read(&store, &one).await, StoreErrorKind::NotFound);
    fails(store.stat(&one).await, StoreErrorKind::NotFound);
    ChunkStore::remove(&store, &one).await.unwrap();
    assert_eq!(read(&store, &two).await.unwrap(), b"other");
}

#[tokio::test]
async fn removing_a_placed_upload_spares_what_is_no_file() {
    let home = Home::new();
    let store = home.placing().open().await.unwrap();
    let outside = home.0.path().join("outside");
    fs::create_dir(&outside).unwrap();
    let mut upload = named("u", "a.txt");
    upload.placement.folder = Some("in".to_owned());
    let at = place(&store, &upload, "hello").await.unwrap();
    // The folder becomes a link to one with a file that looks the same.
    fs::rename(home.done().join("in/a.txt"), outside.join("a.txt")).unwrap();
    fs::remove_dir(home.done().join("in")).unwrap();
    symlink(&outside, home.done().join("in")).unwrap();
    fails(read(&store, &at).await, StoreErrorKind::NotFound);
    ChunkStore::remove(&store, &at).await.unwrap();
    assert!(outside.join("a.txt").exists());

    let at = place(&store, &named("v", "b.txt"), "hello").await.unwrap();
    fs::remove_file(home.done().join("b.txt")).unwrap();
    fs::create_dir(home.done().join("b.txt")).unwrap();
    fails(read(&store, &at).await, StoreErrorKind::NotFound);
    ChunkStore::remove(&store, &at).await.unwrap();
    assert!(home.done().join("b.txt").is_dir());
}

#[tokio::test]
async fn folders_come_from_the_template_or_the_application() {
    let home = Home::new();
    let template = "{year}/{month}/{owner}".parse().unwrap();
    let store = home.placing().folders(template).open().await.unwrap();
    fs::set_permissions(home.done(), fs::Permissions::from_mode(0o750)).unwrap();
    let by_template = Upload { owner: Some("../ann".to_owned()), ..named("u", "a.txt") };
    place(&store, &by_template, "1").await.unwrap();
    let wishes = [
        ("chosen/by the app", "x.bin"),
        ("../../etc//passwd/.", "../y"),
        ("/abs\\olute", "con.txt"),
        ("", "z"),
    ];
    for (n, (folder, name)) in wishes.into_iter().enumerate() {
        let placement = Placement { folder: Some(folder.to_owned()), name: Some(name.to_owned()) };
        let upload = Upload { placement, ..named(&format!("u{n}"), "ignored") };
        let at = place(&store, &upload, "2").await.unwrap();
        assert_eq!(read(&store, &at).await.unwrap(), b"2");
    }
    let names: Vec<_> = home.placed().into_iter().map(|(name, _)| name).collect();
    let want = [
        "2023/11/_ann/a.txt",
        "_/_/etc/passwd/_/y",
        "abs_olute/_con.txt",
        "chosen/by the app/x.bin",
        "z",
    ];
    assert_eq!(names, want);
    let mode = fs::metadata(home.done().join("chosen/by the app")).unwrap().permissions().mode();
    assert_eq!(mode & 0o027, 0, "folders are open to no more people than the destination");
}

#[tokio::test]
async fn an_application_that_asks_for_too_many_folders_gets_the_first_of_them() {
    let home = Home::new();
    let store = home.placing().open().await.unwrap();
    let mut upload = named("u", "a.txt");
    upload.placement.folder = Some("d/".repeat(5_000));
    place(&store, &upload, "hello").await.unwrap();
    assert_eq!(home.placed()[0].0, format!("{}a.txt", "d/".repeat(16)));
}

#[tokio::test]
async fn folders_that_are_links_or_files_are_taken() {
    let home = Home::new();
    let store = home.placing().open().await.unwrap();
    let outside = home.0.path().join("outside");
    fs::create_dir(&outside).unwrap();
    symlink(&outside, home.done().join("link")).unwrap();
    fs::write(home.done().join("file"), "").unwrap();
    for (n, folder) in ["link", "file", "link/below"].into_iter().enumerate() {
        let mut upload = named(&format!("u{n}"), "a.txt");
        upload.placement.folder = Some(folder.to_owned());
        fails(place(&store, &upload, "hello").await, StoreErrorKind::AlreadyExists);
    }
    assert_eq!(fs::read_dir(outside).unwrap().count(), 0);
}

#[tokio::test]
async fn a_destination_may_be_a_link_and_may_hold_the_upload_directory() {
    let home = Home::new();
    let alias = home.0.path().join("alias");
    symlink(home.0.path(), &alias).unwrap();
    let store = home.builder().destination(&alias).open().await.unwrap();
    place(&store, &named("u", "a.txt"), "hello").await.unwrap();
    assert_eq!(fs::read(home.0.path().join("a.txt")).unwrap(), b"hello");
    // A name in the upload directory could be another upload's record.
    let mut upload = named("v", "w.rec");
    upload.placement.folder = Some("uploads".to_owned());
    fails(place(&store, &upload, "hello").await, StoreErrorKind::AlreadyExists);
    assert!(!home.file("w.rec").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn of_uploads_that_finish_at_once_each_gets_its_own_name() {
    for first in [Step::Link, Step::Copying, Step::Move] {
        let home = Home::new();
        let store = home.placing().first_step(first).open().await.unwrap();
        let mut uploads = Vec::new();
        for n in 0..24 {
            let upload = named(&format!("u{n}"), "a.txt");
            let at = whole(&store, &upload, &format!("bytes of {n}")).await;
            uploads.push((upload, at));
        }
        let racing = uploads.into_iter().map(|(upload, at)| {
            let store = store.clone();
            tokio::spawn(async move { finish(&store, &upload, &at).await.unwrap() })
        });
        for (n, racer) in racing.collect::<Vec<_>>().into_iter().enumerate() {
            let at = racer.await.unwrap();
            assert_eq!(read(&store, &at).await.unwrap(), format!("bytes of {n}").as_bytes());
        }
        let names: Vec<_> = home.placed().into_iter().map(|(name, _)| name).collect();
        let numbered = (1..24).map(|n| format!("a.{n:04}.txt")).chain(["a.txt".to_owned()]);
        assert_eq!(names, numbered.collect::<Vec<_>>());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_uploads_that_finish_at_once_under_one_name_one_wins_and_no_byte_is_lost() {
    for first in [Step::Link, Step::Copying, Step::Move] {
        let home = Home::new();
        let store = home.placing().naming(Naming::Keep).first_step(first).open().await.unwrap();
        let mut uploads = Vec::new();
        for n in 0..12 {
            let upload = named(&format!("u{n}"), "a.txt");
            uploads.push((whole(&store, &upload, &format!("bytes of {n}")).await, upload));
        }
        let racing = uploads.clone().into_iter().map(|(at, upload)| {
            let store = store.clone();
            tokio::spawn(async move { finish(&store, &upload, &at).await })
        });
        let mut winners = Vec::new();
        for (n, racer) in racing.collect::<Vec<_>>().into_iter().enumerate() {
            match racer.await.unwrap() {
                Ok(at) => winners.push(read(&store, &at).await.unwrap()),
                lost => drop(fails(lost, StoreErrorKind::AlreadyExists)),
            }
            let bytes = read(&store, &uploads[n].0).await.unwrap();
            assert_eq!(bytes, format!("bytes of {n}").as_bytes());
        }
        assert_eq!(winners.len(), 1);
        assert_eq!(home.placed(), [("a.txt".to_owned(), winners.remove(0))]);
    }
}

#[tokio::test]
async fn every_way_of_placing_keeps_the_names_that_are_there() {
    for first in [Step::Link, Step::Copying, Step::Move] {
        for (naming, on_conflict) in [
            (Naming::Increment, OnConflict::Error),
            (Naming::Keep, OnConflict::Error),
            (Naming::Keep, OnConflict::Overwrite),
        ] {
            let home = Home::new();
            let builder = home.placing().naming(naming).on_conflict(on_conflict);
            let store = builder.first_step(first).open().await.unwrap();
            let upload = named("u", "a.txt");
            let at = whole(&store, &upload, "mine").await;
            fs::write(home.done().join("a.txt"), "theirs").unwrap();
            let finished = finish(&store, &upload, &at).await;
            let want = match (naming, on_conflict) {
                (Naming::Increment, _) => {
                    vec![file("a.0001.txt", "mine"), file("a.txt", "theirs")]
                }
                (_, OnConflict::Overwrite) => vec![file("a.txt", "mine")],
                _ => vec![file("a.txt", "theirs")],
            };
            assert_eq!(home.placed(), want, "{first:?} {naming} {on_conflict}");
            match finished {
                Ok(new) => assert_eq!(read(&store, &new).await.unwrap(), b"mine"),
                refused => drop(fails(refused, StoreErrorKind::AlreadyExists)),
            }
            assert_eq!(read(&store, &at).await.unwrap(), b"mine");
            ChunkStore::remove(&store, &at).await.unwrap();
            assert_eq!(home.names(), [""; 0]);
        }
    }
}

#[tokio::test]
async fn an_upload_is_copied_to_another_file_system() {
    let home = Home::new();
    let shm = Path::new("/dev/shm");
    let here = fs::metadata(home.0.path()).unwrap().dev();
    if !shm.is_dir() || fs::metadata(shm).unwrap().dev() == here {
        eprintln!("SKIPPED: /dev/shm is no other file system here; only the test hook ran");
        return;
    }
    let other = tempfile::tempdir_in(shm).unwrap();
    let bytes = noise(3 * 1024 * 1024 + 5);
    let builder = home.builder().destination(other.path());
    let store =
        builder.naming(Naming::Keep).on_conflict(OnConflict::Overwrite).open().await.unwrap();
    for round in 0..2 {
        let upload = named(&format!("u{round}"), "a.bin");
        let at = create(&store, &upload).await.unwrap();
        append(&store, &at, bytes.clone()).await;
        // What an interrupted attempt without a note left behind is not taken for the bytes.
        fs::write(other.path().join(format!(".tus-u{round}.part")), "half").unwrap();
        let new = finish(&store, &upload, &at).await.unwrap();
        assert!(read(&store, &new).await.unwrap() == bytes);
        assert!(read(&store, &at).await.unwrap() == bytes);
        assert_eq!(finish(&store, &upload, &at).await.unwrap(), new);
        let names = fs::read_dir(other.path()).unwrap().count();
        assert_eq!(names, 1, "nothing is left beside the file");
    }
}
