use std::{
    fmt,
    future::{Future, poll_fn},
    io::IoSlice,
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Poll, ready},
    time::SystemTime,
};

use bytes::{Buf, Bytes};
use h2::{Reason, RecvStream, SendStream, server::SendResponse};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body::Body;
use tower_service::Service;
use tus_core::{Interim, SendInterim};

use super::{Activity, BoxError, RecvBody};
use crate::head;

/// Serves one stream to its end, which may be an early one.
pub(super) fn serve<S, B>(
    service: S,
    request: Request<RecvStream>,
    respond: SendResponse<Chunk<B::Data>>,
    activity: &Arc<Activity>,
) -> impl Future<Output = ()> + Send + use<S, B>
where
    S: Service<Request<RecvBody>, Response = Response<B>> + Send + 'static,
    S::Error: Into<BoxError>,
    S::Future: Send,
    B: Body<Data: Buf + Send + 'static, Error: Into<BoxError>> + Send + 'static,
{
    let (head, stream) = request.into_parts();
    let body = RecvBody::new(stream, &head);
    let request = Request::from_parts(head, body);
    let respond = Respond(Arc::new(Mutex::new(respond)));
    let activity = activity.clone();
    async move {
        if let Err(error) = exchange(service, request, respond, activity).await {
            tracing::debug!(error, "a stream ended early");
        }
    }
}

