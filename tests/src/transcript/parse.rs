//! Text to sections.

use std::{
    iter::{Peekable, Zip},
    ops::RangeFrom,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::Version;

use super::{
    expect::{Expected, WantedBody, WantedInterim},
    script::{Ending, Script},
    server::duration,
};

/// A conversation with one server.
#[derive(Debug)]
pub(super) struct Section {
    pub(super) title: String,
    pub(super) line: usize,
    pub(super) settings: Vec<Directive>,
    pub(super) steps: Vec<Step>,
}

/// A line that begins with `@`.
#[derive(Debug)]
pub(super) struct Directive {
    pub(super) line: usize,
    pub(super) name: String,
    pub(super) value: String,
}

/// What happens next.
#[derive(Debug)]
pub(super) enum Step {
    Directive(Directive),
    Exchange(Box<Exchange>),
}

/// A request and what is expected of its response.
#[derive(Debug)]
pub(super) struct Exchange {
    pub(super) line: usize,
    pub(super) method: String,
    pub(super) target: String,
    pub(super) version: Version,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Script,
    pub(super) expected: Expected,
}

/// A text that is no transcript.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ParseError {
    pub(super) line: usize,
    pub(super) text: String,
}

type Parsed<T> = Result<T, ParseError>;

fn error<T>(line: usize, text: impl Into<String>) -> Parsed<T> {
    Err(ParseError { line, text: format!("  {}\n", text.into()) })
}

/// What may stand between the exchanges.
const ACTIONS: [&str; 5] = ["advance", "drain", "overlap", "peer", "sweep"];

/// Reads a whole file.
pub(super) fn parse(text: &str) -> Parsed<Vec<Section>> {
    let mut lines = Lines::new(text);
    let mut sections: Vec<Section> = Vec::new();
    while let Some((number, line)) = lines.next() {
        if let Some(title) = line.strip_prefix("###") {
            let title = title.trim().to_owned();
            if title.is_empty() {
                return error(number, "a section needs a title");
            }
            if let Some(before) = sections.last().filter(|s| !s.has_exchange()) {
                return error(before.line, "the section has no exchange");
            }
            if sections.iter().any(|section| section.title == title) {
                return error(number, "another section has this title");
            }
            let (settings, steps) = (Vec::new(), Vec::new());
            sections.push(Section { title, line: number, settings, steps });
        } else if line.trim().is_empty() || line.starts_with('#') {
            continue;
        } else if let Some(section) = sections.last_mut() {
            section.item(number, line, &mut lines)?;
        } else {
            return error(number, "before the first section (###) only comments (#) may stand");
        }
    }
    match sections.last().filter(|section| !section.has_exchange()) {
        Some(section) => error(section.line, "the section has no exchange"),
        None => Ok(sections),
    }
}

impl Section {
    fn has_exchange(&self) -> bool {
        self.steps.iter().any(|step| matches!(step, Step::Exchange(_)))
    }

    fn item(&mut self, number: usize, line: &str, lines: &mut Lines<'_>) -> Parsed<()> {
        if let Some(text) = line.strip_prefix('@') {
            let (name, value) = text.split_once(' ').unwrap_or((text, ""));
            let (name, value) = (name.to_owned(), value.trim().to_owned());
            let directive = Directive { line: number, name, value };
            if ACTIONS.contains(&directive.name.as_str()) {
                self.steps.push(Step::Directive(directive));
            } else if self.steps.is_empty() {
                self.settings.push(directive);
            } else {
                return error(number, "a setting stands before the first exchange");
            }
            return Ok(());
        }
        let Some((method, target, version)) = request_line(line) else {
            return error(number, "neither a request line, nor @, nor ###, nor #");
        };
        let headers = lines.headers()?;
        let body = lines.request_body(&headers, number)?;
        let exchange = Exchange {
            line: number,
            method: method.to_owned(),
            target: target.to_owned(),
            version,
            headers: headers.into_iter().map(|(_, name, value)| (name, value)).collect(),
            body,
            expected: lines.expected(number)?,
        };
        self.steps.push(Step::Exchange(Box::new(exchange)));
        Ok(())
    }
}

/// The lines that are still to be read, numbered from one.
struct Lines<'t> {
    rest: Peekable<Zip<RangeFrom<usize>, std::str::Lines<'t>>>,
}

impl<'t> Lines<'t> {
    fn new(text: &'t str) -> Self {
        Self { rest: (1..).zip(text.lines()).peekable() }
    }

    fn next(&mut self) -> Option<(usize, &'t str)> {
        self.rest.next()
    }

    /// The next line if it is not empty.
    fn next_of_block(&mut self) -> Option<(usize, &'t str)> {
        self.rest.next_if(|(_, line)| !line.trim().is_empty())
    }

    fn skip_empty(&mut self) {
        while self.rest.next_if(|(_, line)| line.trim().is_empty()).is_some() {}
    }

    fn headers(&mut self) -> Parsed<Vec<(usize, String, String)>> {
        let mut headers = Vec::new();
        while let Some((number, line)) = self.next_of_block() {
            headers.push(header(number, line)?);
        }
        Ok(headers)
    }

