//! What a response must be, and whether it is.

use std::collections::HashMap;

use http::{HeaderMap, HeaderName};
use serde_json::{Map, Value};

use super::{
    interim::Told,
    respond::{Received, values},
};

/// What is expected of a response.
#[derive(Debug)]
pub(super) struct Expected {
    /// What comes before it, and nothing else.
    pub(super) interim: Vec<WantedInterim>,
    pub(super) status: u16,
    /// Line, name and pattern.
    pub(super) headers: Vec<(usize, String, String)>,
    pub(super) body: Option<WantedBody>,
}

/// What is expected of a response before the response.
#[derive(Debug)]
pub(super) struct WantedInterim {
    pub(super) line: usize,
    pub(super) status: u16,
    /// Line, name and pattern.
    pub(super) headers: Vec<(usize, String, String)>,
}

/// What is expected of a body.
#[derive(Debug)]
pub(super) enum WantedBody {
    /// An object with these members, and perhaps more.
    Members(Map<String, Value>),
    Exactly(Vec<u8>),
    Starts(Vec<u8>),
}

/// What `{names}` stand for.
pub(super) type Captures = HashMap<String, String>;

impl Expected {
    /// Adds a line for everything that does not match.
    pub(super) fn check(&self, got: &Received, captures: &mut Captures, faults: &mut Vec<String>) {
        if got.status != self.status {
            faults.push(format!("expected status {}, got {}", self.status, got.status));
        }
        check_headers(&self.headers, &got.headers, captures, faults);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        match &self.body {
            Some(WantedBody::Exactly(wanted)) => {
                let body = got.text();
                let line = body.strip_suffix(b"\n").unwrap_or(body);
                if line != wanted && body != *wanted {
                    faults.push(format!("body: expected {:?}, got {:?}", text(wanted), text(line)));
                }
            }
            Some(WantedBody::Starts(wanted)) if !got.body.starts_with(wanted) => {
                let (wanted, got) = (text(wanted), text(&got.body));
                faults.push(format!("body: expected {wanted:?} and more, got {got:?}"));
            }
            Some(WantedBody::Members(wanted)) => check_members(wanted, &got.body, faults),
            _ => {}
        }
    }

    /// Adds a line for every interim response that is another one than expected, from the one of
    /// this index on; all of them must have come once the response has.
    pub(super) fn check_interim(
        &self,
        from: usize,
        told: &[Told],
        captures: &mut Captures,
        faults: &mut Vec<String>,
    ) {
        for (index, told) in told.iter().enumerate().skip(from) {
            let Some(wanted) = self.interim.get(index) else {
                faults.push(format!("not expected: {told}"));
                continue;
            };
            if wanted.status != told.status {
                let line = wanted.line;
                faults.push(format!("line {line}: expected {}, got {told}", wanted.status));
            }
            check_headers(&wanted.headers, &told.headers, captures, faults);
        }
    }

    /// Adds a line for every interim response that did not come.
    pub(super) fn check_missing(&self, told: usize, faults: &mut Vec<String>) {
        for wanted in self.interim.iter().skip(told) {
            faults.push(format!("line {}: no {} came", wanted.line, wanted.status));
        }
    }
}

fn check_headers(
    wanted: &[(usize, String, String)],
    got: &HeaderMap,
    captures: &mut Captures,
    faults: &mut Vec<String>,
) {
    let mut seen: HashMap<HeaderName, usize> = HashMap::new();
    for (line, name, pattern) in wanted {
        let Ok(name) = name.parse::<HeaderName>() else {
            faults.push(format!("line {line}: {name:?} is no header name"));
            continue;
        };
        let values = values(got, &name);
        let nth = seen.entry(name.clone()).or_default();
        let value = values.get(*nth);
        *nth += 1;
        if let Err(text) = check_value(pattern, value.map(String::as_str), captures) {
            faults.push(format!("line {line}: {name}: {text}"));
        }
    }
    for (name, count) in seen {
        let values = values(got, &name);
        if let Some(more) = values.get(count..).filter(|more| !more.is_empty()) {
            faults.push(format!("{name}: not expected: {}", more.join(" | ")));
        }
    }
}

/// Compares the members that are given; `"(absent)"` stands for one that is not there.
fn check_members(wanted: &Map<String, Value>, body: &[u8], faults: &mut Vec<String>) {
    let Ok(got) = serde_json::from_slice::<Map<String, Value>>(body) else {
        faults.push("body: expected a JSON object".to_owned());
        return;
    };
    for (name, value) in wanted {
        let is = match value.as_str() {
            Some("(absent)") => !got.contains_key(name),
            Some("(any)") => got.contains_key(name),
            _ => got.get(name) == Some(value),
        };
        if !is {
            faults.push(format!("body: {name}: expected {value}, got {:?}", got.get(name)));
        }
    }
}

fn check_value(pattern: &str, value: Option<&str>, captures: &mut Captures) -> Result<(), String> {
    match (pattern, value) {
        ("(absent)", None) => Ok(()),
        ("(absent)", Some(value)) => Err(format!("expected none, got {value:?}")),
        (_, None) => Err(format!("expected {pattern:?}, got none")),
        ("(any)", Some(_)) => Ok(()),
        ("(date)", Some(value)) => match httpdate::parse_http_date(value) {
            // Two forms of date are obsolete: a server must not send them.
            Ok(date) if httpdate::fmt_http_date(date) == value => Ok(()),
            _ => Err(format!("expected a date, got {value:?}")),
        },
        (_, Some(value)) if matches(pattern, value, captures) => Ok(()),
        (_, Some(value)) => {
            let pattern = fill(pattern, captures).unwrap_or_else(|_| pattern.to_owned());
            Err(format!("expected {pattern:?}, got {value:?}"))
        }
    }
}

/// Compares, and remembers what stands for names that are new.
fn matches(mut pattern: &str, mut value: &str, captures: &mut Captures) -> bool {
    let mut found = Vec::new();
    while let Some((before, name, after)) = placeholder(pattern) {
        let Some(rest) = value.strip_prefix(before) else {
            return false;
        };
        let known = captures.get(name).map(String::as_str);
        let earlier = found.iter().find(|(n, _)| *n == name).map(|(_, text)| *text);
        let end = match known.or(earlier) {
            Some(text) if rest.starts_with(text) => text.len(),
            Some(_) => return false,
            None => rest.find(['/', ',', ' ', '"']).unwrap_or(rest.len()),
        };
        let (Some(text), Some(rest)) = (rest.get(..end), rest.get(end..)) else {
            return false;
        };
        if text.is_empty() {
            return false;
        }
        found.push((name, text));
        (pattern, value) = (after, rest);
    }
    if pattern != value {
        return false;
    }
    captures.extend(found.into_iter().map(|(name, text)| (name.to_owned(), text.to_owned())));
    true
}

/// Puts what names stand for in their place.
pub(super) fn fill(mut pattern: &str, captures: &Captures) -> Result<String, String> {
    let mut text = String::new();
    while let Some((before, name, after)) = placeholder(pattern) {
        let value = captures.get(name).ok_or_else(|| format!("nothing is known as {{{name}}}"))?;
        text.push_str(before);
        text.push_str(value);
        pattern = after;
    }
    text.push_str(pattern);
    Ok(text)
}

/// The first `{name}` of a text, with what stands before and after it.
fn placeholder(text: &str) -> Option<(&str, &str, &str)> {
    let (before, rest) = text.split_once('{')?;
    let (name, after) = rest.split_once('}')?;
    Some((before, name, after))
}
