//! tus 1.0.0: heads to commands, outcomes to heads.

use http::{HeaderMap, HeaderValue, Method, StatusCode, header};

use super::{
    Answer, Head, Offer, Target, Understood,
    answer::{answered, empty, insert, replied},
    digests, download, fields, names, refusals, trailers,
};
use crate::model::{
    Append, Command, Completes, Content, Create, CreateKind, Discovery, Extension, Metadata,
    Outcome, Promise, Refusal, Timestamp, UploadView,
};

/// The methods that mean something to us.
const METHODS: [Method; 6] =
    [Method::GET, Method::HEAD, Method::POST, Method::PATCH, Method::DELETE, Method::OPTIONS];

/// Understands the head of a request.
pub(super) fn read(head: &Head<'_>, offer: &Offer) -> Result<Understood, Refusal> {
    let method = effective_method(head, offer.method_override);
    check_version(method.as_ref().ok(), head.headers)?;
    let method = method?;
    let (id, allow) = match head.target {
        Target::Nowhere | Target::Elsewhere => return Err(Refusal::NotFound),
        Target::Collection => (None, collection_methods()),
        Target::Upload(id) => (Some(id.clone()), upload_methods(offer)),
    };
    if !allow.contains(&method) {
        return Err(Refusal::MethodNotAllowed { allow });
    }
    let command = match method {
        Method::OPTIONS => Command::Discover,
        Method::POST => Command::Create(read_create(head, offer)?),
        Method::PATCH => Command::Append(read_append(head, offer)),
        Method::DELETE => Command::Terminate,
        Method::GET => Command::Read(fields::read(head.headers)),
        _ => Command::Inspect,
    };
    Ok(Understood { method, id, command })
}

/// The method that counts (tus 1.0.0, X-HTTP-Method-Override).
///
/// It is obeyed on a POST alone: a GET that deletes could be planted in a web page.
fn effective_method(head: &Head<'_>, allowed: bool) -> Result<Method, Refusal> {
    let text = match fields::single(head.headers, &names::METHOD_OVERRIDE) {
        Ok(None) => return Ok(head.method.clone()),
        Ok(Some(text)) => text,
        Err(_) => return Err(Refusal::InvalidOverride),
    };
    let known = METHODS.into_iter().find(|method| method.as_str().eq_ignore_ascii_case(text));
    match known {
        Some(method) if method == *head.method => Ok(method),
        Some(method) if allowed && *head.method == Method::POST => Ok(method),
        _ => Err(Refusal::InvalidOverride),
    }
}

/// The version comes before everything else (tus 1.0.0, Tus-Resumable); discovery ignores it,
/// and a plain download needs none.
fn check_version(method: Option<&Method>, headers: &HeaderMap) -> Result<(), Refusal> {
    let version = headers.get(&names::TUS_RESUMABLE);
    match (method, version) {
        (Some(&Method::OPTIONS), _) | (Some(&Method::GET), None) => Ok(()),
        (_, Some(version)) if version == names::VERSION => Ok(()),
        _ => Err(Refusal::UnsupportedVersion),
    }
}

fn collection_methods() -> Vec<Method> {
    vec![Method::OPTIONS, Method::POST]
}

fn upload_methods(offer: &Offer) -> Vec<Method> {
    let mut allow = vec![Method::OPTIONS, Method::HEAD, Method::PATCH];
    if offer.discovery.has(Extension::Termination) {
        allow.push(Method::DELETE);
    }
    if offer.download {
        allow.push(Method::GET);
    }
    allow
}

/// tus 1.0.0, Creation, POST.
fn read_create(head: &Head<'_>, offer: &Offer) -> Result<Create, Refusal> {
    let length = fields::single_integer(head.headers, &names::UPLOAD_LENGTH)?;
    let deferred = match fields::single(head.headers, &names::UPLOAD_DEFER_LENGTH)? {
        None => false,
        Some("1") => true,
        Some(_) => return Err(Refusal::InvalidHeader("upload-defer-length")),
    };
    let concat = fields::single(head.headers, &names::UPLOAD_CONCAT)?;
    let kind = read_concat(head, offer, concat)?;
    match (&kind, length, deferred) {
        (CreateKind::Final(_), None, false) => {}
        (CreateKind::Final(_), _, _) => {
            let text = "A final upload must not declare Upload-Length; it follows from its parts.";
            return Err(Refusal::Contradiction(text));
        }
        (_, Some(_), true) => {
            let text = "Upload-Length and Upload-Defer-Length exclude each other.";
            return Err(Refusal::Contradiction(text));
        }
        (_, None, false) => return Err(Refusal::MissingHeader("upload-length")),
        (_, None, true) if !offer.discovery.has(Extension::CreationDeferLength) => {
            return Err(Refusal::NotOffered(Extension::CreationDeferLength));
        }
        _ => {}
    }
    let metadata = fields::single(head.headers, &names::UPLOAD_METADATA)?.unwrap_or_default();
    let metadata =
        Metadata::parse(metadata).map_err(|_| Refusal::InvalidHeader("upload-metadata"))?;
    let content = read_create_content(head, offer)?;
    let brings = content.as_ref().is_some_and(|content| *content != Content::empty());
    if matches!(kind, CreateKind::Final(_)) && brings {
        return Err(Refusal::FinalIsReadOnly);
    }
    let concat = concat.map(str::to_owned);
    let (completes, elsewhere) = (Completes::AtItsLength, false);
    let whole = digests::whole(head.headers, offer)?;
    Ok(Create { length, kind, metadata, concat, completes, elsewhere, content, whole })
}

