use std::time::Duration;

use http::{HeaderMap, Version, header, request};
use tokio::time::Instant;

use super::{Inner, later};
use crate::{
    interim::Interim,
    model::{InterimMode, Policy, Upload},
    protocol::limits,
    wire::{self, Dialect, Interop},
};

/// Whether, and how, one request is told of things before its answer (RUFH, section 5).
#[derive(Debug)]
pub(super) struct Line(Option<(Interim, Interop)>);

impl Line {
    /// The line to the client of a request, if there is one and it may be used.
    pub(super) fn of(request: &request::Parts, dialect: Dialect, policy: &Policy) -> Self {
        let Dialect::Rufh(interop) = dialect else { return Self(None) };
        let interim = request.extensions.get::<Interim>();
        let allowed = match policy.interim {
            InterimMode::On => true,
            InterimMode::Off => false,
            InterimMode::Auto => !is_proxied(&request.headers),
        };
        // A server MUST NOT send one to a client that names another version, or none (RUFH,
        // appendix "Draft Version Identification"), nor any 1xx over HTTP/1.0 (RFC 9110, 15.2).
        let understood = interop.number().is_some() && request.version >= Version::HTTP_11;
        Self(interim.filter(|_| allowed && understood).map(|line| (line.clone(), interop)))
    }

    /// Tells the URL of a new upload; returns whether that is on its way.
    pub(super) fn created(&self, upload: &Upload, tus: &Inner) -> bool {
        let Some((interim, interop)) = &self.0 else { return false };
        let told = limits::told(&tus.policy, upload.max_size, upload.expires_at, tus.now());
        let headers = wire::interim::created(&upload.url, &told, *interop);
        interim.send(wire::interim::status(), &headers)
    }

    /// What tells how far the upload is while bytes flow; `None` where nobody is to be told.
    pub(super) fn teller(&self, policy: &Policy) -> Option<Teller> {
        let (interim, interop) = self.0.as_ref()?;
        let wanted = interop.knows_progress() && !policy.interim_every.is_zero();
        let (every, next) = (policy.interim_every, later(Instant::now(), policy.interim_every));
        wanted.then(|| Teller { interim: interim.clone(), interop: *interop, every, next })
    }
}

/// Whether a request came through a proxy, some of which choke on interim responses.
fn is_proxied(headers: &HeaderMap) -> bool {
    let of_proxies = [header::VIA, header::FORWARDED];
    of_proxies.iter().any(|name| headers.contains_key(name))
        || headers.contains_key("x-forwarded-for")
}

/// Tells how far an upload is, now and then.
#[derive(Debug)]
pub(super) struct Teller {
    interim: Interim,
    interop: Interop,
    every: Duration,
    next: Instant,
}

impl Teller {
    /// Whether it is time again.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.next <= now
    }

    /// Tells an offset, which must be durable (P1).
    pub(super) fn tell(&mut self, offset: u64) {
        let headers = wire::interim::progress(offset, self.interop);
        // That it cannot be sent is no failure: the answer says it, too.
        let _sent = self.interim.send(wire::interim::status(), &headers);
        self.next = later(Instant::now(), self.every);
    }
}
