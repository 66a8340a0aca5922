use std::{fmt, str::FromStr};

/// The name of one request, in the answer that refuses it and in the log lines that say why.
///
/// 1 to 128 characters of `A-Z a-z 0-9 - _ .`, so that it can stand in a header and in a log. A
/// layer of the application that names requests puts it into their extensions; the engine names
/// those that have none.
///
/// ```
/// let mut request = http::Request::new(());
/// let id: tus_core::RequestId = "7f3a-19".parse().unwrap();
/// request.extensions_mut().insert(id);
/// assert!("two\r\nlines".parse::<tus_core::RequestId>().is_err());
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct RequestId(String);

impl RequestId {
    /// The most characters an id may have.
    pub const MAX_LEN: usize = 128;

    /// A new one that no other request has.
    #[cfg(feature = "engine")]
    pub fn random() -> Self {
        Self(uuid::Uuid::new_v4().simple().to_string())
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for RequestId {
    type Err = InvalidRequestId;

    fn from_str(text: &str) -> Result<Self, InvalidRequestId> {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
        if text.is_empty() || text.len() > Self::MAX_LEN || !text.bytes().all(allowed) {
            return Err(InvalidRequestId);
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RequestId({})", self.0)
    }
}

/// The text is not the id of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a request id is 1 to 128 characters of A-Z a-z 0-9 - _ .")]
pub struct InvalidRequestId;
