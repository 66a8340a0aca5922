//! What holds for every response of a dialect, whatever was asked.
//!
//! Which dialect a request speaks is said here once more, in the words of the specifications, so
//! that the server's own idea of it is looked at from outside.

use http::{HeaderMap, HeaderName, Method};
use serde_json::{Map, Value};

use super::{
    interim::Told,
    respond::{Received, values},
};

const INTEROP: HeaderName = HeaderName::from_static("upload-draft-interop-version");
const COMPLETE: HeaderName = HeaderName::from_static("upload-complete");

/// What a request speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Speaks {
    Tus,
    /// RUFH, of this interop version if it is one that is spoken here.
    Rufh(Option<u64>),
    /// OPTIONS, of a resource that makes uploads or of another one.
    Discovery(bool),
}

/// What was asked, as far as every response depends on it.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    /// The method that counts.
    pub(super) method: Method,
    pub(super) speaks: Speaks,
    /// Whether the target makes uploads.
    pub(super) creates: bool,
    /// Whether tus 1.0.0 is spoken.
    pub(super) tus: bool,
    /// Whether RUFH is.
    pub(super) rufh: bool,
}

impl Asked {
    /// What a request for this path below the mount (`None` for one elsewhere) asks.
    pub(super) fn new(
        (method, effective): (&Method, Method),
        below: Option<&str>,
        headers: &HeaderMap,
        (tus, rufh): (bool, bool),
    ) -> Self {
        let has = |name: &str| headers.contains_key(name);
        let creates = below.is_some_and(|path| matches!(path, "" | "/"));
        let id = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
        let names_one = below
            .and_then(|path| path.strip_prefix('/'))
            .is_some_and(|text| !text.is_empty() && text.chars().all(id));
        let version = match values(headers, &INTEROP).as_slice() {
            [one] => one.trim().parse().ok(),
            _ => None,
        };
        let kind = headers.get("content-type").and_then(|value| value.to_str().ok());
        let partial = kind.is_some_and(|kind| {
            kind.to_ascii_lowercase().trim().starts_with("application/partial-upload")
        });
        let complete = values(headers, &COMPLETE);
        let says = matches!(complete.as_slice(), [one] if is_boolean(one.trim()));
        let unmarked = names_one && [Method::HEAD, Method::GET, Method::DELETE].contains(method);
        let marked = has("upload-draft-interop-version") || partial || says || unmarked;
        let overridden = tus && has("x-http-method-override");
        let speaks = if *method == Method::OPTIONS && !overridden {
            Speaks::Discovery(creates)
        } else if rufh && !(tus && has("tus-resumable")) && (marked || !tus) {
            Speaks::Rufh(version.filter(|version| (3..=8).contains(version)))
        } else {
            Speaks::Tus
        };
        let method = if matches!(speaks, Speaks::Rufh(_)) { method.clone() } else { effective };
        Self { method, speaks, creates, tus, rufh }
    }
}

/// A Boolean of RFC 9651, perhaps with parameters.
fn is_boolean(text: &str) -> bool {
    text.split(';').next().is_some_and(|item| matches!(item, "?0" | "?1"))
}

/// Where a response is one that its dialect does not have.
pub(super) fn check(asked: &Asked, got: &Received, told: &[Told], faults: &mut Vec<String>) {
    let mut must = |holds: bool, text: &str| {
        if !holds {
            faults.push(format!("always: {text}"));
        }
    };
    let has = |name: &'static str| got.has(name);
    let of_rufh = ["upload-complete", "upload-incomplete", "upload-draft-interop-version"];
    match asked.speaks {
        Speaks::Tus => {
            let location = has("location");
            must((got.status == 201) == location, "Location comes with 201, and only there");
            must(!of_rufh.iter().any(|name| has(name)), "tus has none of RUFH's fields");
            must(!has("upload-limit"), "tus has no Upload-Limit");
            must(!is_problem(got), "tus has no problem documents");
            must(told.is_empty(), "tus has no interim responses");
        }
        Speaks::Discovery(creates) => {
            must(!of_rufh.iter().any(|name| has(name)), "OPTIONS tells of no upload");
            let limits = asked.rufh && creates && got.status == 204;
            must(has("upload-limit") == limits, "OPTIONS of what makes uploads has Upload-Limit");
            must(has("tus-version") == (asked.tus && got.status == 204), "and Tus-Version");
            must(told.is_empty(), "OPTIONS has no interim responses");
        }
        Speaks::Rufh(version) => {
            rufh(asked, version, got, &mut must);
            before(version, got, told, &mut must);
        }
    }
    if has("upload-limit") {
        let version = match asked.speaks {
            Speaks::Rufh(version) => version,
            _ => None,
        };
        must(limits_are_well_formed(&got.headers, version), "Upload-Limit is what RUFH says");
    }
}

