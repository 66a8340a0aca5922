//! A disk as a model: what of it is durable, and what a loss of power may leave of the rest.
//!
//! | | names | bytes and length of a file |
//! |---|---|---|
//! | strict | each change by itself, until its directory is synced | each sector as it was at any time since the file was synced; the length likewise |
//! | journal | in order, all before any sync of a file or directory | the same |
//!
//! A sector that never was durable may hold anything. Where a system promises more than this, so
//! much the better.

use std::{
    collections::{BTreeMap, HashMap},
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::Path,
    time::SystemTime,
};

use tus_fs::watch::{Node, Open};
use tus_tests::process::Random;

use crate::log::{At, Done};

/// What a disk writes at once or not at all.
const SECTOR: usize = 512;

/// What kind of file system it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Manner {
    Strict,
    Journal,
}

/// What is left of what is not durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Left {
    Nothing,
    Everything,
    /// Names without bytes.
    Names,
    /// Bytes without names.
    Bytes,
    /// Names and lengths, and zeros for bytes.
    Holes,
    /// Anything.
    Some,
}

pub(crate) const LEFT: [Left; 6] =
    [Left::Nothing, Left::Everything, Left::Names, Left::Bytes, Left::Holes, Left::Some];

/// What a file is to stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Sectors that are torn.
    Slot,
    /// Anything where nothing was durable.
    Synced,
    /// Zeros there, as nobody syncs it.
    Unsynced,
}

type File = usize;
type Dir = usize;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Child {
    File(File),
    Dir(Dir),
}

/// A file as it is on the disk for certain, and what was done since.
#[derive(Clone, Debug, Default)]
struct FileState {
    durable: Content,
    since: Vec<(usize, FileChange)>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Content {
    bytes: Vec<u8>,
    mode: u32,
    modified: Option<SystemTime>,
}

#[derive(Clone, Debug)]
enum FileChange {
    Write(u64, Vec<u8>),
    SetLen(u64),
    SetTime(SystemTime),
    SetMode(u32),
}

#[derive(Clone, Debug, Default)]
struct DirState {
    /// In the beginning.
    names: BTreeMap<String, Child>,
    mode: u32,
}

#[derive(Clone, Debug)]
struct NameChange {
    seq: usize,
    what: Naming,
    is_durable: bool,
    is_lost: bool,
}

#[derive(Clone, Debug)]
enum Naming {
    Set(Dir, String, Child),
    Unset(Dir, String),
    Rename((Dir, String), (Dir, String), Child),
}

impl Naming {
    /// The directory whose sync makes it durable.
    fn dir(&self) -> Dir {
        match self {
            Self::Set(dir, ..) | Self::Unset(dir, _) | Self::Rename(_, (dir, _), _) => *dir,
        }
    }
}

type Names = Vec<BTreeMap<String, Child>>;

/// A disk.
#[derive(Clone, Debug, Default)]
pub(crate) struct Disk {
    files: Vec<FileState>,
    dirs: Vec<DirState>,
    nodes: HashMap<Node, Child>,
    changes: Vec<NameChange>,
    /// With all changes.
    live: Names,
    /// Before this, all changes of names are in the journal.
    journaled: usize,
}

const HOME: Dir = 0;

impl Disk {
    /// What lies in a directory, all of it durable.
    pub(crate) fn of(home: &Path) -> Self {
        let mut disk = Self::default();
        disk.scan(home);
        disk
    }

    fn scan(&mut self, path: &Path) -> Dir {
        let found = fs::metadata(path).unwrap();
        let dir = self.dirs.len();
        self.dirs.push(DirState { names: BTreeMap::new(), mode: found.mode() & 0o777 });
        self.live.push(BTreeMap::new());
        self.nodes.insert(node(&found), Child::Dir(dir));
        for entry in fs::read_dir(path).unwrap() {
            let entry = entry.unwrap();
            let name = entry.file_name().into_string().unwrap();
            let found = entry.metadata().unwrap();
            let known = self.nodes.get(&node(&found)).copied();
            let child = match known.filter(|_| found.is_file()) {
                Some(child) => child,
                None if found.is_dir() => Child::Dir(self.scan(&entry.path())),
                None => {
                    let bytes = fs::read(entry.path()).unwrap();
                    let modified = Some(found.modified().unwrap());
                    let durable = Content { bytes, mode: found.mode() & 0o777, modified };
                    self.files.push(FileState { durable, since: Vec::new() });
                    let child = Child::File(self.files.len() - 1);
                    self.nodes.insert(node(&found), child);
                    child
                }
            };
            self.dirs[dir].names.insert(name.clone(), child);
            self.live[dir].insert(name, child);
        }
        dir
    }

