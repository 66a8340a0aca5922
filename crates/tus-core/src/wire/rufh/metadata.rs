//! What the client says about its upload in the words of HTTP, as metadata.

use bytes::Bytes;
use http::{HeaderMap, header};
use percent_encoding::percent_decode_str;

use super::{fields, names};
use crate::model::{Metadata, Refusal};

/// The metadata of a creation: that of tus, as clients of both dialects send it, and what
/// `Content-Type` and `Content-Disposition` add (RUFH, section 4.2.1).
pub(in crate::wire) fn of(headers: &HeaderMap) -> Result<Metadata, Refusal> {
    let invalid = || Refusal::InvalidHeader("upload-metadata");
    let said = fields::single(headers, &names::UPLOAD_METADATA)?.unwrap_or_default();
    let said = Metadata::parse(said).map_err(|_| invalid())?;
    let mut more: Vec<(&str, Bytes)> = Vec::new();
    if said.filename().is_none()
        && let Some(name) = headers
            .get(header::CONTENT_DISPOSITION)
            .and_then(|value| filename(&String::from_utf8_lossy(value.as_bytes())))
    {
        more.push(("filename", name));
    }
    if said.filetype().is_none()
        && let Some(kind) = headers.get(header::CONTENT_TYPE)
        && !kind.to_str().is_ok_and(|kind| fields::is_media_type(kind, names::PARTIAL_UPLOAD))
    {
        more.push(("filetype", Bytes::copy_from_slice(kind.as_bytes())));
    }
    if more.is_empty() {
        return Ok(said);
    }
    let own = said.iter().filter(|(key, _)| !more.iter().any(|(known, _)| known == key));
    let own: Vec<_> =
        own.map(|(key, value)| (key.to_owned(), Bytes::copy_from_slice(value))).collect();
    let more = more.into_iter().map(|(key, value)| (key.to_owned(), value));
    Metadata::from_pairs(own.into_iter().chain(more)).map_err(|_| invalid())
}

/// The file name of a `Content-Disposition`: `filename*` goes before `filename` (RFC 6266, section
/// 4.3). Untrusted bytes of any form, as all metadata is.
fn filename(text: &str) -> Option<Bytes> {
    let mut plain = None;
    for (name, value) in parameters(text) {
        if name.eq_ignore_ascii_case("filename*")
            && let Some(decoded) = extended(&value)
        {
            return Some(decoded).filter(|name| !name.is_empty());
        }
        if name.eq_ignore_ascii_case("filename") && plain.is_none() {
            plain = Some(Bytes::from(value));
        }
    }
    plain.filter(|name| !name.is_empty())
}

/// The value of an extended parameter (RFC 8187, section 3.2): charset, language, octets.
fn extended(value: &str) -> Option<Bytes> {
    let mut pieces = value.splitn(3, '\'');
    let charset = pieces.next()?;
    let octets = pieces.nth(1)?;
    let decoded: Vec<u8> = percent_decode_str(octets).collect();
    if charset.eq_ignore_ascii_case("utf-8") {
        return std::str::from_utf8(&decoded).is_ok().then(|| Bytes::from(decoded));
    }
    let latin = charset.eq_ignore_ascii_case("iso-8859-1");
    latin.then(|| Bytes::from(decoded.into_iter().map(char::from).collect::<String>()))
}

/// The parameters after the disposition type (RFC 6266, section 4.1), quotes taken off.
fn parameters(text: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut rest = text.split_once(';').map_or("", |(_, rest)| rest);
    while let Some((name, after)) = rest.split_once('=') {
        let (value, left) = value(after.trim_start());
        found.push((name.trim().trim_start_matches(';').trim().to_owned(), value));
        rest = left.trim_start().strip_prefix(';').unwrap_or(left);
    }
    found
}

/// A token, or a quoted string (RFC 9110, section 5.6.4), and what follows it.
fn value(text: &str) -> (String, &str) {
    let Some(quoted) = text.strip_prefix('"') else {
        let (token, rest) = text.split_at(text.find(';').unwrap_or(text.len()));
        return (token.trim().to_owned(), rest);
    };
    let mut value = String::new();
    let mut escaped = false;
    for (at, c) in quoted.char_indices() {
        match c {
            '\\' if !escaped => escaped = true,
            '"' if !escaped => return (value, quoted.get(at + 1..).unwrap_or_default()),
            c => {
                value.push(c);
                escaped = false;
            }
        }
    }
    (value, "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_names_are_found_in_every_form() {
        let table: [(&str, Option<&[u8]>); 14] = [
            ("attachment", None),
            ("inline; filename=a.txt", Some(b"a.txt")),
            ("inline; filename=\"a b.txt\"", Some(b"a b.txt")),
            ("inline; filename=\"a;b=\\\"c\\\\.txt\"; size=3", Some(b"a;b=\"c\\.txt")),
            ("inline; FileName=a; filename*=UTF-8''b%20c", Some(b"b c")),
            ("inline; filename*=utf-8'en'%e2%82%ac; filename=a", Some("€".as_bytes())),
            ("inline; filename*=iso-8859-1''%e4", Some("ä".as_bytes())),
            ("inline; filename*=UTF-8''%ff; filename=a", Some(b"a")),
            ("inline; filename*=ebcdic''a; filename=b", Some(b"b")),
            ("inline; filename*=a", None),
            ("inline; filename=\"\"", None),
            ("inline; filename=\"never closed", Some(b"never closed")),
            ("inline;; filename=a", Some(b"a")),
            ("inline; filename=../../etc/passwd", Some(b"../../etc/passwd")),
        ];
        for (text, expected) in table {
            assert_eq!(filename(text).as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn what_tus_says_goes_before_what_http_says() {
        let mut headers = HeaderMap::new();
        let value = |text: &'static str| http::HeaderValue::from_static(text);
        headers.insert(header::CONTENT_TYPE, value("text/plain"));
        headers.insert(header::CONTENT_DISPOSITION, value("inline; filename=\"a.txt\""));
        let metadata = of(&headers).unwrap();
        assert_eq!(metadata.raw(), "filename YS50eHQ=,filetype dGV4dC9wbGFpbg==");
        headers.insert(&names::UPLOAD_METADATA, value("filename Yg==,note"));
        let metadata = of(&headers).unwrap();
        assert_eq!(metadata.filename().as_deref(), Some("b"));
        assert_eq!(metadata.filetype().as_deref(), Some("text/plain"));
        assert_eq!(metadata.get("note"), Some(&b""[..]));
        headers.insert(&names::UPLOAD_METADATA, value("a ?"));
        assert!(of(&headers).is_err());
    }
}
