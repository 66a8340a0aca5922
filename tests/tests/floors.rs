//! The floors of the house (ARCHITECTURE.md): who may use whom, read from the sources.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test that cannot go on panics, and says why"
)]

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// The root of the workspace.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// Every Rust source below a directory, with its text.
fn sources(directory: &Path) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    collect(directory, &mut found);
    assert!(!found.is_empty(), "no sources below {}", directory.display());
    found
}

fn collect(directory: &Path, found: &mut Vec<(PathBuf, String)>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.ends_with("node_modules") {
            collect(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).unwrap();
            found.push((path, text));
        }
    }
}

/// The modules of tus-core that a file names after `crate::`, also inside a `use crate::{…}`.
fn rooms(text: &str) -> Vec<String> {
    let mut rooms = Vec::new();
    for (at, _) in text.match_indices("crate::") {
        let before = text[..at].chars().next_back();
        if before.is_some_and(|c| c.is_alphanumeric() || c == '_') {
            continue;
        }
        let rest = &text[at + "crate::".len()..];
        match rest.strip_prefix('{') {
            Some(group) => rooms.extend(members(group)),
            None => rooms.push(word(rest)),
        }
    }
    rooms
}

/// The first words of the members of a braced group, up to its end.
fn members(group: &str) -> Vec<String> {
    let (mut depth, mut start, mut found) = (0_usize, 0, Vec::new());
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => {
                found.push(word(&group[start..at]));
                break;
            }
            '}' => depth -= 1,
            ',' if depth == 0 => {
                found.push(word(&group[start..at]));
                start = at + 1;
            }
            _ => {}
        }
    }
    found.retain(|name| !name.is_empty());
    found
}

fn word(text: &str) -> String {
    text.trim_start().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
}

#[test]
fn a_group_of_uses_is_read_as_its_members() {
    let text = "use crate::{\n    hooks::{Action, Ended},\n    model::Upload, wire,\n};\nuse crate::store::X;";
    assert_eq!(rooms(text), ["hooks", "model", "wire", "store"]);
    assert!(rooms("use tus_crate::model;").is_empty());
}

#[test]
fn no_room_of_tus_core_uses_one_above_it() {
    // `reexports` and the crate's own types at its root belong to whoever may see the floor.
    let floors: [(&str, &[&str]); 5] = [
        ("model", &["model"]),
        ("wire", &["model", "wire"]),
        ("protocol", &["model", "protocol"]),
        ("store", &["model", "store"]),
        ("engine", &["model", "wire", "protocol", "store", "engine", "hooks", "interim"]),
    ];
    for (floor, allowed) in floors {
        for (path, text) in sources(&root().join("crates/tus-core/src").join(floor)) {
            // What documentation links to is no dependency.
            let code: String = text
                .lines()
                .filter(|line| !line.trim_start().starts_with("//"))
                .collect::<Vec<_>>()
                .join("\n");
            for room in rooms(&code) {
                assert!(
                    allowed.contains(&room.as_str()),
                    "{} uses crate::{room}; {floor} may use {allowed:?}",
                    path.display()
                );
            }
        }
    }
}

#[test]
fn the_rules_and_the_wire_neither_wait_nor_tell_the_time() {
    for floor in ["model", "wire", "protocol"] {
        for (path, text) in sources(&root().join("crates/tus-core/src").join(floor)) {
            for word in ["tokio", "async fn", ".await", "async_trait", "std::fs", "std::net::Tcp"] {
                let mut found = text.match_indices(word).map(|(at, _)| &text[at + word.len()..]);
                // A longer word is another word.
                let has = found.any(|rest| !rest.starts_with(|c: char| c.is_alphanumeric()));
                assert!(!has, "{} has {word}", path.display());
            }
            let tells_time = text.contains("SystemTime::now") || text.contains("Timestamp::now()");
            let is_clock = path.ends_with("model/time.rs");
            assert!(!tells_time || is_clock, "{} asks for the time", path.display());
        }
    }
}

