//! What a connection calls for each request, and the answer on its way back.

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::io::IoSlice;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use http::{HeaderValue, Request, Response, Uri, header};
use hyper::body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use tower_service::Service;
use tus_interim::http1::Handle;
use tus_interim::http2::RecvBody;
use tus_interim::server;

use super::connection::Version;
use super::door::{Pass, Seat};
use super::pulse::{Entered, Pulse};
use super::streams::{self, Drain};
use super::{Peer, Unwelcome};

/// What the requests of a connection share.
pub(super) struct Guest {
    peer: Peer,
    version: Version,
    pass: Pass,
    pulse: Pulse,
    fields: usize,
    /// What sends interim responses over HTTP/1.
    interim: Option<Handle>,
}

impl Guest {
    pub(super) fn new(
        peer: Peer,
        version: Version,
        pass: Pass,
        pulse: Pulse,
        fields: usize,
    ) -> Self {
        Self { peer, version, pass, pulse, fields, interim: None }
    }

    /// The same, with a way to send interim responses.
    pub(super) fn with_interim(self, interim: Handle) -> Self {
        Self { interim: Some(interim), ..self }
    }
}

/// Calls a clone of the service for each request, with the peer in its extensions.
pub(super) struct PerRequest<S> {
    service: S,
    guest: Arc<Guest>,
}

impl<S> PerRequest<S> {
    pub(super) fn new(service: S, guest: Guest) -> Self {
        Self { service, guest: Arc::new(guest) }
    }

    /// Answers a request of either version.
    pub(super) fn answer<I, B>(
        &self,
        request: Request<I>,
    ) -> impl Future<Output = Result<Response<Paced<B>>, Infallible>> + Send + use<I, B, S>
    where
        I: Into<server::Body>,
        S: Service<Request<server::Body>, Response = Response<B>, Error = Infallible>
            + Clone
            + Send
            + 'static,
        S::Future: Send + 'static,
        B: Send + 'static,
    {
        let mut request = request.map(Into::into);
        let guest = self.guest.as_ref();
        let entered = guest.pulse.enter();
        let (seat, mut unwelcome) = guest.pass.request();
        // HTTP/1 counts them where it reads them.
        if request.headers().len() > guest.fields {
            unwelcome = Some(Unwelcome::Head);
        }
        if let Some(unwelcome) = unwelcome {
            request.extensions_mut().insert(unwelcome);
        }
        request.extensions_mut().insert(guest.peer);
        keep_apart(&mut request);
        let last = guest.pass.unwelcome().is_some() && guest.version == Version::Http1;
        let interim = guest.interim.as_ref().and_then(|interim| interim.extend(&mut request));
        let mut service = self.service.clone();
        async move {
            poll_fn(|cx| service.poll_ready(cx)).await?;
            let mut response = service.call(request).await?;
            drop(interim);
            if last {
                response
                    .headers_mut()
                    .insert(header::CONNECTION, HeaderValue::from_static("close"));
            }
            entered.answered();
            let drain = streams::drain();
            drain.begin();
            let answer = Arc::new(Answer { drain, _entered: entered, _seat: seat });
            Ok(response.map(|body| Paced { body, answer }))
        }
    }
}

impl<S: Clone> Clone for PerRequest<S> {
    fn clone(&self) -> Self {
        Self { service: self.service.clone(), guest: self.guest.clone() }
    }
}

impl<S, B> Service<Request<RecvBody>> for PerRequest<S>
where
    S: Service<Request<server::Body>, Response = Response<B>, Error = Infallible>
        + Clone
        + Send
        + 'static,
    S::Future: Send + 'static,
    B: Send + 'static,
{
    type Response = Response<Paced<B>>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Paced<B>>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        // The clone that is called is asked.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<RecvBody>) -> Self::Future {
        Box::pin(self.answer(request))
    }
}

