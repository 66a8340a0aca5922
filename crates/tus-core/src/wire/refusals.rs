//! Status and words of every refusal: short fixed texts, nothing of ours inside.
//!
//! How tus 1.0.0 says it; [`rufh::problem`](super::rufh::problem) begins from the same words.

use std::borrow::Cow;

use http::{HeaderMap, HeaderValue, StatusCode, header};

use super::{Answer, Words, names, rufh::problem};
use crate::model::{GoneReason, Refusal, Rejection, RequestId};

/// 460, which only tus knows (tus 1.0.0, Checksum).
fn checksum_mismatch() -> StatusCode {
    // 460 is between 100 and 999, which is all that the constructor asks for.
    StatusCode::from_u16(460).unwrap_or(StatusCode::BAD_REQUEST)
}

/// What is said of a refusal, before it takes the form of a dialect.
pub(super) struct Said {
    pub(super) status: StatusCode,
    /// A word for programs.
    pub(super) code: &'static str,
    /// A sentence for people.
    pub(super) text: Cow<'static, str>,
    pub(super) headers: HeaderMap,
}

/// The answer that a refusal makes in tus 1.0.0.
pub(super) fn answer(refusal: &Refusal) -> Answer {
    match refusal {
        Refusal::Rejected(rejection) | Refusal::Refused(rejection) => rejected(rejection),
        refusal => {
            let Said { status, code, text, mut headers } = say(refusal);
            let plain = HeaderValue::from_static("text/plain; charset=utf-8");
            headers.insert(header::CONTENT_TYPE, plain);
            let body = format!("{code}: {text}\n").into();
            Answer { status, headers, body, words: Words::Text }
        }
    }
}

/// The application's own refusal, in its own words.
pub(super) fn rejected(rejection: &Rejection) -> Answer {
    // A refusal must not look like success, whatever the application wrote into it.
    let refuses = rejection.status.as_u16() >= 400;
    // Who hides an upload must not give that away by one line less.
    let hides = rejection.body == Rejection::NOT_FOUND;
    Answer {
        status: if refuses { rejection.status } else { StatusCode::FORBIDDEN },
        headers: HeaderMap::clone(&rejection.headers),
        body: rejection.body.clone(),
        words: if hides { Words::Text } else { Words::Theirs },
    }
}

