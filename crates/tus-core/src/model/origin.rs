use http::{HeaderMap, Method, Uri};
use serde::{Deserialize, Serialize, de::Error as _};

/// The resource of the application that an upload was sent to, which is to process it.
///
/// Kept with the upload, so that a later request can be answered as the first would have been
/// (RUFH, section 4.4.2). Of the head it has what describes the representation (RFC 9110, section
/// 8), and nothing that tells who sent it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// The method of the first request.
    #[serde(with = "method")]
    pub method: Method,
    /// Its path and query, as the application sees it.
    #[serde(with = "uri")]
    pub uri: Uri,
    /// The path below which its upload was told to live: another application's may share the store.
    pub mount: String,
    /// What it says of the representation, and on which conditions it is meant.
    #[serde(
        default,
        skip_serializing_if = "HeaderMap::is_empty",
        with = "super::rejection::headers"
    )]
    pub headers: HeaderMap,
    /// The stable id of the event that all bytes are there: the same each time that the
    /// application is asked.
    pub event: String,
}

#[cfg(feature = "engine")]
impl Origin {
    /// Bytes that keeping it takes, roughly.
    pub(crate) fn size(&self) -> usize {
        let headers: usize = self.headers.iter().map(|(n, v)| n.as_str().len() + v.len()).sum();
        headers + self.uri.path_and_query().map_or(0, |text| text.as_str().len())
    }
}

mod method {
    use super::*;

    pub(super) fn serialize<S>(method: &Method, to: S) -> Result<S::Ok, S::Error>
    where
        S: serde::Serializer,
    {
        to.serialize_str(method.as_str())
    }

    pub(super) fn deserialize<'de, D>(from: D) -> Result<Method, D::Error>
    where
        D: serde::Deserializer<'de>,
    {
        Method::from_bytes(String::deserialize(from)?.as_bytes()).map_err(D::Error::custom)
    }
}

mod uri {
    use super::*;

    pub(super) fn serialize<S: serde::Serializer>(uri: &Uri, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(uri)
    }

    pub(super) fn deserialize<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Uri, D::Error> {
        String::deserialize(from)?.parse().map_err(D::Error::custom)
    }
}
