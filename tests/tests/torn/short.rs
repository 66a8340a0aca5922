//! Uploads whose record says that they are whole, and whose files are not: what a loss of power may
//! leave under `process`, and somebody's hand at any time.

use std::{fs, path::PathBuf, sync::Arc};

use tus_fs::Durability;
use tus_fs::watch::{Act, Answer, Outcome, Watch};
use tus_tests::{
    disk::{House, Knowledge, Placing, Setup, disks},
    process::bytes,
    rig::{Ask, Frames},
};

use super::{Calm, run};

/// A disk on which nothing can be given its place.
#[derive(Debug)]
struct Unplaceable;

impl Watch for Unplaceable {
    fn before(&self, act: &Act<'_>) -> Answer {
        match act {
            Act::Link { .. } => Answer::Fail(5),
            _ => Answer::GoOn,
        }
    }

    fn after(&self, _: &Act<'_>, _: Result<Outcome, i32>) {}
}

/// A house whose server stopped after it recorded an upload of 3000 bytes as complete.
fn complete(placing: Placing, durability: Durability, length: u64) -> (tempfile::TempDir, House) {
    let home = tempfile::tempdir_in(disks()).unwrap();
    // Nobody notes anything, as what is lost here was promised to nobody.
    let setup = Setup { placing, durability, is_deaf: true, ..Setup::default() };
    let house = House::new(home.path(), &setup, Knowledge::default(), Arc::new(|_| {}));
    run(async {
        let watch: Arc<dyn Watch> = match placing {
            Placing::Stays => Arc::new(Calm(None)),
            _ => Arc::new(Unplaceable),
        };
        let tus = house.serve(house.open(watch, "boot 1").await.unwrap());
        // base64 of u1
        let ask = Ask::post().length(3000).with("upload-metadata", "id dTE=");
        let answer = ask.body(Frames::whole(&bytes(1, 3000))).send(&tus).await;
        let expected = if placing == Placing::Stays { 201 } else { 500 };
        assert_eq!(answer.status, expected, "{answer:?}");
        tus.drain(std::time::Duration::from_secs(1)).await;
    });
    let data: PathBuf = house.uploads().join("u1.bin");
    let file = fs::File::options().write(true).open(data).unwrap();
    assert_eq!(file.metadata().unwrap().len(), 3000);
    file.set_len(length).unwrap();
    (home, house)
}

#[test]
fn a_whole_upload_whose_bytes_are_lost_is_refused_for_that_and_never_served() {
    let url = "/files/u1";
    for durability in [Durability::Power, Durability::Process] {
        for placing in [Placing::Places, Placing::Stays] {
            for length in [0, 1, 2999] {
                let (_home, house) = complete(placing, durability, length);
                let said = format!("{placing:?}, {durability:?}, {length}");
                run(async {
                    let store = house.open(Arc::new(Calm(None)), "boot 2").await.unwrap();
                    let tus = house.serve(store);
                    if placing == Placing::Places {
                        let head = Ask::head(url).send(&tus).await;
                        assert_eq!(head.status, 500, "{said}: {head:?}");
                    }
                    let got = Ask::get(url).send(&tus).await;
                    assert!(matches!(got.status, 404 | 500), "{said}: {got:?}");
                    assert!(house.placed().is_empty(), "{said}: it was placed");
                    let ended = Ask::delete(url).send(&tus).await;
                    assert_eq!(ended.status, 204, "{said}: {ended:?}");
                    let got = Ask::get(url).send(&tus).await;
                    assert!(matches!(got.status, 404 | 410), "{said}: {got:?}");
                    let left: Vec<_> = house.uploaded().into_iter().map(|(name, _)| name).collect();
                    assert!(left.iter().all(|name| name == "u1.rec"), "{said}: {left:?}");
                    tus.drain(std::time::Duration::from_secs(1)).await;
                });
            }
        }
    }
}
