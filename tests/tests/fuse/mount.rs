//! The disk as a file system of the kernel, which hands it every call and remembers none of them.

use std::{
    ffi::OsStr,
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant, SystemTime},
};

use fuser::{
    BackgroundSession, Config, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation,
    INodeNo, LockOwner, MountOption, OpenFlags, RenameFlags, ReplyAttr, ReplyCreate, ReplyData,
    ReplyDirectory, ReplyEmpty, ReplyEntry, ReplyOpen, ReplyStatfs, ReplyWrite, Request, TimeOrNow,
    WriteFlags,
};
use rustix::{
    io::Errno,
    mount::{UnmountFlags, unmount},
};

use super::disk::{Body, Disk, Node, Setting};

/// What the file system is called in the list of mounts.
pub(crate) const NAME: &str = "tus-power-loss";

/// The kernel is to ask again every time.
const NEVER: Duration = Duration::ZERO;

/// The disk, shared between the kernel's calls and the test.
#[derive(Clone, Debug)]
pub(crate) struct Shared(Arc<Mutex<Disk>>);

impl Shared {
    pub(crate) fn new(disk: Disk) -> Self {
        Self(Arc::new(Mutex::new(disk)))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Disk> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A mounted disk; unmounted when dropped, whoever still uses it.
#[derive(Debug)]
pub(crate) struct Mounted {
    at: PathBuf,
    session: Option<BackgroundSession>,
}

impl Mounted {
    pub(crate) fn new(disk: &Shared, at: &Path) -> io::Result<Self> {
        let mut config = Config::default();
        config.mount_options = vec![MountOption::FSName(NAME.to_owned())];
        let session = fuser::spawn_mount(disk.clone(), at, &config)?;
        Ok(Self { at: at.to_owned(), session: Some(session) })
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        if let Err(error) = unmount(&self.at, UnmountFlags::DETACH) {
            eprintln!("{} cannot be unmounted: {error}", self.at.display());
        }
        let Some(session) = self.session.take() else { return };
        // It ends with the last open file, and there is none unless something went wrong already.
        let deadline = Instant::now() + Duration::from_secs(10);
        while !session.guard.is_finished() && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(1));
        }
        if !session.guard.is_finished() {
            eprintln!("somebody still has files open in {}", self.at.display());
            std::mem::forget(session);
        }
    }
}

fn errno(error: Errno) -> fuser::Errno {
    fuser::Errno::from_i32(error.raw_os_error())
}

fn text(name: &OsStr) -> Result<&str, Errno> {
    name.to_str().ok_or(Errno::INVAL)
}

fn attributes(request: &Request, number: u64, node: &Node) -> FileAttr {
    FileAttr {
        ino: INodeNo(number),
        size: node.size(),
        blocks: node.size().div_ceil(512),
        atime: node.modified,
        mtime: node.modified,
        ctime: node.modified,
        crtime: node.modified,
        kind: kind(node),
        perm: node.mode as u16 & 0o7777,
        nlink: node.links,
        uid: request.uid(),
        gid: request.gid(),
        rdev: 0,
        blksize: 4096,
        flags: 0,
    }
}

fn kind(node: &Node) -> FileType {
    if node.is_directory() { FileType::Directory } else { FileType::RegularFile }
}

/// Where a name stands in the list of its directory, the same whatever else comes and goes.
fn place(name: &str) -> u64 {
    let hash = name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    // Room for `.` and `..`, and no more bits than a signed offset has.
    (hash >> 2).max(3)
}

impl Shared {
    /// What a call that leads to a node answers.
    fn reach(
        &self,
        request: &Request,
        call: impl FnOnce(&mut Disk) -> Result<u64, Errno>,
    ) -> Result<FileAttr, fuser::Errno> {
        let mut disk = self.lock();
        let number = call(&mut disk).map_err(errno)?;
        disk.node(number).map(|node| attributes(request, number, node)).map_err(errno)
    }

    fn entry(
        &self,
        request: &Request,
        reply: ReplyEntry,
        call: impl FnOnce(&mut Disk) -> Result<u64, Errno>,
    ) {
        match self.reach(request, call) {
            Ok(attributes) => reply.entry(&NEVER, &attributes, Generation(0)),
            Err(error) => reply.error(error),
        }
    }

    fn empty(&self, reply: ReplyEmpty, call: impl FnOnce(&mut Disk) -> Result<(), Errno>) {
        match call(&mut self.lock()) {
            Ok(()) => reply.ok(),
            Err(error) => reply.error(errno(error)),
        }
    }
}

impl Filesystem for Shared {
    fn lookup(&self, request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        self.entry(request, reply, |disk| disk.find(parent.0, text(name)?));
    }

