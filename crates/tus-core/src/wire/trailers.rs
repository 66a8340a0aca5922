//! What follows a body.

use http::{HeaderMap, HeaderName, header};

use super::{Dialect, Offer, digests, fields, names};
use crate::model::{Digest, Refusal};

/// The digest that trailers bring, if any.
pub(crate) fn read_trailers(
    trailers: &HeaderMap,
    dialect: Dialect,
    offer: &Offer,
) -> Result<Option<Digest>, Refusal> {
    match dialect {
        Dialect::Rufh(_) => Ok(digests::of_content(trailers, offer)),
        Dialect::Tus | Dialect::Discovery { .. } => checksum(trailers),
    }
}

/// The `Upload-Checksum` in trailers (tus 1.0.0, Checksum).
pub(super) fn checksum(trailers: &HeaderMap) -> Result<Option<Digest>, Refusal> {
    let text = fields::single(trailers, &names::UPLOAD_CHECKSUM)?;
    text.map(fields::checksum).transpose()
}

/// Whether a head declares that a field will follow the body (RFC 9110, section 6.6.2).
pub(super) fn declared(headers: &HeaderMap, name: &HeaderName) -> bool {
    headers.get_all(header::TRAILER).iter().any(|line| {
        let mut names = line.to_str().unwrap_or_default().split(',').map(str::trim);
        names.any(|declared| declared.eq_ignore_ascii_case(name.as_str()))
    })
}
