//! Cut after cut, and what the clients found.

use std::{fs, path::Path, time::Instant};

use tus_tests::{
    process::Random,
    scale::{scale, seed},
};

use super::{
    client::Client,
    disk::Law,
    inside::inside,
    machine::{End, Machine, Site},
    mount::NAME,
    tally::{Fault, Stop, Tally},
    upload::ask,
};

/// So many clients at the same time.
const CLIENTS: u64 = 3;

/// What was cut how often.
#[derive(Debug, Default)]
struct Cuts {
    by_law: [u64; 3],
    kills: u64,
    /// Cuts with changes at stake that nobody had synced.
    dirty: u64,
    /// Cuts while the server put things right after the one before.
    in_recovery: u64,
}

/// Runs a server through so many power cuts, and its clients beside it; prints what came of it.
fn cut(home: &Path, durability: &'static str, laws: &[Law], count: u64) -> Tally {
    let begun = Instant::now();
    let mut random = Random(seed() | 1);
    // The first draws of such seeds are alike.
    (0..8).for_each(|_| _ = random.draw());
    let mut machine = Machine::new(home, durability, laws[0], Random(random.draw()));
    let mut clients: Vec<_> =
        (0..CLIENTS).map(|n| Client::new(format!("c{n}"), Random(random.draw()))).collect();
    let mut cuts = Cuts::default();
    let mut n = 0;
    while n < count {
        if random.below(4) == 0 {
            machine.arm(1 + random.below(8));
            cuts.in_recovery += u64::from(machine.run(&mut clients, Client::check));
        } else {
            machine.run(&mut clients, Client::check);
            // Now and then nobody does anything any more when it comes.
            if random.below(10) > 0 {
                machine.arm(1 + random.below(300));
            }
        }
        machine.run(&mut clients, |client, site| client.work(site, 12));
        let law = laws[n as usize % laws.len()];
        if random.below(4) == 0 {
            cuts.kills += 1;
            machine.end(End::Process, law);
        } else {
            n += 1;
            cuts.by_law[Law::ALL.iter().position(|l| *l == law).expect("a law")] += 1;
            let next = laws[n as usize % laws.len()];
            cuts.dirty += u64::from(machine.end(End::Power, next));
        }
    }
    machine.run(&mut clients, Client::check);
    machine.run(&mut clients, Client::finish);
    machine.run(&mut clients, Client::check);
    machine.end(End::Power, Law::Strict);
    machine.run(&mut clients, Client::check);
    let mut tally = Tally::default();
    look_at_records(&machine.site(), &mut tally);
    for client in clients {
        if client.unfinished() > 0 {
            let text = format!("{} uploads did not come to their end", client.unfinished());
            tally.fault(Fault::Stuck, text, 0);
        }
        tally += client.tally;
    }
    drop(machine);
    let mounts = fs::read_to_string("/proc/self/mounts").expect("the mounts");
    assert!(!mounts.contains(NAME), "a mount is left: {mounts}");
    let Cuts { by_law: [strict, journal, torn], kills, dirty, in_recovery } = cuts;
    println!(
        "FUSE, durability {durability}: {count} power cuts ({strict} strict, {journal} journal-like, \
         {torn} torn; {dirty} with unsynced changes, {in_recovery} during recovery) and {kills} \
         kills; {tally}; {:.0} s",
        begun.elapsed().as_secs_f64()
    );
    tally
}

/// Asks for every upload that has a record, also for those whose URL nobody was told.
fn look_at_records(site: &Site, tally: &mut Tally) {
    for entry in fs::read_dir(&site.uploads).expect("the uploads") {
        let name = entry.expect("an entry").file_name().to_string_lossy().into_owned();
        let Some(id) = name.strip_suffix(".rec") else { continue };
        match ask(site, "HEAD", &format!("HEAD /files/{id} HTTP/1.1"), b"", tally) {
            Ok(answer) if matches!(answer.status, 200 | 404 | 410) => {}
            Ok(answer) => tally.fault(Fault::Stuck, format!("{id} answers {answer:?}"), 0),
            Err(Stop::Fault(fault, words, _)) => tally.fault(fault, format!("{id}: {words}"), 0),
            Err(Stop::Off) => unreachable!("the power is on"),
        }
    }
}

/// Prints what was not as it should be, but for what is allowed to be so.
fn tell(tally: &Tally, allowed: &[Fault]) {
    let words = tally.words.iter().filter(|(fault, _)| !allowed.contains(fault));
    for (fault, words) in words.take(20) {
        println!("{fault:?}: {words}");
    }
}

#[test]
fn a_power_cut_loses_no_told_byte_and_leaves_nothing_stuck() {
    let Some(home) = inside("linux::cuts::a_power_cut_loses_no_told_byte_and_leaves_nothing_stuck")
    else {
        return;
    };
    let tally = cut(&home, "power", &Law::ALL, scale("TUS_FUSE_CUTS", 20, 1000));
    tell(&tally, &[]);
    let unanswered: u64 = tally.unanswered.values().sum();
    assert!(unanswered > 0, "no cut came while anything was going on: this tested nothing");
    assert!(tally.completed > 0 && tally.deleted > 0, "nothing came to its end");
    assert!(tally.words.is_empty(), "{} promises were not kept", tally.words.len());
}

/// Also that the clients see a loss when there is one.
#[test]
fn without_syncs_a_power_cut_loses_bytes_but_hands_out_no_others() {
    let Some(home) =
        inside("linux::cuts::without_syncs_a_power_cut_loses_bytes_but_hands_out_no_others")
    else {
        return;
    };
    let tally = cut(&home, "process", &Law::ALL, scale("TUS_FUSE_CUTS", 20, 1000).div_ceil(4));
    // What it may do: the loss of power is not what it is for.
    tell(&tally, &[Fault::Lost, Fault::Damaged, Fault::Unproven, Fault::Zeros]);
    assert!(tally.lost_bytes > 0, "nothing is synced, and yet nothing was lost");
    assert_eq!(tally.count(Fault::Corrupt), 0, "bytes that nobody sent");
    assert_eq!(tally.count(Fault::Stuck), 0, "something does not go on");
}
