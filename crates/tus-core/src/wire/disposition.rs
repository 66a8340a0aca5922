//! The headers of a download: never a client's bytes raw in one of them.

use http::HeaderValue;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// What RFC 8187 calls attr-char, besides letters and digits.
const EXT_VALUE: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'!')
    .remove(b'#')
    .remove(b'$')
    .remove(b'&')
    .remove(b'+')
    .remove(b'-')
    .remove(b'.')
    .remove(b'^')
    .remove(b'_')
    .remove(b'`')
    .remove(b'|')
    .remove(b'~');

/// `attachment`, with the client's file name in both of its forms (RFC 6266, RFC 8187).
pub(super) fn content_disposition(filename: Option<&str>) -> HeaderValue {
    let attachment = HeaderValue::from_static("attachment");
    let Some(name) = filename else {
        return attachment;
    };
    let name: String = name.chars().filter(|c| !is_treacherous(*c)).take(255).collect();
    let name = name.rsplit(['/', '\\']).next().unwrap_or_default();
    if matches!(name, "" | "." | "..") {
        return attachment;
    }
    let ascii = |c: char| match c {
        ' '..='~' if !matches!(c, '"' | '\\' | '%') => c,
        _ => '_',
    };
    let fallback: String = name.chars().map(ascii).collect();
    let extended = utf8_percent_encode(name, EXT_VALUE);
    let text = format!("attachment; filename=\"{fallback}\"; filename*=UTF-8''{extended}");
    HeaderValue::from_str(&text).unwrap_or(attachment)
}

/// Whether a character could make a name look like another one: controls, and those that are not
/// seen or turn the direction of what follows.
fn is_treacherous(c: char) -> bool {
    let unseen = matches!(c,
        '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}');
    c.is_control() || unseen
}

/// The client's media type where it can do no harm in a browser, else octets.
pub(super) fn content_type(filetype: Option<&str>) -> HeaderValue {
    let octets = HeaderValue::from_static("application/octet-stream");
    let Some(kind) = filetype else { return octets };
    let essence = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&b);
    let Some((family, member)) = essence.split_once('/') else {
        return octets;
    };
    let well_formed = !member.is_empty() && member.bytes().all(token);
    let harmless = match family {
        "image" => member != "svg+xml",
        "audio" | "video" => true,
        "text" => member == "plain",
        "application" => matches!(member, "pdf" | "zip" | "gzip" | "json"),
        _ => false,
    };
    if !(well_formed && harmless) {
        return octets;
    }
    HeaderValue::from_str(&essence).unwrap_or(octets)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_quoted_and_encoded() {
        let table = [
            (None, "attachment"),
            (Some(""), "attachment"),
            (Some("\r\n"), "attachment"),
            (Some("a b.txt"), "attachment; filename=\"a b.txt\"; filename*=UTF-8''a%20b.txt"),
            (Some(".."), "attachment"),
            (
                Some("a\u{202e}gpj.exe"),
                "attachment; filename=\"agpj.exe\"; filename*=UTF-8''agpj.exe",
            ),
            (Some("../x"), "attachment; filename=\"x\"; filename*=UTF-8''x"),
            (Some("ü\".txt"), "attachment; filename=\"__.txt\"; filename*=UTF-8''%C3%BC%22.txt"),
            (
                Some("a\r\nSet-Cookie: b"),
                "attachment; filename=\"aSet-Cookie: b\"; filename*=UTF-8''aSet-Cookie%3A%20b",
            ),
        ];
        for (name, expected) in table {
            assert_eq!(content_disposition(name), expected, "{name:?}");
        }
    }

    #[test]
    fn every_character_gives_a_valid_header() {
        for c in (0..=0x2_0000).filter_map(char::from_u32) {
            let value = content_disposition(Some(&format!("a{c}b")));
            assert!(value.to_str().is_ok(), "{c:?}");
        }
    }

    #[test]
    fn only_harmless_types_are_passed_on() {
        let table = [
            (Some("image/PNG"), "image/png"),
            (Some("text/plain; charset=utf-8"), "text/plain"),
            (Some("image/svg+xml"), "application/octet-stream"),
            (Some("text/html"), "application/octet-stream"),
            (Some("video/mp4\r\nX: y"), "application/octet-stream"),
            (Some("image/"), "application/octet-stream"),
            (None, "application/octet-stream"),
        ];
        for (kind, expected) in table {
            assert_eq!(content_type(kind), expected, "{kind:?}");
        }
    }
}
