use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// A digest algorithm that the engine computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
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
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Digest {
    /// Which one.
    pub algorithm: Algorithm,
    /// The value, [`Algorithm::size`] bytes.
    #[serde(with = "base64_bytes")]
    pub value: Vec<u8>,
}

/// A digest of all bytes of an upload that somebody has asked for.
///
/// An upload has one for each algorithm that was asked for, and none if nobody has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct WholeDigest {
    /// Which one.
    pub algorithm: Algorithm,
    /// What it has to be, or the upload ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected: Option<Digest>,
    /// Whether the upload's client wants to hear it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub told: bool,
    /// How far it has been computed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<DigestState>,
    /// What it is, once the upload is complete.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<Digest>,
}

impl WholeDigest {
    /// One of which nothing is computed yet.
    pub fn new(algorithm: Algorithm) -> Self {
        Self { algorithm, expected: None, told: false, state: None, value: None }
    }
}

/// The state of a digest that is still being computed.
///
/// Like the bytes themselves it is nobody's business but the server's: it may hold the last few of
/// them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct DigestState {
    /// In which form it is saved; one that is not known is as good as none.
    pub format: u32,
    /// How many bytes it has seen: the first ones of the upload.
    pub at: u64,
    /// The state.
    #[serde(with = "base64_bytes")]
    pub bytes: Vec<u8>,
}

impl DigestState {
    /// A state of this form, after so many bytes.
    pub fn new(format: u32, at: u64, bytes: Vec<u8>) -> Self {
        Self { format, at, bytes }
    }
}

mod base64_bytes {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    pub(super) fn serialize<S: Serializer>(bytes: &[u8], to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&STANDARD.encode(bytes))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<u8>, D::Error> {
        STANDARD.decode(String::deserialize(from)?).map_err(D::Error::custom)
    }
}
