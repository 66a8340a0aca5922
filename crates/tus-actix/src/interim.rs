//! Interim responses: where an upload is and how far it has come, told while it goes on.
//!
//! actix-web cannot send them, and its `HttpServer` takes no stream but its own. So an application
//! that wants them is served by the same parts, put together here, on HTTP/1.1:
//!
//! ```no_run
//! use actix_web::{App, dev::Server};
//! use tus_core::{MemoryStore, Tus};
//!
//! # #[actix_web::main] async fn main() -> std::io::Result<()> {
//! let tus = Tus::new(MemoryStore::default());
//! let listener = std::net::TcpListener::bind(("127.0.0.1", 8080))?;
//! let app = move || App::new().service(tus_actix::scope("/files", tus.clone()));
//! let server = tus_actix::interim::listen(Server::build().workers(4), listener, app)?;
//! server.run().await
//! # }
//! ```
//!
//! HTTP/2 has none here: the version of h2 that actix-web stands on cannot send them.
//!
//! To whom they are sent is decided by [`Policy::interim`](tus_core::Policy::interim).

use std::{
    fmt,
    future::ready,
    io::{self, IoSlice},
    net::TcpListener,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use actix_http::{HttpService, Request, Response, error::DispatchError};
use actix_server::ServerBuilder;
use actix_service::{
    IntoServiceFactory, Service, ServiceFactory, ServiceFactoryExt as _, fn_service, map_config,
};
use actix_web::{
    body::MessageBody,
    dev::AppConfig,
    rt::net::{ActixStream, Ready, TcpStream},
};
use http::Version;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tus_interim::http1::{Handle, Io};

/// How long the other side has to end a connection, as with `HttpServer`.
const DISCONNECT: Duration = Duration::from_secs(1);

/// Serves an application on a listener, on HTTP/1.1, with interim responses.
///
/// What else there is to a server (workers, signals, the time to stop) is the builder's.
///
/// # Errors
///
/// When the listener cannot be used.
pub fn listen<F, I, S, B>(
    builder: ServerBuilder,
    listener: TcpListener,
    app: F,
) -> io::Result<ServerBuilder>
where
    F: Fn() -> I + Send + Clone + 'static,
    I: IntoServiceFactory<S, Request>,
    S: ServiceFactory<Request, Config = AppConfig> + 'static,
    S::Error: Into<actix_web::Error> + 'static,
    S::InitError: fmt::Debug,
    S::Response: Into<Response<B>> + 'static,
    S::Service: 'static,
    <S::Service as Service<Request>>::Future: 'static,
    B: MessageBody + 'static,
{
    let address = listener.local_addr()?;
    builder.listen(format!("tus-actix-{address}"), listener, move || {
        let app = app().into_factory().map_err(|error| error.into().error_response());
        let http = HttpService::build()
            .client_disconnect_timeout(DISCONNECT)
            .local_addr(address)
            .on_connect_ext(|stream: &Stream, connection| {
                connection.insert(stream.0.handle());
            })
            .h1(map_config(app, |()| AppConfig::default()));
        fn_service(|stream: TcpStream| {
            let peer = stream.peer_addr().ok();
            ready(Ok::<_, DispatchError>((Stream(Io::new(stream)), peer)))
        })
        .and_then(http)
    })
}

/// Lets a request send interim responses, if its connection can.
pub(crate) fn extend<B>(handle: &Handle, request: &mut http::Request<B>) {
    if request.version() == Version::HTTP_11 {
        request.extensions_mut().insert(handle.interim());
    }
}

/// A stream with room for interim responses, as actix-web wants it.
struct Stream(Io<TcpStream>);

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

impl ActixStream for Stream {
    fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<Ready>> {
        ActixStream::poll_read_ready(self.0.get_ref(), cx)
    }

    fn poll_write_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<Ready>> {
        ActixStream::poll_write_ready(self.0.get_ref(), cx)
    }
}
