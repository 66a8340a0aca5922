use std::{
    convert::Infallible,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use axum::{
    Router,
    body::Body,
    extract::{OriginalUri, Request},
    http::{Method, StatusCode, Uri, header},
    response::Response,
};
use tower_service::Service;
use tus_core::Tus;

use crate::peer;

/// Where the uploads of [`resumable`] live.
pub const DEFAULT_MOUNT: &str = "/resumable-uploads";

/// Makes every route of an application resumable (the IETF's *Resumable Uploads for HTTP*).
///
/// A request whose client invites it to is received by `tus`; when all of its bytes are there, in
/// this request or a later one, the application's own handler runs and answers, with extractors and
/// all. Every other request goes to the application as it came. [`Tus::resume`] says what the
/// handler is given, and when it is asked again.
///
/// ```
/// use axum::{Router, routing::post};
/// use tus_core::{MemoryStore, Tus};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let app = Router::new()
///     .route("/photos", post(async |photo: axum::body::Bytes| format!("{} bytes", photo.len())));
/// let app = tus_axum::resumable(app, Tus::new(MemoryStore::default()));
/// # let _app: Router = app;
/// # }
/// ```
///
/// Wrap the whole application: axum looks for a route before a layer sees the request, and would
/// have none for an upload. axum's own limit on bodies is lifted by nobody: where a handler reads
/// its body into memory (`Bytes`, `Json`, `Multipart`), set
/// [`DefaultBodyLimit`](axum::extract::DefaultBodyLimit) to what it may have.
///
/// Uploads live below [`DEFAULT_MOUNT`]; [`resumable_at`] puts them elsewhere. Set
/// [`Policy::expiry`](tus_core::Policy::expiry), so that what nobody completes does not stay.
pub fn resumable(app: Router, tus: Tus) -> Router {
    resumable_at(DEFAULT_MOUNT, app, tus)
}

/// As [`resumable`], with the uploads below a path of your own, which no route should have.
///
/// # Panics
///
/// If the path does not begin with `/` and go on after it.
pub fn resumable_at(mount: &str, app: Router, tus: Tus) -> Router {
    let mount = mount.trim_end_matches('/');
    assert!(mount.starts_with('/'), "{mount:?} is no path below which uploads can live");
    Router::new().fallback_service(Resumable { app, tus, mount: mount.into() })
}

/// An application, and who receives its uploads.
#[derive(Clone, Debug)]
struct Resumable {
    app: Router,
    tus: Tus,
    mount: Arc<str>,
}

impl Service<Request> for Resumable {
    type Response = Response;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        // A router always is.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let Self { app, tus, mount } = self.clone();
        Box::pin(async move { Ok(answer(app, tus, &mount, request).await) })
    }
}

async fn answer(app: Router, tus: Tus, mount: &str, request: Request) -> Response {
    let (method, path) = (request.method(), request.uri().path());
    let Some(mut arrival) = tus.arrival(method, path, request.headers(), mount) else {
        return pass(app, &tus, request).await;
    };
    // Nesting cuts the path; clients know the whole one, and are told URLs below it.
    let whole = request.extensions().get::<OriginalUri>().map(|whole| whole.0.clone());
    let whole = whole.unwrap_or_else(|| request.uri().clone());
    let prefix = whole.path().strip_suffix(path).unwrap_or_default().to_owned();
    arrival.mount.insert_str(0, &prefix);
    let arrival = arrival.with_peer(peer(&request)).with_trailers();
    #[cfg(feature = "interim")]
    let mut request = request;
    #[cfg(feature = "interim")]
    let _guard = crate::interim::extend(&mut request);
    let handler = move |request: http::Request<tus_core::Body>| async move {
        let mut request = request.map(Body::new);
        let whole = with_prefix(&prefix, request.uri());
        request.extensions_mut().insert(OriginalUri(whole));
        run(app, request).await
    };
    tus_core::detached_resume(tus, request, arrival, handler).await.map(Body::new)
}

/// Leaves a request to the application, and tells with it what its resources can do.
async fn pass(app: Router, tus: &Tus, request: Request) -> Response {
    let discovers = request.method() == Method::OPTIONS;
    let mut response = run(app, request).await;
    if !discovers || response.status() == StatusCode::NOT_FOUND {
        return response;
    }
    if response.status() == StatusCode::METHOD_NOT_ALLOWED {
        // A route without a handler for OPTIONS: `Allow` is the answer to it.
        *response.status_mut() = StatusCode::NO_CONTENT;
        *response.body_mut() = Body::empty();
        response.headers_mut().remove(header::CONTENT_LENGTH);
    }
    tus.advertise(response.headers_mut());
    response
}

async fn run(mut app: Router, request: Request) -> Response {
    let Ok(response) = app.call(request).await;
    response
}

/// The URI as it was before nesting cut it.
fn with_prefix(prefix: &str, uri: &Uri) -> Uri {
    let cut = uri.path_and_query().map_or("/", |text| text.as_str());
    format!("{prefix}{cut}").parse().unwrap_or_else(|_| uri.clone())
}
