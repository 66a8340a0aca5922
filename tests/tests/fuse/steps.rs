//! One upload, killed at every step in turn; then the next server tells how far it is, and then the
//! power is cut.

use std::sync::Arc;

use tus_tests::process::{Random, bytes, patch};

use super::{
    disk::Law,
    inside::inside,
    machine::{End, Machine, Site},
    tally::{Stop, Tally},
    upload::{Role, Upload, ask},
};

/// Creates an upload and sends it in two pieces; what the client knows of it when that ends.
fn send(site: &Site, body: &Arc<Vec<u8>>) -> Option<Upload> {
    let tally = &mut Tally::default();
    let head =
        format!("POST /files HTTP/1.1\r\nUpload-Length: {}\r\nUpload-Concat: partial", body.len());
    let created = unless_off(ask(site, "POST", &head, b"", tally))?;
    let path = created.header("location").expect("a URL").to_owned();
    let mut upload = Upload::new(path, Role::Part(0), body.clone());
    for end in [body.len() / 2, body.len()] {
        let piece = &body[upload.told as usize..end];
        upload.sent = end as u64;
        let sent = ask(site, "PATCH", &patch(&upload.path, upload.told), piece, tally);
        let Some(answer) = unless_off(sent) else { break };
        upload.told = answer.offset();
    }
    Some(upload)
}

fn unless_off<T>(result: Result<T, Stop>) -> Option<T> {
    match result {
        Ok(value) => Some(value),
        Err(Stop::Off) => None,
        Err(stop) => panic!("{stop:?}"),
    }
}

#[test]
fn what_is_told_after_a_kill_survives_the_power_cut_after_it() {
    let test = "linux::steps::what_is_told_after_a_kill_survives_the_power_cut_after_it";
    let Some(home) = inside(test) else { return };
    let mut machine = Machine::new(&home, "power", Law::Strict, Random(1));
    let body = Arc::new(bytes(7, 20_000));
    let mut steps = 0;
    loop {
        machine.arm(steps);
        let mut sent = [None];
        let killed = machine.run(&mut sent, |upload, site| *upload = send(site, &body));
        machine.end(End::Process, Law::Strict);
        let tally = &mut Tally::default();
        if let [Some(upload)] = &mut sent {
            for end in [End::Power, End::Power] {
                let checked = upload.check(&machine.site(), false, tally);
                assert!(matches!(checked, Ok(true)), "killed at step {steps}: {checked:?}");
                machine.end(end, Law::Strict);
            }
            assert!(tally.words.is_empty(), "killed at step {steps}: {:?}", tally.words);
        }
        if !killed {
            break;
        }
        steps += 1;
    }
    println!("FUSE, durability power: killed at each of {steps} steps, then cut: nothing lost");
    assert!(steps > 20, "{steps} steps are too few for an upload");
}
