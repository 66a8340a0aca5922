use std::{str::FromStr, time::Duration};

/// Which web pages of other origins may use the uploads.
///
/// The default lets every origin in without credentials, so that a browser client works at once;
/// every header that the protocols read is allowed, every one that they send is exposed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Cors {
    /// The origins that are let in.
    pub origins: Origins,
    /// Whether browsers may send cookies and other credentials; never with [`Origins::Any`].
    pub credentials: bool,
    /// Request headers of the application's own (such as `authorization`) to allow as well.
    pub allow_headers: Vec<String>,
    /// Response headers of the application's own to expose as well.
    pub expose_headers: Vec<String>,
    /// How long a browser may remember a preflight.
    pub max_age: Duration,
}

impl Default for Cors {
    fn default() -> Self {
        Self {
            origins: Origins::Any,
            credentials: false,
            allow_headers: vec!["authorization".to_owned()],
            expose_headers: Vec::new(),
            max_age: Duration::from_secs(24 * 60 * 60),
        }
    }
}

impl Cors {
    /// No CORS header at all, for an application that has its own layer.
    pub fn off() -> Self {
        Self { origins: Origins::Off, ..Self::default() }
    }

    /// Lets in the origins of a list.
    pub fn origins(list: impl IntoIterator<Item = OriginPattern>) -> Self {
        Self { origins: Origins::List(list.into_iter().collect()), ..Self::default() }
    }

    /// Lets browsers send credentials.
    #[must_use]
    pub fn with_credentials(mut self) -> Self {
        self.credentials = true;
        self
    }
}

/// The origins that are let in.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Origins {
    /// None; no CORS header is sent.
    Off,
    /// Every one, as `*`.
    Any,
    /// Those that match one of these.
    List(Vec<OriginPattern>),
}

/// One origin, or all whose host ends alike.
///
/// ```
/// use tus_core::OriginPattern;
///
/// let pattern: OriginPattern = "https://*.example.org".parse().unwrap();
/// assert!(pattern.matches("https://app.example.org"));
/// assert!(!pattern.matches("https://example.org.evil.test"));
/// assert!(!pattern.matches("http://app.example.org"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OriginPattern {
    prefix: String,
    suffix: Option<String>,
}

impl OriginPattern {
    /// Whether an `Origin` header's value is one of these.
    pub fn matches(&self, origin: &str) -> bool {
        let origin = origin.to_ascii_lowercase();
        let Some(suffix) = &self.suffix else {
            return origin == self.prefix;
        };
        let label = origin.strip_prefix(&self.prefix).and_then(|rest| rest.strip_suffix(suffix));
        let host = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'.';
        label.is_some_and(|label| !label.is_empty() && label.bytes().all(host))
    }
}

impl FromStr for OriginPattern {
    type Err = InvalidOrigin;

    fn from_str(text: &str) -> Result<Self, InvalidOrigin> {
        let lower = text.to_ascii_lowercase();
        if lower == "null" {
            return Ok(Self { prefix: lower, suffix: None });
        }
        let invalid = || InvalidOrigin(text.to_owned());
        let (scheme, host) = lower.split_once("://").ok_or_else(invalid)?;
        let plain = |part: &str| {
            !part.is_empty()
                && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._:[]+".contains(&b))
        };
        if !plain(scheme) {
            return Err(invalid());
        }
        match host.strip_prefix("*.") {
            Some(domain) if plain(domain) => {
                Ok(Self { prefix: format!("{scheme}://"), suffix: Some(format!(".{domain}")) })
            }
            None if plain(host) => Ok(Self { prefix: lower, suffix: None }),
            _ => Err(invalid()),
        }
    }
}

/// The text is not an origin.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is not an origin; write scheme://host[:port], or scheme://*.domain for all its hosts"
)]
pub struct InvalidOrigin(String);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_whole_origins_only() {
        let table = [
            ("https://a.test", "https://a.test", true),
            ("https://a.test", "https://A.test", true),
            ("https://a.test", "https://a.test:444", false),
            ("https://a.test", "https://a.test.evil", false),
            ("https://*.a.test", "https://b.c.a.test", true),
            ("https://*.a.test", "https://a.test", false),
            ("https://*.a.test", "https://evil/.a.test", false),
            ("https://*.a.test:8443", "https://b.a.test:8443", true),
            ("null", "null", true),
        ];
        for (pattern, origin, expected) in table {
            let pattern: OriginPattern = pattern.parse().unwrap();
            assert_eq!(pattern.matches(origin), expected, "{pattern:?} {origin}");
        }
    }

    #[test]
    fn what_is_no_origin_is_refused() {
        for text in ["", "*", "a.test", "https://", "https://*", "https://a.*", "https://a/b"] {
            assert!(text.parse::<OriginPattern>().is_err(), "{text:?}");
        }
    }
}
