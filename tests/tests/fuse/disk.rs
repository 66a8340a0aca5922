//! A disk that keeps what was synced, and of the rest only what the law of its mode lets it keep.
//!
//! Two states: what programs see, and what would be found after a loss of power. Between them lies
//! a log of the changes that no sync has made durable yet.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::SystemTime,
};

use rustix::io::Errno;
use tus_tests::process::Random;

/// The number of the root directory.
pub(crate) const ROOT: u64 = 1;

/// What a disk writes as a whole or not at all.
const SECTOR: usize = 512;

/// What of the unsynced a loss of power leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Law {
    /// Nothing: a name is durable by a sync of its directory, bytes by one of their file.
    Strict,
    /// Names, sizes and attributes have one journal that any sync commits, and that may be further
    /// on the disk than that, in order; bytes that no sync of their file has covered are zeros.
    Journal,
    /// Anything: each change of a name, each size, each attribute and each sector by itself.
    Torn,
}

impl Law {
    pub(crate) const ALL: [Self; 3] = [Self::Strict, Self::Journal, Self::Torn];
}

/// A file or directory.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) body: Body,
    pub(crate) mode: u32,
    pub(crate) modified: SystemTime,
    pub(crate) links: u32,
}

#[derive(Clone, Debug)]
pub(crate) enum Body {
    File(Vec<u8>),
    /// Names and the nodes they stand for.
    Directory(BTreeMap<String, u64>),
}

impl Node {
    fn new(body: Body, mode: u32) -> Self {
        Self { body, mode, modified: SystemTime::now(), links: 0 }
    }

    pub(crate) fn size(&self) -> u64 {
        match &self.body {
            Body::File(bytes) => bytes.len() as u64,
            Body::Directory(names) => names.len() as u64,
        }
    }

    pub(crate) fn is_directory(&self) -> bool {
        matches!(self.body, Body::Directory(_))
    }

    fn bytes(&self) -> Result<&Vec<u8>, Errno> {
        match &self.body {
            Body::File(bytes) => Ok(bytes),
            Body::Directory(_) => Err(Errno::ISDIR),
        }
    }

    fn bytes_mut(&mut self) -> Result<&mut Vec<u8>, Errno> {
        match &mut self.body {
            Body::File(bytes) => Ok(bytes),
            Body::Directory(_) => Err(Errno::ISDIR),
        }
    }

    fn names(&self) -> Result<&BTreeMap<String, u64>, Errno> {
        match &self.body {
            Body::Directory(names) => Ok(names),
            Body::File(_) => Err(Errno::NOTDIR),
        }
    }

    fn put(&mut self, name: &str, node: Option<u64>) {
        if let Body::Directory(names) = &mut self.body {
            match node {
                Some(node) => names.insert(name.to_owned(), node),
                None => names.remove(name),
            };
        }
    }
}

/// A name in a directory, and what it stands for from now on.
type Naming = (u64, String, Option<u64>);

/// A change that is not durable yet.
#[derive(Clone, Debug)]
enum Change {
    /// Names that change together.
    Names(Vec<Naming>),
    /// What is known of a node beside its bytes.
    Attributes { node: u64, size: usize, mode: u32, modified: SystemTime },
}

/// What is changed of a node.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Setting {
    pub(crate) mode: Option<u32>,
    pub(crate) size: Option<u64>,
    pub(crate) modified: Option<SystemTime>,
}

#[derive(Debug)]
pub(crate) struct Disk {
    law: Law,
    seen: BTreeMap<u64, Node>,
    durable: BTreeMap<u64, Node>,
    log: Vec<Change>,
    next: u64,
    /// After so many changes and syncs the disk goes off.
    fuse: Option<u64>,
    off: Arc<AtomicBool>,
}

impl Disk {
    /// An empty one. `off` says from now on whether it is off.
    pub(crate) fn new(law: Law, off: Arc<AtomicBool>) -> Self {
        let root = Node::new(Body::Directory(BTreeMap::new()), 0o700);
        let seen = BTreeMap::from([(ROOT, root)]);
        Self { law, durable: seen.clone(), seen, log: Vec::new(), next: ROOT + 1, fuse: None, off }
    }

