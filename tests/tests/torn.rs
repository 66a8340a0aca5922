//! Damaged sidecars: each byte of each record, slot and note of a place is flipped, and each is cut
//! at each length. The store opens, the damage harms that upload alone, it is reported, and nothing
//! wrong is ever served (P7).

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test that cannot go on panics, and its helpers do so too"
)]

#[path = "torn/short.rs"]
mod short;

use std::{
    collections::HashMap,
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tempfile::TempDir;
use tus_fs::watch::{Act, Answer, Outcome, Watch};
use tus_tests::{
    disk::{Client, House, How, Knowledge, Plan, Role, Setup, disks},
    process::bytes,
    rig::{Ask, Frames},
    scale::is_full,
};

/// Counts what is reported as wrong.
struct Reports;

static REPORTED: AtomicU64 = AtomicU64::new(0);

impl tracing::Subscriber for Reports {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        *metadata.level() <= tracing::Level::WARN
    }

    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }

    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}

    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}

    fn event(&self, _: &tracing::Event<'_>) {
        REPORTED.fetch_add(1, Ordering::SeqCst);
    }

    fn enter(&self, _: &tracing::span::Id) {}

    fn exit(&self, _: &tracing::span::Id) {}
}

/// Copies the home when an upload is about to get its place, or what has it may go.
#[derive(Debug)]
struct Snapshot {
    home: PathBuf,
    to: PathBuf,
    /// Whether it has its place then.
    is_placed: bool,
    no_links: Option<i32>,
    knowledge: Mutex<Option<Knowledge>>,
    house: Mutex<Option<Arc<House>>>,
}

impl Watch for Snapshot {
    fn before(&self, act: &Act<'_>) -> Answer {
        let is_placing = matches!(act, Act::Link { .. } | Act::Rename { .. });
        let noted = self.home.join("up/u1.place").exists();
        let is_now = noted
            && match act {
                // The record that is to name the place.
                Act::Open { at, .. } if self.is_placed => at.name == "u1.rec.tmp",
                _ => is_placing && !self.is_placed,
            };
        if is_now && !self.to.exists() {
            copy(&self.home, &self.to);
            let house = self.house.lock().unwrap();
            let known = house.as_ref().unwrap().knowledge().clone();
            *self.knowledge.lock().unwrap() = Some(known);
        }
        match (act, self.no_links) {
            (Act::Link { .. }, Some(errno)) => Answer::Fail(errno),
            _ => Answer::GoOn,
        }
    }

    fn after(&self, _: &Act<'_>, _: Result<Outcome, i32>) {}
}

/// Copies a directory as `cp -a` does.
fn copy(from: &Path, to: &Path) {
    copy_all(from, to, &mut HashMap::new());
}

fn copy_all(from: &Path, to: &Path, made: &mut HashMap<u64, PathBuf>) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let (path, target) = (entry.path(), to.join(entry.file_name()));
        if entry.file_type().unwrap().is_dir() {
            copy_all(&path, &target, made);
            continue;
        }
        let inode = entry.metadata().unwrap().ino();
        if let Some(first) = made.get(&inode) {
            fs::hard_link(first, &target).unwrap();
            continue;
        }
        made.insert(inode, target.clone());
        fs::copy(&path, &target).unwrap();
        let modified = entry.metadata().unwrap().modified().unwrap();
        fs::File::options().write(true).open(&target).unwrap().set_modified(modified).unwrap();
    }
}

fn plan(seed: u64, length: usize) -> Plan {
    let name = format!("{seed}.bin");
    Plan { body: bytes(seed, length).into(), role: Role::Single, is_deferred: false, name }
}

fn run<T>(what: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .max_blocking_threads(2)
        .build()
        .unwrap();
    runtime.block_on(what)
}

/// A home with a victim `u1`, an upload `u2` that is through, and one `u3` that is not.
struct Scene {
    home: TempDir,
    setup: Setup,
    knowledge: Knowledge,
}

