//! Where the application has its say: one trait, typed per moment, and closures for each.

use std::{fmt, future::Future, net::IpAddr, path::PathBuf, pin::Pin, sync::Arc};

use async_trait::async_trait;
use http::{Extensions, HeaderMap, Method, Uri};

use crate::{
    model::{
        Algorithm, Digest, GoneReason, Kind, Metadata, Placement, Rejection, Reply, RequestId,
        Timestamp, Upload, UploadId,
    },
    store::{ChunkReader, ChunkStore, StoreError},
};

/// What an application decides and is told.
///
/// Every method has a default that lets everything happen. Implement the trait, or give the
/// [builder](crate::TusBuilder) a closure for each moment you care about; a closure takes the
/// place of the trait's method.
///
/// A hook that takes longer than [`Policy::hook_timeout`](crate::Policy::hook_timeout), panics or
/// returns [`HookError::Failed`] has failed: the client hears 503 and may try again. Only
/// [`HookError::Reject`] is a refusal.
#[async_trait]
pub trait Hooks: Send + Sync + 'static {
    /// May this request do this? Asked for every creation and every request to an upload that
    /// exists (OPTIONS asks for nothing, and an unknown id is refused as such), before anything is
    /// changed or any other request is disturbed, and once more for every part of a
    /// concatenation, each with its own owner.
    ///
    /// # Errors
    ///
    /// A rejection is the client's answer.
    async fn authorize(&self, request: RequestContext, intent: Intent) -> Result<(), HookError> {
        let _ = (request, intent);
        Ok(())
    }

    /// A new upload is about to be made: look at it, change it, or refuse it.
    ///
    /// # Errors
    ///
    /// A rejection is the client's answer; nothing was made.
    async fn before_create(
        &self,
        request: RequestContext,
        new: NewUpload,
    ) -> Result<NewUpload, HookError> {
        let _ = request;
        Ok(new)
    }

    /// Bytes have arrived; called at most every
    /// [`Policy::progress_every`](crate::Policy::progress_every) for one request, whose bytes wait
    /// meanwhile. The offset is what has been received; it may not be durable yet.
    async fn on_progress(&self, progress: Progress) {
        let _ = progress;
    }

    /// A client wants an upload gone.
    ///
    /// # Errors
    ///
    /// A rejection is the client's answer, and the upload stays.
    async fn before_terminate(
        &self,
        request: RequestContext,
        upload: Arc<Upload>,
    ) -> Result<(), HookError> {
        let _ = (request, upload);
        Ok(())
    }

    /// An upload is complete: its bytes are durable and in their place.
    ///
    /// Called at least once for every single and final upload, also across crashes, in order per
    /// upload; drop a repeat by [`Finished::event_id`]. What it returns is stored and repeated to
    /// a client that lost the answer.
    ///
    /// # Errors
    ///
    /// A rejection is final: it is stored and repeated, and the bytes are removed. A failure is
    /// tried again with backoff.
    async fn on_finish(&self, finished: Finished) -> Result<Reply, HookError> {
        let _ = finished;
        Ok(Reply::new())
    }

    /// An upload was ended by its client, and its bytes were removed: it asked for that, or sent
    /// what contradicts what it had said ([`GoneReason`] tells which).
    ///
    /// Called at least once, also across crashes, and after [`on_finish`](Self::on_finish) if the
    /// upload was complete; drop a repeat by [`Ended::event_id`]. Until it succeeds the upload's
    /// record is kept, and its id is not free.
    ///
    /// # Errors
    ///
    /// Whatever the error, nobody is there to hear it: it is tried again with backoff.
    async fn on_terminated(&self, ended: Ended) -> Result<(), HookError> {
        let _ = ended;
        Ok(())
    }

    /// An unfinished upload has expired, and its bytes were removed.
    ///
    /// Called at least once, as [`on_terminated`](Self::on_terminated) is.
    ///
    /// # Errors
    ///
    /// Whatever the error, nobody is there to hear it: it is tried again with backoff.
    async fn on_expired(&self, ended: Ended) -> Result<(), HookError> {
        let _ = ended;
        Ok(())
    }
}

