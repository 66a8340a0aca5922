//! The only async code: straight down for each verb, asking the store and showing the rules.
//!
//! An exchange that carries a body must not be cancelled half-way: the adapters run it in a task
//! of its own, and so must whoever calls [`Tus::handle`] directly.

mod append;
mod body;
mod builder;
mod complete;
mod concat;
mod create;
mod digests;
mod exchange;
mod finish;
mod handled;
mod incoming;
mod inspect;
mod interim;
mod pump;
mod read;
mod session;
mod sweep;
mod terminate;
mod transfers;

use std::{
    fmt,
    future::Future,
    net::IpAddr,
    sync::{Arc, OnceLock},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, Version, header};
use tokio::sync::Semaphore;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{Instrument as _, Span};

pub use body::Body;
pub use builder::{BuildError, TusBuilder};
pub use handled::{Resumed, ResumedBody};
pub use sweep::SweepReport;

use crate::{
    hooks::HookSet,
    model::{
        Algorithm, Discovery, Extension, Outcome, Policy, Refusal, RequestId, Timestamp,
        UploadLimits,
    },
    protocol::{expire, limits},
    store::{Blocking, ChunkStore, Locker, MetaStore},
    wire::{self, Answer, Head, Mount, Offer, Target},
};
use exchange::{Arrived, Done, Exchange};
use handled::NoHandler;
use incoming::Incoming;

/// A resumable upload service: cheap to clone, without type parameters.
///
/// ```
/// use tus_core::{MemoryStore, Tus};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let tus = Tus::new(MemoryStore::default());
/// let request = http::Request::options("/files").body(String::new()).unwrap();
/// let response = tus.handle(request, tus_core::Arrival::at("/files")).await;
/// assert_eq!(response.headers()["tus-version"], "1.0.0");
/// # }
/// ```
#[derive(Clone)]
pub struct Tus(pub(crate) Arc<Inner>);

pub(crate) struct Inner {
    pub(crate) meta: Arc<dyn MetaStore>,
    pub(crate) chunks: Arc<dyn ChunkStore>,
    pub(crate) locker: Arc<dyn Locker>,
    pub(crate) policy: Policy,
    pub(crate) hooks: HookSet,
    pub(crate) clock: Box<dyn Fn() -> Timestamp + Send + Sync>,
    /// Everything that must have ended before the process may: exchanges, finishes, sweeps.
    pub(crate) running: TaskTracker,
    pub(crate) draining: CancellationToken,
    sweeper: OnceLock<()>,
    retries: sweep::Retries,
    transfers: Arc<transfers::Transfers>,
    /// Who joins parts; that may copy very many bytes on behalf of a short request.
    joins: Semaphore,
}

/// How a request came in: what only the adapter knows.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Arrival {
    /// The path under which uploads live, as clients see it, such as `/api/files`.
    pub mount: String,
    /// The path of the request below the mount, where a framework has cut the mount off; `None`
    /// to take it from the request's URI.
    pub tail: Option<String>,
    /// The address at the other end of the connection; `None` on a unix socket.
    pub peer: Option<IpAddr>,
    /// Whether the body brings trailers to us.
    pub trailers: bool,
    /// How a store may wait on the thread that runs the exchange.
    pub blocking: Blocking,
    /// Whether the request is for a resource of the application's; see [`Tus::resume`].
    pub elsewhere: bool,
}

impl Arrival {
    /// A request at a mount, over a body without trailers, on a thread that must not block.
    pub fn at(mount: impl Into<String>) -> Self {
        Self {
            mount: mount.into(),
            tail: None,
            peer: None,
            trailers: false,
            blocking: Blocking::Offload,
            elsewhere: false,
        }
    }

    /// Says what stands below the mount: nothing, `/`, or `/` and an id.
    #[must_use]
    pub fn with_tail(mut self, tail: impl Into<String>) -> Self {
        self.tail = Some(tail.into());
        self
    }

    /// Says who is at the other end.
    #[must_use]
    pub fn with_peer(mut self, peer: Option<IpAddr>) -> Self {
        self.peer = peer;
        self
    }

    /// Says that the body brings trailers.
    #[must_use]
    pub fn with_trailers(mut self) -> Self {
        self.trailers = true;
        self
    }

