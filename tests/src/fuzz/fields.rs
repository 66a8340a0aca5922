//! The values of single headers. The first byte says which; what is read and written again is
//! read as the same.

use std::net::IpAddr;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::{HeaderMap, HeaderName, HeaderValue, Uri};
use tus_core::{
    Metadata, OriginPattern, Policy, UploadId,
    fuzzing::{self, Around},
};
use tus_fs::fuzzing as files;

/// How many fields there are to choose from.
pub(super) const FIELDS: u8 = 9;

pub(super) fn run(data: &[u8]) {
    let Some((field, rest)) = data.split_first() else { return };
    let text = String::from_utf8_lossy(rest);
    match field % FIELDS {
        0 => metadata(&text),
        1 => checksum(&text),
        2 => part(&text),
        3 => forwarded(&lines(rest)),
        4 => range(&text),
        5 => drop(fuzzing::trailers(&lines(rest))),
        6 => origin(&text),
        7 => items(rest),
        _ => content_disposition(rest),
    }
}

/// Header lines.
fn lines(text: &[u8]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for line in text.split(|byte| *byte == b'\n') {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
        let name = HeaderName::from_bytes(&line[..colon]);
        let value = HeaderValue::from_bytes(line[colon + 1..].trim_ascii());
        if let (Ok(name), Ok(value)) = (name, value) {
            headers.append(name, value);
        }
    }
    headers
}

fn metadata(text: &str) {
    let Ok(metadata) = Metadata::parse(text) else { return };
    assert!(metadata.is_empty() || metadata.raw() == text);
    metadata_holds(&metadata);
}

fn metadata_holds(metadata: &Metadata) {
    assert_eq!(Metadata::parse(metadata.raw()).as_ref(), Ok(metadata));
    let mut keys: Vec<_> = metadata.iter().map(|(key, _)| key).collect();
    keys.sort_unstable();
    keys.dedup();
    assert_eq!(keys.len(), metadata.iter().count(), "a key twice");
    let pairs: Vec<_> =
        metadata.iter().map(|(key, value)| (key.to_owned(), value.to_vec())).collect();
    if let Ok(made) = Metadata::from_pairs(pairs) {
        let again = Metadata::parse(made.raw()).expect("what was made");
        assert!(again.iter().eq(metadata.iter()));
    }
    let json = serde_json::to_string(metadata).expect("JSON");
    assert_eq!(serde_json::from_str::<Metadata>(&json).ok().as_ref(), Some(metadata));
    for value in fuzzing::download(metadata) {
        assert!(value.as_bytes().iter().all(|byte| matches!(byte, b' '..=b'~')), "{value:?}");
    }
    if let Some(name) = metadata.filename() {
        file_name(&name);
    }
}

/// A client's name for a file can do no harm, and sanitising it again changes nothing.
fn file_name(text: &str) {
    let Some(name) = files::file_name(text) else { return };
    assert!(!name.is_empty() && name.len() <= 200, "{name:?}");
    assert!(!name.starts_with(['.', ' ']) && !name.ends_with(['.', ' ']), "{name:?}");
    let harmless = |c: char| !c.is_control() && !matches!(c, '/' | '\\' | ':' | '*' | '?' | '"');
    assert!(name.chars().all(harmless), "{name:?}");
    assert_eq!(files::file_name(&name).as_ref(), Some(&name));
}

fn checksum(text: &str) {
    let Some(digest) = fuzzing::checksum(text) else { return };
    assert_eq!(digest.value.len(), digest.algorithm.size());
    let said = format!("{} {}", digest.algorithm, STANDARD.encode(&digest.value));
    assert_eq!(fuzzing::checksum(&said).as_ref(), Some(&digest), "{said}");
}

/// What is understood of the fields of RUFH is understood again in the fewest words.
fn items(text: &[u8]) {
    let Ok(value) = HeaderValue::from_bytes(text) else { return };
    let read = |value: &HeaderValue| {
        let mut headers = HeaderMap::new();
        headers.insert("upload-complete", value.clone());
        headers.insert("upload-length", value.clone());
        fuzzing::items(&headers)
    };
    match read(&value) {
        (Some(complete), length) => {
            assert_eq!(length, None, "{value:?}");
            let said = HeaderValue::from_static(if complete { "?1" } else { "?0" });
            assert_eq!(read(&said), (Some(complete), None));
        }
        (None, Some(length)) => {
            assert!(length < 1_000_000_000_000_000, "{value:?}");
            assert_eq!(read(&HeaderValue::from(length)), (None, Some(length)));
        }
        (None, None) => {}
    }
}

