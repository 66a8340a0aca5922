//! http 0.2 to http 1 and back, by bytes; bodies without a channel or a copy.

use std::{
    cell::RefCell,
    future::poll_fn,
    io,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
};

use actix_web::{
    HttpRequest, HttpResponse,
    body::{BodySize, BoxBody, MessageBody},
    dev::Payload,
    error::PayloadError,
    http::{Version as ActixVersion, header as actix_header},
};
use bytes::Bytes;
use futures_util::Stream;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri, Version, header,
};
use http_body::{Frame, SizeHint};
use tus_core::Body;

/// The request as the engine wants it; `None` if its head does not survive, which no request that
/// actix-web accepts has been seen to do.
pub(crate) fn request(from: &HttpRequest, payload: Payload) -> Option<Request<PayloadBody>> {
    let headers = headers(from.headers())?;
    let mut to = Request::new(PayloadBody::new(payload, &headers));
    *to.method_mut() = Method::from_bytes(from.method().as_str().as_bytes()).ok()?;
    *to.uri_mut() = from.uri().to_string().parse::<Uri>().ok()?;
    *to.version_mut() = match from.version() {
        ActixVersion::HTTP_09 => Version::HTTP_09,
        ActixVersion::HTTP_10 => Version::HTTP_10,
        ActixVersion::HTTP_2 => Version::HTTP_2,
        ActixVersion::HTTP_3 => Version::HTTP_3,
        _ => Version::HTTP_11,
    };
    *to.headers_mut() = headers;
    #[cfg(feature = "interim")]
    if let Some(handle) = from.conn_data::<tus_interim::http1::Handle>() {
        crate::interim::extend(handle, &mut to);
    }
    Some(to)
}

/// The header fields as the engine wants them.
pub(crate) fn headers(from: &actix_header::HeaderMap) -> Option<HeaderMap> {
    let mut headers = HeaderMap::with_capacity(from.len());
    for (name, value) in from {
        let name = HeaderName::from_bytes(name.as_str().as_bytes()).ok()?;
        headers.append(name, HeaderValue::from_bytes(value.as_bytes()).ok()?);
    }
    Some(headers)
}

/// The header fields as actix-web wants them.
pub(crate) fn copy_headers(from: &HeaderMap, to: &mut actix_header::HeaderMap) {
    for (name, value) in from {
        let name = actix_header::HeaderName::from_bytes(name.as_str().as_bytes());
        let value = actix_header::HeaderValue::from_bytes(value.as_bytes());
        // Both versions of http take the same bytes for names and values.
        if let (Ok(name), Ok(value)) = (name, value) {
            to.append(name, value);
        }
    }
}

/// The engine's response as actix-web wants it.
pub(crate) fn response<B>(from: Response<B>, payload: Kept) -> HttpResponse<BoxBody>
where
    B: http_body::Body<Data = Bytes, Error: Into<BoxError>> + Unpin + 'static,
{
    let (parts, body) = from.into_parts();
    // Every http 1 status code is one of http 0.2: both hold 100 to 999.
    let status = actix_web::http::StatusCode::from_u16(parts.status.as_u16())
        .unwrap_or(actix_web::http::StatusCode::INTERNAL_SERVER_ERROR);
    let mut to = HttpResponse::new(status).set_body(BoxBody::new(ResponseBody(body, payload)));
    copy_headers(&parts.headers, to.headers_mut());
    if parts.headers.get(header::CONNECTION).is_some_and(|value| value == "close") {
        to.head_mut().set_connection_type(actix_web::http::ConnectionType::Close);
    }
    to
}

/// The payload of a request as a body; it stays on its thread, as the engine allows.
pub(crate) struct PayloadBody {
    payload: Kept,
    /// A piece that was waited for before the rest.
    first: Option<Result<Bytes, PayloadError>>,
    /// What `Content-Length` says is still to come: actix-web has ended payloads that were cut
    /// short without an error, so it is counted here.
    left: Option<u64>,
    ended: bool,
}

impl PayloadBody {
    fn new(payload: Payload, headers: &HeaderMap) -> Self {
        let chunked = headers.contains_key(header::TRANSFER_ENCODING);
        let length = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok());
        let left = length.filter(|_| !chunked).and_then(|text| text.trim().parse().ok());
        // HTTP/1 with neither header has no body (RFC 9112, section 6.3).
        let ended = left == Some(0) || matches!(payload, Payload::None);
        Self { payload: Kept(Rc::new(RefCell::new(payload))), left, ended, first: None }
    }

    /// Finds out whether there is a body where only asking for it tells: HTTP/2 may end a stream
    /// with its head, and actix-web does not show that.
    pub(crate) async fn settle(&mut self, version: Version) {
        if version != Version::HTTP_2 || self.left.is_some() || self.ended {
            return;
        }
        // Asked once: a body that has yet to begin is one, and is waited for by whoever wants it.
        let first = poll_fn(|cx| Poll::Ready(self.poll_payload(cx))).await;
        if let Poll::Ready(first) = first {
            self.ended = first.is_none();
            self.first = first;
        }
    }

    fn poll_payload(&self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, PayloadError>>> {
        Pin::new(&mut *self.payload.0.borrow_mut()).poll_next(cx)
    }

    /// Keeps the payload from being dropped.
    pub(crate) fn keep(&self) -> Kept {
        self.payload.clone()
    }
}