fn prepare(placing: Option<bool>, no_links: Option<i32>) -> Scene {
    let (home, kept) =
        (tempfile::tempdir_in(disks()).unwrap(), tempfile::tempdir_in(disks()).unwrap());
    let setup = Setup { no_links, ..Setup::default() };
    let house = House::new(home.path(), &setup, Knowledge::default(), Arc::new(|_| {}));
    let house = Arc::new(house);
    let watch = Arc::new(Snapshot {
        home: home.path().to_owned(),
        to: kept.path().join("home"),
        is_placed: placing == Some(true),
        no_links,
        knowledge: Mutex::default(),
        house: Mutex::new(Some(house.clone())),
    });
    run(async {
        let store = house.open(watch.clone(), "boot 1").await.unwrap();
        let client = Client::new(house.serve(store), &house);
        let victim = client.create(plan(1, 3000), None).await;
        for end in [400, 700, 1200] {
            client.reach(&victim, end, How::Whole).await;
        }
        client.create(plan(2, 900), Some((900, How::Whole))).await;
        client.create(plan(3, 1500), Some((500, How::Whole))).await;
        if placing.is_some() {
            client.send(&victim, 3000, How::Whole).await;
        }
        client.tus.drain(Duration::from_secs(1)).await;
    });
    let knowledge = match placing {
        Some(_) => {
            fs::remove_dir_all(home.path()).unwrap();
            copy(&watch.to, home.path());
            watch.knowledge.lock().unwrap().clone().unwrap()
        }
        None => house.knowledge().clone(),
    };
    drop(watch);
    Scene { home, setup, knowledge }
}

/// What became of a victim.
#[derive(Clone, Copy, Debug, Default)]
struct Outcomes {
    unhurt: u64,
    shorter: u64,
    failed: u64,
    /// At most so many times it lies in the destination.
    copies: u64,
}

impl Scene {
    /// Damages a sidecar, and looks what comes of it.
    fn damage(&self, sidecar: &str, boot: &str, how: impl Fn(&mut Vec<u8>), sum: &mut Outcomes) {
        let home = tempfile::tempdir_in(disks()).unwrap();
        let mut made = HashMap::new();
        for entry in ["up", "done"] {
            copy_all(&self.home.path().join(entry), &home.path().join(entry), &mut made);
        }
        let path = home.path().join("up").join(sidecar);
        let mut bytes = fs::read(&path).unwrap();
        how(&mut bytes);
        let modified = fs::metadata(&path).unwrap().modified().unwrap();
        fs::write(&path, bytes).unwrap();
        fs::File::options().write(true).open(&path).unwrap().set_modified(modified).unwrap();
        let mut knowledge = self.knowledge.clone();
        let victim = knowledge.uploads.remove("u1").unwrap();
        let house = House::new(home.path(), &self.setup, knowledge, Arc::new(|_| {}));
        let house = Arc::new(house);
        let before = REPORTED.load(Ordering::SeqCst);
        run(async {
            let watch = Arc::new(Calm(self.setup.no_links));
            let store = house.open(watch, boot).await.expect("the store opens");
            // The application hears of the victim too, of which nothing is known any more.
            let mut all = house.knowledge().clone();
            all.uploads.insert("u1".to_owned(), victim.clone());
            *house.knowledge() = all;
            let client = Client::new(house.serve(store), &house);
            let url = "/files/u1";
            let (mut head, mut tries) = (Ask::head(url).send(&client.tus).await, 0);
            while head.status == 423 && tries < 9 {
                tokio::time::sleep(Duration::from_secs(1)).await;
                (head, tries) = (Ask::head(url).send(&client.tus).await, tries + 1);
            }
            match head.status {
                200 => {
                    let told = head.offset().unwrap();
                    let most = victim.flights.iter().map(|flight| flight.end).max();
                    assert!(told <= most.unwrap_or(victim.told), "{told} is more than was sent");
                    let reported = REPORTED.load(Ordering::SeqCst) > before;
                    assert!(told >= victim.told || reported, "told bytes go, and nobody hears");
                    if told < victim.told {
                        sum.shorter += 1
                    } else {
                        sum.unhurt += 1
                    }
                    let rest = &victim.plan.body[usize::try_from(told).unwrap()..];
                    if !rest.is_empty() {
                        let patch = Ask::patch(url, told).body(Frames::whole(rest));
                        let answer = patch.send(&client.tus).await;
                        assert_eq!(answer.status, 204, "{answer:?}");
                    }
                    let got = Ask::get(url).send(&client.tus).await;
                    assert_eq!(got.status, 200, "{got:?}");
                    assert!(got.body == victim.plan.body, "other bytes than were sent are served");
                    let placed = house.placed();
                    let copies = placed.iter().filter(|(_, bytes)| *bytes == victim.plan.body);
                    sum.copies = sum.copies.max(copies.count() as u64);
                }
                500 => {
                    sum.failed += 1;
                    let reported = REPORTED.load(Ordering::SeqCst) > before;
                    assert!(reported, "a damaged {sidecar} is not reported");
                    let got = Ask::get(url).send(&client.tus).await;
                    assert!(!got.is_success(), "a damaged upload is served: {got:?}");
                }
                _ => panic!("HEAD of an upload whose {sidecar} is damaged: {head:?}"),
            }
            house.knowledge().uploads.remove("u1");
            client.recover().await;
            for id in ["u2", "u3"] {
                let got = client.get(id).await;
                assert!(got.body == client.known(id).plan.body, "{id} is harmed");
            }
            client.tus.drain(Duration::from_secs(1)).await;
            assert!(house.complaints().is_empty(), "{:?}", house.complaints());
        });
    }
}

