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
//! And every handler that the application has already becomes resumable by one line more, without
//! being touched: see [`resumable`].
//!
//! The routes also work inside [`Router::nest`], under paths with captures, and behind layers of
//! the application's own: whatever a layer puts into the request's extensions is there for the
//! hooks, in [`RequestContext::extensions`](tus_core::RequestContext::extensions). axum's body
//! limit does not apply: uploads are streamed, and bounded by
//! [`Policy::max_size`](tus_core::Policy::max_size).
//!
//! axum cannot send interim responses; with the feature `interim` a wrapper around its listener can,
//! see `interim`.
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

mod finish;
#[cfg(feature = "interim")]
pub mod interim;
mod resumable;

use std::net::{IpAddr, SocketAddr};

use axum::{
    Router,
    extract::{ConnectInfo, OriginalUri, Request},
    response::Response,
    routing::any,
};
use tus_core::{Arrival, Body, PeerAddr, Tus};

pub use finish::on_finish;
pub use resumable::{DEFAULT_MOUNT, resumable, resumable_at};

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
    let segments = path.matches('/').count();
    let serve =
        any(move |uri: OriginalUri, request: Request| serve(tus.clone(), uri, request, segments));
    let mut router = Router::new()
        .route(&format!("{path}/"), serve.clone())
        .route(&format!("{path}/{{*tus_upload}}"), serve.clone());
    if !path.is_empty() {
        router = router.route(path, serve);
    }
    router
}

/// Hands a request to the engine, in a task that outlives a client who leaves.
async fn serve(
    tus: Tus,
    OriginalUri(uri): OriginalUri,
    mut request: Request,
    segments: usize,
) -> Response<Body> {
    // Nesting cuts the path; clients know the whole one, and are told URLs below it.
    let tail = below(request.uri().path(), segments).to_owned();
    let mount = uri.path().strip_suffix(&tail).unwrap_or_default().to_owned();
    *request.uri_mut() = uri;
    #[cfg(feature = "interim")]
    let _guard = interim::extend(&mut request);
    let arrival = Arrival::at(mount).with_tail(tail).with_peer(peer(&request)).with_trailers();
    tus_core::detached(tus, request, arrival).await
}

/// Who is at the other end, as far as the server has said so.
fn peer(request: &Request) -> Option<IpAddr> {
    let extensions = request.extensions();
    let connected = extensions.get::<ConnectInfo<SocketAddr>>().map(|peer| peer.0.ip());
    #[cfg(feature = "interim")]
    let connected = connected.or_else(|| Some(interim::connection(request)?.address()?.ip()));
    extensions.get::<PeerAddr>().map(|peer| peer.0).or(connected)
}

/// What stands below so many segments of a path, in the client's own text.
fn below(path: &str, segments: usize) -> &str {
    let slash = path.match_indices('/').nth(segments);
    slash.and_then(|(at, _)| path.get(at..)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rest_of_a_path_is_the_clients_own_text() {
        let table = [
            ("/files", 1, ""),
            ("/files/", 1, "/"),
            ("/files/%41bc", 1, "/%41bc"),
            ("/users/a%2Fb/files/x", 3, "/x"),
            ("/files/a/b", 1, "/a/b"),
            ("/abc", 0, "/abc"),
        ];
        for (path, segments, expected) in table {
            assert_eq!(below(path, segments), expected, "{path}");
        }
    }
}
