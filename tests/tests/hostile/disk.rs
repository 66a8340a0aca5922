//! What lies beside the servers' directories, and what must lie in them.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

use super::{
    servers::Served,
    world::{Kind, World},
};

const SECRET: &str = "nobody but us";

/// What lies around a server, with what it holds; a link is told by where it leads.
type Around = BTreeMap<PathBuf, String>;

/// Puts files where an escape would find them, and links where a name could follow them.
pub(crate) fn plant(served: &Served) {
    let home = &served.home;
    fs::write(home.join("sentinel.txt"), SECRET).expect("a file");
    fs::create_dir(home.join("etc")).expect("a directory");
    fs::write(home.join("etc/passwd"), SECRET).expect("a file");
    symlink("../etc", served.finished().join("link")).expect("a link");
    symlink("../sentinel.txt", served.finished().join("known")).expect("a link");
}

/// Everything around the two directories of a server.
pub(crate) fn around(served: &Served) -> Around {
    let mut found = Around::new();
    let root = served.home.parent().expect("a root");
    let servers = ["axum", "tower", "actix"].map(|name| root.join(name));
    for entry in names(root) {
        if !servers.contains(&entry) {
            found.insert(entry, "beside the servers".to_owned());
        }
    }
    gather(&served.home, &[served.uploads(), served.finished()], &mut found);
    found
}

fn gather(directory: &Path, without: &[PathBuf], found: &mut Around) {
    for path in names(directory) {
        if without.contains(&path) {
            continue;
        }
        if path.is_dir() {
            gather(&path, without, found);
        } else {
            let text = fs::read_to_string(&path).expect("a file that can be read");
            found.insert(path, text);
        }
    }
}

fn names(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).expect("a directory");
    entries.map(|entry| entry.expect("an entry").path()).collect()
}

/// Why what lies in the directories is not what clients were told, if so.
pub(crate) fn check(served: &Served, world: &World) -> Result<(), String> {
    check_uploads(served, world)?;
    check_finished(served, world)
}

/// Uploads that take bytes, and parts, are files that hold exactly what was told.
fn check_uploads(served: &Served, world: &World) -> Result<(), String> {
    for path in names(&served.uploads()) {
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        if name == ".lock" {
            continue;
        }
        let id = name.split('.').next().unwrap_or_default();
        let known = [".bin", ".rec", ".slot", ".place"].contains(&&name[id.len()..]);
        if !known || world.find(id).is_none() {
            return Err(format!("{} has {name}", served.name));
        }
        if name.ends_with(".bin") && world.find(id).is_some_and(|upload| upload.gone) {
            return Err(format!("{} keeps the bytes of {id}, which is gone", served.name));
        }
    }
    for upload in world.live() {
        let placed = upload.is_whole() && upload.kind != Kind::Partial;
        if placed || matches!(upload.kind, Kind::Final(_)) {
            continue;
        }
        let stored = fs::read(served.uploads().join(format!("{}.bin", upload.id)));
        let stored = stored.map_err(|error| format!("{}: {}: {error}", served.name, upload.id))?;
        if stored != world.content(&upload.id, 0..upload.offset) {
            let (id, told, has) = (&upload.id, upload.offset, stored.len());
            return Err(format!("{} was told {told}, {} has {has} other bytes", id, served.name));
        }
    }
    Ok(())
}

/// In the destination lie exactly the uploads that are whole, under names without power.
fn check_finished(served: &Served, world: &World) -> Result<(), String> {
    let mut found = Vec::new();
    for path in names(&served.finished()) {
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        let stat = fs::symlink_metadata(&path).expect("a file");
        if name == "link" || name == "known" {
            match stat.is_symlink() {
                true => continue,
                false => return Err(format!("{}: {name} was replaced", served.name)),
            }
        }
        let harmless = !name.starts_with('.') && !name.chars().any(char::is_control);
        if !stat.is_file() || !harmless {
            return Err(format!("{} placed {name:?}", served.name));
        }
        found.push(fs::read(&path).expect("a file that can be read"));
    }
    let placed = |kind: &Kind| *kind != Kind::Partial;
    let whole = world.live().filter(|upload| upload.is_whole() && placed(&upload.kind));
    let mut expected: Vec<_> =
        whole.map(|upload| world.content(&upload.id, 0..upload.offset)).collect();
    found.sort();
    expected.sort();
    if found != expected {
        let (found, expected) = (found.len(), expected.len());
        return Err(format!("{} placed {found} files, not the {expected} told", served.name));
    }
    Ok(())
}