    /// Has it go off by itself after so many changes and syncs.
    pub(crate) fn arm(&mut self, steps: u64) {
        self.fuse = Some(steps);
    }

    /// From now on every call fails and changes nothing.
    pub(crate) fn switch_off(&mut self) {
        self.off.store(true, Ordering::SeqCst);
    }

    pub(crate) fn is_off(&self) -> bool {
        self.off.load(Ordering::SeqCst)
    }

    /// Goes on where it was switched off, as after the end of a process.
    pub(crate) fn switch_on(&mut self) {
        self.fuse = None;
        self.off.store(false, Ordering::SeqCst);
    }

    fn look(&self) -> Result<(), Errno> {
        if self.is_off() { Err(Errno::IO) } else { Ok(()) }
    }

    /// Counts a change or a sync that is about to be made.
    fn step(&mut self) -> Result<(), Errno> {
        self.look()?;
        match &mut self.fuse {
            Some(0) => self.switch_off(),
            Some(steps) => *steps -= 1,
            None => {}
        }
        self.look()
    }

    pub(crate) fn node(&self, node: u64) -> Result<&Node, Errno> {
        self.look()?;
        self.seen.get(&node).ok_or(Errno::NOENT)
    }

    fn node_mut(&mut self, node: u64) -> Result<&mut Node, Errno> {
        self.seen.get_mut(&node).ok_or(Errno::NOENT)
    }

    pub(crate) fn find(&self, directory: u64, name: &str) -> Result<u64, Errno> {
        self.node(directory)?.names()?.get(name).copied().ok_or(Errno::NOENT)
    }

    /// What a directory holds: names and nodes.
    pub(crate) fn list(&self, directory: u64) -> Result<Vec<(String, u64)>, Errno> {
        let names = self.node(directory)?.names()?;
        Ok(names.iter().map(|(name, node)| (name.clone(), *node)).collect())
    }

    pub(crate) fn read(&self, node: u64, at: u64, size: usize) -> Result<&[u8], Errno> {
        let bytes = self.node(node)?.bytes()?;
        let start = bytes.len().min(at as usize);
        Ok(&bytes[start..bytes.len().min(start + size)])
    }

    /// Makes a file or a directory under a name that must be free.
    pub(crate) fn make(
        &mut self,
        directory: u64,
        name: &str,
        mode: u32,
        body: Body,
    ) -> Result<u64, Errno> {
        self.free(directory, name)?;
        self.step()?;
        let number = self.next;
        self.next += 1;
        let node = Node::new(body, mode);
        // Without a name it is not there, however durable it is.
        self.durable.insert(number, node.clone());
        self.seen.insert(number, node);
        self.name(vec![(directory, name.to_owned(), Some(number))]);
        Ok(number)
    }

    fn free(&self, directory: u64, name: &str) -> Result<(), Errno> {
        match self.find(directory, name) {
            Err(Errno::NOENT) => Ok(()),
            Ok(_) => Err(Errno::EXIST),
            Err(error) => Err(error),
        }
    }

    /// Changes names, all at once.
    fn name(&mut self, changes: Vec<Naming>) {
        for (directory, name, new) in &changes {
            let old = self.find(*directory, name).ok();
            let directory = self.seen.get_mut(directory).expect("a directory");
            directory.put(name, *new);
            for (node, up) in [(old, false), (*new, true)] {
                if let Some(node) = node.and_then(|node| self.seen.get_mut(&node)) {
                    node.links = if up { node.links + 1 } else { node.links - 1 };
                }
            }
        }
        self.log.push(Change::Names(changes));
    }

    pub(crate) fn link(&mut self, node: u64, directory: u64, name: &str) -> Result<(), Errno> {
        self.node(node)?.bytes().map_err(|_| Errno::PERM)?;
        self.free(directory, name)?;
        self.step()?;
        self.name(vec![(directory, name.to_owned(), Some(node))]);
        Ok(())
    }

