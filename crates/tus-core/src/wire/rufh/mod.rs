//! RUFH, *Resumable Uploads for HTTP*: heads to commands, outcomes to heads.
//!
//! Section numbers are those of draft-ietf-httpbis-resumable-upload-12, whose interop version is 8.
//! Where older versions, which clients in the field speak, have another wire, there is a file for
//! each such difference, and nowhere else is a version looked at.

mod acknowledge;
mod bare;
mod completeness;
mod interop;
mod limits;
mod media;
mod metadata;
pub(super) mod problem;

use http::{HeaderMap, HeaderValue, Method, StatusCode, header};

use super::{
    Answer, Head, Offer, Target, Understood,
    answer::{answered, empty, insert, replied},
    digests, download, fields, names, structured,
};
use crate::model::{
    Append, Command, Completes, Content, Create, CreateKind, Extension, Outcome, Refusal,
    Rejection, UploadLimits, UploadView,
};

pub(super) use completeness::says_completeness;
pub(crate) use interop::Interop;
pub(super) use limits::add_limits;
#[cfg(feature = "fuzzing")]
pub(super) use metadata::of as metadata_of;

/// The methods by which an upload can be created: those whose requests have content (RUFH,
/// section 4.2.1), of the ones that HTTP has today.
const CREATING: [Method; 3] = [Method::POST, Method::PUT, Method::PATCH];

/// Understands the head of a request.
pub(super) fn read(
    head: &Head<'_>,
    offer: &Offer,
    interop: Interop,
) -> Result<Understood, Refusal> {
    let (id, allow) = match head.target {
        Target::Nowhere => return Err(Refusal::NotFound),
        Target::Collection => {
            let mut allow = vec![Method::OPTIONS];
            allow.extend(CREATING);
            (None, allow)
        }
        Target::Elsewhere => (None, vec![head.method.clone()]),
        Target::Upload(id) => (Some(id.clone()), upload_methods(offer)),
    };
    let method = head.method.clone();
    if !allow.contains(&method) {
        return Err(Refusal::MethodNotAllowed { allow });
    }
    let command = match (&id, &method) {
        (None, _) => Command::Create(read_create(head, offer, interop)?),
        (Some(_), &Method::PATCH) => Command::Append(read_append(head, offer, interop)),
        (Some(_), method) => {
            bare::check(head.headers, interop)?;
            match *method {
                Method::DELETE => Command::Terminate,
                Method::GET => Command::ReadOrInspect(fields::read(head.headers)),
                _ => Command::Inspect,
            }
        }
    };
    Ok(Understood { method, id, command })
}

fn upload_methods(offer: &Offer) -> Vec<Method> {
    let mut allow = vec![Method::OPTIONS, Method::HEAD, Method::GET, Method::PATCH];
    if offer.discovery.has(Extension::Termination) {
        allow.push(Method::DELETE);
    }
    allow
}

/// RUFH, section 4.2: any request with `Upload-Complete` may begin an upload.
fn read_create(head: &Head<'_>, offer: &Offer, interop: Interop) -> Result<Create, Refusal> {
    let completes = completeness::of_creation(head.headers, interop)?;
    let digest = digests::promise(head.headers, offer);
    let content = Content { length: head.body.length, digest };
    Ok(Create {
        length: length(head, completes, 0)?,
        kind: CreateKind::Single,
        metadata: metadata::of(head.headers)?,
        concat: None,
        completes,
        elsewhere: *head.target == Target::Elsewhere,
        content: Some(content),
        whole: digests::whole(head.headers, offer)?,
    })
}

/// The size that an upload has which this head begins, as far as that decides whether it is worth
/// being resumed; `None` if it begins none.
///
/// What comes in more than one request cannot be left to a resource that knows of one.
pub(super) fn size_of_creation(headers: &HeaderMap, interop: Interop) -> Option<u64> {
    let completes = completeness::of_creation(headers, interop).ok()?;
    if completes != Completes::WithThisBody {
        return Some(u64::MAX);
    }
    let said = structured::integer(headers, &names::UPLOAD_LENGTH);
    let content = fields::single(headers, &header::CONTENT_LENGTH).ok().flatten();
    Some(said.or(content.and_then(fields::integer)).unwrap_or(u64::MAX))
}

