//! Difference: up to -05, HEAD and DELETE MUST NOT bring the state of an upload, and MUST be refused
//! if they do. Later drafts say nothing about it.

use http::HeaderMap;

use super::{Interop, names};
use crate::model::Refusal;

/// Refuses a head that brings what it must not.
pub(super) fn check(headers: &HeaderMap, interop: Interop) -> Result<(), Refusal> {
    let state = [&names::UPLOAD_OFFSET, &names::UPLOAD_COMPLETE, &names::UPLOAD_INCOMPLETE];
    let brings = state.into_iter().any(|name| headers.contains_key(name));
    if interop <= Interop::V6 && brings {
        let text = "HEAD, GET and DELETE must not bring the state of an upload.";
        return Err(Refusal::Contradiction(text));
    }
    Ok(())
}
