use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header::CONTENT_TYPE};
use serde::{Deserialize, Serialize, de::Error as _, ser::SerializeSeq as _};

/// What an application adds to the answer of a successful finish.
///
/// It is stored with the upload, so that a client that lost the answer gets it again: headers
/// and body together may have 64 KiB.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reply {
    /// A status instead of the protocol's own (204 or 201). A reply with a body and no status
    /// is 200 where the protocol says 204, which has none.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "status_option")]
    pub status: Option<StatusCode>,
    /// Headers to add; the protocol's own win where both are set.
    #[serde(default, skip_serializing_if = "HeaderMap::is_empty", with = "headers")]
    pub headers: HeaderMap,
    /// A body.
    #[serde(default, skip_serializing_if = "Bytes::is_empty", with = "body")]
    pub body: Bytes,
}

impl Reply {
    /// The most bytes that headers and body may have together.
    pub const MAX_STORED: usize = 64 * 1024;

    /// The protocol's own answer with nothing added.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a header.
    #[must_use]
    pub fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.append(name, value);
        self
    }

    /// Sets a body and its media type.
    #[must_use]
    pub fn with_body(mut self, content_type: HeaderValue, body: impl Into<Bytes>) -> Self {
        self.headers.insert(CONTENT_TYPE, content_type);
        self.body = body.into();
        self
    }

    /// Sets a 2xx status.
    #[must_use]
    pub fn with_status(mut self, status: StatusCode) -> Self {
        self.status = Some(status);
        self
    }
}

/// An application's own refusal: its status, its headers, its words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rejection {
    /// The status of the answer.
    #[serde(with = "status")]
    pub status: StatusCode,
    /// Headers to add.
    #[serde(default, skip_serializing_if = "HeaderMap::is_empty", with = "headers")]
    pub headers: Box<HeaderMap>,
    /// The body.
    #[serde(default, skip_serializing_if = "Bytes::is_empty", with = "body")]
    pub body: Bytes,
}

impl Rejection {
    /// A refusal with a plain text. A status below 400 becomes 403, because a refusal must not
    /// look like success.
    pub fn new(status: StatusCode, text: impl Into<String>) -> Self {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
        let status = if status.as_u16() < 400 { StatusCode::FORBIDDEN } else { status };
        Self { status, headers: Box::new(headers), body: Bytes::from(text.into()) }
    }

    /// 403 with a text.
    pub fn forbidden(text: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, text)
    }

    /// 404 in the very words in which an unknown upload is refused, so that strangers do not learn
    /// whether there is one.
    pub fn not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND, Self::NOT_FOUND)
    }

    pub(crate) const NOT_FOUND: &str = "not_found: There is no such upload.\n";

    /// 401 with a text; add `WWW-Authenticate` with [`with_header`](Self::with_header).
    pub fn unauthorized(text: impl Into<String>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, text)
    }

    /// Adds a header.
    #[must_use]
    pub fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.append(name, value);
        self
    }

    /// Replaces the body and its media type.
    #[must_use]
    pub fn with_body(mut self, content_type: HeaderValue, body: impl Into<Bytes>) -> Self {
        self.headers.insert(CONTENT_TYPE, content_type);
        self.body = body.into();
        self
    }
}

mod status {
    use super::*;

    pub(super) fn serialize<S: serde::Serializer>(
        s: &StatusCode,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        to.serialize_u16(s.as_u16())
    }

    pub(super) fn deserialize<'de, D>(from: D) -> Result<StatusCode, D::Error>
    where
        D: serde::Deserializer<'de>,
    {
        StatusCode::from_u16(u16::deserialize(from)?).map_err(D::Error::custom)
    }
}

mod status_option {
    use super::*;

    pub(super) fn serialize<S>(status: &Option<StatusCode>, to: S) -> Result<S::Ok, S::Error>
    where
        S: serde::Serializer,
    {
        status.map(|status| status.as_u16()).serialize(to)
    }

    pub(super) fn deserialize<'de, D>(from: D) -> Result<Option<StatusCode>, D::Error>
    where
        D: serde::Deserializer<'de>,
    {
        let code = Option::<u16>::deserialize(from)?;
        code.map(|code| StatusCode::from_u16(code).map_err(D::Error::custom)).transpose()
    }
}

pub(super) mod headers {
    use super::*;

    pub(in crate::model) fn serialize<S: serde::Serializer>(
        map: &HeaderMap,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        let mut list = to.serialize_seq(Some(map.len()))?;
        for (name, value) in map {
            list.serialize_element(&(name.as_str(), value.as_bytes()))?;
        }
        list.end()
    }

    pub(in crate::model) fn deserialize<'de, D, T>(from: D) -> Result<T, D::Error>
    where
        D: serde::Deserializer<'de>,
        T: From<HeaderMap>,
    {
        let mut map = HeaderMap::new();
        for (name, value) in Vec::<(String, Vec<u8>)>::deserialize(from)? {
            let name: HeaderName = name.parse().map_err(D::Error::custom)?;
            map.append(name, HeaderValue::from_bytes(&value).map_err(D::Error::custom)?);
        }
        Ok(map.into())
    }
}

mod body {
    use base64::{Engine as _, engine::general_purpose::STANDARD};

    use super::*;

    pub(super) fn serialize<S: serde::Serializer>(body: &Bytes, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&STANDARD.encode(body))
    }

    pub(super) fn deserialize<'de, D>(from: D) -> Result<Bytes, D::Error>
    where
        D: serde::Deserializer<'de>,
    {
        let text = String::deserialize(from)?;
        STANDARD.decode(text).map(Bytes::from).map_err(D::Error::custom)
    }
}
