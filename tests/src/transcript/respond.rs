//! What came back, and what holds for every response whatever was asked.

use std::fmt;

use http::{HeaderMap, HeaderName, Method, Response, header};
use http_body_util::BodyExt as _;
use tus_core::Body;

use super::always::Asked;

/// A response, read to its end.
#[derive(Debug)]
pub(super) struct Received {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) body: Vec<u8>,
}

impl Received {
    pub(super) async fn read(response: Response<Body>) -> Result<Self, String> {
        let (parts, body) = response.into_parts();
        let body = body.collect().await.map_err(|error| format!("the body broke: {error}"))?;
        let body = body.to_bytes().to_vec();
        Ok(Self { status: parts.status.as_u16(), headers: parts.headers, body })
    }

    /// The values of a header, in their order.
    pub(super) fn values(&self, name: impl Into<HeaderName>) -> Vec<String> {
        values(&self.headers, &name.into())
    }

    /// The body without the line that names the request, which differs every time.
    pub(super) fn text(&self) -> &[u8] {
        let id = self.values(HeaderName::from_static("x-request-id")).concat();
        let line = format!("request: {id}\n");
        self.body.strip_suffix(line.as_bytes()).unwrap_or(&self.body)
    }

    pub(super) fn has(&self, name: &'static str) -> bool {
        self.headers.contains_key(name)
    }

    pub(super) fn number(&self, name: &'static str) -> Option<u64> {
        self.headers.get(name)?.to_str().ok()?.parse().ok()
    }

    /// Adds a line for everything that no response of ours may be, in whatever dialect.
    pub(super) fn check_invariants(&self, asked: &Asked, faults: &mut Vec<String>) {
        let (status, method) = (self.status, &asked.method);
        let mut must = |holds: bool, text: &str| {
            if !holds {
                faults.push(format!("always: {text}"));
            }
        };
        let once =
            |name: &'static str, value: &str| self.values(HeaderName::from_static(name)) == [value];
        match asked.tus {
            true => must(once("tus-resumable", "1.0.0"), "Tus-Resumable: 1.0.0, once"),
            false => must(!self.has("tus-resumable"), "no Tus-Resumable where tus is off"),
        }
        must(once("x-content-type-options", "nosniff"), "X-Content-Type-Options: nosniff");
        must(self.values(header::CACHE_CONTROL).len() == 1, "one Cache-Control");
        must(status != 500, "no request makes the server fail");
        must(status != 412 || self.has("tus-version"), "412 has Tus-Version");
        must(status != 405 || self.has("allow"), "405 has Allow");
        must(status < 400 || self.has("x-request-id"), "a refusal names the request");
        must(status != 416 || self.has("content-range"), "416 has Content-Range");
        must(status != 503 || self.has("retry-after"), "503 has Retry-After");
        let no_body = method == Method::HEAD || matches!(status, 204 | 304);
        must(!no_body || self.body.is_empty(), "no body for HEAD, with 204 and 304");
        must(status != 204 || !self.has("content-length"), "204 has no Content-Length");
        must(
            status < 400 || method == Method::HEAD || self.has("content-type"),
            "a refusal says what type its text has",
        );
        let length = self.number("content-length").filter(|_| !no_body);
        must(length.is_none_or(|l| l == self.body.len() as u64), "Content-Length tells the truth");
        let (offset, length) = (self.number("upload-offset"), self.number("upload-length"));
        let within = offset.zip(length).is_none_or(|(offset, length)| offset <= length);
        must(within, "Upload-Offset is within Upload-Length");
        let refused_head = status >= 400 && method == Method::HEAD;
        must(!refused_head || offset.is_none(), "a HEAD that is refused has no Upload-Offset");
        let both = self.has("upload-length") && self.has("upload-defer-length");
        must(!both, "Upload-Length and Upload-Defer-Length exclude each other");
        let text = String::from_utf8_lossy(&self.body);
        let inside = ["panicked", "Error {", "StoreError", "/src/"];
        must(!inside.iter().any(|leak| text.contains(leak)), "nothing of our inside is told");
    }
}

/// The values of a header, in their order.
pub(super) fn values(headers: &HeaderMap, name: &HeaderName) -> Vec<String> {
    let values = headers.get_all(name).iter();
    values.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned()).collect()
}

impl fmt::Display for Received {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "    | HTTP/1.1 {}", self.status)?;
        for (name, value) in &self.headers {
            writeln!(f, "    | {name}: {}", String::from_utf8_lossy(value.as_bytes()))?;
        }
        let text = String::from_utf8_lossy(&self.body);
        for line in text.lines() {
            writeln!(f, "    |   {}", line.chars().take(200).collect::<String>())?;
        }
        Ok(())
    }
}
