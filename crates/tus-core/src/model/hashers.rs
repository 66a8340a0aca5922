use std::fmt;

use md5::Md5;
use sha1::Sha1;
use sha2::{
    Digest as _, Sha256, Sha512,
    digest::common::hazmat::{SerializableState, SerializedState},
};

use super::{Algorithm, Digest};

/// Digests of the bytes shown so far, one for each algorithm that may be asked for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Hashers(Vec<Hasher>);

impl Hashers {
    /// Computes nothing.
    pub(crate) const fn none() -> Self {
        Self(Vec::new())
    }

    /// Computes one digest.
    pub(crate) fn one(algorithm: Algorithm) -> Self {
        Self(vec![Hasher::new(algorithm)])
    }

    /// Computes every digest, for a promise that does not name its algorithm yet.
    pub(crate) fn all() -> Self {
        Self(Algorithm::ALL.into_iter().map(Hasher::new).collect())
    }

    /// Shows the next bytes.
    pub(crate) fn update(&mut self, bytes: &[u8]) {
        for hasher in &mut self.0 {
            hasher.update(bytes);
        }
    }

    /// The digest of all bytes shown, or `None` when that algorithm was not asked for.
    pub(crate) fn finish(self, algorithm: Algorithm) -> Option<Digest> {
        self.0.into_iter().find(|hasher| hasher.algorithm() == algorithm).map(Hasher::finish)
    }
}

/// One digest of the bytes shown so far.
#[derive(Clone)]
pub(crate) enum Hasher {
    Sha1(Sha1),
    Sha256(Sha256),
    Sha512(Box<Sha512>),
    Md5(Md5),
    Crc32(crc32fast::Hasher),
}

impl Hasher {
    /// The form in which states are saved: for CRC-32 the sum so far (big-endian), for the others
    /// what RustCrypto's crates of version 0.11 make of their state.
    ///
    /// Those promise that one 0.x reads what the same 0.x has written; a test says when that has
    /// changed, and this number must, too.
    pub(crate) const FORMAT: u32 = 1;

    /// Nothing shown yet.
    pub(crate) fn new(algorithm: Algorithm) -> Self {
        match algorithm {
            Algorithm::Sha1 => Self::Sha1(Sha1::new()),
            Algorithm::Sha256 => Self::Sha256(Sha256::new()),
            Algorithm::Sha512 => Self::Sha512(Box::new(Sha512::new())),
            Algorithm::Md5 => Self::Md5(Md5::new()),
            Algorithm::Crc32 => Self::Crc32(crc32fast::Hasher::new()),
        }
    }

    /// Which digest it is.
    pub(crate) fn algorithm(&self) -> Algorithm {
        match self {
            Self::Sha1(_) => Algorithm::Sha1,
            Self::Sha256(_) => Algorithm::Sha256,
            Self::Sha512(_) => Algorithm::Sha512,
            Self::Md5(_) => Algorithm::Md5,
            Self::Crc32(_) => Algorithm::Crc32,
        }
    }

    /// Shows the next bytes.
    pub(crate) fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Sha1(hasher) => hasher.update(bytes),
            Self::Sha256(hasher) => hasher.update(bytes),
            Self::Sha512(hasher) => hasher.update(bytes),
            Self::Md5(hasher) => hasher.update(bytes),
            Self::Crc32(hasher) => hasher.update(bytes),
        }
    }

    /// What it is now, to be gone on with later.
    pub(crate) fn save(&self) -> Vec<u8> {
        match self {
            Self::Sha1(hasher) => hasher.serialize().to_vec(),
            Self::Sha256(hasher) => hasher.serialize().to_vec(),
            Self::Sha512(hasher) => hasher.serialize().to_vec(),
            Self::Md5(hasher) => hasher.serialize().to_vec(),
            Self::Crc32(hasher) => hasher.clone().finalize().to_be_bytes().to_vec(),
        }
    }

    /// Goes on from what was saved after `at` bytes; `None` if that is no such state.
    pub(crate) fn restore(
        algorithm: Algorithm,
        (format, at): (u32, u64),
        state: &[u8],
    ) -> Option<Self> {
        if format != Self::FORMAT {
            return None;
        }
        Some(match algorithm {
            Algorithm::Sha1 => Self::Sha1(load(state)?),
            Algorithm::Sha256 => Self::Sha256(load(state)?),
            Algorithm::Sha512 => Self::Sha512(Box::new(load(state)?)),
            Algorithm::Md5 => Self::Md5(load(state)?),
            Algorithm::Crc32 => {
                let sum = u32::from_be_bytes(state.try_into().ok()?);
                Self::Crc32(crc32fast::Hasher::new_with_initial_len(sum, at))
            }
        })
    }

    /// The digest of all bytes shown.
    pub(crate) fn finish(self) -> Digest {
        let algorithm = self.algorithm();
        let value = match self {
            Self::Sha1(hasher) => hasher.finalize().to_vec(),
            Self::Sha256(hasher) => hasher.finalize().to_vec(),
            Self::Sha512(hasher) => hasher.finalize().to_vec(),
            Self::Md5(hasher) => hasher.finalize().to_vec(),
            Self::Crc32(hasher) => hasher.finalize().to_be_bytes().to_vec(),
        };
        Digest { algorithm, value }
    }
}

