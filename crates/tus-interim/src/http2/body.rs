use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use h2::RecvStream;
use http::{HeaderMap, Method, header, request};
use http_body::{Body, Frame, SizeHint};

use super::Data;

/// The body of a request of HTTP/2.
///
/// A stream that its peer resets, with whatever code, ends in an error: a body is whole only if
/// its peer has said so.
#[derive(Debug)]
pub struct RecvBody {
    stream: RecvStream,
    /// What `Content-Length` says is still to come.
    left: Option<u64>,
    stage: Stage,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Data,
    Trailers,
    Ended,
}

impl RecvBody {
    pub(super) fn new(stream: RecvStream, head: &request::Parts) -> Self {
        // What comes after a CONNECT is no body.
        let ended = stream.is_end_stream() || head.method == Method::CONNECT;
        let left = if ended { Some(0) } else { content_length(&head.headers) };
        Self { stream, left, stage: if ended { Stage::Ended } else { Stage::Data } }
    }
}

/// The length that a head tells; h2 holds the body to it.
fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

impl Body for RecvBody {
    type Data = Data;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Data>>>> {
        let this = &mut *self;
        if this.stage == Stage::Data {
            match ready!(this.stream.poll_data(cx)) {
                Some(Ok(data)) => {
                    // The peer may send as much again. It fails where there is no window any more.
                    let _closed = this.stream.flow_control().release_capacity(data.len());
                    this.left = this.left.map(|left| left.saturating_sub(data.len() as u64));
                    return Poll::Ready(Some(Ok(Frame::data(data))));
                }
                Some(Err(error)) => return Poll::Ready(Some(Err(this.fail(error)))),
                None => this.stage = Stage::Trailers,
            }
        }
        if this.stage == Stage::Trailers {
            match ready!(this.stream.poll_trailers(cx)) {
                Ok(trailers) => {
                    this.stage = Stage::Ended;
                    return Poll::Ready(trailers.map(|trailers| Ok(Frame::trailers(trailers))));
                }
                Err(error) => return Poll::Ready(Some(Err(this.fail(error)))),
            }
        }
        Poll::Ready(None)
    }

    fn is_end_stream(&self) -> bool {
        self.stage == Stage::Ended || self.stream.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.left.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

impl RecvBody {
    fn fail(&mut self, error: h2::Error) -> io::Error {
        self.stage = Stage::Ended;
        if error.is_io() {
            return error.into_io().unwrap_or_else(|| io::ErrorKind::ConnectionAborted.into());
        }
        io::Error::new(io::ErrorKind::ConnectionReset, error)
    }
}
