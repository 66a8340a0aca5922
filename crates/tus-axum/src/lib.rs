//! Resumable uploads for axum: one line to mount.
//!
//! ```
//! use axum::Router;
//! use tus_core::{MemoryStore, Tus};
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() {
//! let tus = Tus::new(MemoryStore::default());
//! let app: Router = Router::new().merge(tus_axum::routes("/files", tus));
//! # }
//! ```
//!
//! The routes also work inside [`Router::nest`], under paths with captures, and behind layers of
//! the application's own: whatever a layer puts into the request's extensions is there for the
//! hooks, in [`RequestContext::extensions`](tus_core::RequestContext::extensions). axum's body
//! limit does not apply: uploads are streamed, and bounded by
//! [`Policy::max_size`](tus_core::Policy::max_size).
//!
//! When the server is told to stop, let uploads in flight store what they have first:
//!
//! ```no_run
//! # use std::time::Duration;
//! # async fn serve(listener: tokio::net::TcpListener, app: axum::Router, tus: tus_core::Tus) {
//! axum::serve(listener, app)
//!     .with_graceful_shutdown(async move {
//!         tokio::signal::ctrl_c().await.ok();
//!         tus.drain(Duration::from_secs(30)).await;
//!     })
//!     .await
//!     .unwrap();
//! # }
//! ```

use std::net::SocketAddr;

use axum::{
    Router,
    extract::{ConnectInfo, OriginalUri, Request},
    response::Response,
    routing::any,
};
use tus_core::{Arrival, Body, PeerAddr, Tus};

/// Mounts uploads at a path: the collection at `path` and `path/`, each upload one segment below.
///
/// Merge the result into a router, with any state.
///
/// # Panics
///
/// As [`Router::route`] does, when the path does not start with `/` or has a wildcard.
pub fn routes<S>(path: &str, tus: Tus) -> Router<S>
where
    S: Clone + Send + Sync + 'static,
{
    let path = path.trim_end_matches('/');
    let at = move |tail: fn(&str) -> &str| {
        let tus = tus.clone();
        any(move |uri: OriginalUri, request: Request| serve(tus.clone(), uri, request, tail))
    };
    let mut router = Router::new()
        .route(&format!("{path}/"), at(|_| "/"))
        .route(&format!("{path}/{{tus_upload}}"), at(last_segment));
    if !path.is_empty() {
        router = router.route(path, at(|_| ""));
    }
    router
}

/// Hands a request to the engine, in a task that outlives a client who leaves.
async fn serve(
    tus: Tus,
    OriginalUri(uri): OriginalUri,
    mut request: Request,
    tail: fn(&str) -> &str,
) -> Response<Body> {
    // Nesting cuts the path; clients know the whole one, and are told URLs below it.
    let tail = tail(uri.path()).to_owned();
    let mount = uri.path().strip_suffix(&tail).unwrap_or_default().to_owned();
    *request.uri_mut() = uri;
    let extensions = request.extensions();
    let connected = extensions.get::<ConnectInfo<SocketAddr>>().map(|peer| peer.0.ip());
    let peer = extensions.get::<PeerAddr>().map(|peer| peer.0).or(connected);
    let arrival = Arrival::at(mount).with_tail(tail).with_peer(peer).with_trailers();
    tus_core::detached(tus, request, arrival).await
}

/// The last segment of a path, with its slash.
fn last_segment(path: &str) -> &str {
    path.rfind('/').and_then(|at| path.get(at..)).unwrap_or_default()
}
