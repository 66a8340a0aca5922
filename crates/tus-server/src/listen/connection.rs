//! One connection, from its first byte to its last.

use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes};
use http::{Request, Response};
use hyper::body::Body;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::AsyncReadExt;
use tokio::sync::watch;
use tokio::time::Instant;
use tus_interim::{http1 as interim, http2, server};

use super::door::Pass;
use super::gulps::Gulps;
use super::io::{Io, Stream};
use super::patience::Patient;
use super::pulse::{End, Pulse, Terms};
use super::service::{Guest, PerRequest};
use super::streams::Streams;
use super::tls::Tls;
use super::{BoxError, Limits, Peer};

const KIB: u32 = 1024;
const MIB: u32 = 1024 * KIB;

/// How many header fields hyper takes without being told, and a little faster than when told.
const USUAL_FIELDS: usize = 100;

/// How many streams of HTTP/2 may be taken back before we even looked at them.
const UNSEEN_RESETS: usize = 20;

/// How long a connection that only hears why it is refused may take about it.
const UNWELCOME_FOR: Duration = Duration::from_secs(2);

/// By how much hyper's own bound of the idle time comes later than ours.
const AFTER_PULSE: Duration = Duration::from_secs(1);

/// What every HTTP/2 connection begins with (RFC 9113, section 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// How to speak on connections, whichever version of HTTP they turn out to be.
#[derive(Debug)]
pub(super) struct Protocols {
    http1: http1::Builder,
    http2: http2::Builder<Streams>,
    terms: Terms,
    limits: Limits,
    gulps: Gulps,
    tls: Option<Tls>,
}

/// A connection that was accepted.
pub(super) struct Accepted {
    pub(super) stream: Stream,
    pub(super) peer: Peer,
    pub(super) pass: Pass,
    pub(super) stopping: watch::Receiver<bool>,
}

impl Protocols {
    /// Protocols that hold every peer to these limits, spoken in clear text or over TLS.
    pub(super) fn new(limits: Limits, tls: Option<Tls>) -> Self {
        let mut http1 = http1::Builder::new();
        http1
            .timer(TokioTimer::new())
            // Else a request that has arrived whole is thrown away, unseen, if its client has
            // closed its half by then.
            .half_close(true)
            // This runs from the answer before on, so it bounds the idle time too; `Pulse` has
            // the bound of a head from its first byte on, and ends what is idle with a goodbye.
            .header_read_timeout(limits.keep_alive.max(limits.head) + AFTER_PULSE)
            .max_header_size(limits.head_size)
            .max_buf_size(MIB as usize);
        if limits.head_fields != USUAL_FIELDS {
            http1.max_headers(limits.head_fields);
        }
        let mut http2 = http2::Builder::new(Streams::new(limits.patience, limits.rate));
        http2
            .keep_alive_interval(limits.patience)
            .keep_alive_timeout(limits.patience)
            .max_concurrent_streams(limits.streams)
            .max_header_list_size(u32::try_from(limits.head_size).unwrap_or(u32::MAX))
            .max_pending_accept_reset_streams(UNSEEN_RESETS)
            .max_local_error_reset_streams(limits.resets)
            .initial_stream_window_size(MIB)
            .initial_connection_window_size(4 * MIB);
        let terms = Terms {
            head: limits.head,
            idle: limits.keep_alive,
            kept: limits.keep_alive,
            life: limits.life,
            resets: limits.resets,
        };
        Self { http1, http2, terms, limits, gulps: Gulps::new(), tls }
    }

    /// Serves one connection until it ends, or until it is idle or told to stop and has answered
    /// what it was asked.
    pub(super) async fn serve<S, B>(self: Arc<Self>, accepted: Accepted, service: S)
    where
        S: tower_service::Service<
                Request<server::Body>,
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
        let peer = accepted.peer;
        if let Err(error) = self.converse(accepted, service).await {
            tracing::debug!(peer = ?peer.addr, error, "connection ended early");
        }
    }

    async fn converse<S, B>(&self, accepted: Accepted, service: S) -> Result<(), BoxError>
    where
        S: tower_service::Service<
                Request<server::Body>,
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
        let Accepted { stream, peer, pass, mut stopping } = accepted;
        let mut terms = self.terms;
        if pass.unwelcome().is_some() {
            let brief = UNWELCOME_FOR.min(terms.head);
            terms = Terms { head: brief, idle: brief, kept: Duration::ZERO, ..terms };
        }
        let born = Instant::now();
        let Limits { patience, rate, .. } = self.limits;
        let stream = Patient::bound(stream, patience, rate);
        let (stream, version, first) = tokio::select! {
            begun = tokio::time::timeout_at(born + terms.head, self.begin(stream)) => {
                begun.map_err(|_| "the peer sent no request in time")??
            }
            _ = stopping.wait_for(|stop| *stop) => return Ok(()),
        };
        let pulse = Pulse::new(version);
        let stream = self.gulps.bound(stream);
        let io = Io::new(stream, first, pulse.clone(), patience);
        let guest = Guest::new(peer, version, pass, pulse.clone(), self.limits.head_fields);
        let visit = Visit { pulse, terms, born, stopping };
        match version {
            // Boxed, so that no connection takes the memory of the other kind.
            Version::Http1 => {
                let io = interim::Io::new(io);
                let service = PerRequest::new(service, guest.with_interim(io.handle()));
                let service = service_fn(move |request| service.answer(request));
                let connection = self.http1.serve_connection(TokioIo::new(io), service);
                visit.drive(Box::pin(connection), |connection| connection.graceful_shutdown()).await
            }
            Version::Http2 => {
                let service = PerRequest::new(service, guest);
                let connection = self.http2.serve_connection(io, service);
                visit.drive(Box::pin(connection), |connection| connection.graceful_shutdown()).await
            }
        }
    }

    /// Shakes hands where TLS is spoken, and reads until it is clear which version of HTTP is.
    async fn begin(&self, stream: Stream) -> io::Result<(Stream, Version, Bytes)> {
        let (mut stream, chose_http2) = match &self.tls {
            // Boxed, so that a connection in clear text does not take the memory of it.
            Some(tls) => Box::pin(tls.handshake(stream)).await?,
            None => (stream, false),
        };
        // Who chose HTTP/2 is waited for as well: a request has to begin in time.
        let (version, first) = first_bytes(&mut stream).await?;
        if chose_http2 && version != Version::Http2 {
            let error = "the peer chose HTTP/2 and speaks something else";
            return Err(io::Error::new(io::ErrorKind::InvalidData, error));
        }
        Ok((stream, version, first))
    }
}

/// What decides when a connection ends.
struct Visit {
    pulse: Pulse,
    terms: Terms,
    born: Instant,
    stopping: watch::Receiver<bool>,
}

impl Visit {
    async fn drive<C, E>(
        mut self,
        mut connection: Pin<Box<C>>,
        take_no_more: impl FnOnce(Pin<&mut C>),
    ) -> Result<(), BoxError>
    where
        C: Future<Output = Result<(), E>>,
        E: Into<BoxError>,
    {
        tokio::select! {
            ended = connection.as_mut() => return ended.map_err(Into::into),
            end = self.pulse.end(self.terms, self.born) => match end {
                End::Gently => {}
                End::Now(why) => return Err(why.into()),
            },
            _ = self.stopping.wait_for(|stop| *stop) => {}
        }
        take_no_more(connection.as_mut());
        tokio::select! {
            ended = connection => ended.map_err(Into::into),
            () = self.pulse.quiet_for(self.terms.head) => Err("the peer does not let go".into()),
        }
    }
}

/// A version of HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Version {
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
