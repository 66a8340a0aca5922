//! Difference: how an append is acknowledged that does not complete the upload.

use http::StatusCode;

use super::Interop;

/// Up to -05 it MUST be 201; later any 2xx will do (RUFH, section 4.4.2).
pub(super) fn status(interop: Interop) -> StatusCode {
    if interop <= Interop::V6 { StatusCode::CREATED } else { StatusCode::NO_CONTENT }
}
