//! Difference: how a message says whether the upload is complete.
//!
//! -01 says `Upload-Incomplete`, the opposite of what all later ones say. Up to -05 an append need
//! not say it.

use http::HeaderMap;

use super::{Interop, names, structured};
use crate::model::{Completes, Refusal};

/// Whether a head says it in any form.
pub(in crate::wire) fn says_completeness(headers: &HeaderMap) -> bool {
    structured::boolean(headers, &names::UPLOAD_COMPLETE).is_some()
}

/// What the field of this form says.
fn said(headers: &HeaderMap, interop: Interop) -> Option<bool> {
    match interop {
        Interop::V3 => {
            structured::boolean(headers, &names::UPLOAD_INCOMPLETE).map(|incomplete| !incomplete)
        }
        _ => structured::boolean(headers, &names::UPLOAD_COMPLETE),
    }
}

fn missing(interop: Interop) -> Refusal {
    Refusal::MissingHeader(match interop {
        Interop::V3 => "upload-incomplete",
        _ => "upload-complete",
    })
}

fn completes(complete: bool) -> Completes {
    if complete { Completes::WithThisBody } else { Completes::Later }
}

/// What a creation says (RUFH, section 4.2.1).
pub(super) fn of_creation(headers: &HeaderMap, interop: Interop) -> Result<Completes, Refusal> {
    said(headers, interop).map(completes).ok_or_else(|| missing(interop))
}

/// What an append says (RUFH, section 4.4.1).
pub(super) fn of_append(headers: &HeaderMap, interop: Interop) -> Result<Completes, Refusal> {
    match (said(headers, interop), interop) {
        (Some(complete), _) => Ok(completes(complete)),
        (None, Interop::V3) => Ok(Completes::WithThisBody),
        // Who says nothing says no more than a client of tus does.
        (None, Interop::V4 | Interop::V5 | Interop::V6) => Ok(Completes::AtItsLength),
        (None, Interop::V7 | Interop::V8 | Interop::Final) => Err(missing(interop)),
    }
}

/// Says it in an answer.
pub(super) fn add(headers: &mut HeaderMap, complete: bool, interop: Interop) {
    match interop {
        Interop::V3 => {
            headers.insert(&names::UPLOAD_INCOMPLETE, structured::of_boolean(!complete));
        }
        _ => {
            headers.insert(&names::UPLOAD_COMPLETE, structured::of_boolean(complete));
        }
    }
}
