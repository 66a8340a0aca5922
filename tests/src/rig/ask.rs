//! Requests made in memory, their bodies frame by frame.

use std::{
    collections::VecDeque,
    fmt, io,
    pin::Pin,
    task::{Context, Poll},
    time::SystemTime,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt as _;
use tokio::sync::mpsc;
use tus_core::{Arrival, Interim, Tus, store::Blocking};

/// Where the uploads of these tests live.
const MOUNT: &str = "/files";

/// A piece of a body.
#[derive(Debug)]
pub enum Piece {
    /// Bytes.
    Data(Bytes),
    /// Trailers.
    Trailers(HeaderMap),
    /// The connection breaks.
    Break,
    /// Whatever a test sends later; the body ends when the sender is dropped.
    Later(mpsc::UnboundedReceiver<Self>),
}

/// A body as a list of pieces.
#[derive(Debug, Default)]
pub struct Frames {
    pieces: VecDeque<Piece>,
    length: Option<u64>,
}

impl Frames {
    /// No body at all.
    pub fn none() -> Self {
        Self { pieces: VecDeque::new(), length: Some(0) }
    }

    /// These pieces, of unknown length.
    pub fn chunked(pieces: impl IntoIterator<Item = Piece>) -> Self {
        Self { pieces: pieces.into_iter().collect(), length: None }
    }

    /// These pieces, under a `Content-Length`.
    pub fn announced(length: u64, pieces: impl IntoIterator<Item = Piece>) -> Self {
        Self { pieces: pieces.into_iter().collect(), length: Some(length) }
    }

    /// All bytes at once.
    pub fn whole(bytes: &[u8]) -> Self {
        let piece = Piece::Data(Bytes::copy_from_slice(bytes));
        Self::announced(bytes.len() as u64, (!bytes.is_empty()).then_some(piece))
    }
}

impl Body for Frames {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let Some(piece) = self.pieces.front_mut() else {
            return Poll::Ready(None);
        };
        let piece = match piece {
            Piece::Later(receiver) => match std::task::ready!(receiver.poll_recv(cx)) {
                Some(piece) => Some(piece),
                None => {
                    self.pieces.pop_front();
                    return self.poll_frame(cx);
                }
            },
            _ => self.pieces.pop_front(),
        };
        Poll::Ready(match piece {
            Some(Piece::Data(data)) => Some(Ok(Frame::data(data))),
            Some(Piece::Trailers(trailers)) => Some(Ok(Frame::trailers(trailers))),
            Some(Piece::Break) => Some(Err(io::Error::other("the connection broke"))),
            Some(Piece::Later(_)) | None => None,
        })
    }

    fn is_end_stream(&self) -> bool {
        self.length == Some(0)
    }

    fn size_hint(&self) -> SizeHint {
        self.length.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

/// A request in the making.
#[derive(Debug)]
pub struct Ask {
    method: Method,
    path: String,
    headers: HeaderMap,
    body: Frames,
    blocking: Blocking,
    interim: Option<Interim>,
}

impl Ask {
    fn new(method: Method, path: &str) -> Self {
        let mut headers = HeaderMap::new();
        headers.insert("tus-resumable", HeaderValue::from_static("1.0.0"));
        let (path, body) = (path.to_owned(), Frames::none());
        Self { method, path, headers, body, blocking: Blocking::Offload, interim: None }
    }

    /// A creation.
    pub fn post() -> Self {
        Self::new(Method::POST, MOUNT)
    }

    /// How far is it?
    pub fn head(path: &str) -> Self {
        Self::new(Method::HEAD, path)
    }

    /// All of it.
    pub fn get(path: &str) -> Self {
        Self::new(Method::GET, path)
    }

    /// More bytes.
    pub fn patch(path: &str, at: u64) -> Self {
        Self::new(Method::PATCH, path).with("upload-offset", at)
    }

    /// Away with it.
    pub fn delete(path: &str) -> Self {
        Self::new(Method::DELETE, path)
    }

    /// Adds a header.
    #[must_use]
    pub fn with<V>(mut self, name: &'static str, value: V) -> Self
    where
        V: TryInto<HeaderValue, Error: fmt::Debug>,
    {
        let value = value.try_into().expect("a header value");
        self.headers.append(HeaderName::from_static(name), value);
        self
    }

    /// Makes an upload of which the application thinks: `unwanted`, `refuses`, `fails once` or
    /// `deaf once`.
    #[must_use]
    pub fn mood(self, mood: &str) -> Self {
        self.with("upload-metadata", format!("mood {}", STANDARD.encode(mood)))
    }

    /// Declares the length.
    #[must_use]
    pub fn length(self, length: u64) -> Self {
        self.with("upload-length", length)
    }

    /// Says it in RUFH, as a client does that names no version.
    #[must_use]
    pub fn rufh(mut self) -> Self {
        self.headers.remove("tus-resumable");
        match self.method == Method::PATCH {
            true => self.with("content-type", "application/partial-upload"),
            false => self,
        }
    }

    /// Brings a body.
    #[must_use]
    pub fn body(self, body: Frames) -> Self {
        let tus = self.headers.contains_key("tus-resumable");
        let mut ask = match tus {
            true => self.with("content-type", "application/offset+octet-stream"),
            false => self,
        };
        ask.body = body;
        ask
    }

    /// Has it handled on a thread that may block.
    #[must_use]
    pub fn in_place(self) -> Self {
        Self { blocking: Blocking::InPlace, ..self }
    }

    /// Has it come by a connection that can send interim responses.
    #[must_use]
    pub fn interim(self, interim: Interim) -> Self {
        Self { interim: Some(interim), ..self }
    }

    /// Whom it is for.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The method.
    pub fn method(&self) -> &Method {
        &self.method
    }

    /// Sends it, and waits for the whole answer.
    pub async fn send(self, tus: &Tus) -> Answer {
        self.send_as(tus, Arrival::at(MOUNT)).await
    }

    /// Sends it in a way of one's own.
    pub async fn send_as(self, tus: &Tus, arrival: Arrival) -> Answer {
        self.try_send_as(tus, arrival).await.expect("the body of an answer")
    }

    /// Sends it, and waits for the whole answer, whose body may break.
    ///
    /// # Errors
    ///
    /// What the body ended with.
    pub async fn try_send(self, tus: &Tus) -> Result<Answer, String> {
        self.try_send_as(tus, Arrival::at(MOUNT)).await
    }

    async fn try_send_as(self, tus: &Tus, arrival: Arrival) -> Result<Answer, String> {
        let mut request = Request::new(self.body);
        *request.method_mut() = self.method;
        *request.uri_mut() = self.path.parse().expect("a path");
        *request.headers_mut() = self.headers;
        if let Some(interim) = self.interim {
            request.extensions_mut().insert(interim);
        }
        let arrival = arrival.with_trailers().with_blocking(self.blocking);
        let response = tus.handle(request, arrival).await;
        let (parts, body) = response.into_parts();
        let body = body.collect().await.map_err(|error| error.to_string())?.to_bytes();
        Ok(Answer { status: parts.status.as_u16(), headers: parts.headers, body })
    }
}

/// An answer.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The head.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

impl Answer {
    /// Whether it says that all went well.
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// `Upload-Offset`.
    pub fn offset(&self) -> Option<u64> {
        self.number("upload-offset")
    }

    /// `Upload-Length`.
    pub fn length(&self) -> Option<u64> {
        self.number("upload-length")
    }

    /// `Upload-Expires`.
    pub fn expires(&self) -> Option<SystemTime> {
        let text = self.headers.get("upload-expires")?.to_str().expect("text");
        Some(httpdate::parse_http_date(text).expect("a date"))
    }

    /// `Location`.
    pub fn location(&self) -> String {
        self.headers["location"].to_str().expect("a path").to_owned()
    }

    /// `Retry-After`, in seconds.
    pub fn retry_after(&self) -> Option<u64> {
        self.number("retry-after")
    }

    fn number(&self, name: &str) -> Option<u64> {
        let text = self.headers.get(name)?.to_str().expect("text");
        Some(text.parse().expect("a number"))
    }
}

/// The value of an `Upload-Checksum` of these bytes.
pub fn crc32(bytes: &[u8]) -> String {
    format!("crc32 {}", STANDARD.encode(crc32fast::hash(bytes).to_be_bytes()))
}
