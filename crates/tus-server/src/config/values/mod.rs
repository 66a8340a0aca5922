//! From text to values. An error is the end of a line that begins with setting and value: what
//! is wrong with it and what to write instead.

mod choice;
mod peers;
mod quantity;
#[cfg(test)]
mod tests;

use std::path::PathBuf;

use tracing_subscriber::EnvFilter;

pub(crate) use choice::{Durability, ExistingFile, ExpireMode, FileNameFormat, Interim, LogFormat};
pub(crate) use peers::{origins, proxies};
pub(crate) use quantity::{
    count, count_limit, duration, field_size, head_size, lifetime, positive_duration, reserve,
    size_limit,
};

/// The word for "not set", so that a stronger source can take back what a weaker one set.
const NONE: &str = "none";

/// What a parser gives: a value, or the end of the line about a wrong one.
pub(crate) type Parsed<T> = Result<T, String>;

fn none_or<T>(text: &str, parse: impl FnOnce(&str) -> Parsed<T>) -> Parsed<Option<T>> {
    if text == NONE { Ok(None) } else { parse(text).map(Some) }
}

/// A switch.
pub(crate) fn switch(text: &str) -> Parsed<bool> {
    match text {
        "true" | "1" => Ok(true),
        "false" | "0" => Ok(false),
        _ => Err("is neither true nor false; write one of them".to_owned()),
    }
}

/// A file system path.
pub(crate) fn path(text: &str) -> Parsed<PathBuf> {
    if text.is_empty() || text.contains('\0') {
        return Err("is not a path; name one, for example ./data".to_owned());
    }
    Ok(text.into())
}

/// A file system path, or none.
pub(crate) fn path_or_none(text: &str) -> Parsed<Option<PathBuf>> {
    none_or(text, path)
}

/// Any text but the empty one, or none.
pub(crate) fn text_or_none(text: &str) -> Parsed<Option<String>> {
    none_or(text, |text| match text {
        "" => Err("is empty; write none to leave it out".to_owned()),
        _ => Ok(text.to_owned()),
    })
}

/// An IP address or host name without a port; brackets around an IPv6 address are dropped.
pub(crate) fn host(text: &str) -> Parsed<String> {
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    let letter = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    let is_name = !bare.is_empty() && bare.len() <= 253 && bare.chars().all(letter);
    if is_name || bare.parse::<std::net::Ipv6Addr>().is_ok() {
        return Ok(bare.to_owned());
    }
    Err("is not an address or host name; write it alone, for example 0.0.0.0, and the port with \
         --port"
        .to_owned())
}

/// A port number.
pub(crate) fn port(text: &str) -> Parsed<u16> {
    text.parse().map_err(|_| {
        if text.starts_with("tcp://") {
            // Kubernetes puts the address of a service named "tus" into every container.
            return "is not a port; Kubernetes sets it for a service named tus: rename the \
                    service or set enableServiceLinks to false"
                .to_owned();
        }
        "is not a port; write a number from 0 (any free port) to 65535".to_owned()
    })
}

/// A path of the URL space, given back with a slash at both ends.
pub(crate) fn base_path(text: &str) -> Parsed<String> {
    let inner = text.strip_prefix('/').ok_or("does not begin with /; write for example /files/")?;
    let inner = inner.strip_suffix('/').unwrap_or(inner);
    if matches!(inner, "" | "healthz" | "readyz") {
        return Err("is taken by the server itself; write for example /files/".to_owned());
    }
    let letter = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_' | '~');
    let usable = |segment: &str| !matches!(segment, "" | "." | "..") && segment.chars().all(letter);
    if !inner.split('/').all(usable) {
        return Err("is not a plain path; use letters, digits and -._~ between slashes, for \
                    example /files/"
            .to_owned());
    }
    Ok(format!("/{inner}/"))
}

/// An absolute http or https URL without query, given back without a slash at the end; or none.
pub(crate) fn url_or_none(text: &str) -> Parsed<Option<String>> {
    none_or(text, |text| {
        let wrong = || "is not a URL; write for example https://uploads.example.org".to_owned();
        let (scheme, rest) = text.split_once("://").ok_or_else(wrong)?;
        let uri: http::Uri = text.parse().map_err(|_| wrong())?;
        let has_host = uri.host().is_some_and(|host| !host.is_empty());
        let plain = !rest.contains(['?', '#', '@']);
        if !matches!(scheme, "http" | "https") || !has_host || !plain {
            return Err(wrong());
        }
        Ok(text.trim_end_matches('/').to_owned())
    })
}

/// Directives of `tracing_subscriber::EnvFilter`.
pub(crate) fn log_filter(text: &str) -> Parsed<String> {
    const WAY_OUT: &str = "write error, warn, info, debug, trace or off, or directives such as \
                           info,tus_core=debug";
    let is_level = |word: &str| word.parse::<tracing_subscriber::filter::LevelFilter>().is_ok();
    // A lone word that is no level would be taken as a target, and silence everything else.
    let is_word = !text.contains(['=', ',', '[', ':']);
    if text.is_empty() || (is_word && !is_level(text)) {
        return Err(format!("is not a log level; {WAY_OUT}"));
    }
    match EnvFilter::try_new(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(error) => Err(format!("is not a log filter ({error}); {WAY_OUT}")),
    }
}