async fn exchange<S, B>(
    mut service: S,
    mut request: Request<RecvBody>,
    respond: Respond<B::Data>,
    activity: Arc<Activity>,
) -> Result<(), BoxError>
where
    S: Service<Request<RecvBody>, Response = Response<B>>,
    S::Error: Into<BoxError>,
    B: Body<Data: Buf + Send + 'static, Error: Into<BoxError>>,
{
    let bodiless = request.method() == Method::HEAD;
    let interim = Interim::new(Arc::new(Sender { respond: respond.clone(), activity }));
    // Nothing is sent from the response on, nor once this stream is given up.
    let guard = interim.guard();
    request.extensions_mut().insert(interim);
    let answered = {
        let mut answer = pin!(async move {
            poll_fn(|cx| service.poll_ready(cx).map_err(Into::into)).await?;
            service.call(request).await.map_err(Into::into)
        });
        poll_fn(|cx| {
            if let Poll::Ready(answer) = answer.as_mut().poll(cx) {
                return Poll::Ready(Ok(answer));
            }
            let reset = ready!(respond.lock().poll_reset(cx));
            Poll::Ready(Err(reset))
        })
        .await
    };
    drop(guard);
    let answered = match answered {
        Ok(answered) => answered,
        Err(Ok(reason)) => return Err(h2::Error::from(reason).into()),
        Err(Err(error)) => return Err(error.into()),
    };
    let response: Response<B> = match answered {
        Ok(response) if response.status().is_informational() => {
            respond.lock().send_reset(Reason::INTERNAL_ERROR);
            return Err("the service gave an interim response for a final one".into());
        }
        Ok(response) => response,
        Err(error) => {
            respond.lock().send_reset(Reason::INTERNAL_ERROR);
            return Err(error);
        }
    };
    let (mut head, body) = response.into_parts();
    complete(head.status, &mut head.headers, &body);
    let bodiless = bodiless
        || matches!(head.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
        || body.is_end_stream();
    let sent = respond.lock().send_response(Response::from_parts(head, ()), bodiless);
    let stream = match sent {
        Ok(stream) => stream,
        Err(error) => {
            respond.lock().send_reset(Reason::INTERNAL_ERROR);
            return Err(error.into());
        }
    };
    drop(respond);
    if bodiless { Ok(()) } else { send(body, stream).await }
}

/// Makes the head of a response one of HTTP/2: nothing about the connection, and what hyper adds.
fn complete<B: Body>(status: StatusCode, headers: &mut HeaderMap, body: &B) {
    if let Some(connection) = headers.remove(header::CONNECTION) {
        for name in connection.to_str().unwrap_or_default().split(',') {
            if let Ok(name) = name.trim().parse::<HeaderName>() {
                headers.remove(name);
            }
        }
    }
    for name in ["keep-alive", "proxy-connection", "te", "transfer-encoding", "upgrade"] {
        headers.remove(name);
    }
    if status == StatusCode::NO_CONTENT {
        headers.remove(header::CONTENT_LENGTH);
    } else if !body.is_end_stream()
        && let Some(length) = body.size_hint().exact()
    {
        headers.entry(header::CONTENT_LENGTH).or_insert_with(|| length.into());
    }
    if !headers.contains_key(header::DATE)
        && let Ok(date) = HeaderValue::try_from(httpdate::fmt_http_date(SystemTime::now()))
    {
        headers.insert(header::DATE, date);
    }
}

/// Sends a body as fast as the peer takes it, until either side has had enough.
async fn send<B>(body: B, mut stream: SendStream<Chunk<B::Data>>) -> Result<(), BoxError>
where
    B: Body<Error: Into<BoxError>>,
{
    let mut body = pin!(body);
    loop {
        let frame = poll_fn(|cx| {
            if let Poll::Ready(reason) = stream.poll_reset(cx) {
                return Poll::Ready(Err(reason));
            }
            let frame = body.as_mut().poll_frame(cx);
            frame.map(|frame| Ok(frame.map(|frame| frame.map_err(Into::into))))
        });
        let frame = match frame.await {
            Ok(frame) => frame,
            Err(reason) => return Err(h2::Error::from(reason?).into()),
        };
        let frame = match frame {
            None => {
                stream.send_data(Chunk(None), true)?;
                return Ok(());
            }
            Some(Err(error)) => {
                stream.send_reset(Reason::INTERNAL_ERROR);
                return Err(error);
            }
            Some(Ok(frame)) => frame,
        };
        match frame.into_data() {
            Ok(data) => {
                let last = body.is_end_stream();
                if data.has_remaining() {
                    room(&mut stream).await?;
                }
                stream.send_data(Chunk(Some(data)), last)?;
                if last {
                    return Ok(());
                }
            }
            Err(frame) => {
                if let Ok(trailers) = frame.into_trailers() {
                    stream.send_trailers(trailers)?;
                    return Ok(());
                }
            }
        }
    }
}

/// Waits until the peer takes at least a byte.
///
/// One is asked for, and only when there is one to send: what is reserved is kept from the other
/// streams. h2 asks for the rest by itself.
async fn room<D: Buf>(stream: &mut SendStream<Chunk<D>>) -> Result<(), BoxError> {
    stream.reserve_capacity(1);
    while stream.capacity() == 0 {
        let more = poll_fn(|cx| {
            if let Poll::Ready(reason) = stream.poll_reset(cx) {
                return Poll::Ready(Err(reason));
            }
            stream.poll_capacity(cx).map(Ok)
        });
        match more.await {
            Ok(Some(more)) => more?,
            Ok(None) => return Err("the stream takes no more".into()),
            Err(reason) => return Err(h2::Error::from(reason?).into()),
        };
    }
    Ok(())
}

/// What sends heads on a stream, shared with the request's [`Interim`].
struct Respond<D: Buf>(Arc<Mutex<SendResponse<Chunk<D>>>>);

impl<D: Buf> Respond<D> {
    fn lock(&self) -> MutexGuard<'_, SendResponse<Chunk<D>>> {
        // It is h2's to keep it whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<D: Buf> Clone for Respond<D> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

struct Sender<D: Buf> {
    respond: Respond<D>,
    activity: Arc<Activity>,
}

impl<D: Buf + Send + 'static> SendInterim for Sender<D> {
    fn send(&self, status: StatusCode, headers: &HeaderMap) -> bool {
        // What a peer does not take would wait here, without bound.
        if self.activity.is_blocked() || !head::is_interim(status) {
            return false;
        }
        let mut response = Response::new(());
        *response.status_mut() = status;
        let fields = headers.iter().filter(|(name, _)| head::may_stand(name));
        response.headers_mut().extend(fields.map(|(name, value)| (name.clone(), value.clone())));
        self.respond.lock().send_informational(response).is_ok()
    }
}

/// A piece of a body, or the empty one at its end.
pub(super) struct Chunk<D>(Option<D>);

impl<D> fmt::Debug for Chunk<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Chunk").field(&self.0.is_some()).finish()
    }
}

impl<D: Buf> Buf for Chunk<D> {
    fn remaining(&self) -> usize {
        self.0.as_ref().map_or(0, Buf::remaining)
    }

    fn chunk(&self) -> &[u8] {
        self.0.as_ref().map_or(&[], Buf::chunk)
    }

    fn chunks_vectored<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        self.0.as_ref().map_or(0, |data| data.chunks_vectored(slices))
    }

    fn advance(&mut self, count: usize) {
        if let Some(data) = &mut self.0 {
            data.advance(count);
        }
    }

    fn copy_to_bytes(&mut self, length: usize) -> Bytes {
        self.0.as_mut().map_or_else(Bytes::new, |data| data.copy_to_bytes(length))
    }
}
