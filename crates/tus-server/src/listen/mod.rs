//! The accept loop: HTTP/1.1 and HTTP/2 over TCP, with TLS or in clear text, or over a unix socket,
//! with every count and every wait bounded except that for the bytes of a request's body, which the
//! engine bounds.

mod bind;
mod connection;
mod credit;
mod door;
mod gulps;
mod io;
mod patience;
mod pulse;
mod service;
mod streams;
mod tls;

#[cfg(test)]
mod tests;

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Buf;
use http::{Request, Response};
use hyper::body::Body;
use tokio::sync::watch;
use tokio::task::{JoinError, JoinSet};

use connection::{Accepted, Protocols};
use door::Door;

pub(crate) use bind::{Address, Listener};
pub(crate) use door::{Capacity, REFUSED_AT_ONCE};
pub(crate) use tls::{Tls, TlsError};

/// Who sent a request; in the extensions of each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Peer {
    /// The address, or `None` over a unix socket.
    pub(crate) addr: Option<SocketAddr>,
}

/// Why a request is not to be served; in the extensions of each such one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unwelcome {
    /// There are as many connections, or requests, as there may be.
    Crowd,
    /// The address has as many connections as it may have.
    Address,
    /// The head has more fields than it may have.
    Head,
}

/// What peers may take of us: connections, time and memory.
#[derive(Clone, Debug)]
pub(crate) struct Limits {
    /// How many may come in.
    pub(crate) capacity: Capacity,
    /// For the first byte of a connection, with TLS the first after its handshake, and from the
    /// first byte of a head to its last.
    pub(crate) head: Duration,
    /// For the next request on an open connection.
    pub(crate) keep_alive: Duration,
    /// After which a connection takes no further request.
    pub(crate) life: Option<Duration>,
    /// For the peer to take bytes of a response.
    pub(crate) patience: Duration,
    /// How many of them it takes a second at least, averaged over the patience.
    pub(crate) rate: Option<u64>,
    /// The most bytes of a head: 8 KiB to 1 MiB.
    pub(crate) head_size: usize,
    /// The most fields of a head.
    pub(crate) head_fields: usize,
    /// The most requests at once on a connection of HTTP/2.
    pub(crate) streams: u32,
    /// The most requests that such a connection may take back within ten seconds.
    pub(crate) resets: usize,
    /// For connections to end by themselves once the server was told to stop.
    pub(crate) shutdown: Duration,
}

/// How the accept loop ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stopped {
    /// Connections that had not ended when the grace was over, and were cut.
    pub(crate) cut: usize,
}

/// The error of a response body, boxed.
type BoxError = Box<dyn std::error::Error + Send + Sync>;

impl Listener {
    /// Serves connections until `shutdown` completes, then lets those in flight end.
    ///
    /// A failure to accept is logged and tried again; only `shutdown` ends the loop.
    pub(crate) async fn serve<S, B>(
        mut self,
        service: S,
        limits: Limits,
        shutdown: impl Future<Output = ()>,
    ) -> Stopped
    where
        S: tower_service::Service<
                Request<tus_interim::server::Body>,
                Response = Response<B>,
                Error = Infallible,
            > + Clone
            + Send
            + 'static,
        S::Future: Send + 'static,
        B: Body + Send + 'static,
        B::Data: Buf + Send,
        B::Error: Into<BoxError>,
    {
        let door = Door::new(limits.capacity.clone());
        let grace = limits.shutdown;
        let protocols = Arc::new(Protocols::new(limits, self.tls.take()));
        let (stop, stopping) = watch::channel(false);
        let mut connections = JoinSet::new();
        let mut shutdown = pin!(shutdown);
        loop {
            tokio::select! {
                () = &mut shutdown => break,
                Some(ended) = connections.join_next() => log_panic(ended),
                (stream, peer) = self.accept() => {
                    if let Some(pass) = door.enter(peer) {
                        let accepted = Accepted { stream, peer, pass, stopping: stopping.clone() };
                        connections.spawn(protocols.clone().serve(accepted, service.clone()));
                    }
                }
            }
        }
        drop(self);
        stop.send_replace(true);
        let all_ended = async {
            while let Some(ended) = connections.join_next().await {
                log_panic(ended);
            }
        };
        if tokio::time::timeout(grace, all_ended).await.is_ok() {
            return Stopped { cut: 0 };
        }
        while let Some(ended) = connections.try_join_next() {
            log_panic(ended);
        }
        let cut = connections.len();
        connections.shutdown().await;
        Stopped { cut }
    }
}

fn log_panic(ended: Result<(), JoinError>) {
    if let Err(error) = ended {
        tracing::error!(%error, "a connection ended in a panic");
    }
}