#[test]
fn an_adapter_names_no_word_of_the_protocol() {
    for adapter in ["tus-axum", "tus-actix"] {
        for (path, text) in sources(&root().join("crates").join(adapter).join("src")) {
            let text = text.to_ascii_lowercase();
            for word in ["upload-", "tus-resumable", "tus-version", "method::patch", "\"patch\""] {
                assert!(!text.contains(word), "{} names {word}", path.display());
            }
        }
    }
}

#[test]
fn interim_responses_are_carried_by_a_crate_that_knows_only_the_seam() {
    let mut seam = 0;
    for (path, text) in sources(&root().join("crates/tus-interim/src")) {
        for (at, name) in text.match_indices("tus_core::") {
            let rest = &text[at + name.len()..];
            let names = rest.strip_prefix('{').map_or_else(|| vec![word(rest)], members);
            // Its documentation shows how a tower service of ours is served.
            let docs = text[..at].lines().next_back().is_some_and(|l| l.contains("///"));
            for name in names.iter().filter(|_| !docs) {
                let allowed = ["Interim", "InterimGuard", "SendInterim"].contains(&name.as_str());
                assert!(allowed, "{} uses tus_core::{name}", path.display());
                seam += 1;
            }
        }
    }
    assert!(seam > 3, "the seam is not where this test looks for it");
}

#[test]
fn the_nouns_and_the_store_traits_need_no_runtime() {
    let tree = |features: &[&str]| {
        let mut command = Command::new(env!("CARGO"));
        command.current_dir(root()).args(["tree", "-p", "tus-core", "-e", "normal"]);
        command.args(["--prefix", "none", "--no-default-features"]).args(features);
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let has = |tree: &str, name: &str| tree.lines().any(|l| l.split(' ').next() == Some(name));
    let nouns = tree(&[]);
    assert!(has(&nouns, "http"), "this is no dependency tree:\n{nouns}");
    for name in ["tokio", "async-trait", "http-body", "hyper"] {
        assert!(!has(&nouns, name), "the nouns pull in {name}");
    }
    let store = tree(&["--features", "store"]);
    assert!(has(&store, "async-trait"));
    for name in ["tokio", "http-body", "hyper"] {
        assert!(!has(&store, name), "the store traits pull in {name}");
    }
    let core = tree(&["--features", "engine"]);
    for name in ["hyper", "axum", "actix-web", "tower"] {
        assert!(!has(&core, name), "the engine pulls in {name}");
    }
}

#[test]
fn only_the_seam_of_the_file_store_touches_the_disk() {
    let home = root().join("crates/tus-fs/src");
    let mut seam = 0;
    for (path, text) in sources(&home) {
        let inside = path.strip_prefix(&home).unwrap();
        if inside == Path::new("disk.rs") || inside.starts_with("disk") {
            seam += text.matches("|| Act::").count();
            continue;
        }
        if inside.starts_with("tests") {
            continue;
        }
        // A file ends with its tests, which look at the disk as they like.
        let code = text.split("#[cfg(test)]\nmod tests").next().unwrap();
        for line in code.lines().filter(|line| !line.trim_start().starts_with("//")) {
            // What a file is may be said anywhere; `rustix::io` has only the names of errors.
            let line =
                line.replace("fs::Metadata", "").replace("rustix::io", "").replace("tus-fs", "");
            for word in line.split(|c: char| !c.is_alphanumeric() && c != '_') {
                let forbidden = ["fs", "rustix", "libc", "OwnedFd", "AsFd", "FileExt"];
                assert!(!forbidden.contains(&word), "{}: {line}", path.display());
            }
        }
    }
    assert!(seam > 12, "the seam is not where this test looks for it");
}

#[test]
fn one_call_is_unsafe_and_it_is_the_allocators() {
    let found: Vec<_> = ["crates", "examples"]
        .into_iter()
        .flat_map(|folder| sources(&root().join(folder)))
        .filter(|(_, text)| text.contains("unsafe {"))
        .map(|(path, text)| (path, text.matches("unsafe {").count()))
        .collect();
    let expected = root().join("crates/tus-server/src/memory.rs");
    assert_eq!(found, [(expected, 1)]);
}
