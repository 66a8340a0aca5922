//! The text forms that more than one header shares.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::{HeaderMap, HeaderName, HeaderValue, header};

use crate::model::{Digest, RangeSpec, Read, Refusal, Timestamp};

/// The value of a header that may stand in a request only once, as UTF-8 text.
pub(super) fn single<'h>(
    headers: &'h HeaderMap,
    name: &'static HeaderName,
) -> Result<Option<&'h str>, Refusal> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    let invalid = Refusal::InvalidHeader(name.as_str());
    if values.next().is_some() {
        return Err(invalid);
    }
    std::str::from_utf8(value.as_bytes()).map(|text| Some(text.trim())).map_err(|_| invalid)
}

/// A non-negative integer (tus 1.0.0, Upload-Offset and Upload-Length).
///
/// One that is too large for us is still a number, only a larger one than any upload has.
pub(super) fn integer(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    digits.then(|| text.parse().unwrap_or(u64::MAX))
}

/// A header that holds one such integer.
pub(super) fn single_integer(
    headers: &HeaderMap,
    name: &'static HeaderName,
) -> Result<Option<u64>, Refusal> {
    let Some(text) = single(headers, name)? else {
        return Ok(None);
    };
    integer(text).map(Some).ok_or(Refusal::InvalidHeader(name.as_str()))
}

/// Whether a `Content-Type` names this media type, whatever its case and parameters.
pub(super) fn is_media_type(value: &str, expected: &str) -> bool {
    value.split(';').next().is_some_and(|essence| essence.trim().eq_ignore_ascii_case(expected))
}

/// The algorithm and value of an `Upload-Checksum` (tus 1.0.0, Checksum).
pub(super) fn checksum(text: &str) -> Result<Digest, Refusal> {
    let invalid = || Refusal::InvalidHeader("upload-checksum");
    let (name, value) = text.split_once(' ').ok_or_else(invalid)?;
    let algorithm = name.parse().map_err(|()| Refusal::UnknownDigest)?;
    let digest = Digest { algorithm, value: STANDARD.decode(value.trim()).map_err(|_| invalid())? };
    if digest.value.len() == digest.algorithm.size() { Ok(digest) } else { Err(invalid()) }
}

/// The one range of a `Range` header; `None` for anything that may be ignored (RFC 9110, 14.2).
pub(super) fn range(text: &str) -> Option<RangeSpec> {
    let (unit, set) = text.split_once('=')?;
    if !unit.trim().eq_ignore_ascii_case("bytes") {
        return None;
    }
    let (first, last) = set.trim().split_once('-')?;
    match (first.trim(), last.trim()) {
        ("", last) => Some(RangeSpec::Suffix(integer(last)?)),
        (first, "") => Some(RangeSpec::From(integer(first)?, None)),
        (first, last) => {
            let (first, last) = (integer(first)?, integer(last)?);
            (first <= last).then_some(RangeSpec::From(first, Some(last)))
        }
    }
}

/// What a GET asks for (RFC 9110, sections 13 and 14).
pub(super) fn read(headers: &HeaderMap) -> Read {
    let text = headers.get(header::RANGE).and_then(|value| value.to_str().ok());
    Read {
        range: text.and_then(range),
        if_range: headers.get(header::IF_RANGE).cloned(),
        if_none_match: headers.get(header::IF_NONE_MATCH).cloned(),
    }
}

/// An IMF-fixdate (RFC 9110, section 5.6.7).
pub(super) fn http_date(at: Timestamp) -> HeaderValue {
    let text = httpdate::fmt_http_date(at.to_system_time());
    HeaderValue::from_str(&text)
        .unwrap_or(HeaderValue::from_static("Thu, 01 Jan 1970 00:00:00 GMT"))
}

#[cfg(test)]
mod tests {
    use super::{super::names, *};
    use crate::model::Algorithm;

    #[test]
    fn integers_are_digits_however_many() {
        let table = [
            ("0", Some(0)),
            ("007", Some(7)),
            ("9223372036854775807", Some(9_223_372_036_854_775_807)),
            ("18446744073709551616", Some(u64::MAX)),
            ("99999999999999999999999999999999", Some(u64::MAX)),
            ("", None),
            ("+1", None),
            ("-1", None),
            ("1.0", None),
            ("1e3", None),
            ("0x10", None),
            ("1 2", None),
            ("１", None),
        ];
        for (text, expected) in table {
            assert_eq!(integer(text), expected, "{text:?}");
        }
    }

    #[test]
    fn a_repeated_header_is_refused() {
        let mut headers = HeaderMap::new();
        headers.append(&names::UPLOAD_OFFSET, HeaderValue::from_static("1"));
        assert_eq!(single_integer(&headers, &names::UPLOAD_OFFSET), Ok(Some(1)));
        headers.append(&names::UPLOAD_OFFSET, HeaderValue::from_static("1"));
        assert!(single_integer(&headers, &names::UPLOAD_OFFSET).is_err());
    }

    #[test]
    fn media_types_are_compared_as_media_types() {
        let expected = names::OFFSET_OCTET_STREAM;
        for value in
            [expected, "Application/Offset+Octet-Stream", "application/offset+octet-stream ; a=b"]
        {
            assert!(is_media_type(value, expected), "{value}");
        }
        for value in ["", "application/offset+octet-streams", "text/plain", "application/offset"] {
            assert!(!is_media_type(value, expected), "{value}");
        }
    }

    #[test]
    fn checksums_have_a_known_name_and_the_right_length() {
        let good = checksum("sha1 Kq5sNclPz7QV2+lfQIuc6R7oRu0=").unwrap();
        assert_eq!(good.algorithm, Algorithm::Sha1);
        assert_eq!(checksum("crc32 DUoRhQ==").unwrap().value, [0x0d, 0x4a, 0x11, 0x85]);
        assert_eq!(checksum("sha3 AAAA"), Err(Refusal::UnknownDigest));
        assert_eq!(checksum("SHA1 Kq5sNclPz7QV2+lfQIuc6R7oRu0="), Err(Refusal::UnknownDigest));
        for bad in ["sha1", "sha1 ", "sha1 ?", "sha1 AAAA", "sha1  Kq5sNclPz7QV2"] {
            assert!(matches!(checksum(bad), Err(Refusal::InvalidHeader(_))), "{bad:?}");
        }
    }

    #[test]
    fn only_one_range_of_bytes_is_understood() {
        let table = [
            ("bytes=0-0", Some(RangeSpec::From(0, Some(0)))),
            ("bytes=5-", Some(RangeSpec::From(5, None))),
            ("BYTES=-5", Some(RangeSpec::Suffix(5))),
            ("bytes=5-4", None),
            ("bytes=0-1,3-4", None),
            ("bytes=-", None),
            ("items=0-1", None),
            ("bytes 0-1", None),
        ];
        for (text, expected) in table {
            assert_eq!(range(text), expected, "{text:?}");
        }
    }
}
