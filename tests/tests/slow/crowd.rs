//! Many clients on one thread, each too slow to be of use.

use std::{
    io::{self, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    sync::{
        PoisonError, RwLock, RwLockWriteGuard,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use rustix::net::sockopt::set_socket_recv_buffer_size;

/// What makes a client slow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// It begins a head and never ends it. When it is cut it comes again.
    Head,
    /// It brings a body byte by byte.
    Body,
    /// It asks for megabytes and takes them byte by byte, or not at all.
    Reader,
}

/// The clients take their turns in so many groups a second, so that they do not come as a wave.
const GROUPS: u32 = 20;

/// After so many seconds every second client falls silent.
const SILENT_AFTER: u64 = 3;

/// One client.
pub(crate) struct Client {
    stream: TcpStream,
    head: String,
    born: Instant,
    /// How many bytes it has sent after its head.
    pub(crate) sent: u64,
    /// How long it lasted.
    pub(crate) lasted: Option<Duration>,
    /// What it was told in the end.
    pub(crate) answer: Vec<u8>,
}

/// What tells crowds when to move.
#[derive(Debug, Default)]
pub(crate) struct Baton {
    moving: RwLock<()>,
    over: AtomicBool,
}

impl Baton {
    /// Keeps all crowds still while it lives; their connections stay.
    pub(crate) fn hush(&self) -> RwLockWriteGuard<'_, ()> {
        self.moving.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends the crowds when it is dropped, also when a test fails in their midst.
    pub(crate) fn until_dropped(&self) -> impl Drop + '_ {
        struct Over<'a>(&'a AtomicBool);

        impl Drop for Over<'_> {
            fn drop(&mut self) {
                self.0.store(true, Ordering::Relaxed);
            }
        }

        Over(&self.over)
    }
}

/// How the clients fared.
pub(crate) struct Fared {
    pub(crate) clients: Vec<Client>,
    /// How long those lasted that came again.
    pub(crate) gone: Vec<Duration>,
}

impl Client {
    /// Connects and sends a head.
    fn new(addr: SocketAddr, head: String) -> Self {
        let mut stream = TcpStream::connect(addr).expect("a connection");
        stream.set_nodelay(true).expect("TCP_NODELAY");
        // What a client has not read is on its side of the world; here both share a machine.
        set_socket_recv_buffer_size(&stream, 4096).expect("SO_RCVBUF");
        stream.write_all(head.as_bytes()).expect("a head");
        stream.set_nonblocking(true).expect("a socket that does not block");
        let born = Instant::now();
        Self { stream, head, born, sent: 0, lasted: None, answer: Vec::new() }
    }

    /// Moves by a byte, if it does, and looks whether it was cut.
    fn turn(&mut self, kind: Kind, is_silent: bool) {
        if self.lasted.is_some() {
            return;
        }
        let is_cut = match kind {
            Kind::Head | Kind::Body => {
                let is_cut = self.is_told();
                let is_silent = is_silent && self.sent >= SILENT_AFTER;
                if !is_cut && !is_silent && self.stream.write(b"x").is_ok() {
                    self.sent += 1;
                }
                is_cut
            }
            Kind::Reader => {
                if !is_silent {
                    // Whether there was one does not matter.
                    let _ = self.stream.read(&mut [0]);
                }
                // What is on its way comes before the end of a connection that is closed; one that
                // is cut for good fails at once.
                self.stream.take_error().expect("its state").is_some()
            }
        };
        if is_cut {
            self.lasted = Some(self.born.elapsed());
        }
    }

    /// Takes what the server says, and gives back whether that was the last of it.
    fn is_told(&mut self) -> bool {
        let mut scratch = [0; 1024];
        loop {
            match self.stream.read(&mut scratch) {
                Ok(0) => return true,
                Ok(length) => self.answer.extend_from_slice(&scratch[..length]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return false,
                Err(_) => return true,
            }
        }
    }
}

/// Connects a client for each head, calls `gathered`, and lets them be slow until it is over.
pub(crate) fn gather(
    kind: Kind,
    addr: SocketAddr,
    heads: Vec<String>,
    gathered: impl FnOnce(),
    baton: &Baton,
) -> Fared {
    let mut clients: Vec<Client> = heads.into_iter().map(|head| Client::new(addr, head)).collect();
    gathered();
    let mut gone = Vec::new();
    let size = clients.len().div_ceil(GROUPS as usize);
    while !baton.over.load(Ordering::Relaxed) {
        for (group, clients) in clients.chunks_mut(size).enumerate() {
            let moving = baton.moving.read().unwrap_or_else(PoisonError::into_inner);
            let began = Instant::now();
            for (place, client) in clients.iter_mut().enumerate() {
                client.turn(kind, (group + place) % 2 == 0);
                if kind == Kind::Head
                    && let Some(lasted) = client.lasted
                {
                    gone.push(lasted);
                    *client = Client::new(addr, client.head.clone());
                }
            }
            drop(moving);
            thread::sleep((Duration::from_secs(1) / GROUPS).saturating_sub(began.elapsed()));
        }
    }
    Fared { clients, gone }
}
