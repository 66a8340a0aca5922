//! Uploads that a resource of the application's processes: whichever request brings the last byte
//! is answered by that resource, as the first would have been (RUFH, section 4.4.2).
//!
//! Order: the bytes are durable and have the digest that they are to have; the handler is asked; its
//! answer is recorded; the bytes go; the client is answered. Until the answer is recorded the upload stays open at its length, so that
//! an empty request that completes it asks again, with the same event.

use std::{
    collections::VecDeque,
    fmt,
    future::{Future, poll_fn},
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use http::{
    Extensions, HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri, header,
    response,
};
use http_body::{Frame, SizeHint};
use uuid::Uuid;

use super::{
    Body, complete, digests,
    exchange::{Exchange, refuse, refuse_bytes},
    session::Session,
};
use crate::{
    hooks::{Finished, HookError},
    interim::Interim,
    model::{Origin, Outcome, Phase, Refusal, Rejection, Reply, UploadId},
    store::StoreError,
    wire,
};

/// Which upload a handler is given, in the extensions of its request.
///
/// A handler is asked at least once: after a crash, or an answer that was not the last word, again,
/// when a client comes back for it. Drop a repeat by [`event_id`](Self::event_id).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Resumed {
    /// The same each time that the handler is asked about this upload.
    pub event_id: String,
    /// The upload.
    pub upload: UploadId,
}

/// What is kept of a request to a resource of the application's.
pub(super) fn origin(exchange: &Exchange<'_>) -> Result<Origin, Refusal> {
    let (request, policy) = (&exchange.request, &exchange.tus.policy);
    let (headers, _) = wire::representation(request.headers());
    // Who is asked, the completing request says.
    let uri = request.uri().path_and_query().cloned().map_or_else(Uri::default, Uri::from);
    let (method, event) = (request.method().clone(), Uuid::new_v4().to_string());
    let origin = Origin { method, uri, mount: exchange.mount.path().to_owned(), headers, event };
    if origin.size() > policy.max_metadata.max(Origin::FEW) {
        return Err(Refusal::MetadataTooLarge);
    }
    Ok(origin)
}

/// Has the application process an upload that is whole, and keeps what it says.
pub(super) async fn run<H, F, R>(
    exchange: &Exchange<'_>,
    session: &mut Session<'_>,
    handler: Option<H>,
) -> (Result<Outcome, Refusal>, Option<Rest<R>>)
where
    H: FnOnce(Request<Body>) -> F,
    F: Future<Output = Response<R>>,
    R: http_body::Body<Data = Bytes>,
    R::Error: fmt::Display,
{
    let Some(handler) = handler else {
        let id = &session.upload.id;
        tracing::error!(upload = %id, "whole, but not sent to the application that processes it");
        return (Err(Refusal::Unavailable { retry_after: Duration::from_secs(1) }), None);
    };
    if let Err(refusal) = prove(session).await {
        return (Err(refusal), None);
    }
    let request = match request(exchange, session).await {
        Ok(request) => request,
        Err(refusal) => return (Err(refusal), None),
    };
    let answer = async {
        let (head, body) = handler(request).await.into_parts();
        take(body).await.map(|taken| (head, taken))
    };
    // Whoever asks for the upload meanwhile waits for the handler, so that must end one day.
    let (head, taken) = match tokio::time::timeout(session.tus.policy.handler_timeout, answer).await
    {
        Ok(Ok(answer)) => answer,
        Ok(Err(error)) => {
            tracing::error!(upload = %session.upload.id, error, "the answer broke off");
            return (Err(Refusal::Internal), None);
        }
        Err(_) => {
            tracing::error!(upload = %session.upload.id, "the handler took too long");
            return (Err(Refusal::Unavailable { retry_after: Duration::from_secs(1) }), None);
        }
    };
    let complete = is_last_word(head.status);
    let (reply, rest) = reply(head, taken);
    if complete && let Err(refusal) = keep(session, &reply, rest.is_none()).await {
        return (Err(refusal), None);
    }
    let (offset, location) = (session.stored.length, session.upload.url.clone());
    (Ok(Outcome::Answered { reply, offset, complete, location }), rest)
}

