use std::{future::Future, io, pin::Pin, rc::Rc, thread};

use actix_http::HttpMessage as _;
use actix_service::{IntoServiceFactory as _, Service as _, ServiceFactory as _};
use actix_web::{
    App,
    dev::{AppConfig, Payload},
    http::Method,
    rt::System,
    web::ServiceConfig,
};
use http::Request;
use tokio::sync::{mpsc, oneshot};
use tus_core::{Body, Finished, HookError, Reply};

use crate::bridge::{self, Stored, answer};

/// An upload to be told of, and where the answer goes.
type Told = (Request<Body>, oneshot::Sender<Result<Reply, HookError>>);

/// How many may wait for the handlers' thread.
const WAITING: usize = 64;

/// Lets an ordinary handler be told of each upload that is complete.
///
/// For [`TusBuilder::on_finish`](tus_core::TusBuilder::on_finish). The route `POST /` of the
/// application that `configure` makes gets [`Finished::request`], and its answer becomes the
/// client's by [`Reply::of`]. It may be asked again about the same upload; `ReqData<Resumed>`
/// ([`tus_core::Resumed`]) tells by an event id.
///
/// Handlers of actix-web stay on one thread, and uploads may be completed on any: these run on a
/// thread of their own, as many at once as there are uploads.
///
/// ```
/// use actix_web::web;
/// use tus_core::{MemoryStore, Tus};
///
/// # #[actix_web::main] async fn main() {
/// let tus = Tus::builder()
///     .store(MemoryStore::default())
///     .on_finish(tus_actix::on_finish(|app| {
///         app.route("/", web::post().to(async |it: web::Bytes| format!("{} bytes", it.len())));
///     }))
///     .build()
///     .unwrap();
/// # }
/// ```
///
/// # Panics
///
/// If the system gives no thread.
#[expect(clippy::expect_used, reason = "documented: said at start, never at a request")]
pub fn on_finish(
    configure: impl FnOnce(&mut ServiceConfig) + Send + 'static,
) -> impl Fn(Finished) -> Pin<Box<dyn Future<Output = Result<Reply, HookError>> + Send>>
+ Send
+ Sync
+ 'static {
    let (tell, told) = mpsc::channel(WAITING);
    let run = || System::new().block_on(serve(configure, told));
    thread::Builder::new().name("tus-on-finish".to_owned()).spawn(run).expect("a thread");
    move |finished| {
        let tell = tell.clone();
        Box::pin(async move {
            let request = finished.request().await?;
            let (answer, answered) = oneshot::channel();
            let gone = |_| io::Error::other("the thread of on_finish has ended");
            tell.send((request, answer)).await.map_err(gone)?;
            answered.await?
        })
    }
}

/// Answers until nobody is left who could ask.
async fn serve(configure: impl FnOnce(&mut ServiceConfig), mut told: mpsc::Receiver<Told>) {
    let app = App::new().configure(configure);
    let Ok(service) = app.into_factory().new_service(AppConfig::default()).await else {
        tracing::error!("the application of on_finish cannot be made");
        return;
    };
    let service = Rc::new(service);
    while let Some((request, answered)) = told.recv().await {
        let service = service.clone();
        actix_web::rt::spawn(async move {
            let said = match service.call(converted(request)).await {
                Ok(response) => response.map_into_boxed_body().into_parts().1,
                Err(error) => error.error_response(),
            };
            // Whoever asked may have waited too long; it will ask again.
            let _told = answered.send(Reply::of(answer(said)).await);
        });
    }
}

/// The request as actix-web wants it.
fn converted(request: Request<Body>) -> actix_http::Request {
    let (parts, body) = request.into_parts();
    let payload: Payload = Payload::Stream { payload: Box::pin(Stored::new(body)) };
    let mut converted = actix_http::Request::with_payload(payload);
    let head = converted.head_mut();
    head.method = Method::POST;
    bridge::copy_headers(&parts.headers, &mut head.headers);
    if let Some(resumed) = parts.extensions.get::<tus_core::Resumed>() {
        converted.extensions_mut().insert(resumed.clone());
    }
    converted
}
