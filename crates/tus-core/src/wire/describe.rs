//! Metadata in the words of HTTP.

use http::{HeaderMap, HeaderValue, header};

use super::{disposition, names};
use crate::model::Metadata;

/// Describes a representation by what its client said of it.
pub(crate) fn describe(headers: &mut HeaderMap, metadata: &Metadata) {
    let kind = metadata.filetype().and_then(|kind| HeaderValue::from_str(&kind).ok());
    let octets = HeaderValue::from_static("application/octet-stream");
    headers.insert(header::CONTENT_TYPE, kind.unwrap_or(octets));
    if let Some(name) = metadata.filename() {
        let disposition = disposition::content_disposition(Some(&name));
        headers.insert(header::CONTENT_DISPOSITION, disposition);
    }
    if let Ok(raw) = HeaderValue::from_str(metadata.raw())
        && !metadata.is_empty()
    {
        headers.insert(&names::UPLOAD_METADATA, raw);
    }
}
