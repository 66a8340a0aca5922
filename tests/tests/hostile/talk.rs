//! A connection that sends any bytes at all, and reads answers more strictly than a client must.

use std::{
    fmt,
    io::{self, Read as _, Write as _},
    net::{Shutdown, SocketAddr, TcpStream},
    time::Duration,
};

/// The longest that a server may keep a client waiting that has said all that it will say.
const PATIENCE: Duration = Duration::from_secs(20);

/// An answer as it stood on the wire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// Names in lower case, in the order in which they came.
    pub(crate) headers: Vec<(String, Vec<u8>)>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    /// The first value of a header, as text.
    pub(crate) fn header(&self, name: &str) -> Option<String> {
        let (_, value) = self.headers.iter().find(|(found, _)| found == name)?;
        Some(String::from_utf8_lossy(value).into_owned())
    }

    pub(crate) fn number(&self, name: &str) -> Option<u64> {
        self.header(name)?.parse().ok()
    }

    pub(crate) fn closes(&self) -> bool {
        self.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"))
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.status)?;
        for (name, value) in &self.headers {
            write!(f, " | {name}: {}", value.escape_ascii())?;
        }
        let shown = &self.body[..self.body.len().min(120)];
        write!(f, " | {} bytes: {}", self.body.len(), shown.escape_ascii())
    }
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Silence {
    /// The server closed, after nothing or in the middle of an answer.
    Closed { inside: bool },
    /// It said nothing for too long.
    Stuck,
    /// It said something that is not HTTP.
    Malformed(String),
}

/// One connection.
pub(crate) struct Talk {
    stream: TcpStream,
    received: Vec<u8>,
    /// It took no more bytes, and closed neither.
    stuck: bool,
}

impl Talk {
    pub(crate) fn to(addr: SocketAddr) -> Self {
        let stream = TcpStream::connect(addr).expect("a connection");
        stream.set_nodelay(true).expect("no delay");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        stream.set_write_timeout(Some(PATIENCE)).expect("a timeout");
        Self { stream, received: Vec::new(), stuck: false }
    }

    /// Sends bytes; what went wrong is told when the answer is read.
    pub(crate) fn send(&mut self, bytes: &[u8]) {
        let sent = self.stream.write_all(bytes);
        self.stuck |= sent.is_err_and(|error| is_timeout(&error));
    }

    /// Says that nothing more will be sent.
    pub(crate) fn finish(&mut self) {
        // A server that has closed needs no FIN.
        let _closed = self.stream.shutdown(Shutdown::Write);
    }

    /// Whether something came that belongs to no request.
    pub(crate) fn has_more(&self) -> bool {
        !self.received.is_empty()
    }

    /// Reads one final answer.
    pub(crate) fn answer(&mut self, to_head: bool) -> Result<Answer, Silence> {
        if self.stuck {
            return Err(Silence::Stuck);
        }
        loop {
            let answer = self.one(to_head)?;
            match answer.status {
                100 => {}
                101..200 => return Err(malformed(&answer.to_string())),
                _ => return Ok(answer),
            }
        }
    }

    fn one(&mut self, to_head: bool) -> Result<Answer, Silence> {
        let end = loop {
            if let Some(end) = find(&self.received, b"\r\n\r\n") {
                break end;
            }
            if !self.fill()? {
                return Err(Silence::Closed { inside: !self.received.is_empty() });
            }
        };
        let head: Vec<u8> = self.received.drain(..end + 4).take(end).collect();
        let (status, headers) = read_head(&head)?;
        let mut answer = Answer { status, headers, body: Vec::new() };
        if !(to_head || status < 200 || matches!(status, 204 | 304)) {
            answer.body = self.body(&answer)?;
        }
        Ok(answer)
    }

