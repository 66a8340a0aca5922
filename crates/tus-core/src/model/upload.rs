use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use super::{Algorithm, Digest, Metadata, Origin, Rejection, Reply, Timestamp, WholeDigest};

/// The name of an upload: the last segment of its URL.
///
/// 1 to 128 characters of `A-Z a-z 0-9 - _`, so that it can be neither a path nor an escape
/// sequence. Ids that the engine makes carry 160 random bits; an application that sets its own
/// in `before_create` is responsible for their being unguessable where that matters.
///
/// ```
/// use tus_core::UploadId;
///
/// assert!("24e533e02ec3bc40c387f1a0e460e216".parse::<UploadId>().is_ok());
/// assert!("../etc/passwd".parse::<UploadId>().is_err());
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct UploadId(String);

impl UploadId {
    /// The most characters an id may have.
    pub const MAX_LEN: usize = 128;

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for UploadId {
    type Error = InvalidId;

    fn try_from(text: String) -> Result<Self, InvalidId> {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
        if text.is_empty() || text.len() > Self::MAX_LEN || !text.bytes().all(allowed) {
            return Err(InvalidId);
        }
        Ok(Self(text))
    }
}

impl FromStr for UploadId {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        Self::try_from(text.to_owned())
    }
}

impl From<UploadId> for String {
    fn from(id: UploadId) -> Self {
        id.0
    }
}

impl fmt::Display for UploadId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for UploadId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "UploadId({})", self.0)
    }
}

/// The text is not an upload id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an upload id is 1 to 128 characters of A-Z a-z 0-9 - _")]
pub struct InvalidId;

/// Where a chunk store keeps an upload's bytes: opaque to everyone but that store.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Locator(String);

impl Locator {
    /// Wraps the store's own description.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The store's own description.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Which version of a record was read; a meta store updates only the version it is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Revision(pub u64);

/// What role an upload plays in a concatenation (tus 1.0.0, Concatenation).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// An ordinary upload.
    Single,
    /// A part of finals to come; never announced, never placed.
    Partial,
    /// Made of parts, in this order; the same part may stand in it more than once.
    Final {
        /// The parts, in the client's order.
        parts: Vec<UploadId>,
    },
}

/// How far an upload has come; stored, never derived from offset and length.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// Bytes are still wanted, or (a final) parts are still awaited.
    Open,
    /// All bytes are there; they are to be placed, and `on_finish` has yet to answer.
    Complete {
        /// The stable id of the finish event, by which an application can drop a repeat.
        event: String,
        /// When it became complete.
        since: Timestamp,
        /// Whether the record knows the place of the bytes; if not, they are still to be placed.
        placed: bool,
        /// Where the bytes were before they were placed, to be removed once this is recorded.
        superseded: Option<Locator>,
    },
    /// `on_finish` has answered, or there was nobody to ask (partials).
    Announced {
        /// When that was.
        since: Timestamp,
        /// What it answered, repeated to a client that lost the answer.
        reply: Reply,
    },
    /// The finish was refused for good.
    Refused {
        /// When that was.
        since: Timestamp,
        /// What every client hears from now on.
        rejection: Rejection,
        /// Whether the bytes are still to be removed.
        unwanted: bool,
    },
    /// The bytes are gone; the record is remembered for a while.
    Gone(Gone),
}

/// Why and when an upload's bytes went away.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gone {
    /// The cause.
    pub reason: GoneReason,
    /// When.
    pub since: Timestamp,
    /// When the record may be forgotten too.
    pub forget_at: Timestamp,
    /// Whether bytes are still to be removed, or the application is still to be told.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unfinished: bool,
    /// The stable id of the event, until it was told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event: Option<String>,
    /// Bytes that were stored, if that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stored: Option<u64>,
}

/// The ways in which an upload ends without its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum GoneReason {
    /// Its time was up.
    Expired,
    /// A client asked for it.
    Terminated,
    /// A part of this final was terminated or expired.
    PartLost,
    /// The file is no longer where it was placed, or is another one by now.
    Moved,
    /// Its client sent more bytes than it had declared (RUFH, section 4.1.3 and 4.4.2).
    Outgrown,
    /// Its bytes were all there, and did not have the digest that they were to have.
    DigestMismatch,
}