    /// Does what was done.
    pub(crate) fn replay(&mut self, seq: usize, done: &Done) {
        match done {
            Done::Opened { at, node, how } => {
                let dir = self.dir(at.0);
                let there = self.live[dir].get(&at.1).copied();
                match (how, there) {
                    (Open::New, Some(_)) => panic!("{at:?} was there"),
                    (Open::New, None) => {
                        let durable = Content { mode: 0o600, ..Content::default() };
                        self.files.push(FileState { durable, since: Vec::new() });
                        let child = Child::File(self.files.len() - 1);
                        self.nodes.insert(*node, child);
                        self.name(seq, Naming::Set(dir, at.1.clone(), child));
                    }
                    (Open::Read | Open::Write, Some(child)) => {
                        self.nodes.insert(*node, child);
                    }
                    // Another thread removed it before this one could tell; reading changes nothing.
                    (Open::Read, None) => {}
                    (Open::Write, None) => panic!("{at:?} was not there"),
                }
            }
            Done::Entered { at, node } => {
                let above = if at.0 == Node::default() { HOME } else { self.dir(at.0) };
                let child = match at.1.as_str() {
                    "." => Child::Dir(above),
                    name => self.live[above][name],
                };
                self.nodes.insert(*node, child);
            }
            Done::MadeDir { at } => {
                let above = self.dir(at.0);
                self.dirs.push(DirState { names: BTreeMap::new(), mode: 0o700 });
                self.live.push(BTreeMap::new());
                let child = Child::Dir(self.dirs.len() - 1);
                self.name(seq, Naming::Set(above, at.1.clone(), child));
            }
            Done::Wrote { node, at, bytes } => {
                self.change(seq, *node, FileChange::Write(*at, bytes.clone()));
            }
            Done::SetLen { node, length } => self.change(seq, *node, FileChange::SetLen(*length)),
            Done::SetTime { node, to } => self.change(seq, *node, FileChange::SetTime(*to)),
            Done::SetMode { node, mode } => self.change(seq, *node, FileChange::SetMode(*mode)),
            Done::Linked { from, to } => {
                let child = self.live[self.dir(from.0)][&from.1];
                self.name(seq, Naming::Set(self.dir(to.0), to.1.clone(), child));
            }
            Done::Renamed { from, to } => {
                let (from, to) = (self.at(from), self.at(to));
                let child = self.live[from.0][&from.1];
                self.name(seq, Naming::Rename(from, to, child));
            }
            Done::Unlinked { at } => {
                let (dir, name) = self.at(at);
                self.name(seq, Naming::Unset(dir, name));
            }
            Done::Synced { node, all, modified, upto } => {
                let file = self.file(*node);
                self.files[file].sync(*all, *modified, *upto);
                if *all {
                    self.journaled = self.journaled.max(*upto);
                }
            }
            Done::SyncedDir { node, upto } => {
                let dir = self.dir(*node);
                for change in &mut self.changes {
                    let mine = change.seq < *upto && change.what.dir() == dir;
                    change.is_durable |= mine && !change.is_lost;
                }
                self.journaled = self.journaled.max(*upto);
            }
            Done::Lost { node, upto } => match self.nodes[node] {
                // What was dirty is clean now, and on no disk; only what is written again is not.
                Child::File(file) => self.files[file].lose(*upto),
                Child::Dir(dir) => {
                    for change in &mut self.changes {
                        let mine = change.seq < *upto && change.what.dir() == dir;
                        change.is_lost |= mine && !change.is_durable;
                    }
                }
            },
        }
    }

    fn name(&mut self, seq: usize, what: Naming) {
        apply(&mut self.live, &what);
        self.changes.push(NameChange { seq, what, is_durable: false, is_lost: false });
    }

    fn change(&mut self, seq: usize, node: Node, change: FileChange) {
        let file = self.file(node);
        self.files[file].since.push((seq, change));
    }

    fn file(&self, node: Node) -> File {
        match self.nodes[&node] {
            Child::File(file) => file,
            Child::Dir(_) => panic!("{node:?} is a directory"),
        }
    }

