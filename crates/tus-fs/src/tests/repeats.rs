//! A finish that a crash cut off at any step, and then repeated.

use std::fs;

use tus_core::store::MetaStore;

use super::*;
use crate::{
    Naming, OnConflict,
    note::{Note, Step},
};

struct Cut {
    home: Home,
    upload: Upload,
    at: Locator,
}

impl Cut {
    /// An upload that is whole, of which nothing has been placed.
    async fn new() -> Self {
        let home = Home::new();
        let store = home.placing().open().await.unwrap();
        let upload = named("u", "a.txt");
        let at = whole(&store, &upload, "hello").await;
        Self { home, upload, at }
    }

    async fn noted(step: Step, path: &str) -> Self {
        let cut = Self::new().await;
        let note = Note { step, path: path.to_owned() };
        let store = cut.home.placing().open().await.unwrap();
        store.0.write_note(&cut.upload.id, &note).unwrap();
        cut
    }

    fn done(&self, name: &str) -> PathBuf {
        self.home.done().join(name)
    }

    fn link(&self, name: &str) {
        fs::hard_link(self.home.file("u.bin"), self.done(name)).unwrap();
    }

    /// Repeats the finish (twice), and says under which names files are.
    async fn repeat(&self, builder: FsStoreBuilder) -> Vec<(String, Vec<u8>)> {
        let store = builder.open().await.unwrap();
        let new = finish(&store, &self.upload, &self.at).await.unwrap();
        assert_eq!(finish(&store, &self.upload, &self.at).await.unwrap(), new);
        assert_eq!(read(&store, &new).await.unwrap(), b"hello");
        assert_eq!(read(&store, &self.at).await.unwrap(), b"hello");
        ChunkStore::remove(&store, &self.at).await.unwrap();
        assert_eq!(self.home.names(), [""; 0]);
        assert_eq!(read(&store, &new).await.unwrap(), b"hello");
        self.home.placed()
    }
}

fn hello(name: &str) -> (String, Vec<u8>) {
    (name.to_owned(), b"hello".to_vec())
}

fn theirs(name: &str) -> (String, Vec<u8>) {
    (name.to_owned(), b"their".to_vec())
}

#[tokio::test]
async fn a_note_without_its_step_is_begun_again() {
    for step in [Step::Link, Step::Move, Step::Copying, Step::Copied] {
        for first in [Step::Link, Step::Move, Step::Copying] {
            let cut = Cut::noted(step, "a.txt").await;
            let placed = cut.repeat(cut.home.placing().first_step(first)).await;
            assert_eq!(placed, [hello("a.txt")], "{step:?} {first:?}");
        }
    }
}

#[tokio::test]
async fn a_torn_note_says_nothing() {
    let cut = Cut::noted(Step::Link, "a.txt").await;
    fs::write(cut.home.file("u.place"), "tus-place 1 ").unwrap();
    assert_eq!(cut.repeat(cut.home.placing()).await, [hello("a.txt")]);
}

#[tokio::test]
async fn a_link_that_was_made_is_found_though_names_before_it_became_free() {
    let cut = Cut::noted(Step::Link, "a.0002.txt").await;
    cut.link("a.0002.txt");
    assert_eq!(cut.repeat(cut.home.placing()).await, [hello("a.0002.txt")]);
}

#[tokio::test]
async fn a_link_is_found_by_its_inode_even_without_a_note() {
    let cut = Cut::new().await;
    cut.link("a.txt");
    assert_eq!(cut.repeat(cut.home.placing()).await, [hello("a.txt")]);
}

#[tokio::test]
async fn a_noted_name_that_somebody_else_took_is_not_ours() {
    for step in [Step::Link, Step::Move, Step::Copying] {
        let cut = Cut::noted(step, "a.txt").await;
        fs::write(cut.done("a.txt"), "their").unwrap();
        let placed = cut.repeat(cut.home.placing()).await;
        assert_eq!(placed, [hello("a.0001.txt"), theirs("a.txt")], "{step:?}");
    }
}