    /// Says how a store may wait.
    #[must_use]
    pub fn with_blocking(mut self, blocking: Blocking) -> Self {
        self.blocking = blocking;
        self
    }
}

/// The most finals that are joined at once.
const JOINS: usize = 8;

impl Tus {
    /// A service on a store for both records and bytes, with the default policy.
    pub fn new<S: MetaStore + ChunkStore + Clone>(store: S) -> Self {
        let parts = builder::Parts {
            meta: Arc::new(store.clone()),
            chunks: Arc::new(store),
            locker: Arc::new(crate::store::MemoryLocker::default()),
            policy: Policy::default(),
            hooks: HookSet::default(),
            clock: Box::new(Timestamp::now),
        };
        Self::from_parts(parts)
    }

    /// Starts to configure a service.
    pub fn builder() -> TusBuilder {
        TusBuilder::default()
    }

    /// Answers a request; never fails, always a response.
    ///
    /// A refusal names the request, by the [`RequestId`] in its extensions or by a new one, in
    /// `X-Request-Id` and at the end of its text; so do the log lines that say more.
    ///
    /// The future is `Send` exactly when the body is. It must be driven to its end, also when the
    /// client has left: a dropped future may leave bytes stored that are not recorded, which the
    /// next request of that upload then puts right. The adapters of this project spawn it.
    pub async fn handle<B>(&self, request: Request<B>, arrival: Arrival) -> Response<Body>
    where
        B: http_body::Body<Data = Bytes>,
        B::Error: fmt::Display,
    {
        self.named(request, arrival, None::<NoHandler>).await.map(ResumedBody::ours)
    }

    /// Answers a request to an application whose resources take resumable uploads, of which
    /// [`arrival`](Self::arrival) has said how it came in.
    ///
    /// When all bytes of an upload are there, `handler` is given them, in a request with the method,
    /// the path, the query and the representation headers of the one that began it, and with
    /// everything else of the one that ended it, credentials above all; its extensions hold
    /// [`Resumed`]. What it answers is the client's answer, and is stored to be repeated. After 500
    /// or above, and after what is about who asks and when (401, 403, 407, 408, 425, 429), the upload
    /// stays open, and the client can have the handler asked again.
    ///
    /// As [`handle`](Self::handle), it must be driven to its end; the handler is part of it.
    pub async fn resume<B, H, F, R>(
        &self,
        request: Request<B>,
        arrival: Arrival,
        handler: H,
    ) -> Response<ResumedBody<R>>
    where
        B: http_body::Body<Data = Bytes>,
        B::Error: fmt::Display,
        H: FnOnce(Request<Body>) -> F,
        F: Future<Output = Response<R>>,
        R: http_body::Body<Data = Bytes>,
        R::Error: fmt::Display,
    {
        self.named(request, arrival, Some(handler)).await
    }

    /// How a request to an application whose resources take resumable uploads came in, with the
    /// uploads below `mount`; `None` if it is the application's alone.
    ///
    /// Both `path` and `mount` are as the application sees them; what a framework has cut off of
    /// both belongs in front of [`Arrival::mount`].
    pub fn arrival(
        &self,
        method: &Method,
        path: &str,
        headers: &HeaderMap,
        mount: &str,
    ) -> Option<Arrival> {
        let mount = mount.trim_end_matches('/');
        let tail = path.strip_prefix(mount).filter(|tail| tail.len() > 1 && tail.starts_with('/'));
        if let Some(tail) = tail {
            return Some(Arrival::at(mount).with_tail(tail));
        }
        let policy = &self.0.policy;
        let begins = policy.rufh && wire::begins(method, headers, policy.min_size);
        let arrival = Arrival { elsewhere: true, ..Arrival::at(mount) };
        begins.then_some(arrival)
    }

    /// Tells in an answer to OPTIONS that the resource takes resumable uploads, and what bounds
    /// them (RUFH, section 4.1.4).
    pub fn advertise(&self, headers: &mut HeaderMap) {
        if self.0.policy.rufh {
            wire::advertise(headers, &self.0.announced_limits());
        }
    }

