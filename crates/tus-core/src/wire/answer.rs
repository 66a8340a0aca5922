//! A response without the bytes of a download, as every dialect makes it.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use crate::model::Reply;

/// A response without the bytes of a download.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    /// Whose words the body has.
    pub(crate) words: Words,
}

/// Whose words a body has, and in what form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Words {
    /// The application's, or none.
    Theirs,
    /// One of our fixed texts.
    Text,
    /// A problem document of ours (RFC 9457).
    Problem,
}

pub(super) fn empty(status: StatusCode) -> Answer {
    Answer { status, headers: HeaderMap::new(), body: Bytes::new(), words: Words::Theirs }
}

/// What a resource of the application's has answered, whatever it is.
pub(super) fn answered(reply: Reply) -> Answer {
    let Reply { status, headers, body } = reply;
    Answer { status: status.unwrap_or(StatusCode::OK), headers, body, words: Words::Theirs }
}

/// The protocol's answer with what the application adds to it.
pub(super) fn replied(status: StatusCode, reply: Option<Reply>) -> Answer {
    let Some(reply) = reply else {
        return empty(status);
    };
    let with_body = status == StatusCode::NO_CONTENT && !reply.body.is_empty();
    let own = if with_body { StatusCode::OK } else { status };
    Answer {
        status: reply.status.filter(|status| status.is_success()).unwrap_or(own),
        headers: reply.headers,
        body: reply.body,
        words: Words::Theirs,
    }
}

/// Sets a header whose text was checked when it came in, or is made of our own words.
pub(super) fn insert(headers: &mut HeaderMap, name: &HeaderName, text: String) {
    match HeaderValue::try_from(text) {
        Ok(value) => {
            headers.insert(name, value);
        }
        Err(_) => debug_assert!(false, "{name} is not a header value"),
    }
}
