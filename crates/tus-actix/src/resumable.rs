use std::{
    cell::RefCell,
    fmt,
    future::{Future, Ready, ready},
    pin::Pin,
    rc::Rc,
};

use actix_web::{
    Error, HttpRequest, HttpResponse,
    body::{BoxBody, MessageBody},
    dev::{Payload, Service, ServiceRequest, ServiceResponse, Transform, forward_ready},
    error::InternalError,
    http::{Method as ActixMethod, StatusCode as ActixStatus, Uri as ActixUri},
};
use http::{Extensions, HeaderMap, Method, Request, Response, StatusCode};
use tracing::Instrument as _;
use tus_core::{Arrival, Body, Interim, Tus, store::Blocking};

use crate::bridge::{self, AnswerBody, Stored, answer};

/// Where the uploads of [`Resumable`] live.
pub const DEFAULT_MOUNT: &str = "/resumable-uploads";

/// Makes every route of an application resumable (the IETF's *Resumable Uploads for HTTP*).
///
/// A request whose client invites it to is received by a [`Tus`]; when all of its bytes are there,
/// in this request or a later one, the application's own handler runs and answers, with extractors
/// and all. Every other request goes to the application as it came. [`Tus::resume`] says what the
/// handler is given, and when it is asked again; that it is an upload's, it can see in
/// [`Resumed`](tus_core::Resumed), which is among the request's extensions.
///
/// ```
/// use actix_web::{App, web};
/// use tus_core::{MemoryStore, Tus};
///
/// # #[actix_web::main] async fn main() {
/// let tus = Tus::new(MemoryStore::default());
/// let app = App::new()
///     .wrap(tus_actix::Resumable::new(tus))
///     .route("/photos", web::post().to(async |photo: web::Bytes| format!("{} bytes", photo.len())));
/// # }
/// ```
///
/// Wrap the whole application, so that it sees a request before a route is looked for. actix-web's
/// limits on payloads hold for what the handler reads into memory, as ever. Set
/// [`Policy::expiry`](tus_core::Policy::expiry), so that what nobody completes does not stay.
#[derive(Clone)]
pub struct Resumable {
    tus: Tus,
    mount: Rc<str>,
    context: Attach,
}

/// What hands to the hooks what the application knows of a request.
type Attach = Rc<dyn Fn(&HttpRequest, &mut Extensions)>;

impl Resumable {
    /// Resumable routes, with the uploads below [`DEFAULT_MOUNT`].
    pub fn new(tus: Tus) -> Self {
        Self { tus, mount: DEFAULT_MOUNT.into(), context: Rc::new(|_, _| {}) }
    }

    /// Puts the uploads below a path of your own, which no route should have.
    ///
    /// # Panics
    ///
    /// If the path does not begin with `/` and go on after it.
    #[must_use]
    pub fn mount(mut self, mount: &str) -> Self {
        let mount = mount.trim_end_matches('/');
        assert!(mount.starts_with('/'), "{mount:?} is no path below which uploads can live");
        self.mount = mount.into();
        self
    }

    /// Hands what the application knows of a request to the hooks, as
    /// [`scope_with`](crate::scope_with) does.
    #[must_use]
    pub fn context(mut self, context: impl Fn(&HttpRequest, &mut Extensions) + 'static) -> Self {
        self.context = Rc::new(context);
        self
    }
}

impl fmt::Debug for Resumable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resumable").field("mount", &self.mount).finish_non_exhaustive()
    }
}

impl<S, B> Transform<S, ServiceRequest> for Resumable
where
    S: Service<ServiceRequest, Response = ServiceResponse<B>, Error = Error> + 'static,
    B: MessageBody + 'static,
{
    type Response = ServiceResponse<BoxBody>;
    type Error = Error;
    type Transform = Resuming<S>;
    type InitError = ();
    type Future = Ready<Result<Resuming<S>, ()>>;

    fn new_transform(&self, service: S) -> Self::Future {
        ready(Ok(Resuming { service: Rc::new(service), how: self.clone() }))
    }
}

/// An application, and who receives its uploads; made by [`Resumable`].
pub struct Resuming<S> {
    service: Rc<S>,
    how: Resumable,
}

impl<S> fmt::Debug for Resuming<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resuming").field("how", &self.how).finish_non_exhaustive()
    }
}

impl<S, B> Service<ServiceRequest> for Resuming<S>
where
    S: Service<ServiceRequest, Response = ServiceResponse<B>, Error = Error> + 'static,
    B: MessageBody + 'static,
{
    type Response = ServiceResponse<BoxBody>;
    type Error = Error;
    type Future = Pin<Box<dyn Future<Output = Result<ServiceResponse<BoxBody>, Error>>>>;

    forward_ready!(service);

    fn call(&self, request: ServiceRequest) -> Self::Future {
        let (service, how) = (self.service.clone(), self.how.clone());
        Box::pin(async move {
            let Some(headers) = bridge::headers(request.headers()) else {
                return Ok(request.into_response(HttpResponse::BadRequest().finish()));
            };
            let Ok(method) = Method::from_bytes(request.method().as_str().as_bytes()) else {
                return Ok(request.into_response(HttpResponse::BadRequest().finish()));
            };
            match how.tus.arrival(&method, request.path(), &headers, &how.mount) {
                Some(arrival) => resume(service, how, arrival, request).await,
                None => pass(&*service, &how.tus, request).await,
            }
        })
    }
}