#[tokio::test]
async fn a_replacement_cut_off_before_its_rename_is_begun_again() {
    let cut = Cut::noted(Step::Link, "a.txt").await;
    fs::write(cut.done("a.txt"), "their").unwrap();
    cut.link(".tus-u.part");
    let overwrite = cut.home.placing().naming(Naming::Keep).on_conflict(OnConflict::Overwrite);
    assert_eq!(cut.repeat(overwrite).await, [hello("a.txt")]);
}

#[tokio::test]
async fn part_of_a_copy_is_never_taken_for_the_bytes() {
    for step in [Step::Copying, Step::Link] {
        for on_conflict in [OnConflict::Error, OnConflict::Overwrite] {
            for first in [Step::Link, Step::Copying] {
                let cut = Cut::noted(step, "a.txt").await;
                fs::write(cut.done(".tus-u.part"), "he").unwrap();
                let builder = cut.home.placing().naming(Naming::Keep).on_conflict(on_conflict);
                let placed = cut.repeat(builder.first_step(first)).await;
                assert_eq!(placed, [hello("a.txt")]);
            }
        }
    }
}

#[tokio::test]
async fn a_copy_that_got_its_name_is_found() {
    // The copy is gone, so it was renamed.
    let cut = Cut::noted(Step::Copied, "a.0003.txt").await;
    fs::write(cut.done("a.0003.txt"), "hello").unwrap();
    assert_eq!(cut.repeat(cut.home.placing()).await, [hello("a.0003.txt")]);
    // Or it has both names, where the file system knows no better.
    let cut = Cut::noted(Step::Copied, "a.0003.txt").await;
    fs::write(cut.done("a.0003.txt"), "hello").unwrap();
    fs::hard_link(cut.done("a.0003.txt"), cut.done(".tus-u.part")).unwrap();
    assert_eq!(cut.repeat(cut.home.placing()).await, [hello("a.0003.txt")]);
}

#[tokio::test]
async fn a_copy_that_did_not_get_its_name_is_made_again() {
    let cut = Cut::noted(Step::Copied, "a.txt").await;
    fs::write(cut.done("a.txt"), "their").unwrap();
    fs::write(cut.done(".tus-u.part"), "hello").unwrap();
    let placed = cut.repeat(cut.home.placing()).await;
    assert_eq!(placed, [hello("a.0001.txt"), theirs("a.txt")]);
}

#[tokio::test]
async fn a_refused_copy_leaves_no_note_that_would_claim_the_other_file() {
    let cut = Cut::new().await;
    let builder = || cut.home.placing().naming(Naming::Keep).first_step(Step::Copying);
    let store = builder().open().await.unwrap();
    fs::write(cut.done("a.txt"), "their").unwrap();
    for _ in 0..2 {
        fails(finish(&store, &cut.upload, &cut.at).await, StoreErrorKind::AlreadyExists);
        assert!(!cut.home.file("u.place").exists());
        assert_eq!(cut.home.placed(), [theirs("a.txt")]);
    }
    assert_eq!(read(&store, &cut.at).await.unwrap(), b"hello");
}

#[tokio::test]
async fn a_move_that_was_done_is_found_by_every_verb() {
    let cut = Cut::noted(Step::Move, "a.txt").await;
    fs::rename(cut.home.file("u.bin"), cut.done("a.txt")).unwrap();
    let store = cut.home.placing().open().await.unwrap();
    assert_eq!(store.stat(&cut.at).await.unwrap().length, 5);
    assert_eq!(read(&store, &cut.at).await.unwrap(), b"hello");
    fails(store.open(&cut.at, 5, Blocking::InPlace).await, StoreErrorKind::NotFound);
    fails(create(&store, &cut.upload).await, StoreErrorKind::AlreadyExists);
    drop(store);
    assert_eq!(cut.repeat(cut.home.placing()).await, [hello("a.txt")]);
}