/// Where the application wants a finished upload to be put, as far as the store has a choice.
///
/// Both are wishes in the application's own words; a store sanitises them and never leaves its
/// own directories.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Placement {
    /// A relative folder, segments separated by `/`, instead of the store's template.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub folder: Option<String>,
    /// A file name instead of the client's `filename` metadata.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// The record of an upload: everything that is known of it except how many bytes there are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Upload {
    /// Its id.
    pub id: UploadId,
    /// Its role.
    pub kind: Kind,
    /// How far it has come.
    pub phase: Phase,
    /// The declared whole in bytes; `None` while it is deferred (or, for a final, not yet known).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub length: Option<u64>,
    /// The client's metadata.
    #[serde(default, skip_serializing_if = "Metadata::is_empty")]
    pub metadata: Metadata,
    /// The `Upload-Concat` text exactly as the client sent it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub concat: Option<String>,
    /// Whom it belongs to, in the application's words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// Its URL as the client that created it was told.
    pub url: String,
    /// Where the bytes are.
    pub locator: Locator,
    /// Where the application wants it.
    #[serde(default)]
    pub placement: Placement,
    /// The resource that is to process it; `None` for one that is stored, placed and announced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<Origin>,
    /// Whether it is complete only once a client says so; else it is when its length is reached.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub awaits_end: bool,
    /// Bytes from here on are unproven: a digest was promised and has not been verified.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fence: Option<u64>,
    /// The digests of all its bytes that were asked for, one for an algorithm.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub digests: Vec<WholeDigest>,
    /// An upper bound of this upload alone, in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_size: Option<u64>,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it expires at the earliest; the last write can move a sliding expiry further out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    /// Whether the parts of this final still have to be told that it needs them no more.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub holds_parts: bool,
    /// Finals that wait for this part.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub finals: Vec<UploadId>,
}

impl Upload {
    /// Whether bytes can still be added, or parts are still awaited.
    pub fn is_open(&self) -> bool {
        matches!(self.phase, Phase::Open)
    }

    /// Whether all bytes have arrived and nothing has refused them.
    pub fn is_complete(&self) -> bool {
        matches!(self.phase, Phase::Complete { .. } | Phase::Announced { .. })
    }

    /// Whether it is a part.
    pub fn is_partial(&self) -> bool {
        matches!(self.kind, Kind::Partial)
    }

    /// The parts of a final; `None` for the other kinds.
    pub fn parts(&self) -> Option<&[UploadId]> {
        match &self.kind {
            Kind::Final { parts } => Some(parts),
            Kind::Single | Kind::Partial => None,
        }
    }

    /// The digest of all bytes, by algorithm, once it is complete and if that was asked for.
    pub fn digest(&self, algorithm: Algorithm) -> Option<&Digest> {
        let mut values = self.digests.iter().filter_map(|digest| digest.value.as_ref());
        values.find(|value| value.algorithm == algorithm)
    }

    /// The digest that the client of a complete upload wants to hear.
    #[cfg(feature = "engine")]
    pub(crate) fn told_digest(&self) -> Option<&Digest> {
        let told = self.digests.iter().find(|digest| digest.told);
        told.and_then(|digest| digest.value.as_ref()).filter(|_| self.is_complete())
    }

    /// When a sweeper should look at this upload, or `None` if never.
    ///
    /// A store keeps this beside the record, as an index, so that [`due`] need not read all of
    /// them. It is a hint: what is to be done is decided again under the lease.
    ///
    /// [`due`]: crate::store::MetaStore::due
    pub fn due_at(&self) -> Option<Timestamp> {
        match &self.phase {
            // At once, whatever the clock says.
            Phase::Complete { .. }
            | Phase::Refused { unwanted: true, .. }
            | Phase::Gone(Gone { unfinished: true, .. }) => Some(Timestamp::EPOCH),
            Phase::Announced { .. } | Phase::Refused { .. } | Phase::Gone(_)
                if self.holds_parts =>
            {
                Some(Timestamp::EPOCH)
            }
            Phase::Open if self.parts().is_some() => Some(self.created_at),
            Phase::Open | Phase::Refused { .. } => self.expires_at,
            Phase::Announced { .. } if self.is_partial() || self.origin.is_some() => {
                self.expires_at
            }
            Phase::Announced { .. } => None,
            Phase::Gone(gone) => Some(gone.forget_at),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_url_safe_ids_of_bounded_length_parse() {
        let long = "a".repeat(128);
        for good in ["a", "A-b_9", long.as_str()] {
            assert_eq!(good.parse::<UploadId>().map(String::from).as_deref(), Ok(good));
        }
        let too_long = "a".repeat(129);
        for bad in ["", ".", "..", "a/b", "a\\b", "a.b", "a\0", "ä", "a b", "%41", &too_long] {
            assert_eq!(bad.parse::<UploadId>(), Err(InvalidId), "{bad:?}");
        }
    }
}