    fn request_body(
        &mut self,
        headers: &[(usize, String, String)],
        request: usize,
    ) -> Parsed<Script> {
        let mut script = Script::default();
        self.skip_empty();
        if self.rest.peek().is_none_or(|(_, line)| status_line(line).is_none()) {
            let mut text_before = false;
            while let Some((number, line)) = self.next_of_block() {
                let is_text = body_line(&mut script, number, line, text_before)?;
                text_before = is_text;
            }
        }
        let named = |name: &str| {
            headers.iter().find(|(_, n, _)| n.eq_ignore_ascii_case(name)).map(|(_, _, v)| v)
        };
        let chunked = named("transfer-encoding").is_some_and(|value| value == "chunked");
        let given = script.bytes.len() as u64;
        script.announced = match (chunked, named("content-length")) {
            (true, None) => None,
            (true, Some(_)) => return error(request, "chunked, and with a Content-Length"),
            (false, None) => Some(given),
            (false, Some(text)) => match text.parse() {
                Ok(length) => Some(length),
                Err(_) => return error(request, "the Content-Length is no number"),
            },
        };
        match (script.announced, script.ending) {
            (None, _) => {}
            (Some(_), _) if !script.trailers.is_empty() => {
                return error(request, "only a chunked body has trailers");
            }
            (Some(length), Ending::Clean) if length != given => {
                return error(request, format!("the body has {given} bytes; say @cut or @break"));
            }
            (Some(length), Ending::Break | Ending::Cut | Ending::Stall) if length <= given => {
                return error(request, "nothing is missing: Content-Length must say more");
            }
            _ => {}
        }
        Ok(script)
    }

    fn expected(&mut self, request: usize) -> Parsed<Expected> {
        let mut interim = Vec::new();
        loop {
            self.skip_empty();
            let head = self.next().and_then(|(line, text)| Some((line, status_line(text)?)));
            let Some((line, status)) = head else {
                return error(request, "the request has no response (HTTP/1.1 ...)");
            };
            let headers = self.headers()?;
            if status < 200 {
                interim.push(WantedInterim { line, status, headers });
                continue;
            }
            self.skip_empty();
            let more = self.rest.peek().is_some_and(|(_, line)| is_response_body(line));
            let body = if more { Some(self.wanted_body()?) } else { None };
            return Ok(Expected { interim, status, headers, body });
        }
    }

    fn wanted_body(&mut self) -> Parsed<WantedBody> {
        let mut script = Script::default();
        let mut text_before = false;
        let mut first = None;
        while let Some((number, line)) = self.next_of_block() {
            first.get_or_insert(number);
            text_before = body_line(&mut script, number, line, text_before)?;
        }
        if script.bytes.starts_with(b"{") {
            return match serde_json::from_slice(&script.bytes) {
                Ok(members) => Ok(WantedBody::Members(members)),
                Err(fault) => error(first.unwrap_or_default(), fault.to_string()),
            };
        }
        Ok(match script.bytes.strip_suffix(b"...") {
            _ if script.bytes == b"(empty)" => WantedBody::Exactly(Vec::new()),
            Some(start) => WantedBody::Starts(start.to_vec()),
            None => WantedBody::Exactly(script.bytes),
        })
    }
}

/// Reads one line of a body; says whether it was text.
fn body_line(script: &mut Script, number: usize, line: &str, text_before: bool) -> Parsed<bool> {
    let Some(directive) = line.strip_prefix('@') else {
        if text_before {
            script.bytes.push(b'\n');
        }
        script.bytes.extend_from_slice(line.as_bytes());
        return Ok(true);
    };
    let (name, value) = directive.split_once(' ').unwrap_or((directive, ""));
    if script.ending != Ending::Clean {
        return error(number, "nothing follows the end of a body");
    }
    match name {
        "body-repeat" => {
            let read = value.split_once(' ').and_then(|(t, n)| Some((t, n.parse().ok()?)));
            let Some((text, times)) = read else {
                return error(number, "write @body-repeat TEXT TIMES");
            };
            script.bytes.extend_from_slice(text.repeat(times).as_bytes());
        }
        "body-base64" => match STANDARD.decode(value) {
            Ok(bytes) => script.bytes.extend_from_slice(&bytes),
            Err(e) => return error(number, e.to_string()),
        },
        "trailer" => {
            let (_, name, value) = header(number, value)?;
            script.trailers.push((name, value));
        }
        "pause" => match duration(value) {
            Ok(length) => script.pauses.push((script.bytes.len(), length)),
            Err(text) => return error(number, text),
        },
        "break" => script.ending = Ending::Break,
        "cut" => script.ending = Ending::Cut,
        "stall" => script.ending = Ending::Stall,
        _ => return error(number, format!("a body knows no @{name}")),
    }
    Ok(false)
}

fn header(number: usize, line: &str) -> Parsed<(usize, String, String)> {
    match line.split_once(':') {
        Some((name, value)) if !name.is_empty() && !name.contains(' ') => {
            Ok((number, name.to_owned(), value.trim().to_owned()))
        }
        _ => error(number, "not a header line"),
    }
}

fn request_line(line: &str) -> Option<(&str, &str, Version)> {
    let mut words = line.split(' ');
    let (method, target, version) = (words.next()?, words.next()?, words.next()?);
    let version = match version {
        "HTTP/1.0" => Version::HTTP_10,
        "HTTP/1.1" => Version::HTTP_11,
        "HTTP/2" => Version::HTTP_2,
        _ => return None,
    };
    let upper = !method.is_empty() && method.bytes().all(|b| b.is_ascii_uppercase());
    (upper && words.next().is_none()).then_some((method, target, version))
}

fn status_line(line: &str) -> Option<u16> {
    let status = line.strip_prefix("HTTP/1.1 ")?.split(' ').next()?;
    status.parse().ok().filter(|_| status.len() == 3)
}

/// Whether a line after a response's head begins its body, and not the next item.
fn is_response_body(line: &str) -> bool {
    let bytes = line.starts_with("@body-");
    bytes || !(line.starts_with(['#', '@']) || request_line(line).is_some())
}
