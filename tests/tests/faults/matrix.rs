//! One fault in one run of a scenario, and all of them one after another.

use std::{
    any::Any,
    collections::{BTreeMap, BTreeSet, HashMap},
    fmt::Write as _,
    panic::{AssertUnwindSafe, catch_unwind},
    time::Duration,
};

use tus_core::{
    Expiry, Phase, Policy, Tus, Upload, UploadId,
    conformance::{Fault, Faults, Flaky},
    store::{ChunkStore as _, StoreErrorKind},
};
use tus_tests::rig::{Answer, Application, Ask, Frames, Manner, Piece, World};

/// What happens to one call, and whether the process is killed once it has answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Blow {
    fault: Fault,
    then_dies: bool,
}

const fn blow(fault: Fault, then_dies: bool) -> Blow {
    Blow { fault, then_dies }
}

/// Calls that fail, in a process that lives on or is killed after its answer.
pub(crate) const FAILURES: [Blow; 4] = [
    blow(Fault::Fail(StoreErrorKind::Other), false),
    blow(Fault::Fail(StoreErrorKind::Other), true),
    blow(Fault::Fail(StoreErrorKind::Full), true),
    blow(Fault::Fail(StoreErrorKind::Unavailable), false),
];

/// And processes that die at a call.
pub(crate) const ALL: [Blow; 6] = [
    FAILURES[0],
    FAILURES[1],
    FAILURES[2],
    FAILURES[3],
    blow(Fault::Crash, true),
    blow(Fault::CrashAfter, true),
];

const MANNERS: [Manner; 2] = [
    Manner { volatile: false, places: false, is_blind: false },
    Manner { volatile: true, places: true, is_blind: false },
];

/// So often a sane client tries again before something is broken.
const PATIENCE: usize = 30;

/// Runs a scenario under every fault at every call.
pub(crate) fn matrix(scenario: impl AsyncFn(&mut Run)) {
    matrix_of(&Policy::default(), Application::default, &ALL, scenario);
}

/// The same under a policy, with an application, for some of the faults.
#[allow(clippy::needless_pass_by_value, reason = "a closure reads better than a pointer to one")]
pub(crate) fn matrix_of(
    policy: &Policy,
    application: impl Fn() -> Application,
    blows: &[Blow],
    scenario: impl AsyncFn(&mut Run),
) {
    let mut broken: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut runs = 0;
    for manner in MANNERS {
        let once = |blow: Option<(usize, &'static str, Blow)>| {
            let world = World::new(manner, policy.clone(), application());
            attempt(world, blow, &scenario)
        };
        let calls = match once(None) {
            (calls, Ok(())) => calls,
            (_, Err(said)) => panic!("without any fault, {manner:?}: {said}"),
        };
        for blow in blows {
            for (n, name) in calls.iter().enumerate() {
                runs += 1;
                if let (_, Err(said)) = once(Some((n + 1, *name, *blow))) {
                    let which = format!("call {} {name}, {blow:?}, {manner:?}", n + 1);
                    broken.entry(said).or_default().push(which);
                }
            }
        }
    }
    assert!(runs > 0, "nothing was tried");
    let mut report = String::new();
    for (said, which) in &broken {
        let _infallible = writeln!(report, "\n{said}\n  in {} runs, as in", which.len());
        for which in which.iter().take(6) {
            let _infallible = writeln!(report, "    {which}");
        }
    }
    assert!(broken.is_empty(), "of {runs} runs:\n{report}");
}

fn attempt(
    world: World,
    blow: Option<(usize, &'static str, Blow)>,
    scenario: &impl AsyncFn(&mut Run),
) -> (Vec<&'static str>, Result<(), String>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    let faults = match blow {
        Some((n, _, blow)) => Faults::at(n, blow.fault),
        None => Faults::none(),
    };
    let counted = faults.clone();
    let ran = catch_unwind(AssertUnwindSafe(|| {
        runtime.block_on(async {
            let mut run = Run::new(world, faults, blow.map(|(_, _, blow)| blow));
            scenario(&mut run).await;
            run.has_kept_house().await;
            if blow.is_some() {
                assert!(run.struck || run.faults.is_reached(), "the fault was never reached");
            }
        });
    }));
    (counted.calls(), ran.map_err(|panic| text(&*panic)))
}

fn text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("a panic").to_owned()
}

/// A server, a client, and one fault between them.
#[derive(Debug)]
pub(crate) struct Run {
    world: World,
    tus: Tus,
    faults: Faults,
    blow: Option<Blow>,
    struck: bool,
    /// The highest offset that was told of each upload.
    told: HashMap<String, u64>,
}

