//! Difference: which limits are told, and in what words. There are none before -04, and -04 and -05
//! call the remaining time `expires`.

use http::HeaderMap;

use super::{Interop, names, structured};
use crate::model::UploadLimits;

/// Tells the limits (RUFH, section 4.1.4); where there are none, `min-size=0`.
pub(in crate::wire) fn add_limits(
    headers: &mut HeaderMap,
    limits: &UploadLimits,
    interop: Interop,
) {
    if interop <= Interop::V5 {
        return;
    }
    let age = if interop == Interop::V6 { "expires" } else { "max-age" };
    let members = [
        ("max-size", limits.max_size),
        ("min-size", limits.min_size),
        ("max-append-size", limits.max_append_size),
        ("min-append-size", limits.min_append_size),
        (age, limits.max_age.map(|age| age.as_secs())),
    ];
    let told = members.into_iter().filter_map(|(key, value)| Some((key, value?)));
    let told: Vec<_> = told.map(|(key, value)| (key, structured::of_integer(value))).collect();
    let none = vec![("min-size", structured::of_integer(0))];
    let members = if told.is_empty() { none } else { told };
    if let Some(value) = structured::write_dictionary(members) {
        headers.insert(&names::UPLOAD_LIMIT, value);
    }
}
