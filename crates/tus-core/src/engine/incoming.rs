use std::{fmt, future::poll_fn, pin::Pin, time::Duration};

use bytes::Bytes;
use http::HeaderMap;
use http_body::Body;

use crate::wire::BodyShape;

/// The body of a request, and whether it has ended.
pub(super) struct Incoming<'b, B> {
    body: Pin<&'b mut B>,
    /// The client waits for a 100 before it sends; asking for a frame sends it.
    expects: bool,
    polled: bool,
    ended: bool,
}

/// A piece of a body.
pub(super) enum Frame {
    /// Bytes.
    Data(Bytes),
    /// What follows the bytes.
    Trailers(HeaderMap),
}

impl<'b, B> Incoming<'b, B>
where
    B: Body<Data = Bytes>,
    B::Error: fmt::Display,
{
    /// The most bytes of a refused body that are read and thrown away.
    const DISCARD_BYTES: usize = 1024 * 1024;
    /// The longest that is waited for them.
    const DISCARD_TIME: Duration = Duration::from_secs(1);

    pub(super) fn new(body: Pin<&'b mut B>, expects: bool) -> Self {
        let ended = body.is_end_stream();
        Self { body, expects, polled: false, ended }
    }

    /// What is known before it is read.
    pub(super) fn shape(&self) -> BodyShape {
        let length = self.body.size_hint().exact();
        let empty = self.body.is_end_stream() || length == Some(0);
        BodyShape { empty, length: if empty { Some(0) } else { length } }
    }

    /// Whether nothing more will come.
    pub(super) fn ended(&self) -> bool {
        self.ended || self.shape().empty
    }

    /// The next piece; `None` at the end. Can be dropped and called again without loss.
    pub(super) async fn frame(&mut self) -> Option<Result<Frame, String>> {
        self.polled = true;
        loop {
            if self.ended {
                return None;
            }
            let polled = poll_fn(|cx| self.body.as_mut().poll_frame(cx)).await;
            let Some(result) = polled else {
                self.ended = true;
                return None;
            };
            let frame = match result {
                Ok(frame) => frame,
                Err(error) => {
                    self.ended = true;
                    return Some(Err(error.to_string()));
                }
            };
            match frame.into_data() {
                Ok(data) => return Some(Ok(Frame::Data(data))),
                Err(frame) => {
                    if let Ok(trailers) = frame.into_trailers() {
                        return Some(Ok(Frame::Trailers(trailers)));
                    }
                }
            }
        }
    }

    /// Reads on and throws away, within bounds, so that the client gets to read its answer.
    pub(super) async fn discard(&mut self) {
        if self.expects && !self.polled {
            return;
        }
        let read = async {
            let mut left = Self::DISCARD_BYTES;
            while let Some(Ok(frame)) = self.frame().await {
                let Frame::Data(data) = frame else { continue };
                let Some(rest) = left.checked_sub(data.len()) else {
                    break;
                };
                left = rest;
            }
        };
        // Whether it ended in time shows in `ended`, which decides about the connection.
        let _elapsed = tokio::time::timeout(Self::DISCARD_TIME, read).await;
    }
}