/// Whatever a client of RUFH calls its file can be kept, told and sent, and does no harm.
fn content_disposition(text: &[u8]) {
    let Ok(value) = HeaderValue::from_bytes(text) else { return };
    let read = |value: HeaderValue| {
        let mut headers = HeaderMap::new();
        headers.insert("content-disposition", value);
        fuzzing::metadata(&headers).expect("what cannot be read is left out")
    };
    let metadata = read(value);
    metadata_holds(&metadata);
    let Some(name) = metadata.get("filename") else {
        return assert!(metadata.is_empty(), "{metadata:?}");
    };
    assert!(!name.is_empty());
    if std::str::from_utf8(name).is_ok() {
        let octets: String = name.iter().map(|byte| format!("%{byte:02x}")).collect();
        let said = format!("inline; filename*=UTF-8''{octets}");
        assert_eq!(read(said.parse().expect("a value")), metadata);
    }
}

/// What may stand in an id.
fn is_id(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    (1..=128).contains(&text.len()) && text.bytes().all(allowed)
}

fn part(text: &str) {
    assert_eq!(text.parse::<UploadId>().is_ok(), is_id(text));
    let policy = Policy::default();
    let around = Around { mount: "/files", policy: &policy, peer: None, all: true, rufh: true };
    let nothing = HeaderMap::new();
    let Some(id) = around.resolve(&nothing, text) else { return };
    assert!(is_id(id.as_str()));
    assert!(text.contains(id.as_str()), "{text} is {id}");
    assert_eq!(around.resolve(&nothing, &around.url(&nothing, &id)), Some(id));
}

/// Whatever proxies say, the URL that a client is told is one, and names the upload.
fn forwarded(headers: &HeaderMap) {
    let mut policy = Policy::default();
    policy.trusted_proxies = vec!["10.0.0.0/8".parse().expect("a network")];
    let id: UploadId = "abc".parse().expect("an id");
    for peer in [None, Some(IpAddr::from([10, 0, 0, 1])), Some(IpAddr::from([9, 9, 9, 9]))] {
        let around = Around { mount: "/files", policy: &policy, peer, all: true, rufh: true };
        let url = around.url(headers, &id);
        let is_trusted = peer == Some(IpAddr::from([10, 0, 0, 1]));
        assert!(is_trusted || url == "/files/abc", "{url}");
        assert!(is_trusted || around.client(headers) == peer);
        assert!(HeaderValue::try_from(url.as_str()).is_ok(), "{url:?}");
        let absolute = url.starts_with("http://") || url.starts_with("https://");
        assert!(absolute || (url.starts_with('/') && !url.starts_with("//")), "{url}");
        let uri: Uri = url.parse().expect("a URL");
        assert!(uri.path().ends_with("/files/abc") && uri.query().is_none(), "{url}");
        assert_eq!(around.resolve(headers, &url).as_ref(), Some(&id), "{url}");
    }
}

/// A range in plain words.
pub(super) fn say_range((first, last): (Option<u64>, Option<u64>)) -> String {
    let say = |number: Option<u64>| number.map(|number| number.to_string()).unwrap_or_default();
    format!("bytes={}-{}", say(first), say(last))
}

fn range(text: &str) {
    let Some(range) = fuzzing::range(text) else { return };
    assert!(range.0.is_some() || range.1.is_some());
    assert!(range.0.zip(range.1).is_none_or(|(first, last)| first <= last));
    assert_eq!(fuzzing::range(&say_range(range)), Some(range));
}

/// A pattern lets in no origin but those whose host ends as it says.
fn origin(text: &str) {
    let pattern: OriginPattern = "https://*.up.test".parse().expect("a pattern");
    if pattern.matches(text) {
        let lower = text.to_ascii_lowercase();
        let host = lower.strip_prefix("https://").and_then(|host| host.strip_suffix(".up.test"));
        let label = |host: &str| {
            let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.');
            !host.is_empty() && host.bytes().all(allowed)
        };
        assert!(host.is_some_and(label), "{text}");
    }
    // What an operator may write as a pattern is one, or is refused.
    if let Ok(pattern) = text.parse::<OriginPattern>()
        && !text.contains('*')
    {
        assert!(pattern.matches(text), "{text}");
    }
}