/// Why a hook did not say yes.
#[derive(Debug)]
pub enum HookError {
    /// No, and this is what the client hears.
    Reject(Rejection),
    /// It could not decide; the log gets the reason, the client hears 503.
    Failed(Box<dyn std::error::Error + Send + Sync>),
}

impl From<Rejection> for HookError {
    fn from(rejection: Rejection) -> Self {
        Self::Reject(rejection)
    }
}

impl<E: std::error::Error + Send + Sync + 'static> From<E> for HookError {
    fn from(error: E) -> Self {
        Self::Failed(Box::new(error))
    }
}

/// The request that an exchange began with; cheap to clone.
///
/// ```
/// # use tus_core::RequestContext;
/// #[derive(Clone)]
/// struct User(String);
///
/// fn user(request: &RequestContext) -> Option<&User> {
///     request.extensions().get::<User>() // put there by a layer of the application
/// }
/// ```
#[derive(Clone)]
pub struct RequestContext(Arc<ContextInner>);

struct ContextInner {
    id: RequestId,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    extensions: Extensions,
    peer: Option<IpAddr>,
    client: Option<IpAddr>,
}

impl RequestContext {
    pub(crate) fn new(
        id: RequestId,
        method: Method,
        parts: http::request::Parts,
        peer: Option<IpAddr>,
        client: Option<IpAddr>,
    ) -> Self {
        let http::request::Parts { uri, headers, extensions, .. } = parts;
        Self(Arc::new(ContextInner { id, method, uri, headers, extensions, peer, client }))
    }

    /// The name of the request, which stands in the log and in the answer that refuses it.
    pub fn id(&self) -> &RequestId {
        &self.0.id
    }

    /// The method that counts, after `X-HTTP-Method-Override`.
    pub fn method(&self) -> &Method {
        &self.0.method
    }

    /// The URI, with the full path.
    pub fn uri(&self) -> &Uri {
        &self.0.uri
    }

    /// The header fields as the client sent them.
    pub fn headers(&self) -> &HeaderMap {
        &self.0.headers
    }

    /// What the application's own layers have attached to the request.
    pub fn extensions(&self) -> &Extensions {
        &self.0.extensions
    }

    /// The address at the other end of the connection; `None` on a unix socket.
    pub fn peer(&self) -> Option<IpAddr> {
        self.0.peer
    }

    /// The client's address: the peer's, or what trusted proxies say.
    pub fn client(&self) -> Option<IpAddr> {
        self.0.client
    }
}

impl fmt::Debug for RequestContext {
    /// Leaves the headers out: they may hold credentials.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("RequestContext");
        debug
            .field("id", &self.0.id)
            .field("method", &self.0.method)
            .field("path", &self.0.uri.path());
        debug.field("client", &self.0.client).finish_non_exhaustive()
    }
}

/// What a request is about to do, to which upload.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Intent {
    /// What.
    pub action: Action,
    /// To which upload; `None` for a creation.
    pub upload: Option<Arc<Upload>>,
}

impl Intent {
    pub(crate) fn new(action: Action, upload: Option<Arc<Upload>>) -> Self {
        Self { action, upload }
    }

    /// Whom the upload belongs to.
    pub fn owner(&self) -> Option<&str> {
        self.upload.as_deref().and_then(|upload| upload.owner.as_deref())
    }
}

/// What a request is about to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Action {
    /// Make an upload.
    Create,
    /// Ask how far it is.
    Inspect,
    /// Add bytes.
    Append,
    /// End it.
    Terminate,
    /// Read its bytes.
    Read,
    /// Use it as a part of a final.
    Concatenate,
}

