//! HTTP/2: a connection whose streams are served by a tower service, as hyper does it, with a way
//! to send interim responses.

mod body;
mod stream;
mod watch;

use std::{
    error::Error as StdError,
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{Buf, Bytes};
use h2::Reason;
use http::{Request, Response};
use hyper::rt::Executor;
use tokio::io::{AsyncRead, AsyncWrite};
use tower_service::Service;

pub use body::RecvBody;
use stream::Chunk;
use watch::{Activity, KeepAlive, Watched};

type BoxError = Box<dyn StdError + Send + Sync>;

/// The task of one stream.
///
/// Dropping it before its end resets the stream.
pub type Stream = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Runs each stream in a task of tokio's.
#[derive(Clone, Copy, Debug, Default)]
pub struct Spawn;

impl<F> Executor<F> for Spawn
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    fn execute(&self, stream: F) {
        tokio::spawn(stream);
    }
}

/// How HTTP/2 is spoken; the names and defaults are those of hyper.
#[derive(Clone, Debug)]
pub struct Builder<E = Spawn> {
    executor: E,
    h2: h2::server::Builder,
    keep_alive_interval: Option<Duration>,
    keep_alive_timeout: Duration,
}

impl<E> Builder<E> {
    /// The defaults, with an executor that runs the streams.
    pub fn new(executor: E) -> Self {
        let mut h2 = h2::server::Builder::new();
        h2.initial_window_size(1 << 20)
            .initial_connection_window_size(1 << 20)
            .max_frame_size(16 << 10)
            .max_concurrent_streams(200)
            .max_header_list_size(16 << 10)
            .max_local_error_reset_streams(Some(1024))
            .max_send_buffer_size(400 << 10);
        let keep_alive_timeout = Duration::from_secs(20);
        Self { executor, h2, keep_alive_interval: None, keep_alive_timeout }
    }

    /// How long nothing may come in before the peer is asked whether it is there (never).
    pub fn keep_alive_interval(&mut self, interval: impl Into<Option<Duration>>) -> &mut Self {
        self.keep_alive_interval = interval.into();
        self
    }

    /// How long the peer has to answer that (20 seconds).
    pub fn keep_alive_timeout(&mut self, timeout: Duration) -> &mut Self {
        self.keep_alive_timeout = timeout;
        self
    }

    /// How many streams the peer may have open (200).
    pub fn max_concurrent_streams(&mut self, max: u32) -> &mut Self {
        self.h2.max_concurrent_streams(max);
        self
    }

    /// How large a head may be, its fields counted as HPACK does (16 KiB).
    pub fn max_header_list_size(&mut self, max: u32) -> &mut Self {
        self.h2.max_header_list_size(max);
        self
    }

    /// How many streams that the peer has reset may wait to be looked at (20).
    pub fn max_pending_accept_reset_streams(&mut self, max: usize) -> &mut Self {
        self.h2.max_pending_accept_reset_streams(max);
        self
    }

    /// How many streams may be reset for mistakes of the peer (1024).
    pub fn max_local_error_reset_streams(&mut self, max: impl Into<Option<usize>>) -> &mut Self {
        self.h2.max_local_error_reset_streams(max.into());
        self
    }

    /// How many bytes of one stream the peer may send before they are read (1 MiB).
    pub fn initial_stream_window_size(&mut self, size: u32) -> &mut Self {
        self.h2.initial_window_size(size);
        self
    }

    /// How many bytes of all streams the peer may send before they are read (1 MiB).
    pub fn initial_connection_window_size(&mut self, size: u32) -> &mut Self {
        self.h2.initial_connection_window_size(size);
        self
    }

    /// How many bytes of a response may wait for the peer, on each stream (400 KiB).
    pub fn max_send_buffer_size(&mut self, max: usize) -> &mut Self {
        self.h2.max_send_buffer_size(max);
        self
    }

    /// Serves a connection, whose preface has yet to be read; to be awaited.
    ///
    /// Must be polled inside a runtime of tokio's, with its timers if there is a keep-alive
    /// interval.
    pub fn serve_connection<T, S, B>(&self, io: T, service: S) -> Connection<T, S, B, E>
    where
        T: AsyncRead + AsyncWrite + Unpin,
        B: http_body::Body,
        B::Data: Buf,
        E: Clone,
    {
        let activity = Arc::new(Activity::new());
        let handshake = self.h2.handshake(Watched::new(io, activity.clone()));
        Connection {
            state: State::Handshake(Box::new(handshake)),
            service,
            executor: self.executor.clone(),
            activity,
            keep_alive: self.keep_alive_interval.map(|it| (it, self.keep_alive_timeout)),
            ending: false,
        }
    }
}

