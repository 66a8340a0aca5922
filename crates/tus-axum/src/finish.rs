use std::{convert::Infallible, future::Future, pin::Pin};

use axum::{body::Body, extract::Request, response::Response};
use tower_service::Service;
use tus_core::{Finished, HookError, Reply};

/// Lets an ordinary handler be told of each upload that is complete.
///
/// For [`TusBuilder::on_finish`](tus_core::TusBuilder::on_finish). The handler, or a whole router,
/// gets [`Finished::request`], and its answer becomes the client's by [`Reply::of`]. It may be asked
/// again about the same upload; `Extension<tus_core::Resumed>` tells by an event id.
///
/// ```
/// use axum::{body::Bytes, http::HeaderMap, routing::post};
/// use tus_core::{MemoryStore, Tus};
///
/// async fn photo(headers: HeaderMap, photo: Bytes) -> String {
///     format!("{} bytes of {:?}", photo.len(), headers["content-type"])
/// }
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let tus = Tus::builder()
///     .store(MemoryStore::default())
///     .on_finish(tus_axum::on_finish(post(photo)))
///     .build()
///     .unwrap();
/// # }
/// ```
pub fn on_finish<S>(
    handler: S,
) -> impl Fn(Finished) -> Pin<Box<dyn Future<Output = Result<Reply, HookError>> + Send>>
+ Send
+ Sync
+ 'static
where
    S: Service<Request, Response = Response, Error = Infallible> + Clone + Send + Sync + 'static,
    S::Future: Send,
{
    move |finished| {
        let mut handler = handler.clone();
        Box::pin(async move {
            let request = finished.request().await?.map(Body::new);
            std::future::poll_fn(|cx| handler.poll_ready(cx)).await?;
            let response = handler.call(request).await?;
            Reply::of(response).await
        })
    }
}
