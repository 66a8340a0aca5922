//! What no answer may be, and whether three answers say the same.

use super::{
    differences,
    request::Exchange,
    talk::{Answer, Silence},
};

/// What came back for one request: an answer, or why there is none.
pub(crate) type Heard = Result<Answer, Silence>;

/// What came back from one server.
#[derive(Clone, Debug, Default)]
pub(crate) struct Replies {
    /// One for each request.
    pub(crate) heard: Vec<Heard>,
    /// What came after that.
    pub(crate) extra: Vec<Heard>,
}

impl Replies {
    /// The same with the beginnings of bodies, to be told if something fails.
    pub(crate) fn shortened(&self) -> Self {
        let mut short = self.clone();
        for answer in short.heard.iter_mut().chain(&mut short.extra).flatten() {
            answer.body.truncate(120);
        }
        short
    }
}

/// The header names that may be in an answer; any other would have been injected.
const NAMES: [&str; 42] = [
    "accept-ranges",
    "access-control-allow-credentials",
    "access-control-allow-headers",
    "access-control-allow-methods",
    "access-control-allow-origin",
    "access-control-expose-headers",
    "access-control-max-age",
    "allow",
    "cache-control",
    "connection",
    "content-digest",
    "content-disposition",
    "content-length",
    "content-range",
    "content-security-policy",
    "content-type",
    "date",
    "etag",
    "location",
    "repr-digest",
    "retry-after",
    "transfer-encoding",
    "tus-checksum-algorithm",
    "tus-extension",
    "tus-max-size",
    "tus-resumable",
    "tus-version",
    "upload-complete",
    "upload-concat",
    "upload-defer-length",
    "upload-draft-interop-version",
    "upload-expires",
    "upload-incomplete",
    "upload-length",
    "upload-limit",
    "upload-metadata",
    "upload-offset",
    "vary",
    "want-content-digest",
    "want-repr-digest",
    "x-content-type-options",
    "x-request-id",
];

/// Words of the inside, which no client may hear: files, locators, sources, the system's errors.
const INSIDE: [&str; 14] = [
    ".rec",
    ".bin",
    ".slot",
    ".place",
    "upload:",
    "placed:",
    "panic",
    "src/",
    ".rs:",
    "os error",
    "No such file",
    "uploads/",
    "finished/",
    "StoreError",
];

/// Why an answer may not be, if so. `home` is the path that must not show.
pub(crate) fn fault(answer: &Answer, home: &str) -> Option<String> {
    // 501 and 505 would be answers of a framework to what it does not speak; neither sends them.
    // 503 and 507 belong to a server that stops or a disk that is full, which none of these is.
    if !(200..500).contains(&answer.status) {
        return Some(format!("status {}", answer.status));
    }
    if answer.status == 204 && answer.header("content-length").is_some() {
        return Some("a length of nothing".to_owned());
    }
    for (at, (name, value)) in answer.headers.iter().enumerate() {
        if !NAMES.contains(&name.as_str()) {
            return Some(format!("a header {name}"));
        }
        let again = answer.headers[..at].iter().any(|(before, _)| before == name);
        if again && name != "vary" {
            return Some(format!("{name} twice"));
        }
        let number = matches!(
            name.as_str(),
            "upload-offset" | "upload-length" | "content-length" | "tus-max-size" | "retry-after"
        );
        if number && (value.is_empty() || !value.iter().all(u8::is_ascii_digit)) {
            return Some(format!("{name} is no number"));
        }
    }
    let mut shown = answer.body.clone();
    // A download is the client's own.
    if answer.header("content-disposition").is_some() {
        shown.clear();
    }
    for (name, value) in &answer.headers {
        shown.extend_from_slice(name.as_bytes());
        shown.push(b'\n');
        shown.extend_from_slice(value);
        shown.push(b'\n');
    }
    let shown = String::from_utf8_lossy(&shown);
    let leaked = INSIDE.iter().chain([&home]).find(|word| shown.contains(**word));
    leaked.map(|word| format!("{word:?} in it"))
}

/// A body without the name of the request, by which a refusal of ours ends, or which is a member of
/// a problem document.
fn unsigned(answer: &Answer) -> Vec<u8> {
    let name = answer.header("x-request-id").unwrap_or_default();
    if name.is_empty() {
        return answer.body.clone();
    }
    let text = String::from_utf8_lossy(&answer.body);
    text.replace(&format!("request: {name}\n"), "").replace(&*name, "").into_bytes()
}

/// Whether what two servers said is alike; if not, what differs.
pub(crate) fn differ(left: &Heard, right: &Heard) -> Option<String> {
    let (left, right) = match (left, right) {
        (Ok(left), Ok(right)) => (left, right),
        (left, right) if left == right => return None,
        _ => return Some("one answers, one does not".to_owned()),
    };
    if left.status != right.status {
        return Some(format!("{} and {}", left.status, right.status));
    }
    if unsigned(left) != unsigned(right) {
        return Some("the bodies".to_owned());
    }
    let differs = |name: &&&str| {
        let values = |answer: &Answer| {
            let of_name = answer.headers.iter().filter(|(found, _)| found == **name);
            let values: Vec<_> = of_name.map(|(_, value)| value.clone()).collect();
            match **name {
                // The time of day; and a part has no end as long as a final waits for it, which
                // is found out behind the answer to its last byte.
                "date" | "upload-expires" => Vec::new(),
                // Each server names requests by itself, and counts that name in the length.
                "x-request-id" => vec![Vec::new(); values.len()],
                // The time of the last write; that there is one matters.
                "etag" => vec![Vec::new(); values.len()],
                _ => values,
            }
        };
        values(left) != values(right)
    };
    NAMES.iter().find(differs).map(|name| format!("header {name}"))
}

/// Which known difference explains that these are not alike, if one does.
pub(crate) fn explained(
    exchange: &Exchange,
    at: usize,
    (left, said): (&'static str, &Replies),
    (right, other): (&'static str, &Replies),
    difference: &str,
) -> Option<&'static str> {
    let before = at.checked_sub(1).map(|before| &said.heard[before]);
    let (left, right) = ((left, &said.heard[at]), (right, &other.heard[at]));
    let case = differences::Case { exchange, at, difference, before, left, right };
    differences::ALL.iter().find(|known| (known.explains)(&case)).map(|known| known.name)
}
