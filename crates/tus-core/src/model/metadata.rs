use std::{borrow::Cow, collections::HashSet};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// What the client says about its upload: ordered keys with binary values.
///
/// The text is kept exactly as it was sent, because a HEAD must return it so (tus 1.0.0,
/// Creation, POST). Values are bytes: nothing says that they are text.
///
/// ```
/// use tus_core::Metadata;
///
/// let metadata = Metadata::parse("filename d29ybGQucGRm,is_confidential").unwrap();
/// assert_eq!(metadata.get("filename"), Some(&b"world.pdf"[..]));
/// assert_eq!(metadata.get("is_confidential"), Some(&b""[..]));
/// assert_eq!(metadata.raw(), "filename d29ybGQucGRm,is_confidential");
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Metadata {
    raw: String,
    pairs: Vec<(String, Bytes)>,
}

impl Metadata {
    /// Reads the value of an `Upload-Metadata` header; an empty one is no metadata.
    ///
    /// # Errors
    ///
    /// An empty or repeated key, a key with a space, or a value that is not Base64 (tus 1.0.0,
    /// Upload-Metadata).
    pub fn parse(raw: &str) -> Result<Self, MetadataError> {
        let mut pairs = Vec::new();
        if raw.trim().is_empty() {
            return Ok(Self::default());
        }
        let mut seen = HashSet::new();
        for pair in raw.split(',') {
            let pair = pair.trim();
            let (key, value) = pair.split_once(' ').unwrap_or((pair, ""));
            if key.is_empty() {
                return Err(MetadataError::EmptyKey);
            }
            if !seen.insert(key) {
                return Err(MetadataError::DuplicateKey);
            }
            let value = STANDARD.decode(value.trim()).map_err(|_| MetadataError::NotBase64)?;
            pairs.push((key.to_owned(), Bytes::from(value)));
        }
        Ok(Self { raw: raw.to_owned(), pairs })
    }

    /// Builds metadata from pairs, for an application that replaces what the client said.
    ///
    /// # Errors
    ///
    /// An empty or repeated key, or one that a header cannot carry (controls, space, comma,
    /// non-ASCII).
    pub fn from_pairs<K, V>(pairs: impl IntoIterator<Item = (K, V)>) -> Result<Self, MetadataError>
    where
        K: Into<String>,
        V: Into<Bytes>,
    {
        let mut kept: Vec<(String, Bytes)> = Vec::new();
        for (key, value) in pairs {
            let (key, value) = (key.into(), value.into());
            if key.is_empty() {
                return Err(MetadataError::EmptyKey);
            }
            if !key.bytes().all(|b| b.is_ascii_graphic() && b != b',') {
                return Err(MetadataError::KeyNotPrintable);
            }
            if kept.iter().any(|(k, _)| *k == key) {
                return Err(MetadataError::DuplicateKey);
            }
            kept.push((key, value));
        }
        let encode = |(key, value): &(String, Bytes)| match value.is_empty() {
            true => key.clone(),
            false => format!("{key} {}", STANDARD.encode(value)),
        };
        let raw = kept.iter().map(encode).collect::<Vec<_>>().join(",");
        Ok(Self { raw, pairs: kept })
    }

    /// The header's value as the client sent it.
    pub fn raw(&self) -> &str {
        &self.raw
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.pairs.is_empty()
    }

    /// The value of a key, as bytes.
    pub fn get(&self, key: &str) -> Option<&[u8]> {
        self.pairs.iter().find(|(k, _)| k == key).map(|(_, value)| value.as_ref())
    }

    /// The value of a key as text; bytes that are not UTF-8 become replacement characters.
    pub fn get_text(&self, key: &str) -> Option<Cow<'_, str>> {
        self.get(key).map(String::from_utf8_lossy)
    }

    /// The client's name for the file: `filename`, or `name` as some clients call it.
    ///
    /// Untrusted text of any form: never a path.
    pub fn filename(&self) -> Option<Cow<'_, str>> {
        self.get_text("filename").or_else(|| self.get_text("name")).filter(|name| !name.is_empty())
    }

    /// The client's idea of the media type: `filetype`, or `type` as some clients call it.
    pub fn filetype(&self) -> Option<Cow<'_, str>> {
        self.get_text("filetype").or_else(|| self.get_text("type")).filter(|kind| !kind.is_empty())
    }

    /// All pairs in the client's order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.pairs.iter().map(|(key, value)| (key.as_str(), value.as_ref()))
    }
}

impl TryFrom<String> for Metadata {
    type Error = MetadataError;

    fn try_from(raw: String) -> Result<Self, MetadataError> {
        Self::parse(&raw)
    }
}

impl From<Metadata> for String {
    fn from(metadata: Metadata) -> Self {
        metadata.raw
    }
}

/// Why metadata cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MetadataError {
    /// A pair has no key.
    #[error("a metadata key is empty")]
    EmptyKey,
    /// A key stands there twice.
    #[error("a metadata key is repeated")]
    DuplicateKey,
    /// A value is not Base64.
    #[error("a metadata value is not Base64")]
    NotBase64,
    /// A key has characters that a header cannot carry.
    #[error("a metadata key must be printable ASCII without space and comma")]
    KeyNotPrintable,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_comes_back_exactly_as_sent() {
        for raw in ["a YQ==", "a YQ==,b", "a  YQ==, b ", "k AAH/"] {
            assert_eq!(Metadata::parse(raw).unwrap().raw(), raw);
        }
    }

    #[test]
    fn an_empty_header_is_no_metadata() {
        assert!(Metadata::parse("").unwrap().is_empty());
        assert!(Metadata::parse("  ").unwrap().is_empty());
    }

    #[test]
    fn values_are_bytes() {
        let metadata = Metadata::parse("k AP8N").unwrap();
        assert_eq!(metadata.get("k"), Some(&[0, 255, 13][..]));
    }

    #[test]
    fn bad_pairs_are_refused() {
        let table = [
            (",", MetadataError::EmptyKey),
            ("a YQ==,", MetadataError::EmptyKey),
            ("a YQ==,a Yg==", MetadataError::DuplicateKey),
            ("a ?", MetadataError::NotBase64),
            ("a YQ== b", MetadataError::NotBase64),
            ("a YQ", MetadataError::NotBase64),
        ];
        for (raw, error) in table {
            assert_eq!(Metadata::parse(raw), Err(error), "{raw:?}");
        }
    }

    #[test]
    fn pairs_make_a_header_that_parses_to_the_same_pairs() {
        let made = Metadata::from_pairs([("a", &b"\xff\0"[..]), ("b", &b""[..])]).unwrap();
        assert_eq!(Metadata::parse(made.raw()).unwrap(), made);
        let bad = Metadata::from_pairs([("a b", Bytes::new())]);
        assert_eq!(bad, Err(MetadataError::KeyNotPrintable));
    }
}
