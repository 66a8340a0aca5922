//! What answers tell of the uploads, and whether that can be.

use std::time::{Duration, Instant};

use super::{
    judge::{self, Replies},
    request::{Delivery, Exchange, Request},
    round::{Round, SOON},
    talk::Answer,
    world::{Kind, MAX_SIZE, MOUNT, Upload},
};

impl Round {
    /// Takes the answer to a request that was right at its word, if that says all; whether it was
    /// true is asked at the end.
    pub(crate) fn believe(&mut self, exchange: &Exchange, replies: &Replies) -> bool {
        let request = &exchange.requests[0];
        let Ok(answer) = &replies.heard[0] else { return false };
        if !exchange.marks().is_empty() {
            return false;
        }
        match request.method.as_slice() {
            b"GET" | b"HEAD" | b"OPTIONS" => true,
            b"PATCH" if answer.status == 204 && !request.has("upload-length") => {
                let told = answer.number("upload-offset").unwrap_or(0);
                let upload = request.upload.as_deref().and_then(|id| self.world.find_mut(id));
                let Some(upload) = upload.filter(|upload| upload.kind == Kind::Single) else {
                    return false;
                };
                let before = std::mem::replace(&mut upload.offset, told);
                let whole = before < told && upload.is_whole();
                self.count(before, told, whole);
                true
            }
            _ => false,
        }
    }

    /// Asks what has become of the uploads that were spoken of.
    pub(crate) fn learn(&mut self, exchange: &Exchange, alike: bool) -> Result<(), String> {
        let mut agreed = Vec::new();
        for id in exchange.uploads() {
            let lost = exchange.delivery == Delivery::Cut && self.has_lost_some(&id)?;
            if alike && !lost {
                let ended = exchange.to_bytes().windows(6).any(|text| text == b"DELETE");
                // Of several, one may have set off what goes on behind its answer.
                let patient = exchange.delivery == Delivery::Cut || exchange.requests.len() > 1;
                self.refresh(&id, patient, ended)?;
            } else {
                self.retire(&id)?;
            }
            agreed.push((id, alike && !lost));
        }
        // What becomes of finals depends on all that was spoken of.
        for (id, agreed) in agreed {
            self.await_final(&id)?;
            for of in self.world.finals_of(&id) {
                if agreed { self.await_final(&of)? } else { self.retire(&of)? }
            }
        }
        Ok(())
    }

    /// What HEAD says of an upload on each server.
    pub(crate) fn ask(&mut self, id: &str) -> Result<Vec<Answer>, String> {
        let ask = Exchange::of(Request::tus("HEAD", &format!("{MOUNT}/{id}")));
        let replies = self.send(&ask);
        self.check(&ask, &replies)?;
        let answers = replies.into_iter().filter_map(|mut replies| replies.heard.remove(0).ok());
        Ok(answers.collect())
    }

