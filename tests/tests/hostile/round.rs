//! A number of requests to three servers that start empty.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Duration,
};

use tempfile::TempDir;

use super::{
    disk,
    judge::{self, Heard, Replies},
    panics,
    request::{Delivery, Exchange, Request},
    servers::{self, Served},
    talk::{Silence, Talk},
    tally::Tally,
    twists,
    world::{Dice, World},
};

/// The longest that something begun may take to show.
pub(crate) const SOON: Duration = Duration::from_secs(10);

/// So many bytes of a request are shown when it fails; the command that repeats it sends all.
const MOST_SHOWN: usize = 8192;

/// What was sent, for a failure to be told with what led to it.
struct Sent {
    uploads: Vec<String>,
    cut: bool,
    bytes: Vec<u8>,
    heard: Vec<Replies>,
}

pub(crate) struct Round {
    seed: u64,
    pub(crate) served: Vec<Served>,
    pub(crate) world: World,
    pub(crate) tally: Tally,
    dice: Dice,
    sent: Vec<Sent>,
    pub(crate) before: Vec<BTreeMap<PathBuf, String>>,
    root: TempDir,
}

impl Round {
    pub(crate) fn start(seed: u64) -> Self {
        // In memory where that can be had: it is the servers that are asked here, not the disk.
        let memory = Path::new("/dev/shm");
        let place = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
        let root = tempfile::Builder::new().prefix("hostile-").tempdir_in(place);
        let root = root.expect("a directory");
        let served = servers::start(root.path());
        served.iter().for_each(disk::plant);
        let before = served.iter().map(disk::around).collect();
        Self {
            seed,
            served,
            world: World::default(),
            tally: Tally::default(),
            dice: Dice::new(seed),
            sent: Vec::new(),
            before,
            root,
        }
    }

    /// Sends so many requests, and then asks whether all is well.
    pub(crate) fn run(&mut self, requests: u64) -> Result<(), String> {
        while self.tally.requests < requests {
            let exchange = twists::exchange(&mut self.dice, &self.world);
            self.step(&exchange).map_err(|failure| self.tell(&failure, &exchange))?;
        }
        self.end().map_err(|failure| {
            let failure = format!("after {} requests: {failure}", self.tally.requests);
            let mut named: Vec<_> =
                self.sent.iter().flat_map(|sent| sent.uploads.clone()).collect();
            named.retain(|id| failure.contains(id.as_str()));
            self.tell_of(&failure, &named)
        })
    }

    /// One exchange, what must be true of it, and what is learned from it.
    pub(crate) fn step(&mut self, exchange: &Exchange) -> Result<(), String> {
        self.tally.requests += exchange.requests.len() as u64;
        let replies = self.send(exchange);
        let mut bytes = exchange.to_bytes();
        bytes.truncate(MOST_SHOWN);
        let heard = replies.iter().map(Replies::shortened).collect();
        let cut = exchange.delivery == Delivery::Cut;
        self.sent.push(Sent { uploads: exchange.uploads(), cut, bytes, heard });
        for answer in replies[0].heard.iter().flatten() {
            *self.tally.statuses.entry(answer.status).or_default() += 1;
        }
        self.check(exchange, &replies)?;
        let alike = self.compare(exchange, &replies)?;
        if exchange.marks().is_empty() {
            self.expect(&exchange.requests[0], &replies[0])?;
        } else {
            self.tally.odd += exchange.requests.len() as u64;
        }
        if !(alike && self.believe(exchange, &replies[0])) {
            self.learn(exchange, alike)?;
        }
        match panics().0.first() {
            Some(panic) => Err(format!("a panic: {panic}")),
            None => Ok(()),
        }
    }

