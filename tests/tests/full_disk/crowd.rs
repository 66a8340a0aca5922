//! Clients that send at the same time, a piece each in turn, and hold the server to what it says.

use std::{
    fs,
    io::{self, Write as _},
    net::{SocketAddr, TcpStream},
    path::Path,
    thread,
    time::{Duration, Instant},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use tus_tests::process::{Answer, exchange, head_with, patch, read_answer};

/// After this long something is stuck.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// How a client sends its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// In one PATCH that says how long it is.
    Whole,
    /// In one PATCH that does not.
    Chunked,
    /// In a PATCH for each piece.
    Pieces,
}

/// How far a client has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// Its creation was refused for want of room, or not tried yet.
    Outside,
    /// It sends.
    Sending,
    /// It was told that there is no room for its bytes.
    Stopped,
    /// It was told that all its bytes are stored.
    Finished,
}

/// A client with an upload to send.
#[derive(Debug)]
pub(crate) struct Client {
    /// The name of its file.
    pub(crate) name: String,
    /// What it sends.
    pub(crate) body: Vec<u8>,
    /// How far it has come.
    pub(crate) state: State,
    /// The path of its upload, once that is there.
    pub(crate) path: Option<String>,
    way: Way,
    stream: Option<TcpStream>,
    /// The most that was told to be stored.
    told: u64,
    /// The most that can be stored.
    sent: u64,
}

impl Client {
    /// One that has not begun.
    pub(crate) fn new(name: String, body: Vec<u8>, way: Way) -> Self {
        let state = State::Outside;
        Self { name, body, state, path: None, way, stream: None, told: 0, sent: 0 }
    }

    /// How long its upload is.
    pub(crate) fn length(&self) -> u64 {
        self.body.len() as u64
    }

    /// The most that was told to be stored of it.
    pub(crate) fn told(&self) -> u64 {
        self.told
    }

    /// Makes its upload, if there is room for it.
    pub(crate) fn create(&mut self, addr: SocketAddr) {
        let head = format!(
            "POST /files HTTP/1.1\r\nUpload-Length: {}\r\nUpload-Metadata: filename {}",
            self.length(),
            STANDARD.encode(&self.name)
        );
        let answer = exchange(addr, &head, b"").expect("an answer");
        match answer.status {
            201 => {
                self.path = Some(answer.header("location").expect("a URL").to_owned());
                self.state = State::Sending;
            }
            507 => {}
            _ => panic!("{}: {answer:?}", self.name),
        }
    }

    /// Sends so many bytes more, and hears what the server says if it says something.
    pub(crate) fn step(&mut self, addr: SocketAddr, bytes: usize) {
        if self.state != State::Sending {
            return;
        }
        let start = usize::try_from(self.sent).expect("an offset in memory");
        let end = start.saturating_add(bytes).min(self.body.len());
        let (piece, last) = (&self.body[start..end], end == self.body.len());
        let head = patch(self.path.as_ref().expect("an upload"), self.sent);
        self.sent = end as u64;
        let answer = match self.way {
            Way::Pieces => exchange(addr, &head, piece),
            Way::Whole | Way::Chunked => {
                let chunked = self.way == Way::Chunked;
                let stream = self.stream.get_or_insert_with(|| {
                    let rest = self.body.len() - start;
                    let head = head_with(&head, rest);
                    let announced = format!("Content-Length: {rest}");
                    let chunks = "Transfer-Encoding: chunked";
                    begin(addr, &if chunked { head.replace(&announced, chunks) } else { head })
                });
                let sent =
                    if chunked { send_chunk(stream, piece, last) } else { stream.write_all(piece) };
                if sent.is_ok() && !last && !is_answered(stream) {
                    return;
                }
                // A server that has no room closes after its answer, which can still be read.
                read_answer(stream)
            }
        };
        self.hear(&answer.unwrap_or_else(|error| panic!("{}: no answer: {error}", self.name)));
    }

    fn hear(&mut self, answer: &Answer) {
        match answer.status {
            204 => self.note(answer.offset()),
            507 => {
                self.state = State::Stopped;
                self.stream = None;
            }
            _ => panic!("{}: {answer:?}", self.name),
        }
    }

