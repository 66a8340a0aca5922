//! Sockets to listen on, and what to say when there are none to be had.

use std::fmt;
use std::fs;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tokio::net::{TcpListener, TcpSocket, TcpStream, UnixListener, UnixSocket, UnixStream};

use super::Peer;
use super::io::Stream;
use super::tls::Tls;

/// The mode of a unix socket: whoever shares the group may connect.
const SOCKET_MODE: u32 = 0o660;

/// How many connections may wait to be accepted, if the system lets them; one more would try
/// again after a second.
const BACKLOG: u32 = 4096;

/// How many bytes the kernel takes from us that it has not sent yet. Without a bound it takes
/// megabytes for a peer that reads none of them, until the whole machine has no memory left for
/// sockets; and it says that a peer took some only after a third of them.
#[cfg(any(target_os = "linux", target_os = "android"))]
const UNSENT: u32 = 32 * 1024;

/// How long the log keeps silent about failures to accept that it has told of.
const SILENCE: Duration = Duration::from_secs(60);

/// The pause after a failure to accept that others of its kind will follow.
const BACK_OFF: Duration = Duration::from_millis(500);

/// Where the server listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Address {
    /// An address and port.
    Tcp(SocketAddr),
    /// The same with TLS.
    Tls(SocketAddr),
    /// The path of a unix socket.
    Unix(PathBuf),
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => write!(f, "http://{address}"),
            Self::Tls(address) => write!(f, "https://{address}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// Why the server cannot listen, and the way out.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BindError {
    /// Another process is there.
    #[error("address in use: another process listens on {0}; use {1}, or stop that process")]
    InUse(String, &'static str),
    /// A file that is not ours to remove is there.
    #[error("{0} exists and is no socket; use another --unix-sock, or remove it")]
    NoSocket(String),
    /// The host name has no address.
    #[error("{0} has no address ({1}); use another --host")]
    Unresolved(String, io::Error),
    /// Anything else the system refuses.
    #[error("cannot listen on {0} ({1}); use {2}")]
    Refused(String, io::Error, &'static str),
}

/// A socket that listens; what it accepts is not served yet.
#[derive(Debug)]
pub(crate) struct Listener {
    address: Address,
    kind: Kind,
    /// What its connections speak, if not clear text.
    pub(super) tls: Option<Tls>,
    told: Option<Instant>,
}

#[derive(Debug)]
enum Kind {
    Tcp(TcpListener),
    Unix { listener: UnixListener, _file: SocketFile },
}

impl Listener {
    /// Listens on a host name or address, and a port; port 0 takes a free one.
    ///
    /// # Errors
    ///
    /// The host has no address, or none of its addresses can be listened on.
    pub(crate) async fn tcp(host: &str, port: u16) -> Result<Self, BindError> {
        let unresolved = |error| BindError::Unresolved(host.to_owned(), error);
        let mut failed = unresolved(ErrorKind::NotFound.into());
        for address in tokio::net::lookup_host((host, port)).await.map_err(unresolved)? {
            match bind_tcp(address).and_then(|socket| Ok((socket.local_addr()?, socket))) {
                Ok((bound, socket)) => {
                    let address = Address::Tcp(bound);
                    return Ok(Self { address, kind: Kind::Tcp(socket), tls: None, told: None });
                }
                Err(error) => failed = tcp_refused(address, error),
            }
        }
        Err(failed)
    }

    /// The same as [`Listener::tcp`], with TLS.
    ///
    /// # Errors
    ///
    /// The same.
    pub(crate) async fn tls(host: &str, port: u16, tls: Tls) -> Result<Self, BindError> {
        let listener = Self::tcp(host, port).await?;
        let address = match listener.address {
            Address::Tcp(address) => Address::Tls(address),
            other => other,
        };
        Ok(Self { address, tls: Some(tls), ..listener })
    }

    /// Listens on a unix socket. A socket file that nobody listens on is replaced.
    ///
    /// # Errors
    ///
    /// Someone listens there, or a file cannot be made there.
    pub(crate) async fn unix(path: &Path) -> Result<Self, BindError> {
        let refused =
            |error| BindError::Refused(path.display().to_string(), error, "another --unix-sock");
        let socket = match bind_unix(path) {
            Err(error) if error.kind() == ErrorKind::AddrInUse => {
                remove_stale(path).await?;
                bind_unix(path).map_err(refused)?
            }
            bound => bound.map_err(refused)?,
        };
        let file = SocketFile::at(path).map_err(refused)?;
        fs::set_permissions(path, fs::Permissions::from_mode(SOCKET_MODE)).map_err(refused)?;
        // Nobody can connect before this, so the mode holds from the first connection on.
        let listener = socket.listen(BACKLOG).map_err(refused)?;
        Ok(Self {
            address: Address::Unix(path.to_owned()),
            kind: Kind::Unix { listener, _file: file },
            tls: None,
            told: None,
        })
    }

    /// Where it listens, with the port that was taken.
    pub(crate) fn address(&self) -> &Address {
        &self.address
    }

    /// The next connection. Failures are logged and waited out.
    pub(super) async fn accept(&mut self) -> (Stream, Peer) {
        loop {
            let accepted = match &self.kind {
                Kind::Tcp(listener) => listener.accept().await.map(|(stream, addr)| {
                    if let Err(error) = prepare(&stream) {
                        tracing::debug!(%error, "a connection stays without its options");
                    }
                    (Box::new(stream) as Stream, Peer { addr: Some(addr) })
                }),
                Kind::Unix { listener, .. } => {
                    let accepted = listener.accept().await;
                    accepted.map(|(stream, _)| (Box::new(stream) as Stream, Peer { addr: None }))
                }
            };
            match accepted {
                Ok(accepted) => return accepted,
                Err(error) if is_of_one_connection(&error) => {
                    tracing::debug!(%error, "a connection was gone before it was accepted");
                }
                Err(error) => {
                    self.tell(&error);
                    tokio::time::sleep(BACK_OFF).await;
                }
            }
        }
    }

    fn tell(&mut self, error: &io::Error) {
        let now = Instant::now();
        if self.told.is_none_or(|told| now - told >= SILENCE) {
            self.told = Some(now);
            tracing::error!(%error, "cannot accept connections; trying again and again");
        }
    }
}

/// Sets what we want of every connection.
fn prepare(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    #[cfg(any(target_os = "linux", target_os = "android"))]
    socket2::SockRef::from(stream).set_tcp_notsent_lowat(UNSENT)?;
    Ok(())
}

/// Whether an error of accept says nothing about the next connection.
fn is_of_one_connection(error: &io::Error) -> bool {
    use ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}

fn tcp_refused(address: SocketAddr, error: io::Error) -> BindError {
    let (name, way_out) = (address.to_string(), "another --host or --port");
    match error.kind() {
        ErrorKind::AddrInUse => BindError::InUse(name, "--port"),
        ErrorKind::PermissionDenied => BindError::Refused(name, error, "a --port above 1023"),
        ErrorKind::AddrNotAvailable => {
            BindError::Refused(name, error, "a --host that is an address of this machine")
        }
        _ => BindError::Refused(name, error, way_out),
    }
}

fn bind_tcp(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    // Connections of a server that was stopped do not keep the next one from the port.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

fn bind_unix(path: &Path) -> io::Result<UnixSocket> {
    let socket = UnixSocket::new_stream()?;
    socket.bind(path)?;
    Ok(socket)
}

/// Removes a socket file, but only after a connection to it was refused.
async fn remove_stale(path: &Path) -> Result<(), BindError> {
    let name = path.display().to_string();
    let in_the_way = |error| BindError::Refused(name.clone(), error, "another --unix-sock");
    match fs::symlink_metadata(path) {
        Ok(found) if found.file_type().is_socket() => {}
        Ok(_) => return Err(BindError::NoSocket(name)),
        Err(error) => return Err(in_the_way(error)),
    }
    match UnixStream::connect(path).await {
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => {
            fs::remove_file(path).map_err(in_the_way)
        }
        Err(error) if error.kind() == ErrorKind::PermissionDenied => Err(in_the_way(error)),
        // A full backlog is somebody listening, too.
        Ok(_) | Err(_) => Err(BindError::InUse(name, "another --unix-sock")),
    }
}

/// The file of a unix socket, removed with the listener unless another has taken its place.
#[derive(Debug)]
struct SocketFile {
    path: PathBuf,
    inode: (u64, u64),
}

impl SocketFile {
    fn at(path: &Path) -> io::Result<Self> {
        Ok(Self { path: path.to_owned(), inode: inode(path)? })
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let removed = match inode(&self.path) {
            Ok(found) if found == self.inode => fs::remove_file(&self.path),
            Ok(_) => Ok(()),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        };
        if let Err(error) = removed {
            let path = self.path.display();
            tracing::warn!(%error, %path, "the unix socket stays behind");
        }
    }
}

fn inode(path: &Path) -> io::Result<(u64, u64)> {
    let found = fs::symlink_metadata(path)?;
    Ok((found.dev(), found.ino()))
}
