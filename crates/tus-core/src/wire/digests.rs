//! Digests in fields of their own (RFC 9530; RUFH, section 8).
//!
//! Whatever cannot be read, or names an algorithm that is not computed here, is ignored: a
//! recipient may ignore any digest (RFC 9530, section 2 and 3).

use http::{HeaderMap, HeaderName, StatusCode};
use sfv::BareItem;

use super::{Answer, Dialect, Offer, names, structured, trailers};
use crate::model::{Algorithm, Digest, Extension, Hasher, Promise, Refusal, Whole};

/// The registered names of what is computed here (RFC 9530, section 7.2), strongest first.
const REGISTERED: [(&str, Algorithm); 4] = [
    ("sha-512", Algorithm::Sha512),
    ("sha-256", Algorithm::Sha256),
    ("sha", Algorithm::Sha1),
    ("md5", Algorithm::Md5),
];

/// What is told that we can verify. SHA-256 costs the server half of what SHA-512 does.
const PREFERRED: [(&str, u64); 2] = [("sha-512", 5), ("sha-256", 10)];

/// What a request promises about its content (RFC 9530, section 2).
///
/// A promise in a trailer is one only where trailers come through.
pub(super) fn promise(headers: &HeaderMap, offer: &Offer) -> Promise {
    let in_trailer = || {
        let offered = offer.discovery.has(Extension::ChecksumTrailer);
        (offered && trailers::declared(headers, &names::CONTENT_DIGEST)).then_some(Promise::Trailer)
    };
    let digest = of_content(headers, offer).map(Promise::Digest);
    digest.or_else(in_trailer).unwrap_or_default()
}

/// The digest of the content that a head, or a trailer, brings.
pub(super) fn of_content(headers: &HeaderMap, offer: &Offer) -> Option<Digest> {
    strongest(headers, &names::CONTENT_DIGEST).filter(|_| offered(offer))
}

/// What a creation says of all bytes of the upload (RUFH, section 8.1).
pub(super) fn whole(headers: &HeaderMap, offer: &Offer) -> Result<Whole, Refusal> {
    let wanted = preferred(headers, &names::WANT_REPR_DIGEST).filter(|_| offered(offer));
    Ok(Whole { expected: expected(headers, offer)?, wanted })
}

/// What all bytes of the upload have to be (RFC 9530, section 3).
///
/// What they can never be is refused before they are sent.
pub(super) fn expected(headers: &HeaderMap, offer: &Offer) -> Result<Option<Digest>, Refusal> {
    let expected = strongest(headers, &names::REPR_DIGEST).filter(|_| offered(offer));
    match &expected {
        Some(Digest { algorithm, value }) if value.len() != algorithm.size() => {
            Err(Refusal::InvalidHeader("repr-digest"))
        }
        _ => Ok(expected),
    }
}

/// The digest of the answer's content that a client wants (RFC 9530, section 4).
pub(crate) fn wanted_of_answer(headers: &HeaderMap) -> Option<Algorithm> {
    preferred(headers, &names::WANT_CONTENT_DIGEST)
}

/// Says the digest of an answer's content, in RUFH, if that is wanted and there can be content
/// (RFC 9530, section 2).
pub(crate) fn add_content_digest(answer: &mut Answer, dialect: Dialect, wanted: Option<Algorithm>) {
    let Some(algorithm) = wanted.filter(|_| matches!(dialect, Dialect::Rufh(_))) else { return };
    if [StatusCode::NO_CONTENT, StatusCode::NOT_MODIFIED].contains(&answer.status) {
        return;
    }
    let mut hasher = Hasher::new(algorithm);
    hasher.update(&answer.body);
    add(&mut answer.headers, &names::CONTENT_DIGEST, &hasher.finish());
}

/// Says a digest of the content or of the whole.
fn add(headers: &mut HeaderMap, name: &'static HeaderName, digest: &Digest) {
    let registered = REGISTERED.into_iter().find(|(_, algorithm)| *algorithm == digest.algorithm);
    let member = registered.map(|(key, _)| (key, BareItem::ByteSequence(digest.value.clone())));
    if let Some(value) = structured::write_dictionary(member) {
        headers.insert(name, value);
    }
}

/// Says the digest of all bytes of an upload, where its client wants to hear it.
pub(super) fn add_whole(headers: &mut HeaderMap, digest: Option<&Digest>) {
    if let Some(digest) = digest {
        add(headers, &names::REPR_DIGEST, digest);
    }
}

/// Says which digests we can verify (RFC 9530, section 4 and 5).
pub(super) fn add_preferences(headers: &mut HeaderMap, name: &'static HeaderName) {
    let members = PREFERRED.map(|(key, weight)| (key, structured::of_integer(weight)));
    if let Some(value) = structured::write_dictionary(members) {
        headers.insert(name, value);
    }
}

