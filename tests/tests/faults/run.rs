//! One run of a scenario: a server, a client, and one fault between them.

use std::{collections::HashMap, future::Future, time::Duration};

use tokio::{
    task::JoinHandle,
    time::{Instant, sleep, timeout},
};
use tus_core::{
    Phase, Tus, Upload, UploadId,
    conformance::{Fault, Faults},
    store::StoreErrorKind,
};
use tus_tests::rig::{Answer, Application, Ask, Frames};

use super::{
    ground::Ground,
    matrix::{Blow, Then},
};

/// A request that waits for nothing, answered; also the last call and the discarded rest of a body.
const AT_ONCE: Duration = Duration::from_secs(2);

/// The longest that a request waits for the upload and then for its announcement, by the policy's
/// defaults.
const AT_LAST: Duration = Duration::from_secs(11);

/// A server, a client, and one fault between them.
#[derive(Debug)]
pub(crate) struct Run {
    ground: Ground,
    /// None only while one process has died and the next is not there yet.
    tus: Option<Tus>,
    faults: Faults,
    /// At the call of which number what strikes.
    blow: Option<(usize, Blow)>,
    struck: bool,
    /// The calls of the processes that are dead.
    calls: Vec<&'static str>,
    /// The highest offset that was told of each upload.
    told: HashMap<String, u64>,
}

impl Run {
    pub(crate) async fn new(ground: Ground, blow: Option<(usize, Blow)>) -> Self {
        let (calls, told) = Default::default();
        let faults = Faults::none();
        let mut run = Self { ground, tus: None, faults, blow, struck: false, calls, told };
        run.start().await;
        run
    }

    /// Starts a process.
    async fn start(&mut self) {
        self.faults = Faults::none();
        if let Some((n, blow)) = self.blow
            && let Some(n) = n.checked_sub(self.calls.len())
            && !self.struck
        {
            self.faults.plan(n, blow.fault);
        }
        self.tus = Some(self.ground.serve(&self.faults).await);
    }

