//! What the store promises, a file for each subject.

mod bytes;
mod finish;
mod full;
mod opening;
mod planted;
mod power;
mod records;
mod repeats;

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use ::bytes::Bytes;
use tempfile::TempDir;
use tus_core::{
    Kind, Locator, Metadata, Phase, Placement, Timestamp, Upload, UploadId,
    store::{Blocking, ChunkStore, FinishAs, NewObject, PlaceAs, StoreError, StoreErrorKind},
};

use crate::{FsStore, FsStoreBuilder};

/// The directories of one test.
struct Home(TempDir);

impl Home {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn uploads(&self) -> PathBuf {
        self.0.path().join("uploads")
    }

    fn done(&self) -> PathBuf {
        self.0.path().join("done")
    }

    /// A file in the upload directory.
    fn file(&self, name: &str) -> PathBuf {
        self.uploads().join(name)
    }

    /// A builder that waits for a lock: a process that another test starts holds, until it runs
    /// its own program, whatever was open when it was made, the lock of a dropped store as well.
    fn builder(&self) -> FsStoreBuilder {
        let patient = FsStore::builder(self.uploads()).wait_for_lock(Duration::from_secs(20));
        patient.boot_id("first boot")
    }

    async fn store(&self) -> FsStore {
        self.builder().open().await.unwrap()
    }

    /// A builder that has a destination.
    fn placing(&self) -> FsStoreBuilder {
        self.builder().destination(self.done())
    }

    /// All files in the destination with what they hold, by path, folders with a slash.
    fn placed(&self) -> Vec<(String, Vec<u8>)> {
        let mut found = Vec::new();
        walk(&self.done(), "", &mut found);
        found.sort();
        found
    }

    /// The names in the upload directory, without the lock.
    fn names(&self) -> Vec<String> {
        let names = fs::read_dir(self.uploads()).unwrap();
        let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<_> = names.filter(|name| name != ".lock").collect();
        names.sort();
        names
    }
}

fn walk(dir: &Path, prefix: &str, found: &mut Vec<(String, Vec<u8>)>) {
    for entry in fs::read_dir(dir).unwrap() {
        let entry = entry.unwrap();
        let name = format!("{prefix}{}", entry.file_name().into_string().unwrap());
        match entry.file_type().unwrap() {
            kind if kind.is_dir() => walk(&entry.path(), &format!("{name}/"), found),
            kind if kind.is_file() => found.push((name, fs::read(entry.path()).unwrap())),
            _ => found.push((name, b"(neither file nor folder)".to_vec())),
        }
    }
}

fn id(text: &str) -> UploadId {
    text.parse().unwrap()
}

fn upload(text: &str) -> Upload {
    Upload {
        id: id(text),
        kind: Kind::Single,
        phase: Phase::Open,
        length: Some(5),
        metadata: Metadata::default(),
        concat: None,
        owner: None,
        url: format!("/files/{text}"),
        locator: Locator::new(format!("upload:{text}")),
        placement: Placement::default(),
        origin: None,
        awaits_end: false,
        fence: None,
        digests: Vec::new(),
        max_size: None,
        created_at: Timestamp::from_millis(1_700_000_000_000),
        expires_at: None,
        holds_parts: false,
        finals: Vec::new(),
    }
}

fn named(text: &str, filename: &str) -> Upload {
    let metadata = Metadata::from_pairs([("filename", filename.to_owned())]).unwrap();
    Upload { metadata, ..upload(text) }
}

/// Creates an object, as for an upload that will be placed.
async fn create(store: &FsStore, upload: &Upload) -> Result<Locator, StoreError> {
    let mut new = NewObject::new(&upload.id);
    new.place = Some(PlaceAs::of(upload));
    ChunkStore::create(store, &new).await
}

/// Writes bytes at the stored length, and syncs them.
async fn append(store: &FsStore, at: &Locator, bytes: impl Into<Bytes>) -> u64 {
    let offset = store.stat(at).await.unwrap().length;
    let mut writer = store.open(at, offset, Blocking::Offload).await.unwrap();
    writer.write(bytes.into()).await.unwrap();
    writer.sync().await.unwrap()
}

/// A whole upload.
async fn whole(store: &FsStore, upload: &Upload, bytes: &str) -> Locator {
    let at = create(store, upload).await.unwrap();
    append(store, &at, bytes.to_owned()).await;
    at
}

async fn finish(store: &FsStore, upload: &Upload, at: &Locator) -> Result<Locator, StoreError> {
    let length = store.stat(at).await?.length;
    store.finish(at, &FinishAs::of(upload, length)).await
}

async fn read(store: &FsStore, at: &Locator) -> Result<Vec<u8>, StoreError> {
    let mut reader = store.read(at, 0..u64::MAX).await?;
    let mut all = Vec::new();
    while let Some(bytes) = reader.next().await? {
        all.extend_from_slice(&bytes);
    }
    Ok(all)
}

#[track_caller]
fn fails<T: std::fmt::Debug>(result: Result<T, StoreError>, kind: StoreErrorKind) -> String {
    let error = result.unwrap_err();
    assert_eq!(error.kind(), kind, "{error}");
    error.to_string()
}

/// Bytes of which no two blocks are alike.
fn noise(length: usize) -> Bytes {
    let mut state = 0x2545_f491_u32;
    let next = std::iter::repeat_with(move || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_le_bytes()[3]
    });
    next.take(length).collect::<Vec<_>>().into()
}
