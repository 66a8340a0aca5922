//! Refusals as problem documents (RFC 9457; RUFH, section 7).

use std::borrow::Cow;

use http::{HeaderValue, StatusCode, header};
use serde_json::{Map, Value, json};

use super::{digests, names};
use crate::{
    model::{Refusal, RequestId},
    wire::{
        Answer, Words,
        refusals::{self, Said},
    },
};

const REGISTRY: &str = "https://iana.org/assignments/http-problem-types";

/// The answer that a refusal makes.
pub(super) fn answer(refusal: &Refusal) -> Answer {
    if let Refusal::Rejected(rejection) | Refusal::Refused(rejection) = refusal {
        return refusals::rejected(rejection);
    }
    let Said { status, code, text, mut headers } = adapted(refusal);
    let mut members = Map::new();
    // Whoever hides an upload says what is said of an unknown one, in its words.
    let (kind, title) = typed(refusal, status);
    members.insert("type".to_owned(), kind.into());
    members.insert("title".to_owned(), title.into());
    members.insert("status".to_owned(), status.as_u16().into());
    members.insert("detail".to_owned(), text.into());
    members.insert("code".to_owned(), code.into());
    if let Refusal::OffsetMismatch { expected, provided } = refusal {
        members.insert("expected-offset".to_owned(), json!(expected));
        members.insert("provided-offset".to_owned(), json!(provided));
    }
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(names::PROBLEM_JSON));
    let body = Value::Object(members).to_string();
    Answer { status, headers, body: body.into(), words: Words::Problem }
}

/// The type and title of a problem: a registered one, or the status itself (RFC 9457, section
/// 4.2.1).
fn typed(refusal: &Refusal, status: StatusCode) -> (String, &'static str) {
    let registered = |name| format!("{REGISTRY}#{name}");
    match refusal {
        Refusal::OffsetMismatch { .. } => {
            (registered("mismatching-upload-offset"), "Mismatching Upload Offset")
        }
        Refusal::LengthMismatch | Refusal::LengthTooShort | Refusal::BodyTooLong => {
            (registered("inconsistent-upload-length"), "Inconsistent Upload Length Values")
        }
        // Registered by the drafts up to -11.
        Refusal::AlreadyComplete => (registered("completed-upload"), "Upload Is Completed"),
        _ => ("about:blank".to_owned(), status.canonical_reason().unwrap_or("Error")),
    }
}

/// The words for a refusal, where tus has others.
fn adapted(refusal: &Refusal) -> Said {
    let mut said = refusals::say(refusal);
    if *refusal == Refusal::WholeDigestMismatch {
        // 460 is tus's own.
        said.status = StatusCode::BAD_REQUEST;
    }
    let (status, code, text) = match refusal {
        Refusal::UnsupportedMediaType => {
            (said.status, said.code, "Content-Type must be application/partial-upload.")
        }
        Refusal::LengthMismatch => (
            said.status,
            said.code,
            "The length is not the one that was declared before, or that follows from \
             Upload-Complete and Content-Length.",
        ),
        Refusal::BodyTooLong => (
            StatusCode::BAD_REQUEST,
            said.code,
            "The content is longer than what the upload still lacks.",
        ),
        Refusal::DigestMismatch => {
            digests::add_preferences(&mut said.headers, &names::WANT_CONTENT_DIGEST);
            (
                StatusCode::BAD_REQUEST,
                "digest_mismatch",
                "The content does not have this digest; none of it was kept.",
            )
        }
        Refusal::DigestMissing => {
            digests::add_preferences(&mut said.headers, &names::WANT_CONTENT_DIGEST);
            (
                StatusCode::BAD_REQUEST,
                "digest_missing",
                "The digest that the request promised did not come; none of its content was kept.",
            )
        }
        // A client gives up after 4xx, and comes back after 5xx (RUFH, section 4.4.1).
        Refusal::Locked => {
            (StatusCode::SERVICE_UNAVAILABLE, said.code, "Another request holds this upload.")
        }
        Refusal::Preempted => (
            StatusCode::SERVICE_UNAVAILABLE,
            said.code,
            "Another request asked for this upload; what arrived is kept.",
        ),
        _ => return said,
    };
    (said.status, said.code, said.text) = (status, code, Cow::Borrowed(text));
    said
}

/// Names the request in a problem document.
pub(in crate::wire) fn sign(answer: &mut Answer, id: &RequestId) {
    // It was written here, as an object.
    if let Ok(mut members) = serde_json::from_slice::<Map<String, Value>>(&answer.body) {
        members.insert("request".to_owned(), id.as_str().into());
        answer.body = Value::Object(members).to_string().into();
    }
}
