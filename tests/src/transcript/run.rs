//! Holds a conversation.

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, header};
use tokio::{runtime::Builder, time::sleep};

use super::{
    expect::{Captures, fill},
    parse::{Directive, Exchange, Section, Step},
    respond::Received,
    script::ScriptedBody,
    server::{Fault, Server, duration, parse},
};

/// How bodies are cut into frames.
#[derive(Clone, Copy, Debug)]
pub(super) enum Framing {
    /// As large as a connection's buffer.
    Whole,
    /// Into frames of so many bytes.
    Pieces(usize),
}

/// Runs a section to its end or to its first failure; returns how many exchanges it has.
pub(super) fn run(section: &Section, framing: Framing) -> Result<usize, Fault> {
    // Timers fire as soon as nothing else can happen: nobody waits for a time-out.
    let built = Builder::new_current_thread().enable_time().start_paused(true).build();
    let runtime = built.map_err(|error| (section.line, format!("  no runtime: {error}\n")))?;
    runtime.block_on(converse(section, framing))
}

async fn converse(section: &Section, framing: Framing) -> Result<usize, Fault> {
    let mut server = Server::start(&section.settings)?;
    let mut captures = Captures::new();
    let mut exchanges = 0;
    settle().await;
    for step in &section.steps {
        match step {
            Step::Directive(directive) => {
                let done = act(&mut server, directive).await;
                done.map_err(|text| (directive.line, format!("  {text}\n")))?;
            }
            Step::Exchange(exchange) => {
                let mut faults = Vec::new();
                let got = ask(&server, exchange, framing, &captures).await;
                let (method, got) = got.map_err(|text| (exchange.line, format!("  {text}\n")))?;
                exchange.expected.check(&got, &mut captures, &mut faults);
                got.check_invariants(&method, &mut faults);
                if !faults.is_empty() {
                    let framing = match framing {
                        Framing::Whole => String::new(),
                        Framing::Pieces(n) => format!("  (bodies in pieces of {n} bytes)\n"),
                    };
                    let text = format!("{framing}  {}\n{got}", faults.join("\n  "));
                    return Err((exchange.line, text));
                }
                exchanges += 1;
            }
        }
        settle().await;
    }
    Ok(exchanges)
}

/// Lets the tasks that the engine has started run until they wait for something.
///
/// The runtime's clock moves only when every task waits, so this returns no earlier.
async fn settle() {
    sleep(Duration::from_millis(1)).await;
}

async fn act(server: &mut Server, directive: &Directive) -> Result<(), String> {
    let value = directive.value.as_str();
    match directive.name.as_str() {
        "advance" => server.clock.advance(duration(value)?),
        "peer" => server.peer = Some(parse(value)?),
        "sweep" => {
            let report = server.tus.sweep().await;
            if report.left > 0 {
                return Err(format!("the sweep left something behind: {report:?}"));
            }
        }
        "drain" => {
            if !server.tus.drain(Duration::from_secs(10)).await {
                return Err("the server did not come to rest".to_owned());
            }
        }
        name => return Err(format!("there is no action @{name}")),
    }
    Ok(())
}

/// Sends a request; returns the method that counts, and the response.
async fn ask(
    server: &Server,
    exchange: &Exchange,
    framing: Framing,
    captures: &Captures,
) -> Result<(Method, Received), String> {
    let target = fill(&exchange.target, captures)?;
    let (arrival, path) = server.arrival(&target);
    let mut headers = map(&exchange.headers, captures)?;
    let trailers = map(&exchange.body.trailers, captures)?;
    if let Some(length) = exchange.body.announced.filter(|length| *length > 0) {
        headers.insert(header::CONTENT_LENGTH, length.into());
    }
    let method: Method = parse(&exchange.method)?;
    let overridden = headers.get("x-http-method-override").and_then(|value| value.to_str().ok());
    let effective = match overridden {
        Some(text) if method == Method::POST => parse(text).unwrap_or_else(|_| method.clone()),
        _ => method.clone(),
    };
    let frame = match framing {
        Framing::Whole => 64 * 1024,
        Framing::Pieces(length) => length,
    };
    let body = ScriptedBody::new(&exchange.body, trailers, frame);
    let mut request = Request::new(body);
    *request.method_mut() = method;
    *request.uri_mut() = parse(&path)?;
    *request.headers_mut() = headers;
    let response = server.tus.handle(request, arrival).await;
    Ok((effective, Received::read(response).await?))
}

fn map(lines: &[(String, String)], captures: &Captures) -> Result<HeaderMap, String> {
    let mut map = HeaderMap::new();
    for (name, value) in lines {
        let name: HeaderName = parse(name)?;
        let value = fill(value, captures)?;
        let value = HeaderValue::from_bytes(value.as_bytes());
        map.append(name, value.map_err(|error| error.to_string())?);
    }
    Ok(map)
}