    /// The calls so far, of all processes.
    pub(crate) fn calls(&self) -> Vec<&'static str> {
        [self.calls.clone(), self.faults.calls()].concat()
    }

    pub(crate) fn ground(&self) -> &Ground {
        &self.ground
    }

    pub(crate) fn application(&self) -> &Application {
        self.ground.application()
    }

    /// The record of a URL.
    pub(crate) async fn record(&self, url: &str) -> Option<Upload> {
        let id: UploadId = url.rsplit('/').next().unwrap().parse().unwrap();
        self.ground.record(&id).await
    }

    /// The bytes that a crash would leave of an upload.
    pub(crate) async fn durable(&self, upload: &Upload) -> Option<Vec<u8>> {
        self.ground.durable(upload).await
    }

    /// Whether the fault has struck.
    pub(crate) fn is_struck(&self) -> bool {
        self.struck || self.faults.is_reached()
    }

    /// Kills the process, and starts another one.
    pub(crate) async fn restart(&mut self) {
        self.struck = self.is_struck();
        self.calls.extend(self.faults.calls());
        // Whatever it still has under way reaches no store any more.
        self.faults.crash();
        self.tus = None;
        self.ground.die();
        self.start().await;
    }

    /// Asks; `None` if the answer was lost, with the process or with the client's patience.
    pub(crate) async fn ask(&mut self, ask: Ask) -> Option<Answer> {
        let path = ask.path().to_owned();
        let what = format!("{} {path}", ask.method());
        let tus = self.tus();
        let before = self.struck;
        let answer = self.attend(&path, async move { ask.send(&tus).await }).await?;
        if !before && self.struck {
            // Nothing has failed: it only took a while.
            assert!(!matches!(answer.status, 500 | 507), "{what}: {answer:?}");
        }
        let strikes = !self.struck && self.faults.is_reached();
        if strikes {
            self.struck = true;
            match self.blow().fault {
                Fault::Crash | Fault::CrashAfter => {
                    self.restart().await;
                    return None;
                }
                Fault::Fail(StoreErrorKind::Full | StoreErrorKind::Unavailable) => {
                    assert_ne!(answer.status, 500, "{what}: {answer:?}");
                }
                _ => {}
            }
        }
        self.is_true(&what, &path, &answer).await;
        if strikes && self.blow().then == Then::Dies {
            self.restart().await;
        }
        Some(answer)
    }

    /// Has the sweeper come.
    pub(crate) async fn sweep(&mut self) {
        let tus = self.tus();
        self.attend("", async move { tus.sweep().await }).await;
        if !self.struck && self.faults.is_reached() {
            self.struck = true;
            if self.blow().dies() {
                self.restart().await;
            }
        }
    }

    fn blow(&self) -> Blow {
        self.blow.expect("a fault that was planned").1
    }

    fn tus(&self) -> Tus {
        self.tus.clone().expect("a process")
    }

    /// Waits for something that the server does, and for a call that stalls meanwhile.
    async fn attend<T: Send + 'static>(
        &mut self,
        path: &str,
        does: impl Future<Output = T> + Send + 'static,
    ) -> Option<T> {
        let mut task = tokio::spawn(does);
        let stalls = !self.struck && self.blow.is_some_and(|(_, blow)| blow.fault == Fault::Stall);
        if !stalls {
            return Some(task.await.unwrap());
        }
        tokio::select! {
            biased;
            () = self.faults.reached() => {}
            done = &mut task => {
                let done = done.unwrap();
                if !self.faults.is_reached() {
                    return Some(done);
                }
                task = tokio::spawn(async { done });
            }
        }
        self.struck = true;
        match self.blow().then {
            Then::GoesOn | Then::Dies => self.goes_on(path, task).await,
            Then::ClientLeaves => {
                self.client_leaves(path, task).await;
                None
            }
            Then::Stops => {
                let began = Instant::now();
                let grace = Duration::from_secs(2);
                self.tus().drain(grace).await;
                let waited = began.elapsed();
                assert!(waited <= grace + Duration::from_millis(10), "stopping took {waited:?}");
                self.restart().await;
                None
            }
        }
    }

    /// The store goes on after a while: the request ends, and whoever came for the same upload
    /// meanwhile has its turn.
    async fn goes_on<T>(&mut self, path: &str, task: JoinHandle<T>) -> Option<T> {
        self.others_go_on().await;
        let mut newcomer = self.newcomer(path);
        sleep(Duration::from_secs(2)).await;
        if let Some(early) = newcomer.take_if(|newcomer| newcomer.is_finished()) {
            self.is_true("a newcomer's HEAD", path, &early.await.unwrap()).await;
        }
        self.faults.release();
        let done = timeout(AT_ONCE, task).await;
        if let Some(newcomer) = newcomer {
            let answer = timeout(AT_ONCE, newcomer).await;
            let answer = answer.expect("a newcomer waits for ever").unwrap();
            assert_ne!(answer.status, 423, "a lease is lost: {answer:?}");
            self.is_true("a newcomer's HEAD", path, &answer).await;
        }
        Some(done.expect("a request does not end though its store has gone on").unwrap())
    }

    /// The client has left. Its request goes on nevertheless, and its upload is free again then.
    async fn client_leaves<T>(&mut self, path: &str, task: JoinHandle<T>) {
        if let Some(newcomer) = self.newcomer(path) {
            let answer = timeout(AT_LAST, newcomer).await;
            let answer = answer.expect("a newcomer is not answered in time").unwrap();
            assert!(!matches!(answer.status, 500 | 507), "a newcomer's HEAD: {answer:?}");
            self.is_true("a newcomer's HEAD", path, &answer).await;
        }
        self.faults.release();
        let ended = timeout(AT_ONCE, task).await;
        assert!(ended.is_ok(), "a request does not end though its store has gone on");
        if let Some(newcomer) = self.newcomer(path) {
            let answer = timeout(AT_ONCE, newcomer).await;
            let answer = answer.expect("a newcomer waits for ever").unwrap();
            assert_ne!(answer.status, 423, "a lease is lost: {answer:?}");
        }
    }

    /// Somebody else asks for the same upload.
    fn newcomer(&self, path: &str) -> Option<JoinHandle<Answer>> {
        let tus = self.tus();
        let head = path.strip_prefix("/files/").map(|_| Ask::head(path))?;
        Some(tokio::spawn(async move { head.send(&tus).await }))
    }

    /// Whoever has to do with another upload does not notice.
    async fn others_go_on(&self) {
        let tus = self.tus();
        let others = async {
            let create = Ask::post().length(4).with("upload-concat", "partial");
            let made = create.send(&tus).await;
            assert_eq!(made.status, 201, "another upload: {made:?}");
            let url = made.location();
            let patch = Ask::patch(&url, 0).body(Frames::whole(b"abcd")).send(&tus).await;
            assert_eq!((patch.status, patch.offset()), (204, Some(4)), "{patch:?}");
            let head = Ask::head(&url).send(&tus).await;
            assert_eq!((head.status, head.offset()), (200, Some(4)), "{head:?}");
            let delete = Ask::delete(&url).send(&tus).await;
            assert_eq!(delete.status, 204, "{delete:?}");
        };
        let waited = timeout(Duration::from_secs(1), others).await;
        assert!(waited.is_ok(), "another upload is held up");
    }

    /// What is told must be stored, and must not be less than what was told before.
    async fn is_true(&mut self, what: &str, path: &str, answer: &Answer) {
        if !answer.is_success() {
            return;
        }
        let path = match answer.headers.contains_key("location") {
            true => answer.location(),
            false => path.to_owned(),
        };
        let Some(offset) = answer.offset() else { return };
        // A part may be used, and gone, before anybody has looked at it.
        let may_go = self.ground.policy().remove_used_parts;
        let Some(upload) = self.record(&path).await else {
            assert!(may_go, "{what}: told of nothing: {answer:?}");
            return;
        };
        let durable = self.durable(&upload).await.map(|bytes| bytes.len() as u64);
        if may_go && durable.is_none() {
            let now = self.record(&path).await.map(|upload| upload.phase);
            assert!(matches!(now, None | Some(Phase::Gone(_))), "{what}: no bytes, but {now:?}");
            return;
        }
        assert!(durable >= Some(offset), "{what}: {offset} told, {durable:?} durable");
        let before = self.told.entry(path).or_default();
        assert!(*before <= offset, "{what}: {offset} told after {before}");
        *before = offset;
        let settled = !matches!(upload.phase, Phase::Complete { .. } | Phase::Refused { .. });
        let is_whole = upload.length == Some(offset);
        assert!(settled || !is_whole, "{what}: success is told while {:?}", upload.phase);
    }
}