    async fn named<B, H, F, R>(
        &self,
        request: Request<B>,
        arrival: Arrival,
        handler: Option<H>,
    ) -> Response<ResumedBody<R>>
    where
        B: http_body::Body<Data = Bytes>,
        B::Error: fmt::Display,
        H: FnOnce(Request<Body>) -> F,
        F: Future<Output = Response<R>>,
        R: http_body::Body<Data = Bytes>,
        R::Error: fmt::Display,
    {
        // A layer that has named the request has opened a span for it, too.
        let (id, span) = match request.extensions().get::<RequestId>() {
            Some(id) => (id.clone(), Span::none()),
            None => {
                let id = RequestId::random();
                let span = tracing::info_span!("request", %id);
                (id, span)
            }
        };
        self.answer(request, arrival, id, handler).instrument(span).await
    }

    async fn answer<B, H, F, R>(
        &self,
        request: Request<B>,
        arrival: Arrival,
        id: RequestId,
        handler: Option<H>,
    ) -> Response<ResumedBody<R>>
    where
        B: http_body::Body<Data = Bytes>,
        B::Error: fmt::Display,
        H: FnOnce(Request<Body>) -> F,
        F: Future<Output = Response<R>>,
        R: http_body::Body<Data = Bytes>,
        R::Error: fmt::Display,
    {
        let inner = &self.0;
        inner.start_sweeper();
        let _running = inner.running.token();
        let (parts, body) = request.into_parts();
        let body = std::pin::pin!(body);
        let wanted = wire::wanted_of_answer(&parts.headers);
        let expects = parts.headers.contains_key(header::EXPECT);
        let mut incoming = Incoming::new(body, expects);

        let preflight = wire::is_preflight(&parts.method, &parts.headers);
        let mount = Mount::new(&arrival.mount, &inner.policy, &parts.headers, arrival.peer);
        let offer = inner.offer(arrival.trailers);
        let target = match &arrival.tail {
            _ if arrival.elsewhere => Target::Elsewhere,
            Some(tail) => mount.target_below(tail),
            None => mount.target(parts.uri.path()),
        };
        let head = Head {
            method: &parts.method,
            target: &target,
            headers: &parts.headers,
            body: incoming.shape(),
            mount: &mount,
        };
        let wire::Said { dialect, understood } = wire::read(&head, &offer);
        // How an answer is framed follows from the request line, whatever overrides its method.
        let is_head = parts.method == Method::HEAD;
        let cors_request = parts.headers.clone_origin();
        let version = parts.version;
        let (outcome, download, rest) = match understood {
            Ok(understood) => {
                let method = understood.method.clone();
                let (blocking, id) = (arrival.blocking, id.clone());
                let arrived = Arrived { dialect, id, parts, method, mount, blocking };
                let exchange = Exchange::new(inner, arrived, arrival.peer, offer.clone());
                match exchange.run(understood, &mut incoming).await {
                    (Ok(Done::Told(outcome)), download) => (Ok(outcome), download, None),
                    (Ok(Done::Whole(mut session)), _) => {
                        // Boxed: few requests come here, and all of them make room for it.
                        let asked = handled::run(&exchange, &mut session, handler);
                        let (outcome, rest) = Box::pin(asked).await;
                        session.release().await;
                        (outcome, None, rest)
                    }
                    (Err(refusal), download) => (Err(refusal), download, None),
                }
            }
            Err(refusal) => (Err(refusal), None, None),
        };
        let refused = outcome.is_err();
        // The application grants by itself who may read its answers.
        let theirs = matches!(outcome, Ok(Outcome::Answered { .. }));
        let broken =
            matches!(outcome, Err(Refusal::BodyIdle | Refusal::BodySlow | Refusal::Draining));
        let mut answer = wire::write(dialect, &offer, outcome);
        wire::sign(&mut answer, &id);
        if download.is_none() && !is_head && !theirs {
            wire::add_content_digest(&mut answer, dialect, wanted);
        }
        if !theirs {
            wire::add_cors(&inner.policy.cors, preflight, &cors_request, &mut answer.headers);
        }
        // A client that is still sending may not look at the answer before it is done, and a
        // connection closed on it would take the answer away.
        if refused && !broken {
            incoming.discard().await;
        }
        if !incoming.ended() && version < Version::HTTP_2 {
            let close = http::HeaderValue::from_static("close");
            answer.headers.insert(header::CONNECTION, close);
        }
        respond(answer, download, is_head).map(|ours| ResumedBody::new(ours, rest))
    }

