//! A connection in whichever version of HTTP its peer speaks.

use std::{
    error::Error as StdError,
    future::{Future, poll_fn},
    io::{self, IoSlice},
    pin::{Pin, pin},
    task::{Context, Poll},
    time::Duration,
};

use bytes::{Buf, Bytes};
use http::{Request, Response};
use http_body::{Frame, SizeHint};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf},
    time::timeout,
};
use tower_service::Service;

use crate::{
    http1::Io,
    http2::{self, RecvBody},
};

type BoxError = Box<dyn StdError + Send + Sync>;

/// What every HTTP/2 connection begins with (RFC 9113, section 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// How to serve connections of HTTP/1 and HTTP/2, for those who accept them themselves.
///
/// HTTP/2 is told by its first bytes, as it has them with and without TLS; what ALPN has chosen
/// need not be said.
#[derive(Clone, Debug)]
pub struct Server {
    http1: http1::Builder,
    http2: http2::Builder,
    first: Duration,
}

impl Default for Server {
    fn default() -> Self {
        Self::new()
    }
}

impl Server {
    /// The defaults of hyper, with timers; the first bytes have 30 seconds to come.
    pub fn new() -> Self {
        let mut http1 = http1::Builder::new();
        http1.timer(TokioTimer::new());
        Self { http1, http2: http2::Builder::default(), first: Duration::from_secs(30) }
    }

    /// How HTTP/1 is spoken.
    pub fn http1(&mut self) -> &mut http1::Builder {
        &mut self.http1
    }

    /// How HTTP/2 is spoken.
    pub fn http2(&mut self) -> &mut http2::Builder {
        &mut self.http2
    }

    /// Serves a connection until it ends, or until `stop` completes and it has answered what it
    /// was asked; each request, save those of HTTP/1.0, has an [`Interim`](tus_core::Interim) in
    /// its extensions.
    ///
    /// ```
    /// use tus_interim::server::Server;
    ///
    /// # async fn serve(listener: tokio::net::TcpListener, tus: tus_core::Tus) {
    /// let server = Server::new();
    /// while let Ok((stream, _)) = listener.accept().await {
    ///     // Or the stream of a TLS acceptor.
    ///     let (server, service) = (server.clone(), tus.service("/files"));
    ///     tokio::spawn(async move {
    ///         let served = server.serve_connection(stream, service, std::future::pending());
    ///         if let Err(error) = served.await {
    ///             eprintln!("a connection ended early: {error}");
    ///         }
    ///     });
    /// }
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// When the connection breaks, or its peer does not keep to the protocol.
    pub async fn serve_connection<T, S, B>(
        &self,
        mut io: T,
        service: S,
        stop: impl Future<Output = ()>,
    ) -> Result<(), BoxError>
    where
        T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
        S: Service<Request<Body>, Response = Response<B>> + Clone + Send + 'static,
        S::Error: Into<BoxError>,
        S::Future: Send,
        B: http_body::Body<Data: Send, Error: Into<BoxError>> + Send + 'static,
    {
        let mut stop = pin!(stop);
        let (is_http2, first) = tokio::select! {
            first = timeout(self.first, first_bytes(&mut io)) => {
                first.map_err(|_| "the peer sent no request in time")??
            }
            () = stop.as_mut() => return Ok(()),
        };
        let io = Rewound { first, inner: io };
        if is_http2 {
            let service = Mapped(service);
            let mut connection = pin!(self.http2.serve_connection(io, service));
            tokio::select! {
                ended = connection.as_mut() => return Ok(ended?),
                () = stop => connection.as_mut().graceful_shutdown(),
            }
            return Ok(connection.await?);
        }
        let io = Io::new(io);
        let handle = io.handle();
        let service = service_fn(move |mut request: Request<Incoming>| {
            let guard = handle.extend(&mut request);
            let mut service = service.clone();
            async move {
                poll_fn(|cx| service.poll_ready(cx)).await?;
                let response = service.call(request.map(Body::from)).await;
                drop(guard);
                response
            }
        });
        let connection = self.http1.serve_connection(TokioIo::new(io), service).with_upgrades();
        let mut connection = pin!(connection);
        tokio::select! {
            ended = connection.as_mut() => return Ok(ended?),
            () = stop => connection.as_mut().graceful_shutdown(),
        }
        Ok(connection.await?)
    }
}

/// Reads until it is clear whether HTTP/2 is spoken.
async fn first_bytes<T: AsyncRead + Unpin>(io: &mut T) -> io::Result<(bool, Bytes)> {
    let mut first = Vec::with_capacity(PREFACE.len());
    while PREFACE.starts_with(&first) && first.len() < PREFACE.len() {
        let missing = PREFACE.len() - first.len();
        if io.take(missing as u64).read_buf(&mut first).await? == 0 {
            // A connection without a request is none of HTTP/2 either.
            break;
        }
    }
    Ok((first == PREFACE, first.into()))
}

/// The body of a request of either version.
#[derive(Debug)]
pub struct Body(Version);

#[derive(Debug)]
enum Version {
    Http1(Incoming),
    Http2(RecvBody),
}

impl From<Incoming> for Body {
    fn from(body: Incoming) -> Self {
        Self(Version::Http1(body))
    }
}

impl From<RecvBody> for Body {
    fn from(body: RecvBody) -> Self {
        Self(Version::Http2(body))
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        match &mut self.0 {
            Version::Http1(body) => {
                let frame = Pin::new(body).poll_frame(cx);
                frame.map(|frame| frame.map(|frame| frame.map_err(io::Error::other)))
            }
            Version::Http2(body) => Pin::new(body).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Version::Http1(body) => body.is_end_stream(),
            Version::Http2(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Version::Http1(body) => body.size_hint(),
            Version::Http2(body) => body.size_hint(),
        }
    }
}

/// A service for requests of either version, called with those of HTTP/2.
#[derive(Clone)]
struct Mapped<S>(S);

impl<S: Service<Request<Body>>> Service<Request<RecvBody>> for Mapped<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: Request<RecvBody>) -> S::Future {
        self.0.call(request.map(Body::from))
    }
}

/// A stream that gives back what was read of it.
struct Rewound<T> {
    first: Bytes,
    inner: T,
}

impl<T: AsyncRead + Unpin> AsyncRead for Rewound<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.first.has_remaining() {
            let length = self.first.len().min(buf.remaining());
            buf.put_slice(&self.first.split_to(length));
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.inner).poll_read(cx, buf)
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Rewound<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}