/// Whether an answer is about the upload, and not about the moment or about who asks: an upload must
/// not be lost to a token that ran out, nor to a stranger who has none.
fn is_last_word(status: StatusCode) -> bool {
    let of_the_asker = [
        StatusCode::UNAUTHORIZED,
        StatusCode::FORBIDDEN,
        StatusCode::PROXY_AUTHENTICATION_REQUIRED,
        StatusCode::REQUEST_TIMEOUT,
        StatusCode::TOO_EARLY,
        StatusCode::TOO_MANY_REQUESTS,
    ];
    !status.is_server_error() && !of_the_asker.contains(&status)
}

/// Sees to it that the whole is what it has to be, and records what it is: the application may be
/// asked more than once, but the bytes are the same then.
async fn prove(session: &mut Session<'_>) -> Result<(), Refusal> {
    let proven = digests::conclude(session).await?;
    if proven == session.upload.digests {
        return Ok(());
    }
    session.update(|upload| upload.digests.clone_from(&proven)).await
}

/// The request that the application gets: of whoever brought the last byte, about what the first
/// one said, with everything that was stored.
async fn request(exchange: &Exchange<'_>, session: &Session<'_>) -> Result<Request<Body>, Refusal> {
    let upload = &session.upload;
    let Some(origin) = &upload.origin else { return Err(Refusal::Internal) };
    let length = session.stored.length;
    let body = match length {
        0 => Body::empty(),
        _ => {
            let read = session.tus.chunks.read(&upload.locator, 0..length).await;
            let reader = read.map_err(|error| refuse_bytes(&error, "read", &upload.id))?;
            Body::download(reader, length)
        }
    };
    let (_, mut headers) = wire::representation(exchange.request.headers());
    headers.extend(origin.headers.clone());
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    let mut request = Request::new(body);
    *request.method_mut() = origin.method.clone();
    *request.uri_mut() = origin.uri.clone();
    *request.headers_mut() = headers;
    *request.extensions_mut() = extensions(exchange, origin, &upload.id);
    Ok(request)
}

fn extensions(exchange: &Exchange<'_>, origin: &Origin, upload: &UploadId) -> Extensions {
    let mut extensions = exchange.request.extensions().clone();
    // The upload's own way to its client; what the application has to say is its answer.
    let _interim = extensions.remove::<Interim>();
    extensions.insert(Resumed { event_id: origin.event.clone(), upload: upload.clone() });
    extensions
}

/// What of an answer was taken: all of it, or as much as may be kept and the rest.
struct Taken<R> {
    pieces: VecDeque<Bytes>,
    rest: Option<Pin<Box<R>>>,
}

/// Takes an answer, up to what may be kept of one.
async fn take<R>(body: R) -> Result<Taken<R>, String>
where
    R: http_body::Body<Data = Bytes>,
    R::Error: fmt::Display,
{
    let mut body = Box::pin(body);
    let (mut pieces, mut length) = (VecDeque::new(), 0_usize);
    while length <= Reply::MAX_STORED {
        match poll_fn(|cx| body.as_mut().poll_frame(cx)).await {
            None => return Ok(Taken { pieces, rest: None }),
            Some(Err(error)) => return Err(error.to_string()),
            Some(Ok(frame)) => {
                // Trailers of an answer are not kept.
                if let Ok(data) = frame.into_data() {
                    length = length.saturating_add(data.len());
                    pieces.push_back(data);
                }
            }
        }
    }
    Ok(Taken { pieces, rest: Some(body) })
}

