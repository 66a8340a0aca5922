//! What a connection calls for each request, and the count of its requests in flight.

use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use http::{Request, Response};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::service::{HttpService, service_fn};
use pin_project_lite::pin_project;
use tokio::sync::watch;

use super::Peer;

/// Calls a clone of the service for each request, with the peer in its extensions.
pub(super) fn per_request<S, B>(
    service: S,
    peer: Peer,
    in_flight: InFlight,
) -> impl HttpService<Incoming, ResBody = Counted<B>, Error = Infallible, Future: Send> + Send
where
    S: tower_service::Service<Request<Incoming>, Response = Response<B>, Error = Infallible>
        + Clone
        + Send
        + 'static,
    S::Future: Send + 'static,
    B: Body + Send + 'static,
{
    service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(peer);
        let mut service = service.clone();
        let entered = in_flight.enter();
        async move {
            poll_fn(|cx| service.poll_ready(cx)).await?;
            let response = service.call(request).await?;
            Ok(response.map(|body| Counted { body, entered }))
        }
    })
}

/// How many requests of one connection are not answered to the last byte.
#[derive(Clone, Debug)]
pub(super) struct InFlight(watch::Sender<usize>);

impl InFlight {
    /// None yet.
    pub(super) fn new() -> Self {
        Self(watch::Sender::new(0))
    }

    fn enter(&self) -> Entered {
        self.0.send_modify(|count| *count += 1);
        Entered(self.0.clone())
    }

    /// Completes once no request has been in flight for this long.
    pub(super) async fn idle_for(&self, period: Duration) {
        let mut count = self.0.subscribe();
        loop {
            // Neither wait can fail: `self` is a sender.
            let _ = count.wait_for(|count| *count == 0).await;
            if tokio::time::timeout(period, count.changed()).await.is_err() {
                return;
            }
        }
    }
}

/// One request in flight, until dropped.
#[derive(Debug)]
struct Entered(watch::Sender<usize>);

impl Drop for Entered {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count -= 1);
    }
}

pin_project! {
    /// A response body; its request is in flight as long as it lives.
    #[derive(Debug)]
    pub(super) struct Counted<B> {
        #[pin]
        body: B,
        entered: Entered,
    }
}

impl<B: Body> Body for Counted<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        self.project().body.poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