impl Run {
    fn new(world: World, faults: Faults, blow: Option<Blow>) -> Self {
        let tus = serve(&world, &faults);
        Self { world, tus, faults, blow, struck: false, told: HashMap::new() }
    }

    pub(crate) fn world(&self) -> &World {
        &self.world
    }

    /// Kills the process, and starts another one.
    pub(crate) fn restart(&mut self) {
        if self.struck {
            // Whatever it still has under way reaches no store any more.
            self.faults.plan(1, Fault::Crash);
            self.faults = Faults::none();
        }
        self.world.bytes.crash();
        self.tus = serve(&self.world, &self.faults);
    }

    /// Asks; `None` if the answer was lost with the process.
    pub(crate) async fn ask(&mut self, ask: Ask) -> Option<Answer> {
        let path = ask.path().to_owned();
        let what = format!("{} {path}", ask.method());
        let answer = ask.send(&self.tus).await;
        let strikes = !self.struck && self.faults.is_reached();
        if strikes {
            self.struck = true;
            match self.blow.expect("a fault that was planned").fault {
                Fault::Crash | Fault::CrashAfter => {
                    self.restart();
                    return None;
                }
                Fault::Fail(StoreErrorKind::Full | StoreErrorKind::Unavailable) => {
                    assert_ne!(answer.status, 500, "{what}: {answer:?}");
                }
                _ => {}
            }
        }
        self.is_true(&what, &path, &answer).await;
        if strikes && self.blow.is_some_and(|blow| blow.then_dies) {
            self.restart();
        }
        Some(answer)
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
        let upload = self.record(&path).await;
        let upload = upload.unwrap_or_else(|| panic!("{what}: told of nothing: {answer:?}"));
        let durable = self.world.bytes.durable(&upload.locator);
        let durable = durable.map(|bytes| bytes.len() as u64);
        assert!(durable >= Some(offset), "{what}: {offset} told, {durable:?} durable");
        let before = self.told.entry(path).or_default();
        assert!(*before <= offset, "{what}: {offset} told after {before}");
        *before = offset;
        assert!(
            !matches!(upload.phase, Phase::Complete { .. } | Phase::Refused { .. }),
            "{what}: success is told while {:?}",
            upload.phase
        );
    }

    /// Waits as long as an answer says, or a second.
    async fn pause(&self, answer: Option<&Answer>) {
        let seconds = answer.and_then(Answer::retry_after).unwrap_or(1);
        tokio::time::sleep(Duration::from_secs(seconds)).await;
    }

    /// Creates until there is an answer.
    pub(crate) async fn create(&mut self, ask: impl Fn() -> Ask) -> String {
        for _ in 0..PATIENCE {
            let answer = self.ask(ask()).await;
            if let Some(answer) = &answer {
                if answer.status == 201 {
                    return answer.location();
                }
                assert!(answer.status == 423 || answer.status >= 500, "created: {answer:?}");
            }
            self.pause(answer.as_ref()).await;
        }
        panic!("nothing can be created");
    }

    /// HEAD until there is an offset.
    pub(crate) async fn offset(&mut self, url: &str) -> u64 {
        let answer = self.head(url).await;
        answer.offset().unwrap_or_else(|| panic!("HEAD {url}: {answer:?}"))
    }

    /// HEAD until it is answered.
    async fn head(&mut self, url: &str) -> Answer {
        for _ in 0..PATIENCE {
            let answer = self.ask(Ask::head(url)).await;
            if let Some(answer) = &answer
                && answer.status < 500
                && answer.status != 423
            {
                return answer.clone();
            }
            self.pause(answer.as_ref()).await;
        }
        panic!("HEAD {url} is never answered");
    }

    /// Sends what is missing, in pieces, asking before each where to go on.
    pub(crate) async fn go_on(&mut self, url: &str, bytes: &[u8], piece: usize) {
        self.send_pieces(url, bytes, bytes.len(), piece).await;
    }

    /// Sends until so much is there.
    pub(crate) async fn send_until(&mut self, url: &str, bytes: &[u8], until: usize) {
        self.send_pieces(url, bytes, until, until).await;
    }

    async fn send_pieces(&mut self, url: &str, bytes: &[u8], until: usize, piece: usize) {
        for _ in 0..PATIENCE {
            let at = usize::try_from(self.offset(url).await).unwrap();
            if at >= until {
                return;
            }
            let end = (at + piece).min(until);
            let patch = Ask::patch(url, at as u64).body(Frames::whole(&bytes[at..end]));
            if let Some(answer) = self.ask(patch).await
                && !answer.is_success()
            {
                assert!(answer.status >= 409, "PATCH {url} at {at}: {answer:?}");
                self.pause(Some(&answer)).await;
            }
        }
        panic!("PATCH {url} does not come to {until}");
    }

