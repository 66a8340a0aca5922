use std::fmt::Write as _;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderName, StatusCode, header};

/// What would be about the connection, or about a body that an interim response never has.
const NOT_INTERIM: [HeaderName; 8] = [
    header::CONNECTION,
    header::CONTENT_LENGTH,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
];

/// Whether a status is that of an interim response: 101 ends the conversation in HTTP.
pub(crate) fn is_interim(status: StatusCode) -> bool {
    status.is_informational() && status != StatusCode::SWITCHING_PROTOCOLS
}

/// Whether a field may stand in an interim response.
pub(crate) fn may_stand(name: &HeaderName) -> bool {
    !NOT_INTERIM.contains(name)
}

/// An interim response as HTTP/1.1 writes it; `None` if the status is of another kind.
pub(crate) fn http1(status: StatusCode, headers: &HeaderMap) -> Option<Bytes> {
    if !is_interim(status) {
        return None;
    }
    let reason = match status.as_u16() {
        104 => "Upload Resumption Supported",
        _ => status.canonical_reason().unwrap_or_default(),
    };
    let mut head = BytesMut::with_capacity(256);
    // Writing into a buffer that grows cannot fail.
    write!(head, "HTTP/1.1 {} {reason}\r\n", status.as_u16()).ok()?;
    for (name, value) in headers.iter().filter(|(name, _)| may_stand(name)) {
        // Neither type can hold the end of a line.
        head.extend_from_slice(name.as_str().as_bytes());
        head.extend_from_slice(b": ");
        head.extend_from_slice(value.as_bytes());
        head.extend_from_slice(b"\r\n");
    }
    head.extend_from_slice(b"\r\n");
    Some(head.freeze())
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn a_head_is_written_whole_and_says_nothing_of_the_connection() {
        let mut headers = HeaderMap::new();
        headers.insert("location", HeaderValue::from_static("/files/a"));
        headers.append("x", HeaderValue::from_static("1"));
        headers.append("x", HeaderValue::from_bytes(b"\xff").unwrap());
        headers.insert("content-length", HeaderValue::from_static("7"));
        headers.insert("connection", HeaderValue::from_static("close"));
        let status = StatusCode::from_u16(104).unwrap();
        let expected: &[u8] = b"HTTP/1.1 104 Upload Resumption Supported\r\n\
            location: /files/a\r\nx: 1\r\nx: \xff\r\n\r\n";
        assert_eq!(http1(status, &headers).unwrap(), expected);
        let processing = http1(StatusCode::PROCESSING, &HeaderMap::new()).unwrap();
        assert_eq!(processing, &b"HTTP/1.1 102 Processing\r\n\r\n"[..]);
    }

    #[test]
    fn what_is_no_interim_response_is_not_sent() {
        for status in [StatusCode::SWITCHING_PROTOCOLS, StatusCode::OK, StatusCode::NOT_FOUND] {
            assert!(http1(status, &HeaderMap::new()).is_none(), "{status}");
        }
    }
}
