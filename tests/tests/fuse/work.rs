//! What a client does: a bit of everything, at random, until the power is off.

use std::sync::Arc;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use tus_tests::{process::patch, rig::crc32};

use super::{
    client::Client,
    machine::Site,
    tally::Stop,
    upload::{Role, Upload, ask},
};

impl Client {
    /// Does something, many times, until the power is off.
    pub(crate) fn work(&mut self, site: &Site, times: u64) {
        for _ in 0..times {
            if !self.act(site) {
                return;
            }
        }
    }

    /// Does something; `false` if the power is off.
    fn act(&mut self, site: &Site) -> bool {
        if let Some(group) = self.ripe() {
            let made = self.join(site, group);
            return self.settle(site, None, made);
        }
        let open: Vec<_> = (0..self.uploads.len()).filter(|n| self.wants_bytes(*n)).collect();
        let spare: Vec<_> = (0..self.uploads.len()).filter(|n| self.is_spare(*n)).collect();
        let dice = self.random.below(100);
        if !spare.is_empty() && (dice < 8 || self.uploads.len() > 8) {
            let chosen = spare[self.random.below(spare.len() as u64) as usize];
            let deleted = self.delete(site, chosen);
            return self.settle(site, Some(chosen), deleted);
        }
        if open.is_empty() || (dice < 35 && open.len() < 5) {
            let made = self.create_something(site);
            return self.settle(site, None, made);
        }
        let chosen = open[self.random.below(open.len() as u64) as usize];
        let sent = self.append(site, chosen);
        self.settle(site, Some(chosen), sent)
    }

    /// Notes what went wrong, and gives up the upload that it happened to.
    fn settle(&mut self, site: &Site, n: Option<usize>, done: Result<(), Stop>) -> bool {
        match done {
            Ok(()) => true,
            Err(Stop::Off) => false,
            Err(stop) => {
                let upload = n.map(|n| self.uploads.swap_remove(n));
                self.note(site, upload.as_ref().map_or("", |upload| &upload.path), stop);
                if let Some(group) = upload.and_then(|upload| upload.role.group()) {
                    self.uploads.retain(|other| other.role.group() != Some(group));
                }
                true
            }
        }
    }

    fn wants_bytes(&self, n: usize) -> bool {
        let upload = &self.uploads[n];
        !upload.is_done() && !upload.leaving && !matches!(upload.role, Role::Final(_))
    }

    /// Whether nothing else needs it.
    fn is_spare(&self, n: usize) -> bool {
        match self.uploads[n].role {
            Role::Part(group) => self.joined.contains(&group),
            Role::Single | Role::Final(_) => true,
        }
    }

    /// A group whose parts are complete and whose final is missing.
    fn ripe(&self) -> Option<u64> {
        let parts = self.uploads.iter().filter(|u| matches!(u.role, Role::Part(_)) && u.is_done());
        parts.filter_map(|part| part.role.group()).find(|group| {
            let has_final = self.uploads.iter().any(|u| u.role == Role::Final(*group));
            !has_final
                && !self.joined.contains(group)
                && self.parts_done(&self.uploads, Role::Part(*group))
        })
    }

    fn create_something(&mut self, site: &Site) -> Result<(), Stop> {
        match self.random.below(10) {
            0..2 => {
                self.next += 1;
                let group = self.next;
                let made = self.uploads.len();
                for _ in 0..2 + self.random.below(2) {
                    if let Err(stop) = self.create(site, Role::Part(group)) {
                        // What it has of them are no parts of anything.
                        self.uploads.truncate(made);
                        return Err(stop);
                    }
                }
                // A final may be made before its parts are complete.
                if self.random.below(2) == 0 { self.join(site, group) } else { Ok(()) }
            }
            _ => self.create(site, Role::Single),
        }
    }

    fn fresh_name(&mut self) -> String {
        self.next += 1;
        format!("{}-{}.bin", self.name, self.next)
    }

    fn fresh_body(&mut self) -> Arc<Vec<u8>> {
        let longest = [64 << 10, 64 << 10, 512 << 10, 512 << 10, 2 << 20];
        let longest = longest[self.random.below(5) as usize];
        let length = 1 + self.random.below(longest) as usize;
        let mut body = Vec::with_capacity(length + 8);
        while body.len() < length {
            body.extend_from_slice(&self.random.draw().to_le_bytes());
        }
        body.truncate(length);
        Arc::new(body)
    }