fn offered(offer: &Offer) -> bool {
    offer.discovery.has(Extension::Checksum)
}

/// The digest of the strongest algorithm that is known here.
///
/// A value of the wrong length is the digest of nothing, so nothing will be found to have it.
fn strongest(headers: &HeaderMap, name: &HeaderName) -> Option<Digest> {
    let mut members = structured::dictionary(headers, name);
    REGISTERED.into_iter().find_map(|(key, algorithm)| {
        let position = members.iter().position(|(member, _)| member == key)?;
        match members.swap_remove(position).1 {
            BareItem::ByteSequence(value) => Some(Digest { algorithm, value }),
            _ => None,
        }
    })
}

/// The algorithm that is wanted most, of those known here: from 1 to 10, where 0 is not at all.
fn preferred(headers: &HeaderMap, name: &HeaderName) -> Option<Algorithm> {
    let members = structured::dictionary(headers, name);
    let weight = |key| {
        let (_, value) = members.iter().find(|(member, _)| member == key)?;
        let weight = i64::from(value.as_integer()?);
        (1..=10).contains(&weight).then_some(weight)
    };
    let known = REGISTERED.into_iter().rev();
    let wanted = known.filter_map(|(key, algorithm)| Some((weight(key)?, algorithm)));
    // Of equals the last, which is the strongest.
    wanted.max_by_key(|(weight, _)| *weight).map(|(_, algorithm)| algorithm)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn field(name: &'static HeaderName, lines: &[&'static str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(name, HeaderValue::from_static(line));
        }
        headers
    }

    #[test]
    fn the_strongest_digest_that_is_known_counts() {
        use Algorithm::{Md5, Sha1, Sha256, Sha512};
        for (lines, expected) in [
            (&["sha-256=:AAE=:"][..], Some((Sha256, vec![0, 1]))),
            (&["md5=:AA==:, sha-512=:AQ==:, sha=:Ag==:"], Some((Sha512, vec![1]))),
            (&["md5=:AA==:", "sha=:Ag==:"], Some((Sha1, vec![2]))),
            (&["md5=:AA==:;x=1"], Some((Md5, vec![0]))),
            (&["sha-256=::"], Some((Sha256, vec![]))),
            (&["sha-512=\"AA==\", sha-256=:AA==:"], Some((Sha256, vec![0]))),
            (&["sha-512=(:AA==:)"], None),
            (&["crc32c=:AAAAAA==:, sha3-256=:AA==:"], None),
            (&["SHA-256=:AA==:"], None),
            (&["sha-256=AA=="], None),
            (&["sha-256=:AA==:, ?"], None),
            (&["sha-256=:?:"], None),
            (&[""], None),
            (&[], None),
        ] {
            let found = strongest(&field(&names::CONTENT_DIGEST, lines), &names::CONTENT_DIGEST);
            assert_eq!(found.map(|digest| (digest.algorithm, digest.value)), expected, "{lines:?}");
        }
    }

    #[test]
    fn what_is_wanted_most_is_chosen_of_what_is_known() {
        use Algorithm::{Md5, Sha256, Sha512};
        for (line, expected) in [
            ("sha-512=3, sha-256=10, unixsum=0", Some(Sha256)),
            ("sha-256=5, sha-512=5", Some(Sha512)),
            ("sha3-512=10, md5=1", Some(Md5)),
            ("sha-256=0", None),
            ("sha-256=11, sha-512=-1", None),
            ("sha-256=11, sha-512=1", Some(Sha512)),
            ("sha-256=1.0", None),
            ("sha-256", None),
            ("sha-256=", None),
            ("unixsum=10", None),
        ] {
            let headers = field(&names::WANT_REPR_DIGEST, &[line]);
            assert_eq!(preferred(&headers, &names::WANT_REPR_DIGEST), expected, "{line:?}");
        }
    }

    #[test]
    fn a_digest_is_written_as_it_is_read() {
        let digest = Digest { algorithm: Algorithm::Sha256, value: vec![0, 255] };
        let mut headers = HeaderMap::new();
        add(&mut headers, &names::REPR_DIGEST, &digest);
        assert_eq!(headers[&names::REPR_DIGEST], "sha-256=:AP8=:");
        assert_eq!(strongest(&headers, &names::REPR_DIGEST), Some(digest));
        add_preferences(&mut headers, &names::WANT_CONTENT_DIGEST);
        assert_eq!(headers[&names::WANT_CONTENT_DIGEST], "sha-512=5, sha-256=10");
    }

    #[test]
    fn what_has_no_registered_name_is_not_told() {
        let mut headers = HeaderMap::new();
        let digest = Digest { algorithm: Algorithm::Crc32, value: vec![0; 4] };
        add(&mut headers, &names::REPR_DIGEST, &digest);
        assert!(headers.is_empty());
    }
}