    pub(crate) fn unlink(&mut self, directory: u64, name: &str) -> Result<(), Errno> {
        let node = self.find(directory, name)?;
        self.node(node)?.bytes()?;
        self.step()?;
        self.name(vec![(directory, name.to_owned(), None)]);
        Ok(())
    }

    /// Renames a file, over what is there unless that is forbidden.
    pub(crate) fn rename(
        &mut self,
        (directory, name): (u64, &str),
        (to, new): (u64, &str),
        replace: bool,
    ) -> Result<(), Errno> {
        let node = self.find(directory, name)?;
        self.node(node)?.bytes().map_err(|_| Errno::NOSYS)?;
        match self.find(to, new) {
            Ok(_) if !replace => return Err(Errno::EXIST),
            // Two names of one file: the law is that nothing happens.
            Ok(found) if found == node => return Ok(()),
            Ok(found) => drop(self.node(found)?.bytes()?),
            Err(Errno::NOENT) => {}
            Err(error) => return Err(error),
        }
        self.step()?;
        self.name(vec![(to, new.to_owned(), Some(node)), (directory, name.to_owned(), None)]);
        Ok(())
    }

    pub(crate) fn write(&mut self, node: u64, at: u64, bytes: &[u8]) -> Result<(), Errno> {
        self.node(node)?.bytes()?;
        self.step()?;
        let found = self.node_mut(node)?;
        let file = found.bytes_mut()?;
        let end = at as usize + bytes.len();
        if file.len() < end {
            file.resize(end, 0);
        }
        file[at as usize..end].copy_from_slice(bytes);
        found.modified = SystemTime::now();
        self.note(node);
        Ok(())
    }

    pub(crate) fn set(&mut self, node: u64, setting: Setting) -> Result<(), Errno> {
        self.node(node)?;
        self.step()?;
        let found = self.node_mut(node)?;
        if let Some(size) = setting.size {
            found.bytes_mut()?.resize(size as usize, 0);
            found.modified = SystemTime::now();
        }
        if let Some(mode) = setting.mode {
            found.mode = mode & 0o7777;
        }
        if let Some(modified) = setting.modified {
            found.modified = modified;
        }
        self.note(node);
        Ok(())
    }

    /// Logs what a node has become.
    fn note(&mut self, node: u64) {
        let found = &self.seen[&node];
        let size = found.bytes().map_or(0, Vec::len);
        let (mode, modified) = (found.mode, found.modified);
        if self.law != Law::Journal {
            // Where order means nothing, the last is enough.
            self.log.retain(|old| !matches!(old, Change::Attributes { node: n, .. } if *n == node));
        }
        self.log.push(Change::Attributes { node, size, mode, modified });
    }

    /// Makes the bytes of a file durable (and, unless they are all that counts, its attributes), or
    /// the names in a directory.
    pub(crate) fn sync(&mut self, node: u64, bytes_only: bool) -> Result<(), Errno> {
        self.node(node)?;
        self.step()?;
        let log = std::mem::take(&mut self.log);
        for change in log {
            let rest = match self.law {
                Law::Journal => {
                    self.keep(&change);
                    None
                }
                Law::Strict | Law::Torn => self.keep_of(node, change, bytes_only),
            };
            self.log.extend(rest);
        }
        if let (Body::File(bytes), Some(kept)) =
            (&self.seen[&node].body, self.durable.get_mut(&node))
        {
            kept.body = Body::File(bytes.clone());
        }
        Ok(())
    }

    /// Makes a change durable.
    fn keep(&mut self, change: &Change) {
        match change {
            Change::Names(names) => {
                for (directory, name, node) in names {
                    if let Some(directory) = self.durable.get_mut(directory) {
                        directory.put(name, *node);
                    }
                }
            }
            Change::Attributes { node, size, mode, modified } => {
                if let Some(node) = self.durable.get_mut(node) {
                    (node.mode, node.modified) = (*mode, *modified);
                    if let Body::File(bytes) = &mut node.body {
                        bytes.resize(*size, 0);
                    }
                }
            }
        }
    }

