//! Room that uploads leave to others.

use tus_core::store::{StoreError, StoreErrorKind};

use crate::{Inner, disk::Room, layout::During};

/// How much of a file system is kept free of new uploads.
///
/// An upload is refused at its creation if its declared length would not leave the reserve, or, if
/// no length is declared, if less than the reserve is left already. Bytes of uploads that exist may
/// use it up: it is there so that they can be finished, records be written and uploads be removed
/// on a disk that is all but full.
///
/// What counts is what a user without privileges may take now: bytes that other uploads have
/// declared and not sent yet are not set aside for them. On a file system that does not say how
/// large it is, nothing is refused.
///
/// # What an upload needs
///
/// - Its length once, on the file system of the upload directory. A length that is declared later
///   is not checked; bytes for which there is no room are refused when they come.
/// - If the destination is on another file system, its length there too, as a finish is a copy
///   then: both are checked. On one file system a finish is a link and needs no room. Two mounts of
///   one file system cannot be linked across; a finish copies there within one file system, which
///   needs the length a second time, and is not checked.
/// - A concatenation is an upload of its own, as long as its parts together, beside the parts,
///   which stay as long as they do otherwise. (The copy shares their blocks where the file system
///   can do that.) It is checked with that length when it is created, or, if that is not known yet,
///   as an upload without one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reserve {
    /// Nothing is kept free.
    None,
    /// So many bytes.
    Bytes(u64),
    /// A share of the file system.
    Share {
        /// In hundredths of it.
        percent: u8,
        /// But never more than so many bytes.
        at_most: u64,
    },
}

impl Default for Reserve {
    /// 5 % of the file system, at most 1 GiB.
    fn default() -> Self {
        Self::Share { percent: 5, at_most: 1 << 30 }
    }
}

impl Reserve {
    /// How many bytes are kept free of a file system of this size.
    fn of(self, total: u64) -> u64 {
        match self {
            Self::None => 0,
            Self::Bytes(bytes) => bytes,
            // First divided, so that no size is too large; what is lost are bytes.
            Self::Share { percent, at_most } => {
                (total / 100).saturating_mul(u64::from(percent)).min(at_most)
            }
        }
    }

    /// Whether so many more bytes leave the reserve.
    fn is_left(self, room: Room, length: u64) -> bool {
        let left = room.free.checked_sub(length);
        left.is_some_and(|left| left >= self.of(room.total))
    }
}

impl Inner {
    /// Refuses an upload that would not leave the reserve.
    ///
    /// One that is to be placed needs room where it is going too, if that is on another file
    /// system: a finish is a copy then.
    pub(crate) fn refuse_full(&self, length: u64, is_placed: bool) -> Result<(), StoreError> {
        if self.reserve == Reserve::None {
            return Ok(());
        }
        let to = self.destination.as_ref().filter(|_| is_placed);
        let to = to.map(|to| (&to.dir, "the destination"));
        for (dir, name) in [(&self.dir, "the upload directory")].into_iter().chain(to) {
            let room = dir.room().during("ask for the room of", name)?;
            if room.total > 0 && !self.reserve.is_left(room, length) {
                let (free, reserve) = (room.free, self.reserve.of(room.total));
                let text = format!(
                    "{length} bytes are wanted of the {free} that are free for {name}, \
                     of which {reserve} are kept (--disk-reserve)"
                );
                return Err(StoreError::new(StoreErrorKind::Full, text));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;

    #[test]
    fn the_reserve_is_a_share_up_to_its_bound() {
        let reserve = Reserve::default();
        assert_eq!(reserve.of(0), 0);
        assert_eq!(reserve.of(10 * GIB), 10 * GIB / 100 * 5);
        assert_eq!(reserve.of(20 * GIB), 1_073_741_820);
        assert_eq!(reserve.of(100 * GIB), GIB);
        assert_eq!(reserve.of(u64::MAX), GIB);
        let all = Reserve::Share { percent: u8::MAX, at_most: u64::MAX };
        assert_eq!(all.of(u64::MAX), u64::MAX);
        assert_eq!(Reserve::None.of(u64::MAX), 0);
        assert_eq!(Reserve::Bytes(7).of(3), 7);
    }

    #[test]
    fn what_is_declared_must_leave_the_reserve() {
        let room = Room { free: 100, total: 1000 };
        let reserve = Reserve::Share { percent: 5, at_most: 1000 };
        for (length, is_left) in [(0, true), (50, true), (51, false), (101, false)] {
            assert_eq!(reserve.is_left(room, length), is_left, "{length}");
        }
        assert!(!reserve.is_left(room, u64::MAX));
        assert!(Reserve::None.is_left(room, 100));
        assert!(!Reserve::None.is_left(room, 101));
        let low = Room { free: 49, total: 1000 };
        assert!(!reserve.is_left(low, 0));
    }
}
