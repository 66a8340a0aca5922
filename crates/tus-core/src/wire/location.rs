//! Paths and URLs: which resource a request names, and what its URL is to the outside.

use std::net::IpAddr;

use http::{HeaderMap, HeaderName, header, uri::Authority};

use super::names;
use crate::model::{InvalidId, Policy, TrustedProxy, UploadId};

/// The resource that a path names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// Where uploads are created.
    Collection,
    /// An upload.
    Upload(UploadId),
    /// A resource of the application's.
    Elsewhere,
    /// Nothing that can exist here.
    Nowhere,
}

/// Where uploads live: the path prefix on our side, and the URL that clients know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mount {
    path: String,
    public: String,
    client: Option<IpAddr>,
}

impl Mount {
    /// The mount as this request shows it.
    pub(crate) fn new(
        path: &str,
        policy: &Policy,
        headers: &HeaderMap,
        peer: Option<IpAddr>,
    ) -> Self {
        let path = path.trim_end_matches('/').to_owned();
        let forwarded = Forwarded::read(headers, peer, &policy.trusted_proxies);
        let public = match &policy.public_url {
            Some(url) => url.trim_end_matches('/').to_owned(),
            None => format!("{}{path}", forwarded.origin_and_prefix(headers)),
        };
        Self { path, public, client: forwarded.client }
    }

    /// The path prefix on our side.
    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    /// The client's address: the peer's, or what trusted proxies say.
    pub(crate) fn client(&self) -> Option<IpAddr> {
        self.client
    }

    /// Which resource a full path names; the mount answers with and without a trailing slash.
    pub(crate) fn target(&self, path: &str) -> Target {
        path.strip_prefix(&self.path).map_or(Target::Nowhere, |tail| self.target_below(tail))
    }

    /// Which resource a path below the mount names.
    pub(crate) fn target_below(&self, tail: &str) -> Target {
        match tail {
            "" | "/" => Target::Collection,
            tail => tail
                .strip_prefix('/')
                .and_then(|id| id.parse().ok())
                .map_or(Target::Nowhere, Target::Upload),
        }
    }

    /// The URL of an upload, as clients are told.
    pub(crate) fn url(&self, id: &UploadId) -> String {
        format!("{}/{id}", self.public)
    }

    /// The upload that a client's URL names: absolute, path-absolute, relative, or just its id.
    ///
    /// Nothing is ever fetched, so the host does not matter; the path must be that of the mount,
    /// as seen here or from outside.
    pub(crate) fn resolve(&self, url: &str) -> Result<UploadId, InvalidId> {
        let url = url.split(['?', '#']).next().unwrap_or_default();
        if !url.contains('/') {
            return url.parse();
        }
        let absolute = path_of(url);
        // A relative reference counts from the collection, whose URL may end in a slash or not
        // (RFC 3986, section 5.2).
        let parent = self.path.rsplit_once('/').map_or("", |(parent, _)| parent);
        let candidates = match absolute {
            Some(path) => vec![path.to_owned()],
            None => vec![without_dots(&self.path, url), without_dots(parent, url)],
        };
        let public = path_of(&self.public).unwrap_or_default();
        let inside = |path: &String| {
            let (before, id) = path.rsplit_once('/')?;
            (before == self.path || before == public).then(|| id.parse().ok())?
        };
        candidates.iter().find_map(inside).ok_or(InvalidId)
    }
}

/// The path of a URL that has one from the root; `None` for a relative reference.
fn path_of(url: &str) -> Option<&str> {
    let rest = match url.split_once("://") {
        Some((_, rest)) => rest,
        None => match url.strip_prefix("//") {
            Some(rest) => rest,
            None => return url.starts_with('/').then_some(url),
        },
    };
    Some(rest.find('/').and_then(|at| rest.get(at..)).unwrap_or_default())
}

/// A relative reference below a folder, without its dot segments (RFC 3986, section 5.2.4).
fn without_dots(folder: &str, reference: &str) -> String {
    let mut segments: Vec<&str> = folder.split('/').collect();
    for segment in reference.split('/') {
        match segment {
            "." => {}
            ".." => {
                segments.pop();
            }
            segment => segments.push(segment),
        }
    }
    segments.join("/")
}

/// What trusted proxies say about the client's side of the connection.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Forwarded {
    /// The client's address.
    pub(crate) client: Option<IpAddr>,
    proto: Option<String>,
    host: Option<String>,
    prefix: Option<String>,
}

