//! A directory by its descriptor: what is done in it follows no link and resolves no path.

use std::{
    fs::{self, DirBuilder, Metadata},
    io,
    os::unix::fs::{DirBuilderExt, MetadataExt},
    path::{Path, PathBuf},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use rustix::{
    fs::{self as sys, AtFlags, FileType, Mode, OFlags, RenameFlags},
    io::Errno,
};

use super::{
    File, Tap,
    tap::node_of,
    watch::{Act, Name, Node, Open},
};

/// An open directory.
#[derive(Debug)]
pub(crate) struct Dir {
    file: fs::File,
    tap: Tap,
    path: PathBuf,
    syncs_begun: AtomicU64,
    syncs_ended: Mutex<Ended>,
}

/// What is under a name.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Found {
    pub(crate) node: Node,
    pub(crate) is_file: bool,
    pub(crate) length: u64,
    /// Seconds since 1970.
    pub(crate) modified: i64,
}

/// The room of a file system, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Room {
    /// What a user without privileges may take.
    pub(crate) free: u64,
    /// All there is; 0 where the file system does not say.
    pub(crate) total: u64,
}

/// The numbers of the last sync that succeeded and of the last that failed.
#[derive(Debug, Default)]
struct Ended {
    good: u64,
    failed: u64,
}

/// How often a name is freed that somebody takes again.
const LOOKS: usize = 8;

const FILE_MODE: Mode = Mode::from_raw_mode(0o600);

impl Dir {
    /// Opens a directory, following links as the operator laid them; makes it if it is missing.
    pub(crate) fn root(path: &Path, durable: bool, tap: &Tap) -> io::Result<Self> {
        make(path, durable, tap)?;
        let path = path.canonicalize()?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let act = || Act::Enter { at: Name { dir: Node::default(), name: last(&path) } };
        let file = tap.see_open(act, || sys::open(&path, flags, Mode::empty()))?;
        Ok(Self::new(file, last(&path), tap, path.clone()))
    }

    fn new(file: fs::File, name: &str, tap: &Tap, path: PathBuf) -> Self {
        let tap = tap.of(&file, name);
        Self { file, tap, path, syncs_begun: AtomicU64::new(0), syncs_ended: Mutex::default() }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn metadata(&self) -> io::Result<Metadata> {
        self.tap.see(|| Act::Stat { file: self.tap.held() }, || self.file.metadata())
    }

    /// Opens a folder in it; a link is `NotADirectory`.
    pub(crate) fn enter(&self, name: &str) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let open = || match sys::openat(&self.file, name, flags, Mode::empty()) {
            Err(Errno::LOOP) => Err(Errno::NOTDIR),
            opened => opened,
        };
        let file = self.tap.see_open(|| Act::Enter { at: self.tap.name(name) }, open)?;
        Ok(Self::new(file, name, &self.tap, self.path.join(name)))
    }

