//! Log lines, and the identity and the line of each request.
//!
//! Of a request only the method and the path are logged: queries and header fields may be secret.

use std::convert::Infallible;
use std::error::Error;
use std::fmt;
use std::future::Future;
use std::io::IsTerminal;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use http::{HeaderName, HeaderValue, Request, Response, StatusCode};
use tower_service::Service;
use tracing::Instrument;
use tracing_subscriber::EnvFilter;
use tus_core::RequestId;

use crate::config::LogFormat;
use crate::listen::Peer;

/// The header field that carries the identity of a request.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Path of the requests that are too many and too dull for a line at level info.
pub(crate) const HEALTH: &str = "/healthz";

/// How much of a path is logged.
const PATH_LIMIT: usize = 256;

/// Starts to write log lines to standard error: `filter` is a level, or directives of
/// [`EnvFilter`].
///
/// # Errors
///
/// The filter is not one, or the process logs already.
pub(crate) fn init(format: LogFormat, filter: &str) -> Result<(), Box<dyn Error + Send + Sync>> {
    let stderr = std::io::stderr();
    let is_plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let lines = tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::try_new(filter)?)
        .with_ansi(stderr.is_terminal() && !is_plain)
        .with_writer(std::io::stderr);
    match format {
        LogFormat::Text => lines.try_init(),
        LogFormat::Json => lines.json().flatten_event(true).with_span_list(false).try_init(),
    }
}

/// Whose `X-Request-Id` is taken over.
type Trust = Arc<dyn Fn(&Peer) -> bool + Send + Sync>;

/// A service that gives each request an identity, a span and a log line.
#[derive(Clone)]
pub(crate) struct Logged<S> {
    inner: S,
    trusts: Trust,
}

impl<S> Logged<S> {
    /// Wraps a service; the peers that `trusts` accepts may name their requests themselves.
    pub(crate) fn new(inner: S, trusts: impl Fn(&Peer) -> bool + Send + Sync + 'static) -> Self {
        Self { inner, trusts: Arc::new(trusts) }
    }

    fn id_of<B>(&self, request: &Request<B>) -> RequestId {
        let is_trusted = request.extensions().get::<Peer>().is_some_and(|peer| (self.trusts)(peer));
        let named = request.headers().get(REQUEST_ID).filter(|_| is_trusted);
        named.and_then(|name| name.to_str().ok()?.parse().ok()).unwrap_or_else(RequestId::random)
    }
}

impl<S: fmt::Debug> fmt::Debug for Logged<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Logged").field("inner", &self.inner).finish_non_exhaustive()
    }
}

impl<S, B, R> Service<Request<B>> for Logged<S>
where
    S: Service<Request<B>, Response = Response<R>, Error = Infallible>,
    S::Future: Send + 'static,
{
    type Response = Response<R>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<R>, Infallible>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let id = self.id_of(&request);
        let path = request.uri().path();
        let path = path.get(..PATH_LIMIT).unwrap_or(path);
        let line = Line { is_dull: path == HEALTH, began: Instant::now(), status: None };
        let method = request.method();
        let span = tracing::info_span!("request", %id, %method, path);
        // An id is letters, digits and -_. only, which every header field may hold.
        let header = HeaderValue::from_str(id.as_str());
        request.extensions_mut().insert(id);
        let answer = span.in_scope(|| self.inner.call(request));
        let answered = async move {
            let mut line = line;
            let mut response = answer.await?;
            line.status = Some(response.status());
            if let Ok(header) = header {
                response.headers_mut().insert(REQUEST_ID, header);
            }
            Ok(response)
        };
        Box::pin(answered.instrument(span))
    }
}

/// The line of a request, written when it is answered or given up.
struct Line {
    is_dull: bool,
    began: Instant,
    status: Option<StatusCode>,
}