    fn getattr(&self, request: &Request, ino: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        match self.reach(request, |_| Ok(ino.0)) {
            Ok(attributes) => reply.attr(&NEVER, &attributes),
            Err(error) => reply.error(error),
        }
    }

    fn setattr(
        &self,
        request: &Request,
        ino: INodeNo,
        mode: Option<u32>,
        _: Option<u32>,
        _: Option<u32>,
        size: Option<u64>,
        _: Option<TimeOrNow>,
        mtime: Option<TimeOrNow>,
        _: Option<SystemTime>,
        _: Option<FileHandle>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<fuser::BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let modified = mtime.map(|time| match time {
            TimeOrNow::SpecificTime(time) => time,
            TimeOrNow::Now => SystemTime::now(),
        });
        let setting = Setting { mode, size, modified };
        match self.reach(request, |disk| disk.set(ino.0, setting).map(|()| ino.0)) {
            Ok(attributes) => reply.attr(&NEVER, &attributes),
            Err(error) => reply.error(error),
        }
    }

    fn mkdir(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        umask: u32,
        reply: ReplyEntry,
    ) {
        let body = Body::Directory(Default::default());
        self.entry(request, reply, |disk| disk.make(parent.0, text(name)?, mode & !umask, body));
    }

    fn create(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        umask: u32,
        _: i32,
        reply: ReplyCreate,
    ) {
        let body = Body::File(Vec::new());
        let made =
            self.reach(request, |disk| disk.make(parent.0, text(name)?, mode & !umask, body));
        match made {
            Ok(attributes) => reply.created(
                &NEVER,
                &attributes,
                Generation(0),
                FileHandle(0),
                FopenFlags::FOPEN_DIRECT_IO,
            ),
            Err(error) => reply.error(error),
        }
    }

    fn open(&self, _: &Request, ino: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        match self.lock().node(ino.0) {
            Ok(_) => reply.opened(FileHandle(0), FopenFlags::FOPEN_DIRECT_IO),
            Err(error) => reply.error(errno(error)),
        }
    }

    fn read(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        match self.lock().read(ino.0, offset, size as usize) {
            Ok(bytes) => reply.data(bytes),
            Err(error) => reply.error(errno(error)),
        }
    }

    fn write(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        data: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        match self.lock().write(ino.0, offset, data) {
            Ok(()) => reply.written(data.len() as u32),
            Err(error) => reply.error(errno(error)),
        }
    }

    fn flush(&self, _: &Request, _: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        // A close; it makes nothing durable.
        reply.ok();
    }

    fn fsync(&self, _: &Request, ino: INodeNo, _: FileHandle, datasync: bool, reply: ReplyEmpty) {
        self.empty(reply, |disk| disk.sync(ino.0, datasync));
    }

    fn fsyncdir(&self, _: &Request, ino: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        self.empty(reply, |disk| disk.sync(ino.0, false));
    }

    fn readdir(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        mut reply: ReplyDirectory,
    ) {
        let disk = self.lock();
        let listed = disk.list(ino.0).and_then(|names| {
            let names = names
                .into_iter()
                .map(|(name, node)| Ok((place(&name), name, node, kind(disk.node(node)?))));
            let dots = [".", ".."].into_iter().zip(1..);
            let dots = dots.map(|(name, at)| Ok((at, name.to_owned(), ino.0, FileType::Directory)));
            dots.chain(names).collect::<Result<Vec<_>, Errno>>()
        });
        match listed {
            Ok(mut names) => {
                names.sort_by_key(|(at, ..)| *at);
                for (at, name, node, kind) in names {
                    if at > offset && reply.add(INodeNo(node), at, kind, name) {
                        break;
                    }
                }
                reply.ok();
            }
            Err(error) => reply.error(errno(error)),
        }
    }

    fn link(
        &self,
        request: &Request,
        ino: INodeNo,
        newparent: INodeNo,
        newname: &OsStr,
        reply: ReplyEntry,
    ) {
        self.entry(request, reply, |disk| {
            disk.link(ino.0, newparent.0, text(newname)?).map(|()| ino.0)
        });
    }

    fn unlink(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        self.empty(reply, |disk| disk.unlink(parent.0, text(name)?));
    }

    fn rename(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        newparent: INodeNo,
        newname: &OsStr,
        flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        let replace = !flags.contains(RenameFlags::RENAME_NOREPLACE);
        self.empty(reply, |disk| {
            if !RenameFlags::RENAME_NOREPLACE.contains(flags) {
                return Err(Errno::INVAL);
            }
            disk.rename((parent.0, text(name)?), (newparent.0, text(newname)?), replace)
        });
    }

    fn statfs(&self, _: &Request, _: INodeNo, reply: ReplyStatfs) {
        // As large as one could wish.
        let (blocks, files) = (1 << 28, 1 << 20);
        reply.statfs(blocks, blocks, blocks, files, files, 4096, 255, 4096);
    }
}
