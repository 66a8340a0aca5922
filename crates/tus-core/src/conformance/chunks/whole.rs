use super::Rig;
use crate::{
    conformance::samples::{bytes, id, upload},
    model::{Locator, Metadata, Placement, Upload},
    store::{ChunkStore, FinishAs, NewObject, PlaceAs, StoreError, StoreErrorKind},
};

/// An upload that will be placed, with its bytes.
async fn placeable(rig: &Rig<impl ChunkStore>, upload: &Upload, bytes: &[u8]) -> Locator {
    let at = rig.case.done(create(rig, upload, bytes).await, "create");
    rig.append(&at, bytes).await;
    at
}

async fn create(
    rig: &Rig<impl ChunkStore>,
    upload: &Upload,
    bytes: &[u8],
) -> Result<Locator, StoreError> {
    let mut new = NewObject::new(&upload.id);
    new.length = Some(bytes.len() as u64);
    new.place = Some(PlaceAs::of(upload));
    rig.store.create(&new).await
}

async fn finish(rig: &Rig<impl ChunkStore>, at: &Locator, upload: &Upload) -> Locator {
    let length = rig.stat(at).await.length;
    rig.case.done(rig.store.finish(at, &FinishAs::of(upload, length)).await, "finish")
}

pub(super) async fn finished_bytes_are_whole(rig: Rig<impl ChunkStore>) {
    for (n, length) in [0, 1, 65_536, 2_000_000].into_iter().enumerate() {
        let all = bytes(1, length);
        let upload = named(n, &format!("whole-{n}.bin"));
        let at = placeable(&rig, &upload, &all).await;
        let placed = finish(&rig, &at, &upload).await;
        rig.holds(&placed, &all, "where finish put them").await;
        rig.case.done(rig.store.remove(&placed).await, "remove of a finished object");
        let gone = rig.store.stat(&placed).await;
        rig.case.fails(gone, StoreErrorKind::NotFound, "stat of a removed finished object");
    }
}

pub(super) async fn a_finish_can_be_repeated(rig: Rig<impl ChunkStore>) {
    let all = bytes(1, 200_000);
    let upload = named(0, "again.bin");
    let at = placeable(&rig, &upload, &all).await;
    let first = finish(&rig, &at, &upload).await;
    for _ in 0..2 {
        let again = finish(&rig, &at, &upload).await;
        rig.case.same(&again, &first, "what a repeated finish returns");
        rig.holds(&again, &all, "where a repeated finish put them").await;
    }
}

pub(super) async fn the_old_locator_serves_until_it_is_removed(rig: Rig<impl ChunkStore>) {
    let all = bytes(1, 200_000);
    let upload = named(0, "moved.bin");
    let at = placeable(&rig, &upload, &all).await;
    let placed = finish(&rig, &at, &upload).await;
    rig.holds(&at, &all, "under the old locator, after finish").await;
    if placed != at {
        for _ in 0..2 {
            rig.case.done(rig.store.remove(&at).await, "remove of the old locator");
            rig.holds(&placed, &all, "after the old locator was removed").await;
        }
    }
}

/// Names are a client's or an application's words: they may be refused nowhere, and lead nowhere.
pub(super) async fn a_hostile_name_is_no_obstacle(rig: Rig<impl ChunkStore>) {
    let long = "long".repeat(500);
    let names = [
        "",
        " ",
        ".",
        "..",
        "/",
        "../../up",
        "/etc/passwd",
        "a/b",
        "a\\b",
        "C:\\a",
        "NUL",
        "a\0b",
        "a\nb",
        ".hidden",
        "dot.",
        "\u{202E}cod.exe",
        "ümlaut.txt",
        "\u{1F980}",
        &long,
    ];
    for (n, name) in names.into_iter().enumerate() {
        for wish in [false, true] {
            let all = bytes(n as u64, 1_000);
            let mut upload = named(n, name);
            if wish {
                let folder = Some(name.to_owned());
                upload.placement = Placement { name: folder.clone(), folder };
                upload.id = id(format!("wish-{n}"));
            }
            let at = placeable(&rig, &upload, &all).await;
            let when = format!("finished as {name:?}");
            match rig.store.finish(&at, &FinishAs::of(&upload, 1_000)).await {
                Ok(placed) => rig.holds(&placed, &all, &when).await,
                // What is left of two names may be one.
                refused => {
                    rig.case.fails(refused, StoreErrorKind::AlreadyExists, &when);
                    rig.holds(&at, &all, "of what was refused for its name").await;
                }
            }
        }
    }
}

pub(super) async fn two_of_a_name_lose_nothing(rig: Rig<impl ChunkStore>) {
    let uploads = [named(0, "same.bin"), named(1, "same.bin")];
    let contents = [bytes(1, 5_000), bytes(2, 4_000)];
    let first = placeable(&rig, &uploads[0], &contents[0]).await;
    // The store may know the name as taken from here on, and may refuse it as such.
    let second = match create(&rig, &uploads[1], &contents[1]).await {
        Ok(second) => second,
        refused => {
            let taken = StoreErrorKind::AlreadyExists;
            return rig.case.fails(refused, taken, "create under a name that is in use");
        }
    };
    rig.append(&second, &contents[1]).await;
    let placed = finish(&rig, &first, &uploads[0]).await;
    match rig.store.finish(&second, &FinishAs::of(&uploads[1], 4_000)).await {
        Ok(other) => rig.holds(&other, &contents[1], "of the second of a name").await,
        refused => {
            let taken = StoreErrorKind::AlreadyExists;
            rig.case.fails(refused, taken, "finish under a name that is taken");
            rig.holds(&second, &contents[1], "of the second, which was refused").await;
            rig.holds(&placed, &contents[0], "of the first, after the second was refused").await;
        }
    }
}

