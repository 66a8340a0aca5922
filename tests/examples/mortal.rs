//! A server that kills itself: SIGKILL at the n-th operation that changes its disk.
//!
//! The kill tests start it (`tests/tests/kill.rs`). It takes uploads at `/files` and writes each
//! event that its hooks are told, with its id, into a file. `POST /arm/{manner}/{n}` has it die
//! `before` or `after` the n-th operation from then on, or `within` the n-th that can be done by
//! half. `POST /disarm` lets it live and says how many there were of both kinds, and `POST /sweep`
//! has it look at all that is due.
//!
//! ```text
//! --port=0 --upload-dir=DIR --destination-dir=DIR --durability=power|process --events=FILE
//! [--ahead=SECONDS]     its clock runs ahead of the machine's by so much
//! [--deaf=yes]          nobody hears what was terminated or has expired
//! ```

use std::{
    collections::HashMap,
    error::Error,
    fs::{File, OpenOptions},
    io::Write as _,
    net::Ipv4Addr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use axum::{Router, extract::Path, http::StatusCode, routing::post};
use rustix::process::{Signal, getpid, kill_process};
use tus_core::{Expiry, Policy, Reply, Timestamp, Tus, UploadId};
use tus_fs::{
    Durability, FsStore,
    watch::{Act, Answer, Outcome, Watch},
};

/// How long an upload lives without bytes, and how long it is remembered.
const PERIOD: Duration = Duration::from_secs(3600);

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: HashMap<_, _> = std::env::args()
        .filter_map(|text| Some(own(text.strip_prefix("--")?.split_once('=')?)))
        .collect();
    let given = |name: &str| arguments.get(name).ok_or(format!("--{name} is missing"));
    let durability = match given("durability")?.as_str() {
        "power" => Durability::Power,
        "process" => Durability::Process,
        other => return Err(format!("--durability={other}: power or process").into()),
    };
    let ahead = Duration::from_secs(arguments.get("ahead").map_or(Ok(0), |text| text.parse())?);
    let port = given("port")?.parse()?;

    let fuse = Arc::new(Fuse::default());
    let store = FsStore::builder(given("upload-dir")?)
        .destination(given("destination-dir")?)
        .durability(durability)
        .watch(fuse.clone())
        .open()
        .await?;
    let events = OpenOptions::new().create(true).append(true).open(given("events")?)?;
    let tus = service(
        store,
        Diary { file: Mutex::new(events), fuse: fuse.clone() },
        ahead,
        arguments.contains_key("deaf"),
    )?;

    let disarmed = fuse.clone();
    let swept = tus.clone();
    let app = Router::new()
        .route("/arm/{manner}/{nth}", post(async move |Path(when)| fuse.arm(when)))
        .route("/disarm", post(async move || disarmed.disarm()))
        .route("/sweep", post(async move || [("x-left", swept.sweep().await.left.to_string())]))
        .merge(tus_axum::routes("/files", tus));
    let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
    println!("http://{}/files", listener.local_addr()?);
    axum::serve(listener, app).await?;
    Ok(())
}

fn own((name, value): (&str, &str)) -> (String, String) {
    (name.to_owned(), value.to_owned())
}

/// Uploads that expire unless their metadata says `keep`, and hooks that write down what they hear.
fn service(
    store: FsStore,
    diary: Diary,
    ahead: Duration,
    deaf: bool,
) -> Result<Tus, Box<dyn Error>> {
    let mut policy = Policy::default();
    policy.expiry = Some(Expiry::sliding(PERIOD));
    policy.sweep_every = PERIOD;
    policy.download = true;
    let diary = Arc::new(diary);
    let (finished, terminated, expired) = (diary.clone(), diary.clone(), diary);
    let mut tus = Tus::builder()
        .store(store)
        .policy(policy)
        .clock(move || Timestamp::now().after(ahead))
        .before_create(|_, mut new| async move {
            if new.metadata.get_text("keep").is_some() {
                new.expires_at = Some(Timestamp::now().after(1_000 * PERIOD));
            }
            Ok(new)
        })
        .on_finish(move |told| {
            let written = finished.write("finished", told.id(), &told.event_id);
            async move {
                written?;
                // A moment in which it can be killed too.
                tokio::time::sleep(Duration::from_millis(1)).await;
                let mut reply = Reply::new();
                reply.headers.insert("x-event", told.event_id.parse()?);
                Ok(reply)
            }
        });
    if !deaf {
        tus = tus
            .on_terminated(move |told| {
                let written = terminated.write("terminated", told.id(), &told.event_id);
                async move { Ok(written?) }
            })
            .on_expired(move |told| {
                let written = expired.write("expired", told.id(), &told.event_id);
                async move { Ok(written?) }
            });
    }
    Ok(tus.build()?)
}