/// The body of a creation (tus 1.0.0, Creation With Upload). Where there is none, its type does
/// not matter: some clients always send one.
fn read_create_content(head: &Head<'_>, offer: &Offer) -> Result<Option<Content>, Refusal> {
    let promised = head.headers.contains_key(&names::UPLOAD_CHECKSUM);
    if head.body.empty && !promised && check_media_type(head.headers).is_err() {
        return Ok(None);
    }
    if !head.body.empty {
        check_media_type(head.headers)?;
        if !offer.discovery.has(Extension::CreationWithUpload) {
            return Err(Refusal::NotOffered(Extension::CreationWithUpload));
        }
    }
    Ok(Some(Content { length: head.body.length, digest: read_promise(head, offer)? }))
}

/// The role that `Upload-Concat` gives (tus 1.0.0, Upload-Concat).
fn read_concat(
    head: &Head<'_>,
    offer: &Offer,
    concat: Option<&str>,
) -> Result<CreateKind, Refusal> {
    let Some(text) = concat else {
        return Ok(CreateKind::Single);
    };
    if !offer.discovery.has(Extension::Concatenation) {
        return Err(Refusal::NotOffered(Extension::Concatenation));
    }
    if text == "partial" {
        return Ok(CreateKind::Partial);
    }
    let urls = text.strip_prefix("final;").ok_or(Refusal::InvalidHeader("upload-concat"))?;
    let parts: Result<Vec<_>, _> =
        urls.split_ascii_whitespace().map(|url| head.mount.resolve(url)).collect();
    // A URL that cannot be one of ours names a part that does not exist.
    parts.map(CreateKind::Final).map_err(|_| Refusal::NotFound)
}

/// tus 1.0.0, PATCH.
fn read_append(head: &Head<'_>, offer: &Offer) -> Result<Append, Refusal> {
    check_media_type(head.headers)?;
    let at = fields::single_integer(head.headers, &names::UPLOAD_OFFSET)?
        .ok_or(Refusal::MissingHeader("upload-offset"))?;
    let length = fields::single_integer(head.headers, &names::UPLOAD_LENGTH)?;
    let content = Content { length: head.body.length, digest: read_promise(head, offer)? };
    let expected = digests::expected(head.headers, offer)?;
    Ok(Append { at, length, completes: Completes::AtItsLength, content, expected })
}

fn check_media_type(headers: &HeaderMap) -> Result<(), Refusal> {
    let value = fields::single(headers, &header::CONTENT_TYPE)?.unwrap_or_default();
    if fields::is_media_type(value, names::OFFSET_OCTET_STREAM) {
        Ok(())
    } else {
        Err(Refusal::UnsupportedMediaType)
    }
}

/// What the request promises about its body (tus 1.0.0, Checksum).
///
/// A promise that cannot be kept is refused, never ignored: the client counts on it.
fn read_promise(head: &Head<'_>, offer: &Offer) -> Result<Promise, Refusal> {
    let offered = |extension| match offer.discovery.has(extension) {
        true => Ok(()),
        false => Err(Refusal::NotOffered(extension)),
    };
    if let Some(text) = fields::single(head.headers, &names::UPLOAD_CHECKSUM)? {
        offered(Extension::Checksum)?;
        return fields::checksum(text).map(Promise::Digest);
    }
    if trailers::declared(head.headers, &names::UPLOAD_CHECKSUM) {
        offered(Extension::ChecksumTrailer)?;
        return Ok(Promise::Trailer);
    }
    Ok(Promise::None)
}