pub(super) async fn parts_are_joined_in_order(rig: Rig<impl ChunkStore>) {
    if !rig.store.capabilities().concat {
        return;
    }
    let contents = [bytes(1, 70_000), bytes(2, 0), bytes(3, 1), bytes(4, 1_500_000)];
    let mut parts = Vec::new();
    for (n, content) in contents.iter().enumerate() {
        parts.push(rig.holding(&id(format!("part-{n}")), content).await);
    }
    let orders: [&[usize]; 6] = [&[0], &[0, 3], &[3, 0], &[1], &[2, 2, 1, 2], &[3, 1, 0, 2, 3]];
    for (n, order) in orders.into_iter().enumerate() {
        let at = rig.create(&id(format!("whole-{n}"))).await;
        let all = order.iter().map(|part| &contents[*part][..]).collect::<Vec<_>>().concat();
        let list: Vec<_> = order.iter().map(|part| parts[*part].clone()).collect();
        let sum = rig.case.done(rig.store.concat(&at, &list).await, "concat");
        rig.case.same(sum, all.len() as u64, format_args!("what concat of {order:?} returns"));
        rig.holds(&at, &all, &format!("of the parts {order:?}")).await;
        for (part, content) in parts.iter().zip(&contents) {
            rig.holds(part, content, "of a part, after it was used").await;
        }
    }
    let upload = named(0, "joined.bin");
    let at = rig.case.done(create(&rig, &upload, &contents[0]).await, "create");
    rig.case.done(rig.store.concat(&at, &parts[..1]).await, "concat");
    let placed = finish(&rig, &at, &upload).await;
    for part in &parts {
        rig.case.done(rig.store.remove(part).await, "remove of a part");
    }
    rig.holds(&placed, &contents[0], "finished, after its part was removed").await;
}

pub(super) async fn no_parts_make_nothing(rig: Rig<impl ChunkStore>) {
    if !rig.store.capabilities().concat {
        return;
    }
    let at = rig.holding(&id("a"), b"old").await;
    let sum = rig.case.done(rig.store.concat(&at, &[]).await, "concat of no parts");
    rig.case.same(sum, 0, "what concat of no parts returns");
    rig.holds(&at, b"", "of no parts").await;
}

pub(super) async fn a_concatenation_can_be_repeated(rig: Rig<impl ChunkStore>) {
    if !rig.store.capabilities().concat {
        return;
    }
    let contents = [bytes(1, 100_000), bytes(2, 50_000)];
    let one = rig.holding(&id("one"), &contents[0]).await;
    let two = rig.holding(&id("two"), &contents[1]).await;
    let at = rig.create(&id("whole")).await;
    let all = contents.concat();
    for _ in 0..3 {
        let sum = rig.case.done(rig.store.concat(&at, &[one.clone(), two.clone()]).await, "concat");
        rig.case.same(sum, 150_000, "what a repeated concat returns");
        rig.holds(&at, &all, "of a repeated concatenation").await;
    }
    // A crash can leave any beginning of the sum behind, and the sum can be shorter than that.
    rig.case.done(rig.store.truncate(&at, 120_000).await, "truncate");
    rig.case.done(rig.store.concat(&at, &[one.clone(), two.clone()]).await, "concat");
    rig.holds(&at, &all, "of a concatenation that was cut short before").await;
    rig.case.done(rig.store.concat(&at, &[two]).await, "concat");
    rig.holds(&at, &contents[1], "of a concatenation that replaces a longer one").await;
}

pub(super) async fn a_missing_part_is_not_found(rig: Rig<impl ChunkStore>) {
    if !rig.store.capabilities().concat {
        return;
    }
    let missing = StoreErrorKind::NotFound;
    let here = rig.holding(&id("here"), b"here").await;
    let gone = rig.holding(&id("gone"), b"gone").await;
    rig.case.done(rig.store.remove(&gone).await, "remove");
    let at = rig.create(&id("whole")).await;
    let concat = rig.store.concat(&at, &[here.clone(), gone.clone()]).await;
    rig.case.fails(concat, missing, "concat of a removed part");
    rig.holds(&here, b"here", "of a part, after another was missing").await;
    let concat = rig.store.concat(&gone, std::slice::from_ref(&here)).await;
    rig.case.fails(concat, missing, "concat into a removed object");
    rig.case.done(rig.store.concat(&at, &[here]).await, "concat of what is there");
    rig.holds(&at, b"here", "of a concatenation after a failed one").await;
}

pub(super) async fn a_store_that_cannot_concatenate_says_so(rig: Rig<impl ChunkStore>) {
    let part = rig.holding(&id("part"), b"part").await;
    let at = rig.create(&id("whole")).await;
    let concat = rig.store.concat(&at, &[part]).await;
    match rig.store.capabilities().concat {
        true => rig.case.same(rig.case.done(concat, "concat"), 4, "what concat returns"),
        false => rig.case.fails(concat, StoreErrorKind::Unsupported, "concat by such a store"),
    }
}

fn named(n: usize, name: &str) -> Upload {
    let id = id(format!("named-{n}"));
    let pairs = [("filename", bytes::Bytes::copy_from_slice(name.as_bytes()))];
    let metadata = Metadata::from_pairs(pairs).unwrap_or_default();
    Upload { metadata, ..upload(&id) }
}