#[tokio::test]
async fn a_moved_file_that_was_taken_away_is_not_found() {
    let cut = Cut::noted(Step::Move, "a.txt").await;
    fs::remove_file(cut.home.file("u.bin")).unwrap();
    let store = cut.home.placing().open().await.unwrap();
    fails(store.stat(&cut.at).await, StoreErrorKind::NotFound);
    let finished = store.finish(&cut.at, &FinishAs::of(&cut.upload, 5)).await;
    fails(finished, StoreErrorKind::NotFound);
    // Nor is another file that has the name now.
    fs::write(cut.done("a.txt"), "another").unwrap();
    let finished = store.finish(&cut.at, &FinishAs::of(&cut.upload, 5)).await;
    fails(finished, StoreErrorKind::NotFound);
}

#[tokio::test]
async fn removing_an_upload_takes_back_what_its_finish_left_beside_the_place() {
    for step in [Step::Link, Step::Copying, Step::Copied] {
        let cut = Cut::noted(step, "in/a.txt").await;
        fs::create_dir(cut.done("in")).unwrap();
        fs::write(cut.done("in/.tus-u.part"), "he").unwrap();
        fs::write(cut.done("in/a.txt"), "their").unwrap();
        let store = cut.home.placing().open().await.unwrap();
        ChunkStore::remove(&store, &cut.at).await.unwrap();
        assert_eq!(cut.home.names(), [""; 0]);
        assert_eq!(cut.home.placed(), [theirs("in/a.txt")]);
    }
}

#[tokio::test]
async fn a_note_of_a_destination_that_is_no_longer_there_is_forgotten() {
    let cut = Cut::noted(Step::Link, "gone/a.txt").await;
    let elsewhere = cut.home.0.path().join("elsewhere");
    let store = cut.home.builder().destination(&elsewhere).open().await.unwrap();
    let new = finish(&store, &cut.upload, &cut.at).await.unwrap();
    assert_eq!(read(&store, &new).await.unwrap(), b"hello");
    assert_eq!(fs::read(elsewhere.join("a.txt")).unwrap(), b"hello");
    assert!(!cut.home.file("u.rec").exists());
}

/// A creation that died leaves some of its files; nothing else is taken for one.
#[tokio::test]
async fn what_was_never_recorded_is_named_and_can_be_removed() {
    let home = Home::new();
    let store = home.store().await;
    let recorded = upload("recorded");
    create(&store, &recorded).await.unwrap();
    MetaStore::create(&store, &recorded).await.unwrap();
    let full = create(&store, &upload("full")).await.unwrap();
    append(&store, &full, "bytes").await;
    let died = upload("died");
    create(&store, &died).await.unwrap();
    // A loss of power keeps whichever of the names it likes.
    for name in ["bin.bin", "slot.slot", "temp.rec.tmp"] {
        fs::write(home.file(name), "").unwrap();
    }
    for foreign in ["notes.txt", "x.bin.bak", "a b.bin", ".bin", "placed.place"] {
        fs::write(home.file(foreign), "").unwrap();
    }
    let named = async || {
        let named = store.unrecorded(None, 100).await.unwrap();
        named.into_iter().map(|(id, _)| id.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(named().await, ["bin", "died", "slot", "temp"]);
    let first = store.unrecorded(Some(&id("bin")), 2).await.unwrap();
    assert_eq!(first.iter().map(|(id, _)| id.as_str()).collect::<Vec<_>>(), ["died", "slot"]);

    for (id, at) in store.unrecorded(None, 100).await.unwrap() {
        ChunkStore::remove(&store, &at).await.unwrap();
        MetaStore::remove(&store, &id).await.unwrap();
    }
    assert_eq!(named().await, [""; 0]);
    let kept: Vec<_> = home.names();
    let ours = ["full.bin", "full.slot", "recorded.bin", "recorded.rec", "recorded.slot"];
    let foreign = ["notes.txt", "x.bin.bak", "a b.bin", ".bin", "placed.place"];
    for name in ours.iter().chain(&foreign) {
        assert!(kept.iter().any(|kept| kept == name), "{name} is gone: {kept:?}");
    }
    assert_eq!(kept.len(), ours.len() + foreign.len(), "{kept:?}");
}