/// An upload that is about to be made.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct NewUpload {
    /// An id of the application's own; `None` for a random one.
    pub id: Option<UploadId>,
    /// The declared whole in bytes; `None` while it is deferred or follows from the parts.
    pub length: Option<u64>,
    /// Its role.
    pub kind: Kind,
    /// The client's metadata; may be replaced.
    pub metadata: Metadata,
    /// Whom it belongs to, for [`authorize`](Hooks::authorize) to compare.
    pub owner: Option<String>,
    /// A bound of this upload alone, in bytes, besides the policy's.
    pub max_size: Option<u64>,
    /// When it expires, instead of the policy's period.
    pub expires_at: Option<Timestamp>,
    /// Where it is to be placed.
    pub placement: Placement,
    /// The digest of all bytes that is to be computed while they come, for
    /// [`Finished::digest`]; at first the one that the client wants (`Want-Repr-Digest`), who hears
    /// it too unless it is changed.
    pub digest: Option<Algorithm>,
    /// What all bytes have to be, or the upload ends without `on_finish` hearing of it
    /// ([`GoneReason::DigestMismatch`]); at first what the client says (`Repr-Digest`).
    pub expected_digest: Option<Digest>,
}

/// How far a transfer is.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Progress {
    /// The upload as it was when the request began.
    pub upload: Arc<Upload>,
    /// Bytes received in all.
    pub offset: u64,
}

/// A complete upload.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Finished {
    /// The same for every repeat of this event.
    pub event_id: String,
    /// The record: id, metadata, owner, URL.
    pub upload: Arc<Upload>,
    /// How many bytes it has.
    pub length: u64,
    /// The request that completed it; `None` when it is announced after a crash, by the sweeper,
    /// or by a part's last byte.
    pub request: Option<RequestContext>,
    chunks: Arc<dyn ChunkStore>,
}

impl Finished {
    pub(crate) fn new(
        event_id: String,
        upload: Arc<Upload>,
        length: u64,
        request: Option<RequestContext>,
        chunks: Arc<dyn ChunkStore>,
    ) -> Self {
        Self { event_id, upload, length, request, chunks }
    }

    /// The upload's id.
    pub fn id(&self) -> &UploadId {
        &self.upload.id
    }

    /// The client's metadata.
    pub fn metadata(&self) -> &Metadata {
        &self.upload.metadata
    }

    /// The upload's URL, as its client knows it.
    pub fn url(&self) -> &str {
        &self.upload.url
    }

    /// The digest of all bytes, if it was asked for in [`before_create`](Hooks::before_create), by
    /// the application ([`NewUpload::digest`]) or by the client.
    ///
    /// It was computed while they came. `None` also where a crash came between and the store cannot
    /// read.
    pub fn digest(&self, algorithm: Algorithm) -> Option<&Digest> {
        self.upload.digest(algorithm)
    }

    /// Where the bytes are, if the store keeps them in a file on this machine.
    pub fn path(&self) -> Option<PathBuf> {
        self.chunks.local_path(&self.upload.locator)
    }

    /// Reads the bytes from the store, wherever they are.
    ///
    /// # Errors
    ///
    /// The store's; `Unsupported` if it cannot read.
    pub async fn reader(&self) -> Result<Box<dyn ChunkReader>, StoreError> {
        self.chunks.read(&self.upload.locator, 0..self.length).await
    }
}

/// An upload that ended without being complete, or after it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Ended {
    /// The same for every repeat of this event.
    pub event_id: String,
    /// The record: id, metadata, owner, and why it ended.
    pub upload: Arc<Upload>,
    /// Bytes that were stored, if that is known.
    pub stored: Option<u64>,
}

impl Ended {
    pub(crate) fn new(event_id: String, upload: Arc<Upload>, stored: Option<u64>) -> Self {
        Self { event_id, upload, stored }
    }

    /// The upload's id.
    pub fn id(&self) -> &UploadId {
        &self.upload.id
    }
}

type Boxed<T> = Pin<Box<dyn Future<Output = T> + Send>>;
type Closure1<A, T> = Box<dyn Fn(A) -> Boxed<T> + Send + Sync>;
type Closure2<A, B, T> = Box<dyn Fn(A, B) -> Boxed<T> + Send + Sync>;