    /// Stops gently: refuses creations, asks writers to store what they have and to answer, and
    /// waits for them, for `grace` at most.
    ///
    /// Call it when the server is told to stop, before its own graceful stop: that one waits for
    /// connections to end, and an upload in flight ends only once it is asked to. Returns whether
    /// everything had ended in time.
    pub async fn drain(&self, grace: Duration) -> bool {
        self.0.draining.cancel();
        self.0.running.close();
        tokio::time::timeout(grace, self.0.running.wait()).await.is_ok()
    }

    /// Whether [`drain`](Self::drain) was called.
    pub fn is_draining(&self) -> bool {
        self.0.draining.is_cancelled()
    }

    /// What the operator allows.
    pub fn policy(&self) -> &Policy {
        &self.0.policy
    }

    pub(crate) fn from_parts(parts: builder::Parts) -> Self {
        let inner = Inner {
            meta: parts.meta,
            chunks: parts.chunks,
            locker: parts.locker,
            policy: parts.policy,
            hooks: parts.hooks,
            clock: parts.clock,
            running: TaskTracker::new(),
            draining: CancellationToken::new(),
            sweeper: OnceLock::new(),
            retries: sweep::Retries::default(),
            transfers: Arc::default(),
            joins: Semaphore::new(JOINS),
        };
        let tus = Self(Arc::new(inner));
        if tokio::runtime::Handle::try_current().is_ok() {
            tus.0.start_sweeper();
        }
        tus
    }
}

impl Inner {
    pub(crate) fn now(&self) -> Timestamp {
        (self.clock)()
    }

    /// What bounds an upload that would be made now.
    fn announced_limits(&self) -> UploadLimits {
        let expires_at = expire::first_expiry(&self.policy, Timestamp::EPOCH);
        limits::told(&self.policy, None, expires_at, Timestamp::EPOCH)
    }

    /// What is offered: the intersection of policy, store and adapter.
    fn offer(&self, trailers: bool) -> Offer {
        let policy = &self.policy;
        let store = self.chunks.capabilities();
        let table = [
            (Extension::Creation, true),
            (Extension::CreationWithUpload, policy.creation_with_upload),
            (Extension::CreationDeferLength, policy.defer_length),
            (Extension::Expiration, policy.expiry.is_some()),
            (Extension::Checksum, policy.checksum),
            (Extension::ChecksumTrailer, policy.checksum && trailers),
            (Extension::Termination, policy.termination),
            (Extension::Concatenation, policy.concatenation && store.concat),
            (Extension::ConcatenationUnfinished, policy.concatenation && store.concat),
        ];
        let offered = table.into_iter().filter(|(_, offered)| *offered);
        let discovery = Discovery {
            extensions: offered.map(|(extension, _)| extension).collect(),
            max_size: policy.max_size,
            algorithms: if policy.checksum { Algorithm::ALL.to_vec() } else { Vec::new() },
            limits: self.announced_limits(),
        };
        Offer {
            discovery,
            download: policy.download && store.read,
            method_override: policy.method_override,
            tus: policy.tus,
            rufh: policy.rufh,
        }
    }
}

impl fmt::Debug for Tus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("Tus");
        debug.field("meta", &self.0.meta).field("chunks", &self.0.chunks);
        debug.field("locker", &self.0.locker).finish_non_exhaustive()
    }
}

/// A moment so much later, or as late as makes no difference.
fn later(now: tokio::time::Instant, by: Duration) -> tokio::time::Instant {
    const YEARS: Duration = Duration::from_secs(30 * 365 * 24 * 3600);
    now.checked_add(by).unwrap_or(now + YEARS)
}

/// The origin of a request, kept while its headers move on.
trait CloneOrigin {
    fn clone_origin(&self) -> HeaderMap;
}

impl CloneOrigin for HeaderMap {
    fn clone_origin(&self) -> HeaderMap {
        self.get(header::ORIGIN)
            .map(|origin| (header::ORIGIN, origin.clone()))
            .into_iter()
            .collect()
    }
}

fn respond(answer: Answer, download: Option<Body>, is_head: bool) -> Response<Body> {
    let Answer { status, headers, body, .. } = answer;
    let body = match download {
        Some(download) => download,
        None if is_head => Body::unsaid(),
        None => Body::full(body),
    };
    let mut response = Response::new(body);
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}
