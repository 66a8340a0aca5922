//! Bodies that are made while they are sent, and servers to send them to.

use std::{
    fs::{self, File},
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    ops::Range,
    path::{Path, PathBuf},
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use tempfile::TempDir;
use tus_tests::process::{bytes, exchange, head_with, patch, read_answer};

pub(crate) const KIB: u64 = 1024;
pub(crate) const MIB: u64 = 1024 * KIB;

const PIECE: usize = 1 << 20;

/// How a body says where it ends.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Framing {
    /// By its length.
    Sized,
    /// By a last chunk, after chunks of so many bytes.
    Chunks(usize),
}

/// So many bytes, of which no MiB is like another.
#[derive(Clone, Debug)]
pub(crate) struct Body {
    length: u64,
    piece: Vec<u8>,
}

impl Body {
    pub(crate) fn new(seed: u64, length: u64) -> Self {
        Self { length, piece: bytes(seed, PIECE) }
    }

    /// The MiB of this number.
    fn piece(&mut self, number: u64) -> &[u8] {
        self.piece[..8].copy_from_slice(&number.to_le_bytes());
        let left = self.length - number * PIECE as u64;
        let length = usize::try_from(left.min(PIECE as u64)).expect("a MiB");
        &self.piece[..length]
    }

    fn pieces(&self) -> u64 {
        self.length.div_ceil(PIECE as u64)
    }

    /// Panics unless a file holds exactly these bytes.
    pub(crate) fn verify(&mut self, path: &Path) {
        let mut file = File::open(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        assert_eq!(file.metadata().expect("a length").len(), self.length);
        let mut stored = vec![0; PIECE];
        for number in 0..self.pieces() {
            let expected = self.piece(number);
            let stored = &mut stored[..expected.len()];
            file.read_exact(stored).expect("a MiB");
            assert!(*stored == *expected, "{}: MiB {number} differs", path.display());
        }
    }
}

/// An upload whose PATCH is under way.
#[derive(Debug)]
pub(crate) struct Upload {
    name: String,
    stream: TcpStream,
    framing: Framing,
    body: Body,
    /// The number of the next MiB.
    next: u64,
    /// What is sent of it already.
    tasted: usize,
}

impl Upload {
    /// Makes an upload and sends the head of a PATCH for all of it.
    pub(crate) fn begin(addr: SocketAddr, name: &str, body: Body, framing: Framing) -> Self {
        let length = body.length;
        let head = format!(
            "POST /files HTTP/1.1\r\nUpload-Length: {length}\r\nUpload-Metadata: filename {}",
            STANDARD.encode(name)
        );
        let created = exchange(addr, &head, b"").expect("an answer");
        assert_eq!(created.status, 201, "{created:?}");
        let mut stream = TcpStream::connect(addr).expect("a connection");
        stream.set_read_timeout(Some(Duration::from_secs(120))).expect("a timeout");
        stream.set_write_timeout(Some(Duration::from_secs(120))).expect("a timeout");
        let path = created.header("location").expect("a URL");
        let length = usize::try_from(length).expect("a length");
        let mut head = head_with(&patch(path, 0), length);
        if let Framing::Chunks(_) = framing {
            head = head.replace(&format!("Content-Length: {length}"), "Transfer-Encoding: chunked");
        }
        stream.write_all(head.as_bytes()).expect("a head");
        Self { name: name.to_owned(), stream, framing, body, next: 0, tasted: 0 }
    }

    /// Sends a first part of the first MiB.
    pub(crate) fn taste(&mut self, bytes: usize) {
        self.send(0, 0..bytes);
        self.tasted = bytes;
    }

    /// Sends the next MiB, or what is left; `false` once there is nothing more.
    pub(crate) fn step(&mut self) -> bool {
        if self.next == self.body.pieces() {
            return false;
        }
        let tasted = std::mem::take(&mut self.tasted);
        self.send(self.next, tasted..usize::MAX);
        self.next += 1;
        true
    }

    fn send(&mut self, number: u64, range: Range<usize>) {
        let piece = self.body.piece(number);
        let piece = &piece[range.start..range.end.min(piece.len())];
        let sent = match self.framing {
            Framing::Sized => self.stream.write_all(piece),
            Framing::Chunks(size) => {
                let mut framed = Vec::with_capacity(2 * piece.len());
                for chunk in piece.chunks(size) {
                    write!(framed, "{:x}\r\n", chunk.len()).expect("a Vec takes everything");
                    framed.extend_from_slice(chunk);
                    framed.extend_from_slice(b"\r\n");
                }
                self.stream.write_all(&framed)
            }
        };
        sent.unwrap_or_else(|error| panic!("{}: the server takes no more: {error}", self.name));
    }

    /// Ends the body, hears that all of it is stored, and looks at what is there.
    pub(crate) fn end(mut self, home: &Home) {
        if let Framing::Chunks(_) = self.framing {
            self.stream.write_all(b"0\r\n\r\n").expect("the last chunk");
        }
        let answer = read_answer(&mut self.stream);
        let answer = answer.unwrap_or_else(|error| panic!("{}: no answer: {error}", self.name));
        assert_eq!((answer.status, answer.offset()), (204, self.body.length), "{answer:?}");
        let file = home.files().join(&self.name);
        self.body.verify(&file);
        fs::remove_file(file).expect("the file goes at once");
    }

    /// Sends all of it.
    pub(crate) fn whole(mut self, home: &Home) {
        while self.step() {}
        self.end(home);
    }
}

/// The directories of a server.
#[derive(Debug)]
pub(crate) struct Home(TempDir);

impl Home {
    /// On a file system in memory, if there is one with room; disks are slow.
    pub(crate) fn quick(room: u64) -> Self {
        let shared = Path::new("/dev/shm");
        let stat = rustix::fs::statvfs(shared);
        if stat.is_ok_and(|stat| stat.f_bavail * stat.f_frsize > 2 * room) {
            return Self(tempfile::tempdir_in(shared).expect("a directory"));
        }
        Self::on_disk()
    }

    /// Where the build lies, which is on a disk.
    pub(crate) fn on_disk() -> Self {
        let built = Path::new(env!("CARGO_TARGET_TMPDIR"));
        Self(tempfile::tempdir_in(built).expect("a directory"))
    }

    pub(crate) fn uploads(&self) -> PathBuf {
        self.0.path().join("uploads")
    }

    pub(crate) fn files(&self) -> PathBuf {
        self.0.path().join("files")
    }

    /// The arguments of a server in them.
    pub(crate) fn arguments(&self) -> Vec<String> {
        vec![
            "--port=0".to_owned(),
            // What is compared is memory, on a machine that may be slow.
            "--network-timeout=600s".to_owned(),
            "--min-body-rate=0".to_owned(),
            format!("--upload-dir={}", self.uploads().display()),
            format!("--destination-dir={}", self.files().display()),
        ]
    }

    /// How many bytes of uploads are stored.
    pub(crate) fn stored(&self) -> u64 {
        let entries = fs::read_dir(self.uploads()).expect("uploads");
        let bytes = entries.filter_map(|entry| {
            let entry = entry.ok()?;
            let is_bytes = entry.path().extension().is_some_and(|extension| extension == "bin");
            is_bytes.then(|| entry.metadata().ok())?
        });
        bytes.map(|found| found.len()).sum()
    }
}