/// Status and words of a refusal of ours; an application's own has none of these.
pub(super) fn say(refusal: &Refusal) -> Said {
    let mut headers = HeaderMap::new();
    let (status, code, text) = match refusal {
        Refusal::Rejected(rejection) | Refusal::Refused(rejection) => {
            (rejection.status, "rejected", "The application refuses this.")
        }
        Refusal::UnsupportedVersion => {
            headers.insert(&names::TUS_VERSION, HeaderValue::from_static(names::VERSION));
            (StatusCode::PRECONDITION_FAILED, "unsupported_version", "Tus-Resumable must be 1.0.0.")
        }
        Refusal::NotFound => (StatusCode::NOT_FOUND, "not_found", "There is no such upload."),
        Refusal::Gone(reason) => (StatusCode::GONE, "gone", gone(*reason)),
        Refusal::MethodNotAllowed { allow } => {
            let list = allow.iter().map(|method| method.as_str()).collect::<Vec<_>>().join(", ");
            if let Ok(list) = HeaderValue::from_str(&list) {
                headers.insert(header::ALLOW, list);
            }
            (
                StatusCode::METHOD_NOT_ALLOWED,
                "method_not_allowed",
                "This resource does not take this method.",
            )
        }
        Refusal::InvalidOverride => (
            StatusCode::BAD_REQUEST,
            "invalid_override",
            "X-HTTP-Method-Override takes a known method, on a POST.",
        ),
        Refusal::MissingHeader(name) => {
            return bad_request("missing_header", format!("{name} is missing."));
        }
        Refusal::InvalidHeader(name) => {
            return bad_request("invalid_header", format!("{name} cannot be read."));
        }
        Refusal::Contradiction(text) => (StatusCode::BAD_REQUEST, "contradiction", *text),
        Refusal::NotOffered(extension) => {
            let name = super::tus1::extension_name(*extension);
            return bad_request("not_offered", format!("this server does not offer {name}."));
        }
        Refusal::UnsupportedMediaType => (
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "unsupported_media_type",
            "Content-Type must be application/offset+octet-stream.",
        ),
        Refusal::OffsetMismatch { .. } => (
            StatusCode::CONFLICT,
            "offset_mismatch",
            "Upload-Offset is not where the upload is; ask with HEAD.",
        ),
        Refusal::LengthMismatch => (
            StatusCode::BAD_REQUEST,
            "length_mismatch",
            "Upload-Length was declared before, with another value.",
        ),
        Refusal::LengthTooShort => (
            StatusCode::BAD_REQUEST,
            "length_too_short",
            "Upload-Length is less than what is stored already.",
        ),
        Refusal::TooLarge { .. } => (
            StatusCode::PAYLOAD_TOO_LARGE,
            "too_large",
            "The upload is larger than this server allows.",
        ),
        Refusal::BodyTooLong => (
            StatusCode::PAYLOAD_TOO_LARGE,
            "body_too_long",
            "The body is longer than what the upload still lacks.",
        ),
        Refusal::AppendTooLarge { .. } => (
            StatusCode::PAYLOAD_TOO_LARGE,
            "append_too_large",
            "One request brings more bytes than this server allows.",
        ),
        Refusal::AppendTooSmall { .. } => (
            StatusCode::BAD_REQUEST,
            "append_too_small",
            "One request that is not the last brings fewer bytes than this server allows.",
        ),
        Refusal::TooSmall { .. } => (
            StatusCode::BAD_REQUEST,
            "too_small",
            "The upload is smaller than this server takes in this way.",
        ),
        Refusal::AlreadyComplete => (
            StatusCode::BAD_REQUEST,
            "already_complete",
            "The upload is complete; nothing can be added to it.",
        ),
        Refusal::MetadataTooLarge => (
            StatusCode::PAYLOAD_TOO_LARGE,
            "metadata_too_large",
            "Upload-Metadata is larger than this server allows.",
        ),
        Refusal::PartCount => (
            StatusCode::BAD_REQUEST,
            "part_count",
            "Upload-Concat names no parts, or more than this server allows.",
        ),
        Refusal::InvalidPart => (
            StatusCode::BAD_REQUEST,
            "invalid_part",
            "Upload-Concat names something that is not a partial upload.",
        ),
        Refusal::FinalIsReadOnly => {
            (StatusCode::FORBIDDEN, "final_is_read_only", "A final upload takes no bytes.")
        }
        Refusal::UnknownDigest => (
            StatusCode::BAD_REQUEST,
            "unknown_checksum",
            "Upload-Checksum names an algorithm that is not in Tus-Checksum-Algorithm.",
        ),
        Refusal::DigestMismatch => (
            checksum_mismatch(),
            "checksum_mismatch",
            "The bytes do not have this checksum; none of them was kept.",
        ),
        Refusal::WholeDigestMismatch => (
            checksum_mismatch(),
            "digest_mismatch",
            "The upload does not have the digest that it was to have; it has ended.",
        ),
        Refusal::DigestMissing => (
            StatusCode::BAD_REQUEST,
            "checksum_missing",
            "The checksum that the request promised did not come; no byte was kept.",
        ),
        Refusal::Locked => {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
            (StatusCode::LOCKED, "locked", "Another request holds this upload.")
        }
        Refusal::Preempted => {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
            (
                StatusCode::LOCKED,
                "preempted",
                "Another request asked for this upload; what arrived is kept.",
            )
        }
        Refusal::AlreadyExists => (
            StatusCode::CONFLICT,
            "already_exists",
            "An upload or a file of this name exists already.",
        ),
        Refusal::BodyBroken => (
            StatusCode::BAD_REQUEST,
            "body_broken",
            "The body ended early; ask with HEAD what arrived.",
        ),
        Refusal::BodyIdle => (
            StatusCode::REQUEST_TIMEOUT,
            "body_idle",
            "The body paused for too long; ask with HEAD what arrived.",
        ),
        Refusal::BodySlow => (
            StatusCode::REQUEST_TIMEOUT,
            "body_slow",
            "The body came too slowly; ask with HEAD what arrived.",
        ),
        Refusal::Busy => {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("5"));
            (StatusCode::SERVICE_UNAVAILABLE, "busy", "Too many uploads at once; come back.")
        }
        Refusal::TooMany => {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("5"));
            (StatusCode::TOO_MANY_REQUESTS, "too_many", "Too many uploads of yours at once.")
        }
        Refusal::RangeNotSatisfiable { length } => {
            if let Ok(value) = HeaderValue::from_str(&format!("bytes */{length}")) {
                headers.insert(header::CONTENT_RANGE, value);
            }
            (
                StatusCode::RANGE_NOT_SATISFIABLE,
                "range_not_satisfiable",
                "No byte of the range exists.",
            )
        }
        Refusal::Draining => {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("5"));
            (StatusCode::SERVICE_UNAVAILABLE, "draining", "The server is stopping; come back.")
        }
        Refusal::Full => (
            StatusCode::INSUFFICIENT_STORAGE,
            "full",
            "The server has no room for these bytes; what fitted is kept.",
        ),
        Refusal::Unavailable { retry_after } => {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(retry_after.as_secs().max(1)));
            (StatusCode::SERVICE_UNAVAILABLE, "unavailable", "Not now; come back.")
        }
        Refusal::Internal => {
            (StatusCode::INTERNAL_SERVER_ERROR, "internal", "The server failed; its log says why.")
        }
    };
    Said { status, code, text: Cow::Borrowed(text), headers }
}