/// Copies the head of a request, which else keeps the buffer that it was read into.
///
/// A slow body would take a buffer more: one for its head, and one to go on with.
fn keep_apart<B>(request: &mut Request<B>) {
    let total = request.headers().values().map(HeaderValue::len).sum();
    let mut bytes = BytesMut::with_capacity(total);
    for value in request.headers_mut().values_mut() {
        bytes.extend_from_slice(value.as_bytes());
        // What was a value is one.
        if let Ok(mut copy) = HeaderValue::from_maybe_shared(bytes.split().freeze()) {
            copy.set_sensitive(value.is_sensitive());
            *value = copy;
        }
    }
    if let Ok(copy) = Uri::from_maybe_shared(request.uri().to_string()) {
        *request.uri_mut() = copy;
    }
}

/// An answer that is not with the peer to the last byte.
#[derive(Debug)]
struct Answer {
    drain: Arc<Drain>,
    _entered: Entered,
    _seat: Seat,
}

pin_project! {
    /// A response body that gives its next piece only when the last one has left.
    ///
    /// However slow the peer is, one piece is all that waits for it here; and its request is in
    /// flight for as long.
    #[derive(Debug)]
    pub(super) struct Paced<B> {
        #[pin]
        body: B,
        answer: Arc<Answer>,
    }
}

impl<B: Body> Body for Paced<B>
where
    B::Data: Buf,
{
    type Data = Piece<B::Data>;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Piece<B::Data>>, B::Error>>> {
        let this = self.project();
        let drain = &this.answer.drain;
        ready!(drain.poll_empty(cx));
        drain.rest();
        let frame = ready!(this.body.poll_frame(cx));
        drain.begin();
        Poll::Ready(frame.map(|frame| {
            let piece = |data| {
                drain.give();
                Piece { data, answer: this.answer.clone() }
            };
            frame.map(|frame| frame.map_data(piece))
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.answer.drain.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Bytes of an answer; the next ones are had when these are dropped.
#[derive(Debug)]
pub(super) struct Piece<D> {
    data: D,
    answer: Arc<Answer>,
}

impl<D: Buf> Buf for Piece<D> {
    fn remaining(&self) -> usize {
        self.data.remaining()
    }

    fn chunk(&self) -> &[u8] {
        self.data.chunk()
    }

    fn chunks_vectored<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        self.data.chunks_vectored(slices)
    }

    fn advance(&mut self, count: usize) {
        self.data.advance(count);
        self.answer.drain.took(count);
    }

    fn copy_to_bytes(&mut self, length: usize) -> Bytes {
        self.answer.drain.took(length);
        self.data.copy_to_bytes(length)
    }
}

impl<D> Drop for Piece<D> {
    fn drop(&mut self) {
        self.answer.drain.gone();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_that_is_kept_apart_says_what_it_said() {
        let buffer = Bytes::from_static(b"/files/a%20b?c=d Bearer x one two \xff");
        let value = |range| HeaderValue::from_maybe_shared(buffer.slice(range)).unwrap();
        let mut request = Request::new(());
        *request.uri_mut() = Uri::from_maybe_shared(buffer.slice(..16)).unwrap();
        let headers = request.headers_mut();
        let mut secret = value(17..25);
        secret.set_sensitive(true);
        headers.insert("authorization", secret);
        headers.append("x", value(26..29));
        headers.append("x", value(30..33));
        headers.append("y", value(34..35));
        headers.append("z", value(0..0));
        let (uri, before) = (request.uri().clone(), request.headers().clone());
        keep_apart(&mut request);
        assert_eq!((request.uri(), request.headers()), (&uri, &before));
        assert!(request.headers()["authorization"].is_sensitive());
        assert!(!request.headers()["y"].is_sensitive());
        let buffer = buffer.as_ptr_range();
        for value in request.headers().values().filter(|value| !value.is_empty()) {
            assert!(!buffer.contains(&value.as_bytes().as_ptr()), "{value:?}");
        }
        assert!(!buffer.contains(&request.uri().path().as_ptr()));
    }
}
