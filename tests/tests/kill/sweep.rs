//! Kills while the real server sweeps: it takes what has expired, and nothing else.

use std::{
    io::Write as _,
    net::SocketAddr,
    thread,
    time::{Duration, Instant},
};

use tus_tests::process::{Random, bytes, connect, head_with};

use crate::{
    case::{Case, Tally},
    killer::{Aim, Killer},
    site::{LEVELS, Site, Which},
    upload::{BRINGS, Fate, Role, Upload, post},
};

/// So many uploads expire in each sweep.
const ABANDONED: usize = 6;

/// Kills so many servers in the midst of a sweep.
pub(crate) fn sweeping(kills: u64, mut random: Random) {
    let site = Site::new(Which::TusServer, LEVELS[0]);
    let mut unused = Killer::Clock(Aim::new(Random(1)));
    let (mut tally, mut amid, mut gone) = (Tally::default(), 0, 0);
    for kill in 0..kills {
        let site = site.anew(LEVELS[kill as usize % 2]);
        let random = Random(random.draw());
        let case = Case::new(site, &mut unused, random, &["--expire-after=1s"]);
        let (one, swept) = kill_amid(case);
        tally.add(&one);
        gone += swept;
        amid += u64::from(0 < swept && swept < ABANDONED as u64);
    }
    println!(
        "kill -9 in sweep: {kills} kills, {amid} of them between the first removal and the last; \
         {gone} uploads expired, {} uploads brought to their end; nothing alive or complete deleted, \
         nothing half or left over",
        tally.whole,
    );
    assert!(amid >= kills / 3, "only {amid} kills came in the midst of a sweep");
}

/// One kill, and how many uploads the sweep had come to.
fn kill_amid(mut case: Case<'_>) -> (Tally, u64) {
    // Both come with their creation, or a slow machine would let them expire before.
    let head = |length| post(Some(length), Role::Single) + BRINGS;
    let body = case.body(5_000);
    let answer = case.ask(&head(body.len()), &body);
    let mut upload = Upload::new("", body, Role::Single);
    upload.sent = upload.length();
    let whole = case.created(&answer, upload);
    case.finish(whole);
    let live = Upload::new("", bytes(case.random.draw(), 1 << 20), Role::Single);
    let (addr, head, body) = (case.addr(), head(live.body.len()), live.body.clone());
    let dribble = thread::spawn(move || dribble(addr, &head, &body));
    case.until(|case| case.site.names().iter().any(|(_, suffix, n)| suffix == "bin" && *n > 0));

    // Some may be gone before the last one is there: the sweep waits for nobody.
    let first = case.uploads.len();
    for _ in 0..ABANDONED {
        let body = case.body(5_000);
        case.create(body, Role::Single, false);
    }
    let there = |case: &Case<'_>| {
        let names = case.site.names();
        let abandoned = case.uploads[first..].iter().map(|upload| upload.id());
        abandoned.filter(|id| names.iter().any(|n| n.0 == *id && n.1 == "bin")).count()
    };
    let left = 1 + case.random.below(ABANDONED as u64 - 1) as usize;
    let deadline = Instant::now() + Duration::from_secs(60);
    while there(&case) > left {
        assert!(Instant::now() < deadline, "nothing is swept");
        thread::sleep(Duration::from_micros(200));
    }
    thread::sleep(Duration::from_micros(case.random.below(1_000)));
    // From now on they have more time.
    case.more = vec!["--expire-after=1h".to_owned()];
    case.restart();

    let sent = dribble.join().expect("the client that dribbles");
    case.inspect(whole).expect("an upload that is whole");
    let live = case.stray(Upload { sent, ..live }).expect("an upload that was being sent");
    case.inspect(live).expect("an upload that was being sent");
    let mut swept = 0;
    for at in first..first + ABANDONED {
        if case.inspect(at).is_none() {
            case.uploads[at].fate = Fate::Expired;
            swept += 1;
        }
    }
    (case.close(), swept)
}

/// Sends some bytes after the other until the server is killed, and says how many.
fn dribble(addr: SocketAddr, head: &str, body: &[u8]) -> u64 {
    let mut stream = connect(addr).expect("a live server");
    stream.write_all(head_with(head, body.len()).as_bytes()).expect("a live server");
    let mut sent = 0;
    for some in body.chunks(64) {
        if stream.write_all(some).is_err() {
            break;
        }
        sent += some.len() as u64;
        thread::sleep(Duration::from_millis(10));
    }
    sent
}