    /// Asks until all say the same, if that may take a while: a client that left may still be worked
    /// for, and a final is made behind the answer to the last byte of its last part.
    pub(crate) fn agree(&mut self, id: &str, patient: bool) -> Result<Answer, String> {
        let deadline = Instant::now() + SOON;
        loop {
            let mut answers = self.ask(id)?;
            let differs = answers[1..]
                .iter()
                .find_map(|answer| judge::differ(&Ok(answers[0].clone()), &Ok(answer.clone())));
            let Some(differs) = differs else { return Ok(answers.swap_remove(0)) };
            if !patient || Instant::now() > deadline {
                let all: Vec<_> = answers.iter().map(ToString::to_string).collect();
                return Err(format!("HEAD of {id} differs, {differs}:\n  {}", all.join("\n  ")));
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Whether actix-web has kept less of a body whose client left: what it has read and not yet
    /// handed on when the connection ends it drops, and nobody was told of that.
    fn has_lost_some(&mut self, id: &str) -> Result<bool, String> {
        if self.agree(id, true).is_ok() {
            return Ok(false);
        }
        let before = self.world.find(id).map_or(0, |upload| upload.offset);
        let answers = self.ask(id)?;
        let offsets: Vec<_> = answers.iter().map(|answer| answer.number("upload-offset")).collect();
        let less = match offsets.as_slice() {
            [Some(axum), Some(tower), Some(actix)] => {
                axum == tower && actix < axum && *actix >= before
            }
            _ => false,
        };
        self.tally.dropped += u64::from(less);
        Ok(less)
    }

    /// Asks for those that nobody had heard of when their client had left, or when it had been cut
    /// off: it may have been too early then.
    pub(crate) fn look_again(&mut self) -> Result<(), String> {
        for id in self.world.disputed() {
            self.retire(&id)?;
        }
        for id in self.left_alone() {
            self.refresh(&id, true, false)?;
            self.await_final(&id)?;
        }
        Ok(())
    }

    /// Learns what has become of an upload, which may have been ended.
    fn refresh(&mut self, id: &str, patient: bool, ended: bool) -> Result<(), String> {
        let answer = self.agree(id, patient)?;
        let is_final = |upload: &Upload| matches!(upload.kind, Kind::Final(_));
        match (answer.status, self.world.find(id)) {
            (200, Some(before)) => {
                let (offset, length) =
                    (answer.number("upload-offset"), answer.number("upload-length"));
                if before.gone || offset.unwrap_or(0) < before.offset {
                    return Err(format!("{id}: {before:?} became {answer}"));
                }
                if before.length.is_some() && before.length != length {
                    return Err(format!("{id}: {before:?} has another length: {answer}"));
                }
                let whole = !before.is_whole() && offset == length && offset.is_some();
                self.count(before.offset, offset.unwrap_or(0), whole);
                let upload = self.world.find_mut(id).expect("it is known");
                upload.length = length;
                upload.offset = offset.unwrap_or(0);
            }
            (200, None) => {
                let upload = made(id, &answer);
                self.count(0, upload.offset, upload.is_whole());
                self.world.add(upload);
            }
            (404, None) => {}
            (410, None) => {
                // It came to be and to its end in one breath, and is remembered for a while.
                let mut upload = Upload::new(id, Kind::Single, None, 0);
                upload.gone = true;
                self.world.add(upload);
            }
            (404 | 410, Some(before)) => {
                if !(ended || before.gone || is_final(before)) {
                    return Err(format!("{id} is gone, and nobody asked for that"));
                }
                self.world.find_mut(id).expect("it is known").gone = true;
            }
            (status, _) => return Err(format!("HEAD of {id} says {status}")),
        }
        Ok(())
    }

    fn count(&mut self, before: u64, after: u64, whole: bool) {
        self.tally.stored += after - before;
        self.tally.whole += u64::from(whole);
    }

    /// Ends an upload of which the servers no longer know the same.
    pub(crate) fn retire(&mut self, id: &str) -> Result<(), String> {
        let end = Exchange::of(Request::tus("DELETE", &format!("{MOUNT}/{id}")));
        let deadline = Instant::now() + SOON;
        loop {
            let replies = self.send(&end);
            self.check(&end, &replies)?;
            let answers = self.ask(id)?;
            if answers.iter().all(|answer| matches!(answer.status, 404 | 410)) {
                break;
            }
            if Instant::now() > deadline {
                return Err(format!("{id} cannot be terminated"));
            }
        }
        if self.world.find(id).is_none() {
            self.world.add(Upload::new(id, Kind::Single, None, 0));
        }
        let upload = self.world.find_mut(id).expect("it is known");
        (upload.gone, upload.disputed) = (true, true);
        Ok(())
    }

    /// Waits until a final is what its parts make it; that is done behind the answer to the last.
    fn await_final(&mut self, id: &str) -> Result<(), String> {
        let Some(Upload { kind: Kind::Final(parts), gone: false, .. }) = self.world.find(id) else {
            return Ok(());
        };
        let found: Option<Vec<_>> = parts.iter().map(|id| self.world.find(id).cloned()).collect();
        let found = found.ok_or_else(|| format!("{id} is made of parts that nobody made"))?;
        let lengths: Option<Vec<_>> = found.iter().map(|part| part.length).collect();
        let sum: Option<u64> = lengths.map(|lengths| lengths.iter().sum());
        let lost = found.iter().any(|part| part.gone) || sum.is_some_and(|sum| sum > MAX_SIZE);
        let complete = found.iter().all(Upload::is_whole);
        let was_whole = self.world.find(id).is_some_and(Upload::is_whole);
        if was_whole || !(lost || complete) {
            return Ok(());
        }
        let deadline = Instant::now() + SOON;
        loop {
            let answers = self.ask(id)?;
            let settled = |answer: &&Answer| match lost {
                true => answer.status == 410,
                false => answer.number("upload-offset") == sum && sum.is_some(),
            };
            let count = answers.iter().filter(settled).count();
            if count == answers.len() {
                break;
            }
            // In one breath its parts may have been completed and then ended, and it have been made
            // in between.
            let is_made = |answer: &Answer| {
                let offset = answer.number("upload-offset");
                offset.is_some() && offset == answer.number("upload-length")
            };
            let made = answers.iter().filter(|answer| is_made(answer)).count();
            if lost && made == answers.len() {
                return self.refresh(id, true, false);
            }
            if lost && made > 0 && made + count == answers.len() {
                return self.retire(id);
            }
            if Instant::now() > deadline {
                let all: Vec<_> = answers.iter().map(ToString::to_string).collect();
                let wants = if lost { "lost".to_owned() } else { format!("{sum:?} bytes") };
                return Err(format!("the final {id} is not {wants}:\n  {}", all.join("\n  ")));
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        let upload = self.world.find_mut(id).expect("it is known");
        upload.gone = lost;
        if !lost {
            (upload.length, upload.offset) = (sum, sum.unwrap_or(0));
            self.tally.whole += 1;
        }
        Ok(())
    }
}

/// An upload as HEAD shows it for the first time.
fn made(id: &str, answer: &Answer) -> Upload {
    let kind = match answer.header("upload-concat") {
        None => Kind::Single,
        Some(text) => match text.strip_prefix("final;") {
            None => Kind::Partial,
            Some(urls) => Kind::Final(urls.split_ascii_whitespace().map(named).collect()),
        },
    };
    let offset = answer.number("upload-offset").unwrap_or(0);
    let length = answer.number("upload-length");
    Upload::new(id, kind, length, offset)
}

/// The id that the URL of a part names.
fn named(url: &str) -> String {
    let path = url.split(['?', '#']).next().unwrap_or_default();
    path.rsplit('/').next().unwrap_or_default().to_owned()
}