    /// Sends what is missing of a part that may be used up at any time.
    pub(crate) async fn go_on_or_gone(&mut self, url: &str, bytes: &[u8]) {
        for _ in 0..PATIENCE {
            let answer = self.head(url).await;
            let Some(at) = answer.offset().map(|at| usize::try_from(at).unwrap()) else {
                assert!(matches!(answer.status, 404 | 410), "{answer:?}");
                return;
            };
            if at == bytes.len() {
                return;
            }
            self.ask(Ask::patch(url, at as u64).body(Frames::whole(&bytes[at..]))).await;
        }
        panic!("PATCH {url} does not come to its end");
    }

    /// Sends all bytes of an upload whose end nobody may announce as a success.
    pub(crate) async fn send_all(&mut self, url: &str, bytes: &[u8]) {
        for _ in 0..PATIENCE {
            let phase = self.record(url).await.expect("a record").phase;
            if phase != Phase::Open {
                return;
            }
            let at = self.ask(Ask::head(url)).await.and_then(|answer| answer.offset());
            if let Some(at) = at {
                let rest = &bytes[usize::try_from(at).unwrap()..];
                self.ask(Ask::patch(url, at).body(Frames::whole(rest))).await;
            }
        }
        panic!("PATCH {url} does not come to its end");
    }

    /// Sends what is missing, and declares the length with it.
    pub(crate) async fn declare(&mut self, url: &str, bytes: &[u8]) {
        for _ in 0..PATIENCE {
            let head = self.head(url).await;
            let at = head.offset().expect("an offset");
            if head.length() == Some(at) {
                return;
            }
            let rest = &bytes[usize::try_from(at).unwrap()..];
            let patch = Ask::patch(url, at).length(bytes.len() as u64).body(Frames::whole(rest));
            let answer = self.ask(patch).await;
            self.pause(answer.as_ref()).await;
        }
        panic!("PATCH {url} does not declare its length");
    }

    /// Two parts of these bytes, of which so many have arrived.
    pub(crate) async fn two_parts(&mut self, bytes: &[u8], arrived: usize) -> (String, String) {
        let (left, right) = bytes.split_at(13);
        let part =
            |part: &[u8]| Ask::post().length(part.len() as u64).with("upload-concat", "partial");
        let first = self.create(|| part(left)).await;
        let second = self.create(|| part(right)).await;
        if arrived > 0 {
            self.go_on(&first, left, 99).await;
            self.go_on(&second, right, 99).await;
        }
        (first, second)
    }

    pub(crate) async fn concat(&mut self, parts: &[&str]) -> String {
        let list = format!("final;{}", parts.join(" "));
        self.create(|| Ask::post().with("upload-concat", &list)).await
    }

    /// Terminates until it is so.
    pub(crate) async fn end(&mut self, url: &str) {
        for _ in 0..PATIENCE {
            let answer = self.ask(Ask::delete(url)).await;
            match answer.as_ref().map(|answer| answer.status) {
                Some(204 | 404 | 410) => return,
                None | Some(423 | 500..) => self.pause(answer.as_ref()).await,
                Some(_) => panic!("DELETE {url}: {answer:?}"),
            }
        }
        panic!("DELETE {url} does not come to its end");
    }

    /// Gone, now and after a restart, and nothing can be added.
    pub(crate) async fn is_gone(&mut self, url: &str) {
        for _ in 0..2 {
            let head = self.head(url).await;
            assert!(matches!(head.status, 404 | 410), "HEAD {url}: {head:?}");
            self.restart();
        }
    }

    /// The application hears of the end, at least once, under one event id (P5).
    pub(crate) async fn is_told_of_the_end(&mut self, url: &str) {
        let name = url.rsplit('/').next().unwrap_or_default().to_owned();
        for _ in 0..PATIENCE {
            self.sweep().await;
            let told = self.world.application.terminated.lock().unwrap().clone();
            let told = told.into_iter().filter(|told| told.id.as_str() == name);
            let events: BTreeSet<_> = told.map(|told| told.event).collect();
            assert!(events.len() <= 1, "the end of {url} has {events:?}");
            if events.len() == 1 {
                return;
            }
            self.pause(None).await;
        }
        panic!("nobody was told that {url} has ended");
    }

    /// Refused, whoever asks how.
    pub(crate) async fn is_refused(&mut self, url: &str) {
        let head = self.head(url).await;
        assert_eq!(head.status, 422, "HEAD {url}: {head:?}");
        for _ in 0..PATIENCE {
            let patch = Ask::patch(url, 0).body(Frames::chunked([Piece::Break]));
            if let Some(answer) = self.ask(patch).await
                && answer.status < 500
            {
                assert_eq!(answer.status, 422, "PATCH {url}: {answer:?}");
                return;
            }
        }
        panic!("PATCH {url} is never answered");
    }

