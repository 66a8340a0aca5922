//! What follows a body.

use http::HeaderMap;

use super::{fields, names};
use crate::model::{Digest, Refusal};

/// The digest that trailers bring, if any (tus 1.0.0, Checksum).
pub(crate) fn read_trailers(trailers: &HeaderMap) -> Result<Option<Digest>, Refusal> {
    let text = fields::single(trailers, &names::UPLOAD_CHECKSUM)?;
    text.map(fields::checksum).transpose()
}
