//! Lists of origins and of proxies.

use tus_core::{Origins, TrustedProxy};

use super::{NONE, Parsed};

/// The items of a comma separated list, without blanks and empty items.
fn items(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(|item| !item.is_empty())
}

/// Origins and patterns of them, or `*`, or none.
pub(crate) fn origins(text: &str) -> Parsed<Origins> {
    let listed: Vec<&str> = items(text).collect();
    match listed.as_slice() {
        [NONE] => Ok(Origins::Off),
        ["*"] => Ok(Origins::Any),
        [] => Err("names no origin; write origins, * for all, or none".to_owned()),
        several if several.contains(&"*") => {
            Err("names origins beside *, which means all; write one or the other".to_owned())
        }
        several => {
            let patterns = several.iter().map(|item| item.parse()).collect::<Result<_, _>>();
            patterns.map(Origins::List).map_err(|error| format!("cannot be used: {error}"))
        }
    }
}

/// Addresses, networks and the word unix, or none.
pub(crate) fn proxies(text: &str) -> Parsed<Vec<TrustedProxy>> {
    if text == NONE {
        return Ok(Vec::new());
    }
    let proxies = items(text).map(str::parse).collect::<Result<Vec<_>, _>>();
    let proxies = proxies.map_err(|error| format!("cannot be used: {error}"))?;
    if proxies.is_empty() {
        return Err("names no peer; write IP addresses, CIDR blocks, unix, or none".to_owned());
    }
    Ok(proxies)
}