/// Whether the message says that its upload is complete.
fn completeness(got: &Received, version: Option<u64>) -> Option<bool> {
    let (name, yes, no) = match version {
        Some(3) => ("upload-incomplete", "?0", "?1"),
        _ => ("upload-complete", "?1", "?0"),
    };
    match got.values(HeaderName::from_static(name)).as_slice() {
        [value] if value == yes => Some(true),
        [value] if value == no => Some(false),
        _ => None,
    }
}

fn rufh(asked: &Asked, version: Option<u64>, got: &Received, must: &mut impl FnMut(bool, &str)) {
    let (status, has) = (got.status, |name: &'static str| got.has(name));
    let named = got.number("upload-draft-interop-version");
    must(named == version, "the interop version of the request, if it is one we speak");
    let of_tus = [
        "upload-defer-length",
        "upload-metadata",
        "upload-concat",
        "upload-expires",
        "tus-version",
    ];
    must(!of_tus.iter().any(|name| has(name)), "RUFH has none of the fields of tus");
    let (own, foreign) = match version {
        Some(3) => ("upload-incomplete", "upload-complete"),
        _ => ("upload-complete", "upload-incomplete"),
    };
    must(!has(foreign), "completeness is said in the words of the version");
    let complete = completeness(got, version);
    must(has(own) == complete.is_some(), "completeness is ?0 or ?1, once");
    let success = (200..300).contains(&status);
    let download = asked.method == Method::GET && matches!(status, 200 | 206 | 304);
    if (asked.method == Method::DELETE && success) || status == 304 {
        must(complete.is_none(), "a 304 and a DELETE say no completeness");
    } else if success {
        must(complete.is_some(), "a success says whether the upload is complete");
        must(has("upload-offset"), "and how far it is");
        must(
            has("upload-limit") == (complete == Some(false) && version.is_none_or(|v| v > 5))
                || matches!(asked.method, Method::HEAD | Method::GET),
            "and what bounds it, if it is not",
        );
        must(!asked.creates || has("location"), "a creation says where the upload is");
    }
    if matches!(asked.method, Method::HEAD | Method::GET) && success && !download {
        must(status == 204, "an offset is told with 204");
        must(has("upload-limit") == version.is_none_or(|v| v > 5), "and what bounds the upload");
    }
    if status == 201 && !has("location") {
        let old = version.is_some_and(|version| version <= 6) && complete == Some(false);
        must(old, "201 without Location acknowledges an append of an old version");
    }
    if matches!(status, 404 | 410 | 416) {
        must(complete.is_none(), "nothing is said of what is not there");
    }
    let (offset, length) = (got.number("upload-offset"), got.number("upload-length"));
    if complete == Some(true) && length.is_some() {
        must(offset == length, "what is complete is whole");
    }
    let cached = got.values(http::header::CACHE_CONTROL);
    let wanted = if download { "private, no-cache" } else { "no-store" };
    must(cached == [wanted], "Cache-Control keeps the answer out of caches");
    if status >= 400 && asked.method != Method::HEAD {
        problem(version, got, must);
    }
}

fn is_problem(got: &Received) -> bool {
    got.values(http::header::CONTENT_TYPE) == ["application/problem+json"]
}

/// A refusal is a problem document, unless the application has its own words for it.
fn problem(version: Option<u64>, got: &Received, must: &mut impl FnMut(bool, &str)) {
    if !is_problem(got) {
        let theirs: [&[u8]; 2] = [b"not_allowed: ", b"not_wanted: "];
        let own = theirs.iter().any(|start| got.body.starts_with(start));
        must(own, "a refusal of ours is a problem document");
        return;
    }
    let Ok(members) = serde_json::from_slice::<Map<String, Value>>(&got.body) else {
        must(false, "a problem document is a JSON object");
        return;
    };
    let text = |name: &str| members.get(name).and_then(Value::as_str).unwrap_or_default();
    let named = ["title", "detail", "code"].iter().all(|name| !text(name).is_empty());
    must(named, "a problem has a title, a detail and a code");
    let status = members.get("status").and_then(Value::as_u64);
    must(status == Some(got.status.into()), "a problem has the status of its response");
    let id = got.values(HeaderName::from_static("x-request-id"));
    must(id == [text("request")], "a problem names its request");
    let registry = "https://iana.org/assignments/http-problem-types#";
    let kind = text("type");
    let offset = got.number("upload-offset");
    match kind.strip_prefix(registry) {
        Some("mismatching-upload-offset") => {
            let expected = members.get("expected-offset").and_then(Value::as_u64);
            must(expected.is_some() && expected == offset, "409 says the offset, twice the same");
            must(members.contains_key("provided-offset"), "and that of the request");
            must(got.status == 409, "an offset that does not match is 409");
            must(completeness(got, version) == Some(false), "and is about no final response");
        }
        Some("inconsistent-upload-length" | "completed-upload") => {
            must(got.status == 400, "an inconsistency is 400");
        }
        _ => must(kind == "about:blank", "a problem has a registered type, or none"),
    }
    let of_limits = ["too_large", "too_small", "append_too_large", "append_too_small"];
    if of_limits.contains(&text("code")) && version.is_none_or(|version| version > 5) {
        must(got.has("upload-limit"), "who is refused for a limit is told of it");
    }
}

/// What comes before a response (RUFH, sections 4.2.2, 4.4.2 and 5).
fn before(version: Option<u64>, got: &Received, told: &[Told], must: &mut impl FnMut(bool, &str)) {
    must(told.is_empty() || version.is_some(), "no 104 to who names no version we speak");
    let number = |headers: &HeaderMap, name: &str| -> Option<u64> {
        headers.get(name)?.to_str().ok()?.parse().ok()
    };
    let mut least = 0;
    for (index, one) in told.iter().enumerate() {
        let has = |name: &str| one.headers.contains_key(name);
        must(one.status == 104, "what comes before is 104");
        let named = number(&one.headers, "upload-draft-interop-version");
        must(named == version, "a 104 names the version of the request");
        must(has("location") != has("upload-offset"), "a 104 tells the URL, or how far it is");
        must(!has("location") || index == 0, "the URL comes first");
        let new = version.is_none_or(|version| version > 5);
        must(has("upload-limit") == (has("location") && new), "limits come with the URL");
        must(limits_are_well_formed(&one.headers, version), "and are what RUFH says");
        let most = 1 + usize::from(has("upload-limit")) + usize::from(named.is_some());
        must(one.headers.len() == most, "a 104 has nothing else");
        if let Some(offset) = number(&one.headers, "upload-offset") {
            must(offset >= least, "what is told does not go down");
            least = offset;
        }
    }
    let last = got.number("upload-offset");
    must(last.is_none_or(|last| last >= least), "nor does it with the response");
    let first = told.first().and_then(|one| one.headers.get("location"));
    let open = completeness(got, version) == Some(false);
    if let (Some(first), Some(last), true) = (first, got.headers.get("location"), open) {
        must(first == last, "Location is the same in all messages");
    }
}

/// A Dictionary of Integers whose keys are those of the version.
fn limits_are_well_formed(headers: &HeaderMap, version: Option<u64>) -> bool {
    let Some(value) = headers.get("upload-limit") else { return true };
    let age = if version == Some(6) { "expires" } else { "max-age" };
    let known = ["max-size", "min-size", "max-append-size", "min-append-size", age];
    let mut members = value.to_str().unwrap_or_default().split(", ");
    members.all(|member| {
        member.split_once('=').is_some_and(|(key, value)| {
            let digits = (1..=15).contains(&value.len());
            known.contains(&key) && digits && value.bytes().all(|b| b.is_ascii_digit())
        })
    })
}