impl Forwarded {
    /// Reads `Forwarded` (RFC 7239) or the `X-Forwarded-*` headers, if the peer is trusted.
    ///
    /// Each proxy adds to the right, so the list is read from there; as long as the address on
    /// the right is itself a trusted proxy, what stands left of it was written by that one.
    pub(crate) fn read(
        headers: &HeaderMap,
        peer: Option<IpAddr>,
        trusted: &[TrustedProxy],
    ) -> Self {
        let believed = |address| trusted.iter().any(|proxy| proxy.covers(address));
        if !believed(peer) {
            return Self { client: peer, ..Self::default() };
        }
        let elements = list(headers, &header::FORWARDED);
        let mut found = if elements.is_empty() {
            let hops: Vec<_> =
                list(headers, &names::X_FORWARDED_FOR).iter().map(|hop| address(hop)).collect();
            let back = hops.iter().rev().take_while(|hop| hop.is_some() && believed(**hop)).count();
            let at = |name| {
                let values = list(headers, name);
                let index = values.len().saturating_sub(back + 1);
                values.get(index).cloned()
            };
            Self {
                client: hops.iter().rev().nth(back).copied().flatten().or(peer),
                proto: at(&names::X_FORWARDED_PROTO),
                host: at(&names::X_FORWARDED_HOST),
                prefix: None,
            }
        } else {
            let parsed: Vec<_> = elements.iter().map(|element| Self::element(element)).collect();
            let far = |f: &&Self| f.client.is_some() && believed(f.client);
            let back = parsed.iter().rev().take_while(far).count();
            let index = parsed.len().saturating_sub(back + 1);
            parsed.into_iter().nth(index).unwrap_or_default()
        };
        found.prefix = list(headers, &names::X_FORWARDED_PREFIX).pop();
        found.client = found.client.or(peer);
        found
    }

    fn element(text: &str) -> Self {
        let mut found = Self::default();
        for pair in text.split(';') {
            let Some((name, value)) = pair.split_once('=') else {
                continue;
            };
            let value = value.trim().trim_matches('"');
            match name.trim().to_ascii_lowercase().as_str() {
                "for" => found.client = address(value),
                "proto" => found.proto = Some(value.to_owned()),
                "host" => found.host = Some(value.to_owned()),
                _ => {}
            }
        }
        found
    }

    /// `https://host/prefix` where a proxy says so; empty where nothing is known, so that a URL
    /// stays path-absolute.
    fn origin_and_prefix(&self, headers: &HeaderMap) -> String {
        let segment = |b: u8| b.is_ascii_alphanumeric() || b"-._~/".contains(&b);
        let prefix = self.prefix.as_deref().map(|prefix| prefix.trim_end_matches('/'));
        let prefix =
            prefix.filter(|p| p.starts_with('/') && !p.starts_with("//") && p.bytes().all(segment));
        let own = headers.get(header::HOST).and_then(|host| host.to_str().ok());
        let host = self.host.as_deref().or(own).filter(|host| host.parse::<Authority>().is_ok());
        let proto = self.proto.as_deref().map(str::to_ascii_lowercase);
        let proto = proto.filter(|proto| proto == "http" || proto == "https");
        let origin = match (proto, host) {
            (Some(proto), Some(host)) => format!("{proto}://{host}"),
            _ => String::new(),
        };
        format!("{origin}{}", prefix.unwrap_or_default())
    }
}

/// The items of a comma-separated header, from all its lines.
fn list(headers: &HeaderMap, name: &HeaderName) -> Vec<String> {
    let lines = headers.get_all(name).iter().filter_map(|line| line.to_str().ok());
    let items = lines.flat_map(|line| line.split(',')).map(str::trim);
    items.filter(|item| !item.is_empty()).map(str::to_owned).collect()
}

