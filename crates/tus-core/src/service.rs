use std::{
    convert::Infallible,
    fmt,
    future::Future,
    net::IpAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use tokio::runtime::{Handle, RuntimeFlavor};
use tracing::Instrument as _;

use crate::{
    engine::{Arrival, Body, ResumedBody, Tus},
    interim::Interim,
    store::Blocking,
};

impl Tus {
    /// A tower `Service` at a mount, for hyper, tonic, poem, axum's `nest_service` and others.
    ///
    /// The mount is the path under which clients see it. Requests may arrive with their full path
    /// or, as nesting frameworks hand them on, with the mount already cut off.
    pub fn service(&self, mount: impl Into<String>) -> TusService {
        let mount: String = mount.into();
        TusService { tus: self.clone(), mount: mount.trim_end_matches('/').into() }
    }
}

/// A [`Tus`] as a tower `Service`; see [`Tus::service`].
///
/// Every exchange runs in a task of its own, so that a framework that drops its future when the
/// client leaves cannot stop it between the bytes and their record.
#[derive(Clone, Debug)]
pub struct TusService {
    tus: Tus,
    mount: Arc<str>,
}

/// Who is at the other end of the connection: put it into a request's extensions to tell
/// [`TusService`], where a trusted proxy must be known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerAddr(pub IpAddr);

/// Runs an exchange to its end, whatever becomes of the future that waits for it.
///
/// For adapters; must be called inside a tokio runtime. The blocking strategy follows from it: a
/// spawned task runs on a worker of the runtime, never inside a `LocalSet`.
pub async fn detached<B>(tus: Tus, request: Request<B>, arrival: Arrival) -> Response<Body>
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: fmt::Display,
{
    // Whoever drops this future answers by itself; nothing may be written into that.
    let _guard = request.extensions().get::<Interim>().map(Interim::guard);
    let arrival = arrival.with_blocking(blocking());
    let exchange = spawned(async move { tus.handle(request, arrival).await }).await;
    exchange.unwrap_or_else(|| failed(Body::empty()))
}

/// As [`detached`], for [`Tus::resume`]: the handler is run to its end as well.
pub async fn detached_resume<B, H, F, R>(
    tus: Tus,
    request: Request<B>,
    arrival: Arrival,
    handler: H,
) -> Response<ResumedBody<R>>
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: fmt::Display,
    H: FnOnce(Request<Body>) -> F + Send + 'static,
    F: Future<Output = Response<R>> + Send + 'static,
    R: http_body::Body<Data = Bytes> + Send + 'static,
    R::Error: fmt::Display,
{
    let _guard = request.extensions().get::<Interim>().map(Interim::guard);
    let arrival = arrival.with_blocking(blocking());
    let exchange = spawned(async move { tus.resume(request, arrival, handler).await }).await;
    exchange.unwrap_or_else(|| failed(ResumedBody::empty()))
}

fn blocking() -> Blocking {
    match Handle::current().runtime_flavor() {
        RuntimeFlavor::MultiThread => Blocking::InPlace,
        _ => Blocking::Offload,
    }
}

/// What a task of its own makes of an exchange; `None` if it panicked.
///
/// Spawned at once: whoever waits for it must not have room for it as well.
fn spawned<T>(
    exchange: impl Future<Output = T> + Send + 'static,
) -> impl Future<Output = Option<T>> + Send
where
    T: Send + 'static,
{
    // What it logs belongs to the request, also once nobody waits for it.
    let task = tokio::spawn(exchange.instrument(tracing::Span::current()));
    async move { task.await.inspect_err(|error| tracing::error!(%error, "an exchange panicked")).ok() }
}

fn failed<R>(body: R) -> Response<R> {
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
    response
}

impl<B> tower_service::Service<Request<B>> for TusService
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: fmt::Display,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let path = request.uri().path();
        let below = path.strip_prefix(&*self.mount).filter(|t| t.is_empty() || t.starts_with('/'));
        let tail = below.unwrap_or(path).to_owned();
        let peer = request.extensions().get::<PeerAddr>().map(|peer| peer.0);
        let arrival = Arrival::at(&*self.mount).with_tail(tail).with_peer(peer).with_trailers();
        let tus = self.tus.clone();
        Box::pin(async move { Ok(detached(tus, request, arrival).await) })
    }
}