/// The answer as it is kept and sent, and what of it is only sent.
fn reply<R>(head: response::Parts, taken: Taken<R>) -> (Reply, Option<Rest<R>>) {
    let response::Parts { status, mut headers, .. } = head;
    // About the message that our own server makes of it.
    let about_it =
        [header::CONTENT_LENGTH, header::TRANSFER_ENCODING, header::CONNECTION, header::TRAILER];
    for name in about_it {
        headers.remove(name);
    }
    let Taken { pieces, rest } = taken;
    match rest {
        None => {
            let mut body = BytesMut::new();
            pieces.iter().for_each(|piece| body.extend_from_slice(piece));
            (Reply { status: Some(status), headers, body: body.freeze() }, None)
        }
        Some(rest) => {
            let rest = Rest { first: pieces, rest };
            (Reply { status: Some(status), headers, body: Bytes::new() }, Some(rest))
        }
    }
}

/// Records the answer, and lets the bytes go that it is about.
async fn keep(session: &mut Session<'_>, reply: &Reply, whole: bool) -> Result<(), Refusal> {
    let kept = storable(reply, whole);
    let since = session.now();
    // A client error is the last word as much as a success is, but must never look like one.
    let phase = match kept.status {
        Some(status) if status.is_client_error() => {
            let Reply { headers, body, .. } = kept;
            let rejection = Rejection { status, headers: Box::new(headers), body };
            Phase::Refused { since, rejection, unwanted: true }
        }
        _ => Phase::Announced { since, reply: kept },
    };
    let (length, forget_at) = (session.stored.length, since.after(session.tus.policy.remember));
    session
        .update(|upload| {
            upload.phase = phase.clone();
            upload.length = Some(length);
            upload.expires_at = Some(forget_at);
        })
        .await?;
    let id = session.upload.id.clone();
    tracing::info!(upload = %id, length, "processed by the application");
    let removed = match session.upload.phase {
        Phase::Refused { .. } => complete::remove_unwanted(session).await,
        _ => {
            let removed = session.tus.chunks.remove(&session.upload.locator).await;
            removed.map_err(|error| refuse(&error, "remove", &id))
        }
    };
    if let Err(refusal) = removed {
        tracing::warn!(upload = %id, ?refusal, "bytes are left to the sweeper");
    }
    Ok(())
}

/// What of an answer fits into a record: all of it, or its head, or its status.
fn storable(reply: &Reply, whole: bool) -> Reply {
    let size = |reply: &Reply| complete::stored_size(&reply.headers, &reply.body);
    let mut reply = reply.clone();
    // For the one who asked; and of the moment.
    for name in ["set-cookie", "authentication-info", "proxy-authenticate", "date"] {
        reply.headers.remove(name);
    }
    if whole && size(&reply) <= Reply::MAX_STORED {
        return reply;
    }
    tracing::warn!("the answer is larger than what is kept of one to be repeated");
    let mut kept = Reply { body: Bytes::new(), ..reply };
    for name in [header::CONTENT_TYPE, header::CONTENT_ENCODING] {
        kept.headers.remove(name);
    }
    if size(&kept) > Reply::MAX_STORED {
        kept.headers = HeaderMap::new();
    }
    kept
}

impl Finished {
    /// A request that brings this upload to a handler that knows nothing of uploads: `POST /`, with
    /// the metadata as `Content-Type`, `Content-Disposition` and `Upload-Metadata`, and the stored
    /// bytes as its body.
    ///
    /// It has nothing of the client's: no credentials, no extensions but [`Resumed`]. What the
    /// handler answers becomes that of `on_finish` by [`Reply::of`].
    ///
    /// # Errors
    ///
    /// The store's; `Unsupported` if it cannot read.
    pub async fn request(&self) -> Result<Request<Body>, StoreError> {
        let body = match self.length {
            0 => Body::empty(),
            length => Body::download(self.reader().await?, length),
        };
        let mut request = Request::new(body);
        *request.method_mut() = Method::POST;
        let metadata = self.metadata();
        let headers = request.headers_mut();
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(self.length));
        wire::describe(headers, metadata);
        let (event_id, upload) = (self.event_id.clone(), self.id().clone());
        request.extensions_mut().insert(Resumed { event_id, upload });
        Ok(request)
    }
}

