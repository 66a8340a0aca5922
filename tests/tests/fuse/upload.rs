//! One upload as its client knows it, and what the server owes to it.

use std::{
    fs,
    io::{self, Read as _, Write as _},
    net::TcpStream,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use tus_tests::process::{Answer, exchange, head_with};

use super::{
    machine::Site,
    tally::{Fault, Stop, Tally},
};

/// How often it is looked at meanwhile.
const LOOK_AGAIN: Duration = Duration::from_millis(5);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Single,
    /// A partial of this group.
    Part(u64),
    /// The final of this group.
    Final(u64),
}

impl Role {
    pub(crate) fn group(self) -> Option<u64> {
        match self {
            Self::Single => None,
            Self::Part(group) | Self::Final(group) => Some(group),
        }
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Upload {
    pub(crate) path: String,
    /// What it will be called in the destination.
    pub(crate) name: String,
    pub(crate) role: Role,
    pub(crate) body: Arc<Vec<u8>>,
    /// Whether the server has said that it knows the length; `None` if it may.
    pub(crate) declared: Option<bool>,
    /// The largest offset that any answer has told.
    pub(crate) told: u64,
    /// The most bytes that can have arrived.
    pub(crate) sent: u64,
    /// How much goes into one PATCH.
    pub(crate) piece: usize,
    /// Whether each PATCH brings a digest.
    pub(crate) checked: bool,
    /// From where to where bytes are that were sent with a digest and not answered.
    pub(crate) unproven: Option<(u64, u64)>,
    /// Whether its termination was asked for and not answered.
    pub(crate) leaving: bool,
}

impl Upload {
    /// One of which nothing has been sent.
    pub(crate) fn new(path: String, role: Role, body: Arc<Vec<u8>>) -> Self {
        Self {
            path,
            name: String::new(),
            role,
            body,
            declared: Some(true),
            told: 0,
            sent: 0,
            piece: usize::MAX,
            checked: false,
            unproven: None,
            leaving: false,
        }
    }

    pub(crate) fn length(&self) -> u64 {
        self.body.len() as u64
    }

    /// Whether the server has said that it is complete.
    pub(crate) fn is_done(&self) -> bool {
        self.declared == Some(true) && self.told == self.length()
    }

    fn id(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or_default()
    }

    /// Takes the server at its word.
    pub(crate) fn hear(&mut self, offset: u64) -> Result<(), Stop> {
        if offset > self.sent {
            let text = format!("told {offset}, but only {} bytes were sent", self.sent);
            return Err(Stop::corrupt(text));
        }
        self.told = self.told.max(offset);
        Ok(())
    }

    /// Asks how far it is, holds the server to what it has told, and compares the bytes; `false`
    /// if it is gone, as was asked for.
    pub(crate) fn check(
        &mut self,
        site: &Site,
        parts_done: bool,
        tally: &mut Tally,
    ) -> Result<bool, Stop> {
        let head = format!("HEAD {} HTTP/1.1", self.path);
        let deadline = Instant::now() + site.patience;
        let (answer, offset) = loop {
            let answer = ask(site, "HEAD", &head, b"", tally)?;
            match (answer.status, answer.header("upload-offset")) {
                (404 | 410, _) if self.leaving => return Ok(false),
                (404 | 410, _) => {
                    return Err(Stop::lost(format!("answers {}", answer.status), self.told));
                }
                (200, Some(_)) => {
                    let offset = answer.offset();
                    break (answer, offset);
                }
                (200, None) if matches!(self.role, Role::Final(_)) => {
                    if !parts_done && self.told == 0 {
                        return Ok(true);
                    }
                    if Instant::now() > deadline {
                        return Err(Stop::stuck("its parts are complete and it is not"));
                    }
                    thread::sleep(LOOK_AGAIN);
                }
                (status, _) => return Err(Stop::stuck(format!("HEAD answers {status}"))),
            }
        };
        if let Some((start, end)) = self.unproven.take()
            && offset > start
            && offset != end
        {
            let text = format!("told {offset}, but {start}..{end} were to be proven");
            return Err(Stop::Fault(Fault::Unproven, text, 0));
        }
        let length = answer.header("upload-length").map(str::to_owned);
        if length.is_some() && length != Some(self.length().to_string()) {
            return Err(Stop::corrupt(format!("told that the length is {length:?}")));
        }
        if self.declared == Some(true) && length.is_none() {
            return Err(Stop::lost("its length is forgotten", 0));
        }
        self.declared = Some(length.is_some());
        self.leaving = false;
        if offset < self.told {
            let lost = self.told - offset;
            let text = format!("{}: told {} before, now {offset}", self.path, self.told);
            tally.fault(Fault::Lost, text, lost);
            self.told = offset;
        }
        self.hear(offset)?;
        self.compare(site, tally)?;
        Ok(true)
    }

    fn compare(&self, site: &Site, tally: &mut Tally) -> Result<(), Stop> {
        let told = &self.body[..self.told as usize];
        tally.compared += 1;
        tally.compared_bytes += self.told;
        if !self.is_done() {
            let mut found = look(site, &site.uploads.join(format!("{}.bin", self.id())))?;
            // What lies beyond counts for nothing.
            found.truncate(told.len());
            return same(told, &found);
        }
        if !matches!(self.role, Role::Part(_)) {
            let place = site.files.join(&self.name);
            same(told, &look(site, &place)?)?;
            let mode = alive(site, fs::metadata(&place))?.permissions().mode() & 0o7777;
            if mode != 0o644 {
                return Err(Stop::lost(format!("its file has the mode {mode:o}"), 0));
            }
        }
        same(told, &download(site, &self.path, tally)?)
    }

    /// Whether it is gone for good, and its bytes with it.
    pub(crate) fn check_gone(&self, site: &Site, tally: &mut Tally) -> Result<(), Stop> {
        let answer = ask(site, "HEAD", &format!("HEAD {} HTTP/1.1", self.path), b"", tally)?;
        if !matches!(answer.status, 404 | 410) {
            return Err(Stop::lost(format!("deleted, and answers {}", answer.status), 0));
        }
        if self.leaving {
            // Nobody has said that it was done.
            return Ok(());
        }
        let data = site.uploads.join(format!("{}.bin", self.id()));
        for path in [data, site.files.join(&self.name)] {
            if alive(site, path.try_exists())? {
                return Err(Stop::lost(format!("deleted, but {} exists", path.display()), 0));
            }
        }
        Ok(())
    }
}

/// The result of a call on the disk, which means nothing when the power is off.
pub(crate) fn alive<T>(site: &Site, result: io::Result<T>) -> Result<T, Stop> {
    result.map_err(|error| match site.is_off() {
        true => Stop::Off,
        false => Stop::stuck(format!("the disk: {error}")),
    })
}

fn look(site: &Site, path: &Path) -> Result<Vec<u8>, Stop> {
    match fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound && !site.is_off() => {
            Err(Stop::lost(format!("{} is not there", path.display()), 0))
        }
        bytes => alive(site, bytes),
    }
}

/// Whether these are the bytes that were sent.
pub(crate) fn same(sent: &[u8], found: &[u8]) -> Result<(), Stop> {
    if sent == found {
        return Ok(());
    }
    let wrong: Vec<_> =
        (0..sent.len().min(found.len())).filter(|n| sent[*n] != found[*n]).collect();
    let zeros = wrong.iter().all(|n| found[*n] == 0);
    let text = format!(
        "{} bytes of {} found, {} of them wrong, from {:?} on",
        found.len(),
        sent.len(),
        wrong.len(),
        wrong.first()
    );
    Err(match wrong.len() {
        0 if found.len() < sent.len() => Stop::lost(text, (sent.len() - found.len()) as u64),
        1.. if zeros => Stop::Fault(Fault::Zeros, text, wrong.len() as u64),
        _ => Stop::corrupt(text),
    })
}

/// Sends a request, again if the upload is busy.
///
/// Without an answer, or with a failure, the power must be off.
pub(crate) fn ask(
    site: &Site,
    what: &'static str,
    head: &str,
    body: &[u8],
    tally: &mut Tally,
) -> Result<Answer, Stop> {
    let deadline = Instant::now() + site.patience;
    loop {
        let answered = exchange(site.addr, head, body);
        match answered {
            Ok(answer) if answer.status < 500 && answer.status != 423 => return Ok(answer),
            _ if site.is_off() => {
                *tally.unanswered.entry(what).or_default() += 1;
                return Err(Stop::Off);
            }
            Ok(answer) if matches!(answer.status, 423 | 503) && Instant::now() < deadline => {
                thread::sleep(LOOK_AGAIN);
            }
            Ok(answer) => {
                let text = format!("{what} answers {}", answer.status);
                return Err(Stop::Fault(Fault::Damaged, text, 0));
            }
            Err(error) => return Err(Stop::stuck(format!("{what} is not answered: {error}"))),
        }
    }
}

/// The bytes of a complete upload.
fn download(site: &Site, path: &str, tally: &mut Tally) -> Result<Vec<u8>, Stop> {
    let receive = || -> io::Result<Vec<u8>> {
        let mut stream = TcpStream::connect(site.addr)?;
        stream.set_read_timeout(Some(site.patience))?;
        stream.write_all(head_with(&format!("GET {path} HTTP/1.1"), 0).as_bytes())?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        Ok(answer)
    };
    let answer = receive().unwrap_or_default();
    if site.is_off() {
        *tally.unanswered.entry("GET").or_default() += 1;
        return Err(Stop::Off);
    }
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n");
    let end = end.ok_or_else(|| Stop::stuck("GET is not answered"))?;
    let status = String::from_utf8_lossy(&answer[..answer.len().min(15)]).into_owned();
    match status.get(9..12) {
        Some("200") => Ok(answer[end + 4..].to_vec()),
        Some("404" | "410") => Err(Stop::lost(format!("GET answers {status}"), 0)),
        // A whole upload whose bytes are lost is refused.
        Some("500") => Err(Stop::Fault(Fault::Damaged, format!("GET answers {status}"), 0)),
        _ => Err(Stop::stuck(format!("GET answers {status}"))),
    }
}