impl http_body::Body for PayloadBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        let next = match self.first.take() {
            Some(first) => Some(first),
            None => std::task::ready!(self.poll_payload(cx)),
        };
        let result = match (next, self.left) {
            (Some(Ok(bytes)), Some(left)) => {
                self.left = Some(left.saturating_sub(bytes.len() as u64));
                Some(Ok(Frame::data(bytes)))
            }
            (Some(Ok(bytes)), None) => Some(Ok(Frame::data(bytes))),
            (Some(Err(error)), _) => {
                self.ended = true;
                Some(Err(io::Error::other(error.to_string())))
            }
            (None, Some(left)) if left > 0 => {
                self.ended = true;
                let text = format!("the body ended {left} bytes short of its Content-Length");
                Some(Err(io::Error::new(io::ErrorKind::UnexpectedEof, text)))
            }
            (None, _) => {
                self.ended = true;
                None
            }
        };
        Poll::Ready(result)
    }

    fn is_end_stream(&self) -> bool {
        self.ended || self.left == Some(0)
    }

    fn size_hint(&self) -> SizeHint {
        self.left.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

/// The payload of a request, kept until its answer is sent.
///
/// Of one that is dropped before, actix-web reads the rest without end if it comes in chunks, and
/// a silent client would keep its connection for ever.
#[derive(Clone)]
pub(crate) struct Kept(Rc<RefCell<Payload>>);

/// An error of a body.
pub(crate) type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The body of a response.
struct ResponseBody<B>(B, #[expect(dead_code, reason = "held, not read")] Kept);

impl<B> MessageBody for ResponseBody<B>
where
    B: http_body::Body<Data = Bytes, Error: Into<BoxError>> + Unpin,
{
    type Error = io::Error;

    fn size(&self) -> BodySize {
        match http_body::Body::size_hint(&self.0).exact() {
            // An empty body is announced as such, or the client waits for the connection to end;
            // where there must be no length (204), actix-web leaves it out by itself.
            Some(length) => BodySize::Sized(length),
            None if http_body::Body::is_end_stream(&self.0) => BodySize::None,
            None => BodySize::Stream,
        }
    }

    fn poll_next(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, io::Error>>> {
        loop {
            let frame = std::task::ready!(Pin::new(&mut self.0).poll_frame(cx));
            match frame.map(|frame| frame.map(Frame::into_data)) {
                Some(Ok(Ok(bytes))) => return Poll::Ready(Some(Ok(bytes))),
                // HTTP/1 of actix-web has no place for trailers.
                Some(Ok(Err(_))) => {}
                Some(Err(error)) => return Poll::Ready(Some(Err(io::Error::other(error)))),
                None => return Poll::Ready(None),
            }
        }
    }
}

/// What the application answered, as the engine wants it.
pub(crate) fn answer(from: HttpResponse<BoxBody>) -> Response<AnswerBody> {
    let (head, body) = from.into_parts();
    let mut to = Response::new(AnswerBody(body));
    // 100 to 999 in both versions of http.
    *to.status_mut() =
        StatusCode::from_u16(head.status().as_u16()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    // What is a header in one version of http is one in the other.
    *to.headers_mut() = headers(head.headers()).unwrap_or_default();
    to.headers_mut().remove(header::CONNECTION);
    to
}

/// The stored bytes, as a payload.
pub(crate) struct Stored(Body);

impl Stored {
    pub(crate) fn new(body: Body) -> Self {
        Self(body)
    }
}

impl Stream for Stored {
    type Item = Result<Bytes, PayloadError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        use http_body::Body as _;
        loop {
            let frame = std::task::ready!(Pin::new(&mut self.0).poll_frame(cx));
            match frame.map(|frame| frame.map(Frame::into_data)) {
                Some(Ok(Ok(bytes))) => return Poll::Ready(Some(Ok(bytes))),
                Some(Ok(Err(_))) => {}
                Some(Err(error)) => {
                    let error = PayloadError::Io(io::Error::other(error));
                    return Poll::Ready(Some(Err(error)));
                }
                None => return Poll::Ready(None),
            }
        }
    }
}

/// The body of the application's answer.
pub(crate) struct AnswerBody(BoxBody);

impl AnswerBody {
    /// Nothing.
    pub(crate) fn empty() -> Self {
        Self(BoxBody::new(()))
    }
}

impl http_body::Body for AnswerBody {
    type Data = Bytes;
    type Error = Box<dyn std::error::Error>;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let next = std::task::ready!(Pin::new(&mut self.0).poll_next(cx));
        Poll::Ready(next.map(|piece| piece.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.0.size(), BodySize::None | BodySize::Sized(0))
    }

    fn size_hint(&self) -> SizeHint {
        match self.0.size() {
            BodySize::None => SizeHint::with_exact(0),
            BodySize::Sized(length) => SizeHint::with_exact(length),
            BodySize::Stream => SizeHint::default(),
        }
    }
}
