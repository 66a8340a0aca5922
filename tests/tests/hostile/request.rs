//! Requests as they go over the wire, well-formed or not.

/// A header line; each of its four pieces can be wrong.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    pub(crate) name: Vec<u8>,
    pub(crate) between: Vec<u8>,
    pub(crate) value: Vec<u8>,
    pub(crate) end: Vec<u8>,
}

impl Line {
    pub(crate) fn new(name: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>) -> Self {
        let (name, value) = (name.into(), value.into());
        Self { name, between: b": ".to_vec(), value, end: b"\r\n".to_vec() }
    }

    pub(crate) fn is(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name.as_bytes())
    }
}

/// How a body is framed.
#[derive(Clone, Debug)]
pub(crate) enum Framing {
    /// `Content-Length`.
    Sized,
    /// Chunks of this size, with an extension.
    Chunked { size: usize, extension: &'static str },
}

/// A request in the making.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) method: Vec<u8>,
    pub(crate) target: Vec<u8>,
    pub(crate) version: Vec<u8>,
    pub(crate) lines: Vec<Line>,
    /// What ends the head.
    pub(crate) empty_line: Vec<u8>,
    /// The body as it goes over the wire.
    pub(crate) body: Vec<u8>,
    /// The upload that it names or makes.
    pub(crate) upload: Option<String>,
    /// What is odd about it.
    pub(crate) marks: Vec<&'static str>,
    /// What the answer must be, when nothing is odd.
    pub(crate) expected: Option<u16>,
    /// The bytes that are sent instead of all that.
    pub(crate) raw: Option<Vec<u8>>,
}

impl Request {
    pub(crate) fn new(method: &str, target: &str) -> Self {
        let request = Self {
            method: method.into(),
            target: target.into(),
            version: b"HTTP/1.1".to_vec(),
            lines: Vec::new(),
            empty_line: b"\r\n".to_vec(),
            body: Vec::new(),
            upload: None,
            marks: Vec::new(),
            expected: None,
            raw: None,
        };
        request.with("Host", "uploads.test")
    }

    /// A request of tus.
    pub(crate) fn tus(method: &str, target: &str) -> Self {
        Self::new(method, target).with("Tus-Resumable", "1.0.0")
    }

    #[must_use]
    #[allow(clippy::needless_pass_by_value, reason = "numbers and texts are given alike")]
    pub(crate) fn with(mut self, name: &str, value: impl ToString) -> Self {
        self.lines.push(Line::new(name, value.to_string()));
        self
    }

    #[must_use]
    pub(crate) fn about(mut self, upload: &str) -> Self {
        self.upload = Some(upload.to_owned());
        self
    }

    #[must_use]
    pub(crate) fn expecting(mut self, status: u16) -> Self {
        self.expected = Some(status);
        self
    }

    /// Frames a body.
    #[must_use]
    pub(crate) fn bringing(mut self, content: &[u8], framing: &Framing) -> Self {
        match framing {
            Framing::Sized => {
                self.lines.push(Line::new("Content-Length", content.len().to_string()));
                self.body = content.to_vec();
            }
            Framing::Chunked { size, extension } => {
                self.lines.push(Line::new("Transfer-Encoding", "chunked"));
                self.body = chunked(content, *size, extension);
            }
        }
        self
    }

    pub(crate) fn mark(&mut self, mark: &'static str) {
        self.marks.push(mark);
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.lines.iter().any(|line| line.is(name))
    }

    /// Changes the value of a line, if there is one of this name.
    pub(crate) fn set(&mut self, name: &str, value: impl Into<Vec<u8>>) {
        if let Some(line) = self.lines.iter_mut().find(|line| line.is(name)) {
            line.value = value.into();
        }
    }

    pub(crate) fn is_head(&self) -> bool {
        self.method == b"HEAD"
    }

    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        if let Some(raw) = &self.raw {
            return raw.clone();
        }
        let mut bytes = [&self.method[..], b" ", &self.target, b" ", &self.version].concat();
        bytes.extend_from_slice(b"\r\n");
        for line in &self.lines {
            for piece in [&line.name, &line.between, &line.value, &line.end] {
                bytes.extend_from_slice(piece);
            }
        }
        bytes.extend_from_slice(&self.empty_line);
        bytes.extend_from_slice(&self.body);
        bytes
    }
}

/// A body in chunks.
fn chunked(content: &[u8], size: usize, extension: &str) -> Vec<u8> {
    let mut body = Vec::new();
    for chunk in content.chunks(size.max(1)) {
        body.extend_from_slice(format!("{:x}{extension}\r\n", chunk.len()).as_bytes());
        body.extend_from_slice(chunk);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(format!("0{extension}\r\n\r\n").as_bytes());
    body
}

/// How the answers to what was sent are awaited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Delivery {
    /// Each request is whole: each gets an answer, on a connection that goes on.
    Whole,
    /// The same, on a connection of its own that is then ended; the server may end it first.
    Alone,
    /// It ends in the middle, or nobody can say where: the client leaves at once.
    Cut,
}

/// What is sent in one go: a request, or several.
#[derive(Clone, Debug)]
pub(crate) struct Exchange {
    pub(crate) requests: Vec<Request>,
    pub(crate) delivery: Delivery,
}

impl Exchange {
    pub(crate) fn of(request: Request) -> Self {
        Self { requests: vec![request], delivery: Delivery::Whole }
    }

    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        self.requests.iter().flat_map(Request::to_bytes).collect()
    }

    pub(crate) fn marks(&self) -> Vec<&'static str> {
        self.requests.iter().flat_map(|request| request.marks.iter().copied()).collect()
    }

    pub(crate) fn uploads(&self) -> Vec<String> {
        let mut uploads: Vec<_> =
            self.requests.iter().filter_map(|request| request.upload.clone()).collect();
        uploads.sort();
        uploads.dedup();
        uploads
    }
}