impl Drop for Line {
    fn drop(&mut self) {
        let ms = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        match self.status.map(|status| status.as_u16()) {
            Some(status) if self.is_dull => tracing::debug!(status, ms, "answered"),
            Some(status) => tracing::info!(status, ms, "answered"),
            None => tracing::info!(ms, "ended without an answer"),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::io;
    use std::sync::Mutex;

    use axum::Router;
    use axum::body::Body;
    use axum::extract::Extension;
    use axum::routing::get;
    use tracing::subscriber::DefaultGuard;

    use super::*;

    /// What is logged on this thread.
    #[derive(Clone, Default)]
    pub(crate) struct Log(Arc<Mutex<Vec<u8>>>);

    impl Log {
        pub(crate) fn at(level: &str) -> (Self, DefaultGuard) {
            let log = Self::default();
            let writer = log.clone();
            let lines = tracing_subscriber::fmt()
                .with_env_filter(EnvFilter::new(level))
                .with_ansi(false)
                .with_writer(move || writer.clone())
                .finish();
            (log, tracing::subscriber::set_default(lines))
        }

        pub(crate) fn text(&self) -> String {
            String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
        }
    }

    impl io::Write for Log {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn app() -> Router {
        Router::new()
            .route("/id", get(async |id: Extension<RequestId>| id.0.to_string()))
            .route(HEALTH, get(async || "well"))
            .route("/stuck", get(std::future::pending::<&str>))
    }

    fn request(path: &str) -> Request<Body> {
        let mut request = Request::get(path).body(Body::empty()).unwrap();
        request.extensions_mut().insert(Peer { addr: None });
        request
    }

    async fn answer(request: Request<Body>, is_trusted: bool) -> (String, String) {
        let mut service = Logged::new(app(), move |_: &Peer| is_trusted);
        let response = service.call(request).await.unwrap();
        let header = response.headers()[REQUEST_ID].to_str().unwrap().to_owned();
        let body = axum::body::to_bytes(response.into_body(), 1024).await.unwrap();
        (header, String::from_utf8(body.to_vec()).unwrap())
    }

    fn named(id: &str) -> Request<Body> {
        let mut request = request("/id");
        request.headers_mut().insert(REQUEST_ID, id.parse().unwrap());
        request
    }

    #[tokio::test]
    async fn each_request_has_an_identity_of_its_own_everywhere() {
        let (log, _guard) = Log::at("info");
        let (header, extension) = answer(request("/id"), false).await;
        assert_eq!(header, extension);
        assert_eq!(header.len(), 32);
        assert!(header.bytes().all(|byte| byte.is_ascii_hexdigit()), "{header}");
        assert!(log.text().contains(&format!("request{{id={header} ")), "{}", log.text());
        assert_ne!(answer(request("/id"), false).await.0, header);
    }

    #[tokio::test]
    async fn only_a_trusted_peer_names_its_requests_and_only_sanely() {
        assert_eq!(answer(named("a.b-c_9"), true).await.0, "a.b-c_9");
        assert_ne!(answer(named("a.b-c_9"), false).await.0, "a.b-c_9");
        for insane in ["", "a b", "a\"b", &"x".repeat(129)] {
            assert_eq!(answer(named(insane), true).await.0.len(), 32, "{insane}");
        }
        let mut without_peer = named("mine");
        without_peer.extensions_mut().remove::<Peer>();
        assert_ne!(answer(without_peer, true).await.0, "mine");
    }

    #[tokio::test]
    async fn a_request_is_one_line_without_its_secrets() {
        let (log, _guard) = Log::at("trace");
        let mut request = request("/id?token=hidden1");
        let headers = request.headers_mut();
        headers.insert("authorization", "Bearer hidden2".parse().unwrap());
        headers.insert("cookie", "session=hidden3".parse().unwrap());
        answer(request, false).await;
        let lines = log.text();
        let own: Vec<&str> = lines.lines().filter(|line| line.contains("answered")).collect();
        let [line] = own.as_slice() else { panic!("{lines}") };
        assert!(line.contains(" INFO ") && line.contains("method=GET path=\"/id\""), "{line}");
        assert!(line.contains("status=200 ms="), "{line}");
        assert!(!lines.contains("hidden"), "{lines}");
    }

    #[tokio::test]
    async fn health_checks_are_logged_at_debug_only() {
        let (quiet, guard) = Log::at("info");
        answer(request(HEALTH), false).await;
        drop(guard);
        assert_eq!(quiet.text(), "");
        let (loud, _guard) = Log::at("debug");
        answer(request(HEALTH), false).await;
        assert!(loud.text().contains("DEBUG") && loud.text().contains("status=200"));
    }

    #[tokio::test]
    async fn a_request_that_is_given_up_has_its_line_too() {
        let (log, _guard) = Log::at("info");
        let mut service = Logged::new(app(), |_: &Peer| false);
        let answer = service.call(request("/stuck"));
        assert!(tokio::time::timeout(std::time::Duration::ZERO, answer).await.is_err());
        let lines = log.text();
        assert!(lines.contains("path=\"/stuck\"}") && lines.contains("ended without an answer"));
    }
}
