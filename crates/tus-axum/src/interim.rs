//! Interim responses: where an upload is and how far it has come, told while it goes on.
//!
//! hyper cannot send them, so axum cannot. On HTTP/1.1 a listener that wraps another one does:
//!
//! ```no_run
//! use tus_axum::interim;
//!
//! # async fn serve(listener: tokio::net::TcpListener, app: axum::Router) -> std::io::Result<()> {
//! let listener = interim::Listener::new(listener);
//! axum::serve(listener, app.into_make_service_with_connect_info::<interim::Connection>()).await
//! # }
//! ```
//!
//! An application that accepts its connections itself, because of TLS for one thing, has them
//! served by [`Server`], on HTTP/1.1 and on HTTP/2. It tells them apart by their first bytes, with
//! and without ALPN:
//!
//! ```no_run
//! use axum::{Extension, Router, extract::ConnectInfo};
//! use tus_axum::interim::Server;
//!
//! # async fn serve(listener: tokio::net::TcpListener, app: Router) -> std::io::Result<()> {
//! let server = Server::new();
//! loop {
//!     let (stream, address) = listener.accept().await?;
//!     let (server, app) = (server.clone(), app.clone().layer(Extension(ConnectInfo(address))));
//!     tokio::spawn(async move {
//!         // Here goes the acceptor of TLS; the last argument is a future that asks for the end.
//!         server.serve_connection(stream, app, std::future::pending()).await
//!     });
//! }
//! # }
//! ```
//!
//! To whom they are sent is decided by [`Policy::interim`](tus_core::Policy::interim).

use std::{any::Any, io, net::SocketAddr};

use axum::{
    extract::{ConnectInfo, Request, connect_info::Connected},
    serve::{self, IncomingStream},
};
pub use tus_interim::server::Server;
use tus_interim::{
    InterimGuard,
    http1::{Handle, Io},
};

/// A listener whose connections of HTTP/1.1 have room for interim responses.
#[derive(Debug)]
pub struct Listener<L>(L);

impl<L> Listener<L> {
    /// Wraps a listener.
    pub fn new(inner: L) -> Self {
        Self(inner)
    }
}

impl<L: serve::Listener> serve::Listener for Listener<L> {
    type Io = Io<L::Io>;
    type Addr = L::Addr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        let (stream, address) = self.0.accept().await;
        (Io::new(stream), address)
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        self.0.local_addr()
    }
}

/// What is known of a connection that a [`Listener`] accepted; handlers have it from
/// `ConnectInfo<Connection>`.
#[derive(Clone, Debug)]
pub struct Connection {
    address: Option<SocketAddr>,
    handle: Handle,
}

impl Connection {
    /// The address of the peer; none if it came by a socket without one.
    pub fn address(&self) -> Option<SocketAddr> {
        self.address
    }

    /// The way to send interim responses.
    pub fn handle(&self) -> &Handle {
        &self.handle
    }
}

impl<L> Connected<IncomingStream<'_, Listener<L>>> for Connection
where
    L: serve::Listener,
    L::Addr: 'static,
{
    fn connect_info(stream: IncomingStream<'_, Listener<L>>) -> Self {
        let address: &dyn Any = stream.remote_addr();
        Self { address: address.downcast_ref().copied(), handle: stream.io().handle() }
    }
}

/// The connection that a request came by.
pub(crate) fn connection(request: &Request) -> Option<&Connection> {
    request.extensions().get::<ConnectInfo<Connection>>().map(|connection| &connection.0)
}

/// Lets a request send interim responses, until the guard is dropped.
#[must_use]
pub(crate) fn extend(request: &mut Request) -> Option<InterimGuard> {
    let handle = connection(request)?.handle.clone();
    handle.extend(request)
}