    /// Makes what a change does to one node durable, and returns the rest of it.
    fn keep_of(&mut self, synced: u64, change: Change, bytes_only: bool) -> Option<Change> {
        match change {
            Change::Names(names) => {
                let (kept, rest): (Vec<_>, _) = names.into_iter().partition(|(d, ..)| *d == synced);
                self.keep(&Change::Names(kept));
                (!rest.is_empty()).then_some(Change::Names(rest))
            }
            Change::Attributes { node, .. } if node == synced && !bytes_only => {
                self.keep(&change);
                None
            }
            Change::Attributes { .. } => Some(change),
        }
    }

    /// Loses power: only what the law lets survive is there afterwards, under another law perhaps.
    ///
    /// Says whether anything was lost.
    pub(crate) fn lose_power(&mut self, random: &mut Random, next: Law) -> bool {
        assert!(self.is_off(), "somebody may still write");
        let log = std::mem::take(&mut self.log);
        let dirty = !log.is_empty();
        match self.law {
            Law::Strict => {}
            Law::Journal => {
                let whole = log.len() as u64;
                let kept = [0, whole, random.below(whole + 1)][random.below(3) as usize];
                log[..kept as usize].iter().for_each(|change| self.keep(change));
            }
            Law::Torn => self.tear(&log, random),
        }
        self.law = next;
        self.restart();
        dirty
    }

    /// Keeps some of everything.
    fn tear(&mut self, log: &[Change], random: &mut Random) {
        // Of one loss nearly everything survives, of another nearly nothing.
        let odds = 1 + random.below(9);
        let mut keeps = || random.below(10) < odds;
        let mut touched = BTreeSet::new();
        for change in log {
            match change {
                Change::Names(_) if keeps() => self.keep(change),
                Change::Names(_) => {}
                Change::Attributes { node, mode, modified, .. } => {
                    touched.insert(*node);
                    if let Some(node) = self.durable.get_mut(node).filter(|_| keeps()) {
                        (node.mode, node.modified) = (*mode, *modified);
                    }
                }
            }
        }
        for node in touched {
            let (Some(seen), Some(kept)) = (self.seen.get(&node), self.durable.get_mut(&node))
            else {
                continue;
            };
            let (Ok(seen), Ok(old)) = (seen.bytes(), kept.bytes_mut()) else { continue };
            let (least, whole) = (seen.len().min(old.len()), seen.len().max(old.len()));
            let size = match random.below(3) {
                0 => old.len(),
                1 => seen.len(),
                _ => least + random.below((whole - least) as u64 + 1) as usize,
            };
            let mut torn = old.clone();
            torn.resize(whole, 0);
            for (at, sector) in torn.chunks_mut(SECTOR).enumerate() {
                if random.below(10) < odds {
                    let start = seen.len().min(at * SECTOR);
                    let new = &seen[start..seen.len().min(start + sector.len())];
                    sector.fill(0);
                    sector[..new.len()].copy_from_slice(new);
                }
            }
            torn.truncate(size);
            *old = torn;
        }
    }

    /// Starts with what is durable and has a name.
    fn restart(&mut self) {
        let mut named = BTreeMap::from([(ROOT, 0_u32)]);
        let mut directories = vec![ROOT];
        while let Some(directory) = directories.pop() {
            for node in self.durable[&directory].names().into_iter().flat_map(BTreeMap::values) {
                let links = named.entry(*node).or_default();
                *links += 1;
                if *links == 1 && self.durable[node].is_directory() {
                    directories.push(*node);
                }
            }
        }
        self.durable.retain(|node, _| named.contains_key(node));
        for (node, links) in named {
            self.durable.get_mut(&node).expect("a named node").links = links;
        }
        self.seen = self.durable.clone();
    }
}
