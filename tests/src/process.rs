//! Servers as processes of their own: started, killed, told to stop.

use std::{
    ffi::OsStr,
    io::{self, BufRead as _, BufReader, Read, Write as _},
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::OnceLock,
    time::{Duration, Instant},
};

/// After this long something is broken, not slow.
const PATIENCE: Duration = Duration::from_secs(60);

/// The program of a package of this workspace, built if need be.
pub fn program(package: &'static str) -> PathBuf {
    build(&["-p", package])
}

/// A program that stands beside these tests, in `tests/examples`, built if need be.
pub fn own_program(name: &'static str) -> PathBuf {
    build(&["-p", env!("CARGO_PKG_NAME"), "--example", name])
}

fn build(what: &[&str]) -> PathBuf {
    static ROOT: OnceLock<PathBuf> = OnceLock::new();
    let root = ROOT.get_or_init(|| {
        Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace").to_owned()
    });
    let mut build = Command::new(env!("CARGO"));
    build.current_dir(root).args(["build", "--quiet", "--message-format=json"]).args(what);
    let output = build.output().expect("cargo");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{what:?}: {}", String::from_utf8_lossy(&output.stderr));
    // The last executable that cargo names is that of the package itself.
    let key = "\"executable\":\"";
    let at = said.rfind(key).expect("cargo names the program") + key.len();
    said[at..].split('"').next().expect("a path").into()
}

/// A server in a process of its own; killed when dropped.
#[derive(Debug)]
pub struct Process {
    child: Child,
    /// Where it listens.
    pub addr: SocketAddr,
}

impl Process {
    /// Starts a program and waits until it says `http://ADDRESS` on its standard output, or
    /// `https://ADDRESS`.
    pub fn start<A: AsRef<OsStr>>(program: &Path, arguments: &[A]) -> Self {
        Self::start_logged(program, arguments, Stdio::null())
    }

    /// The same, with its standard error going there.
    pub fn start_logged<A: AsRef<OsStr>>(
        program: &Path,
        arguments: &[A],
        log: impl Into<Stdio>,
    ) -> Self {
        let mut command = Command::new(program);
        command.args(arguments).stdout(Stdio::piped()).stderr(log);
        let mut child = command.spawn().unwrap_or_else(|e| panic!("{}: {e}", program.display()));
        let stdout = child.stdout.take().expect("its output");
        let mut lines = BufReader::new(stdout).lines();
        let addr = lines.by_ref().find_map(|line| {
            let line = line.expect("a line");
            let (_, rest) = line.split_once("://")?;
            rest.split('/').next().and_then(|addr| addr.parse().ok())
        });
        // What it says later must not block it.
        std::thread::spawn(move || lines.for_each(drop));
        let addr = addr.unwrap_or_else(|| panic!("{} did not listen", program.display()));
        Self { child, addr }
    }

    /// Its number, under which the system keeps books about it.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Ends it without warning (SIGKILL).
    pub fn kill(mut self) {
        self.child.kill().expect("a live process");
        self.child.wait().expect("its end");
    }

    /// Waits for the end that it makes by itself, for a minute.
    ///
    /// # Panics
    ///
    /// If it lives on.
    pub fn wait(mut self) -> ExitStatus {
        self.end("end by itself")
    }

    /// Tells it to stop (SIGTERM) and waits for its end.
    pub fn terminate(mut self) -> ExitStatus {
        self.signal("TERM");
        self.end("stop")
    }

    /// Sends it a signal of this name.
    pub fn signal(&self, name: &str) {
        let (name, id) = (format!("-{name}"), self.child.id().to_string());
        let told = Command::new("kill").args([name, id]).status().expect("kill");
        assert!(told.success());
    }

    fn end(&mut self, how: &str) -> ExitStatus {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().expect("its state") {
                return status;
            }
            assert!(Instant::now() < deadline, "it did not {how} within {PATIENCE:?}");
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already, and there is nobody to tell.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An answer, as far as these tests look at it.
#[derive(Debug)]
pub struct Answer {
    /// The status.
    pub status: u16,
    head: String,
}

impl Answer {
    /// A header's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        let named = |line: &&str| {
            line.split_once(':').is_some_and(|(found, _)| found.eq_ignore_ascii_case(name))
        };
        let line = self.head.lines().find(named)?;
        line.split_once(':').map(|(_, value)| value.trim())
    }

    /// The offset it tells.
    pub fn offset(&self) -> u64 {
        let value = self.header("upload-offset");
        value.unwrap_or_else(|| panic!("no offset in {self:?}")).parse().expect("a number")
    }
}

/// Sends a request on a connection of its own and reads the head of the answer.
///
/// # Errors
///
/// The connection broke, as it does when the server is killed.
pub fn exchange(addr: SocketAddr, head: &str, body: &[u8]) -> io::Result<Answer> {
    let mut stream = connect(addr)?;
    stream.write_all(head_with(head, body.len()).as_bytes())?;
    stream.write_all(body)?;
    read_answer(&mut stream)
}

/// Fetches what is under a URL: the head of the answer, and its body.
///
/// # Errors
///
/// As [`exchange`].
pub fn download(addr: SocketAddr, path: &str) -> io::Result<(Answer, Vec<u8>)> {
    let mut stream = connect(addr)?;
    stream.write_all(head_with(&format!("GET {path} HTTP/1.1"), 0).as_bytes())?;
    let answer = read_answer(&mut stream)?;
    let mut body = Vec::new();
    stream.read_to_end(&mut body)?;
    Ok((answer, body))
}

/// A connection on which nobody waits for ever.
///
/// # Errors
///
/// Nobody listens there.
pub fn connect(addr: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(addr)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// A head that announces a body of this length, on a connection that is closed afterwards.
pub fn head_with(head: &str, length: usize) -> String {
    format!(
        "{head}\r\nHost: test\r\nTus-Resumable: 1.0.0\r\nConnection: close\r\n\
         Content-Length: {length}\r\n\r\n"
    )
}

/// Reads the head of an answer.
///
/// # Errors
///
/// The connection broke, or ended before the head did.
pub fn read_answer(stream: &mut impl Read) -> io::Result<Answer> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        if stream.read(&mut byte)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        head.extend_from_slice(&byte);
    }
    let head = String::from_utf8(head).map_err(io::Error::other)?;
    let status = head.get(9..12).and_then(|status| status.parse().ok());
    Ok(Answer { status: status.ok_or(io::ErrorKind::InvalidData)?, head })
}

/// The head of a PATCH.
pub fn patch(path: &str, offset: u64) -> String {
    format!(
        "PATCH {path} HTTP/1.1\r\nUpload-Offset: {offset}\r\n\
         Content-Type: application/offset+octet-stream"
    )
}

/// Bytes that differ everywhere, the same for the same seed.
pub fn bytes(seed: u64, length: usize) -> Vec<u8> {
    let mut random = Random(seed | 1);
    let mut bytes = Vec::with_capacity(length + 7);
    while bytes.len() < length {
        bytes.extend_from_slice(&random.draw().to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

/// Numbers that repeat with their seed (xorshift).
#[derive(Clone, Debug)]
pub struct Random(pub u64);

impl Random {
    /// The next one.
    pub fn draw(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// One below a bound.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.draw() % bound
    }
}
