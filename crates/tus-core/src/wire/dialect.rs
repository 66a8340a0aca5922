//! Which dialect a request speaks.
//!
//! That is a property of one exchange, never of an upload: what was begun in one dialect may go
//! on in the other.

use http::{HeaderMap, HeaderValue, Method, StatusCode, header};

use super::{
    Answer, Head, Offer, Target, Understood, answer, digests, fields, names,
    rufh::{self, Interop},
    tus1,
};
use crate::model::{Command, Discovery, Extension, Outcome, Refusal, UploadLimits};

/// The language of one exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// tus 1.0.0.
    Tus,
    /// Resumable Uploads for HTTP, in one of its forms.
    Rufh(Interop),
    /// That of OPTIONS, which tells of both.
    Discovery {
        /// Whether the resource makes uploads.
        creates: bool,
    },
}

/// What a request says, in its dialect.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) dialect: Dialect,
    pub(crate) understood: Result<Understood, Refusal>,
}

/// Understands the head of a request.
pub(crate) fn read(head: &Head<'_>, offer: &Offer) -> Said {
    let dialect = detect(head, offer);
    let understood = match dialect {
        Dialect::Tus => tus1::read(head, offer),
        Dialect::Rufh(interop) => rufh::read(head, offer, interop),
        Dialect::Discovery { .. } => discover(head),
    };
    Said { dialect, understood }
}

/// Writes the answer: everything but the bytes of a download.
pub(crate) fn write(dialect: Dialect, offer: &Offer, outcome: Result<Outcome, Refusal>) -> Answer {
    // What the application says to its own client is left as it is.
    let theirs = matches!(outcome, Ok(Outcome::Answered { .. }));
    let mut answer = match (dialect, outcome) {
        (Dialect::Discovery { creates }, Ok(Outcome::Discovered(discovery))) => {
            discovered(offer, &discovery, creates)
        }
        (Dialect::Rufh(interop), outcome) => rufh::write(outcome, interop),
        (Dialect::Discovery { .. }, outcome) if !offer.tus => rufh::write(outcome, Interop::Final),
        // Who speaks neither, and hears no, has the older one explained.
        (Dialect::Tus | Dialect::Discovery { .. }, outcome) => tus1::write(outcome),
    };
    if theirs {
        if dialect == Dialect::Tus {
            let version = HeaderValue::from_static(names::VERSION);
            answer.headers.insert(&names::TUS_RESUMABLE, version);
        }
        return answer;
    }
    let headers = &mut answer.headers;
    if offer.tus {
        // In every response (tus 1.0.0, Tus-Resumable), also to those who did not ask in tus.
        headers.insert(&names::TUS_RESUMABLE, HeaderValue::from_static(names::VERSION));
    }
    headers.insert(&names::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if !headers.contains_key(header::CACHE_CONTROL) {
        let no_store = HeaderValue::from_static(names::CACHE_CONTROL_NO_STORE);
        headers.insert(header::CACHE_CONTROL, no_store);
    }
    answer
}

/// Who says `Tus-Resumable` speaks tus; who says anything that only RUFH has, speaks RUFH; and so
/// does who says nothing where RUFH asks for nothing to be said: HEAD, GET and DELETE of an upload
/// (RUFH, sections 4.3 and 4.5).
fn detect(head: &Head<'_>, offer: &Offer) -> Dialect {
    if *head.method == Method::OPTIONS && !overrides(head, offer) {
        let creates = *head.target == Target::Collection;
        return Dialect::Discovery { creates };
    }
    if !offer.rufh || (offer.tus && head.headers.contains_key(&names::TUS_RESUMABLE)) {
        return Dialect::Tus;
    }
    let interop = Interop::of(head.headers);
    let unmarked = [Method::HEAD, Method::GET, Method::DELETE].contains(head.method);
    let of_an_upload = matches!(head.target, Target::Upload(_));
    if interop.is_some() || marked(head.headers) || (unmarked && of_an_upload) || !offer.tus {
        return Dialect::Rufh(interop.unwrap_or(Interop::Final));
    }
    Dialect::Tus
}

/// Whether the method on the request line is overridden, which only tus does.
fn overrides(head: &Head<'_>, offer: &Offer) -> bool {
    offer.tus && head.headers.contains_key(&names::METHOD_OVERRIDE)
}

/// Whether a head has what only RUFH has.
fn marked(headers: &HeaderMap) -> bool {
    is_partial(headers) || rufh::says_completeness(headers)
}

fn is_partial(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    kind.is_some_and(|kind| fields::is_media_type(kind, names::PARTIAL_UPLOAD))
}

/// Whether a request to a resource of the application's begins an upload (RUFH, section 4.2).
///
/// A resource may leave an upload as it is: one that is known to be smaller than what is worth it
/// does (RUFH, section 4.1.4).
pub(crate) fn begins(method: &Method, headers: &HeaderMap, min_size: u64) -> bool {
    let safe = [Method::GET, Method::HEAD, Method::OPTIONS, Method::TRACE, Method::CONNECT];
    if safe.contains(method) || *method == Method::DELETE {
        return false;
    }
    // Another protocol's, or another server's upload behind a route of the application's.
    if headers.contains_key(&names::TUS_RESUMABLE) || is_partial(headers) {
        return false;
    }
    let interop = Interop::of(headers).unwrap_or(Interop::Final);
    rufh::size_of_creation(headers, interop).is_some_and(|size| size >= min_size)
}

/// Tells in an answer to OPTIONS that a resource takes resumable uploads, and what bounds them
/// (RUFH, section 4.1.4).
pub(crate) fn advertise(headers: &mut HeaderMap, limits: &UploadLimits) {
    rufh::add_limits(headers, limits, Interop::Final);
}

fn discover(head: &Head<'_>) -> Result<Understood, Refusal> {
    let id = match head.target {
        Target::Nowhere | Target::Elsewhere => return Err(Refusal::NotFound),
        Target::Collection => None,
        Target::Upload(id) => Some(id.clone()),
    };
    Ok(Understood { method: Method::OPTIONS, id, command: Command::Discover })
}

/// What is offered in both dialects (tus 1.0.0, OPTIONS; RUFH, section 4.1.4).
fn discovered(offer: &Offer, discovery: &Discovery, creates: bool) -> Answer {
    let mut answer = answer::empty(StatusCode::NO_CONTENT);
    if offer.tus {
        tus1::add_discovery(&mut answer.headers, discovery);
    }
    if offer.rufh && creates {
        rufh::add_limits(&mut answer.headers, &discovery.limits, Interop::Final);
        if discovery.has(Extension::Checksum) {
            digests::add_preferences(&mut answer.headers, &names::WANT_CONTENT_DIGEST);
            digests::add_preferences(&mut answer.headers, &names::WANT_REPR_DIGEST);
        }
    }
    answer
}
