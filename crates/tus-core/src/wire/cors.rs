//! What browsers ask before and after they let a page of another origin speak to us.

use http::{HeaderMap, HeaderName, HeaderValue, Method, header};

use super::names;
use crate::model::{Cors, Origins};

/// Whether an OPTIONS request is a browser's preflight (Fetch, CORS-preflight request).
pub(crate) fn is_preflight(method: &Method, headers: &HeaderMap) -> bool {
    method == Method::OPTIONS
        && headers.contains_key(header::ORIGIN)
        && headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
}

/// Adds what the policy grants to the origin that asks.
pub(crate) fn add_cors(cors: &Cors, preflight: bool, request: &HeaderMap, answer: &mut HeaderMap) {
    let Some(origin) = granted(cors, request, answer) else {
        return;
    };
    answer.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    if cors.credentials {
        let yes = HeaderValue::from_static("true");
        answer.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, yes);
    }
    if preflight {
        let methods = HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS");
        answer.insert(header::ACCESS_CONTROL_ALLOW_METHODS, methods);
        insert_list(
            answer,
            &header::ACCESS_CONTROL_ALLOW_HEADERS,
            names::READ,
            &cors.allow_headers,
        );
        answer.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from(cors.max_age.as_secs()));
    } else {
        let exposed = &header::ACCESS_CONTROL_EXPOSE_HEADERS;
        insert_list(answer, exposed, names::SENT, &cors.expose_headers);
    }
}

/// The value of `Access-Control-Allow-Origin`, if this origin is let in.
fn granted(cors: &Cors, request: &HeaderMap, answer: &mut HeaderMap) -> Option<HeaderValue> {
    let origin = request.get(header::ORIGIN);
    match &cors.origins {
        Origins::Off => None,
        Origins::Any => origin.map(|_| HeaderValue::from_static("*")),
        Origins::List(patterns) => {
            // The answer differs by origin, so caches must keep them apart, also the answer to
            // a request without one.
            answer.append(header::VARY, HeaderValue::from_static("Origin"));
            let origin = origin?;
            let text = origin.to_str().ok()?;
            patterns.iter().any(|pattern| pattern.matches(text)).then(|| origin.clone())
        }
    }
}

fn insert_list(answer: &mut HeaderMap, name: &HeaderName, ours: &[&HeaderName], more: &[String]) {
    let mut list: Vec<&str> = ours.iter().map(|name| name.as_str()).collect();
    list.extend(more.iter().map(String::as_str));
    if let Ok(value) = HeaderValue::from_str(&list.join(", ")) {
        answer.insert(name, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(cors: &Cors, preflight: bool, origin: Option<&'static str>) -> HeaderMap {
        let mut request = HeaderMap::new();
        if let Some(origin) = origin {
            request.insert(header::ORIGIN, HeaderValue::from_static(origin));
        }
        let mut answer = HeaderMap::new();
        add_cors(cors, preflight, &request, &mut answer);
        answer
    }

    #[test]
    fn by_default_every_origin_may_ask_without_credentials() {
        let answer = ask(&Cors::default(), false, Some("https://a.test"));
        assert_eq!(answer[header::ACCESS_CONTROL_ALLOW_ORIGIN], "*");
        assert!(!answer.contains_key(header::ACCESS_CONTROL_ALLOW_CREDENTIALS));
        assert!(ask(&Cors::default(), false, None).is_empty());
    }

    #[test]
    fn every_header_we_read_is_allowed_and_every_one_we_send_exposed() {
        let preflight = ask(&Cors::default(), true, Some("https://a.test"));
        let allowed = preflight[header::ACCESS_CONTROL_ALLOW_HEADERS].to_str().unwrap();
        for name in names::READ {
            assert!(allowed.split(", ").any(|n| n == name.as_str()), "{name}");
        }
        let answer = ask(&Cors::default(), false, Some("https://a.test"));
        let exposed = answer[header::ACCESS_CONTROL_EXPOSE_HEADERS].to_str().unwrap();
        for name in names::SENT {
            assert!(exposed.split(", ").any(|n| n == name.as_str()), "{name}");
        }
    }

    #[test]
    fn a_list_lets_in_its_own_and_tells_caches() {
        let cors = Cors::origins(["https://*.a.test".parse().unwrap()]).with_credentials();
        let inside = ask(&cors, false, Some("https://b.a.test"));
        assert_eq!(inside[header::ACCESS_CONTROL_ALLOW_ORIGIN], "https://b.a.test");
        assert_eq!(inside[header::ACCESS_CONTROL_ALLOW_CREDENTIALS], "true");
        assert_eq!(inside[header::VARY], "Origin");
        let outside = ask(&cors, false, Some("https://evil.test"));
        assert!(!outside.contains_key(header::ACCESS_CONTROL_ALLOW_ORIGIN));
        assert_eq!(outside[header::VARY], "Origin");
    }
}