    /// Sends the same bytes to all servers, and hears them all.
    pub(crate) fn send(&mut self, exchange: &Exchange) -> Vec<Replies> {
        let bytes = exchange.to_bytes();
        let heads: Vec<_> = exchange.requests.iter().map(Request::is_head).collect();
        if exchange.delivery != Delivery::Whole {
            let talks = self.served.iter().map(|served| {
                let mut talk = Talk::to(served.addr());
                talk.send(&bytes);
                if exchange.delivery == Delivery::Cut {
                    talk.finish();
                }
                talk
            });
            let talks = talks.collect::<Vec<_>>().into_iter();
            return talks.map(|talk| hear_alone(talk, &heads)).collect();
        }
        let fresh = self.served.iter_mut().map(|served| {
            let fresh = served.talk.is_none();
            let addr = served.addr();
            served.talk.get_or_insert_with(|| Talk::to(addr)).send(&bytes);
            fresh
        });
        let fresh: Vec<_> = fresh.collect();
        let hear = |(served, fresh): (&mut Served, bool)| {
            let replies = hear(served, &heads);
            // A server may have closed a connection just when it was used again.
            let stale = replies.heard[0] == Err(Silence::Closed { inside: false });
            if !stale || fresh {
                return replies;
            }
            let mut talk = Talk::to(served.addr());
            talk.send(&bytes);
            served.talk = Some(talk);
            hear(served, &heads)
        };
        self.served.iter_mut().zip(fresh).map(hear).collect()
    }

    /// What clients that left spoke of, and nobody has heard of since.
    pub(crate) fn left_alone(&self) -> Vec<String> {
        let cut = self.sent.iter().filter(|sent| sent.cut).flat_map(|sent| &sent.uploads);
        cut.filter(|id| self.world.find(id).is_none()).cloned().collect()
    }

    /// Whether each answer is one that may be.
    pub(crate) fn check(&self, exchange: &Exchange, replies: &[Replies]) -> Result<(), String> {
        let home = self.root.path().file_name().expect("a name").to_string_lossy().into_owned();
        for (served, replies) in self.served.iter().zip(replies) {
            let name = served.name;
            for heard in &replies.heard {
                match heard {
                    Ok(answer) => {
                        if let Some(fault) = judge::fault(answer, &home) {
                            return Err(format!("{name}: {fault}"));
                        }
                    }
                    Err(Silence::Closed { inside }) => {
                        let rude = match exchange.delivery {
                            Delivery::Whole => true,
                            Delivery::Alone => *inside,
                            Delivery::Cut => false,
                        };
                        if rude {
                            return Err(format!("{name} closed without a whole answer"));
                        }
                    }
                    Err(Silence::Stuck) => return Err(format!("{name} says nothing")),
                    Err(Silence::Malformed(text)) => return Err(format!("{name} says {text}")),
                }
            }
            for heard in &replies.extra {
                // What follows a request may look like another one, which cannot be read.
                let unread = heard.as_ref().is_ok_and(|answer| answer.status == 400);
                if !unread || exchange.marks().is_empty() {
                    return Err(format!("{name} says more than it was asked: {heard:?}"));
                }
            }
        }
        Ok(())
    }

    /// Whether all servers said the same, but for what is known.
    fn compare(&mut self, exchange: &Exchange, replies: &[Replies]) -> Result<bool, String> {
        let mut alike = true;
        if exchange.delivery == Delivery::Cut {
            return Ok(alike);
        }
        for right in 1..replies.len() {
            let names = (self.served[0].name, self.served[right].name);
            for at in 0..exchange.requests.len() {
                let pair = (&replies[0].heard[at], &replies[right].heard[at]);
                let Some(difference) = judge::differ(pair.0, pair.1) else { continue };
                let (left, right) = ((names.0, &replies[0]), (names.1, &replies[right]));
                match judge::explained(exchange, at, left, right, &difference) {
                    Some(known) => *self.tally.differences.entry(known).or_default() += 1,
                    None => {
                        return Err(format!("{} and {} differ: {difference}", names.0, names.1));
                    }
                }
                alike = false;
                // What follows in the same breath stands on what came before.
                break;
            }
        }
        Ok(alike)
    }

