use std::{fmt, future::Future, sync::Arc};

use bytes::Bytes;
use http::{Method, request};

use super::{
    Body, Inner, append, create, incoming::Incoming, inspect, interim::Line, read,
    session::Session, terminate, transfers::Transfer,
};
use crate::{
    hooks::{Action, HookError, Hooks as _, Intent, RequestContext},
    model::{Command, Outcome, Refusal, RequestId, Upload, UploadId},
    store::{Blocking, StoreError, StoreErrorKind},
    wire::{Dialect, Interop, Mount, Offer, Understood},
};

/// One request on its way through the engine.
pub(super) struct Exchange<'t> {
    pub(super) tus: &'t Arc<Inner>,
    pub(super) request: RequestContext,
    pub(super) mount: Mount,
    pub(super) blocking: Blocking,
    pub(super) offer: Offer,
    pub(super) dialect: Dialect,
    pub(super) interim: Line,
}

/// How far the engine comes with a request by itself.
#[expect(clippy::large_enum_variant, reason = "there is one for a request, taken apart at once")]
pub(super) enum Done<'t> {
    /// To what its client is told.
    Told(Outcome),
    /// To all bytes of an upload that the application is to process, under its lease.
    Whole(Box<Session<'t>>),
}

impl<'t> Done<'t> {
    /// What came of a request under this lease, which is let go of unless the application is to go
    /// on with it (`None`).
    pub(super) async fn of(
        session: Session<'t>,
        outcome: Result<Option<Outcome>, Refusal>,
    ) -> Result<Self, Refusal> {
        match outcome {
            Ok(None) => Ok(Self::Whole(Box::new(session))),
            Ok(Some(outcome)) => {
                session.release().await;
                Ok(Self::Told(outcome))
            }
            Err(refusal) => {
                session.release().await;
                Err(refusal)
            }
        }
    }
}

/// What came in.
pub(super) struct Arrived {
    pub(super) dialect: Dialect,
    pub(super) id: RequestId,
    pub(super) parts: request::Parts,
    pub(super) method: Method,
    pub(super) mount: Mount,
    pub(super) blocking: Blocking,
}

impl<'t> Exchange<'t> {
    pub(super) fn new(
        tus: &'t Arc<Inner>,
        arrived: Arrived,
        peer: Option<std::net::IpAddr>,
        offer: Offer,
    ) -> Self {
        let Arrived { dialect, id, parts, method, mount, blocking } = arrived;
        let client = mount.client();
        let interim = Line::of(&parts, dialect, &tus.policy);
        let request = RequestContext::new(id, method, parts, peer, client);
        Self { tus, request, mount, blocking, offer, dialect, interim }
    }

