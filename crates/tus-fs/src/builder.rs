use std::{
    io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::Duration,
};

use crate::{
    Durability, FolderTemplate, FsStore, Inner, Naming, OnConflict, Reserve,
    destination::Destination,
    disk::{self, Dir, Tap},
    layout, lock,
    meta::Doubtful,
    naming::random_token,
    note::Step,
    slots::boot_number,
};

const UPLOAD_DIRECTORY: &str = "upload directory";
const DESTINATION_DIRECTORY: &str = "destination directory";

/// Settings of an [`FsStore`]; made by [`FsStore::builder`].
#[derive(Clone, Debug)]
#[must_use]
pub struct FsStoreBuilder {
    dir: PathBuf,
    destination: Option<PathBuf>,
    naming: Naming,
    on_conflict: OnConflict,
    folders: FolderTemplate,
    file_mode: u32,
    durability: Durability,
    reserve: Reserve,
    wait_for_lock: Duration,
    boot_id: Option<String>,
    first: Step,
    tap: Tap,
}

impl FsStoreBuilder {
    pub(crate) fn new(dir: PathBuf) -> Self {
        Self {
            dir,
            destination: None,
            naming: Naming::default(),
            on_conflict: OnConflict::default(),
            folders: FolderTemplate::default(),
            file_mode: 0o644,
            durability: Durability::default(),
            reserve: Reserve::default(),
            wait_for_lock: Duration::ZERO,
            boot_id: None,
            first: Step::Link,
            tap: Tap::default(),
        }
    }

    /// Puts finished uploads into this directory, under names for people.
    ///
    /// Without it they stay where they are. Best on the same file system as the upload directory:
    /// a finish is a link then, and a copy otherwise. Several stores may share it.
    pub fn destination(mut self, dir: impl Into<PathBuf>) -> Self {
        self.destination = Some(dir.into());
        self
    }

    /// How finished uploads are named in the destination.
    pub fn naming(mut self, naming: Naming) -> Self {
        self.naming = naming;
        self
    }

    /// What [`Naming::Keep`] does when a name is taken.
    pub fn on_conflict(mut self, on_conflict: OnConflict) -> Self {
        self.on_conflict = on_conflict;
        self
    }

    /// The sub-folder of the destination for each upload; none by default.
    ///
    /// Folders get the mode of the destination, as far as the process's umask lets them. Those that
    /// exist are used, links to folders are not: an upload that would have to follow one is refused
    /// like one whose name is taken.
    pub fn folders(mut self, template: FolderTemplate) -> Self {
        self.folders = template;
        self
    }

    /// The mode of files in the destination; `0o644` by default, as others are to read them.
    ///
    /// In the upload directory they are for their owner alone.
    pub fn file_mode(mut self, mode: u32) -> Self {
        self.file_mode = mode & 0o777;
        self
    }

    /// What the store's promises survive; [`Durability::Power`] by default.
    pub fn durability(mut self, durability: Durability) -> Self {
        self.durability = durability;
        self
    }

    /// How much room new uploads leave; 5 % of the file system, at most 1 GiB, by default.
    ///
    /// Where less is free when the store is opened, that is logged.
    pub fn reserve(mut self, reserve: Reserve) -> Self {
        self.reserve = reserve;
        self
    }

    /// How long to wait for another process to let go of the upload directory; not at all by
    /// default.
    pub fn wait_for_lock(mut self, wait: Duration) -> Self {
        self.wait_for_lock = wait;
        self
    }

    /// Says which boot of the machine this is, for tests that have no other machine.
    #[doc(hidden)]
    pub fn boot_id(mut self, id: impl Into<String>) -> Self {
        self.boot_id = Some(id.into());
        self
    }

    /// Has a test watch all that is done with the disk, and say what becomes of it.
    #[cfg(feature = "faults")]
    #[doc(hidden)]
    pub fn watch(mut self, watch: Arc<dyn crate::watch::Watch>) -> Self {
        self.tap = Tap::new(watch);
        self
    }

    /// Places files as if the first ways to do it had been refused.
    #[cfg(test)]
    pub(crate) fn first_step(mut self, step: Step) -> Self {
        self.first = step;
        self
    }

    /// Makes the directories that are missing (for their owner alone), takes the upload directory
    /// and opens the store.
    ///
    /// # Errors
    ///
    /// What [`OpenError`] lists; nothing is held then.
    pub async fn open(self) -> Result<FsStore, OpenError> {
        let dir = self.dir.clone();
        match tokio::task::spawn_blocking(move || self.open_here()).await {
            Ok(store) => store,
            Err(error) => Err(unusable(UPLOAD_DIRECTORY, &dir)(io::Error::other(error))),
        }
    }

