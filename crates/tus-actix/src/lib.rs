//! Resumable uploads for actix-web: one line to mount.
//!
//! ```
//! use actix_web::App;
//! use tus_core::{MemoryStore, Tus};
//!
//! # #[actix_web::main] async fn main() {
//! let tus = Tus::new(MemoryStore::default());
//! let app = App::new().service(tus_actix::scope("/files", tus.clone()));
//! # }
//! ```
//!
//! And every handler that the application has already becomes resumable by one line more, without
//! being touched: see [`Resumable`].
//!
//! The scope also works inside other scopes and behind middleware. actix-web and the engine have
//! different extension maps, so what a middleware attaches to a request is handed over by a
//! closure: see [`scope_with`].
//!
//! actix-web shows no trailers, so `checksum-trailer` is not offered here.
//!
//! actix-web cannot send interim responses; with the feature `interim` an application can be served
//! so that they are sent, on HTTP/1.1, see `interim`.
//!
//! When the server stops, call [`Tus::drain`] after `HttpServer::run` has returned, so that
//! uploads in flight store what they have.

mod bridge;
mod finish;
#[cfg(feature = "interim")]
pub mod interim;
mod resumable;

use actix_web::{HttpRequest, HttpResponse, Scope, body::BoxBody, web};
pub use finish::on_finish;
use http::{Extensions, StatusCode};
pub use resumable::{DEFAULT_MOUNT, Resumable};
use tracing::Instrument as _;

use tus_core::{Arrival, Interim, Tus, store::Blocking};

/// Mounts uploads at a path: the collection at `path` and `path/`, each upload one segment below.
pub fn scope(path: &str, tus: Tus) -> Scope {
    scope_with(path, tus, |_, _| {})
}

/// As [`scope`], with a closure that hands what the application knows of a request to the hooks.
///
/// ```
/// use actix_web::{App, HttpMessage as _};
/// use tus_core::{MemoryStore, Tus};
///
/// #[derive(Clone)]
/// struct User(String);
///
/// # #[actix_web::main] async fn main() {
/// let tus = Tus::new(MemoryStore::default());
/// let app = App::new().service(tus_actix::scope_with("/files", tus, |request, extensions| {
///     if let Some(user) = request.extensions().get::<User>() {
///         extensions.insert(user.clone());
///     }
/// }));
/// # }
/// ```
pub fn scope_with<F>(path: &str, tus: Tus, context: F) -> Scope
where
    F: Fn(&HttpRequest, &mut Extensions) + Clone + 'static,
{
    let serve = move |request: HttpRequest, payload: web::Payload| {
        let (tus, context) = (tus.clone(), context.clone());
        async move { serve(tus, &request, payload, &context).await }
    };
    web::scope(path.trim_end_matches('/')).default_service(web::to(serve))
}

/// Hands a request to the engine, in a task that outlives a client who leaves.
async fn serve(
    tus: Tus,
    request: &HttpRequest,
    payload: web::Payload,
    context: &dyn Fn(&HttpRequest, &mut Extensions),
) -> HttpResponse<BoxBody> {
    let path = request.uri().path();
    let tail = tail(path, request.match_info().unprocessed()).to_owned();
    let mount = path.strip_suffix(&tail).unwrap_or_default().to_owned();
    let peer = request.peer_addr().map(|peer| peer.ip());
    let Some(mut converted) = bridge::request(request, payload.into_inner()) else {
        return HttpResponse::BadRequest().finish();
    };
    let version = converted.version();
    converted.body_mut().settle(version).await;
    let payload = converted.body().keep();
    context(request, converted.extensions_mut());
    // Whoever drops this future answers by itself; nothing may be written into that.
    let _guard = converted.extensions().get::<Interim>().map(Interim::guard);
    // A worker of actix-web must never block: other connections live on the same thread.
    let arrival =
        Arrival::at(mount).with_tail(tail).with_peer(peer).with_blocking(Blocking::Offload);
    let exchange = async move { tus.handle(converted, arrival).await };
    // What it logs belongs to the request, also once nobody waits for it.
    let exchange = actix_web::rt::spawn(exchange.instrument(tracing::Span::current())).await;
    let response = exchange.unwrap_or_else(|error| {
        tracing::error!(%error, "an exchange panicked");
        let mut response = http::Response::new(tus_core::Body::empty());
        *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
        response
    });
    bridge::response(response, payload)
}

/// The part of a path below the scope.
///
/// actix-web tells what its scope left over, decoded; the engine wants the client's own text, so
/// the same number of segments is taken from it.
fn tail<'p>(path: &'p str, left_over: &str) -> &'p str {
    let segments = left_over.matches('/').count();
    let Some(last) = segments.checked_sub(1) else {
        return "";
    };
    let start = path.rmatch_indices('/').nth(last).map_or(0, |(at, _)| at);
    path.get(start..).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tail_is_the_clients_own_text() {
        let table = [
            ("/files", "", ""),
            ("/files/", "/", "/"),
            ("/api/files/abc", "/abc", "/abc"),
            ("/files/%41bc", "/Abc", "/%41bc"),
            ("/files/a/b", "/a/b", "/a/b"),
        ];
        for (path, left_over, expected) in table {
            assert_eq!(tail(path, left_over), expected, "{path}");
        }
    }
}