/// An address, perhaps with a port, perhaps in brackets.
fn address(text: &str) -> Option<IpAddr> {
    let text = text.trim().trim_matches('"');
    if let Ok(address) = text.parse() {
        return Some(address);
    }
    if let Some(rest) = text.strip_prefix('[') {
        return rest.split(']').next().and_then(|inner| inner.parse().ok());
    }
    text.rsplit_once(':').and_then(|(host, _)| host.parse().ok())
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    const PROXY: &str = "10.0.0.1";

    fn mount(policy: &Policy, peer: &str, headers: &[(&'static str, &'static str)]) -> Mount {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, HeaderValue::from_static(value));
        }
        Mount::new("/files/", policy, &map, Some(peer.parse().unwrap()))
    }

    fn behind_proxy() -> Policy {
        Policy { trusted_proxies: vec!["10.0.0.0/8".parse().unwrap()], ..Policy::default() }
    }

    #[test]
    fn both_forms_of_the_mount_and_one_segment_below_it_are_resources() {
        let mount = mount(&Policy::default(), PROXY, &[]);
        let upload = |id: &str| Target::Upload(id.parse().unwrap());
        let table = [
            ("/files", Target::Collection),
            ("/files/", Target::Collection),
            ("/files/abc", upload("abc")),
            ("/files/abc/", Target::Nowhere),
            ("/files/a/b", Target::Nowhere),
            ("/files//", Target::Nowhere),
            ("/files/..", Target::Nowhere),
            ("/files/%2e%2e", Target::Nowhere),
            ("/files/abc.rec", Target::Nowhere),
            ("/filesabc", Target::Nowhere),
            ("/", Target::Nowhere),
        ];
        for (path, expected) in table {
            assert_eq!(mount.target(path), expected, "{path}");
        }
    }

    #[test]
    fn the_url_is_path_absolute_unless_told_otherwise() {
        let id: UploadId = "abc".parse().unwrap();
        const FORWARDED: &[(&str, &str)] = &[("forwarded", "for=1.2.3.4;proto=https;host=up.test")];
        type Row = (Policy, &'static str, &'static [(&'static str, &'static str)], &'static str);
        let table: &[Row] = &[
            (Policy::default(), PROXY, &[("host", "h.test")], "/files/abc"),
            (Policy::default(), PROXY, FORWARDED, "/files/abc"),
            (behind_proxy(), "192.168.0.1", FORWARDED, "/files/abc"),
            (behind_proxy(), PROXY, FORWARDED, "https://up.test/files/abc"),
            (behind_proxy(), PROXY, &[("host", "h.test")], "/files/abc"),
            (
                behind_proxy(),
                PROXY,
                &[("host", "h.test"), ("x-forwarded-proto", "https")],
                "https://h.test/files/abc",
            ),
            (
                behind_proxy(),
                PROXY,
                &[("x-forwarded-prefix", "/api/"), ("x-forwarded-host", "h.test")],
                "/api/files/abc",
            ),
            (
                behind_proxy(),
                PROXY,
                &[("x-forwarded-proto", "javascript"), ("x-forwarded-host", "h.test")],
                "/files/abc",
            ),
            (
                behind_proxy(),
                PROXY,
                &[("x-forwarded-proto", "https"), ("x-forwarded-host", "a b")],
                "/files/abc",
            ),
            (
                behind_proxy(),
                PROXY,
                // The client's own lie stands on the left; the trusted proxy wrote the right.
                &[("forwarded", "proto=http;host=evil.test, for=1.2.3.4;proto=https;host=up.test")],
                "https://up.test/files/abc",
            ),
            (
                behind_proxy(),
                PROXY,
                // The address on the right is a trusted proxy too: it wrote what is left of it.
                &[("forwarded", "for=1.2.3.4;proto=https;host=up.test, for=10.0.0.2;proto=http")],
                "https://up.test/files/abc",
            ),
            (
                Policy { public_url: Some("https://p.test/u/".into()), ..Policy::default() },
                PROXY,
                &[],
                "https://p.test/u/abc",
            ),
        ];
        for (policy, peer, headers, expected) in table {
            let mut map = HeaderMap::new();
            for (name, value) in *headers {
                map.append(
                    HeaderName::from_bytes(name.as_bytes()).unwrap(),
                    HeaderValue::from_str(value).unwrap(),
                );
            }
            let mount = Mount::new("/files", policy, &map, Some(peer.parse().unwrap()));
            assert_eq!(mount.url(&id), *expected, "{headers:?}");
        }
    }

    #[test]
    fn urls_of_parts_resolve_to_ids_of_this_mount_only() {
        let policy = Policy { public_url: Some("https://p.test/u".into()), ..Policy::default() };
        let mount = mount(&policy, PROXY, &[]);
        for good in [
            "abc",
            "/files/abc",
            "http://h.test/files/abc",
            "https://h.test:8080/files/abc?x=y#z",
            "//h.test/files/abc",
            "./abc",
            "files/abc",
            "../files/abc",
            "./x/../abc",
            "/u/abc",
            "https://p.test/u/abc",
        ] {
            assert_eq!(mount.resolve(good).map(String::from).as_deref(), Ok("abc"), "{good}");
        }
        for bad in [
            "",
            "/",
            "/other/abc",
            "/files/",
            "http://h.test",
            "/files/../abc",
            "/files/a.b",
            "/api/files/abc",
            "/files/abc,/files/abc",
            "x/files/abc",
            "../../other/abc",
        ] {
            assert!(mount.resolve(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_clients_address_is_the_first_one_that_is_no_trusted_proxy() {
        let mut headers = HeaderMap::new();
        let value = HeaderValue::from_static("9.9.9.9, 1.2.3.4:55, 10.0.0.2");
        headers.insert(&names::X_FORWARDED_FOR, value);
        let trusted = behind_proxy().trusted_proxies;
        let peer = Some(PROXY.parse().unwrap());
        let client = Forwarded::read(&headers, peer, &trusted).client;
        assert_eq!(client, Some("1.2.3.4".parse().unwrap()));
        assert_eq!(Forwarded::read(&headers, peer, &[]).client, peer);
        assert_eq!(address("\"[2001:db8::1]:80\""), Some("2001:db8::1".parse().unwrap()));
        assert_eq!(address("_hidden"), None);
    }
}
