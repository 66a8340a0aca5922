//! One connection, from its first byte to its last.

use std::convert::Infallible;
use std::io;
use std::pin::pin;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use hyper::body::{Body, Incoming};
use hyper::server::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulConnection;
use tokio::io::AsyncReadExt;
use tokio::sync::watch;

use super::io::{Io, Stream};
use super::service::{InFlight, per_request};
use super::{BoxError, Peer};

const KIB: u32 = 1024;
const MIB: u32 = 1024 * KIB;

/// The largest head of a request: room for a final upload that names a thousand parts by path.
const HEAD_LIMIT: u32 = 64 * KIB;

/// What every HTTP/2 connection begins with (RFC 9113, section 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// How to speak on connections, whichever version of HTTP they turn out to be.
#[derive(Clone, Debug)]
pub(super) struct Protocols {
    http1: http1::Builder,
    http2: http2::Builder<TokioExecutor>,
    timeout: Duration,
}

impl Protocols {
    /// Protocols that wait this long for a peer.
    pub(super) fn new(timeout: Duration) -> Self {
        let mut http1 = http1::Builder::new();
        http1
            .timer(TokioTimer::new())
            .header_read_timeout(timeout)
            .max_header_size(HEAD_LIMIT as usize)
            .max_buf_size(MIB as usize);
        let mut http2 = http2::Builder::new(TokioExecutor::new());
        http2
            .timer(TokioTimer::new())
            .keep_alive_interval(timeout)
            .keep_alive_timeout(timeout)
            .max_concurrent_streams(128)
            .max_header_list_size(HEAD_LIMIT)
            .initial_stream_window_size(MIB)
            .initial_connection_window_size(4 * MIB);
        Self { http1, http2, timeout }
    }

    /// Serves one connection until it ends, or until it is idle or told to stop and has answered
    /// what it was asked.
    pub(super) async fn serve<S, B>(
        self,
        mut stream: Stream,
        peer: Peer,
        service: S,
        mut stopping: watch::Receiver<bool>,
    ) where
        S: tower_service::Service<Request<Incoming>, Response = Response<B>, Error = Infallible>
            + Clone
            + Send
            + 'static,
        S::Future: Send + 'static,
        B: Body + Send + 'static,
        B::Data: Send,
        B::Error: Into<BoxError>,
    {
        let first = tokio::select! {
            first = tokio::time::timeout(self.timeout, first_bytes(&mut stream)) => first,
            _ = stopping.wait_for(|stop| *stop) => return,
        };
        let ended = match first {
            Ok(Ok((version, first))) => {
                let in_flight = InFlight::new();
                let idle = in_flight.idle_for(self.timeout);
                let service = per_request(service, peer, in_flight.clone());
                let io = TokioIo::new(Io::new(stream, first, self.timeout));
                match version {
                    Version::Http1 => {
                        drive(self.http1.serve_connection(io, service), idle, stopping).await
                    }
                    Version::Http2 => {
                        drive(self.http2.serve_connection(io, service), idle, stopping).await
                    }
                }
                .map_err(BoxError::from)
            }
            Ok(Err(error)) => Err(error.into()),
            Err(_) => Err("the peer sent no request in time".into()),
        };
        if let Err(error) = ended {
            tracing::debug!(peer = ?peer.addr, error, "connection ended early");
        }
    }
}

async fn drive<C: GracefulConnection>(
    connection: C,
    idle: impl Future<Output = ()>,
    mut stopping: watch::Receiver<bool>,
) -> Result<(), C::Error> {
    let mut connection = pin!(connection);
    tokio::select! {
        ended = connection.as_mut() => return ended,
        () = idle => {}
        _ = stopping.wait_for(|stop| *stop) => {}
    }
    connection.as_mut().graceful_shutdown();
    connection.await
}

#[derive(Clone, Copy, Debug)]
enum Version {
    Http1,
    Http2,
}

/// Reads until it is clear which version is spoken. hyper-util can tell as well, but waits for
/// ever for the bytes.
async fn first_bytes(stream: &mut Stream) -> io::Result<(Version, Bytes)> {
    let mut first = Vec::with_capacity(PREFACE.len());
    loop {
        if !PREFACE.starts_with(&first) {
            return Ok((Version::Http1, first.into()));
        }
        let missing = PREFACE.len() - first.len();
        if missing == 0 {
            return Ok((Version::Http2, first.into()));
        }
        if stream.take(missing as u64).read_buf(&mut first).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}