    /// What a request that is right must hear.
    fn expect(&self, request: &Request, replies: &Replies) -> Result<(), String> {
        let (Some(expected), Ok(answer)) = (request.expected, &replies.heard[0]) else {
            return Ok(());
        };
        if answer.status != expected {
            return Err(format!("{expected} was expected"));
        }
        let upload = request.upload.as_deref().and_then(|id| self.world.find(id));
        let Some(upload) = upload else { return Ok(()) };
        if request.has("upload-offset") {
            let least = upload.offset;
            let told = answer.number("upload-offset");
            if told.is_none_or(|told| told < least) {
                return Err(format!("offset {told:?} after {least}"));
            }
        }
        if answer.status == 200 && request.method == b"GET" {
            let content = self.world.content(&upload.id, 0..upload.offset);
            if answer.body != content {
                return Err("other bytes came back".to_owned());
            }
        }
        Ok(())
    }

    /// A failure, with what was sent and how to send it again.
    pub(crate) fn tell(&self, failure: &str, exchange: &Exchange) -> String {
        let failure = format!("{failure}\nmarks {:?}, {:?}", exchange.marks(), exchange.delivery);
        self.tell_of(&failure, &exchange.uploads())
    }

    /// A failure, with what was sent for these uploads.
    fn tell_of(&self, failure: &str, uploads: &[String]) -> String {
        let mut text = format!("{failure}\n");
        let led = |sent: &&Sent| sent.uploads.iter().any(|id| uploads.contains(id));
        let mut led: Vec<_> = self.sent.iter().filter(led).collect();
        if led.is_empty() {
            led.extend(self.sent.last());
        }
        let first = led.len().saturating_sub(8);
        for (at, sent) in led.iter().enumerate().skip(first) {
            // The last one is what failed.
            let most = if at + 1 == led.len() { MOST_SHOWN } else { 500 };
            let shown = &sent.bytes[..sent.bytes.len().min(most)];
            text.push_str(&format!("b\"{}\"\n", shown.escape_ascii()));
            for (served, replies) in self.served.iter().zip(&sent.heard) {
                text.push_str(&format!("  {}: {}\n", served.name, show(replies)));
            }
        }
        text.push_str(&self.again());
        text
    }

    fn again(&self) -> String {
        let (seed, requests) = (self.seed, self.tally.requests);
        format!("TUS_SEED={seed} TUS_HOSTILE={requests} cargo test -p tus-tests --test hostile")
    }
}

/// Reads the answers to whole requests, on a connection that goes on.
fn hear(served: &mut Served, heads: &[bool]) -> Replies {
    let talk = served.talk.as_mut().expect("a connection");
    let mut replies = Replies::default();
    replies.heard.extend(heads.iter().map(|is_head| talk.answer(*is_head)));
    let more = talk.has_more();
    if more {
        replies.extra.push(talk.answer(false));
    }
    let goes_on = |heard: &Heard| heard.as_ref().is_ok_and(|answer| !answer.closes());
    if more || !replies.heard.iter().all(goes_on) {
        served.talk = None;
    }
    replies
}

/// Reads all that comes on a connection of its own, until its end.
fn hear_alone(mut talk: Talk, heads: &[bool]) -> Replies {
    let mut replies = Replies::default();
    for is_head in heads {
        let heard = match replies.heard.last() {
            Some(Err(silence)) => Err(silence.clone()),
            _ => talk.answer(*is_head),
        };
        replies.heard.push(heard);
    }
    talk.finish();
    while replies.heard.iter().chain(&replies.extra).all(Result::is_ok) {
        match talk.answer(false) {
            Err(Silence::Closed { inside: false }) => break,
            heard => replies.extra.push(heard),
        }
    }
    replies
}

pub(crate) fn show(replies: &Replies) -> String {
    let heard = replies.heard.iter().chain(&replies.extra).map(|heard| match heard {
        Ok(answer) => answer.to_string(),
        Err(silence) => format!("{silence:?}"),
    });
    heard.collect::<Vec<_>>().join(" || ")
}
