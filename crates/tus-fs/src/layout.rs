//! What is called how in the upload directory, and what a locator says.
//!
//! ```text
//! .lock        held for the life of the store
//! <id>.bin     the bytes
//! <id>.slot    the last sync points (durability `power`)
//! <id>.rec     the record
//! <id>.place   where a finish that was begun puts the bytes
//! ```
//!
//! More names exist only while something is being made: `<id>.rec.tmp` here, `.tus-<id>.part` in the
//! destination, and `.tus-probe` in both when a store is opened.

use std::{fs::Metadata, io, os::unix::fs::MetadataExt};

use rustix::io::Errno;
use tus_core::{
    Locator, UploadId,
    store::{StoreError, StoreErrorKind},
};

pub(crate) const LOCK: &str = ".lock";
pub(crate) const PROBE: &str = ".tus-probe";
pub(crate) const RECORD_SUFFIX: &str = ".rec";

pub(crate) fn data(id: &UploadId) -> String {
    format!("{id}.bin")
}

pub(crate) fn slots(id: &UploadId) -> String {
    format!("{id}.slot")
}

pub(crate) fn record(id: &UploadId) -> String {
    format!("{id}{RECORD_SUFFIX}")
}

pub(crate) fn record_temp(id: &UploadId) -> String {
    format!("{id}{RECORD_SUFFIX}.tmp")
}

pub(crate) fn place(id: &UploadId) -> String {
    format!("{id}.place")
}

/// The upload that a name in the upload directory belongs to, while it is open.
pub(crate) fn upload_of(name: &str) -> Option<UploadId> {
    let suffixes = [".bin", ".slot", ".rec.tmp"];
    suffixes.into_iter().find_map(|suffix| name.strip_suffix(suffix)?.parse().ok())
}

/// Placed names never begin with a dot, so that this one is always ours.
pub(crate) fn part(id: &UploadId) -> String {
    format!(".tus-{id}.part")
}

/// What a locator of this store says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// `upload:<id>`: in the upload directory.
    Upload(UploadId),
    /// `placed:<stamp>:<path>`: in the destination.
    Placed(Placed),
}

/// A file in the destination, and how to know it again.
///
/// The name alone does not say whose bytes they are: once an application has moved a file away,
/// or a newer upload has replaced it, the name belongs to somebody else, who must neither be read
/// nor be deleted through an older upload's URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Placed {
    path: String,
    stamp: Stamp,
}

/// Length and time of the last write; both survive a move of the directory to another disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    length: u64,
    seconds: i64,
    nanos: i64,
}

impl Stamp {
    pub(crate) fn of(found: &Metadata) -> Self {
        Self { length: found.len(), seconds: found.mtime(), nanos: found.mtime_nsec() }
    }

    /// Whether this file is the stamped one. Some copying tools drop fractions of a second.
    fn matches(self, found: &Metadata) -> bool {
        let found = Self::of(found);
        self == found || (found.nanos == 0 && Self { nanos: 0, ..self } == found)
    }
}

impl Placed {
    pub(crate) fn new(path: &str, found: &Metadata) -> Self {
        Self { path: path.to_owned(), stamp: Stamp::of(found) }
    }

    /// The path below the destination; it cannot lead out of it.
    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    /// Whether what was found under the path is what was placed there.
    pub(crate) fn is(&self, found: &Metadata) -> bool {
        found.is_file() && self.stamp.matches(found)
    }
}

/// The folders and the name of a path below the destination.
pub(crate) fn split(path: &str) -> (Vec<String>, &str) {
    match path.rsplit_once('/') {
        Some((folders, name)) => (folders.split('/').map(str::to_owned).collect(), name),
        None => (Vec::new(), path),
    }
}

/// Whether a path is one that this store makes: relative, nothing hidden, nothing leading upward.
pub(crate) fn is_placed_path(path: &str) -> bool {
    path.split('/').all(|segment| {
        !segment.is_empty() && !segment.starts_with('.') && !segment.contains(['\\', '\0'])
    })
}

impl Place {
    /// Reads a locator; `None` is one that this store never made.
    pub(crate) fn parse(at: &Locator) -> Option<Self> {
        let text = at.as_str();
        if let Some(id) = text.strip_prefix("upload:") {
            return id.parse().ok().map(Self::Upload);
        }
        let (stamp, path) = text.strip_prefix("placed:")?.split_once(':')?;
        let mut numbers = stamp.split('.');
        let stamp = Stamp {
            length: numbers.next()?.parse().ok()?,
            seconds: numbers.next()?.parse().ok()?,
            nanos: numbers.next()?.parse().ok()?,
        };
        let sound = numbers.next().is_none() && is_placed_path(path);
        sound.then(|| Self::Placed(Placed { path: path.to_owned(), stamp }))
    }

