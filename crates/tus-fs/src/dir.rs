//! A directory by its descriptor: what is done in it follows no link and resolves no path.

use std::{
    fs::{DirBuilder, File, Metadata},
    io,
    os::unix::fs::{DirBuilderExt, MetadataExt},
    path::{Path, PathBuf},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use rustix::{
    fs::{self as sys, AtFlags, Mode, OFlags, RenameFlags},
    io::{Errno, retry_on_intr},
};

/// An open directory.
#[derive(Debug)]
pub(crate) struct Dir {
    file: File,
    path: PathBuf,
    syncs_begun: AtomicU64,
    syncs_ended: Mutex<Ended>,
}

/// The numbers of the last sync that succeeded and of the last that failed.
#[derive(Debug, Default)]
struct Ended {
    good: u64,
    failed: u64,
}

/// How a file is opened.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Open {
    /// To read what is there.
    Read,
    /// To read and write what is there.
    Write,
    /// A new one; one that is there is an error.
    New,
    /// A new one, or one that is there made empty.
    Fresh,
}

const FILE_MODE: Mode = Mode::from_raw_mode(0o600);

impl Dir {
    /// Opens a directory, following links as the operator laid them; makes it if it is missing.
    pub(crate) fn root(path: &Path, durable: bool) -> io::Result<Self> {
        make(path, durable)?;
        let path = path.canonicalize()?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = retry_on_intr(|| sys::open(&path, flags, Mode::empty()))?;
        Ok(Self::new(File::from(fd), path))
    }

    fn new(file: File, path: PathBuf) -> Self {
        Self { file, path, syncs_begun: AtomicU64::new(0), syncs_ended: Mutex::default() }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn metadata(&self) -> io::Result<Metadata> {
        self.file.metadata()
    }

    /// Opens a folder in it; a link is `NotADirectory`.
    pub(crate) fn enter(&self, name: &str) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = retry_on_intr(|| sys::openat(&self.file, name, flags, Mode::empty()));
        let fd = fd.map_err(|error| if error == Errno::LOOP { Errno::NOTDIR } else { error })?;
        Ok(Self::new(File::from(fd), self.path.join(name)))
    }

    /// Makes a folder in it, unless it is there.
    pub(crate) fn make(&self, name: &str, mode: u32) -> io::Result<()> {
        let mode = Mode::from_raw_mode((mode & 0o777) as _);
        match retry_on_intr(|| sys::mkdirat(&self.file, name, mode)) {
            Err(Errno::EXIST) => Ok(()),
            made => Ok(made?),
        }
    }

    pub(crate) fn open(&self, name: &str, how: Open) -> io::Result<File> {
        // NONBLOCK means nothing to a file, and keeps a planted FIFO from holding us up.
        let common = OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let flags = common
            | match how {
                Open::Read => OFlags::RDONLY,
                Open::Write => OFlags::RDWR,
                Open::New => OFlags::RDWR | OFlags::CREATE | OFlags::EXCL,
                Open::Fresh => OFlags::RDWR | OFlags::CREATE | OFlags::TRUNC,
            };
        Ok(File::from(retry_on_intr(|| sys::openat(&self.file, name, flags, FILE_MODE))?))
    }

    /// What is under a name, a link being a link.
    pub(crate) fn stat(&self, name: &str) -> io::Result<Option<sys::Stat>> {
        match retry_on_intr(|| sys::statat(&self.file, name, AtFlags::SYMLINK_NOFOLLOW)) {
            Err(Errno::NOENT) => Ok(None),
            stat => Ok(Some(stat?)),
        }
    }

    /// Removes a name, and says whether it was there.
    pub(crate) fn unlink(&self, name: &str) -> Result<bool, Errno> {
        match retry_on_intr(|| sys::unlinkat(&self.file, name, AtFlags::empty())) {
            Err(Errno::NOENT) => Ok(false),
            removed => removed.map(|()| true),
        }
    }

    /// Gives a file a second name, which must be free.
    pub(crate) fn link(&self, name: &str, to: &Self, new: &str) -> Result<(), Errno> {
        retry_on_intr(|| sys::linkat(&self.file, name, &to.file, new, AtFlags::empty()))
    }

    /// Renames a file, over what is there.
    pub(crate) fn rename(&self, name: &str, to: &Self, new: &str) -> Result<(), Errno> {
        retry_on_intr(|| sys::renameat(&self.file, name, &to.file, new))
    }

    /// Renames a file to a name that must be free.
    ///
    /// Where the file system has no such call, both names exist for a moment.
    pub(crate) fn rename_new(&self, name: &str, to: &Self, new: &str) -> Result<(), Errno> {
        #[cfg(any(target_os = "linux", target_os = "android", target_vendor = "apple"))]
        {
            let flags = RenameFlags::NOREPLACE;
            match retry_on_intr(|| sys::renameat_with(&self.file, name, &to.file, new, flags)) {
                Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {}
                renamed => return renamed,
            }
        }
        self.link(name, to, new)?;
        self.unlink(name).map(drop)
    }

    /// The names in it, as they come.
    pub(crate) fn names(&self) -> io::Result<impl Iterator<Item = io::Result<String>>> {
        let entries = sys::Dir::read_from(&self.file)?;
        Ok(entries.filter_map(|entry| match entry {
            // A name that is not text is none of ours.
            Ok(entry) => entry.file_name().to_str().ok().map(|name| Ok(name.to_owned())),
            Err(error) => Some(Err(error.into())),
        }))
    }

    /// Makes the names in it durable.
    ///
    /// Callers at the same time share one sync, and its failure: a second one would claim success
    /// for names that the first one lost.
    pub(crate) fn sync(&self) -> io::Result<()> {
        // Any sync that begins from now on covers what the caller did.
        let mine = self.syncs_begun.load(Ordering::SeqCst) + 1;
        let mut ended = self.syncs_ended.lock().unwrap_or_else(PoisonError::into_inner);
        if ended.failed >= mine {
            return Err(io::Error::other("the directory could not be synced"));
        }
        if ended.good >= mine {
            return Ok(());
        }
        let number = self.syncs_begun.fetch_add(1, Ordering::SeqCst) + 1;
        let result = self.file.sync_all();
        match result {
            Ok(()) => ended.good = number,
            Err(_) => ended.failed = number,
        }
        result
    }

    pub(crate) fn is_same_as(&self, other: &Self) -> io::Result<bool> {
        let (one, other) = (self.metadata()?, other.metadata()?);
        Ok((one.dev(), one.ino()) == (other.dev(), other.ino()))
    }
}

/// What an open file is, if it is a file.
pub(crate) fn regular(file: &File) -> io::Result<Metadata> {
    let found = file.metadata()?;
    if found.is_file() {
        return Ok(found);
    }
    Err(io::Error::new(io::ErrorKind::InvalidData, "it is not a regular file"))
}

/// Makes a directory and those above it that are missing, for its owner alone.
fn make(path: &Path, durable: bool) -> io::Result<()> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    if !path.is_dir() {
        if let Some(parent) = parent.filter(|parent| !parent.is_dir()) {
            make(parent, durable)?;
        }
        match DirBuilder::new().mode(0o700).create(path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => {}
            made => made?,
        }
    }
    if !durable {
        return Ok(());
    }
    // Also when it was there: whoever made it may not have come as far as this.
    match File::open(parent.unwrap_or(Path::new("."))) {
        Ok(parent) => parent.sync_all(),
        // A directory that was given to us may stand in one that we may not read.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
        Err(error) => Err(error),
    }
}
