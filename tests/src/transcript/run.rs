//! Holds a conversation.

use std::{fmt, future::Future, pin::Pin, sync::Arc, time::Duration};

use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, header};
use tokio::{runtime::Builder, task::JoinHandle, time::sleep};
use tus_core::{Body, Interim};

use super::{
    always::{self, Asked},
    expect::{Captures, fill},
    interim::Log,
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
    let mut talk = Talk { framing, captures: Captures::new(), exchanges: 0 };
    let mut overlaps = false;
    let mut held: Option<Held<'_>> = None;
    settle().await;
    for step in &section.steps {
        match step {
            Step::Directive(directive) if directive.name == "overlap" => overlaps = true,
            Step::Directive(directive) => {
                let done = act(&mut server, directive).await;
                done.map_err(|text| (directive.line, format!("  {text}\n")))?;
            }
            Step::Exchange(exchange) => {
                let sent = send(&server, exchange, framing, &talk.captures);
                let sent = sent.map_err(|text| (exchange.line, format!("  {text}\n")))?;
                if std::mem::take(&mut overlaps) {
                    held = Some(talk.hold(exchange, sent).await?);
                    continue;
                }
                let Sent { asked, log, answer } = sent;
                let response = answer.await;
                talk.compare(exchange, &asked, &log, 0, response).await?;
                if let Some(Held { exchange, asked, log, told, answer }) = held.take() {
                    let response = answer.await.map_err(|error| {
                        (exchange.line, format!("  the exchange did not end: {error}\n"))
                    })?;
                    talk.compare(exchange, &asked, &log, told, response).await?;
                }
            }
        }
        settle().await;
    }
    match held {
        Some(held) => Err((held.exchange.line, "  no exchange follows that overlaps it\n".into())),
        None => Ok(talk.exchanges),
    }
}

/// A request, and how its answer is awaited.
struct Sent {
    asked: Asked,
    log: Log,
    answer: Pin<Box<dyn Future<Output = Response<Body>> + Send>>,
}

/// An exchange that goes on while another one is held.
struct Held<'s> {
    exchange: &'s Exchange,
    asked: Asked,
    log: Log,
    /// How many interim responses were compared already.
    told: usize,
    answer: JoinHandle<Response<Body>>,
}

/// A conversation, as far as it has come.
struct Talk {
    framing: Framing,
    captures: Captures,
    exchanges: usize,
}

impl Talk {
    /// Lets an exchange go on by itself, and compares what has come before its response so far.
    async fn hold<'s>(&mut self, exchange: &'s Exchange, sent: Sent) -> Result<Held<'s>, Fault> {
        let Sent { asked, log, answer } = sent;
        let answer = tokio::spawn(answer);
        settle().await;
        let (told, mut faults) = (log.told(), Vec::new());
        exchange.expected.check_interim(0, &told, &mut self.captures, &mut faults);
        if answer.is_finished() {
            faults.push("the answer is there already: nothing overlaps".to_owned());
        }
        self.fail(exchange, &faults, &"")?;
        Ok(Held { exchange, asked, log, told: told.len(), answer })
    }

    async fn compare(
        &mut self,
        exchange: &Exchange,
        asked: &Asked,
        log: &Log,
        from: usize,
        response: Response<Body>,
    ) -> Result<(), Fault> {
        let got = Received::read(response).await;
        let got = got.map_err(|text| (exchange.line, format!("  {text}\n")))?;
        let (told, mut faults) = (log.told(), Vec::new());
        exchange.expected.check_interim(from, &told, &mut self.captures, &mut faults);
        exchange.expected.check_missing(told.len(), &mut faults);
        exchange.expected.check(&got, &mut self.captures, &mut faults);
        got.check_invariants(asked, &mut faults);
        always::check(asked, &got, &told, &mut faults);
        self.fail(exchange, &faults, &got)?;
        self.exchanges += 1;
        Ok(())
    }

    fn fail(
        &self,
        exchange: &Exchange,
        faults: &[String],
        got: &dyn fmt::Display,
    ) -> Result<(), Fault> {
        if faults.is_empty() {
            return Ok(());
        }
        let framing = match self.framing {
            Framing::Whole => String::new(),
            Framing::Pieces(n) => format!("  (bodies in pieces of {n} bytes)\n"),
        };
        Err((exchange.line, format!("{framing}  {}\n{got}", faults.join("\n  "))))
    }
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

/// Puts a request on its way.
fn send(
    server: &Server,
    exchange: &Exchange,
    framing: Framing,
    captures: &Captures,
) -> Result<Sent, String> {
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
    let policy = server.tus.policy();
    let below = target.split('?').next().and_then(|path| path.strip_prefix(&server.mount));
    let dialects = (policy.tus, policy.rufh);
    let asked = Asked::new((&method, effective), below, &headers, dialects);
    let frame = match framing {
        Framing::Whole => 64 * 1024,
        Framing::Pieces(length) => length,
    };
    let body = ScriptedBody::new(&exchange.body, trailers, frame);
    let mut request = Request::new(body);
    *request.method_mut() = method;
    *request.uri_mut() = parse(&path)?;
    *request.version_mut() = exchange.version;
    *request.headers_mut() = headers;
    let log = Log::default();
    let interim = Interim::new(Arc::new(log.clone()));
    let guard = interim.guard();
    if server.interim {
        request.extensions_mut().insert(interim);
    }
    let tus = server.tus.clone();
    let answer = Box::pin(async move {
        let response = tus.handle(request, arrival).await;
        // As whoever owns the connection would: nothing comes before it any more.
        drop(guard);
        response
    });
    Ok(Sent { asked, log, answer })
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