/// The application's trait, with closures in front of its methods.
#[derive(Default)]
pub(crate) struct HookSet {
    pub(crate) base: Option<Arc<dyn Hooks>>,
    pub(crate) authorize: Option<Closure2<RequestContext, Intent, Result<(), HookError>>>,
    pub(crate) before_create:
        Option<Closure2<RequestContext, NewUpload, Result<NewUpload, HookError>>>,
    pub(crate) on_progress: Option<Closure1<Progress, ()>>,
    pub(crate) before_terminate:
        Option<Closure2<RequestContext, Arc<Upload>, Result<(), HookError>>>,
    pub(crate) on_finish: Option<Closure1<Finished, Result<Reply, HookError>>>,
    pub(crate) on_terminated: Option<Closure1<Ended, Result<(), HookError>>>,
    pub(crate) on_expired: Option<Closure1<Ended, Result<(), HookError>>>,
}

impl HookSet {
    /// Whether there may be somebody who wants to hear that an upload has ended like this.
    pub(crate) fn hears(&self, reason: GoneReason) -> bool {
        match reason {
            GoneReason::Terminated | GoneReason::Outgrown | GoneReason::DigestMismatch => {
                self.base.is_some() || self.on_terminated.is_some()
            }
            GoneReason::Expired => self.base.is_some() || self.on_expired.is_some(),
            GoneReason::PartLost | GoneReason::Moved => false,
        }
    }
}

/// Boxes a closure of one argument.
pub(crate) fn closure1<A, T, F, R>(f: F) -> Option<Closure1<A, T>>
where
    F: Fn(A) -> R + Send + Sync + 'static,
    R: Future<Output = T> + Send + 'static,
{
    Some(Box::new(move |a| Box::pin(f(a))))
}

/// Boxes a closure of two arguments.
pub(crate) fn closure2<A, B, T, F, R>(f: F) -> Option<Closure2<A, B, T>>
where
    F: Fn(A, B) -> R + Send + Sync + 'static,
    R: Future<Output = T> + Send + 'static,
{
    Some(Box::new(move |a, b| Box::pin(f(a, b))))
}

#[async_trait]
impl Hooks for HookSet {
    async fn authorize(&self, request: RequestContext, intent: Intent) -> Result<(), HookError> {
        match (&self.authorize, &self.base) {
            (Some(closure), _) => closure(request, intent).await,
            (None, Some(base)) => base.authorize(request, intent).await,
            (None, None) => Ok(()),
        }
    }

    async fn before_create(
        &self,
        request: RequestContext,
        new: NewUpload,
    ) -> Result<NewUpload, HookError> {
        match (&self.before_create, &self.base) {
            (Some(closure), _) => closure(request, new).await,
            (None, Some(base)) => base.before_create(request, new).await,
            (None, None) => Ok(new),
        }
    }

    async fn on_progress(&self, progress: Progress) {
        match (&self.on_progress, &self.base) {
            (Some(closure), _) => closure(progress).await,
            (None, Some(base)) => base.on_progress(progress).await,
            (None, None) => {}
        }
    }

    async fn before_terminate(
        &self,
        request: RequestContext,
        upload: Arc<Upload>,
    ) -> Result<(), HookError> {
        match (&self.before_terminate, &self.base) {
            (Some(closure), _) => closure(request, upload).await,
            (None, Some(base)) => base.before_terminate(request, upload).await,
            (None, None) => Ok(()),
        }
    }

    async fn on_finish(&self, finished: Finished) -> Result<Reply, HookError> {
        match (&self.on_finish, &self.base) {
            (Some(closure), _) => closure(finished).await,
            (None, Some(base)) => base.on_finish(finished).await,
            (None, None) => Ok(Reply::new()),
        }
    }

    async fn on_terminated(&self, ended: Ended) -> Result<(), HookError> {
        match (&self.on_terminated, &self.base) {
            (Some(closure), _) => closure(ended).await,
            (None, Some(base)) => base.on_terminated(ended).await,
            (None, None) => Ok(()),
        }
    }

    async fn on_expired(&self, ended: Ended) -> Result<(), HookError> {
        match (&self.on_expired, &self.base) {
            (Some(closure), _) => closure(ended).await,
            (None, Some(base)) => base.on_expired(ended).await,
            (None, None) => Ok(()),
        }
    }
}

impl fmt::Debug for HookSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HookSet").finish_non_exhaustive()
    }
}
