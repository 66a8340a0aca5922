//! The body of a request, as a framework would hand it on.

use std::{
    collections::VecDeque,
    future::Future as _,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use tokio::time::{Sleep, sleep};

/// What a body brings, and how it ends.
#[derive(Debug, Default)]
pub(super) struct Script {
    pub(super) bytes: Vec<u8>,
    /// After how many bytes the client pauses, and for how long.
    pub(super) pauses: Vec<(usize, Duration)>,
    /// The `Content-Length`; `None` for a chunked body.
    pub(super) announced: Option<u64>,
    pub(super) trailers: Vec<(String, String)>,
    pub(super) ending: Ending,
}

/// How a body ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Ending {
    /// With its last byte, or its trailers.
    #[default]
    Clean,
    /// With an error: the connection broke.
    Break,
    /// Without one, but too early, as some frameworks show a connection that broke.
    Cut,
    /// Not at all: nothing more comes.
    Stall,
}

/// What a body does next.
#[derive(Debug)]
enum Move {
    Send(Bytes),
    Pause(Duration),
}

/// A body that follows a script.
#[derive(Debug)]
pub(super) struct ScriptedBody {
    moves: VecDeque<Move>,
    pause: Option<Pin<Box<Sleep>>>,
    left: Option<u64>,
    trailers: Option<HeaderMap>,
    ending: Ending,
    ended: bool,
}

impl ScriptedBody {
    /// A body whose frames have so many bytes at most.
    pub(super) fn new(script: &Script, trailers: HeaderMap, frame: usize) -> Self {
        let mut moves = VecDeque::new();
        let send = |bytes: &[u8], moves: &mut VecDeque<Move>| {
            moves.extend(bytes.chunks(frame).map(Bytes::copy_from_slice).map(Move::Send));
        };
        let mut from = 0;
        for (to, pause) in &script.pauses {
            send(script.bytes.get(from..*to).unwrap_or_default(), &mut moves);
            moves.push_back(Move::Pause(*pause));
            from = *to;
        }
        send(script.bytes.get(from..).unwrap_or_default(), &mut moves);
        Self {
            moves,
            pause: None,
            left: script.announced,
            trailers: Some(trailers).filter(|trailers| !trailers.is_empty()),
            ending: script.ending,
            ended: false,
        }
    }
}

impl Body for ScriptedBody {
    type Data = Bytes;
    type Error = &'static str;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, &'static str>>> {
        loop {
            if let Some(pause) = &mut self.pause {
                std::task::ready!(pause.as_mut().poll(cx));
                self.pause = None;
            }
            match self.moves.pop_front() {
                Some(Move::Send(bytes)) => {
                    self.left = self.left.map(|left| left.saturating_sub(bytes.len() as u64));
                    return Poll::Ready(Some(Ok(Frame::data(bytes))));
                }
                Some(Move::Pause(length)) => self.pause = Some(Box::pin(sleep(length))),
                None => break,
            }
        }
        if let Some(trailers) = self.trailers.take() {
            return Poll::Ready(Some(Ok(Frame::trailers(trailers))));
        }
        // Nobody wakes a body that stalls: only the server's own timers go on.
        if self.ending == Ending::Stall {
            return Poll::Pending;
        }
        let first = !std::mem::replace(&mut self.ended, true);
        let broken = first && self.ending == Ending::Break;
        Poll::Ready(broken.then_some(Err("the connection broke")))
    }

    fn is_end_stream(&self) -> bool {
        self.ended || self.left == Some(0)
    }

    fn size_hint(&self) -> SizeHint {
        self.left.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}