/// What a head says of the representation (RFC 9110, section 8.3 to 8.7; RFC 9530, section 3),
/// or the rest of it that is not about the message and the upload.
pub(crate) fn representation(headers: &HeaderMap) -> (HeaderMap, HeaderMap) {
    let (mut about, mut rest) = (HeaderMap::new(), HeaderMap::new());
    for (name, value) in headers {
        let text = name.as_str();
        // Its conditions (RFC 9110, section 13) are part of what was asked for.
        let of_content = ["content-", "if-"].iter().any(|start| text.starts_with(start))
            || name == "repr-digest";
        let of_message = [
            header::CONTENT_LENGTH,
            header::TRANSFER_ENCODING,
            header::TRAILER,
            header::TE,
            header::EXPECT,
            header::CONNECTION,
        ];
        let of_upload = text.starts_with("upload-")
            || text.starts_with("want-")
            || [&names::TUS_RESUMABLE, &names::METHOD_OVERRIDE].contains(&name);
        if of_message.contains(name) || of_upload || text == "content-digest" {
            continue;
        }
        let to = if of_content { &mut about } else { &mut rest };
        to.append(name, value.clone());
    }
    (about, rest)
}

/// RUFH, section 4.4.
fn read_append(head: &Head<'_>, offer: &Offer, interop: Interop) -> Result<Append, Refusal> {
    media::check(head.headers, interop)?;
    let at = structured::integer(head.headers, &names::UPLOAD_OFFSET)
        .ok_or(Refusal::MissingHeader("upload-offset"))?;
    let completes = completeness::of_append(head.headers, interop)?;
    let digest = digests::promise(head.headers, offer);
    let content = Content { length: head.body.length, digest };
    let expected = digests::expected(head.headers, offer)?;
    Ok(Append { at, length: length(head, completes, at)?, completes, content, expected })
}

/// The length that a request tells, in one of two ways; if in both, they MUST match (RUFH, section
/// 4.1.3).
fn length(head: &Head<'_>, completes: Completes, at: u64) -> Result<Option<u64>, Refusal> {
    let said = structured::integer(head.headers, &names::UPLOAD_LENGTH);
    let rest = head.body.length.filter(|_| completes == Completes::WithThisBody);
    let reached = rest.map(|rest| at.saturating_add(rest));
    match (said, reached) {
        (Some(said), Some(reached)) if said != reached => Err(Refusal::LengthMismatch),
        (said, reached) => Ok(said.or(reached)),
    }
}

/// Writes the answer: everything but the bytes of a download.
pub(super) fn write(outcome: Result<Outcome, Refusal>, interop: Interop) -> Answer {
    let mut answer = match outcome {
        // OPTIONS has an answer of its own.
        Ok(Outcome::Discovered(_) | Outcome::Terminated) => empty(StatusCode::NO_CONTENT),
        Ok(Outcome::Created {
            location, offset, reply, complete, limits, stopped, digest, ..
        }) => {
            let mut answer = match &stopped {
                Some(refusal) => problem::answer(refusal),
                None => replied(StatusCode::CREATED, reply),
            };
            let headers = &mut answer.headers;
            insert_missing(headers, &header::LOCATION, location);
            headers.insert(&names::UPLOAD_OFFSET, offset.unwrap_or(0).into());
            completeness::add(headers, complete, interop);
            digests::add_whole(headers, digest.as_ref());
            if !complete {
                add_limits(headers, &limits, interop);
            }
            answer
        }
        Ok(Outcome::Appended { offset, reply, complete, location, limits, digest, .. }) => {
            let mut answer = match complete {
                // As the creation would have been answered (RUFH, section 4.4.2).
                true => replied(StatusCode::CREATED, reply),
                false => empty(acknowledge::status(interop)),
            };
            let headers = &mut answer.headers;
            headers.insert(&names::UPLOAD_OFFSET, offset.into());
            completeness::add(headers, complete, interop);
            digests::add_whole(headers, digest.as_ref());
            match complete {
                true => insert_missing(headers, &header::LOCATION, location),
                false => add_limits(headers, &limits, interop),
            }
            answer
        }
        Ok(Outcome::Answered { reply, offset, complete, location }) => {
            let mut answer = answered(reply);
            let headers = &mut answer.headers;
            headers.insert(&names::UPLOAD_OFFSET, offset.into());
            completeness::add(headers, complete, interop);
            if !complete {
                insert_missing(headers, &header::LOCATION, location);
            }
            answer
        }
        Ok(Outcome::Inspected(view)) => inspected(&view, interop),
        Ok(Outcome::Read(view)) => {
            // A GET tells as much as a HEAD (section 4.3.2).
            let mut answer = download::download(&view);
            let headers = &mut answer.headers;
            headers.insert(&names::UPLOAD_OFFSET, view.length.into());
            headers.insert(&names::UPLOAD_LENGTH, view.length.into());
            completeness::add(headers, true, interop);
            add_limits(headers, &view.limits, interop);
            answer
        }
        Ok(Outcome::NotModified { etag }) => download::not_modified(etag),
        Err(refusal) => refused(&refusal, interop),
    };
    interop.add(&mut answer.headers);
    answer
}