/// Writes the answer: everything but the bytes of a download.
pub(super) fn write(outcome: Result<Outcome, Refusal>) -> Answer {
    match outcome {
        Ok(Outcome::Discovered(discovery)) => {
            let mut answer = empty(StatusCode::NO_CONTENT);
            add_discovery(&mut answer.headers, &discovery);
            answer
        }
        // What stopped a body of which some bytes are kept, its client hears when it goes on
        // (tus 1.0.0, Creation With Upload: accept as many bytes as possible).
        Ok(Outcome::Created { location, offset, expires_at, reply, digest, .. }) => {
            let mut answer = replied(StatusCode::CREATED, reply);
            insert(&mut answer.headers, &header::LOCATION, location);
            if let Some(offset) = offset {
                answer.headers.insert(&names::UPLOAD_OFFSET, offset.into());
            }
            add_expiry(&mut answer.headers, expires_at);
            digests::add_whole(&mut answer.headers, digest.as_ref());
            answer
        }
        Ok(Outcome::Answered { reply, offset, .. }) => {
            let mut answer = answered(reply);
            answer.headers.insert(&names::UPLOAD_OFFSET, offset.into());
            answer
        }
        Ok(Outcome::Inspected(view)) => inspected(view),
        Ok(Outcome::Appended { offset, expires_at, reply, digest, .. }) => {
            let mut answer = replied(StatusCode::NO_CONTENT, reply);
            answer.headers.insert(&names::UPLOAD_OFFSET, offset.into());
            add_expiry(&mut answer.headers, expires_at);
            digests::add_whole(&mut answer.headers, digest.as_ref());
            answer
        }
        Ok(Outcome::Terminated) => empty(StatusCode::NO_CONTENT),
        Ok(Outcome::Read(view)) => download::download(&view),
        Ok(Outcome::NotModified { etag }) => download::not_modified(etag),
        Err(refusal) => refusals::answer(&refusal),
    }
}

/// The name of an extension in `Tus-Extension`.
pub(super) fn extension_name(extension: Extension) -> &'static str {
    match extension {
        Extension::Creation => "creation",
        Extension::CreationWithUpload => "creation-with-upload",
        Extension::CreationDeferLength => "creation-defer-length",
        Extension::Expiration => "expiration",
        Extension::Checksum => "checksum",
        Extension::ChecksumTrailer => "checksum-trailer",
        Extension::Termination => "termination",
        Extension::Concatenation => "concatenation",
        Extension::ConcatenationUnfinished => "concatenation-unfinished",
    }
}

/// tus 1.0.0, OPTIONS.
pub(super) fn add_discovery(headers: &mut HeaderMap, discovery: &Discovery) {
    headers.insert(&names::TUS_VERSION, HeaderValue::from_static(names::VERSION));
    let extensions: Vec<_> = discovery.extensions.iter().copied().map(extension_name).collect();
    if !extensions.is_empty() {
        insert(headers, &names::TUS_EXTENSION, extensions.join(","));
    }
    if let Some(max) = discovery.max_size {
        headers.insert(&names::TUS_MAX_SIZE, max.into());
    }
    let algorithms: Vec<_> = discovery.algorithms.iter().map(|a| a.as_str()).collect();
    if !algorithms.is_empty() {
        insert(headers, &names::TUS_CHECKSUM_ALGORITHM, algorithms.join(","));
    }
}

/// tus 1.0.0, HEAD.
fn inspected(view: UploadView) -> Answer {
    let mut answer = empty(StatusCode::OK);
    if let Some(reply) = view.reply {
        answer.headers = reply.headers;
        // The reply's body goes with the answer to a PATCH; a HEAD has none to describe.
        answer.headers.remove(header::CONTENT_TYPE);
    }
    let headers = &mut answer.headers;
    if let Some(offset) = view.offset {
        headers.insert(&names::UPLOAD_OFFSET, offset.into());
    }
    if let Some(length) = view.length {
        headers.insert(&names::UPLOAD_LENGTH, length.into());
    }
    // One that is whole but waits for its client to say so would pass for complete.
    let awaits_end = !view.complete && view.offset.is_some() && view.offset == view.length;
    if awaits_end {
        headers.remove(&names::UPLOAD_LENGTH);
    }
    if view.deferred || awaits_end {
        headers.insert(&names::UPLOAD_DEFER_LENGTH, HeaderValue::from_static("1"));
    }
    if !view.metadata.is_empty() {
        insert(headers, &names::UPLOAD_METADATA, view.metadata);
    }
    if let Some(concat) = view.concat {
        insert(headers, &names::UPLOAD_CONCAT, concat);
    }
    add_expiry(headers, view.expires_at);
    digests::add_whole(headers, view.digest.as_ref());
    answer
}

/// tus 1.0.0, Upload-Expires.
fn add_expiry(headers: &mut HeaderMap, expires_at: Option<Timestamp>) {
    if let Some(at) = expires_at {
        headers.insert(&names::UPLOAD_EXPIRES, fields::http_date(at));
    }
}
