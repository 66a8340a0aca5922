//! A server with a certificate, and clients that look at it.

use std::{
    fs::{self, File},
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};
use tus_tests::process::{Process, connect, program};

use super::PATIENCE;

/// A client's end of a connection.
pub(crate) type Tls = StreamOwned<ClientConnection, std::net::TcpStream>;

/// The directories of a server, its certificate and its log.
pub(crate) struct Home {
    directory: tempfile::TempDir,
}

impl Home {
    /// With a certificate.
    pub(crate) fn new() -> Self {
        let home = Self { directory: tempfile::tempdir().expect("a directory") };
        home.renew();
        home
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn certificate_file(&self) -> PathBuf {
        self.path("cert.pem")
    }

    pub(crate) fn key_file(&self) -> PathBuf {
        self.path("key.pem")
    }

    /// The certificate that lies there.
    pub(crate) fn certificate(&self) -> CertificateDer<'static> {
        CertificateDer::from_pem_file(self.certificate_file()).expect("a certificate")
    }

    /// Puts another certificate and its key there; clients trust the old ones as well.
    pub(crate) fn renew(&self) {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]);
        let made = made.expect("a certificate");
        fs::write(self.certificate_file(), made.cert.pem()).expect("a file");
        fs::write(self.key_file(), made.signing_key.serialize_pem()).expect("a file");
        let number = fs::read_dir(self.directory.path()).expect("a directory").count();
        fs::write(self.path(&format!("trusted.{number}")), made.cert.der()).expect("a file");
    }

    /// The arguments that name its directories.
    pub(crate) fn directories(&self) -> Vec<String> {
        let flag = |name: &str, below: &str| format!("--{name}={}", self.path(below).display());
        vec![flag("upload-dir", "uploads"), flag("destination-dir", "files")]
    }

    /// Starts the server.
    pub(crate) fn start(&self) -> Process {
        let mut arguments = self.directories();
        arguments.push(format!("--tls-cert={}", self.certificate_file().display()));
        arguments.push(format!("--tls-key={}", self.key_file().display()));
        self.start_with(arguments)
    }

    /// Starts one that speaks clear text.
    pub(crate) fn start_clear(&self) -> Process {
        self.start_with(self.directories())
    }

    fn start_with(&self, mut arguments: Vec<String>) -> Process {
        arguments.push("--port=0".to_owned());
        let log = File::create(self.path("log")).expect("a file");
        Process::start_logged(&program("tus-server"), &arguments, log)
    }

    /// A connection after its handshake, to a server with any certificate that was ever there.
    pub(crate) fn connect(&self, addr: SocketAddr) -> io::Result<Tls> {
        let mut roots = RootCertStore::empty();
        for entry in fs::read_dir(self.directory.path())? {
            let path = entry?.path();
            if path.file_stem().is_some_and(|stem| stem == "trusted") {
                roots.add(fs::read(path)?.into()).map_err(io::Error::other)?;
            }
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let name = ServerName::try_from("localhost").map_err(io::Error::other)?;
        let connection = ClientConnection::new(Arc::new(config), name);
        let mut stream = Tls::new(connection.map_err(io::Error::other)?, connect(addr)?);
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock)?;
        }
        Ok(stream)
    }

    /// The certificate that the server shows.
    pub(crate) fn shown(&self, server: &Process) -> CertificateDer<'static> {
        let stream = self.connect(server.addr).expect("a connection");
        let chain = stream.conn.peer_certificates().expect("certificates");
        chain.first().expect("one").clone().into_owned()
    }

    /// The certificate that the server shows once it is another one.
    pub(crate) fn shown_once(
        &self,
        server: &Process,
        is_right: impl Fn(&CertificateDer<'static>) -> bool,
    ) -> CertificateDer<'static> {
        poll("the certificate", || Some(self.shown(server)).filter(&is_right))
    }

    /// The line of the server's log with these words, as soon as there is one.
    pub(crate) fn log_line(&self, words: &str) -> String {
        poll(words, || {
            let log = fs::read_to_string(self.path("log")).expect("the log");
            log.lines().find(|line| line.contains(words)).map(str::to_owned)
        })
    }

    /// How much of an upload is stored, once it is as much as that; seen in its directory.
    pub(crate) fn stored_once(&self, path: &str, length: u64) -> u64 {
        let id = path.rsplit('/').next().expect("an id");
        poll("the bytes", || {
            let entries = fs::read_dir(self.path("uploads")).expect("uploads");
            let of_it = entries.filter_map(|entry| {
                let entry = entry.ok()?;
                let is_its = entry.file_name().to_string_lossy().contains(id);
                Some(entry.metadata().ok()?.len()).filter(|_| is_its)
            });
            of_it.max().filter(|stored| *stored >= length)
        })
    }

    /// What was uploaded, in order of the bytes.
    pub(crate) fn finished(&self) -> Vec<Vec<u8>> {
        let files = fs::read_dir(self.path("files")).expect("files");
        let mut files: Vec<_> = files.map(|file| read(&file.expect("a file").path())).collect();
        files.sort();
        files
    }
}

fn read(path: &Path) -> Vec<u8> {
    fs::read(path).expect("a file")
}

fn poll<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "{what}: nothing within {PATIENCE:?}");
        thread::sleep(Duration::from_millis(5));
    }
}
