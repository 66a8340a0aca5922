//! The head of a request, as it goes over the wire.

use std::fmt::Write as _;

/// The head of a request: what is written here is what is sent, nothing is added or corrected.
#[derive(Clone, Debug)]
pub struct Head {
    method: String,
    target: String,
    version: &'static str,
    lines: Vec<(String, Vec<u8>)>,
}

impl Head {
    /// A request of tus: with `Host` and `Tus-Resumable`.
    pub fn new(method: &str, target: &str) -> Self {
        Self::plain(method, target).with("Tus-Resumable", "1.0.0")
    }

    /// A request with `Host` alone.
    pub fn plain(method: &str, target: &str) -> Self {
        let head = Self {
            method: method.to_owned(),
            target: target.to_owned(),
            version: "HTTP/1.1",
            lines: Vec::new(),
        };
        head.with("Host", "uploads.test")
    }

    /// A creation of an upload of this length.
    pub fn create(target: &str, length: u64) -> Self {
        Self::new("POST", target).with("Upload-Length", length)
    }

    /// Adds a line; a name may stand more than once.
    #[must_use]
    #[allow(clippy::needless_pass_by_value, reason = "numbers and texts are given alike")]
    pub fn with(self, name: &str, value: impl ToString) -> Self {
        self.with_bytes(name, value.to_string())
    }

    /// Adds a line whose value need not be text.
    #[must_use]
    pub fn with_bytes(mut self, name: &str, value: impl Into<Vec<u8>>) -> Self {
        self.lines.push((name.to_owned(), value.into()));
        self
    }

    /// Takes all lines of a name out.
    #[must_use]
    pub fn without(mut self, name: &str) -> Self {
        self.lines.retain(|(line, _)| !line.eq_ignore_ascii_case(name));
        self
    }

    /// Says that a body of this length follows.
    #[must_use]
    pub fn sized(self, length: usize) -> Self {
        self.with("Content-Length", length)
    }

    /// Says that a body in chunks follows.
    #[must_use]
    pub fn chunked(self) -> Self {
        self.with("Transfer-Encoding", "chunked")
    }

    /// Speaks HTTP/1.0.
    #[must_use]
    pub fn http_1_0(mut self) -> Self {
        self.version = "HTTP/1.0";
        self
    }

    /// The bytes, with the empty line that ends them.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut text = String::new();
        let (method, target, version) = (&self.method, &self.target, self.version);
        write!(text, "{method} {target} {version}\r\n").expect("a String takes everything");
        let mut bytes = text.into_bytes();
        for (name, value) in &self.lines {
            bytes.extend_from_slice(name.as_bytes());
            bytes.extend_from_slice(b": ");
            bytes.extend_from_slice(value);
            bytes.extend_from_slice(b"\r\n");
        }
        bytes.extend_from_slice(b"\r\n");
        bytes
    }

    pub(crate) fn is_head(&self) -> bool {
        self.method == "HEAD"
    }

    pub(crate) fn is_chunked(&self) -> bool {
        self.lines.iter().any(|(name, _)| name.eq_ignore_ascii_case("Transfer-Encoding"))
    }
}