    fn open_here(self) -> Result<FsStore, OpenError> {
        let durable = self.durability == Durability::Power;
        if self.destination.is_none() && self.folders != FolderTemplate::default() {
            return Err(OpenError::NoDestination { template: self.folders.to_string() });
        }
        let unusable_dir = unusable(UPLOAD_DIRECTORY, &self.dir);
        let dir = Dir::root(&self.dir, durable, &self.tap).map_err(&unusable_dir)?;
        let lock = lock::take(&dir, self.wait_for_lock).map_err(&unusable_dir)?;
        let Some(lock) = lock else {
            return Err(OpenError::InUse { path: self.dir.clone() });
        };
        probe(&dir, durable).map_err(&unusable_dir)?;
        let shared = dir.metadata().map_err(&unusable_dir)?.mode() & 0o022;
        if shared != 0 {
            tracing::warn!(path = %dir.path().display(), "others may write to the upload directory");
        }
        let destination = match &self.destination {
            Some(path) => Some(self.open_destination(path, &dir)?),
            None => None,
        };
        let boot = self.boot().map_err(&unusable_dir)?;
        let start = random_token().map_err(io::Error::other).map_err(&unusable_dir)?;
        let inner = Inner {
            dir,
            destination,
            durability: self.durability,
            reserve: self.reserve,
            boot,
            start: boot_number(&start),
            bytes: Arc::default(),
            records: Arc::default(),
            doubtful: Doubtful::default(),
            _lock: lock,
        };
        if let Err(error) = inner.refuse_full(0, true) {
            tracing::warn!(%error, "new uploads are refused");
        }
        Ok(FsStore(Arc::new(inner)))
    }

    fn open_destination(&self, path: &Path, uploads: &Dir) -> Result<Destination, OpenError> {
        let durable = self.durability == Durability::Power;
        let unusable = unusable(DESTINATION_DIRECTORY, path);
        let dir = Dir::root(path, durable, &self.tap).map_err(&unusable)?;
        if dir.is_same_as(uploads).map_err(&unusable)? {
            return Err(OpenError::SameDirectory { path: path.to_owned() });
        }
        probe(&dir, durable).map_err(&unusable)?;
        Ok(Destination {
            dir,
            naming: self.naming,
            on_conflict: self.on_conflict,
            folders: self.folders.clone(),
            file_mode: self.file_mode,
            names: Mutex::default(),
            first: self.first,
        })
    }

    /// Where the system does not say which boot it is, each start counts as one: that is safe,
    /// and costs at most the bytes that were never synced.
    fn boot(&self) -> io::Result<u64> {
        match &self.boot_id {
            Some(id) => Ok(boot_number(id)),
            None => match disk::boot_id() {
                Some(id) => Ok(boot_number(&id)),
                None => Ok(boot_number(&random_token().map_err(io::Error::other)?)),
            },
        }
    }
}

/// Tries whether files can be made and (under `power`) names be made durable.
fn probe(dir: &Dir, durable: bool) -> io::Result<()> {
    drop(dir.open_fresh(layout::PROBE)?);
    dir.unlink(layout::PROBE)?;
    if durable { dir.sync() } else { Ok(()) }
}

fn unusable(setting: &'static str, path: &Path) -> impl Fn(io::Error) -> OpenError {
    move |source| OpenError::Unusable { setting, path: path.to_owned(), source }
}

/// Why a store cannot be opened: the setting, its value and the way out.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// A directory cannot be made, opened or written to.
    #[error(
        "{setting} {}: {source}; let this user write to it, or choose another one",
        path.display()
    )]
    Unusable {
        /// Which directory.
        setting: &'static str,
        /// As it was given.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Another store holds the upload directory.
    #[error(
        "upload directory {} is in use by another process; stop it, or wait with wait_for_lock \
         (--wait-for-dir)",
        path.display()
    )]
    InUse {
        /// As it was given.
        path: PathBuf,
    },
    /// The destination is the upload directory.
    #[error(
        "destination directory {} is the upload directory; choose another one, or leave it out to \
         keep finished uploads where they are",
        path.display()
    )]
    SameDirectory {
        /// As it was given.
        path: PathBuf,
    },
    /// There are to be sub-folders, but of nothing.
    #[error("folder template {template} is set without a destination directory; set that too")]
    NoDestination {
        /// As it was given.
        template: String,
    },
}