impl Reply {
    /// What a handler has answered, as `on_finish` says it: a success is a reply, 400 to 499 a
    /// refusal for good, 500 and above (or an answer that breaks off) a failure that is tried
    /// again.
    ///
    /// Of an answer that is larger than [`MAX_STORED`](Self::MAX_STORED) the head is kept.
    ///
    /// # Errors
    ///
    /// The refusal, or the failure.
    pub async fn of<R>(response: Response<R>) -> Result<Self, HookError>
    where
        R: http_body::Body<Data = Bytes>,
        R::Error: fmt::Display,
    {
        let (head, body) = response.into_parts();
        let status = head.status;
        if status.is_server_error() {
            return Err(io::Error::other(format!("the handler answered {status}")).into());
        }
        let taken = take(body).await.map_err(io::Error::other)?;
        let (reply, rest) = reply(head, taken);
        let kept = storable(&reply, rest.is_none());
        if status.is_client_error() {
            let Self { headers, body, .. } = kept;
            return Err(Rejection { status, headers: Box::new(headers), body }.into());
        }
        Ok(kept)
    }
}

/// The bytes of an answer that is too large to be kept.
pub(super) struct Rest<R> {
    first: VecDeque<Bytes>,
    rest: Pin<Box<R>>,
}

/// The body of an answer, be it ours or a handler's.
pub struct ResumedBody<R>(Said<R>);

enum Said<R> {
    Ours(Body),
    Theirs(Rest<R>),
}

impl<R> ResumedBody<R> {
    /// Nothing.
    pub fn empty() -> Self {
        Self(Said::Ours(Body::empty()))
    }

    pub(super) fn new(ours: Body, theirs: Option<Rest<R>>) -> Self {
        Self(theirs.map_or(Said::Ours(ours), Said::Theirs))
    }
}

impl ResumedBody<Never> {
    /// The body of an answer that no handler has given.
    pub(super) fn ours(self) -> Body {
        match self.0 {
            Said::Ours(body) => body,
            Said::Theirs(Rest { rest, .. }) => match *rest {},
        }
    }
}

impl<R> http_body::Body for ResumedBody<R>
where
    R: http_body::Body<Data = Bytes>,
    R::Error: fmt::Display,
{
    type Data = Bytes;
    type Error = Box<dyn std::error::Error + Send + Sync>;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        match &mut self.0 {
            Said::Ours(body) => Pin::new(body).poll_frame(cx).map_err(Into::into),
            Said::Theirs(Rest { first, rest }) => match first.pop_front() {
                Some(first) => Poll::Ready(Some(Ok(Frame::data(first)))),
                None => rest.as_mut().poll_frame(cx).map_err(|error| error.to_string().into()),
            },
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Said::Ours(body) => body.is_end_stream(),
            Said::Theirs(Rest { first, rest }) => first.is_empty() && rest.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Said::Ours(body) => body.size_hint(),
            Said::Theirs(Rest { first, rest }) => {
                let before: u64 = first.iter().map(|piece| piece.len() as u64).sum();
                let after = rest.size_hint();
                let mut hint = SizeHint::new();
                hint.set_lower(after.lower().saturating_add(before));
                if let Some(upper) = after.upper().and_then(|upper| upper.checked_add(before)) {
                    hint.set_upper(upper);
                }
                hint
            }
        }
    }
}

impl<R> fmt::Debug for ResumedBody<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Said::Ours(body) => f.debug_tuple("ResumedBody").field(body).finish(),
            Said::Theirs(_) => f.write_str("ResumedBody(..)"),
        }
    }
}

/// The body of an answer that there cannot be.
#[derive(Debug)]
pub(super) enum Never {}

impl http_body::Body for Never {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        match *self {}
    }
}

/// What stands for a handler where there is none.
pub(super) type NoHandler = fn(Request<Body>) -> std::future::Ready<Response<Never>>;

impl Origin {
    /// Bytes of a head that are kept whatever the bound of metadata is.
    const FEW: usize = 8 * 1024;
}
