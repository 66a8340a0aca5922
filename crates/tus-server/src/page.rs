//! The upload page: one file, built in.

use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};

const TEMPLATE: &str = include_str!("../page/index.html");

/// The page, told where uploads are.
#[derive(Clone, Debug)]
pub(crate) struct Page {
    html: String,
}

impl Page {
    pub(crate) fn new(endpoint: &str) -> Self {
        let mut escaped = String::new();
        for c in endpoint.chars() {
            match c {
                '&' => escaped.push_str("&amp;"),
                '"' => escaped.push_str("&quot;"),
                '<' => escaped.push_str("&lt;"),
                '>' => escaped.push_str("&gt;"),
                c => escaped.push(c),
            }
        }
        Self { html: TEMPLATE.replace("__TUS_ENDPOINT__", &escaped) }
    }

    /// The page, allowed to run its own script and style and to speak to this server, no more.
    pub(crate) fn answer(&self) -> Response {
        let nonce = uuid::Uuid::new_v4().simple().to_string();
        let policy = format!(
            "default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; \
             img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; \
             frame-ancestors 'none'"
        );
        let Ok(policy) = HeaderValue::try_from(policy) else {
            return StatusCode::INTERNAL_SERVER_ERROR.into_response();
        };
        let headers = [
            (header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8")),
            (header::CONTENT_SECURITY_POLICY, policy),
            (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
            (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
            (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
        ];
        (headers, self.html.replace("__NONCE__", &nonce)).into_response()
    }
}
