//! The heads of downloads, the same in every dialect (RFC 9110, sections 13 to 15).

use http::{HeaderValue, StatusCode, header};

use super::{
    answer::{Answer, empty, insert},
    disposition,
};
use crate::model::ReadView;

/// The head of a download.
pub(super) fn download(view: &ReadView) -> Answer {
    let status = if view.partial { StatusCode::PARTIAL_CONTENT } else { StatusCode::OK };
    let mut answer = empty(status);
    let headers = &mut answer.headers;
    let length = view.range.end.saturating_sub(view.range.start);
    headers.insert(header::CONTENT_LENGTH, length.into());
    if view.partial {
        // A partial answer has at least one byte: the range was satisfiable.
        let last = view.range.end.saturating_sub(1);
        let text = format!("bytes {}-{last}/{}", view.range.start, view.length);
        insert(headers, &header::CONTENT_RANGE, text);
    }
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    insert(headers, &header::ETAG, view.etag.clone());
    let kind = disposition::content_type(view.filetype.as_deref());
    headers.insert(header::CONTENT_TYPE, kind);
    let disposition = disposition::content_disposition(view.filename.as_deref());
    headers.insert(header::CONTENT_DISPOSITION, disposition);
    let sandbox = HeaderValue::from_static("sandbox; default-src 'none'");
    headers.insert(header::CONTENT_SECURITY_POLICY, sandbox);
    headers.insert(header::CACHE_CONTROL, revalidated());
    answer
}

/// The client has these bytes already.
pub(super) fn not_modified(etag: String) -> Answer {
    let mut answer = empty(StatusCode::NOT_MODIFIED);
    insert(&mut answer.headers, &header::ETAG, etag);
    // What the download itself says of caching (RFC 9110, section 15.4.5).
    answer.headers.insert(header::CACHE_CONTROL, revalidated());
    answer
}

/// Private and asked for again: who may read is decided each time, and bytes can be terminated.
fn revalidated() -> HeaderValue {
    HeaderValue::from_static("private, no-cache")
}