    /// Makes a folder in it, and says so; `false` is one that was there.
    pub(crate) fn make(&self, name: &str, mode: u32) -> io::Result<bool> {
        let act = || Act::MakeDir { at: self.tap.name(name), mode: mode & 0o777 };
        let mode = Mode::from_raw_mode((mode & 0o777) as _);
        match self.tap.see(act, || Ok(sys::mkdirat(&self.file, name, mode)?)) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
            made => made.map(|()| true),
        }
    }

    /// Removes a folder in it, which must be empty.
    pub(crate) fn remove_dir(&self, name: &str) -> io::Result<()> {
        let act = || Act::RemoveDir { at: self.tap.name(name) };
        self.tap.see(act, || Ok(sys::unlinkat(&self.file, name, AtFlags::REMOVEDIR)?))
    }

    pub(crate) fn open(&self, name: &str, how: Open) -> io::Result<File> {
        // NONBLOCK means nothing to a file, and keeps a planted FIFO from holding us up.
        let common = OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let flags = common
            | match how {
                Open::Read => OFlags::RDONLY,
                Open::Write => OFlags::RDWR,
                Open::New => OFlags::RDWR | OFlags::CREATE | OFlags::EXCL,
            };
        let act = || Act::Open { at: self.tap.name(name), how };
        let file = self.tap.see_open(act, || sys::openat(&self.file, name, flags, FILE_MODE))?;
        let tap = self.tap.of(&file, name);
        Ok(File::new(file, tap))
    }

    /// Makes a file in the place of whatever has its name.
    ///
    /// What is there is removed, not written to: it may be a link that somebody has planted, or
    /// have another name elsewhere.
    pub(crate) fn open_fresh(&self, name: &str) -> io::Result<File> {
        for _ in 0..LOOKS {
            match self.open(name, Open::New) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => self.unlink(name)?,
                made => return made,
            };
        }
        Err(Errno::EXIST.into())
    }

    /// What is under a name, a link being a link.
    pub(crate) fn stat(&self, name: &str) -> io::Result<Option<Found>> {
        let look = || self.found(name);
        match self.tap.see(|| Act::Look { at: self.tap.name(name) }, look) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            stat => stat.map(Some),
        }
    }

    /// Removes a name, and says whether it was there.
    pub(crate) fn unlink(&self, name: &str) -> Result<bool, Errno> {
        let act = || Act::Unlink { at: self.tap.name(name), node: self.node_of(name) };
        let unlink = || Ok(sys::unlinkat(&self.file, name, AtFlags::empty())?);
        match self.tap.see(act, unlink).map_err(|error| errno(&error)) {
            Err(Errno::NOENT) => Ok(false),
            removed => removed.map(|()| true),
        }
    }

    /// Gives a file a second name, which must be free.
    pub(crate) fn link(&self, name: &str, to: &Self, new: &str) -> Result<(), Errno> {
        let act = || Act::Link {
            from: self.tap.name(name),
            node: self.node_of(name),
            to: to.tap.name(new),
        };
        let link = || Ok(sys::linkat(&self.file, name, &to.file, new, AtFlags::empty())?);
        self.tap.see(act, link).map_err(|error| errno(&error))
    }

    /// Renames a file, over what is there.
    pub(crate) fn rename(&self, name: &str, to: &Self, new: &str) -> Result<(), Errno> {
        let rename = || Ok(sys::renameat(&self.file, name, &to.file, new)?);
        self.tap.see(|| self.renaming(name, to, new, true), rename).map_err(|error| errno(&error))
    }

    /// Renames a file to a name that must be free.
    ///
    /// Where the file system has no such call, both names exist for a moment.
    pub(crate) fn rename_new(&self, name: &str, to: &Self, new: &str) -> Result<(), Errno> {
        #[cfg(any(target_os = "linux", target_os = "android", target_vendor = "apple"))]
        {
            let flags = RenameFlags::NOREPLACE;
            let rename = || Ok(sys::renameat_with(&self.file, name, &to.file, new, flags)?);
            match self
                .tap
                .see(|| self.renaming(name, to, new, false), rename)
                .map_err(|error| errno(&error))
            {
                Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {}
                renamed => return renamed,
            }
        }
        self.link(name, to, new)?;
        self.unlink(name).map(drop)
    }

    fn renaming<'a>(&self, name: &'a str, to: &Self, new: &'a str, replace: bool) -> Act<'a> {
        let (from, to) = (self.tap.name(name), to.tap.name(new));
        Act::Rename { from, node: self.node_of(name), to, replace }
    }

    fn found(&self, name: &str) -> io::Result<Found> {
        let found = sys::statat(&self.file, name, AtFlags::SYMLINK_NOFOLLOW)?;
        Ok(Found {
            node: Node { dev: found.st_dev as _, ino: found.st_ino as _ },
            is_file: FileType::from_raw_mode(found.st_mode) == FileType::RegularFile,
            length: u64::try_from(found.st_size).unwrap_or(0),
            modified: found.st_mtime as _,
        })
    }

    /// Which file has a name, for a watcher.
    fn node_of(&self, name: &str) -> Option<Node> {
        self.found(name).ok().map(|found| found.node)
    }

    /// The names in it, as they come.
    pub(crate) fn names(&self) -> io::Result<impl Iterator<Item = io::Result<String>>> {
        let list = || Ok(sys::Dir::read_from(&self.file)?);
        let entries = self.tap.see(|| Act::List { dir: self.tap.node() }, list)?;
        Ok(entries.filter_map(|entry| match entry {
            // A name that is not text is none of ours.
            Ok(entry) => entry.file_name().to_str().ok().map(|name| Ok(name.to_owned())),
            Err(error) => Some(Err(error.into())),
        }))
    }

    /// How much room its file system has.
    pub(crate) fn room(&self) -> io::Result<Room> {
        let ask = || match sys::fstatvfs(&self.file) {
            Err(Errno::NOSYS | Errno::OPNOTSUPP) => Ok(Room { free: 0, total: 0 }),
            found => {
                let found = found?;
                let bytes = |blocks: u64| blocks.saturating_mul(found.f_frsize);
                Ok(Room { free: bytes(found.f_bavail), total: bytes(found.f_blocks) })
            }
        };
        self.tap.see(|| Act::Room { dir: self.tap.node() }, ask)
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
        let act = || Act::SyncDir { dir: self.tap.node() };
        let result = self.tap.see(act, || self.file.sync_all());
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

/// The system's word; all that fails here has one.
fn errno(error: &io::Error) -> Errno {
    Errno::from_io_error(error).unwrap_or(Errno::IO)
}

/// Makes a directory and those above it that are missing, for its owner alone.
fn make(path: &Path, durable: bool, tap: &Tap) -> io::Result<()> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let above = parent.unwrap_or(Path::new("."));
    if !path.is_dir() {
        if let Some(parent) = parent.filter(|parent| !parent.is_dir()) {
            make(parent, durable, tap)?;
        }
        let act = || {
            let dir = node_of(above.metadata());
            Act::MakeDir { at: Name { dir, name: last(path) }, mode: 0o700 }
        };
        match tap.see(act, || DirBuilder::new().mode(0o700).create(path)) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => {}
            made => made?,
        }
    }
    if !durable {
        return Ok(());
    }
    // Also when it was there: whoever made it may not have come as far as this.
    match fs::File::open(above) {
        Ok(parent) => {
            let act = || Act::SyncDir { dir: node_of(parent.metadata()) };
            tap.see(act, || parent.sync_all())
        }
        // A directory that was given to us may stand in one that we may not read.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
        Err(error) => Err(error),
    }
}

/// The last name of a path, for a watcher.
fn last(path: &Path) -> &str {
    path.file_name().and_then(|name| name.to_str()).unwrap_or("?")
}