/// What the application was told, in a file that outlives the process.
#[derive(Debug)]
struct Diary {
    file: Mutex<File>,
    fuse: Arc<Fuse>,
}

impl Diary {
    /// Writes an event down; to the fuse that is an operation like those of the store.
    fn write(&self, kind: &str, id: &UploadId, event: &str) -> std::io::Result<()> {
        self.fuse.begin(false);
        let line = format!("{kind} {id} {event}\n");
        self.file.lock().unwrap_or_else(PoisonError::into_inner).write_all(line.as_bytes())?;
        self.fuse.end();
        Ok(())
    }
}

/// Counts operations, and ends the process at one of them.
#[derive(Debug, Default)]
struct Fuse(Mutex<Option<Set>>);

/// Which operation it happens at, on which side of it, and how many there were.
#[derive(Clone, Copy, Debug)]
struct Set {
    nth: u64,
    moment: Moment,
    begun: u64,
    divisible: u64,
    /// The next thing that is over is the one to die after.
    lit: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Moment {
    Before,
    Within,
    After,
}

impl Fuse {
    fn arm(&self, (manner, nth): (String, u64)) -> StatusCode {
        let moment = match manner.as_str() {
            "before" => Moment::Before,
            "within" => Moment::Within,
            "after" => Moment::After,
            _ => return StatusCode::NOT_FOUND,
        };
        let set = Set { nth, moment, begun: 0, divisible: 0, lit: false };
        *self.lock() = Some(set);
        StatusCode::OK
    }

    /// Lets it live, and says how many operations there were and how many of them were divisible.
    fn disarm(&self) -> [(&'static str, String); 2] {
        let counts = self.lock().take().map_or((0, 0), |set| (set.begun, set.divisible));
        [("x-operations", counts.0.to_string()), ("x-divisible", counts.1.to_string())]
    }

    fn lock(&self) -> MutexGuard<'_, Option<Set>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Is told that an operation begins; whether it is to be done by half.
    fn begin(&self, divisible: bool) -> bool {
        // Held to the end: nobody else does anything once it is decided.
        let mut set = self.lock();
        let Some(set) = &mut *set else { return false };
        set.begun += 1;
        set.divisible += u64::from(divisible);
        let by_half = set.moment == Moment::Within;
        let number = if by_half { set.divisible } else { set.begun };
        if number < set.nth || set.lit || (by_half && !divisible) {
            return false;
        }
        if set.moment == Moment::Before {
            die();
        }
        set.lit = true;
        by_half
    }

    /// Is told that an operation is over.
    fn end(&self) {
        let set = self.lock();
        if set.as_ref().is_some_and(|set| set.lit) {
            die();
        }
    }
}

impl Watch for Fuse {
    fn before(&self, act: &Act<'_>) -> Answer {
        let half = match act {
            Act::Write { bytes, .. } => bytes.len() / 2,
            _ => 0,
        };
        match act.changes() && self.begin(half > 0) {
            true => Answer::Short(half),
            false => Answer::GoOn,
        }
    }

    fn after(&self, act: &Act<'_>, _result: Result<Outcome, i32>) {
        if act.changes() {
            self.end();
        }
    }
}

/// Ends this process as nobody can prevent.
fn die() -> ! {
    let killed = kill_process(getpid(), Signal::KILL);
    // It takes effect on the way back from the call.
    loop {
        std::thread::park_timeout(Duration::from_secs(1));
        eprintln!("still alive: {killed:?}");
    }
}