    fn create(&mut self, site: &Site, role: Role) -> Result<(), Stop> {
        let (name, body) = (self.fresh_name(), self.fresh_body());
        let length = body.len();
        let deferred = self.random.below(5) == 0;
        // Creation with upload: nothing, some or all of the bytes.
        let brought = [0, 0, self.random.below(length as u64 + 1) as usize, length];
        let brought = brought[self.random.below(4) as usize];
        let mut head =
            format!("POST /files HTTP/1.1\r\nUpload-Metadata: filename {}", STANDARD.encode(&name));
        head += &match deferred {
            true => "\r\nUpload-Defer-Length: 1".to_owned(),
            false => format!("\r\nUpload-Length: {length}"),
        };
        if matches!(role, Role::Part(_)) {
            head += "\r\nUpload-Concat: partial";
        } else {
            self.asked.insert(name.clone(), body.clone());
        }
        let what = if brought > 0 { "POST with bytes" } else { "POST" };
        if brought > 0 {
            head += "\r\nContent-Type: application/offset+octet-stream";
        }
        let answer = ask(site, what, &head, &body[..brought], &mut self.tally)?;
        let (201, Some(path)) = (answer.status, answer.header("location")) else {
            return Err(Stop::stuck(format!("a creation answers {answer:?}")));
        };
        let pieces = [usize::MAX, 512 << 10, 128 << 10, 64 << 10];
        let mut upload = Upload {
            name,
            declared: Some(!deferred),
            sent: brought as u64,
            piece: pieces[self.random.below(4) as usize],
            checked: self.random.below(3) == 0,
            ..Upload::new(path.to_owned(), role, body)
        };
        self.tally.created += 1;
        if brought > 0 {
            let offset = answer.offset();
            if offset != brought as u64 {
                return Err(Stop::stuck(format!("{offset} bytes of {brought} were taken")));
            }
            upload.hear(offset)?;
        }
        self.tally.completed += u64::from(upload.is_done());
        self.uploads.push(upload);
        Ok(())
    }

    /// Makes the final of a group.
    fn join(&mut self, site: &Site, group: u64) -> Result<(), Stop> {
        let parts = self.uploads.iter().filter(|upload| upload.role == Role::Part(group));
        let (paths, bodies): (Vec<_>, Vec<_>) =
            parts.map(|part| (part.path.clone(), part.body.as_slice())).unzip();
        let body = Arc::new(bodies.concat());
        let name = self.fresh_name();
        self.asked.insert(name.clone(), body.clone());
        let head = format!(
            "POST /files HTTP/1.1\r\nUpload-Metadata: filename {}\r\nUpload-Concat: final;{}",
            STANDARD.encode(&name),
            paths.join(" ")
        );
        let made = ask(site, "POST of a final", &head, b"", &mut self.tally);
        if let Err(Stop::Fault(..)) = made {
            self.uploads.retain(|upload| upload.role.group() != Some(group));
        }
        let answer = made?;
        let (201, Some(path)) = (answer.status, answer.header("location")) else {
            self.uploads.retain(|upload| upload.role.group() != Some(group));
            return Err(Stop::stuck(format!("a concatenation answers {answer:?}")));
        };
        self.tally.created += 1;
        self.tally.completed += 1;
        self.uploads.push(Upload {
            name,
            sent: body.len() as u64,
            // Its parts may not have told theirs.
            declared: None,
            ..Upload::new(path.to_owned(), Role::Final(group), body)
        });
        Ok(())
    }

    /// Sends the next piece.
    fn append(&mut self, site: &Site, n: usize) -> Result<(), Stop> {
        let upload = &mut self.uploads[n];
        let start = upload.told as usize;
        let mut end = start.saturating_add(upload.piece).min(upload.body.len());
        if upload.sent > upload.told {
            // A little first, so that what may lie beyond it would be seen.
            end = end.min(start + 1 + self.random.below(4096) as usize);
            upload.sent = upload.told;
        }
        let mut head = patch(&upload.path, upload.told);
        let declares = upload.declared != Some(true)
            && (end == upload.body.len() || self.random.below(4) == 0);
        if declares {
            head += &format!("\r\nUpload-Length: {}", upload.length());
            upload.declared = None;
        }
        let body = upload.body.clone();
        let piece = &body[start..end];
        if upload.checked {
            head += &format!("\r\nUpload-Checksum: {}", crc32(piece));
            upload.unproven = Some((start as u64, end as u64));
        }
        upload.sent = upload.sent.max(end as u64);
        let what = if end == body.len() { "last PATCH" } else { "PATCH" };
        let answer = ask(site, what, &head, piece, &mut self.tally)?;
        if answer.status != 204 || answer.offset() != end as u64 {
            return Err(Stop::stuck(format!("a PATCH answers {answer:?}")));
        }
        upload.unproven = None;
        if declares {
            upload.declared = Some(true);
        }
        upload.hear(answer.offset())?;
        self.tally.completed += u64::from(upload.is_done());
        Ok(())
    }

    fn delete(&mut self, site: &Site, n: usize) -> Result<(), Stop> {
        self.uploads[n].leaving = true;
        let head = format!("DELETE {} HTTP/1.1", self.uploads[n].path);
        let answer = ask(site, "DELETE", &head, b"", &mut self.tally)?;
        if answer.status != 204 {
            return Err(Stop::stuck(format!("a DELETE answers {answer:?}")));
        }
        let upload = self.uploads.swap_remove(n);
        self.forget(Upload { leaving: false, ..upload });
        Ok(())
    }

    /// Brings everything to its end.
    pub(crate) fn finish(&mut self, site: &Site) {
        while let Some(open) = (0..self.uploads.len()).find(|n| self.wants_bytes(*n)) {
            let sent = self.append(site, open);
            if !self.settle(site, Some(open), sent) {
                return;
            }
        }
        while let Some(group) = self.ripe() {
            let made = self.join(site, group);
            if !self.settle(site, None, made) {
                return;
            }
        }
    }

    /// Uploads that have not come to their end.
    pub(crate) fn unfinished(&self) -> usize {
        self.uploads.iter().filter(|upload| !upload.is_done()).count()
    }
}
