use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Frame, SizeHint};

use crate::store::{ChunkReader, StoreError};

/// The body of a response: nothing, a short text, or the bytes of an upload.
pub struct Body(Kind);

enum Kind {
    /// The answer to a HEAD: no body, of which nothing is said. A length of zero would be that of
    /// what a GET sends (RFC 9110, section 8.6).
    Unsaid,
    Full(Option<Bytes>),
    Download {
        left: u64,
        state: State,
    },
}

type Next = (Box<dyn ChunkReader>, Result<Option<Bytes>, StoreError>);

enum State {
    Idle(Box<dyn ChunkReader>),
    Reading(Pin<Box<dyn Future<Output = Next> + Send>>),
    Done,
}

impl Body {
    /// Nothing.
    pub fn empty() -> Self {
        Self(Kind::Full(None))
    }

    pub(crate) fn unsaid() -> Self {
        Self(Kind::Unsaid)
    }

    pub(crate) fn full(bytes: Bytes) -> Self {
        Self(Kind::Full(Some(bytes).filter(|bytes| !bytes.is_empty())))
    }

    /// Exactly `length` bytes of a reader.
    pub(crate) fn download(reader: Box<dyn ChunkReader>, length: u64) -> Self {
        Self(Kind::Download { left: length, state: State::Idle(reader) })
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = StoreError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, StoreError>>> {
        let (left, state) = match &mut self.0 {
            Kind::Unsaid => return Poll::Ready(None),
            Kind::Full(bytes) => return Poll::Ready(bytes.take().map(|b| Ok(Frame::data(b)))),
            Kind::Download { left: 0, .. } => return Poll::Ready(None),
            Kind::Download { left, state } => (left, state),
        };
        if let State::Idle(_) = state
            && let State::Idle(mut reader) = std::mem::replace(state, State::Done)
        {
            *state = State::Reading(Box::pin(async move {
                let next = reader.next().await;
                (reader, next)
            }));
        }
        let State::Reading(reading) = state else {
            return Poll::Ready(None);
        };
        let (reader, next) = std::task::ready!(reading.as_mut().poll(cx));
        *state = State::Done;
        match next {
            Ok(Some(mut bytes)) => {
                bytes.truncate(usize::try_from(*left).unwrap_or(usize::MAX));
                *left -= bytes.len() as u64;
                *state = State::Idle(reader);
                Poll::Ready(Some(Ok(Frame::data(bytes))))
            }
            // The connection must break: the client was told how many bytes come.
            Ok(None) => Poll::Ready(Some(Err(StoreError::new(
                crate::store::StoreErrorKind::Corrupt,
                "the stored bytes end before the length that was told",
            )))),
            Err(error) => Poll::Ready(Some(Err(error))),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Kind::Unsaid => true,
            Kind::Full(bytes) => bytes.is_none(),
            Kind::Download { left, .. } => *left == 0,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Kind::Unsaid => SizeHint::default(),
            Kind::Full(bytes) => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
            }
            Kind::Download { left, .. } => SizeHint::with_exact(*left),
        }
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Body({:?})", http_body::Body::size_hint(self).exact())
    }
}
