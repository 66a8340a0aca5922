//! What the grammar knows: the uploads that it made, and what their bytes must be.

use std::{collections::HashMap, ops::Range};

use tus_testkit::Random;

/// Where uploads live.
pub(crate) const MOUNT: &str = "/files";
/// The most bytes an upload may have.
pub(crate) const MAX_SIZE: u64 = 192 * 1024;
/// The most parts a final may have.
pub(crate) const MAX_PARTS: usize = 8;
/// The most bytes of metadata.
pub(crate) const MAX_METADATA: usize = 2048;

/// Dice that fall the same way in every run.
pub(crate) struct Dice(Random);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(Random::new(seed))
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.0.below(bound as u64)).expect("below a usize")
    }

    /// A number of this range.
    pub(crate) fn of(&mut self, range: Range<usize>) -> usize {
        range.start + self.below(range.len())
    }

    /// Whether it happens, with so many chances in a hundred.
    pub(crate) fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    pub(crate) fn pick<T: Clone>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())].clone()
    }

    /// Which of these weights it falls on.
    pub(crate) fn weighted(&mut self, weights: &[usize]) -> usize {
        let mut left = self.below(weights.iter().sum());
        for (index, weight) in weights.iter().enumerate() {
            match left.checked_sub(*weight) {
                Some(rest) => left = rest,
                None => return index,
            }
        }
        unreachable!("the weights add up")
    }

    pub(crate) fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| u8::try_from(self.below(256)).expect("a byte")).collect()
    }

    /// An id that no upload has yet; some are as odd as an id may be.
    pub(crate) fn id(&mut self) -> String {
        const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
        let length = if self.chance(4) { 128 } else { 27 };
        let mut id: String = (0..length).map(|_| char::from(self.pick(LETTERS))).collect();
        if self.chance(6) {
            let odd = self.pick(&["--", "-rf", "_", "CON", "0", "null"]);
            id.replace_range(..odd.len(), odd);
        }
        id
    }
}

/// What role an upload plays.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Single,
    Partial,
    /// Made of these, in this order.
    Final(Vec<String>),
}

/// An upload, as clients see it.
#[derive(Clone, Debug)]
pub(crate) struct Upload {
    pub(crate) id: String,
    pub(crate) kind: Kind,
    pub(crate) length: Option<u64>,
    pub(crate) offset: u64,
    pub(crate) gone: bool,
    /// Whether the servers disagreed about it, so that nothing more can be expected of it.
    pub(crate) disputed: bool,
}

impl Upload {
    pub(crate) fn new(id: &str, kind: Kind, length: Option<u64>, offset: u64) -> Self {
        Self { id: id.to_owned(), kind, length, offset, gone: false, disputed: false }
    }

    pub(crate) fn is_whole(&self) -> bool {
        !self.gone && self.length == Some(self.offset)
    }

    pub(crate) fn takes_bytes(&self) -> bool {
        !self.gone && !self.is_whole() && !matches!(self.kind, Kind::Final(_))
    }

    pub(crate) fn rest(&self) -> u64 {
        self.length.map_or(0, |length| length.saturating_sub(self.offset))
    }
}

/// All uploads that were ever made, in their order.
#[derive(Default)]
pub(crate) struct World {
    uploads: Vec<Upload>,
    places: HashMap<String, usize>,
}

impl World {
    pub(crate) fn add(&mut self, upload: Upload) {
        self.places.insert(upload.id.clone(), self.uploads.len());
        self.uploads.push(upload);
    }

    pub(crate) fn find(&self, id: &str) -> Option<&Upload> {
        self.places.get(id).map(|at| &self.uploads[*at])
    }

    pub(crate) fn find_mut(&mut self, id: &str) -> Option<&mut Upload> {
        self.places.get(id).map(|at| &mut self.uploads[*at])
    }

    pub(crate) fn live(&self) -> impl Iterator<Item = &Upload> {
        self.uploads.iter().filter(|upload| !upload.gone)
    }

    /// Those that are no more, on every server in the same way.
    pub(crate) fn gone(&self) -> impl Iterator<Item = &Upload> {
        self.uploads.iter().filter(|upload| upload.gone && !upload.disputed)
    }

    /// Those that were ended because the servers disagreed about them.
    pub(crate) fn disputed(&self) -> Vec<String> {
        let disputed = self.uploads.iter().filter(|upload| upload.disputed);
        disputed.map(|upload| upload.id.clone()).collect()
    }

    /// The finals that are made of this upload and still live.
    pub(crate) fn finals_of(&self, part: &str) -> Vec<String> {
        let made_of = |upload: &&Upload| match &upload.kind {
            Kind::Final(parts) => parts.iter().any(|id| id == part),
            Kind::Single | Kind::Partial => false,
        };
        self.live().filter(made_of).map(|upload| upload.id.clone()).collect()
    }

    /// How long a final will be, if all its parts have a length.
    pub(crate) fn sum(&self, id: &str) -> Option<u64> {
        let Kind::Final(parts) = &self.find(id)?.kind else { return None };
        parts.iter().map(|part| self.find(part)?.length).sum()
    }

    /// The bytes that an upload has, or is about to have.
    pub(crate) fn content(&self, id: &str, range: Range<u64>) -> Vec<u8> {
        match self.find(id).map(|upload| &upload.kind) {
            Some(Kind::Final(parts)) => {
                let part = |id: &String| {
                    let length = self.find(id).and_then(|part| part.length).unwrap_or(0);
                    sequence(id, 0..length)
                };
                let whole: Vec<u8> = parts.iter().flat_map(part).collect();
                let at = |place: u64| usize::try_from(place).expect("a short upload");
                whole.get(at(range.start)..at(range.end)).unwrap_or_default().to_vec()
            }
            _ => sequence(id, range),
        }
    }
}

/// The bytes that are sent for an upload: each is known by its place.
pub(crate) fn sequence(id: &str, range: Range<u64>) -> Vec<u8> {
    let seed = id.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let first = range.start / 8;
    let blocks = (first..range.end.div_ceil(8)).flat_map(|block| {
        let seed = seed.wrapping_add(block.wrapping_mul(0xd6e8_feb8_6659_fd93));
        Random::new(seed).draw().to_le_bytes()
    });
    let skip = usize::try_from(range.start - first * 8).expect("less than 8");
    let count = usize::try_from(range.end.saturating_sub(range.start)).expect("a short body");
    blocks.skip(skip).take(count).collect()
}
