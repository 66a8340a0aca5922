//! An open file.

use std::{
    fs::{self, Metadata, Permissions, TryLockError},
    io,
    os::unix::fs::{FileExt, MetadataExt, PermissionsExt},
    time::SystemTime,
};

use super::{
    Tap,
    watch::{Act, Node},
};

/// What is copied at a time where the system does not do it.
const PIECE: u64 = 256 * 1024;

/// Most files that are read as a whole are smaller.
const SMALL: usize = 4096;

/// An open file: read, written and synced at explicit offsets.
#[derive(Debug)]
pub(crate) struct File {
    file: fs::File,
    tap: Tap,
}

impl File {
    pub(super) fn new(file: fs::File, tap: Tap) -> Self {
        Self { file, tap }
    }

    pub(crate) fn metadata(&self) -> io::Result<Metadata> {
        self.tap.see(|| Act::Stat { file: self.tap.held() }, || self.file.metadata())
    }

    /// Which file it is.
    pub(crate) fn node(&self) -> io::Result<Node> {
        self.metadata().map(|found| Node { dev: found.dev(), ino: found.ino() })
    }

    /// Reads as much as there is and fits, and says how much that was.
    fn read_at(&self, buffer: &mut [u8], at: u64) -> io::Result<usize> {
        let length = buffer.len();
        let act = || Act::Read { file: self.tap.held(), at, length };
        self.tap.see_count(act, |most| {
            let (part, _) = buffer.split_at_mut(most.min(length));
            self.file.read_at(part, at)
        })
    }

    pub(crate) fn read_exact_at(&self, mut buffer: &mut [u8], mut at: u64) -> io::Result<()> {
        while !buffer.is_empty() {
            let count = self.read_at(buffer, at)?;
            if count == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            buffer = buffer.split_at_mut(count).1;
            at += count as u64;
        }
        Ok(())
    }

    /// Reads from the beginning to the end, but at most so many bytes.
    pub(crate) fn read_all(&self, most: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; most.min(SMALL)];
        let mut filled = 0;
        loop {
            if filled == bytes.len() {
                if filled == most {
                    return Ok(bytes);
                }
                bytes.resize(most.min(filled * 2), 0);
            }
            let (_, rest) = bytes.split_at_mut(filled);
            let count = self.read_at(rest, filled as u64)?;
            if count == 0 {
                bytes.truncate(filled);
                return Ok(bytes);
            }
            filled += count;
        }
    }

    pub(crate) fn write_all_at(&self, mut bytes: &[u8], mut at: u64) -> io::Result<()> {
        while !bytes.is_empty() {
            let act = || Act::Write { file: self.tap.held(), at, bytes, copied: false };
            let count = self.tap.see_count(act, |most| {
                let (part, _) = bytes.split_at(most.min(bytes.len()));
                self.file.write_at(part, at)
            })?;
            if count == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            bytes = bytes.split_at(count).1;
            at += count as u64;
        }
        Ok(())
    }

    pub(crate) fn set_len(&self, length: u64) -> io::Result<()> {
        let act = || Act::SetLen { file: self.tap.held(), length };
        self.tap.see(act, || self.file.set_len(length))
    }

    /// Makes the bytes and the length durable.
    pub(crate) fn sync_data(&self) -> io::Result<()> {
        let act = || Act::Sync { file: self.tap.held(), all: false };
        self.tap.see_sync(act, &self.file, fs::File::sync_data)
    }

    /// Makes the bytes, the length, the mode and the times durable.
    pub(crate) fn sync_all(&self) -> io::Result<()> {
        let act = || Act::Sync { file: self.tap.held(), all: true };
        self.tap.see_sync(act, &self.file, fs::File::sync_all)
    }

    pub(crate) fn set_modified(&self, to: SystemTime) -> io::Result<()> {
        let act = || Act::SetTime { file: self.tap.held(), to };
        self.tap.see(act, || self.file.set_modified(to))
    }

    pub(crate) fn set_mode(&self, mode: u32) -> io::Result<()> {
        let act = || Act::SetMode { file: self.tap.held(), mode };
        self.tap.see(act, || self.file.set_permissions(Permissions::from_mode(mode)))
    }

    /// Takes the kernel's lock, which ends with the descriptor.
    ///
    /// Says whether it was free.
    pub(crate) fn try_lock(&self) -> io::Result<bool> {
        match self.file.try_lock() {
            Ok(()) => Ok(true),
            Err(TryLockError::WouldBlock) => Ok(false),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    /// Copies the first `length` bytes of another file to `at`, and says how many there were.
    ///
    /// The system does it where it can, which on some file systems takes no room.
    pub(crate) fn copy_from(&self, source: &Self, length: u64, at: u64) -> io::Result<u64> {
        let mut done = 0;
        let mut by_system = cfg!(any(target_os = "linux", target_os = "android"));
        let mut buffer = Vec::new();
        while done < length {
            let rest = length - done;
            // A watcher is shown what is copied; nobody else needs it in memory.
            let bytes = if by_system && !self.tap.is_watched() {
                &[][..]
            } else {
                buffer.resize(rest.min(PIECE) as usize, 0);
                let count = source.read_at(&mut buffer, done)?;
                buffer.get(..count).unwrap_or_default()
            };
            if by_system {
                match self.copy_by_system(source, done, at + done, rest, bytes) {
                    Ok(0) => {}
                    Ok(count) => {
                        done += count as u64;
                        continue;
                    }
                    Err(error) if is_impossible(&error) => {}
                    Err(error) => return Err(error),
                }
                // It may also say 0 where it could not; who reads sees what is there.
                by_system = false;
                continue;
            }
            if bytes.is_empty() {
                break;
            }
            self.write_all_at(bytes, at + done)?;
            done += bytes.len() as u64;
        }
        Ok(done)
    }

    #[cfg(any(target_os = "linux", target_os = "android"))]
    fn copy_by_system(
        &self,
        source: &Self,
        from: u64,
        at: u64,
        rest: u64,
        bytes: &[u8],
    ) -> io::Result<usize> {
        // As much as one call may take; a watcher is shown less at a time.
        let want = usize::try_from(rest.min(1 << 30)).unwrap_or(usize::MAX);
        let want = if self.tap.is_watched() { bytes.len() } else { want };
        let act = || Act::Write { file: self.tap.held(), at, bytes, copied: true };
        self.tap.see_count(act, |most| {
            let (mut from, mut at) = (from, at);
            let (to, want) = (Some(&mut at), want.min(most));
            Ok(rustix::fs::copy_file_range(&source.file, Some(&mut from), &self.file, to, want)?)
        })
    }

    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    fn copy_by_system(&self, _: &Self, _: u64, _: u64, _: u64, _: &[u8]) -> io::Result<usize> {
        Ok(0)
    }
}

/// Whether the system cannot copy between these files, or not at all.
fn is_impossible(error: &io::Error) -> bool {
    use rustix::io::Errno;
    matches!(
        Errno::from_io_error(error),
        Some(
            Errno::XDEV
                | Errno::NOSYS
                | Errno::INVAL
                | Errno::OPNOTSUPP
                | Errno::PERM
                | Errno::OVERFLOW
        )
    )
}

#[cfg(test)]
impl From<fs::File> for File {
    fn from(file: fs::File) -> Self {
        Self::new(file, Tap::default())
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