    pub(crate) fn locator(&self) -> Locator {
        match self {
            Self::Upload(id) => Locator::new(format!("upload:{id}")),
            Self::Placed(Placed { path, stamp: Stamp { length, seconds, nanos } }) => {
                Locator::new(format!("placed:{length}.{seconds}.{nanos}:{path}"))
            }
        }
    }
}

/// Adds to the system's word what was being done to which file.
pub(crate) trait During<T> {
    fn during(self, action: &'static str, name: &str) -> Result<T, StoreError>;
}

impl<T, E: Into<io::Error>> During<T> for Result<T, E> {
    fn during(self, action: &'static str, name: &str) -> Result<T, StoreError> {
        self.map_err(|error| {
            let source = error.into();
            let kind = match Errno::from_io_error(&source) {
                // Opened with O_NOFOLLOW: somebody has put a link where a file of ours was.
                Some(Errno::LOOP) => StoreErrorKind::Corrupt,
                // It passes when others let go of what they hold.
                Some(Errno::MFILE | Errno::NFILE | Errno::NOMEM | Errno::AGAIN | Errno::BUSY) => {
                    StoreErrorKind::Unavailable
                }
                _ if source.kind() == io::ErrorKind::InvalidData => StoreErrorKind::Corrupt,
                _ => StoreError::from(io::Error::from(source.kind())).kind(),
            };
            StoreError::new(kind, Failed { action, name: name.to_owned(), source })
        })
    }
}

#[derive(Debug, thiserror::Error)]
#[error("cannot {action} {name}: {source}")]
struct Failed {
    action: &'static str,
    name: String,
    source: io::Error,
}

pub(crate) fn not_found(at: &Locator) -> StoreError {
    StoreError::new(StoreErrorKind::NotFound, format!("{:?} is not in this store", at.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locators_come_back_as_they_were_made() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("f");
        std::fs::write(&file, "abc").unwrap();
        let found = std::fs::metadata(&file).unwrap();
        for path in ["a.txt", "2026/03/ü b.tar.gz", "a:b"] {
            let place = Place::Placed(Placed::new(path, &found));
            assert_eq!(Place::parse(&place.locator()), Some(place));
        }
        let place = Place::Upload("A-b_9".parse().unwrap());
        assert_eq!(place.locator().as_str(), "upload:A-b_9");
        assert_eq!(Place::parse(&place.locator()), Some(place));
    }

    #[test]
    fn a_locator_that_leads_out_of_the_destination_is_none() {
        let bad = [
            "",
            "upload",
            "upload:",
            "upload:../x",
            "upload:a/b",
            "placed:",
            "placed:a",
            "placed:1.2.3",
            "placed:1.2.3:",
            "placed:1.2.3:/etc/passwd",
            "placed:1.2.3:../x",
            "placed:1.2.3:a/../x",
            "placed:1.2.3:a//b",
            "placed:1.2.3:a/",
            "placed:1.2.3:.hidden",
            "placed:1.2.3:./a",
            "placed:1.2.3:a/.tus-x.part",
            "placed:1.2.3:a\\b",
            "placed:1.2.3:a\0",
            "placed:1.2:a",
            "placed:1.2.3.4:a",
            "placed:x.2.3:a",
            "memory:a",
            "/etc/passwd",
        ];
        for text in bad {
            assert_eq!(Place::parse(&Locator::new(text)), None, "{text:?}");
        }
    }

    #[test]
    fn a_stamp_knows_another_file_of_the_same_name() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        let file = std::fs::File::create(&path).unwrap();
        let at = std::time::UNIX_EPOCH + std::time::Duration::new(1_000, 5_000_000);
        let stamped = |length: u64, at| {
            file.set_len(length).unwrap();
            file.set_modified(at).unwrap();
            file.metadata().unwrap()
        };
        let placed = Placed::new("f", &stamped(3, at));
        assert!(placed.is(&stamped(3, at)));
        let whole_second = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_000);
        assert!(placed.is(&stamped(3, whole_second)));
        assert!(!placed.is(&stamped(4, at)));
        assert!(!placed.is(&stamped(3, at + std::time::Duration::from_millis(1))));
        assert!(!placed.is(&std::fs::metadata(dir.path()).unwrap()));
    }
}