/// Breaks nothing but links.
#[derive(Debug)]
struct Calm(Option<i32>);

impl Watch for Calm {
    fn before(&self, act: &Act<'_>) -> Answer {
        match (act, self.0) {
            (Act::Link { .. }, Some(errno)) => Answer::Fail(errno),
            _ => Answer::GoOn,
        }
    }

    fn after(&self, _: &Act<'_>, _: Result<Outcome, i32>) {}
}

fn every_byte(scene: &Scene, sidecar: &str) -> Outcomes {
    let length = fs::metadata(scene.home.path().join("up").join(sidecar)).unwrap().len();
    let length = usize::try_from(length).unwrap();
    let mut sum = Outcomes::default();
    for at in 0..length {
        // Between the slots of a file lie zeros of which nobody takes notice.
        let is_hole = sidecar.ends_with(".slot") && (64..4096).contains(&at);
        if is_hole && at % 97 != 0 && !is_full() {
            continue;
        }
        let boots = ["boot 1", "boot 2"];
        for boot in
            boots.iter().skip(if is_full() { 0 } else { at % 2 }).take(1 + usize::from(is_full()))
        {
            scene.damage(sidecar, boot, |bytes| bytes[at] ^= 0xff, &mut sum);
            scene.damage(sidecar, boot, |bytes| bytes[at] ^= 1 << (at % 8), &mut sum);
            scene.damage(sidecar, boot, |bytes| bytes.truncate(at), &mut sum);
        }
    }
    println!("each of {length} bytes of a {sidecar}: {sum:?}");
    sum
}

#[test]
fn a_damaged_sidecar_harms_its_upload_alone_and_is_reported() {
    tracing::subscriber::set_global_default(Reports).unwrap();
    let open = prepare(None, None);
    let records = every_byte(&open, "u1.rec");
    assert!(records.failed > 9 * (records.unhurt + records.shorter), "{records:?}");
    let slots = every_byte(&open, "u1.slot");
    assert_eq!(slots.failed, 0);
    assert!(slots.shorter > 0 && slots.unhurt > 0, "{slots:?}");
    for (is_placed, no_links) in [(false, None), (true, None), (true, Some(18)), (false, Some(1))] {
        let placing = prepare(Some(is_placed), no_links);
        let notes = every_byte(&placing, "u1.place");
        assert!(notes.unhurt > 0 && notes.shorter == 0, "{notes:?}");
    }
}