    /// Does what the request asks for.
    pub(super) async fn run<B>(
        &self,
        understood: Understood,
        body: &mut Incoming<'_, B>,
    ) -> (Result<Done<'t>, Refusal>, Option<Body>)
    where
        B: http_body::Body<Data = Bytes>,
        B::Error: fmt::Display,
    {
        let outcome = match (understood.command, understood.id) {
            (Command::Discover, _) => Ok(Outcome::Discovered(self.offer.discovery.clone())),
            (Command::Create(create), _) => {
                return (create::create(self, create, body).await, None);
            }
            (Command::Inspect, Some(id)) => inspect::inspect(self, &id, true).await,
            (Command::Append(append), Some(id)) => {
                return (append::append(self, &id, append, body).await, None);
            }
            (Command::Terminate, Some(id)) => terminate::terminate(self, &id).await,
            (Command::Read(command), Some(id)) => {
                return match read::read(self, &id, &command).await {
                    Ok((outcome, body)) => (Ok(Done::Told(outcome)), body),
                    Err(refusal) => (Err(refusal), None),
                };
            }
            (Command::ReadOrInspect(command), Some(id)) => {
                match read::read_complete(self, &id, &command).await {
                    Ok(Some((outcome, body))) => return (Ok(Done::Told(outcome)), body),
                    // Somebody may only be looking whether it is there: a GET without any mark
                    // of the protocol ends nobody's transfer.
                    Ok(None) => {
                        let marked = self.dialect != Dialect::Rufh(Interop::Final);
                        inspect::inspect(self, &id, marked).await
                    }
                    Err(refusal) => Err(refusal),
                }
            }
            (_, None) => Err(Refusal::NotFound),
        };
        (outcome.map(Done::Told), None)
    }

    /// The record of an upload, without a lease: enough to authorize and to refuse from the head.
    pub(super) async fn peek(&self, id: &UploadId) -> Result<Arc<Upload>, Refusal> {
        let loaded = self.tus.meta.load(id).await;
        let (upload, _) = loaded.map_err(|error| refuse(&error, "load", id))?;
        match &upload.origin {
            Some(origin) if origin.mount != self.mount.path() => Err(Refusal::NotFound),
            _ => Ok(Arc::new(upload)),
        }
    }

    /// Lets this request bring bytes, if there are not too many already.
    pub(super) fn transfer(&self, id: Option<&UploadId>) -> Result<Transfer, Refusal> {
        let policy = &self.tus.policy;
        let address = self.request.client();
        // A proxy that does not say for whom it asks, asks for everybody.
        let proxies = &policy.trusted_proxies;
        let address = address.filter(|_| !proxies.iter().any(|proxy| proxy.covers(address)));
        self.tus.transfers.enter(id, address, policy)
    }

    /// Asks the application whether this request may do this.
    pub(super) async fn authorize(
        &self,
        action: Action,
        upload: Option<&Arc<Upload>>,
    ) -> Result<(), Refusal> {
        let intent = Intent::new(action, upload.cloned());
        let asked = self.tus.hooks.authorize(self.request.clone(), intent);
        self.tus.hook("authorize", asked).await
    }
}

impl Inner {
    /// Runs a hook within its time; one that fails or panics is the server's fault, not a no.
    pub(super) async fn hook<T>(
        &self,
        name: &'static str,
        call: impl Future<Output = Result<T, HookError>>,
    ) -> Result<T, Refusal> {
        match self.guarded(name, call).await {
            Some(Ok(value)) => Ok(value),
            Some(Err(HookError::Reject(rejection))) => Err(rejection.into()),
            Some(Err(HookError::Failed(error))) => {
                tracing::error!(hook = name, %error, "hook failed");
                Err(Refusal::Unavailable { retry_after: std::time::Duration::from_secs(1) })
            }
            None => Err(Refusal::Unavailable { retry_after: std::time::Duration::from_secs(1) }),
        }
    }

    /// Runs a hook within its time, `None` if it panics or takes longer.
    pub(super) async fn guarded<T>(
        &self,
        name: &'static str,
        call: impl Future<Output = T>,
    ) -> Option<T> {
        use futures_util::FutureExt as _;
        let caught = std::panic::AssertUnwindSafe(call).catch_unwind();
        match tokio::time::timeout(self.policy.hook_timeout, caught).await {
            Ok(Ok(value)) => Some(value),
            Ok(Err(_)) => {
                tracing::error!(hook = name, "hook panicked");
                None
            }
            Err(_) => {
                tracing::error!(hook = name, timeout = ?self.policy.hook_timeout, "hook timed out");
                None
            }
        }
    }
}

/// What a client hears of an error about the bytes of an upload whose record is there: that they
/// are gone is the server's loss, not an unknown id.
pub(super) fn refuse_bytes(error: &StoreError, verb: &'static str, id: &UploadId) -> Refusal {
    if error.is_not_found() {
        tracing::error!(upload = %id, verb, %error, "the bytes of an upload are gone");
        return Refusal::Internal;
    }
    refuse(error, verb, id)
}

/// What a client hears of a store's error; the log gets the rest.
pub(super) fn refuse(error: &StoreError, verb: &'static str, id: &UploadId) -> Refusal {
    match error.kind() {
        StoreErrorKind::NotFound => Refusal::NotFound,
        StoreErrorKind::AlreadyExists => Refusal::AlreadyExists,
        StoreErrorKind::Conflict => Refusal::Locked,
        StoreErrorKind::Full => {
            tracing::warn!(upload = %id, verb, %error, "the store is full");
            Refusal::Full
        }
        StoreErrorKind::Unavailable => {
            tracing::warn!(upload = %id, verb, %error, "the store is unavailable");
            Refusal::Unavailable { retry_after: std::time::Duration::from_secs(1) }
        }
        StoreErrorKind::Unsupported | StoreErrorKind::Corrupt | StoreErrorKind::Other => {
            tracing::error!(upload = %id, verb, %error, "the store failed");
            Refusal::Internal
        }
    }
}
