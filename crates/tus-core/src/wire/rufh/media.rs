//! Difference: the media type of an append, which there is since -04.

use http::{HeaderMap, header};

use super::{Interop, fields, names};
use crate::model::Refusal;

/// Refuses content of another type (RUFH, section 4.4.1).
pub(super) fn check(headers: &HeaderMap, interop: Interop) -> Result<(), Refusal> {
    if interop <= Interop::V5 {
        return Ok(());
    }
    let value = fields::single(headers, &header::CONTENT_TYPE)?.unwrap_or_default();
    match fields::is_media_type(value, names::PARTIAL_UPLOAD) {
        true => Ok(()),
        false => Err(Refusal::UnsupportedMediaType),
    }
}