impl Default for Builder {
    fn default() -> Self {
        Self::new(Spawn)
    }
}

/// A connection of HTTP/2; a future that ends with it.
#[must_use = "a connection does nothing unless it is awaited"]
pub struct Connection<T, S, B: http_body::Body, E = Spawn> {
    state: State<T, B::Data>,
    service: S,
    executor: E,
    activity: Arc<Activity>,
    keep_alive: Option<(Duration, Duration)>,
    ending: bool,
}

enum State<T, D: Buf> {
    Handshake(Box<h2::server::Handshake<Watched<T>, Chunk<D>>>),
    Open(Box<h2::server::Connection<Watched<T>, Chunk<D>>>, Option<KeepAlive>),
}

// Nothing in it is pinned.
impl<T, S, B: http_body::Body, E> Unpin for Connection<T, S, B, E> {}

impl<T, S, B, E> Connection<T, S, B, E>
where
    T: AsyncRead + AsyncWrite + Unpin,
    B: http_body::Body,
{
    /// Takes no further request, and ends once those that were taken are answered.
    pub fn graceful_shutdown(self: Pin<&mut Self>) {
        let this = self.get_mut();
        if let State::Open(connection, _) = &mut this.state
            && !this.ending
        {
            connection.graceful_shutdown();
        }
        this.ending = true;
    }
}

impl<T, S, B, E> Future for Connection<T, S, B, E>
where
    T: AsyncRead + AsyncWrite + Unpin,
    S: Service<Request<RecvBody>, Response = Response<B>> + Clone + Send + 'static,
    S::Error: Into<BoxError>,
    S::Future: Send,
    B: http_body::Body<Data: Buf + Send + 'static, Error: Into<BoxError>> + Send + 'static,
    E: Executor<Stream>,
{
    type Output = Result<(), Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        let this = self.get_mut();
        loop {
            match &mut this.state {
                State::Handshake(handshake) => {
                    let mut connection = ready!(Pin::new(handshake.as_mut()).poll(cx))?;
                    if this.ending {
                        connection.graceful_shutdown();
                    }
                    let pings = this.keep_alive.and_then(|terms| {
                        connection.ping_pong().map(|pings| KeepAlive::new(terms, pings))
                    });
                    this.state = State::Open(Box::new(connection), pings);
                }
                State::Open(connection, keep_alive) => {
                    let was_silent = keep_alive.as_ref().is_some_and(|it| it.is_silent);
                    let dead = keep_alive.as_mut().map(|it| it.poll_dead(cx, &this.activity));
                    if dead.is_some_and(|dead| dead.is_ready()) {
                        if was_silent {
                            return Poll::Ready(Err(Error(Kind::Silent)));
                        }
                        // Whoever bounds how slowly the peer may read hears of it this way, too.
                        connection.abrupt_shutdown(Reason::NO_ERROR);
                        continue;
                    }
                    let Some(accepted) = ready!(connection.poll_accept(cx)) else {
                        let ended = if was_silent { Err(Error(Kind::Silent)) } else { Ok(()) };
                        return Poll::Ready(ended);
                    };
                    let (request, respond) = accepted?;
                    let stream =
                        stream::serve(this.service.clone(), request, respond, &this.activity);
                    this.executor.execute(Box::pin(stream));
                }
            }
        }
    }
}

impl<T, S, B: http_body::Body, E> fmt::Debug for Connection<T, S, B, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let open = matches!(self.state, State::Open(..));
        f.debug_struct("Connection")
            .field("open", &open)
            .field("ending", &self.ending)
            .finish_non_exhaustive()
    }
}

/// Why a connection ended early.
#[derive(Debug)]
pub struct Error(Kind);

#[derive(Debug)]
enum Kind {
    Protocol(h2::Error),
    Silent,
}

impl From<h2::Error> for Error {
    fn from(error: h2::Error) -> Self {
        Self(Kind::Protocol(error))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Protocol(error) => error.fmt(f),
            Kind::Silent => f.write_str("the peer does not answer pings"),
        }
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match &self.0 {
            Kind::Protocol(error) => error.source(),
            Kind::Silent => None,
        }
    }
}

/// What a body is made of here.
type Data = Bytes;

#[cfg(test)]
mod tests;