/// RUFH, section 4.3.2.
fn inspected(view: &UploadView, interop: Interop) -> Answer {
    let mut answer = empty(StatusCode::NO_CONTENT);
    let headers = &mut answer.headers;
    headers.insert(&names::UPLOAD_OFFSET, view.offset.unwrap_or(0).into());
    completeness::add(headers, view.complete, interop);
    if let Some(length) = view.length {
        headers.insert(&names::UPLOAD_LENGTH, length.into());
    }
    digests::add_whole(headers, view.digest.as_ref());
    add_limits(headers, &view.limits, interop);
    answer
}

/// A refusal, with what its client needs to go on.
fn refused(refusal: &Refusal, interop: Interop) -> Answer {
    // Who hides an upload says what is said of an unknown one.
    let hides = |rejection: &Rejection| {
        rejection.status == StatusCode::NOT_FOUND && rejection.body == Rejection::NOT_FOUND
    };
    let refusal = match refusal {
        Refusal::Rejected(rejection) if hides(rejection) => &Refusal::NotFound,
        refusal => refusal,
    };
    let mut answer = problem::answer(refusal);
    let headers = &mut answer.headers;
    // Nothing is said of what is not there. An application that refuses the finished upload has
    // processed it (RUFH, section 4.1.2).
    let is_absent = matches!(
        refusal,
        Refusal::NotFound | Refusal::Gone(_) | Refusal::RangeNotSatisfiable { .. }
    );
    if !is_absent {
        completeness::add(headers, matches!(refusal, Refusal::Refused(_)), interop);
    }
    if let Refusal::OffsetMismatch { expected, .. } = refusal {
        headers.insert(&names::UPLOAD_OFFSET, HeaderValue::from(*expected));
    }
    // What a 413 tells of (RUFH, section 4.1.4).
    let limits = match refusal {
        Refusal::TooLarge { max } => UploadLimits { max_size: Some(*max), ..Default::default() },
        Refusal::TooSmall { min } => UploadLimits { min_size: Some(*min), ..Default::default() },
        Refusal::AppendTooLarge { max } => {
            UploadLimits { max_append_size: Some(*max), ..Default::default() }
        }
        Refusal::AppendTooSmall { min } => {
            UploadLimits { min_append_size: Some(*min), ..Default::default() }
        }
        _ => return answer,
    };
    add_limits(headers, &limits, interop);
    answer
}

/// Sets a header unless the application has: what the targeted resource says goes first.
fn insert_missing(headers: &mut HeaderMap, name: &http::HeaderName, text: String) {
    if !headers.contains_key(name) {
        insert(headers, name, text);
    }
}

/// The heads of interim responses (RUFH, section 5).
pub(crate) mod interim {
    use super::*;

    /// 104.
    pub(crate) fn status() -> StatusCode {
        // 104 is between 100 and 999, which is all that the constructor asks for.
        StatusCode::from_u16(104).unwrap_or(StatusCode::PROCESSING)
    }

    /// What tells the client of the upload that it has begun.
    pub(crate) fn created(location: &str, limits: &UploadLimits, interop: Interop) -> HeaderMap {
        let mut headers = HeaderMap::new();
        insert(&mut headers, &header::LOCATION, location.to_owned());
        add_limits(&mut headers, limits, interop);
        interop.add(&mut headers);
        headers
    }

    /// What tells it how far the upload is.
    pub(crate) fn progress(offset: u64, interop: Interop) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(&names::UPLOAD_OFFSET, offset.into());
        interop.add(&mut headers);
        headers
    }
}
