use std::{fmt, str::FromStr};

/// A digest algorithm that the engine computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Algorithm {
    /// SHA-1, the one every tus server with checksums has (tus 1.0.0, Checksum).
    Sha1,
    /// SHA-256.
    Sha256,
    /// SHA-512.
    Sha512,
    /// MD5.
    Md5,
    /// CRC-32 (IEEE), as four bytes, big-endian.
    Crc32,
}

impl Algorithm {
    /// All of them, in the order in which they are advertised.
    pub const ALL: [Self; 5] = [Self::Sha1, Self::Sha256, Self::Sha512, Self::Md5, Self::Crc32];

    /// The name on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sha1 => "sha1",
            Self::Sha256 => "sha256",
            Self::Sha512 => "sha512",
            Self::Md5 => "md5",
            Self::Crc32 => "crc32",
        }
    }

    /// How many bytes a digest has.
    pub const fn size(self) -> usize {
        match self {
            Self::Sha1 => 20,
            Self::Sha256 => 32,
            Self::Sha512 => 64,
            Self::Md5 => 16,
            Self::Crc32 => 4,
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Algorithm {
    type Err = ();

    fn from_str(name: &str) -> Result<Self, ()> {
        Self::ALL.into_iter().find(|algorithm| algorithm.as_str() == name).ok_or(())
    }
}

/// The digest of some bytes, with its algorithm.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Digest {
    /// Which one.
    pub algorithm: Algorithm,
    /// The value, [`Algorithm::size`] bytes.
    pub value: Vec<u8>,
}