    fn body(&mut self, head: &Answer) -> Result<Vec<u8>, Silence> {
        let lengths: Vec<_> = head.headers.iter().filter(|(n, _)| n == "content-length").collect();
        if let Some(coding) = head.header("transfer-encoding") {
            if coding != "chunked" || !lengths.is_empty() {
                return Err(malformed("the framing of the answer"));
            }
            return self.chunks();
        }
        match lengths.as_slice() {
            [] if head.closes() => {
                while self.fill()? {}
                Ok(std::mem::take(&mut self.received))
            }
            [(_, length)] if length.iter().all(u8::is_ascii_digit) => {
                let length = String::from_utf8_lossy(length).parse();
                self.exactly(length.map_err(|_| malformed("Content-Length"))?)
            }
            _ => Err(malformed("neither one length nor a close")),
        }
    }

    fn chunks(&mut self) -> Result<Vec<u8>, Silence> {
        let mut body = Vec::new();
        loop {
            let end = loop {
                match find(&self.received, b"\r\n") {
                    Some(end) => break end,
                    None if self.fill()? => {}
                    None => return Err(Silence::Closed { inside: true }),
                }
            };
            let line: Vec<u8> = self.received.drain(..end + 2).take(end).collect();
            let size = std::str::from_utf8(&line).ok();
            let size = size.and_then(|size| usize::from_str_radix(size, 16).ok());
            let size = size.ok_or_else(|| malformed("a chunk size"))?;
            let mut chunk = self.exactly(size + 2)?;
            if !chunk.ends_with(b"\r\n") {
                return Err(malformed("the end of a chunk"));
            }
            chunk.truncate(size);
            body.extend(chunk);
            if size == 0 {
                return Ok(body);
            }
        }
    }

    fn exactly(&mut self, count: usize) -> Result<Vec<u8>, Silence> {
        while self.received.len() < count {
            if !self.fill()? {
                return Err(Silence::Closed { inside: true });
            }
        }
        Ok(self.received.drain(..count).collect())
    }

    /// Reads some more; `false` at the end. An end by RST is as good as one by FIN.
    fn fill(&mut self) -> Result<bool, Silence> {
        let mut buffer = [0; 16 * 1024];
        match self.stream.read(&mut buffer) {
            Ok(0) => Ok(false),
            Ok(count) => {
                self.received.extend_from_slice(&buffer[..count]);
                Ok(true)
            }
            Err(error) if is_timeout(&error) => Err(Silence::Stuck),
            Err(_) => Ok(false),
        }
    }
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}

fn malformed(what: &str) -> Silence {
    Silence::Malformed(what.to_owned())
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

type Head = (u16, Vec<(String, Vec<u8>)>);

/// Reads a head that ends before its empty line.
fn read_head(head: &[u8]) -> Result<Head, Silence> {
    let shown = || malformed(&head.escape_ascii().to_string());
    let text = |line: &[u8]| line.iter().all(|b| matches!(b, b'\t' | b' '..=b'~' | 0x80..));
    let mut lines = Vec::new();
    let mut rest = head;
    while let Some(end) = find(rest, b"\r\n") {
        lines.push(&rest[..end]);
        rest = &rest[end + 2..];
    }
    lines.push(rest);
    if !lines.iter().all(|line| text(line)) {
        return Err(shown());
    }
    let status = lines[0].strip_prefix(b"HTTP/1.1 ").or(lines[0].strip_prefix(b"HTTP/1.0 "));
    let status = status.filter(|rest| rest.len() == 3 || rest.get(3) == Some(&b' '));
    let status = status.and_then(|rest| std::str::from_utf8(rest.get(..3)?).ok());
    let status: u16 = status.and_then(|status| status.parse().ok()).ok_or_else(shown)?;
    let mut headers = Vec::new();
    for line in &lines[1..] {
        let colon = line.iter().position(|b| *b == b':').ok_or_else(shown)?;
        let (name, value) = line.split_at(colon);
        let token = |b: &u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(b);
        if name.is_empty() || !name.iter().all(token) {
            return Err(shown());
        }
        let name = String::from_utf8_lossy(name).to_ascii_lowercase();
        headers.push((name, value[1..].trim_ascii().to_vec()));
    }
    Ok((status, headers))
}