    fn dir(&self, node: Node) -> Dir {
        match self.nodes.get(&node) {
            Some(Child::Dir(dir)) => *dir,
            other => panic!("{node:?} is {other:?}"),
        }
    }

    fn at(&self, at: &At) -> (Dir, String) {
        (self.dir(at.0), at.1.clone())
    }

    /// Writes to an empty directory what a loss of power may leave.
    pub(crate) fn cut(
        &self,
        manner: Manner,
        left: Left,
        garbage: bool,
        random: &mut Random,
        to: &Path,
    ) {
        let names = self.names_left(manner, left, random);
        let mut made = HashMap::new();
        self.lay(HOME, &names, (left, garbage), random, &mut made, to);
    }

    fn names_left(&self, manner: Manner, left: Left, random: &mut Random) -> Names {
        let mut names: Names = self.dirs.iter().map(|dir| dir.names.clone()).collect();
        let end = self.changes.last().map_or(0, |change| change.seq + 1);
        // How far the journal is.
        let far = match left {
            Left::Nothing | Left::Bytes => self.journaled,
            Left::Everything | Left::Names | Left::Holes => end,
            Left::Some => {
                self.journaled
                    + random.below((end.max(self.journaled) - self.journaled) as u64 + 1) as usize
            }
        };
        for change in &self.changes {
            let is_left = change.is_durable
                || match (manner, left) {
                    (Manner::Journal, _) => change.seq < far,
                    (_, Left::Nothing | Left::Bytes) => false,
                    (_, Left::Everything | Left::Names | Left::Holes) => true,
                    (_, Left::Some) => random.below(2) == 0,
                };
            if is_left {
                apply(&mut names, &change.what);
            }
        }
        names
    }

    fn lay(
        &self,
        dir: Dir,
        names: &Names,
        left: (Left, bool),
        random: &mut Random,
        made: &mut HashMap<File, std::path::PathBuf>,
        to: &Path,
    ) {
        for (name, child) in &names[dir] {
            let path = to.join(name);
            match child {
                Child::Dir(dir) => {
                    fs::create_dir(&path).unwrap();
                    self.lay(*dir, names, left, random, made, &path);
                    let mode = fs::Permissions::from_mode(self.dirs[*dir].mode);
                    fs::set_permissions(&path, mode).unwrap();
                }
                Child::File(file) if made.contains_key(file) => {
                    fs::hard_link(&made[file], &path).unwrap();
                }
                Child::File(file) => {
                    let kind = match left.1 {
                        _ if name.ends_with(".slot") => Kind::Slot,
                        true => Kind::Synced,
                        false => Kind::Unsynced,
                    };
                    let content = self.files[*file].cut(left.0, kind, random);
                    fs::write(&path, &content.bytes).unwrap();
                    let opened = fs::File::options().write(true).open(&path).unwrap();
                    if let Some(modified) = content.modified {
                        opened.set_modified(modified).unwrap();
                    }
                    opened.set_permissions(fs::Permissions::from_mode(content.mode)).unwrap();
                    made.insert(*file, path);
                }
            }
        }
    }

    /// All names and bytes, as a program sees them that runs.
    pub(crate) fn seen(&self) -> BTreeMap<String, Vec<u8>> {
        let mut seen = BTreeMap::new();
        self.see(HOME, "", &mut seen);
        seen
    }

    fn see(&self, dir: Dir, prefix: &str, seen: &mut BTreeMap<String, Vec<u8>>) {
        for (name, child) in &self.live[dir] {
            let path = format!("{prefix}{name}");
            match child {
                Child::Dir(dir) => self.see(*dir, &format!("{path}/"), seen),
                Child::File(file) => {
                    let versions = self.files[*file].versions();
                    seen.insert(path, versions.last().unwrap().clone());
                }
            }
        }
    }
}

fn apply(names: &mut Names, what: &Naming) {
    match what {
        Naming::Set(dir, name, child) => {
            names[*dir].insert(name.clone(), *child);
        }
        Naming::Unset(dir, name) => {
            names[*dir].remove(name);
        }
        Naming::Rename(from, to, child) => {
            names[from.0].remove(&from.1);
            names[to.0].insert(to.1.clone(), *child);
        }
    }
}

fn node(found: &fs::Metadata) -> Node {
    Node { dev: found.dev(), ino: found.ino() }
}

impl FileState {
    /// The bytes after each change since the last sync.
    fn versions(&self) -> Vec<Vec<u8>> {
        let mut versions = vec![self.durable.bytes.clone()];
        for (_, change) in &self.since {
            let mut bytes = versions.last().unwrap().clone();
            match change {
                FileChange::Write(at, new) => {
                    let at = *at as usize;
                    let end = at + new.len();
                    bytes.resize(bytes.len().max(end), 0);
                    bytes[at..end].copy_from_slice(new);
                }
                FileChange::SetLen(length) => bytes.resize(*length as usize, 0),
                FileChange::SetTime(_) | FileChange::SetMode(_) => continue,
            }
            versions.push(bytes);
        }
        versions
    }