fn load<T: SerializableState>(state: &[u8]) -> Option<T> {
    let state = SerializedState::<T>::try_from(state).ok()?;
    T::deserialize(&state).ok()
}

impl fmt::Debug for Hasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Hasher({})", self.algorithm())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|b| format!("{b:02x}")).collect()
    }

    #[test]
    fn known_digests_of_hello_world_in_two_pieces() {
        let table = [
            (Algorithm::Sha1, "2aae6c35c94fcfb415dbe95f408b9ce91ee846ed"),
            (Algorithm::Md5, "5eb63bbbe01eeed093cb22bb8f5acdc3"),
            (Algorithm::Crc32, "0d4a1185"),
            (Algorithm::Sha256, "b94d27b9934d3e08a52e52d7da7dabfac484efe37a5380ee9088f7ace2efcde9"),
        ];
        for (algorithm, expected) in table {
            let mut hashers = Hashers::all();
            hashers.update(b"hello ");
            hashers.update(b"world");
            assert_eq!(hex(&hashers.finish(algorithm).unwrap().value), expected, "{algorithm}");
        }
    }

    #[test]
    fn every_digest_has_the_length_it_says() {
        for algorithm in Algorithm::ALL {
            let digest = Hashers::one(algorithm).finish(algorithm).unwrap();
            assert_eq!(digest.value.len(), algorithm.size(), "{algorithm}");
            assert_eq!(algorithm.as_str().parse(), Ok(algorithm));
        }
    }

    #[test]
    fn a_state_saved_anywhere_leads_to_the_same_digest() {
        let bytes: Vec<u8> = (0..1000_u32).map(|n| (n * 31 % 251) as u8).collect();
        for algorithm in Algorithm::ALL {
            let mut all = Hasher::new(algorithm);
            all.update(&bytes);
            let expected = all.finish();
            for cut in [0, 1, 55, 56, 63, 64, 65, 111, 112, 127, 128, 129, 640, 999, 1000] {
                let (before, after) = bytes.split_at(cut);
                let mut first = Hasher::new(algorithm);
                first.update(before);
                let state = first.save();
                let at = cut as u64;
                let restored = Hasher::restore(algorithm, (Hasher::FORMAT, at), &state);
                let mut second = restored.unwrap_or_else(|| panic!("{algorithm} at {cut}"));
                second.update(after);
                assert_eq!(second.finish(), expected, "{algorithm} at {cut}");
            }
        }
    }

    #[test]
    fn what_is_no_state_is_not_taken_for_one() {
        for algorithm in Algorithm::ALL {
            let state = Hasher::new(algorithm).save();
            let restored =
                |format, state: &[u8]| Hasher::restore(algorithm, (format, 0), state).is_some();
            assert!(restored(Hasher::FORMAT, &state), "{algorithm}");
            assert!(!restored(Hasher::FORMAT + 1, &state), "{algorithm}");
            assert!(!restored(Hasher::FORMAT, &state[1..]), "{algorithm}");
            assert!(!restored(Hasher::FORMAT, &[]), "{algorithm}");
        }
    }

    /// When this fails, a crate writes its state in another way: [`Hasher::FORMAT`] must change.
    #[test]
    fn states_are_saved_as_they_were_in_earlier_releases() {
        let sums = Algorithm::ALL.map(|algorithm| {
            let mut hasher = Hasher::new(algorithm);
            hasher.update(&[b'a'; 130]);
            format!("{algorithm} {:08x}", crc32fast::hash(&hasher.save()))
        });
        let of_format_1 = [
            "sha1 08b69a45",
            "sha256 fc75482a",
            "sha512 d372fcfe",
            "md5 4574043b",
            "crc32 372fa9dd",
        ];
        assert_eq!(sums, of_format_1);
    }
}