    /// Whole, announced, and told so; also by the next process.
    pub(crate) async fn is_complete(&mut self, url: &str, bytes: &[u8]) {
        for _ in 0..2 {
            let head = self.head(url).await;
            let whole = Some(bytes.len() as u64);
            assert_eq!((head.status, head.offset(), head.length()), (200, whole, whole), "{url}");
            let upload = self.record(url).await.expect("a record");
            assert_eq!(self.world.bytes.durable(&upload.locator).as_deref(), Some(bytes));
            if !upload.is_partial() {
                let events: BTreeSet<_> =
                    self.world.application.events(&upload.id).into_iter().collect();
                assert_eq!(events.len(), 1, "events of {url}: {events:?}");
            }
            self.restart();
        }
    }

    /// Waits until a final has its bytes, with the sweeper's help.
    pub(crate) async fn joins(&mut self, url: &str, bytes: &[u8]) {
        for _ in 0..PATIENCE {
            if self.head(url).await.offset().is_some() {
                return self.is_complete(url, bytes).await;
            }
            self.sweep().await;
            self.pause(None).await;
        }
        panic!("{url} is never joined");
    }

    async fn sweep(&mut self) {
        self.tus.sweep().await;
        if !self.struck && self.faults.is_reached() {
            self.struck = true;
            if self.blow.is_some_and(|blow| blow.then_dies) {
                self.restart();
            }
        }
    }

    /// Lets the engine finish whatever it has begun.
    pub(crate) async fn settle(&mut self) {
        for _ in 0..2 {
            tokio::time::sleep(Duration::from_secs(10)).await;
            self.sweep().await;
        }
    }

    /// Lets time go by until these must have expired, and their records are forgotten.
    pub(crate) async fn expires(&mut self, urls: &[&str]) {
        let period =
            self.world.policy.expiry.map_or(Duration::ZERO, |expiry: Expiry| expiry.period);
        for _ in 0..2 {
            self.world.clock.advance(period + Duration::from_secs(1));
            // A part of a final that waits lives until a sweep has found the final abandoned.
            self.settle().await;
            for url in urls {
                let head = self.head(url).await;
                assert!(matches!(head.status, 404 | 410), "after its time, HEAD {url}: {head:?}");
            }
            self.settle().await;
        }
        for url in urls {
            assert!(self.record(url).await.is_none(), "{url} is not forgotten");
        }
    }

    /// The record of a URL.
    pub(crate) async fn record(&self, url: &str) -> Option<Upload> {
        let id: UploadId = url.rsplit('/').next().unwrap().parse().unwrap();
        self.world.record(&id).await
    }

    /// In the end nothing is owed to anybody, and nothing lies about.
    async fn has_kept_house(&mut self) {
        self.settle().await;
        let world = &self.world;
        let complaints = world.application.complaints.lock().unwrap().clone();
        assert!(complaints.is_empty(), "{complaints:?}");
        let fails = world.application.fails.load(std::sync::atomic::Ordering::SeqCst) > 0;
        let all = world.all().await;
        let mut owned = BTreeSet::new();
        for (id, upload) in &all {
            let events: BTreeSet<_> = world.application.events(id).into_iter().collect();
            let settled = matches!(upload.phase, Phase::Announced { .. } | Phase::Refused { .. });
            let wanted = usize::from(settled && !upload.is_partial());
            assert!(fails || events.len() == wanted, "events of {id}: {events:?}, {upload:?}");
            assert!(fails || !matches!(upload.phase, Phase::Complete { .. }), "{id} is owed");
            for one in &upload.finals {
                let open = all.get(one).is_some_and(Upload::is_open);
                assert!(open, "{id} waits for {one} for ever");
            }
            owned.insert(upload.locator.as_str().to_owned());
            if upload.is_open() || matches!(upload.phase, Phase::Announced { .. }) {
                let stat = world.bytes.stat(&upload.locator).await;
                assert!(stat.is_ok(), "the bytes of {id} are gone");
            }
        }
        let left: Vec<_> =
            world.bytes.locators().into_iter().filter(|at| !owned.contains(at)).collect();
        assert!(left.is_empty(), "bytes that no record names: {left:?}");
    }
}

fn serve(world: &World, faults: &Faults) -> Tus {
    let meta = Flaky::new(world.records.clone(), faults);
    let chunks = Flaky::new(world.bytes.clone(), faults);
    world.serve(meta, chunks)
}