fn gone(reason: GoneReason) -> &'static str {
    match reason {
        GoneReason::Expired => "The upload has expired.",
        GoneReason::Terminated => "The upload was terminated.",
        GoneReason::PartLost => "A part of this upload is gone.",
        GoneReason::Moved => "The file was moved away, changed or replaced.",
        GoneReason::Outgrown => "More bytes came than were declared.",
        GoneReason::DigestMismatch => "The upload did not have the digest that it was to have.",
    }
}

fn bad_request(code: &'static str, text: String) -> Said {
    let (status, headers) = (StatusCode::BAD_REQUEST, HeaderMap::new());
    Said { status, code, text: text.into(), headers }
}

/// Names the request in an answer that refuses it, so that its client can say which one it was.
pub(crate) fn sign(answer: &mut Answer, id: &RequestId) {
    if !answer.status.is_client_error() && !answer.status.is_server_error() {
        return;
    }
    if let Ok(value) = HeaderValue::from_str(id.as_str()) {
        answer.headers.insert(&names::X_REQUEST_ID, value);
    }
    match answer.words {
        Words::Theirs => {}
        Words::Text => {
            let mut body = answer.body.to_vec();
            body.extend_from_slice(format!("request: {id}\n").as_bytes());
            answer.body = body.into();
        }
        Words::Problem => problem::sign(answer, id),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_application_can_refuse_in_the_words_for_an_unknown_upload() {
        let id = "r1".parse().unwrap();
        let signed = |refusal: Refusal| {
            let mut answer = answer(&refusal);
            sign(&mut answer, &id);
            answer
        };
        let unknown = signed(Refusal::NotFound);
        let hidden = signed(Rejection::not_found().into());
        assert!(unknown.body.ends_with(b"\nrequest: r1\n"));
        assert_eq!(unknown.headers["x-request-id"], "r1");
        assert_eq!(
            (unknown.status, unknown.headers, unknown.body),
            (hidden.status, hidden.headers, hidden.body)
        );
    }

    #[test]
    fn a_rejection_is_never_a_success() {
        let mut rejection = Rejection::forbidden("no");
        rejection.status = StatusCode::NO_CONTENT;
        assert_eq!(answer(&rejection.into()).status, StatusCode::FORBIDDEN);
    }
}
