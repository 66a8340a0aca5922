//! The accept loop: HTTP/1.1 and HTTP/2 in clear text, over TCP or a unix socket, with every
//! wait bounded except that for the bytes of a request's body, which the engine bounds.

mod bind;
mod connection;
mod io;
mod service;

#[cfg(test)]
mod tests;

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::pin;
use std::time::Duration;

use http::{Request, Response};
use hyper::body::{Body, Incoming};
use tokio::sync::watch;
use tokio::task::{JoinError, JoinSet};

use connection::Protocols;

pub(crate) use bind::{Address, Listener};

/// Who sent a request; in the extensions of each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Peer {
    /// The address, or `None` over a unix socket.
    pub(crate) addr: Option<SocketAddr>,
}

/// How long to wait for peers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timeouts {
    /// For the head of a request, for the next request on an open connection, and for the peer
    /// to take bytes of a response.
    pub(crate) network: Duration,
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
        timeouts: Timeouts,
        shutdown: impl Future<Output = ()>,
    ) -> Stopped
    where
        S: tower_service::Service<Request<Incoming>, Response = Response<B>, Error = Infallible>
            + Clone
            + Send
            + 'static,
        S::Future: Send + 'static,
        B: Body + Send + 'static,
        B::Data: Send,
        B::Error: Into<BoxError>,
    {
        let protocols = Protocols::new(timeouts.network);
        let (stop, stopping) = watch::channel(false);
        let mut connections = JoinSet::new();
        let mut shutdown = pin!(shutdown);
        loop {
            tokio::select! {
                () = &mut shutdown => break,
                Some(ended) = connections.join_next() => log_panic(ended),
                (stream, peer) = self.accept() => {
                    let (service, stopping) = (service.clone(), stopping.clone());
                    connections.spawn(protocols.clone().serve(stream, peer, service, stopping));
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
        if tokio::time::timeout(timeouts.shutdown, all_ended).await.is_ok() {
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
