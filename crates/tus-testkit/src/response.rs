//! What came back.

use std::io;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};

/// A response as it stood on the wire.
#[derive(Clone, Debug)]
pub struct Response {
    /// The statuses of the interim responses before it, such as 100.
    pub interim: Vec<u16>,
    /// The version on its status line.
    pub version: String,
    /// Its status.
    pub status: u16,
    /// Its header fields, with repeats.
    pub headers: HeaderMap,
    /// Its body, without its framing.
    pub body: Bytes,
}

impl Response {
    /// The first value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        let value = self.headers.get(name)?;
        Some(value.to_str().expect("a header of visible ASCII"))
    }

    /// All values of a header, in their order.
    pub fn all(&self, name: &str) -> Vec<&str> {
        let values = self.headers.get_all(name).iter();
        values.map(|value| value.to_str().expect("a header of visible ASCII")).collect()
    }

    /// The body as text.
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("a body of text")
    }

    /// `Upload-Offset`; panics when there is none.
    #[track_caller]
    pub fn offset(&self) -> u64 {
        let Some(text) = self.header("upload-offset") else {
            panic!("an Upload-Offset in {self:?}")
        };
        text.parse().expect("a number in Upload-Offset")
    }

    /// Whether the server says that it closes the connection.
    pub fn closes(&self) -> bool {
        self.all("connection").iter().any(|value| value.eq_ignore_ascii_case("close"))
    }

    /// Panics unless the status is this one.
    #[track_caller]
    pub fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{self:?}");
        self
    }
}

/// The first line and the fields of a response.
pub(crate) struct ResponseHead {
    pub(crate) version: String,
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
}

impl ResponseHead {
    /// Reads a head, strictly; `bytes` ends before the empty line.
    pub(crate) fn parse(bytes: &[u8]) -> io::Result<Self> {
        let wrong = |what: &str| {
            let text = format!("{what} in {:?}", String::from_utf8_lossy(bytes));
            io::Error::new(io::ErrorKind::InvalidData, text)
        };
        let mut lines = bytes.split(|b| *b == b'\n').map(|line| {
            let line = line.strip_suffix(b"\r");
            line.ok_or_else(|| wrong("a line without CR"))
        });
        let first = lines.next().ok_or_else(|| wrong("no line"))??;
        let first = std::str::from_utf8(first).map_err(|_| wrong("no text"))?;
        let mut words = first.splitn(3, ' ');
        let version = words.next().filter(|word| word.starts_with("HTTP/1."));
        let version = version.ok_or_else(|| wrong("no status line"))?.to_owned();
        let status = words.next().and_then(|word| word.parse().ok());
        let status = status.ok_or_else(|| wrong("no status"))?;
        let mut headers = HeaderMap::new();
        for line in lines {
            let line = line?;
            let colon = line.iter().position(|b| *b == b':');
            let (name, value) = line.split_at(colon.ok_or_else(|| wrong("no colon"))?);
            let name = HeaderName::from_bytes(name).map_err(|_| wrong("no field name"))?;
            let value = HeaderValue::from_bytes(value[1..].trim_ascii());
            headers.append(name, value.map_err(|_| wrong("no field value"))?);
        }
        Ok(Self { version, status, headers })
    }
}