    fn sync(&mut self, all: bool, modified: SystemTime, upto: usize) {
        let later: Vec<_> = self.since.iter().filter(|(seq, _)| *seq >= upto).cloned().collect();
        self.since.retain(|(seq, _)| *seq < upto);
        let bytes = self.versions().pop().unwrap();
        let longer = bytes.len() != self.durable.bytes.len();
        self.durable.bytes = bytes;
        // The length of a file and its time lie in one place.
        if all || longer {
            self.durable.modified = Some(modified);
        }
        let mut rest = Vec::new();
        for (seq, change) in std::mem::take(&mut self.since) {
            match change {
                FileChange::SetMode(mode) if all => self.durable.mode = mode,
                FileChange::SetTime(to) if all => self.durable.modified = Some(to),
                FileChange::SetMode(_) | FileChange::SetTime(_) => rest.push((seq, change)),
                FileChange::Write(..) | FileChange::SetLen(_) => {}
            }
        }
        rest.extend(later);
        self.since = rest;
    }

    /// Forgets what a failed sync was to write.
    fn lose(&mut self, upto: usize) {
        // The length may have come through, with nothing but zeros behind it.
        let length = self.versions().last().unwrap().len();
        self.since.retain(|(seq, _)| *seq >= upto);
        self.durable.bytes.resize(length.max(self.durable.bytes.len()), 0);
    }

    fn cut(&self, left: Left, kind: Kind, random: &mut Random) -> Content {
        let versions = self.versions();
        let (old, new) = (&versions[0], versions.last().unwrap());
        let left = match left {
            Left::Some if random.below(4) == 0 => Left::Nothing,
            Left::Some if random.below(4) == 0 => Left::Everything,
            left => left,
        };
        let bytes = match left {
            Left::Nothing | Left::Names => old.clone(),
            Left::Everything | Left::Bytes => new.clone(),
            Left::Holes => {
                let mut bytes = old.clone();
                bytes.resize(new.len(), 0);
                bytes
            }
            Left::Some => some(&versions, kind, random),
        };
        let mut content = Content { bytes, ..self.durable.clone() };
        for (_, change) in &self.since {
            let comes = match left {
                Left::Nothing | Left::Names | Left::Holes => false,
                Left::Everything | Left::Bytes => true,
                Left::Some => random.below(2) == 0,
            };
            match change {
                FileChange::SetTime(to) if comes => content.modified = Some(*to),
                FileChange::SetMode(mode) if comes => content.mode = *mode,
                _ => {}
            }
        }
        content
    }
}

/// Each sector as it was at some time, and the length as it was at another.
fn some(versions: &[Vec<u8>], kind: Kind, random: &mut Random) -> Vec<u8> {
    let pick = |random: &mut Random| &versions[random.below(versions.len() as u64) as usize];
    let length = pick(random).len();
    let mut bytes = Vec::with_capacity(length);
    while bytes.len() < length {
        let at = bytes.len();
        let size = SECTOR.min(length - at);
        let sector = |version: &[u8]| {
            let end = (at + size).min(version.len());
            let mut sector = version.get(at..end).unwrap_or_default().to_vec();
            sector.resize(size, 0);
            sector
        };
        let mut one = sector(pick(random));
        let was_durable = at < versions[0].len();
        let is_new = versions.iter().any(|version| sector(version) != sector(&versions[0]));
        if is_new && !was_durable && kind != Kind::Unsynced && random.below(6) == 0 {
            one = (0..size).map(|_| random.draw().to_le_bytes()[3]).collect();
        } else if is_new && kind == Kind::Slot && random.below(4) == 0 {
            // Slots are to stand even a sector that is torn.
            let other = sector(pick(random));
            let torn = random.below(size as u64) as usize;
            one[torn..].copy_from_slice(&other[torn..]);
        }
        bytes.extend(one);
    }
    bytes
}