/// Leaves a request to the application, and tells with it what its resources can do.
async fn pass<S, B>(
    service: &S,
    tus: &Tus,
    request: ServiceRequest,
) -> Result<ServiceResponse<BoxBody>, Error>
where
    S: Service<ServiceRequest, Response = ServiceResponse<B>, Error = Error>,
    B: MessageBody + 'static,
{
    let discovers = *request.method() == ActixMethod::OPTIONS;
    let mut response = service.call(request).await?.map_into_boxed_body();
    if !discovers || response.status() == ActixStatus::NOT_FOUND {
        return Ok(response);
    }
    if response.status() == ActixStatus::METHOD_NOT_ALLOWED {
        // A route without a handler for OPTIONS: `Allow` is the answer to it.
        *response.response_mut().status_mut() = ActixStatus::NO_CONTENT;
        response = response.map_body(|_, _| BoxBody::new(()));
    }
    let mut more = HeaderMap::new();
    tus.advertise(&mut more);
    bridge::copy_headers(&more, response.headers_mut());
    Ok(response)
}

/// The request that began an exchange, or what the application gave back of it.
#[derive(Default)]
struct Slot {
    asked: Option<ServiceRequest>,
    answered: Option<HttpRequest>,
}

/// Receives a request, in a task that outlives a client who leaves, its handler included.
async fn resume<S, B>(
    service: Rc<S>,
    how: Resumable,
    arrival: Arrival,
    mut request: ServiceRequest,
) -> Result<ServiceResponse<BoxBody>, Error>
where
    S: Service<ServiceRequest, Response = ServiceResponse<B>, Error = Error> + 'static,
    B: MessageBody + 'static,
{
    let peer = request.peer_addr().map(|peer| peer.ip());
    let (head, payload) = request.parts_mut();
    let payload = std::mem::replace(payload, Payload::None);
    let Some(mut converted) = bridge::request(head, payload) else {
        return Ok(request.into_response(HttpResponse::BadRequest().finish()));
    };
    let version = converted.version();
    converted.body_mut().settle(version).await;
    let kept = converted.body().keep();
    (how.context)(request.request(), converted.extensions_mut());
    let _guard = converted.extensions().get::<Interim>().map(Interim::guard);
    // A worker of actix-web must never block: other connections live on the same thread.
    let arrival = arrival.with_peer(peer).with_blocking(Blocking::Offload);
    let slot = Rc::new(RefCell::new(Slot { asked: Some(request), answered: None }));
    let handler = {
        let slot = slot.clone();
        move |whole| ask(service, slot, whole)
    };
    let exchange = async move { how.tus.resume(converted, arrival, handler).await };
    let exchange = actix_web::rt::spawn(exchange.instrument(tracing::Span::current())).await;
    let response = match exchange {
        Ok(response) => bridge::response(response, kept),
        Err(error) => {
            tracing::error!(%error, "an exchange panicked");
            HttpResponse::InternalServerError().finish()
        }
    };
    let Slot { asked, answered } = slot.take();
    match (asked, answered) {
        (Some(request), _) => Ok(request.into_response(response)),
        (None, Some(request)) => Ok(ServiceResponse::new(request, response)),
        // A middleware of the application failed and gave nothing back.
        (None, None) => Err(InternalError::from_response("no answer", response).into()),
    }
}

/// Has the application answer.
async fn ask<S, B>(
    service: Rc<S>,
    slot: Rc<RefCell<Slot>>,
    whole: Request<Body>,
) -> Response<AnswerBody>
where
    S: Service<ServiceRequest, Response = ServiceResponse<B>, Error = Error>,
    B: MessageBody + 'static,
{
    let asked = slot.borrow_mut().asked.take();
    let Some(request) = asked.and_then(|request| revived(request, whole)) else {
        // A head that came in through actix-web goes out as one; and the slot was filled.
        let mut response = Response::new(AnswerBody::empty());
        *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
        return response;
    };
    match service.call(request).await {
        Ok(response) => {
            let (request, response) = response.into_parts();
            slot.borrow_mut().answered = Some(request);
            answer(response.map_into_boxed_body())
        }
        Err(error) => answer(error.error_response()),
    }
}

/// The request that the application gets: that which ended the upload, about the one that began it.
fn revived(mut request: ServiceRequest, whole: Request<Body>) -> Option<ServiceRequest> {
    let (parts, body) = whole.into_parts();
    let uri: ActixUri = parts.uri.to_string().parse().ok()?;
    request.match_info_mut().get_mut().update(&uri);
    let head = request.head_mut();
    head.method = ActixMethod::from_bytes(parts.method.as_str().as_bytes()).ok()?;
    head.uri = uri;
    head.headers.clear();
    bridge::copy_headers(&parts.headers, &mut head.headers);
    if let Some(resumed) = parts.extensions.get::<tus_core::Resumed>() {
        use actix_web::HttpMessage as _;
        request.extensions_mut().insert(resumed.clone());
    }
    request.set_payload(Payload::Stream { payload: Box::pin(Stored::new(body)) });
    Some(request)
}
