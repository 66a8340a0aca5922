use std::fmt;

use md5::Md5;
use sha1::Sha1;
use sha2::{Digest as _, Sha256, Sha512};

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

#[derive(Clone)]
enum Hasher {
    Sha1(Sha1),
    Sha256(Sha256),
    Sha512(Box<Sha512>),
    Md5(Md5),
    Crc32(crc32fast::Hasher),
}

impl Hasher {
    fn new(algorithm: Algorithm) -> Self {
        match algorithm {
            Algorithm::Sha1 => Self::Sha1(Sha1::new()),
            Algorithm::Sha256 => Self::Sha256(Sha256::new()),
            Algorithm::Sha512 => Self::Sha512(Box::new(Sha512::new())),
            Algorithm::Md5 => Self::Md5(Md5::new()),
            Algorithm::Crc32 => Self::Crc32(crc32fast::Hasher::new()),
        }
    }

    fn algorithm(&self) -> Algorithm {
        match self {
            Self::Sha1(_) => Algorithm::Sha1,
            Self::Sha256(_) => Algorithm::Sha256,
            Self::Sha512(_) => Algorithm::Sha512,
            Self::Md5(_) => Algorithm::Md5,
            Self::Crc32(_) => Algorithm::Crc32,
        }
    }

    fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Sha1(hasher) => hasher.update(bytes),
            Self::Sha256(hasher) => hasher.update(bytes),
            Self::Sha512(hasher) => hasher.update(bytes),
            Self::Md5(hasher) => hasher.update(bytes),
            Self::Crc32(hasher) => hasher.update(bytes),
        }
    }

    fn finish(self) -> Digest {
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
}
