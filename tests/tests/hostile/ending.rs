//! What must be true after all requests.

use super::{
    disk,
    judge::Heard,
    panics,
    request::{Exchange, Framing, Request},
    round::{Round, SOON, show},
    talk::Talk,
    world::{MOUNT, sequence},
};

impl Round {
    /// All that was told is true, an ordinary client is served, nothing runs on, and nothing was
    /// written elsewhere.
    pub(crate) fn end(&mut self) -> Result<(), String> {
        self.look_again()?;
        let live: Vec<_> = self.world.live().cloned().collect();
        for upload in live {
            let answer = self.agree(&upload.id, false)?;
            let offset = answer.number("upload-offset").unwrap_or(0);
            let length = answer.number("upload-length");
            // A final that waits has a length as soon as all its parts have one.
            let as_known = length == upload.length || length == self.world.sum(&upload.id);
            if offset != upload.offset || !as_known {
                return Err(format!("{upload:?} is told as {answer}"));
            }
            if upload.is_whole() {
                let get = Exchange::of(Request::new("GET", &format!("{MOUNT}/{}", upload.id)));
                let content = self.world.content(&upload.id, 0..upload.offset);
                for (replies, served) in self.send(&get).iter().zip(&self.served) {
                    if !replies.heard[0].as_ref().is_ok_and(|answer| answer.body == content) {
                        return Err(format!(
                            "{} gives other bytes: {}",
                            served.name,
                            show(replies)
                        ));
                    }
                }
            }
        }
        self.ordinary()?;
        self.stop()
    }

    fn ordinary(&mut self) -> Result<(), String> {
        let content = sequence("an ordinary upload", 0..100_000);
        for served in &self.served {
            let failed = |what: &str, answer: Heard| match answer {
                Ok(answer) => format!("{}: {what}: {answer}", served.name),
                Err(silence) => format!("{}: {what}: {silence:?}", served.name),
            };
            let ask = |request: Request| {
                let mut talk = Talk::to(served.addr());
                talk.send(&request.to_bytes());
                talk.answer(request.is_head())
            };
            let made = ask(Request::tus("POST", MOUNT).with("Upload-Length", content.len()));
            let url = made.as_ref().ok().and_then(|answer| answer.header("location"));
            let Some(url) = url else { return Err(failed("create", made)) };
            let mut at = 0;
            for piece in content.chunks(40_000) {
                let append = Request::tus("PATCH", &url)
                    .with("Upload-Offset", at)
                    .with("Content-Type", "application/offset+octet-stream")
                    .bringing(piece, &Framing::Sized);
                at += piece.len() as u64;
                let answer = ask(append);
                let told = answer.as_ref().ok().and_then(|answer| answer.number("upload-offset"));
                if told != Some(at) {
                    return Err(failed("append", answer));
                }
            }
            let whole = ask(Request::new("GET", &url));
            if !whole.as_ref().is_ok_and(|answer| answer.body == content) {
                return Err(failed("read", whole));
            }
            let ended = ask(Request::tus("DELETE", &url));
            if !ended.as_ref().is_ok_and(|answer| answer.status == 204) {
                return Err(failed("terminate", ended));
            }
        }
        Ok(())
    }

    fn stop(&mut self) -> Result<(), String> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.expect("a runtime");
        for served in &mut self.served {
            served.talk = None;
            if !runtime.block_on(served.server.tus.drain(SOON)) {
                return Err(format!("{}: an exchange never ends", served.name));
            }
        }
        for (served, before) in self.served.iter().zip(&self.before) {
            disk::check(served, &self.world)?;
            if disk::around(served) != *before {
                return Err(format!("{}: something was written elsewhere", served.name));
            }
        }
        for served in self.served.drain(..) {
            runtime.block_on(served.server.stop());
        }
        match panics().0.first() {
            Some(panic) => Err(format!("a panic: {panic}")),
            None => Ok(()),
        }
    }
}