    fn note(&mut self, offset: u64) {
        let (name, told, sent) = (&self.name, self.told, self.sent);
        assert!(offset >= told, "{name}: told {told} before, now {offset}");
        assert!(offset <= sent, "{name}: told {offset}, only {sent} were sent");
        self.told = offset;
        if offset == self.length() {
            self.state = State::Finished;
            self.stream = None;
        }
    }

    /// Asks how far it is, and compares what is told with what lies in the server's directory.
    ///
    /// Where all its bytes are there but no record can say so, the server may say that it is full
    /// or busy; what it must not do is tell that the upload is complete.
    pub(crate) fn inspect(&mut self, addr: SocketAddr, directory: &Path) -> Answer {
        let path = self.path.clone().expect("an upload");
        let answer = exchange(addr, &format!("HEAD {path} HTTP/1.1"), b"").expect("an answer");
        let id = path.rsplit('/').next().expect("an id");
        let unfinished = fs::read(directory.join("uploads").join(format!("{id}.bin")));
        let finished = || fs::read(directory.join("files").join(&self.name));
        let stored = unfinished.or_else(|_| finished()).expect("its bytes");
        if answer.status == 200 {
            self.note(answer.offset());
            let told = usize::try_from(self.told).expect("an offset in memory");
            let same = stored.get(..told) == self.body.get(..told);
            assert!(same, "{}: the {told} bytes that were told are not stored", self.name);
        } else {
            assert!(matches!(answer.status, 423 | 507), "{}: {answer:?}", self.name);
            assert!(stored == self.body, "{}: {} bytes, {answer:?}", self.name, stored.len());
        }
        answer
    }

    /// Goes on from what is stored, as far as there is room.
    pub(crate) fn resume(&mut self, addr: SocketAddr, directory: &Path) {
        if self.path.is_none() {
            self.create(addr);
        }
        if self.path.is_none() || self.state == State::Finished {
            return;
        }
        if self.is_settled(addr, directory) && self.state != State::Finished {
            (self.state, self.sent) = (State::Sending, self.told);
            self.step(addr, usize::MAX);
        }
        if self.state == State::Stopped {
            self.is_settled(addr, directory);
        }
    }

    /// Waits until the offset can be told, which it cannot while a finish is under way; `false` if
    /// that has no room.
    fn is_settled(&mut self, addr: SocketAddr, directory: &Path) -> bool {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let answer = self.inspect(addr, directory);
            match answer.status {
                200 => return true,
                507 => return false,
                _ => {}
            }
            assert!(Instant::now() < deadline, "{} stays locked", self.name);
            thread::sleep(Duration::from_millis(50));
        }
    }

    /// Compares the finished file.
    pub(crate) fn verify(&self, directory: &Path) {
        assert_eq!(self.state, State::Finished, "{}", self.name);
        let stored = fs::read(directory.join("files").join(&self.name)).expect("a finished file");
        assert!(stored == self.body, "{} differs from what was sent", self.name);
    }
}

/// Has all of them do something at the same time.
pub(crate) fn all(clients: &mut [Client], job: impl Fn(&mut Client) + Sync) {
    thread::scope(|scope| {
        for client in clients {
            scope.spawn(|| job(client));
        }
    });
}

fn begin(addr: SocketAddr, head: &str) -> TcpStream {
    let mut stream = TcpStream::connect(addr).expect("a connection");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    stream.set_write_timeout(Some(PATIENCE)).expect("a timeout");
    stream.write_all(head.as_bytes()).expect("a head");
    stream
}

fn send_chunk(stream: &mut TcpStream, piece: &[u8], last: bool) -> io::Result<()> {
    write!(stream, "{:x}\r\n", piece.len())?;
    stream.write_all(piece)?;
    stream.write_all(if last { b"\r\n0\r\n\r\n" } else { b"\r\n" })
}

/// Whether an answer, or the end of the connection, has arrived.
fn is_answered(stream: &TcpStream) -> bool {
    stream.set_nonblocking(true).expect("a socket");
    let peeked = stream.peek(&mut [0]);
    stream.set_nonblocking(false).expect("a socket");
    !peeked.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
}
